"""The transformer: diffusers' `WanTransformer3DModel` (names of tensors, numbers), with a forward that is faster to train.

Text and attention have no mask; text is 64 tokens, zeros where there is no word. Timesteps may differ between tokens in
one way: tokens marked clean have timestep 0 (first frame or frames given: image-to-video, extension).
"""

import math
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

PATCH = 2
TIME_FREQUENCIES = 256


@dataclass(frozen=True)
class Config:
    layers: int = 12
    heads: int = 8
    head_width: int = 64
    ffn: int = 2048
    channels: int = 48
    text_width: int = 384

    @property
    def width(self):
        return self.heads * self.head_width

    @classmethod
    def of(cls, weights):
        """The configuration of weights by name, as far as trainings vary it."""
        return cls(layers=1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks.")))

    def diffusers(self):
        """The arguments of diffusers' class for the same model."""
        return dict(
            patch_size=[1, PATCH, PATCH],
            num_attention_heads=self.heads,
            attention_head_dim=self.head_width,
            in_channels=self.channels,
            out_channels=self.channels,
            text_dim=self.text_width,
            freq_dim=TIME_FREQUENCIES,
            ffn_dim=self.ffn,
            num_layers=self.layers,
            cross_attn_norm=True,
            qk_norm="rms_norm_across_heads",
            eps=1e-6,
            rope_max_seq_len=1024,
        )


class RmsNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        f = x.float()
        return (f * torch.rsqrt(f.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight.float()).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.to_q = nn.Linear(width, width)
        self.to_k = nn.Linear(width, width)
        self.to_v = nn.Linear(width, width)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])
        self.norm_q = RmsNorm(width)
        self.norm_k = RmsNorm(width)


def together(x, *linears):
    """Several linear layers of one input as one product."""
    weight, bias = torch.cat([m.weight for m in linears]), torch.cat([m.bias for m in linears])
    return F.linear(x, weight, bias).chunk(len(linears), -1)


def rope(x, cos, sin):
    """x [B, L, N, D], cos and sin [L, 1, D/2]; pairs are neighbours."""
    a, b = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2).to(x.dtype)


