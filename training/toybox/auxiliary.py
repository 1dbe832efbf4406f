"""A head on a middle layer of the transformer that has to say how actors and camera move. For training only.

Most of the velocity's loss is looks; which motion a caption asks for is a small part of it. Here the middle features are
asked directly: for the motion and the camera of the clip, and how much of each token actors cover. (That a task on middle
features speeds the training of diffusion transformers up is known from REPA, Yu et al. 2024; this task is our own.)
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

import scenes
from data import CAMERAS, LATENT_FRAMES

PLACES, LOOKS, HIDDEN = 8, 16, 256
LR = 1e-3


def coordinates(height, width, device):
    """Middles of the tokens of a frame [h*w, 2]: x and y, 0 in the middle, the longer side from -1 to 1."""
    longest = max(height, width)
    y, x = ((torch.arange(n, device=device) * 2 + 1 - n) / longest for n in (height, width))
    return torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1).flatten(0, 1)


class AuxiliaryHead(nn.Module):
    """Features [B, F*h*w, width] of clips -> logits {"motion": [B, 15], "camera": [B, 6], "cover": [B, F*h*w]}.

    Finds `PLACES` places in each frame (softmax over tokens): a motion is a way that places go.
    """

    def __init__(self, width, frames=LATENT_FRAMES):
        super().__init__()
        self.frames, self.width = frames, width
        self.where = nn.Linear(width, PLACES)
        self.looks = nn.Linear(width, LOOKS)
        self.cover = nn.Linear(width, 1)
        self.hidden = nn.Linear(frames * PLACES * (LOOKS + 2), HIDDEN)
        self.motion = nn.Linear(HIDDEN, len(scenes.MOTIONS))
        self.camera = nn.Linear(HIDDEN, len(CAMERAS))

    def forward(self, features, height, width):
        x = F.layer_norm(features.float(), (self.width,)).unflatten(1, (self.frames, -1))
        share = self.where(x).softmax(2)
        at = coordinates(height, width, x.device).expand(*x.shape[:2], -1, -1)
        seen = torch.einsum("bflp,bflk->bfpk", share, torch.cat([self.looks(x), at], -1))
        hidden = F.gelu(self.hidden(seen.flatten(1)))
        cover = self.cover(x).flatten(1)
        return {"motion": self.motion(hidden), "camera": self.camera(hidden), "cover": cover}


class Auxiliary:
    """The head with its optimizer; it trains with the transformer and is left behind."""

    def __init__(self, model, device):
        self.layer = model.config.layers // 2  # features of the block before this one
        self.head = AuxiliaryHead(model.config.width).to(device)
        self.optimizer = torch.optim.AdamW(self.head.parameters(), lr=LR, betas=(0.9, 0.98), weight_decay=0.01)

    def losses(self, features, grid, cover, labels):
        """features [B, L, width], grid (height, width) in tokens, cover [B, L], labels [B, 3] of `data.Ring` -> losses by name"""
        found = self.head(features, *grid)
        return {
            "motion": F.cross_entropy(found["motion"], labels[:, 0]),
            "camera": F.cross_entropy(found["camera"], labels[:, 1]),
            "cover": F.binary_cross_entropy_with_logits(found["cover"], cover.float().clamp(0, 1)),
        }

    def step(self):
        torch.nn.utils.clip_grad_norm_(self.head.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def state_dict(self):
        return {"head": self.head.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state):
        self.head.load_state_dict(state["head"])
        self.optimizer.load_state_dict(state["optimizer"])
