"""Installs a new Toybox folder into the tree: quantise, describe, hash, measure; then re-make the goldens.

    python tools/reference/install_toybox.py SRC [--root REPO] [--no-measure] [--no-goldens]

SRC is a folder in the original format (bf16/f16 weights, configs, concepts.json, MODEL_CARD.md, fixtures/). Nothing
else in the repository names the weights' values, so this one script is all that a new version needs.
"""

import argparse
import datetime
import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from quantise import absmax_rows, dequantise, quantise, snr_db
from toybox import TEXT_ENCODER, TRANSFORMER, VAE, Toybox, read_json

MAX_BYTES = 105_000_000
COPIES = [
    "model_index.json",
    "concepts.json",
    "transformer/config.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/tokenizer.json",
    "text_encoder/tokenizer_config.json",
    "text_encoder/special_tokens_map.json",
]
OWN = "Apache-2.0 OR MIT"
MINILM = "Apache-2.0"
INT8 = "int8 rows with f32 scales; a few matrices bf16 or f16"
PARTS = [
    {"part": "transformer", "licence": OWN, "source": "trained for Kinora", "stored": INT8},
    {"part": "vae", "licence": OWN, "source": "trained for Kinora, TAEHV architecture", "stored": "f16"},
    {
        "part": "text_encoder",
        "licence": MINILM,
        "source": "sentence-transformers/all-MiniLM-L6-v2, not trained further",
        "stored": INT8,
    },
    {"part": "concepts", "licence": OWN, "source": "vocabulary of the training data; its sentence embeddings", "stored": "f16"},
]
ASSETS = [
    {"asset": "Fluent Emoji (animated), the actors of the training scenes", "licence": "MIT", "owner": "Microsoft Corporation"},
    {"asset": "emojibase, names of the actors", "licence": "MIT", "owner": "the emojibase authors"},
]
SHIPPED = """
## How the shipped files differ

The files beside this card were made from the original ones by `tools/reference/install_toybox.py`:
transformer and text encoder are int8, one f32 scale a row (`NAME.scale`), the scale chosen for the smallest squared
error; a few matrices that much depends on keep their original bf16 or f16 (the time embedding; the second matrix of
the feed-forward of two text encoder layers); vectors, norms and modulation tables are f32. The autoencoder is the
original f16; its configuration has an additional `latent_rgb`, a linear guess of colours for previews.
`QUANTIZATION.md` has what that costs. The original weights and the fixtures folder are not part of the repository.
`concepts.safetensors` holds one sentence embedding for each name and synonym of `concepts.json`.
"""


def phrases(concepts):
    """Every phrase that a parser may match, as (group, concept, text), without repetition inside a concept."""
    out = []

    def add(group, concept, texts):
        for text in dict.fromkeys(texts):
            out.append({"group": group, "concept": concept, "text": text})

    def spread(phrase):
        head, _, tail = phrase.partition(" ")
        return [f"{verb} {tail}".strip() for verb in head.split("/")]

    for actor in concepts["actors"]:
        add("actor", actor["name"], [actor["name"], *actor["synonyms"]])
    for group, key in (("background", "backgrounds"), ("time_of_day", "times_of_day"), ("weather", "weather")):
        for entry in concepts[key]:
            add(group, entry["name"], [entry["name"], *entry["phrases"]])
    for motion in concepts["motions"]:
        add("motion", motion["name"], [text for phrase in motion["phrases"] for text in spread(phrase)])
    for group, key in (("camera", "cameras"), ("style", "styles"), ("color", "studio_colors")):
        for text in concepts[key]:
            add(group, text, [text])
    for size, words in concepts["sizes"].items():
        add("size", size, words)
    return out


def latent_rgb(src, model):
    """Colours as a linear function of normalised latents, by least squares over the fixtures' clips."""
    inputs, colours = [], []
    for path in sorted((src / "fixtures").glob("*.safetensors")):
        tensors = load_file(path)
        latents = tensors[max(name for name in tensors if name.startswith("latents_step"))]
        frames = model.decode(latents).float() / 255
        # The first latent frame stands for one frame, each other for four.
        frames = torch.cat([frames[:1].expand(3, -1, -1, -1), frames])
        cells = torch.nn.functional.avg_pool2d(frames.unflatten(0, (-1, 4)).mean(1), 16)
        inputs.append(latents[0].permute(1, 2, 3, 0).flatten(0, 2))
        colours.append(cells.permute(0, 2, 3, 1).flatten(0, 2))
    x, y = torch.cat(inputs), torch.cat(colours)
    x = torch.cat([x, torch.ones(len(x), 1)], 1)
    fit = torch.linalg.lstsq(x.double(), y.double()).solution
    print(f"latent_rgb: rms error {(x.double() @ fit - y).square().mean().sqrt():.3f} of 1")
    rounded = [[round(v, 5) for v in row] for row in fit.tolist()]
    return {"weight": rounded[:-1], "bias": rounded[-1]}


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def licence_of(path):
    return MINILM if path.startswith("text_encoder/") else OWN


def write_manifest(out, version):
    files = []
    for path in sorted(p for p in out.rglob("*") if p.is_file() and p.name != "manifest.json"):
        name = path.relative_to(out).as_posix()
        files.append({"path": name, "bytes": path.stat().st_size, "sha256": sha256(path), "licence": licence_of(name)})
    manifest = {
        "name": "toybox",
        "version": version,
        "licence": f"({OWN}) AND {MINILM}",
        "tasks": ["text-to-video", "text-to-image", "image-to-video", "extend"],
        "parts": PARTS,
        "training_assets": ASSETS,
        "bytes": sum(f["bytes"] for f in files),
        "files": files,
    }
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return manifest["bytes"]