class GeluIn(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.proj = nn.Linear(width, hidden)


class FeedForward(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.net = nn.ModuleList([GeluIn(width, hidden), nn.Identity(), nn.Linear(hidden, width)])


def layer_norm(x):
    return F.layer_norm(x.float(), (x.shape[-1],), eps=1e-6)


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        width = config.width
        self.heads = (config.heads, config.head_width)
        self.attn1 = Attention(width)
        self.attn2 = Attention(width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.ffn = FeedForward(width, config.ffn)
        self.scale_shift_table = nn.Parameter(torch.randn(1, 6, width) / width**0.5)

    def split(self, x):
        return x.unflatten(-1, self.heads)

    def forward(self, x, text, noisy, clean, is_clean, cos, sin):
        """noisy and clean [B, 6, M]: modulation of noisy and of clean tokens; is_clean [B, L, 1], 1 where timestep 0"""
        table = self.scale_shift_table.float()
        noisy, clean = table + noisy.float(), table + clean.float()
        m = [noisy[:, i : i + 1] + is_clean * (clean[:, i : i + 1] - noisy[:, i : i + 1]) for i in range(6)]
        a = self.attn1
        q, k, v = together((layer_norm(x) * (1 + m[1]) + m[0]).to(x.dtype), a.to_q, a.to_k, a.to_v)
        q = rope(self.split(a.norm_q(q)), cos, sin).transpose(1, 2)
        k = rope(self.split(a.norm_k(k)), cos, sin).transpose(1, 2)
        o = F.scaled_dot_product_attention(q, k, self.split(v).transpose(1, 2)).transpose(1, 2).flatten(2)
        x = (x.float() + a.to_out[0](o).float() * m[2]).to(x.dtype)
        a, n = self.attn2, self.norm2
        h = F.layer_norm(x.float(), (x.shape[-1],), n.weight.float(), n.bias.float(), 1e-6).to(x.dtype)
        q = self.split(a.norm_q(a.to_q(h))).transpose(1, 2)
        k, v = together(text, a.to_k, a.to_v)
        k, v = self.split(a.norm_k(k)).transpose(1, 2), self.split(v).transpose(1, 2)
        o = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + a.to_out[0](o).to(x.dtype)
        h = (layer_norm(x) * (1 + m[4]) + m[3]).to(x.dtype)
        f = self.ffn.net[2](F.gelu(self.ffn.net[0].proj(h), approximate="tanh"))
        return (x.float() + f.float() * m[5]).to(x.dtype)


class TwoLinears(nn.Module):
    def __init__(self, width_in, width):
        super().__init__()
        self.linear_1 = nn.Linear(width_in, width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, x, act):
        return self.linear_2(act(self.linear_1(x)))


class ConditionEmbedder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.time_embedder = TwoLinears(TIME_FREQUENCIES, config.width)
        self.time_proj = nn.Linear(config.width, 6 * config.width)
        self.text_embedder = TwoLinears(config.text_width, config.width)


def time_waves(timesteps):
    """[B] -> [B, 256], cosines first (diffusers' `Timesteps` with `flip_sin_to_cos`)"""
    half = TIME_FREQUENCIES // 2
    frequencies = torch.exp(-math.log(10000) * torch.arange(half, device=timesteps.device, dtype=torch.float32) / half)
    angles = timesteps.float()[:, None] * frequencies[None]
    return torch.cat([angles.cos(), angles.sin()], -1)


def rope_table(frames, height, width, head_width=64, device="cpu"):
    """cos, sin [frames*height*width, 1, head_width/2]; the head is divided into frame, row and column parts as in Wan"""
    side = 2 * (head_width // 6)
    sizes = (head_width - 2 * side, side, side)
    parts = []
    for axis, (n, d) in enumerate(zip((frames, height, width), sizes)):
        inverse = 1.0 / (10000.0 ** (torch.arange(0, d, 2, dtype=torch.float64) / d))
        shape = [1, 1, 1, -1]
        shape[axis] = n
        parts.append(
            torch.outer(torch.arange(n, dtype=torch.float64), inverse).view(shape).expand(frames, height, width, -1)
        )
    angles = torch.cat(parts, -1).reshape(frames * height * width, 1, head_width // 2)
    return angles.cos().float().to(device), angles.sin().float().to(device)


class Transformer(nn.Module):
    def __init__(self, config=Config()):
        super().__init__()
        self.config, width = config, config.width
        self.patch_embedding = nn.Conv3d(config.channels, width, (1, PATCH, PATCH), (1, PATCH, PATCH))
        self.condition_embedder = ConditionEmbedder(config)
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.layers)])
        self.proj_out = nn.Linear(width, config.channels * PATCH**2)
        self.scale_shift_table = nn.Parameter(torch.randn(1, 2, width) / width**0.5)
        self.compiled = None
        self.init()

    @torch.no_grad()
    def init(self):
        width = self.config.width
        for name, p in self.named_parameters():
            if p.ndim == 2:
                nn.init.normal_(p, std=0.02 if ("time" in name or "text" in name) else 0.7 * width**-0.5)
            elif name.endswith("bias"):
                nn.init.zeros_(p)
        nn.init.zeros_(self.condition_embedder.time_proj.weight)
        nn.init.zeros_(self.proj_out.weight)
        for block in self.blocks:
            block.scale_shift_table.mul_(0.3)
            block.scale_shift_table[:, [2, 5]] += 0.2  # open the gates a little
        nn.init.normal_(self.patch_embedding.weight, std=(self.config.channels * PATCH**2) ** -0.5)

    def compile_blocks(self):
        """Compiles block by block: one graph for all of them, a few seconds instead of minutes."""
        self.compiled = [torch.compile(b, dynamic=False) for b in self.blocks]

    def forward(self, patches, text, timesteps, is_clean, cos, sin, tap=None):
        """patches [B, L, 192] noisy, in the order of `patchify`; text [B, 64, 384]; timesteps [B] in 0 to 1000;
        is_clean [B, L, 1] -> velocities [B, L, 192] in the order of `unpatchify`; with `tap` also the features
        [B, L, M] behind so many blocks"""
        batch, embed = timesteps.shape[0], self.condition_embedder
        with_zero = torch.cat([timesteps, torch.zeros(1, device=timesteps.device)])
        waves = time_waves(with_zero).to(embed.time_embedder.linear_1.weight.dtype)
        time = embed.time_embedder(waves, F.silu)
        modulation = embed.time_proj(F.silu(time)).unflatten(1, (6, -1))
        noisy, clean = modulation[:batch], modulation[batch:].expand(batch, -1, -1)
        text = embed.text_embedder(text, lambda v: F.gelu(v, approximate="tanh"))
        x = F.linear(patches, self.patch_embedding.weight.flatten(1), self.patch_embedding.bias)
        if torch.is_autocast_enabled(x.device.type):
            x = x.bfloat16()
        tapped = None
        for number, block in enumerate(self.compiled or self.blocks, 1):
            x = block(x, text, noisy, clean, is_clean, cos, sin)
            tapped = x if number == tap else tapped
        table = self.scale_shift_table.float()
        noisy, clean = table + time[:batch, None].float(), table + time[batch:, None].float()
        shift, scale = (noisy[:, i : i + 1] + is_clean * (clean[:, i : i + 1] - noisy[:, i : i + 1]) for i in range(2))
        out = self.proj_out((layer_norm(x) * (1 + scale) + shift).to(x.dtype))
        return out if tap is None else (out, tapped)


def patchify(latents):
    """[B, C, F, H, W] -> [B, F*H/2*W/2, 4C], features (channel, row, column) as the embedding's weights have them"""
    b, c, f, h, w = latents.shape
    x = latents.reshape(b, c, f, h // PATCH, PATCH, w // PATCH, PATCH)
    return x.permute(0, 2, 3, 5, 1, 4, 6).reshape(b, f * (h // PATCH) * (w // PATCH), c * PATCH**2)


def output_order(patches):
    """Features (channel, row, column) -> (row, column, channel), the order of the model's output."""
    return patches.unflatten(-1, (-1, PATCH**2)).transpose(-1, -2).flatten(-2)


def input_order(patches):
    """The inverse of `output_order`."""
    return patches.unflatten(-1, (PATCH**2, -1)).transpose(-1, -2).flatten(-2)


def unpatchify(patches, f, h, w):
    """[B, L, 4C], features (row, column, channel) -> [B, C, F, H, W]"""
    x = patches.unflatten(-1, (PATCH, PATCH, -1)).unflatten(1, (f, h // PATCH, w // PATCH))
    return x.permute(0, 6, 1, 2, 4, 3, 5).reshape(patches.shape[0], -1, f, h, w)
