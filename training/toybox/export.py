"""Writes trained weights as files that a product's folder is made of.

    export.py WEIGHTS.pt OUT.safetensors [--int8]

bf16, or int8 rows with a scale each (half the size, to carry a model elsewhere and go on from it).
"""

import argparse

import torch
from safetensors.torch import save_file

from stored import absmax_rows, quantise


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights")
    parser.add_argument("out")
    parser.add_argument("--int8", action="store_true")
    args = parser.parse_args(argv)
    weights = torch.load(args.weights, map_location="cpu")
    weights = {k: v.bfloat16().contiguous() for k, v in weights.items()}
    save_file(quantise(weights, absmax_rows) if args.int8 else weights, args.out, metadata={"format": "pt"})


if __name__ == "__main__":
    main()
