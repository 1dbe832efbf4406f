"""What a run was planned to hold, and what it held: one row for each case.

    python bench/shapes/measure.py KINORA MODEL_FOLDER OUT.csv CASE...

A case is `SIZE:FRAMES:STEPS:PRECISION:LIMIT`, such as 320x192:33:1:int8:8GiB; each is a process of its own. Rows are added to
OUT.csv: the case, how weights are held, how guidance runs, bytes planned and held (VmHWM), their ratio, milliseconds of each stage.
"""

import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

FIELDS = ["model", "case", "weights", "guidance", "planned_bytes", "held_bytes", "held_to_planned"]
STAGES = ["load_ms", "map_ms", "diffuse_ms", "render_ms"]


def run(kinora, model, case):
    size, frames, steps, precision, limit = case.split(":")
    with tempfile.TemporaryDirectory() as folder:
        command = [kinora, "generate", "a red ball", "--model", model, "--size", size, "--frames", frames, "--steps", steps]
        command += ["--precision", precision, "--max-memory", limit, "--seed", "1", "--quiet", "--json", "-o", f"{folder}/clip.mp4"]
        report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    plan, held, times = report["plan"]["memory"], report["peak_memory_bytes"], report["clips"][0]["timings"]
    row = {"model": Path(model).name, "case": case, "weights": plan["weights"], "guidance": plan["guidance"]}
    row |= {"planned_bytes": plan["peak_bytes"], "held_bytes": held, "held_to_planned": round(held / plan["peak_bytes"], 4)}
    return row | {stage: times[stage] for stage in STAGES}


def main():
    kinora, model, out, *cases = sys.argv[1:]
    new = not Path(out).exists()
    with open(out, "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS + STAGES)
        if new:
            writer.writeheader()
        for case in cases:
            row = run(kinora, model, case)
            print(row, flush=True)
            writer.writerow(row)
            file.flush()


if __name__ == "__main__":
    main()
