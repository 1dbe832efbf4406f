"""wan_vace_tiny: diffusers' WanVACETransformer3DModel with small random weights, with taps.

The control branch has one block for each entry of `vace_layers`. All of them run before the first main block, on the same
text, time and positions; the first adds the main tokens to its projected input (`proj_in`), each hands its tokens to the
next and, through `proj_out`, a hint to the main block of its number: x += scale * hint, after that block. Runs: `full`
(scale 1 each), `scaled` (`scales`: one each).

`control` has 96 channels: 16 latents of what stays, 16 of what is to be made anew, 64 of mask (see wan_vace_condition).

wan_vace_condition_tiny: how WanVACEPipeline makes these channels. `video` [1, 3, F, H, W] in -1..1 and `mask` (1: make
anew) -> inactive = video * (1 - mask) and reactive = video * mask, where mask > 0.5 counts as 1; both through the
autoencoder (mean, normalised), side by side; and the mask, here not rounded, with 8x8 pixels folded into 64 channels
(row by row), its frames brought to the number of latent frames by nearest-exact (of 5 frames 1 and 3).
`with_reference`: a picture encoded alone goes in front in time, with zeros
for its reactive half and for its mask. The autoencoder is the one of wan_pipeline_t2v_tiny.
"""

import json

import torch
from diffusers import WanVACEPipeline, WanVACETransformer3DModel

import goldens
import wan_pipeline_tiny
import wan_tiny
import wan_vae_tiny

SEED = 41
CONFIG = wan_tiny.CONFIG | {
    "_class_name": "WanVACETransformer3DModel",
    "num_layers": 3,
    "vace_layers": [0, 2],
    "vace_in_channels": 96,
}


def tapped(model):
    modules = wan_tiny.tapped(model) | {"blocks.2": model.blocks[2], "vace_patch_embedding": model.vace_patch_embedding}
    for i, block in enumerate(model.vace_blocks):
        modules |= {f"vace_blocks.{i}.hint": block.proj_out, f"vace_blocks.{i}.self_attn": block.attn1}
    return modules | {"vace_blocks.0.proj_in": model.vace_blocks[0].proj_in}


def transformer():
    model = WanVACETransformer3DModel.from_config(CONFIG).eval()
    goldens.randomise(model, SEED)
    latents, context, control = torch.randn(2, 4, 3, 4, 6), torch.randn(2, 5, 16), torch.randn(2, 96, 3, 4, 6)
    timestep = torch.tensor([999.0, 312.25])
    scales = {"full": torch.ones(2), "scaled": torch.tensor([0.6, 1.3])}
    out = goldens.with_prefix("weights.", model.state_dict())
    out |= {"hidden_states": latents, "context": context, "control": control, "timestep": timestep}
    for run, scale in scales.items():
        settings = {"control_hidden_states": control, "control_hidden_states_scale": scale, "return_dict": False}
        kept = []
        handle = model.vace_blocks[1].register_forward_hook(lambda _m, _i, output, kept=kept: kept.append(output[1]))
        with goldens.Taps(tapped(model)) as taps:
            output = model(latents, timestep, context, **settings)[0]
        handle.remove()
        for name in ("patch_embedding", "vace_patch_embedding"):
            taps[name] = taps[name].flatten(2).transpose(1, 2)
        taps["vace_blocks.1.tokens"] = kept[0]
        # Taps of `scaled` differ only after the first hint has been added.
        if run == "scaled":
            taps = {name: taps[name] for name in ("blocks.1", "blocks.2", "proj_out")}
        out |= goldens.with_prefix(f"{run}.", taps | {"scales": scale, "output": output})
    assert (out["full.output"] - out["scaled.output"]).abs().max() > 0.05
    meta = {"config": json.dumps(CONFIG)}
    goldens.write("kinora-models", "wan_vace_tiny", out, __file__, SEED, ["diffusers"], 2e-5, meta)


def conditions():
    vae = wan_vae_tiny.build(wan_pipeline_tiny.VAE_21)
    model = WanVACETransformer3DModel.from_config(CONFIG)
    pipe = WanVACEPipeline(
        tokenizer=None, text_encoder=None, vae=vae, transformer=model, scheduler=wan_pipeline_tiny.scheduler()
    )
    video = torch.rand(1, 3, 5, 32, 48) * 2 - 1
    mask = (torch.rand(1, 1, 5, 32, 48) > 0.5).float().repeat(1, 3, 1, 1, 1)
    # Two pixels on either side of what counts as one.
    mask[..., 0, 0], mask[..., 0, 1] = 0.4, 0.6
    picture = torch.rand(3, 32, 48) * 2 - 1
    out = {"video": video, "mask": mask[:, :1], "reference": picture}
    for run, references in (("plain", [[]]), ("with_reference", [[picture]])):
        latents = pipe.prepare_video_latents(video, mask, references, None, torch.device("cpu"))
        folded = pipe.prepare_masks(mask, references, None)
        assert latents.shape[1] == 8 and folded.shape[1] == 64 and latents.shape[2:] == folded.shape[2:]
        out |= {f"{run}.latents": latents, f"{run}.mask": folded}
    out |= goldens.with_prefix("vae.", vae.state_dict())
    meta = {"configs": json.dumps({"vae": wan_pipeline_tiny.VAE_21})}
    goldens.write("kinora-models", "wan_vace_condition_tiny", out, __file__, SEED, ["diffusers"], 2e-5, meta)


def main():
    goldens.seeded(SEED)
    transformer()
    conditions()


if __name__ == "__main__":
    main()
