"""wan_schedules: sigmas, timesteps and coefficients of diffusers' schedulers as Wan uses them, and few-step lists.

`<kind>.steps<n>.shift<s>.sigmas` [n+1], `.timesteps` [n], `.coefficients` [n, n+1] for the kinds

  uni_pc_flow     UniPCMultistepScheduler, flow_prediction, flow sigmas, order 2, bh2, predict_x0, lower_order_final
  flow_match      FlowMatchEulerDiscreteScheduler with a number of steps
  rectified_flow  the same with sigmas linspace(1, 0) given (Wan's own code; Stable Diffusion 3)
  dpm_flow        DPMSolverMultistepScheduler, dpmsolver++, midpoint, order 2 ("DPM++ 2M"), flow sigmas

A sampler is linear in the noise and in what the model returns. Row i of `coefficients` are the shares in the latents after
step i: column 0 of the noise, column 1+j of the velocity of step j (0 for j > i). They are measured, not derived: `step` of
the real class runs on unit vectors. For this its sigmas, rounded to f32 as it leaves them, are widened to f64, so that
nothing but those sigmas carries rounding. `schedules` and `trajectories` of sampling.py have the same samplers at work.

Few-step lists, under `few.*`, computed from the rule of their source with diffusers' scheduler where it has one:

  few.dmd.shift<s>      [1000, 750, 500, 250] of Self-Forcing and lightx2v: entry t of the list names the level
                        t/1000 before the shift, so 750 is 0.9375 at shift 5; the timestep is 1000 x sigma. Between
                        steps Self-Forcing and lightx2v for Wan 2.1 estimate the clean latents and add fresh noise at
                        the next level; lightx2v for Wan 2.2 goes on along the velocity: Euler's rule on these sigmas.
  few.fastwan.shift<s>  [1000, 757, 522] of FastWan: the entries are timesteps after the shift; the sigma is the one of
                        the nearest of the 1000 shifted levels. Fresh noise between steps.
  few.rcm.sigma<m>.steps<n>  TurboWan (rCM): angles [atan(m), 1.5, 1.4, 1.0] of TrigFlow, where x = cos(t) clean + sin(t)
                        noise. Divided by cos(t) + sin(t) these are the latents of rectified flow with sigma = sin(t) /
                        (cos(t) + sin(t)). Fresh noise between steps; the noise is scaled by the first sigma.
                        Read in thu-ml/TurboDiffusion `inference/wan2.1_t2v_infer.py` (m 80), `wan2.2_i2v_infer.py` (m 200).
  few.lcm.shift<s>.steps<n>  FlowMatchLCMScheduler, spread evenly over `set_timesteps(n)`; fresh noise between steps.

`few.renoise.*` is a run of the rule with fresh noise: `latents`, `velocity` [steps, ...] and `noise` [steps-1, ...] in,
`after` [steps, ...] out: clean = latents - sigma * velocity; latents = (1 - next) * clean + next * noise. The levels are
those of FlowMatchLCMScheduler with 4 steps and shift 5, and its `step` made `after`.
"""

import json
import math

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FlowMatchLCMScheduler

import goldens
import sampling

SEED = 31
STEPS = [3, 4, 20, 50]
SHIFTS = [1, 3, 5, 8]
KINDS = {
    "uni_pc_flow": sampling.uni_pc,
    "flow_match": sampling.flow_match,
    "rectified_flow": sampling.rectified_flow,
    "dpm_flow": sampling.dpm,
}


def coefficients(scheduler):
    """[steps, steps + 1]: what each step leaves of the noise and of every velocity so far."""
    steps = len(scheduler.timesteps)
    scheduler.sigmas = scheduler.sigmas.double()
    unit = torch.eye(steps + 1, dtype=torch.float64)
    latents, rows = unit[0].view(1, -1, 1, 1, 1), []
    for i, t in enumerate(scheduler.timesteps):
        latents = scheduler.step(unit[i + 1].view(1, -1, 1, 1, 1), t, latents, return_dict=False)[0]
        rows.append(latents.flatten().double())
    return torch.stack(rows)


def levels(shift):
    """The 1000 levels of training, shifted, from pure noise down."""
    sigma = np.arange(1000, 0, -1) / 1000
    return shift * sigma / (1 + (shift - 1) * sigma)


