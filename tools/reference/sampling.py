"""Writes the goldens of kinora-sampling from diffusers.

    python tools/reference/sampling.py crates/kinora-sampling/tests/fixtures
    python tools/reference/sampling.py --noise        # prints the first values of a noise, computed apart from the Rust code

Needs: diffusers, torch, safetensors, numpy (CPU is enough; a few seconds).

schedules.safetensors     `<variant>.steps<n>.shift<s>.sigmas` [n+1] f32 and `.timesteps` [n] f32
trajectories.safetensors  `<sampler>.<variant>.steps<n>.shift<s>.noise` [B,C,F,H,W] f32 and `.latents` [evals,B,C,F,H,W]: what the update
                          rule returned after each call of the model below

The model is an analytic stand-in that the Rust test computes too: with x the flattened latents (n elements), t the timestep,
    v[i] = 0.8 x[i] - 0.5 x[(i + 7) mod n] + sin(0.01 t + 0.1 i)        (in f64, rounded to f32)
"""

import hashlib
import json
import math
import sys
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    UniPCMultistepScheduler,
)
from safetensors.torch import save_file

STEPS = [3, 4, 20, 28, 50]
SHIFTS = [1, 3, 5, 8, 12]
SHAPE = (1, 4, 2, 5, 5)
SEED = 20


def rectified_flow(steps, shift, cls=FlowMatchEulerDiscreteScheduler):
    """The plain list: linspace(1, 0), shifted; what Wan's own code and Stable Diffusion 3 use."""
    s = cls(num_train_timesteps=1000, shift=float(shift))
    s.set_timesteps(sigmas=np.linspace(1.0, 0.0, steps + 1)[:-1].tolist())
    return s


def flow_match(steps, shift, cls=FlowMatchEulerDiscreteScheduler):
    """What FlowMatchEuler/HeunDiscreteScheduler make of a number of steps: the smallest sigma is shifted twice."""
    s = cls(num_train_timesteps=1000, shift=float(shift))
    s.set_timesteps(steps)
    return s


def uni_pc(steps, shift):
    """Wan's pipelines in diffusers."""
    s = UniPCMultistepScheduler(
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        flow_shift=float(shift),
        solver_order=2,
        solver_type="bh2",
        predict_x0=True,
        lower_order_final=True,
    )
    s.set_timesteps(steps)
    return s


def dpm(steps, shift):
    """DPM-Solver++ 2M on flow sigmas."""
    s = DPMSolverMultistepScheduler(
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        flow_shift=float(shift),
        solver_order=2,
        algorithm_type="dpmsolver++",
        solver_type="midpoint",
    )
    s.set_timesteps(steps)
    return s


def model(latents, timestep):
    x = latents.double().flatten()
    i = torch.arange(x.numel(), dtype=torch.float64)
    v = 0.8 * x - 0.5 * torch.roll(x, -7) + torch.sin(0.01 * float(timestep) + 0.1 * i)
    return v.float().reshape(latents.shape)


def trajectory(scheduler):
    latents = torch.randn(SHAPE, generator=torch.Generator().manual_seed(SEED))
    noise, after = latents.clone(), []
    for t in scheduler.timesteps:
        latents = scheduler.step(model(latents, t), t, latents, return_dict=False)[0]
        assert torch.isfinite(latents).all()
        after.append(latents.clone())
    return noise, torch.stack(after)


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    variants = {"rectified_flow": rectified_flow, "flow_match": flow_match, "uni_pc_flow": uni_pc, "dpm_flow": dpm}
    tables = {}
    for name, make in variants.items():
        for steps in STEPS:
            for shift in SHIFTS:
                s = make(steps, shift)
                key = f"{name}.steps{steps}.shift{shift}"
                tables[f"{key}.sigmas"] = s.sigmas.float().contiguous()
                tables[f"{key}.timesteps"] = s.timesteps.float().contiguous()

    runs = {}
    heun = FlowMatchHeunDiscreteScheduler
    for steps in (3, 4, 20):
        for shift in (3, 8):
            for name, scheduler in {
                "euler.rectified_flow": rectified_flow(steps, shift),
                "euler.flow_match": flow_match(steps, shift),
                "heun.flow_match": flow_match(steps, shift, heun),
                "unipc.uni_pc_flow": uni_pc(steps, shift),
                "dpmpp-2m.dpm_flow": dpm(steps, shift),
            }.items():
                noise, after = trajectory(scheduler)
                runs[f"{name}.steps{steps}.shift{shift}.noise"] = noise
                runs[f"{name}.steps{steps}.shift{shift}.latents"] = after

    fixtures = {}
    for file, tensors, tolerance in [
        ("schedules.safetensors", tables, 1e-6),
        ("trajectories.safetensors", runs, 1e-5),
    ]:
        save_file(tensors, folder / file)
        fixtures[file] = {
            "sources": {"diffusers": diffusers.__version__, "torch": torch.__version__},
            "script": "tools/reference/sampling.py",
            "seed": SEED,
            "dtype": "float32",
            "sha256": hashlib.sha256((folder / file).read_bytes()).hexdigest(),
            "tolerance": tolerance,
        }
    # wan_schedules.py has an entry there too.
    path = folder / "manifest.json"
    others = json.loads(path.read_text())["fixtures"] if path.exists() else {}
    path.write_text(json.dumps({"fixtures": others | fixtures}, indent=1) + "\n")


def philox(counter, key):
    """Philox4x32-10 (Salmon et al., SC11), written from the paper for the check of the Rust one."""
    c, k, mask = list(counter), list(key), 0xFFFFFFFF
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & mask, (p0 >> 32) ^ c[3] ^ k[1], p0 & mask]
        k = [(k[0] + 0x9E3779B9) & mask, (k[1] + 0xBB67AE85) & mask]
    return c


def noise(seed, variant, part, count):
    """The first values of the noise that kinora-sampling documents."""
    values = []
    for i in range(count):
        w = philox([i & 0xFFFFFFFF, i >> 32, variant, part], [seed & 0xFFFFFFFF, seed >> 32])
        a = (((w[1] << 32 | w[0]) >> 11) + 1) / 2**53
        b = ((w[3] << 32 | w[2]) >> 11) / 2**53
        values.append(math.sqrt(-2.0 * math.log(a)) * math.cos(math.tau * b))
    return np.array(values, dtype=np.float32)


if __name__ == "__main__":
    if sys.argv[1] == "--noise":
        values = noise(42, 1, 2, 4)
        print([hex(b) for b in values.view(np.uint32)], values)
    else:
        main(Path(sys.argv[1]))
