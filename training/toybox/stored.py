"""Reads weights in each of the ways that the product and a training store them.

int8 rows are defined once, in tools/reference/quantise.py; this makes it importable here.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools/reference"))

from quantise import dequantise, quantise  # noqa: E402

__all__ = ["PRODUCT", "dequantise", "quantise", "read_autoencoder", "read_weights", "shards_of"]
PRODUCT = "diffusion_pytorch_model.safetensors"


def shards_of(path):
    """The parts of `path` that `export.py --shard-mb` wrote beside it (NAME-1-of-4.safetensors)."""
    path = Path(path)
    found = sorted(path.parent.glob(f"{path.stem}-*-of-*{path.suffix}"))
    if found and len(found) != int(found[0].stem.rsplit("-", 1)[1]):
        raise FileNotFoundError(f"{path}: only {len(found)} parts, {found[0].name} names more")
    return found


def read_weights(path):
    """Weights in f32 by name: a .pt of a training, a safetensors file (plain or int8 rows), its parts, or a folder of the
    product with such a file."""
    path = Path(path)
    path = path / PRODUCT if path.is_dir() else path
    if path.suffix == ".pt":
        found = torch.load(path, map_location="cpu")
        return {k: v.float() for k, v in found.get("weights", found).items()}
    parts = [path] if path.exists() else shards_of(path)
    if not parts:
        raise FileNotFoundError(path)
    return dequantise({k: v for part in parts for k, v in load_file(part).items()})


def read_autoencoder(path):
    """Weights in f32, mean and std of the latents [48]: of vae.pt, or of the product's folder (models/toybox/vae)."""
    path = Path(path)
    if path.is_dir():
        config = json.loads((path / "config.json").read_text())
        statistics = (torch.tensor(config[k]) for k in ("latents_mean", "latents_std"))
        return read_weights(path), *statistics
    found = torch.load(path, map_location="cpu")
    return read_weights(path), found["mean"].float(), found["std"].float()
