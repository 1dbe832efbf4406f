"""taehv_tiny: the autoencoder of taehv.py with small random weights: 9 frames of 32x32, encoded and decoded.

`encoder.N` and `decoder.N` are the values after layer N; `latents` is the raw output of the encoder, `decode_input` the
raw latents that are decoded. `causal.latents` comes from the first five frames only: it must equal `latents[:2]`.

taehv_wan21_tiny, taehv_wan22_tiny: the same with the channels, patches and stages of the networks published for Wan 2.1 and
Wan 2.2 (taew2_1, taew2_2), narrow, without means and deviations: 5 frames of 32x16, and as many decoded.
"""

import json

import torch

import goldens
from taehv import TAEHV

SEED = 11
LATENT = 4
CONFIG = {
    "_class_name": "TAEHV",
    "latent_channels": LATENT,
    "patch_size": 2,
    "image_channels": 3,
    "encoder_width": 8,
    "encoder_time_downscale": [True, True, False],
    "decoder_time_upscale": [False, True, True],
    "decoder_space_upscale": [True, True, True],
    "decoder_widths": [16, 8, 8, 8],
    "scale_factor_spatial": 16,
    "scale_factor_temporal": 4,
    "latents_mean": [0.1, -0.2, 0.3, 0.0],
    "latents_std": [0.75, 1.1, 0.6, 1.0],
}
# Outputs of more values are left out of the file: they follow from the one before by one layer.
MAX_TAP = 16_000


def build(config):
    model = TAEHV(config).eval()
    goldens.randomise(model, SEED)
    # ReLU halves the energy of each layer; this keeps it about level.
    for name, tensor in model.state_dict().items():
        if tensor.ndim > 1 and ".conv." in name:
            tensor.mul_(1.3)
    return model


def published(name, latent_channels, patch_size):
    config = {key: value for key, value in CONFIG.items() if not key.startswith(("latents_", "scale_"))}
    config |= {"latent_channels": latent_channels, "patch_size": patch_size}
    torch.manual_seed(SEED)
    model, factor = build(config), 8 * patch_size
    frames, raw = torch.rand(5, 3, 32, 16), torch.randn(2, latent_channels, 32 // factor, 16 // factor)
    latents, decoded = model.encode(frames), model.decode(raw)
    assert decoded.shape == frames.shape and latents.shape == raw.shape
    out = goldens.with_prefix("weights.", model.state_dict())
    out |= {"frames": frames, "latents": latents, "decode_input": raw, "decoded": decoded}
    meta = {"config": json.dumps(config)}
    goldens.write("kinora-models", name, out, __file__, SEED, [], 2e-5, meta)


def main():
    goldens.seeded(SEED)
    model = build(CONFIG)
    frames, raw = torch.rand(9, 3, 32, 32), torch.randn(3, LATENT, 2, 2) * 1.5
    taps = {}
    latents, decoded = model.encode(frames, taps), model.decode(raw, taps)
    causal = model.encode(frames[:5])
    assert torch.equal(causal, latents[:2]) or (causal - latents[:2]).abs().max() < 1e-6
    taps = {name: value for name, value in taps.items() if value.numel() <= MAX_TAP}
    out = goldens.with_prefix("weights.", model.state_dict())
    out |= goldens.with_prefix("taps.", taps)
    out |= {"frames": frames, "latents": latents, "causal.latents": causal, "decode_input": raw, "decoded": decoded}
    meta = {"config": json.dumps(CONFIG)}
    goldens.write("kinora-models", "taehv_tiny", out, __file__, SEED, [], 1e-3, meta)
    published("taehv_wan21_tiny", 16, 1)
    published("taehv_wan22_tiny", 48, 2)


if __name__ == "__main__":
    main()
