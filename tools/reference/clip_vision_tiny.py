"""clip_vision_tiny: transformers' CLIPVisionModel with small random weights on two pictures, and pictures of many shapes as
CLIPImageProcessorPil scales and crops them.

`hidden.0` is what goes into the first layer (after `pre_layrnorm`, spelled so), `hidden.N` the output of layer N-1; `embeds` is
hidden state -2, which Wan's image to video takes. Weights have the names of files (`vision_model.` in front), which
transformers 5 cuts off. `picture.N` `[H, W, 3]` and `scaled.N` `[size, size, 3]` are bytes: Pillow scales with bytes
between its two passes, and a port must too. `picture.6` is scaled to 224, the size of the real model, the others to 28.
"""

import json

import torch
from PIL import Image
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModel

import goldens

SEED = 21
CONFIG = {
    "hidden_size": 36,
    "intermediate_size": 40,
    "num_hidden_layers": 4,
    "num_attention_heads": 3,
    "image_size": 28,
    "patch_size": 7,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
}
# Smaller and larger, upright and wide, one side or both as they should be, odd differences.
SHAPES = [(28, 28), (40, 30), (30, 41), (20, 50), (97, 61), (28, 35), (150, 261), (5, 3), (14, 14), (200, 57)]


def picture(shape):
    """Smooth colours with noise, so that rounding and clamping both happen."""
    height, width = shape
    rows, columns = torch.linspace(0, 1, height)[:, None, None], torch.linspace(0, 1, width)[None, :, None]
    waves = torch.sin(rows * torch.tensor([5.0, 11.0, 3.0]) + columns * torch.tensor([7.0, 2.0, 13.0]))
    return ((waves * 0.6 + 0.5 + torch.randn(height, width, 3) * 0.15).clamp(0, 1) * 255).round().to(torch.uint8)


def processor(size, **options):
    return CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size}, **options)


def main():
    goldens.seeded(SEED)
    model = CLIPVisionModel(CLIPVisionConfig(**CONFIG)).eval()
    goldens.randomise(model, SEED)
    out = {}
    pictures = [picture(shape) for shape in SHAPES]
    images = [Image.fromarray(p.numpy()) for p in pictures]
    for i, (pixels, image) in enumerate(zip(pictures, images)):
        size = 224 if i == 6 else 28
        scaled = processor(size, do_rescale=False, do_normalize=False)(images=image, return_tensors="pt").pixel_values
        assert scaled.shape == (1, 3, size, size) and (scaled == scaled.round()).all()
        out |= {f"picture.{i}": pixels, f"scaled.{i}": scaled[0].permute(1, 2, 0).to(torch.uint8)}
    values = processor(28)(images=[images[2], images[4]], return_tensors="pt").pixel_values
    states = model(values, output_hidden_states=True).hidden_states
    assert len(states) == 5
    out |= {"pixels": values, "embeds": states[-2]}
    out |= {f"hidden.{i}": state for i, state in enumerate(states[:-1])}
    weights = {k.removeprefix("vision_model."): v for k, v in model.state_dict().items() if v.is_floating_point()}
    out |= goldens.with_prefix("weights.vision_model.", weights)
    meta = {"config": json.dumps(CONFIG)}
    goldens.write("kinora-models", "clip_vision_tiny", out, __file__, SEED, ["transformers", "pillow"], 2e-5, meta)
    print({k: round(float(v.std()), 2) for k, v in out.items() if k.startswith("hidden")})


if __name__ == "__main__":
    main()
