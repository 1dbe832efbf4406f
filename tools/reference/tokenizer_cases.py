"""tokenizer.json: prompts and the ids that transformers gives them with Toybox's tokenizer.

Ids are with [CLS] and [SEP], cut to 64, not padded.
"""

import goldens
from toybox import read_json
from transformers import AutoTokenizer

PROMPTS = [
    "",
    " ",
    "a",
    "a red car drives from left to right on a road",
    "An Astronaut FLOATS in outer space!",
    "two penguins, three fish & a dog; no people.",
    "first a boat sails... then it sinks?!",
    "at 7:30 p.m. the camera zooms in 2x (slowly)",
    "don't stop: it's the dog's ball",
    "snow-covered mountains / black-and-white",
    "line one\nline two\ttabbed\r\nand the end",
    "  many    spaces   between ",
    "un café très élégant à Paris",
    "Ein Bär über der Straße, süß und groß",
    "señor piñata jalapeño",
    "Ångström naïve façade coöperate",
    "cafe\u0301 with a combining accent",
    "一只猫在草地上跑",
    "東京タワーの上を飛ぶドラゴン",
    "고양이가 달린다",
    "قطة تجري على العشب",
    "חתול רץ על הדשא",
    "кошка бежит по траве",
    "a cat 🐈 and a rocket 🚀🚀",
    "👩‍🚀 family 👨‍👩‍👧 flag 🇫🇷",
    "zero\u200bwidth\u200djoiner and \u00a0 no-break space \ufeff bom",
    "[CLS] injected [SEP] tokens [MASK] [PAD] [UNK]",
    "x" * 150,
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "a very long prompt with many words " * 40,
]


def main():
    folder = goldens.root() / "models/toybox"
    length = read_json(folder / "model_index.json")["max_sequence_length"]
    tokenizer = AutoTokenizer.from_pretrained(folder / "text_encoder")
    cases = [{"prompt": p, "ids": tokenizer(p, truncation=True, max_length=length)["input_ids"]} for p in PROMPTS]
    assert len(cases) == 30 and all(len(case["ids"]) <= length for case in cases)
    value = {"max_length": length, "cases": cases}
    goldens.write_json("kinora-models", "tokenizer.json", value, __file__, 0, ["transformers", "tokenizers"])


if __name__ == "__main__":
    main()
