"""Files of torch.save, what is in them, and some that must not be read.

  plain.pth       a state dict in the zip format: every type, a number, a slice, a transposed view, one storage used twice
  nested.pth      {"state_dict": {...}, "epoch": 3, "args": {...}}, with parameters
  legacy.pth      plain.pth in the format before PyTorch 1.6
  evil.pth        a zip file whose pickle calls os.system
  evil_deep.pth   the same call as the value of an entry that looks harmless, in the legacy format

pickles (kinora-weights): `<file>.<name>`, all values as f32.
"""

import io
import os
import pickle
import zipfile
from collections import OrderedDict

import torch

import goldens

SEED = 47
FILES = "pickles"


class Evil:
    def __reduce__(self):
        return os.system, ("echo this must never be printed",)


def tensors():
    generator = torch.Generator().manual_seed(SEED)
    base = torch.randn(6, 8, generator=generator)
    return OrderedDict(
        {
            "f32": base.clone(),
            "f16": torch.randn(3, 4, generator=generator).half(),
            "bf16": torch.randn(4, 3, generator=generator).bfloat16(),
            "f64": torch.randn(5, generator=generator).double(),
            "f8": torch.randn(2, 8, generator=generator).to(torch.float8_e4m3fn),
            "i64": torch.tensor([1, -2, 3_000_000]),
            "i32": torch.tensor([[7], [-8]], dtype=torch.int32),
            "i8": torch.tensor([-128, 0, 127], dtype=torch.int8),
            "u8": torch.tensor([0, 200, 255], dtype=torch.uint8),
            "flags": torch.tensor([True, False, True]),
            "number": torch.tensor(2.5),
            "empty": torch.zeros(0, 4),
            # These three share one storage.
            "whole": base,
            "slice": base[2:5],
            "turned": base.t(),
            "every_second": base[::2, 1:],
        }
    )


def main():
    goldens.seeded(SEED)
    plain = tensors()
    layer = torch.nn.Linear(3, 2)
    goldens.randomise(layer, SEED)
    nested = {"state_dict": OrderedDict(layer.named_parameters()), "epoch": 3, "args": {"lr": 0.1, "name": "tiny"}}
    out = {f"plain.{name}": value.float() for name, value in plain.items()}
    out |= {f"nested.{name}": value for name, value in nested["state_dict"].items()}

    def save(name, write, kind="torch"):
        goldens.write_file("kinora-weights", f"{FILES}/{name}", write, __file__, SEED, kind, [])

    save("plain.pth", lambda path: torch.save(plain, path))
    save("nested.pth", lambda path: torch.save(nested, path))
    save("legacy.pth", lambda path: torch.save(plain, path, _use_new_zipfile_serialization=False))

    def evil(path):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for name, data in (("archive/data.pkl", pickle.dumps({"weight": Evil()}, 2)), ("archive/version", b"3\n")):
                archive.writestr(zipfile.ZipInfo(name), data)

    def evil_deep(path):
        buffer = io.BytesIO()
        torch.save({"weight": torch.zeros(2), "notes": [{"author": Evil()}]}, buffer, _use_new_zipfile_serialization=False)
        path.write_bytes(buffer.getvalue())

    save("evil.pth", evil)
    save("evil_deep.pth", evil_deep)
    goldens.write("kinora-weights", FILES, out, __file__, SEED, [], 0.0)


if __name__ == "__main__":
    main()
