"""parse_words.f16: a unit sentence vector (384 half floats, little endian) for each text of the grounding test, in order.

The vectors are those of the shipped text encoder, as the parser gets them when the program runs.
"""

import json

import torch

import goldens
from toybox import Toybox

CRATE, NAME = "kinora-pipeline", "parse_words.f16"


def main():
    goldens.seeded(0)
    words = json.loads((goldens.root() / "crates" / CRATE / "tests/data/parse/words.json").read_text(encoding="utf-8"))
    texts = [*words["actors"], *words["not_actors"], *words["other"]]
    vectors: torch.Tensor = Toybox(goldens.root() / "models/toybox").sentence(texts)
    goldens.write_bytes(CRATE, NAME, vectors.half().numpy().astype("<f2").tobytes(), __file__, 0, ["transformers"])


if __name__ == "__main__":
    main()
