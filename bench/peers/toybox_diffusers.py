"""The peer: Toybox in diffusers + PyTorch on the CPU, one clip, as a process of its own.

    python bench/peers/toybox_diffusers.py models/toybox --size 512x288 --frames 33 --steps 8

Prints one JSON line: seconds for each stage, `import` (loading PyTorch and diffusers) apart from the others. The same
weights as the shipped ones (int8, dequantised), the same noise, steps, size and guidance; needs requirements.txt.
"""

import time

BEGIN = time.perf_counter()

import argparse  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/reference"))
from noise import check, noise  # noqa: E402
from taehv import MemBlock  # noqa: E402
from toybox import Toybox  # noqa: E402

IMPORTED = time.perf_counter()
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def to_dtype(transformer, dtype):
    """As `from_pretrained(torch_dtype=...)` does: what diffusers keeps in f32 stays there."""
    kept = transformer._keep_in_fp32_modules
    for name, parameter in transformer.named_parameters():
        if not any(part in name.split(".") for part in kept):
            parameter.data = parameter.data.to(dtype)


def predictions(transformer, latents, timestep, contexts, batched):
    """The velocity for each context, as one batch or one after the other (as diffusers' Wan pipeline does)."""
    latents = latents.to(contexts[0].dtype)
    if batched:
        both = transformer(latents.expand(2, -1, -1, -1, -1), timestep.expand(2), torch.cat(contexts), return_dict=False)[0]
        return [half[None].float() for half in both]
    return [transformer(latents, timestep, context, return_dict=False)[0].float() for context in contexts]


def decode_streamed(vae, latents):
    """The same frames as `vae.decode`, latent frame by latent frame: each block remembers the frame before."""
    past, frames = {}, []
    for latent in latents:
        x = latent[None]
        for layer in vae.decoder:
            if isinstance(layer, MemBlock):
                before = torch.cat([past.get(layer, torch.zeros_like(x[:1])), x[:-1]])
                past[layer] = x[-1:].clone()
                x = F.relu(layer.conv(torch.cat([x, before], 1)) + layer.skip(x))
            else:
                x = layer(x)
        frames.append(to_bytes(F.pixel_shuffle(x, vae.patch)))
    return torch.cat(frames)[vae.trim :]


def to_bytes(frames):
    return (frames.float().clamp(0, 1) * 255).round().byte()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--prompt", default="a red car drives from left to right on a road")
    parser.add_argument("--size", default="512x288")
    parser.add_argument("--frames", type=int, default=33)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--guidance", type=float, default=5.0)
    parser.add_argument("--shift", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=DTYPES, default="f32")
    parser.add_argument("--predictions", choices=("sequential", "batched"), default="sequential")
    parser.add_argument("--decode", choices=("all", "streamed"), default="all", help="frames per layer of the decoder")
    parser.add_argument("--channels-last", action="store_true", help="memory format of the autoencoder")
    parser.add_argument("--frames-out", type=Path, help="write the frames [F,H,W,3] as .npy")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    width, height = map(int, args.size.split("x"))
    dtype = DTYPES[args.dtype]
    check()

    marks = [time.perf_counter()]
    model = Toybox(args.folder)
    to_dtype(model.transformer, dtype)
    model.text_encoder.to(dtype)
    model.vae.to(dtype)
    if args.channels_last:
        model.vae.to(memory_format=torch.channels_last)
    marks.append(time.perf_counter())
    with torch.inference_mode():
        contexts = [model.embed(words)[0].to(dtype) for words in (args.prompt, "")]
        marks.append(time.perf_counter())

        latents = torch.from_numpy(noise(args.seed, (1, 48, (args.frames - 1) // 4 + 1, height // 16, width // 16)))
        sigmas = torch.linspace(1, 0, args.steps + 1)
        sigmas = args.shift * sigmas / (1 + (args.shift - 1) * sigmas)
        for now, then in zip(sigmas[:-1], sigmas[1:]):
            timestep = now[None] * 1000
            cond, uncond = predictions(model.transformer, latents, timestep, contexts, args.predictions == "batched")
            latents = latents + float(then - now) * (uncond + args.guidance * (cond - uncond))
        marks.append(time.perf_counter())

        raw = (latents * model.std + model.mean)[0].transpose(0, 1).to(dtype)
        if args.channels_last:
            raw = raw.contiguous(memory_format=torch.channels_last)
        frames = decode_streamed(model.vae, raw) if args.decode == "streamed" else to_bytes(model.vae.decode(raw))
    marks.append(time.perf_counter())
    seconds = dict(zip(("load", "map", "diffuse", "render"), (b - a for a, b in zip(marks, marks[1:]))))
    if args.frames_out:
        np.save(args.frames_out, frames.permute(0, 2, 3, 1).numpy())
    seconds["import"] = IMPORTED - BEGIN
    print(json.dumps({"seconds": seconds, "frames": len(frames), "torch": torch.__version__}))


if __name__ == "__main__":
    main()
