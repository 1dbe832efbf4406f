"""Installs a trained judge into the tree: `python tools/reference/install_judge.py OUT [--root REPO]`.

OUT is where `training/toybox/train_judge.py` wrote `judge.safetensors` and `judge.json`. Matrices become int8 rows with a
scale each, as in Toybox. Says how far the logits of random clips move, and writes `models/judge/`.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from quantise import dequantise, quantise

CARD = """# The judge

A network of {parameters:.1f} M parameters that says who and what a Toybox clip shows: 17 frames of 256x144 in, one answer for each
of seven questions out. `kinora eval` scores models with it ([docs/eval.md](../../docs/eval.md)); it is no part of the program.

Trained on {clips} clips and {frames} single frames of random scenes (`training/toybox/train_judge.py`), blurred and with
noise so that generated frames are no strangers. Accuracy on {held_out} renders of a seed that was used for nothing else, per cent:

| actor | background | time | weather | motion | camera | count |
| --- | --- | --- | --- | --- | --- | --- |
| {actor} | {background} | {time} | {weather} | {motion} | {camera} | {count} |

Motions, each of the renders that show it: {motions}.

Two different actors count as right only if they are the first two answers. A model cannot be seen to do better than its
judge sees: these figures are the ceiling of a score.

Stored as int8 rows with f32 scales; the largest change of a logit by that on random clips: {change:.2f}.
Licence: Apache-2.0 OR MIT. Training scenes: animated Fluent Emoji (MIT, Microsoft Corporation), names from emojibase (MIT).
"""


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("out", type=Path)
    args.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[2])
    args = args.parse_args()
    sys.path.insert(0, str(args.root / "training/toybox"))
    import judge

    weights, about = load_file(args.out / "judge.safetensors"), json.loads((args.out / "judge.json").read_text())
    stored = quantise(weights)
    change = largest_change(judge, weights, dequantise(stored))
    dest = args.root / "models/judge"
    dest.mkdir(parents=True, exist_ok=True)
    save_file(stored, dest / "model.safetensors", metadata={"format": "pt"})
    config = {"widths": judge.WIDTHS, "frames": judge.FRAMES, "width": judge.WIDTH, "height": judge.HEIGHT}
    config |= {"grid_channels": judge.GRID_CHANNELS, "frame_features": judge.FRAME_FEATURES, "hidden": judge.HIDDEN}
    config |= {k: about[k] for k in ("accuracy", "accuracy_by_motion", "clips_seen", "frames_seen", "classes")}
    (dest / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    per_cent = {head: f"{100 * value:.1f}" for head, value in about["accuracy"].items()}
    card = CARD.format(
        parameters=sum(w.numel() for w in weights.values()) / 1e6,
        clips=about["clips_seen"],
        frames=about["frames_seen"],
        held_out=about["held_out_clips"],
        change=change,
        motions=", ".join(f"{name} {100 * value:.0f}" for name, value in about["accuracy_by_motion"].items()),
        **per_cent,
    )
    (dest / "MODEL_CARD.md").write_text(card, encoding="utf-8")
    for path in dest.iterdir():
        path.chmod(0o644)
    print(f"judge: {(dest / 'model.safetensors').stat().st_size / 1e6:.1f} MB, largest change of a logit {change:.3f}")


@torch.no_grad()
def largest_change(judge, weights, rounded):
    torch.manual_seed(17)
    clips = torch.nn.functional.interpolate(torch.rand(34, 3, 9, 16), size=(judge.HEIGHT, judge.WIDTH), mode="bicubic")
    clips = clips.clamp(0, 1).unflatten(0, (2, judge.FRAMES))
    (a, _), (b, _) = (judge.Judge.folded(w).eval()(clips) for w in (weights, rounded))
    return max((a[head] - b[head]).abs().max().item() for head in a)


if __name__ == "__main__":
    main()
