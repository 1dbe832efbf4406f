"""toybox_small: the shipped Toybox end to end at 128x128, 5 frames, 4 Euler steps, with the reference classes in f32.

`text.*`: text to video. `image.*`: the first latent frame is that of `image` and stays as it is (timestep 0 for its
tokens). The int8 weights are used as they are shipped, dequantised to f32.
"""

import json

import torch

import goldens
from toybox import Toybox

SEED = 17
OPTIONS = {"steps": 4, "guidance": 5.0, "shift": 3.0}
META = OPTIONS | {"prompt": "an astronaut floats in outer space", "negative": "", "width": 128, "height": 128, "frames": 5}


def picture(size):
    """A small red ball before a blue gradient, as u8 [3,size,size]: something that the autoencoder knows."""
    y, x = torch.meshgrid(torch.linspace(0, 1, size), torch.linspace(0, 1, size), indexing="ij")
    sky = torch.stack([0.2 + 0.3 * y, 0.4 + 0.3 * y, 0.9 - 0.2 * y])
    ball = ((x - 0.4) ** 2 + (y - 0.6) ** 2) < 0.04
    red = torch.tensor([0.85, 0.15, 0.1]).view(3, 1, 1).expand_as(sky)
    return (torch.where(ball, red, sky) * 255).round().byte()


def main():
    goldens.seeded(SEED)
    model = Toybox(goldens.root() / "models/toybox")
    context, tokens = model.embed(META["prompt"])
    null, null_tokens = model.embed(META["negative"])
    noise, image = torch.randn(1, 48, 2, 8, 8), picture(128)
    clean = model.encode(image[None].float() / 255)
    out = {
        "context": context[0, :tokens],
        "null_context": null[0, :null_tokens],
        "noise": noise,
        "image": image,
        "image.clean": clean,
    }
    for run, kept in (("text", None), ("image", clean)):
        for step, latents in enumerate(model.denoise(noise, context, null, **OPTIONS, clean=kept), 1):
            out[f"{run}.latents.{step}"] = latents
        frames = model.decode(latents)
        out |= {f"{run}.first_frame": frames[0], f"{run}.last_frame": frames[-1]}
    meta = {"run": json.dumps(META)}
    goldens.write("kinora-pipeline", "toybox_small", out, __file__, SEED, ["diffusers", "transformers"], 1e-3, meta)


if __name__ == "__main__":
    main()
