"""What the comparisons share: a run as a process of its own, medians and ratios, and the folder of a record.

Only the standard library, and numpy where arrays are compared: the process that starts the others must not hold PyTorch's
memory itself, and `--help` works without an environment.
"""

import csv
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "bench/peers"
# Where `cargo build --release` puts what is compared.
RELEASE = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"


def run(command, threads, keep_output=None):
    """Runs a command to its end; its standard output, wall seconds, and the most memory it held (bytes).

    The memory is what the system says of the child after it has ended (`ru_maxrss`): the same measure for every engine.
    """
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as talk:
        begin = time.perf_counter()
        try:
            child = subprocess.Popen([str(part) for part in command], stdout=out, stderr=talk, env=environment)
        except FileNotFoundError:
            sys.exit(f"{command[0]} is not there\nhint: bench/peers/run builds Kinora; name others with their flag (--help)")
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        talk.seek(0)
        output, talk = out.read(), talk.read()
    if keep_output:
        Path(keep_output).write_text(output + talk, encoding="utf-8")
    if child.returncode != 0:
        tail = "\n".join((output + talk).splitlines()[-15:])
        sys.exit(f"{shlex.join(map(str, command))}\nended with {child.returncode}:\n{tail}")
    return output, seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def machine():
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    flags = next((line.split(":")[1].split() for line in info.splitlines() if line.startswith("flags")), [])
    wanted = [flag for flag in flags if flag.startswith(("avx2", "avx512", "avx_vnni", "amx", "fma"))]
    name = next((line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name")), "")
    return {"cpu": name, "cores": os.cpu_count(), "flags": wanted, "system": platform.system(), "python": platform.python_version()}


class Rows:
    """The figures of all runs, and their medians."""

    def __init__(self):
        self.rows = []

    def add(self, engine, repeat, values):
        row = {"engine": engine, "repeat": repeat} | values
        self.rows.append(row)
        print({key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()}, flush=True)

    def median(self, engine, key):
        return statistics.median(row[key] for row in self.rows if row["engine"] == engine)

    def spread(self, engine, key):
        values = [row[key] for row in self.rows if row["engine"] == engine]
        return (max(values) - min(values)) / statistics.median(values)

    def table(self, peer, labels):
        """`labels` is {key: what to print}; keys that end in _bytes are shown in MB. The ratio is peer / Kinora."""
        print(f"\n{'median':44} {'kinora':>10} {peer:>22} {'ratio':>8}")
        for key, label in labels.items():
            ours, theirs = self.median("kinora", key), self.median(peer, key)
            unit = 1e6 if key.endswith("_bytes") else 1
            ratio = f"{theirs / ours:7.2f}x" if ours and theirs else f"{'-':>8}"
            print(f"{label:44} {ours / unit:10.2f} {theirs / unit:22.2f} {ratio}")

    def write(self, folder, **more):
        """raw.csv, machine.json, command.txt, and one JSON file for each of `more`."""
        if not folder:
            return
        folder.mkdir(parents=True, exist_ok=True)
        if self.rows:
            keys = list(dict.fromkeys(key for row in self.rows for key in row))
            with open(folder / "raw.csv", "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, keys)
                writer.writeheader()
                writer.writerows(self.rows)
        script = Path(sys.argv[0]).resolve()
        script = script.relative_to(ROOT) if script.is_relative_to(ROOT) else script.name
        (folder / "command.txt").write_text(f"python {script} {shlex.join(sys.argv[1:])}\n", encoding="utf-8")
        for name, value in ({"machine": machine()} | more).items():
            (folder / f"{name}.json").write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def psnr(got, want, top=255.0):
    """In dB, over all elements."""
    import numpy as np

    error = np.mean(np.square(got.astype(np.float64) - want.astype(np.float64)))
    return float("inf") if error == 0 else float(10 * np.log10(top * top / error))


def cosine(got, want):
    import numpy as np

    a, b = got.astype(np.float64).ravel(), want.astype(np.float64).ravel()
    return float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-300))


def relative_error(got, want):
    """|got - want| / |want|, over all elements."""
    import numpy as np

    a, b = got.astype(np.float64).ravel(), want.astype(np.float64).ravel()
    return float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-300))
