"""The judge: a small network that says what a Toybox clip shows. It never saw the scenes that it scores.

Input: 17 frames of a clip, evenly spaced from the first to the last, 256x144 (area average of 512x288), RGB in [0, 1].
Output: logits for each of `HEADS`. Appearance (who, where, when) comes from pooled features, motion and camera from
features that keep their place in the frame, over time. Batch norms are folded into the convolutions on export, so that
what is left is convolutions, ReLU and linear layers. `crates/kinora-models/src/judge` is the same network.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

FRAMES, WIDTH, HEIGHT = 17, 256, 144
HEADS = {"actor": 364, "background": 16, "time": 4, "weather": 5, "motion": 15, "camera": 6, "count": 4}
APPEARANCE = ("actor", "background", "time", "weather")
WIDTHS = (64, 128, 256)
GRID_CHANNELS, FRAME_FEATURES, HIDDEN = 32, 256, 512


def conv(channels_in, channels_out, stride=1):
    """3x3 convolution with a batch norm behind it, until `fold` takes the norm away."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(channels_out)
    )


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.first = conv(channels, channels)
        self.second = conv(channels, channels)

    def forward(self, x):
        return F.relu(x + self.second(F.relu(self.first(x))))


class Judge(nn.Module):
    """[B, 17, 3, 144, 256] -> {head: [B, classes]}, and the features of each frame [B, 17, 512]."""

    def __init__(self, actors=HEADS["actor"], widths=WIDTHS):
        super().__init__()
        a, b, c = widths
        self.stem = conv(3 * 16, a)
        self.stage1 = Residual(a)
        self.down1 = conv(a, b, stride=2)
        self.stage2 = Residual(b)
        self.down2 = conv(b, c, stride=2)
        self.stage3 = nn.Sequential(Residual(c), Residual(c))
        self.appearance = nn.Linear(4 * c, HIDDEN)
        self.grid = nn.Conv2d(c, GRID_CHANNELS, 1)
        self.frame = nn.Linear(GRID_CHANNELS * (HEIGHT // 16) * (WIDTH // 16), FRAME_FEATURES)
        self.motion = nn.Linear(FRAMES * FRAME_FEATURES, HIDDEN)
        classes = HEADS | {"actor": actors}
        self.heads = nn.ModuleDict({name: nn.Linear(HIDDEN, n) for name, n in classes.items()})

    @classmethod
    def folded(cls, weights):
        """The judge of exported weights: norms that do nothing, biases in them."""
        judge = cls(
            actors=weights["heads.actor.weight"].shape[0],
            widths=tuple(weights[f"{n}.bias"].shape[0] for n in ("stem", "down1", "down2")),
        )
        state = judge.state_dict()
        for name, value in weights.items():
            if f"{name.removesuffix('.weight').removesuffix('.bias')}.1.running_var" in state:
                layer, part = name.rsplit(".", 1)
                state[f"{layer}.0.weight" if part == "weight" else f"{layer}.1.bias"] = value.float()
                state[f"{layer}.1.running_var"] = torch.full_like(state[f"{layer}.1.running_var"], 1 - 1e-5)
            else:
                state[name] = value.float()
        judge.load_state_dict(state)
        return judge

    def forward(self, x):
        batch, frames = x.shape[:2]
        x = F.pixel_unshuffle(x.flatten(0, 1) * 2 - 1, 4)  # [B*17, 48, 36, 64]
        x = x.contiguous(memory_format=torch.channels_last)
        x = self.stage1(F.relu(self.stem(x)))
        x = self.stage2(F.relu(self.down1(x)))  # [B*17, 128, 18, 32]
        x = self.stage3(F.relu(self.down2(x)))  # [B*17, 256, 9, 16]
        pooled = torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1).unflatten(0, (batch, frames))  # [B, 17, 512]
        clip = torch.cat([pooled.mean(1), pooled.amax(1)], 1)  # [B, 1024]
        looks = F.relu(self.appearance(clip))
        logits = {name: self.heads[name](looks) for name in APPEARANCE}
        if frames == 1:  # a single frame has no motion
            return logits, pooled
        grid = F.relu(self.grid(x)).contiguous().flatten(1)  # [B*17, 32*9*16], channel first
        frame = F.relu(self.frame(grid)).view(batch, -1)  # [B, 17*256]
        moves = F.relu(self.motion(frame))
        return logits | {name: head(moves) for name, head in self.heads.items() if name not in APPEARANCE}, pooled


def fold(judge):
    """The state of `judge` with each batch norm folded into the convolution before it."""
    state = {k: v.detach().float() for k, v in judge.state_dict().items()}
    out = {}
    for name, module in judge.named_modules():
        if isinstance(module, nn.Sequential) and len(module) == 2 and isinstance(module[1], nn.BatchNorm2d):
            norm = module[1]
            gain = norm.weight.float() / (norm.running_var.float() + norm.eps).sqrt()
            out[f"{name}.weight"] = (module[0].weight.float() * gain.view(-1, 1, 1, 1)).detach()
            out[f"{name}.bias"] = (norm.bias - norm.running_mean * gain).float().detach()
        elif isinstance(module, nn.Linear) or name == "grid":
            out |= {f"{name}.{part}": state[f"{name}.{part}"] for part in ("weight", "bias")}
    return out


def choose_frames(frames):
    """The 17 frames that the judge sees of a clip of `frames` frames."""
    return [round(i * (frames - 1) / (FRAMES - 1)) for i in range(FRAMES)]
