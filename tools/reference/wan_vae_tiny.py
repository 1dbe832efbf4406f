"""wan_vae21_tiny, wan_vae22_tiny: diffusers' AutoencoderKLWan with small random weights, both ways, 9 frames.

Wan 2.1: 4x8x8 and flat encoder stages. Wan 2.2: 4x16x16, 48 channels, `is_residual` stages with a mean/repeat shortcut,
pixels in patches of 2x2 (12 channels), and a decoder of another width than the encoder.

`encode.*` and `decode.*` are what the stages gave, all chunks of the causal run one after the other in time: the encoder
takes frame 0, then 4 frames at a time; the decoder takes one latent frame at a time and gives 1 frame, then 4 at a time.
Each convolution in time keeps its last two input frames for the next chunk.

`frames` -> `moments` (mean and log-variance side by side) -> `latents` = the mean as it is, `normalised` = (latents -
latents_mean) / latents_std, which is what the transformer works on. `decode_input` is normalised; `decode_raw` =
decode_input * latents_std + latents_mean is what the decoder gets; `decoded` is clamped to -1..1, `decode.conv_out` not
(and still in patches for Wan 2.2). A clip of 5 or 1 frames gives the first 2 or 1 latents of the one of 9, and the first
2 or 1 latents decode to its first 5 or 1 frames: checked here, so there is nothing to store for them.

`tiled.*` (2.1 only): `enable_tiling` with tiles of 16 pixels every 8: 2 latent frames of 3x4 decoded in tiles with
a linear blend. It is not equal to the decoding as a whole: each tile has its own zero padding and its own attention.
"""

import json

import torch
from diffusers import AutoencoderKLWan

import goldens

SEED = 23
TOLERANCE = 2e-5
# Narrow, with the multipliers of the published models.
COMMON = {
    "_class_name": "AutoencoderKLWan",
    "dim_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "attn_scales": [],
    "temperal_downsample": [False, True, True],
    "dropout": 0.0,
    "scale_factor_temporal": 4,
}
CONFIG_21 = COMMON | {
    "base_dim": 3,
    "z_dim": 4,
    "latents_mean": [-0.7571, -0.7089, 0.1075, 0.9653],
    "latents_std": [2.8184, 1.4541, 0.6558, 1.2196],
    "is_residual": False,
    "in_channels": 3,
    "out_channels": 3,
    "patch_size": None,
    "scale_factor_spatial": 8,
}
CONFIG_22 = COMMON | {
    "base_dim": 2,
    "decoder_base_dim": 3,
    "z_dim": 48,
    "latents_mean": [round(0.4 * ((7 * i) % 11 - 5) / 5, 4) for i in range(48)],
    "latents_std": [round(0.5 + ((5 * i) % 13) / 13, 4) for i in range(48)],
    "is_residual": True,
    "in_channels": 12,
    "out_channels": 12,
    "patch_size": 2,
    "scale_factor_spatial": 16,
}
# Left out for the size of the file: each follows from the one before by one residual block.
LEFT_OUT = {"encode.down_blocks.0"}
MAX_TAP = 12_000


class Chunks:
    """Outputs of named submodules, joined in time over the chunks of one run."""

    def __init__(self, modules):
        self.parts = {name: [] for name in modules}
        self.hooks = [module.register_forward_hook(self._keep(name)) for name, module in modules.items()]

    def _keep(self, name):
        return lambda _module, _inputs, output: self.parts[name].append(output.detach().clone())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for hook in self.hooks:
            hook.remove()

    def joined(self):
        return {name: torch.cat(parts, 2) for name, parts in self.parts.items() if parts}


def stages(model):
    encoder, decoder = model.encoder, model.decoder
    modules = {"encode.conv_in": encoder.conv_in, "encode.mid": encoder.mid_block, "encode.conv_out": encoder.conv_out}
    modules |= {f"encode.down_blocks.{i}": block for i, block in enumerate(encoder.down_blocks)}
    modules |= {"decode.post_quant": model.post_quant_conv, "decode.conv_in": decoder.conv_in}
    modules |= {"decode.mid": decoder.mid_block, "decode.conv_out": decoder.conv_out}
    modules |= {"decode.mid.resnet": decoder.mid_block.resnets[0], "decode.mid.attention": decoder.mid_block.attentions[0]}
    modules |= {f"decode.up_blocks.{i}": block for i, block in enumerate(decoder.up_blocks)}
    return modules


