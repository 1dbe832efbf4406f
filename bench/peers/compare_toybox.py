"""Kinora against diffusers + PyTorch on this machine: the same weights, steps, size and guidance, runs interleaved.

    python bench/peers/compare_toybox.py --kinora target/release/kinora --repeats 3 --out bench/records/DATE-SLUG

Writes raw.csv and machine.json into the record's folder and prints medians and their ratios. Each run is a process of its
own, so that peak memory is that of one clip. Needs tools/reference/requirements.txt for the peer.
"""

import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("load", "map", "diffuse", "render")


def kinora(args):
    with tempfile.TemporaryDirectory() as folder:
        command = [args.kinora, "generate", args.prompt, "--raw-prompt", "--size", args.size, "--frames", str(args.frames)]
        command += ["--steps", str(args.steps), "--seed", "1", "--threads", str(args.threads), "--sampler", "euler"]
        command += ["--quiet", "--json", "-o", f"{folder}/clip.mp4"]
        report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    times = report["clips"][0]["timings"]
    row = {stage: times[f"{stage}_ms"] / 1000 for stage in STAGES}
    row["map"] += times["parse_ms"] / 1000
    return row | {"peak_memory_bytes": report["peak_memory_bytes"]}


def diffusers(args):
    command = [sys.executable, str(ROOT / "bench/peers/toybox_diffusers.py"), str(ROOT / "models/toybox")]
    command += ["--prompt", args.prompt, "--size", args.size, "--frames", str(args.frames), "--steps", str(args.steps)]
    command += ["--threads", str(args.threads)]
    result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    seconds = result["seconds"]
    row = {"load": seconds["load"], "map": seconds["map"], "diffuse": seconds["diffuse"], "render": seconds["decode"]}
    return row | {"peak_memory_bytes": result["peak_memory_bytes"]}


def machine():
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    flags = next((line.split(":")[1].split() for line in info.splitlines() if line.startswith("flags")), [])
    wanted = [flag for flag in flags if flag.startswith(("avx2", "avx512", "avx_vnni", "amx", "fma"))]
    name = next((line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name")), "")
    return {"cpu": name, "cores": os.cpu_count(), "flags": wanted, "system": platform.system(), "python": platform.python_version()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinora", default=str(ROOT / "target/release/kinora"))
    parser.add_argument("--prompt", default="a red car drives from left to right on a road")
    parser.add_argument("--size", default="512x288")
    parser.add_argument("--frames", type=int, default=33)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()

    rows = []
    for repeat in range(args.repeats):
        for engine, run in (("kinora", kinora), ("diffusers", diffusers)):
            row = {"engine": engine, "repeat": repeat} | run(args)
            row["total"] = sum(row[stage] for stage in STAGES)
            rows.append(row)
            print({key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()}, flush=True)

    median = lambda engine, key: statistics.median(row[key] for row in rows if row["engine"] == engine)  # noqa: E731
    print(f"{'':12} {'kinora':>10} {'diffusers':>10} {'ratio':>7}")
    for key in (*STAGES, "total", "peak_memory_bytes"):
        ours, theirs = median("kinora", key), median("diffusers", key)
        print(f"{key[:12]:12} {ours:10.2f} {theirs:10.2f} {theirs / max(ours, 1e-9):6.2f}x")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        with open(args.out / "raw.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
        (args.out / "machine.json").write_text(json.dumps(machine(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
