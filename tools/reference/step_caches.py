"""step_caches: runs with EasyCache and MagCache, decided by a small implementation of the two rules in NumPy.

The rules are those of the papers (arXiv:2507.02860, arXiv:2506.09045), applied to the whole model: a replaced evaluation is
the latents plus what the model last added to its input. Facts that the papers leave open were read in
H-EmbodVis/EasyCache `EasyCache4Wan2.2` and Zehong-Ma/MagCache `MagCache4Wan2.1`:

  EasyCache  the prompt decides, the negative prompt follows; the change of the latents is counted from the step before,
             replaced or not; the gain is that between the last two real evaluations.
  MagCache   first steps are counted over both branches in turn; a curve of another length is read at the nearest step,
             for each branch.

In both the first and the last step are always real (MagCache's source may replace the last).

The model is analytic, and the Rust test computes it too: with x the flattened latents (n elements) and s the sigma,
    v[i] = a(s) x[i] + b(s) x[(i + 3) mod n] + c(s) sin(0.7 i + p)              (in f64, rounded to f32)
    a = 0.3 + 0.5 s, b = -0.2 s, c = 1.5 - s; p = 0 with the prompt, 0.4 with the negative one
The run is Euler on linspace(1, 0) shifted by 5, guidance 3; latents are rounded to f32 after each step.

`<case>.decisions` [steps, 2] i32: 1 where an evaluation was replaced; `.velocity` [steps, 2, ...]; `.latents` [steps, ...]
after each step; `.errors` [3]: mean expected error, largest expected error, largest error seen at a real evaluation after
replaced ones (0 if none). `noise`: where all runs start. `ratios` [2, 50]: the curve of the MagCache cases.
`calibrated.ratios` [2, steps]: the curve of a run in full. The metadata lists the cases.
"""

import json

import numpy as np
import torch

import goldens

SEED = 47
SHAPE = (1, 3, 2, 3, 4)
SHIFT = 5.0
GUIDANCE = 3.0
CASES = {
    "easy.loose": {"rule": "easycache", "steps": 30, "threshold": 0.3, "first_steps": 7},
    "easy.tight": {"rule": "easycache", "steps": 50, "threshold": 0.05, "first_steps": 5},
    "mag.stretched": {"rule": "magcache", "steps": 28, "threshold": 0.12, "max_skips": 2, "retention": 0.2},
    "mag.long": {"rule": "magcache", "steps": 50, "threshold": 0.16, "max_skips": 4, "retention": 0.1},
}


def f32(values):
    return values.astype(np.float32).astype(np.float64)


def model(latents, sigma, branch):
    x = latents.ravel()
    wave = np.sin(0.7 * np.arange(x.size) + 0.4 * branch)
    v = (0.3 + 0.5 * sigma) * x - 0.2 * sigma * np.roll(x, -3) + (1.5 - sigma) * wave
    return f32(v.reshape(latents.shape))


def sigmas(steps):
    line = np.linspace(1.0, 0.0, steps + 1)
    return SHIFT * line / (1 + (SHIFT - 1) * line)


def curve():
    """Something like a published curve: above 1 at first, falling at the end; the branches differ a little."""
    i = np.arange(50)
    cond = 1.02 - 0.0009 * i - 0.1 * np.exp((i - 49) / 4)
    ratios = np.stack([cond, cond - 0.004 * np.cos(i)])
    ratios[:, 0] = 1.0
    return f32(ratios)


def stretched(ratios, steps):
    if len(ratios) == steps:
        return ratios
    return ratios[np.rint(np.arange(steps) * ((len(ratios) - 1) / (steps - 1))).astype(int)]


class EasyCache:
    def __init__(self, case, _):
        self.case, self.sum, self.gain, self.input_before = case, 0.0, None, None

    def expected(self, branch, step, x, kept):
        """The expected error of a replaced evaluation, or None if it has to be real."""
        if branch == 1:
            return self.last
        forced = step < self.case["first_steps"] or step + 1 == self.case["steps"]
        self.last = None
        if not forced and self.gain is not None:
            moved = np.abs(x - self.input_before).mean()
            self.sum += self.gain * moved / np.abs(kept[1]).mean()
            if self.sum < self.case["threshold"]:
                self.last = self.sum
            assert abs(self.sum - self.case["threshold"]) > 1e-5, "too close to call"
        if self.last is None:
            self.sum = 0.0
        self.input_before = x
        return self.last

    def real(self, branch, x, v, kept):
        if branch == 0 and kept is not None:
            self.gain = np.abs(v - kept[1]).mean() / np.abs(x - kept[0]).mean()


