"""The autoencoder: TAEHV's architecture (madebyollin/taehv, "taew2_2"), the same names of tensors, weights of our own.

4x in time, 16x16 in space, 48 channels. Causal: a block sees the frame before; the first latent frame is the first frame
alone, so T = 4k + 1 frames are k + 1 latent frames.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

LATENT_CHANNELS, PATCH = 48, 2
WIDTHS = (256, 128, 64, 64)


def conv(channels_in, channels_out, **options):
    return nn.Conv2d(channels_in, channels_out, 3, padding=1, **options)


class Clamp(nn.Module):
    def forward(self, x):
        return torch.tanh(x / 3) * 3


class MemBlock(nn.Module):
    """Three convolutions over a frame and the one before it, with a skip."""

    def __init__(self, channels_in, channels_out):
        super().__init__()
        self.conv = nn.Sequential(
            conv(channels_in * 2, channels_out),
            nn.ReLU(),
            conv(channels_out, channels_out),
            nn.ReLU(),
            conv(channels_out, channels_out),
        )
        self.skip = (
            nn.Identity() if channels_in == channels_out else nn.Conv2d(channels_in, channels_out, 1, bias=False)
        )
        self.act = nn.ReLU()

    def forward(self, x, past):
        return self.act(self.conv(torch.cat([x, past], 1)) + self.skip(x))


class TPool(nn.Module):
    """`stride` frames into one."""

    def __init__(self, channels, stride):
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(channels * stride, channels, 1, bias=False)

    def forward(self, x):
        if self.stride == 2:
            pairs = x.unflatten(0, (-1, 2))
            x = torch.cat([pairs[:, 0], pairs[:, 1]], 1)
        return self.conv(x)


class TGrow(nn.Module):
    """One frame into `stride`."""

    def __init__(self, channels, stride):
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(channels, channels * stride, 1, bias=False)

    def forward(self, x):
        channels = x.shape[1]
        x = self.conv(x)
        if self.stride == 1:
            return x
        both = torch.stack([x[:, :channels], x[:, channels:]], 1)
        return both.flatten(0, 1).contiguous(memory_format=torch.channels_last)


def run(layers, x, clips):
    """The layers over frames [clips*T, C, H, W]."""
    for layer in layers:
        if isinstance(layer, MemBlock):
            frames = x.unflatten(0, (clips, -1))
            past = torch.cat([torch.zeros_like(frames[:, :1]), frames[:, :-1]], 1).flatten(0, 1)
            x = layer(x, past)
        else:
            x = layer(x)
    return x


def mem_blocks(channels):
    return [MemBlock(channels, channels) for _ in range(3)]


class Autoencoder(nn.Module):
    def __init__(self, widths=WIDTHS, channels=64):
        super().__init__()
        encoder = [conv(3 * PATCH**2, channels), nn.ReLU()]
        for stride in (2, 2, 1):
            encoder += [TPool(channels, stride), conv(channels, channels, stride=2, bias=False), *mem_blocks(channels)]
        self.encoder = nn.Sequential(*encoder, conv(channels, LATENT_CHANNELS))
        decoder = [Clamp(), conv(LATENT_CHANNELS, widths[0]), nn.ReLU()]
        for wide, narrow, stride in zip(widths, widths[1:], (1, 2, 2)):
            decoder += [
                *mem_blocks(wide),
                nn.Upsample(scale_factor=2),
                TGrow(wide, stride),
                conv(wide, narrow, bias=False),
            ]
        self.decoder = nn.Sequential(*decoder, nn.ReLU(), conv(widths[-1], 3 * PATCH**2))

    def encode(self, frames):
        """[B, 4k+1, 3, H, W] in 0 to 1 -> [B, k+1, 48, H/16, W/16]"""
        clips = frames.shape[0]
        x = torch.cat([frames[:, :1]] * 3 + [frames], 1).flatten(0, 1)
        x = F.pixel_unshuffle(x, PATCH).contiguous(memory_format=torch.channels_last)
        return run(self.encoder, x, clips).unflatten(0, (clips, -1))

    def decode(self, latents):
        """[B, k+1, 48, h, w] -> [B, 4k+1, 3, 16h, 16w], not clamped"""
        clips = latents.shape[0]
        x = run(self.decoder, latents.flatten(0, 1).contiguous(memory_format=torch.channels_last), clips)
        return F.pixel_shuffle(x, PATCH).unflatten(0, (clips, -1))[:, 3:]