def build(config):
    model = AutoencoderKLWan.from_config(config).eval()
    goldens.randomise(model, SEED)
    generator = torch.Generator().manual_seed(SEED + 1)
    for name, tensor in model.state_dict().items():
        if name.endswith("gamma"):
            tensor.copy_(1 + 0.2 * torch.randn(tensor.shape, generator=generator))
        # Pixels that are mostly inside -1..1, where the clamp hides nothing.
        if name.startswith("decoder.conv_out"):
            tensor.mul_(1.0)
    return model


def per_channel(values):
    return torch.tensor(values).view(1, -1, 1, 1, 1)


def check_conditioning(config, model, frames, raw, taps):
    """With two or three channels a norm can blow rounding up: f64 must give the same to half the tolerance, at every tap."""
    with torch.random.fork_rng():
        exact = AutoencoderKLWan.from_config(config).eval().double()
    exact.load_state_dict(model.state_dict())
    with Chunks(stages(exact)) as chunks:
        exact.encode(frames.double())
        exact.decode(raw.double())
    worst = max((float((taps[k] - v).abs().max()), k) for k, v in chunks.joined().items())
    assert worst[0] < TOLERANCE / 2, worst
    print("f64 differs by", worst)


def run(name, config, size, latent_size):
    model = build(config)
    mean, std = per_channel(config["latents_mean"]), per_channel(config["latents_std"])
    frames = torch.rand(1, 3, 9, *size) * 2 - 1
    normalised = torch.randn(1, config["z_dim"], 3, *latent_size)
    raw = normalised * std + mean
    with Chunks(stages(model)) as chunks:
        posterior = model.encode(frames).latent_dist
        decoded = model.decode(raw).sample
    latents = posterior.mode()
    # The published pipelines multiply by 1/std and divide by it; the same up to rounding.
    for count in (1, 5):
        part = 1 + (count - 1) // 4
        assert (model.encode(frames[:, :, :count]).latent_dist.mode() - latents[:, :, :part]).abs().max() < 1e-5
        assert (model.decode(raw[:, :, :part]).sample - decoded[:, :, :count]).abs().max() < 1e-5
    assert decoded.shape[2:] == (9, *size)
    clamped = float((decoded.abs() == 1).float().mean())
    assert 0 < clamped < 0.2, clamped
    joined = chunks.joined()
    check_conditioning(config, model, frames, raw, joined)
    taps = {k: v for k, v in joined.items() if k not in LEFT_OUT and v.numel() <= MAX_TAP}
    assert min(float(v.std()) for v in taps.values()) > 0.05
    out = goldens.with_prefix("weights.", model.state_dict()) | taps
    out |= {"frames": frames, "moments": posterior.parameters, "latents": latents, "normalised": (latents - mean) / std}
    out |= {"decode_input": normalised, "decode_raw": raw, "decoded": decoded}
    if config["patch_size"] is None:
        model.enable_tiling(16, 16, 8, 8)
        tiled_raw = torch.randn(1, config["z_dim"], 2, 3, 4) * std + mean
        tiled = model.decode(tiled_raw).sample
        out |= {"tiled.decode_raw": tiled_raw, "tiled.decoded": tiled}
        model.disable_tiling()
        assert (model.decode(tiled_raw).sample - tiled).abs().max() > 0.01
    meta = {"config": json.dumps(config)}
    goldens.write("kinora-models", name, out, __file__, SEED, ["diffusers"], TOLERANCE, meta)
    print(f"{name}: clamped {clamped:.3f}", {k: (list(v.shape), round(float(v.std()), 2)) for k, v in taps.items()})


def main():
    goldens.seeded(SEED)
    run("wan_vae21_tiny", CONFIG_21, (16, 24), (2, 3))
    # Frames that do not depend on the other fixture, and are well conditioned.
    torch.manual_seed(SEED)
    run("wan_vae22_tiny", CONFIG_22, (32, 16), (2, 1))


if __name__ == "__main__":
    main()
