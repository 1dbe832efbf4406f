"""Kinora against diffusers + PyTorch on this machine: the same weights, noise, steps, size and guidance.

    bench/peers/run toybox                       # with an environment of its own
    python bench/peers/compare_toybox.py --kinora target/release/kinora --repeats 3 --out bench/records/DATE-SLUG

First, apart from the timing, the frames of both are compared (Kinora's lossless ones against the peer's in f32). Then the
runs are interleaved, each a process of its own, and medians and ratios are printed. `--out` writes a record's files.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from common import PEERS, RELEASE, ROOT, Rows, cosine, psnr, run

STAGES = ("load", "map", "diffuse", "render")
# What two f32 engines may differ by: rounding to bytes and little else.
MIN_PSNR_F32 = 50.0
LABELS = {
    "load": "load, s",
    "map": "parse and map, s",
    "diffuse": "diffuse, s",
    "render": "render, s (the peer only decodes)",
    "total": "all stages, s (without imports)",
    "with_import": "all stages and imports, s",
    "wall": "whole process, s",
    "peak_memory_bytes": "peak memory, MB",
}


def kinora_command(args, output, *more):
    command = [args.kinora, "generate", args.prompt, "--raw-prompt", "--size", args.size, "--frames", args.frames]
    command += ["--steps", args.steps, "--guidance", args.guidance, "--seed", args.seed, "--threads", args.threads]
    command += ["--sampler", "euler", "--quiet", "--json", "-o", output, *more]
    return command + (["--precision", args.precision] if args.precision else [])


def peer_command(args, *more):
    command = [sys.executable, PEERS / "toybox_diffusers.py", args.model, "--prompt", args.prompt, "--size", args.size]
    command += ["--frames", args.frames, "--steps", args.steps, "--guidance", args.guidance, "--seed", args.seed]
    return command + ["--threads", args.threads, *more]


def peer_options(args):
    options = ["--dtype", args.peer_dtype, "--predictions", args.peer_predictions, "--decode", args.peer_decode]
    return options + (["--channels-last"] if args.peer_channels_last else [])


def time_kinora(args):
    with tempfile.TemporaryDirectory() as folder:
        output, wall, peak = run(kinora_command(args, f"{folder}/clip.mp4"), args.threads)
    times = json.loads(output)["clips"][0]["timings"]
    row = {stage: times[f"{stage}_ms"] / 1000 for stage in STAGES}
    row["map"] += times["parse_ms"] / 1000
    return finish(row, 0.0, wall, peak)


def time_peer(args):
    output, wall, peak = run(peer_command(args, *peer_options(args)), args.threads)
    seconds = json.loads(output.splitlines()[-1])["seconds"]
    return finish({stage: seconds[stage] for stage in STAGES}, seconds["import"], wall, peak)


def finish(row, imports, wall, peak):
    total = sum(row.values())
    return row | {"total": total, "import": imports, "with_import": total + imports, "wall": wall, "peak_memory_bytes": peak}


def peer_frames(args, folder, *options):
    run(peer_command(args, "--frames-out", f"{folder}/peer.npy", *options), args.threads)
    import numpy as np

    return np.load(f"{folder}/peer.npy")


def agreement(args):
    """PSNR and cosine of the frames against the peer's in f32: the worst frame and all together."""
    import numpy as np
    from PIL import Image

    found = {}
    with tempfile.TemporaryDirectory() as folder:
        want = peer_frames(args, folder)
        output, _, _ = run(kinora_command(args, f"{folder}/frames", "--format", "png-frames"), args.threads)
        recipe = json.loads(output)["clips"][0]["recipe"]
        files = sorted(Path(folder, "frames").glob("frame_*.png"))
        found["kinora"] = compare(np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files]), want)
        found["kinora"] |= {"precision": recipe.get("precision", "f32"), "kernels": recipe["kernels"]}
        if peer_options(args) != ["--dtype", "f32", "--predictions", "sequential", "--decode", "all"]:
            found["peer as it is timed"] = compare(peer_frames(args, folder, *peer_options(args)), want)
    print("agreement with diffusers + PyTorch in f32 (frames as bytes, same noise):")
    for who, figures in found.items():
        print(f"  {who}: {', '.join(f'{k} {v:.6g}' if isinstance(v, float) else f'{k} {v}' for k, v in figures.items())}")
    ours = found["kinora"]
    limit = args.min_psnr if args.min_psnr is not None else MIN_PSNR_F32 if ours["precision"] == "f32" else None
    if limit is None:
        print(f"  no limit is set for {ours['precision']}: --min-psnr DB sets one")
    elif ours["psnr_all_db"] < limit:
        sys.exit(f"the outputs disagree: {ours['psnr_all_db']:.1f} dB, expected {limit:.1f} dB or more")
    else:
        print(f"  passed: {ours['psnr_all_db']:.1f} dB, the limit is {limit:.1f} dB")
    return found | {"limit_psnr_db": limit}


def compare(got, want):
    import numpy as np

    if got.shape != want.shape:
        sys.exit(f"the outputs disagree: frames of shape {got.shape}, the peer has {want.shape}")
    centred = [frames.astype(np.float32) - want.mean() for frames in (got, want)]
    return {
        "psnr_all_db": psnr(got, want),
        "psnr_worst_frame_db": min(psnr(a, b) for a, b in zip(got, want)),
        "cosine": cosine(got, want),
        "cosine_without_mean": cosine(*centred),
        "largest_difference": int(np.abs(got.astype(int) - want).max()),
    }


def main():
    parser = argparse.ArgumentParser(prog="toybox", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinora", default=str(RELEASE / "kinora"))
    parser.add_argument("--model", default=str(ROOT / "models/toybox"), help="the weights, for the peer; Kinora has them inside")
    parser.add_argument("--prompt", default="a red car drives from left to right on a road")
    parser.add_argument("--size", default="512x288")
    parser.add_argument("--frames", type=int, default=33)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--guidance", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of each engine; 0 for the agreement alone")
    parser.add_argument("--precision", help="Kinora's: f32, bf16, int8 or auto; what it takes by itself if absent")
    parser.add_argument("--peer-dtype", choices=("f32", "bf16"), default="f32")
    parser.add_argument("--peer-predictions", choices=("sequential", "batched"), default="sequential")
    parser.add_argument("--peer-decode", choices=("all", "streamed"), default="all")
    parser.add_argument("--peer-channels-last", action="store_true")
    parser.add_argument("--no-agreement", action="store_true", help="do not compare the outputs first")
    parser.add_argument("--min-psnr", type=float, help=f"fail below this (dB); {MIN_PSNR_F32:.0f} for f32, none for others")
    parser.add_argument("--out", type=Path, help="folder for raw.csv, machine.json, command.txt, agreement.json")
    args = parser.parse_args()

    rows, found = Rows(), {} if args.no_agreement else agreement(args)
    for repeat in range(args.repeats):
        rows.add("kinora", repeat, time_kinora(args))
        rows.add("diffusers", repeat, time_peer(args))
    if args.repeats:
        rows.table("diffusers", LABELS)
        print(f"\nKinora: precision {args.precision or 'as it chooses'}; peer: {' '.join(peer_options(args)).replace('--', '')}")
        print(f"spread of the totals: kinora {rows.spread('kinora', 'total'):.0%}, diffusers {rows.spread('diffusers', 'total'):.0%}")
    rows.write(args.out, **({"agreement": found} if found else {}))


if __name__ == "__main__":
    main()
