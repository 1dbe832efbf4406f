"""Writes trained weights as files that a product's folder is made of.

    export.py WEIGHTS.pt OUT.safetensors [--int8]

bf16, or int8 rows with a scale each (half the size, to carry a model elsewhere and go on from it).
"""

import argparse

import torch
from safetensors.torch import save_file


def int8_rows(weights):
    out = {}
    for name, value in weights.items():
        if value.ndim < 2 or value.shape[0] < 8:
            out[name] = value.bfloat16().contiguous()
            continue
        rows = value.float().flatten(1)
        scale = rows.abs().amax(1).clamp_min(1e-8) / 127
        out[name] = (rows / scale[:, None]).round().clamp(-127, 127).to(torch.int8).view(value.shape).contiguous()
        out[name + ".scale"] = scale.contiguous()
    return out


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights")
    parser.add_argument("out")
    parser.add_argument("--int8", action="store_true")
    args = parser.parse_args(argv)
    weights = torch.load(args.weights, map_location="cpu")
    bf16 = lambda: {k: v.bfloat16().contiguous() for k, v in weights.items()}
    save_file(int8_rows(weights) if args.int8 else bf16(), args.out, metadata={"format": "pt"})


if __name__ == "__main__":
    main()
