"""wan_causal_tiny: a Wan transformer that makes a clip block by block in time, as Self-Forcing and CausVid use it.

Such a model has the weights and names of text to video; what differs is who sees whom. The clip is cut into blocks of a few
latent frames. A token sees its own block and all blocks before it, which are clean (timestep 0). Implementations keep the
keys and values of clean blocks; here they are made anew in every call, from the whole clip so far with a mask over all
pairs of tokens, which says the same without a cache and without shared code.

A block takes a few steps. Each: velocity at the step's timestep; clean = latents - timestep / 1000 * velocity; except after
the last, noise is added again up to the next timestep. Then the block, clean, stands at timestep 0 for all later ones.

Runs: `whole` sees all; `window` sees at most 7 frames with its own, one of them always the first of the clip (sink);
`image` starts with a single given frame, which is a block of its own.
Tensors: `<run>.<block>.<step>.{latents,velocity}`, `<run>.<block>.clean`, and `<run>.<block>.written`, what the model says
of the clean block at timestep 0. `whole.3.1.{blocks.0,blocks.1}` are taps, the tokens of that block alone.

**Source** of the rules: guandeh17/Self-Forcing, `pipeline/causal_inference.py` and `wan/modules/causal_model.py` (read, not
run): blocks of 3 frames, positions counted from the start of the clip, the window with its own block in it.
"""

import json

import torch
from diffusers import WanTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanAttnProcessor

import goldens
import wan_tiny

SEED = 53
TIMESTEPS = [999.0, 625.5]
HEIGHT, WIDTH = 4, 6
TOKENS_OF_FRAME = HEIGHT // 2 * WIDTH // 2
RUNS = {
    "whole": {"blocks": [3, 3, 3, 3], "window": None, "sink": 0, "given": 0},
    "window": {"blocks": [3, 3, 3, 3], "window": 7, "sink": 1, "given": 0},
    "image": {"blocks": [1, 3, 3], "window": None, "sink": 0, "given": 1},
}


class Masked(WanAttnProcessor):
    """Self-attention with a mask; the class itself never passes one."""

    mask = None

    def __call__(self, attn, tokens, context=None, attention_mask=None, rotary_emb=None):
        return super().__call__(attn, tokens, context, self.mask, rotary_emb)


def visible(blocks, window, sink):
    """[L, L]: whether the token of a row sees the token of a column."""
    rows, start = [], 0
    for frames in blocks:
        end = start + frames
        sees = torch.arange(sum(blocks)) < end
        if window is not None and end > window:
            recent = torch.arange(sum(blocks)) >= end - (window - sink)
            sees &= recent | (torch.arange(sum(blocks)) < sink)
        rows += [sees] * frames
        start = end
    return torch.stack(rows).repeat_interleave(TOKENS_OF_FRAME, 0).repeat_interleave(TOKENS_OF_FRAME, 1)


def velocity(model, masked, run, clean, latents, timestep, context):
    """Of the last block, with the clean blocks before it."""
    clip = torch.cat([*clean, latents], dim=2)
    frames = latents.shape[2]
    masked.mask = visible(run["blocks"][: len(clean) + 1], run["window"], run["sink"])
    tokens = clip.shape[2] * TOKENS_OF_FRAME
    timesteps = torch.zeros(clip.shape[0], tokens)
    timesteps[:, tokens - frames * TOKENS_OF_FRAME :] = timestep
    with goldens.Taps({f"blocks.{i}": block for i, block in enumerate(model.blocks)}) as taps:
        out = model(clip, timesteps, context, return_dict=False)[0]
    return out[:, :, -frames:], {name: tap[:, -frames * TOKENS_OF_FRAME :] for name, tap in taps.items()}


def main():
    goldens.seeded(SEED)
    model = WanTransformer3DModel.from_config(wan_tiny.CONFIG).eval()
    goldens.randomise(model, SEED)
    masked = Masked()
    for block in model.blocks:
        block.attn1.set_processor(masked)
    context = torch.randn(2, 5, 16)
    out = goldens.with_prefix("weights.", model.state_dict()) | {"context": context, "timesteps": torch.tensor(TIMESTEPS)}
    for name, run in RUNS.items():
        clean = []
        for index, frames in enumerate(run["blocks"]):
            latents = torch.randn(2, 4, frames, HEIGHT, WIDTH)
            steps = [] if index < run["given"] else TIMESTEPS
            for step, timestep in enumerate(steps):
                said, taps = velocity(model, masked, run, clean, latents, timestep, context)
                key = f"{name}.{index}.{step}"
                out |= {f"{key}.latents": latents, f"{key}.velocity": said}
                if key == "whole.3.1":
                    out |= goldens.with_prefix(f"{key}.", taps)
                latents = latents - timestep / 1000 * said
                if step + 1 < len(steps):
                    sigma = steps[step + 1] / 1000
                    latents = (1 - sigma) * latents + sigma * torch.randn(latents.shape)
            written, _ = velocity(model, masked, run, clean, latents, 0.0, context)
            out |= {f"{name}.{index}.clean": latents, f"{name}.{index}.written": written}
            clean.append(latents)
    # What is outside of the window matters: the same input, seen whole.
    run = RUNS["window"] | {"window": None}
    clean = [out[f"window.{i}.clean"] for i in range(3)]
    unlimited, _ = velocity(model, masked, run, clean, out["window.3.0.latents"], TIMESTEPS[0], context)
    assert (unlimited - out["window.3.0.velocity"]).abs().max() > 0.01
    meta = {"config": json.dumps(wan_tiny.CONFIG)}
    goldens.write("kinora-models", "wan_causal_tiny", out, __file__, SEED, ["diffusers"], 2e-5, meta)


if __name__ == "__main__":
    main()
