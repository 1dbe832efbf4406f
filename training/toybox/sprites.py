"""Packs the actors' animations into sheets: 36 frames of 128x128, six by six, WebP.

    npm pack @lobehub/fluent-emoji-anim-1 @lobehub/fluent-emoji-anim-2 @lobehub/fluent-emoji-anim-3 @lobehub/fluent-emoji-anim-4 emojibase-data
    for f in *.tgz; do mkdir -p packages/$f && tar xzf $f -C packages/$f; done
    sprites.py packages sprites

Each sheet is cut to a square around all of its frames, feet at the lower edge. Fluent Emoji: MIT, Microsoft Corporation;
emojibase: MIT.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

import concepts

SIZE, FRAMES = 128, 36


def code_of(name):
    return name.lower().replace("-fe0f", "")


def find_animations(packages):
    """label of an emoji -> its animated file"""
    files = {code_of(path.stem): path for path in packages.rglob("assets/*.webp")}
    table = next(packages.rglob("en/data.json"))
    found = {}
    for emoji in json.loads(table.read_text()):
        found.setdefault(emoji["label"], files.get(code_of(emoji["hexcode"])))
    return found


def read_frames(path):
    """[36, H, W, 4], evenly spaced in the animation"""
    image = Image.open(path)
    count = getattr(image, "n_frames", 1)
    frames = []
    for k in range(FRAMES):
        image.seek(min(count - 1, k * count // FRAMES))
        frames.append(np.asarray(image.convert("RGBA")))
    return np.stack(frames)


def square_around(frames):
    """left, top and side of the square that holds what is visible in any frame"""
    seen = frames[..., 3].max(0) > 24
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    side = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 3
    return round((columns[0] + columns[-1] + 1) / 2 - side / 2), rows[-1] + 2 - side, side


def shrink(frame, left, top, side):
    """One frame [128, 128, 4], resized with colour multiplied by alpha so that edges keep their colour."""
    colour = frame.astype(np.float32)
    colour[..., :3] *= colour[..., 3:] / 255
    cut = np.zeros((side, side, 4), np.float32)
    height, width = frame.shape[:2]
    y0, y1, x0, x1 = max(0, top), min(height, top + side), max(0, left), min(width, left + side)
    cut[y0 - top : y1 - top, x0 - left : x1 - left] = colour[y0:y1, x0:x1]
    planes = [Image.fromarray(cut[..., i]).resize((SIZE, SIZE), Image.LANCZOS) for i in range(4)]
    small = np.stack([np.asarray(p) for p in planes], -1).clip(0, 255)
    alpha = small[..., 3:]
    small[..., :3] = np.where(alpha > 0.5, small[..., :3] * 255 / np.maximum(alpha, 0.5), 0).clip(0, 255)
    small[..., 3] = np.where(alpha[..., 0] < 2, 0, alpha[..., 0])
    return Image.fromarray(small.round().astype(np.uint8), "RGBA")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    animations = find_animations(args.packages)
    for i, concept in enumerate(concepts.load()):
        frames = read_frames(animations[concept["label"]])
        box = square_around(frames)
        sheet = Image.new("RGBA", (SIZE * 6, SIZE * 6))
        for k, frame in enumerate(frames):
            sheet.paste(shrink(frame, *box), ((k % 6) * SIZE, (k // 6) * SIZE))
        sheet.save(args.out / f"{i:03d}.webp", quality=76, alpha_quality=60, method=4)


if __name__ == "__main__":
    main()
