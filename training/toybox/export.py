"""Writes trained weights as files that a product's folder is made of.

    export.py WEIGHTS OUT.safetensors [--int8] [--only PREFIX] [--shard-mb 15]

WEIGHTS is a .pt of a training, a safetensors file, or its parts. bf16 (f16 for an autoencoder, as the product has it), or
int8 rows with a scale each: half the size, to carry a model elsewhere and go on from it. --shard-mb writes parts
NAME-1-of-4.safetensors of at most so many MB, for where files are limited; every script here that reads
NAME.safetensors finds them. --only takes the tensors whose names begin so: `decoder` is all that --decoder-only changes.
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file

from common import place
from stored import quantise, read_weights


def is_autoencoder(weights):
    return all(name.startswith(("encoder.", "decoder.")) for name in weights)


def parts_of(tensors, most):
    """Dictionaries of at most `most` bytes each, in order; a tensor is never divided."""
    parts, size = [{}], 0
    for name, tensor in tensors.items():
        if parts[-1] and size + tensor.nbytes > most:
            parts.append({})
            size = 0
        parts[-1][name] = tensor
        size += tensor.nbytes
    return parts


def write(tensors, out, most):
    out, parts = Path(out), parts_of(tensors, most)
    for i, part in enumerate(parts, 1):
        name = out if len(parts) == 1 else out.with_name(f"{out.stem}-{i}-of-{len(parts)}{out.suffix}")
        place(name, lambda p, part=part: save_file(part, p, metadata={"format": "pt"}))
        print(name, sum(t.nbytes for t in part.values()), flush=True)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights")
    parser.add_argument("out")
    parser.add_argument("--int8", action="store_true")
    parser.add_argument("--only", default="", metavar="PREFIX")
    parser.add_argument("--shard-mb", type=float, default=float("inf"))
    args = parser.parse_args(argv)
    weights = read_weights(args.weights)
    dtype = torch.float16 if is_autoencoder(weights) else torch.bfloat16
    weights = {k: v.to(dtype).contiguous() for k, v in weights.items() if k.startswith(args.only)}
    write(quantise(weights) if args.int8 else weights, args.out, args.shard_mb * 1e6)


if __name__ == "__main__":
    main()
