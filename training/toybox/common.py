"""What the trainers share: device, files that other steps leave, time, logs."""

import contextlib
import fcntl
import json
import os
import time
from pathlib import Path

import numpy as np
import torch

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def setup():
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    torch._dynamo.config.cache_size_limit = 64  # one graph a shape; there are a dozen


def autocast():
    """bf16 on a GPU; on a processor the tests want f32."""
    return torch.autocast(DEVICE.type, torch.bfloat16, enabled=DEVICE.type == "cuda")


def free_memory():
    """Gives cached memory back to the device: other steps wait and train there at the same time."""
    if DEVICE.type == "cuda":
        torch.cuda.empty_cache()


@contextlib.contextmanager
def turn(folder):
    """One step at a time compiles: its made-up batches take as much memory as training."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with open(Path(folder) / "turn", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
        free_memory()


def wait_for(path, seconds=1800):
    """Waits until another step has written `path`; files are moved into place, so one that exists is complete."""
    path, start = Path(path), time.time()
    while not path.exists():
        if time.time() - start > seconds:
            raise TimeoutError(f"{path} did not appear in {seconds} s")
        time.sleep(0.2)
    return path


def place(path, write):
    """Calls `write(temporary path)` and moves the result to `path`."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    write(temporary)
    os.replace(temporary, path)


def save_state(path, state):
    place(path, lambda p: torch.save(state, p))


def fresh_seed(seed, state):
    """`seed`, or another one if the file `state` is there: who goes on from it wants other scenes than those it has seen."""
    state = Path(state)
    return seed + int(state.stat().st_mtime) % 1_000_000 if state.exists() else seed


def save_json(path, value):
    place(path, lambda p: p.write_text(json.dumps(value)))


SHIFT = 3.0  # of the schedule for clips


def shifted(u, shift=SHIFT):
    """Noise level at u of an even schedule: u = 1 is noise, u = 0 is clean; a shift spends more steps on noise."""
    return shift * u / (1 + (shift - 1) * u)


def save_sheet(strips, path, columns, shrink=1):
    """Pictures of one size, `columns` side by side, as a JPEG; empty places are black."""
    from PIL import Image

    strips = strips + [np.zeros_like(strips[0])] * (-len(strips) % columns)
    rows = [np.concatenate(strips[i : i + columns], 1) for i in range(0, len(strips), columns)]
    image = Image.fromarray(np.concatenate(rows, 0))
    small = image.resize((image.width // shrink, image.height // shrink))
    place(path, lambda p: small.save(p, "JPEG", quality=85))


class Clock:
    """Progress from 0 to 1 between now and a moment in time (`until`, seconds since 1970)."""

    def __init__(self, until):
        self.start, self.until = time.time(), float(until)

    def seconds(self):
        return time.time() - self.start

    def progress(self):
        return min(1.0, self.seconds() / max(1e-6, self.until - self.start))

    def over(self):
        return time.time() >= self.until


class Log:
    """Means of named numbers; printed and kept every `every` steps. Numbers stay on the device until then."""

    def __init__(self, every=100):
        self.every, self.rows, self.steps = every, [], 0
        self.sums, self.counts, self.clock = {}, {}, time.time()

    def add(self, **numbers):
        for name, value in numbers.items():
            value = value.detach().float() if torch.is_tensor(value) else value
            self.sums[name] = self.sums.get(name, 0) + value
            self.counts[name] = self.counts.get(name, 0) + 1
        self.steps += 1
        if self.steps % self.every == 0 or self.steps in (1, 10, 30):
            self.flush()

    def flush(self):
        row = {"step": self.steps} | {k: round(float(v) / self.counts[k], 5) for k, v in self.sums.items()}
        row["seconds"] = round(time.time() - self.clock, 1)
        self.rows.append(row)
        print(" ".join(f"{k} {v}" for k, v in row.items()), flush=True)
        self.sums, self.counts = {}, {}


def ema_update(ema, parameters, decay):
    torch._foreach_lerp_(ema, [p.detach() for p in parameters], 1 - decay)