def decibel(got, want, peak):
    return 10 * torch.log10(peak**2 / (got.double() - want.double()).square().mean()).item()


def nmse(got, want):
    return ((got.double() - want.double()).square().sum() / want.double().square().sum()).item()


def measure(src, model):
    """The shipped model against the fixtures that the original weights wrote: one row of the table for each."""
    for path in sorted((src / "fixtures").glob("*.safetensors")):
        want = load_file(path)
        with safe_open(path, "pt") as file:
            meta = file.metadata()
        context, tokens = model.embed(meta["prompt"])
        null, _ = model.embed("")
        text_error = (context - want["text_embeds"]).abs().max().item()
        options = dict(steps=int(meta["steps"]), guidance=float(meta["cfg"]), shift=float(meta["shift"]))
        *_, latents = model.denoise(want["noise"], context, null, **options)
        target = want[f"latents_step{options['steps']}"]
        frames = model.decode(latents)
        yield {
            "prompt": meta["prompt"],
            "text max abs error": f"{text_error:.4f}",
            "text NMSE": f"{nmse(context, want['text_embeds']):.2e}",
            "latents NMSE": f"{nmse(latents, target):.2e}",
            "latents PSNR (dB)": f"{decibel(latents, target, (target.max() - target.min()).double()):.2f}",
            "first frame PSNR (dB)": f"{decibel(frames[0], want['frame0'], torch.tensor(255.0)):.2f}",
            "last frame PSNR (dB)": f"{decibel(frames[-1], want['frame_last'], torch.tensor(255.0)):.2f}",
        }


def table(rows):
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + " --- |" * len(rows[0])]
    return "\n".join(lines + ["| " + " | ".join(row.values()) + " |" for row in rows])


def weight_rows(sources, shipped):
    for name, state in sources.items():
        plain = snr_db(state, dequantise(quantise(state, absmax_rows)))
        kept = snr_db(state, dequantise(shipped[name]))
        yield {"file": name, "largest value (dB)": f"{plain:.2f}", "smallest error, shipped (dB)": f"{kept:.2f}"}


def report(version, weights, runs):
    text = f"""# What the int8 storage of Toybox {version} costs

Written by `tools/reference/install_toybox.py`. Reference: the original bf16 transformer, f16 text encoder, f32 arithmetic
(diffusers, transformers and `tools/reference/taehv.py` on the CPU).

Weights, signal to error over all int8 matrices, with the scale that puts the largest value of a row at 127 and with
the scale of the smallest squared error, which is shipped:

{table(weights)}
"""
    if runs:
        text += f"""
The whole way in f32 arithmetic with the int8 weights, against the fixtures of the original weights (4 Euler steps,
guidance 5: steps this few are for numbers, not for pictures). The PSNR of latents is relative to their range.

{table(runs)}
"""
    return text


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("src", type=Path)
    args.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[2])
    args.add_argument("--no-measure", action="store_true", help="leave out the comparison with the fixtures (minutes)")
    args.add_argument("--no-goldens", action="store_true", help="leave the goldens as they are")
    args = args.parse_args()
    src, out = args.src, args.root / "models/toybox"
    card = (src / "MODEL_CARD.md").read_text(encoding="utf-8")
    found = re.match(r"#.*?\bv(\d+)\.(\d+)(?:\.(\d+))?", card)
    if not found:
        sys.exit("the first line of MODEL_CARD.md does not name a version like v0.1")
    version = ".".join(part or "0" for part in found.groups())
    if out.exists():
        shutil.rmtree(out)
    for name in COPIES:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        # Copied as bytes with the mode of a new file: sources may be read-only.
        (out / name).write_bytes((src / name).read_bytes())
    (out / "vae").mkdir()
    (out / VAE).write_bytes((src / VAE).read_bytes())
    (out / "MODEL_CARD.md").write_text(card.rstrip() + "\n" + SHIPPED, encoding="utf-8")

    sources = {name: load_file(src / name) for name in (TRANSFORMER, TEXT_ENCODER)}
    shipped = {name: quantise(state) for name, state in sources.items()}
    for name, state in shipped.items():
        save_file(state, out / name, metadata={"format": "pt"})
    original = Toybox(src)
    vae = read_json(src / "vae/config.json") | {"latent_rgb": latent_rgb(src, original)}
    (out / "vae/config.json").write_text(json.dumps(vae, indent=1) + "\n", encoding="utf-8")
    entries = phrases(read_json(src / "concepts.json"))
    vectors = original.sentence([entry["text"] for entry in entries]).half()
    save_file({"vectors": vectors}, out / "concepts.safetensors", metadata={"phrases": json.dumps(entries)})

    weights = list(weight_rows(sources, shipped))
    runs = [] if args.no_measure else list(measure(src, Toybox(out)))
    text = report(version, weights, runs)
    (out / "QUANTIZATION.md").write_text(text, encoding="utf-8")
    print(text)
    for path in out.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    size = write_manifest(out, version)
    print(f"toybox {version}: {size / 1e6:.1f} MB in {out}, {len(entries)} phrases, {datetime.date.today()}")
    if size > MAX_BYTES:
        sys.exit(f"too large: the limit is {MAX_BYTES / 1e6:.0f} MB")
    if not args.no_goldens:
        subprocess.run([sys.executable, Path(__file__).with_name("make_all.py"), "--root", args.root], check=True)


if __name__ == "__main__":
    main()
