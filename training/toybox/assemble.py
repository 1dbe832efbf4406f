"""Builds a Toybox folder in the original format, which `tools/reference/install_toybox.py` installs into the product.

    assemble.py OUT DEST --weights student.safetensors --text-encoder DIR --base ../../models/toybox

OUT has vae.json of a training, and vae.pt; or, of a training with --decoder-only, the decoder alone (decoder.safetensors or
its parts as `export.py --only decoder` writes them), and the encoder is that of --base; or nothing of it, and the autoencoder
is that of --base. --weights may be int8 rows or parts
too. --text-encoder is all-MiniLM-L6-v2 in f16 (its files as Hugging Face has them);
--base gives what does not change: concepts.json and the configurations. Writes fixtures too: the same prompts, noise and
steps in f32 as reference for `install_toybox.py` and for the ignored test of `kinora-pipeline`.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from autoencoder import Autoencoder
from common import SHIFT, shifted
from data import GRIDS
from stored import PRODUCT, read_weights
from text import TextEncoder, Tokenizer
from transformer import Config, Transformer, patchify, rope_table, unpatchify

HERE = Path(__file__).parent
NEVER_CHANGES = ["concepts.json", "transformer/config.json", "scheduler/scheduler_config.json"]
FIXTURES = [
    ("a red car drives from left to right on a road", 0, 9, 1234),
    ("an astronaut floats in outer space", 1, 3, 4321),
]
FIXTURE_STEPS, FIXTURE_GUIDANCE = 4, 5.0


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n")


def assemble(args):
    dest, base = args.dest, args.base
    for name in NEVER_CHANGES:
        (dest / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(base / name, dest / name)
    shutil.copytree(args.text_encoder, dest / "text_encoder", dirs_exist_ok=True)
    shutil.copyfile(HERE / "MODEL_CARD.md", dest / "MODEL_CARD.md")
    index = json.loads((base / "model_index.json").read_text())
    index |= {"default_steps": args.steps, "default_guidance_scale": args.guidance}
    write_json(dest / "model_index.json", index)
    weights = {k: v.bfloat16().contiguous() for k, v in read_weights(args.weights).items()}
    save_file(weights, dest / "transformer" / PRODUCT, metadata={"format": "pt"})
    vae = json.loads((base / "vae/config.json").read_text())
    vae.pop("latent_rgb", None)
    if (args.out / "vae.json").exists():
        scores = json.loads((args.out / "vae.json").read_text())
        vae |= {k: scores[k] for k in ("latents_mean", "latents_std")}
        vae |= {"psnr_db": scores["after"]["psnr"], "psnr_first_frame_db": scores["after"]["psnr_first_frame"]}
    write_json(dest / "vae/config.json", vae)
    weights = {k: v.half().contiguous() for k, v in autoencoder_weights(args).items()}
    save_file(weights, dest / "vae" / PRODUCT, metadata={"format": "pt"})


def autoencoder_weights(args):
    if (args.out / "vae.pt").exists():
        return read_weights(args.out / "vae.pt")
    kept = read_weights(args.base / "vae" / PRODUCT)
    if not (args.out / "vae.json").exists():
        return kept
    return kept | read_weights(args.out / "decoder.safetensors")


@torch.no_grad()
def write_fixtures(dest):
    """f32 on a processor, with the rounded weights of the folder."""
    encoder, tokenizer = TextEncoder(dest / "text_encoder"), Tokenizer(dest / "text_encoder")
    model, vae = Transformer(Config()), Autoencoder()
    for part, folder in ((model, "transformer"), (vae, "vae")):
        part.load_state_dict(read_weights(dest / folder / PRODUCT))
    config = json.loads((dest / "vae/config.json").read_text())
    mean, std = (torch.tensor(config[k]).view(1, 48, 1, 1, 1) for k in ("latents_mean", "latents_std"))
    (dest / "fixtures").mkdir(exist_ok=True)
    for number, (prompt, orientation, frames, seed) in enumerate(FIXTURES):
        height, width = GRIDS[orientation]
        (ids, count), (null_ids, null_count) = tokenizer([prompt]), tokenizer([""])
        context, null = encoder(ids, count), encoder(null_ids, null_count)
        x = torch.randn(1, 48, frames, height, width, generator=torch.Generator().manual_seed(seed))
        sigmas = shifted(torch.linspace(1, 0, FIXTURE_STEPS + 1))
        out = {"token_ids": ids, "token_count": count, "text_embeds": context, "null_token_ids": null_ids}
        out |= {
            "null_token_count": null_count,
            "null_text_embeds": null,
            "noise": x.clone(),
            "sigmas": sigmas,
            "timesteps": sigmas[:-1] * 1000,
        }
        flags, tables = torch.zeros(1, frames * height * width // 4, 1), rope_table(frames, height // 2, width // 2)
        for i, (now, then) in enumerate(zip(sigmas, sigmas[1:])):
            velocity = [
                unpatchify(model(patchify(x), c, now[None] * 1000, flags, *tables), frames, height, width)
                for c in (context, null)
            ]
            if i == 0:
                out["v_cond_step0"] = velocity[0]
            x = x + float(then - now) * (velocity[1] + FIXTURE_GUIDANCE * (velocity[0] - velocity[1]))
            out[f"latents_step{i + 1}"] = x.clone()
        pixels = (vae.decode((x * std + mean).transpose(1, 2))[0].clamp(0, 1) * 255).round().byte()
        out |= {"frame0": pixels[0], "frame_last": pixels[-1]}
        about = {"prompt": prompt, "cfg": str(FIXTURE_GUIDANCE), "shift": str(SHIFT), "steps": str(FIXTURE_STEPS)}
        save_file(
            {k: v.contiguous() for k, v in out.items()}, dest / f"fixtures/prompt{number}.safetensors", metadata=about
        )


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("dest", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--text-encoder", type=Path, required=True)
    parser.add_argument("--base", type=Path, default=HERE / "../../models/toybox")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--guidance", type=float, default=1.0)
    args = parser.parse_args(argv)
    assemble(args)
    write_fixtures(args.dest)


if __name__ == "__main__":
    main()
