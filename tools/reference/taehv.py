"""The TAEHV autoencoder ("taew2_2" layout) in plain PyTorch: what crates/kinora-models/src/taehv is compared with.

Architecture and tensor names follow https://github.com/madebyollin/taehv (MIT); written for Kinora from the conventions
in models/toybox/vae/config.json. All frames of a clip pass a layer together, so that every stage can be looked at;
the memory of a block is the frame before, zeros before the first one.
"""

import torch
import torch.nn.functional as F
from torch import nn


def conv3(cin, cout, **kwargs):
    return nn.Conv2d(cin, cout, 3, padding=1, **kwargs)


class Clamp(nn.Module):
    """Soft limit at +-3."""

    def forward(self, x):
        return torch.tanh(x / 3) * 3


class MemBlock(nn.Module):
    """Residual block over a frame and the one before it."""

    def __init__(self, cin, cout):
        super().__init__()
        self.conv = nn.Sequential(conv3(2 * cin, cout), nn.ReLU(), conv3(cout, cout), nn.ReLU(), conv3(cout, cout))
        self.skip = nn.Conv2d(cin, cout, 1, bias=False) if cin != cout else nn.Identity()

    def forward(self, x):  # x [F,C,H,W]
        past = torch.cat([torch.zeros_like(x[:1]), x[:-1]])
        return F.relu(self.conv(torch.cat([x, past], 1)) + self.skip(x))


class TPool(nn.Module):
    """`stride` neighbouring frames become one: their channels side by side, then a 1x1 convolution."""

    def __init__(self, channels, stride):
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(channels * stride, channels, 1, bias=False)

    def forward(self, x):
        frames, channels, height, width = x.shape
        return self.conv(x.reshape(frames // self.stride, self.stride * channels, height, width))


class TGrow(nn.Module):
    """One frame becomes `stride` frames: a 1x1 convolution whose output channels are split in time order."""

    def __init__(self, channels, stride):
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(channels, channels * stride, 1, bias=False)

    def forward(self, x):
        _, channels, height, width = x.shape
        return self.conv(x).reshape(-1, channels, height, width)


class TAEHV(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.patch = config["patch_size"]
        latent, pixels = config["latent_channels"], config["image_channels"] * self.patch**2
        width = config.get("encoder_width", 64)
        encoder = [conv3(pixels, width), nn.ReLU()]
        for halve in config["encoder_time_downscale"]:
            encoder += [TPool(width, 2 if halve else 1), conv3(width, width, stride=2, bias=False)]
            encoder += [MemBlock(width, width) for _ in range(3)]
        self.encoder = nn.Sequential(*encoder, conv3(width, latent))
        n = config["decoder_widths"]
        decoder = [Clamp(), conv3(latent, n[0]), nn.ReLU()]
        stages = zip(config["decoder_space_upscale"], config["decoder_time_upscale"])
        for i, (space, double) in enumerate(stages):
            decoder += [MemBlock(n[i], n[i]) for _ in range(3)]
            decoder += [nn.Upsample(scale_factor=2 if space else 1), TGrow(n[i], 2 if double else 1)]
            decoder += [conv3(n[i], n[i + 1], bias=False)]
        self.decoder = nn.Sequential(*decoder, nn.ReLU(), conv3(n[-1], pixels))
        # The first frame stands alone: that many copies go in front of it, that many decoded frames are dropped.
        self.pad = 2 ** sum(config["encoder_time_downscale"]) - 1
        self.trim = 2 ** sum(config["decoder_time_upscale"]) - 1

    @staticmethod
    def _run(stack, x, taps, prefix):
        for i, layer in enumerate(stack):
            x = layer(x)
            if taps is not None:
                taps[f"{prefix}.{i}"] = x
        return x

    @torch.no_grad()
    def encode(self, frames, taps=None):
        """frames [F,3,H,W] in 0..1, F = 4k+1 -> raw latents [k+1,C,H/16,W/16] (not normalised)."""
        x = F.pixel_unshuffle(torch.cat([frames[:1].expand(self.pad, -1, -1, -1), frames]), self.patch)
        return self._run(self.encoder, x, taps, "encoder")

    @torch.no_grad()
    def decode(self, latents, taps=None):
        """raw latents [k+1,C,h,w] -> frames [4k+1,3,16h,16w], not clamped."""
        x = self._run(self.decoder, latents, taps, "decoder")
        return F.pixel_shuffle(x, self.patch)[self.trim :]
