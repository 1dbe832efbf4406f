"""judge_tiny: the judge of training/toybox with small random weights, batch norms folded: 5 frames of 64x48.

Values after each part are channels last; `logits.NAME` are those of each head, `features` those of each frame.
"""

import json
import sys

import torch
import torch.nn.functional as F

import goldens

sys.path.insert(0, str(goldens.root() / "training/toybox"))
import judge  # noqa: E402

SEED = 17
WIDTHS, ACTORS = (8, 12, 16), 6
CONFIG = {
    "widths": WIDTHS,
    "frames": 5,
    "width": 64,
    "height": 48,
    "grid_channels": 4,
    "frame_features": 8,
    "hidden": 16,
    "classes": {
        "actor": ["dog", "cat", "red car", "robot", "owl", "pizza"],
        "background": [f"background {i}" for i in range(16)],
        "time": ["sunrise", "day", "sunset", "night"],
        "weather": ["clear", "cloudy", "rain", "snow", "fog"],
        "motion": [f"motion {i}" for i in range(15)],
        "camera": ["static", "panl", "panr", "in", "out", "follow"],
        "count": ["1", "2", "3", "4"],
    },
}


def tiny():
    """The judge in the sizes of `CONFIG`; its own are constants of its module."""
    for name in ("frames", "width", "height", "grid_channels", "frame_features", "hidden"):
        setattr(judge, name.upper(), CONFIG[name])
    model = judge.Judge(ACTORS, WIDTHS).eval()
    goldens.randomise(model, SEED)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.copy_(0.5 + torch.rand(tensor.shape))
        elif tensor.ndim == 4:
            tensor.mul_(1.3)  # ReLU halves the energy of each layer; this keeps it about level
    return model


def main():
    goldens.seeded(SEED)
    model = tiny()
    frames = torch.rand(CONFIG["frames"], 3, CONFIG["height"], CONFIG["width"])
    parts = ("stem", "stage1", "stage2", "stage3", "appearance", "frame", "motion")
    with goldens.Taps({name: getattr(model, name) for name in parts}) as taps:
        logits, features = model(frames[None])
    taps = {name: F.relu(value) for name, value in taps.items()}  # the residual stages end in one anyway
    taps = {name: value.permute(0, 2, 3, 1) if value.ndim == 4 else value for name, value in taps.items()}
    out = goldens.with_prefix("weights.", judge.fold(model)) | goldens.with_prefix("taps.", taps)
    out |= goldens.with_prefix("logits.", {name: value[0] for name, value in logits.items()})
    out |= {"frames": frames.permute(0, 2, 3, 1), "features": features[0]}
    goldens.write("kinora-models", "judge_tiny", out, __file__, SEED, [], 1e-4, {"config": json.dumps(CONFIG)})


if __name__ == "__main__":
    main()
