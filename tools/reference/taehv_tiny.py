"""taehv_tiny: the autoencoder of taehv.py with small random weights: 9 frames of 32x32, encoded and decoded.

`encoder.N` and `decoder.N` are the values after layer N; `latents` is the raw output of the encoder, `decode_input` the
raw latents that are decoded. `causal.latents` comes from the first five frames only: it must equal `latents[:2]`.
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


def main():
    goldens.seeded(SEED)
    model = TAEHV(CONFIG).eval()
    goldens.randomise(model, SEED)
    # ReLU halves the energy of each layer; this keeps it about level.
    for name, tensor in model.state_dict().items():
        if tensor.ndim > 1 and ".conv." in name:
            tensor.mul_(1.3)
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


if __name__ == "__main__":
    main()