def rcm(out):
    for sigma_max in (80, 200):
        for steps in (1, 2, 3, 4):
            angles = torch.tensor([math.atan(sigma_max), *[1.5, 1.4, 1.0][: steps - 1], 0], dtype=torch.float64)
            signal, noise = angles.cos(), angles.sin()
            sigmas = noise / (signal + noise)
            # The same latents up to a factor: their shares of noise and signal have the same ratio.
            assert torch.allclose(sigmas * signal, (1 - sigmas) * noise)
            out[f"few.rcm.sigma{sigma_max}.steps{steps}.sigmas"] = sigmas
            out[f"few.rcm.sigma{sigma_max}.steps{steps}.timesteps"] = 1000 * sigmas[:-1]


def few_steps(out):
    for shift in (1, 3, 5, 8):
        table = levels(shift)
        # Warped as the sources do: entry t is number 1000 - t of the shifted list.
        sigmas = [table[1000 - t] for t in (1000, 750, 500, 250)]
        out[f"few.dmd.shift{shift}.sigmas"] = torch.tensor([*sigmas, 0.0])
        # The scheduler's own table of 1000 timesteps; the nearest wins.
        trained = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=float(shift))
        assert np.abs(trained.timesteps.numpy() / 1000 - table).max() < 1e-6
        nearest = [int((trained.timesteps.double() - t).abs().argmin()) for t in (1000, 757, 522)]
        out[f"few.fastwan.shift{shift}.sigmas"] = torch.tensor([*trained.sigmas[nearest].tolist(), 0.0])
        out[f"few.fastwan.shift{shift}.timesteps"] = torch.tensor([1000.0, 757.0, 522.0])
        for steps in (3, 4, 8):
            lcm = FlowMatchLCMScheduler(num_train_timesteps=1000, shift=float(shift))
            lcm.set_timesteps(steps)
            out[f"few.lcm.shift{shift}.steps{steps}.sigmas"] = lcm.sigmas
            out[f"few.lcm.shift{shift}.steps{steps}.timesteps"] = lcm.timesteps


def renoise(out):
    lcm = FlowMatchLCMScheduler(num_train_timesteps=1000, shift=5.0)
    lcm.set_timesteps(4)
    shape, generator = (1, 4, 2, 3, 3), torch.Generator().manual_seed(SEED)
    latents = torch.randn(shape, generator=generator)
    velocity = torch.randn(4, *shape, generator=generator)
    # `step` draws the noise itself: the same generator, read twice.
    drawn = torch.Generator().manual_seed(SEED + 1)
    noise = torch.stack([torch.randn(shape, generator=drawn) for _ in range(4)])
    drawn = torch.Generator().manual_seed(SEED + 1)
    after, x = [], latents
    for i, t in enumerate(lcm.timesteps):
        x = lcm.step(velocity[i], t, x, generator=drawn, return_dict=False)[0]
        after.append(x)
    # The rule of the docstring, on its own.
    x = latents
    for i in range(4):
        clean = x - lcm.sigmas[i] * velocity[i]
        following = lcm.sigmas[i + 1]
        x = (1 - following) * clean + (following * noise[i] if following > 0 else 0)
        assert (x - after[i]).abs().max() < 1e-6, i
    run = {"sigmas": lcm.sigmas, "latents": latents, "velocity": velocity, "noise": noise[:3], "after": torch.stack(after)}
    out |= goldens.with_prefix("few.renoise.", run)


def main():
    goldens.seeded(SEED)
    out = {}
    for kind, make in KINDS.items():
        for steps in STEPS:
            for shift in SHIFTS:
                scheduler, key = make(steps, shift), f"{kind}.steps{steps}.shift{shift}"
                out[f"{key}.sigmas"] = scheduler.sigmas.clone()
                out[f"{key}.timesteps"] = scheduler.timesteps.clone()
                out[f"{key}.coefficients"] = table = coefficients(scheduler)
                # A velocity that never changes takes the latents straight to noise - sigma_0 * v.
                assert abs(table[-1, 0] - 1) < 1e-6 and abs(table[-1, 1:].sum() + scheduler.sigmas[0]) < 1e-6, key
                assert steps > 4 or table.abs().max() < 50, key
    few_steps(out)
    rcm(out)
    renoise(out)
    out = {key: value.float() for key, value in out.items()}
    meta = {"lists": json.dumps({"dmd": [1000, 750, 500, 250], "fastwan": [1000, 757, 522]})}
    goldens.write("kinora-sampling", "wan_schedules", out, __file__, SEED, ["diffusers"], 1e-6, meta)


if __name__ == "__main__":
    main()