class MagCache:
    def __init__(self, case, ratios):
        self.case = case
        self.ratios = [stretched(branch, case["steps"]) for branch in ratios]
        self.state = [[1.0, 0.0, 0], [1.0, 0.0, 0]]

    def expected(self, branch, step, x, kept):
        steps = self.case["steps"]
        if step == 0 or step + 1 == steps or 2 * step + branch < int(2 * steps * self.case["retention"]):
            return None
        product, error, count = self.state[branch]
        product *= self.ratios[branch][step]
        error += abs(1 - product)
        count += 1
        assert abs(error - self.case["threshold"]) > 1e-5, "too close to call"
        if error < self.case["threshold"] and count <= self.case["max_skips"]:
            self.state[branch] = [product, error, count]
            return error
        self.state[branch] = [1.0, 0.0, 0]
        return None

    def real(self, branch, x, v, kept):
        pass


def run(case, ratios, noise):
    rule = {"easycache": EasyCache, "magcache": MagCache}[case["rule"]](case, ratios)
    levels, x = sigmas(case["steps"]), noise
    kept, since, expected_errors, seen_errors = [None, None], [0, 0], [], []
    decisions, velocities, latents = [], [], []
    for step in range(case["steps"]):
        row, pair = [], []
        for branch in (0, 1):
            error = rule.expected(branch, step, x, kept[branch])
            if error is not None and kept[branch] is not None:
                v = f32(x + (kept[branch][1] - kept[branch][0]))
                since[branch] += 1
                expected_errors.append(error)
            else:
                v = model(x, levels[step], branch)
                rule.real(branch, x, v, kept[branch])
                if since[branch]:
                    stale = x + kept[branch][1] - kept[branch][0]
                    seen_errors.append(np.abs(stale - v).mean() / np.abs(v).mean())
                kept[branch], since[branch] = (x, v), 0
                expected_errors.append(0.0)
            row.append(int(since[branch] > 0))
            pair.append(v)
        guided = f32((1 - GUIDANCE) * pair[1] + GUIDANCE * pair[0])
        x = f32(x + (levels[step + 1] - levels[step]) * guided)
        decisions.append(row)
        velocities.append(np.stack(pair))
        latents.append(x)
    errors = [np.mean(expected_errors), max(expected_errors), max(seen_errors, default=0.0)]
    return np.array(decisions), np.stack(velocities), np.stack(latents), np.array(errors)


def calibrated(steps, noise):
    levels, x, before, ratios = sigmas(steps), noise, [None, None], [[], []]
    for step in range(steps):
        pair = [model(x, levels[step], branch) for branch in (0, 1)]
        for branch, v in enumerate(pair):
            residual = v - x
            norm = np.sqrt((residual**2).sum(axis=1))
            ratios[branch].append(1.0 if before[branch] is None else (norm / before[branch]).mean())
            before[branch] = norm
        guided = f32((1 - GUIDANCE) * pair[1] + GUIDANCE * pair[0])
        x = f32(x + (levels[step + 1] - levels[step]) * guided)
    return np.array(ratios)


def main():
    goldens.seeded(SEED)
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(SEED))
    ratios = curve()
    out = {"noise": noise, "ratios": torch.tensor(ratios).float()}
    start = noise.double().numpy()
    for name, case in CASES.items():
        decisions, velocity, latents, errors = run(case, ratios, start)
        real = (decisions == 0).sum()
        assert 0.3 * decisions.size < real < 0.9 * decisions.size, (name, real, decisions.size)
        print(name, "real", real, "of", decisions.size, "errors", errors)
        out[f"{name}.decisions"] = torch.tensor(decisions, dtype=torch.int32)
        out[f"{name}.velocity"] = torch.tensor(velocity).float()
        out[f"{name}.latents"] = torch.tensor(latents).float()
        out[f"{name}.errors"] = torch.tensor(errors).float()
    out["calibrated.ratios"] = torch.tensor(calibrated(20, start)).float()
    goldens.write("kinora-sampling", "step_caches", out, __file__, SEED, ["numpy"], 1e-5, {"cases": json.dumps(CASES)})


if __name__ == "__main__":
    main()
