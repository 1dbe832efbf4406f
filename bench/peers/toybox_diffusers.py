"""The peer: Toybox in diffusers + PyTorch on the CPU (f32), one clip, as a process of its own.

    python bench/peers/toybox_diffusers.py models/toybox --size 512x288 --frames 33 --steps 8

Prints one JSON line: seconds for each stage and the peak memory of the process. The same weights as the shipped ones
(int8, dequantised to f32), the same steps, size and guidance; needs tools/reference/requirements.txt.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools/reference"))
from toybox import Toybox  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--prompt", default="a red car drives from left to right on a road")
    parser.add_argument("--size", default="512x288")
    parser.add_argument("--frames", type=int, default=33)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--guidance", type=float, default=5.0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    width, height = map(int, args.size.split("x"))

    marks = [time.perf_counter()]
    model = Toybox(args.folder)
    marks.append(time.perf_counter())
    context, _ = model.embed(args.prompt)
    null, _ = model.embed("")
    marks.append(time.perf_counter())
    noise = torch.randn(1, 48, (args.frames - 1) // 4 + 1, height // 16, width // 16)
    with torch.no_grad():
        for latents in model.denoise(noise, context, null, steps=args.steps, guidance=args.guidance):
            pass
    marks.append(time.perf_counter())
    with torch.no_grad():
        frames = model.decode(latents)
    marks.append(time.perf_counter())
    seconds = dict(zip(("load", "map", "diffuse", "decode"), (b - a for a, b in zip(marks, marks[1:]))))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "peak_memory_bytes": peak, "frames": len(frames), "torch": torch.__version__}))


if __name__ == "__main__":
    main()
