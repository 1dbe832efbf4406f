"""Scores transformers with the judge: every prompt of the evaluation, a clip each, on the device that trains.

    score.py OUT --judge OUT --prompts prompts-240.json --text DIR NAME=WEIGHTS,VAE,STEPS,GUIDANCE ...

`kinora eval` does the same with the product and is what counts; this is its quick look during training. Writes
OUT/score_NAME.json and OUT/sheet_NAME.jpg.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from autoencoder import Autoencoder
from common import DEVICE, autocast, save_json, save_sheet, setup, shifted, wait_for
from data import GRIDS, LATENT_FRAMES
from judge import FRAMES, Judge, choose_frames
from text import TextEncoder, Tokenizer
from train_transformer import initial, rope
from transformer import Config, Transformer, patchify, unpatchify


def load_vae(path):
    """Autoencoder, mean and std of latents: from vae.pt, or from a folder of the product."""
    path = Path(path)
    model = Autoencoder()
    if path.suffix == ".pt":
        found = torch.load(wait_for(path), map_location="cpu")
        weights, mean, std = found["weights"], found["mean"], found["std"]
    else:
        config = json.loads((path / "config.json").read_text())
        weights = load_file(path / "diffusion_pytorch_model.safetensors")
        mean, std = torch.tensor(config["latents_mean"]), torch.tensor(config["latents_std"])
    model.load_state_dict({k: v.float() for k, v in weights.items()})
    model = model.to(DEVICE).to(memory_format=torch.channels_last).eval()
    return model, *(v.to(DEVICE).float().view(1, 48, 1, 1, 1) for v in (mean, std))


@torch.no_grad()
def sample(model, text, nothing, steps, guidance, seeds, orientation=0, frames=LATENT_FRAMES):
    """Latents [B, 48, F, H, W] by Euler steps."""
    height, width = GRIDS[orientation]
    noise = [torch.randn(48, frames, height, width, generator=torch.Generator().manual_seed(s)) for s in seeds]
    x = torch.stack(noise).to(DEVICE)
    sigmas = shifted(torch.linspace(1, 0, steps + 1))
    batch = x.shape[0]
    guided = guidance != 1
    texts = torch.cat([text, nothing.expand_as(text)]) if guided else text
    flags = torch.zeros(texts.shape[0], frames * height * width // 4, 1, device=DEVICE)
    for sigma, following in zip(sigmas, sigmas[1:]):
        patches = patchify(x)
        timesteps = torch.full((texts.shape[0],), float(sigma) * 1000, device=DEVICE)
        with autocast():
            out = model(
                torch.cat([patches, patches]) if guided else patches,
                texts,
                timesteps,
                flags,
                *rope(frames, orientation),
            )
        out = out.float()
        velocity = out[batch:] + guidance * (out[:batch] - out[batch:]) if guided else out
        x = x + float(following - sigma) * unpatchify(velocity, frames, height, width)
    return x


@torch.no_grad()
def decode(vae, latents):
    """[B, 48, F, H, W] -> frames [B, T, 3, H, W] in 0 to 1"""
    model, mean, std = vae
    with autocast():
        return torch.cat([model.decode((z[None] * std + mean).transpose(1, 2)).float().clamp(0, 1) for z in latents])


def judge_frames(frames):
    chosen = frames[:, choose_frames(frames.shape[1])]
    return F.avg_pool2d(chosen.flatten(0, 1), 2).unflatten(0, (frames.shape[0], FRAMES))


def verdicts(labels, logits, names):
    """True or False for each thing that the prompt says."""
    best = {head: names[head][int(values.argmax())] for head, values in logits.items()}
    order = [names["actor"][i] for i in logits["actor"].argsort(descending=True)[:2].tolist()]
    wanted = set(labels["actors"])
    out = {"subject": set(order[: len(wanted)]) == wanted, "count": best["count"] == str(labels["count"])}
    for head in ("background", "time", "weather", "motion", "camera"):
        if labels.get(head):
            out[head] = best[head] == labels[head]
    return out


def table(results):
    """Accuracy by head, over all and by kind of prompt."""
    out = {}
    for kind in ["all", *sorted({r["kind"] for r in results})]:
        rows = [r["verdicts"] for r in results if kind in ("all", r["kind"])]
        heads = sorted({h for r in rows for h in r})
        out[kind] = {
            h: [round(100 * float(np.mean([r[h] for r in rows if h in r])), 1), sum(h in r for r in rows)]
            for h in heads
        }
    return out


@torch.no_grad()
def score(entry, prompts, judge, names, encoder, tokenizer, out, batch):
    name, (weights, vae, steps, guidance) = entry.split("=")[0], entry.split("=")[1].split(",")
    model = Transformer(Config()).to(DEVICE)
    model.load_state_dict({k: v.float() for k, v in initial(weights).items()})
    vae = load_vae(vae)
    embed = lambda texts: encoder(*(v.to(DEVICE) for v in tokenizer(texts))).float()
    nothing, results, strips = embed([""]), [], []
    for at in range(0, len(prompts), batch):
        part = prompts[at : at + batch]
        latents = sample(
            model,
            embed([p["prompt"] for p in part]),
            nothing,
            int(steps),
            float(guidance),
            [1000 + p["id"] for p in part],
        )
        frames = decode(vae, latents)
        with autocast():
            logits, _ = judge(judge_frames(frames))
        for i, p in enumerate(part):
            found = verdicts(p["labels"], {h: v[i].float() for h, v in logits.items()}, names)
            results.append({"id": p["id"], "kind": p["kind"], "verdicts": found})
            small = F.avg_pool2d(frames[i, [0, 16, 32]], 4).permute(0, 2, 3, 1)
            strips.append((torch.cat(list(small), 1) * 255).byte().cpu().numpy())
    scores = table(results)
    save_json(
        Path(out) / f"score_{name}.json",
        {"steps": int(steps), "guidance": float(guidance), "scores": scores, "results": results},
    )
    save_sheet(strips, Path(out) / f"sheet_{name}.jpg", columns=4)
    print(name, json.dumps(scores["all"]), flush=True)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("entries", nargs="+", metavar="NAME=WEIGHTS,VAE,STEPS,GUIDANCE")
    parser.add_argument("--judge", required=True, help="folder of judge.safetensors and judge.json")
    parser.add_argument("--prompts", required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--limit", type=int, default=10**9)
    args = parser.parse_args(argv)
    setup()
    prompts = json.loads(Path(args.prompts).read_text())[: args.limit]
    names = json.loads(wait_for(Path(args.judge) / "judge.json").read_text())["classes"]
    judge = Judge.folded(load_file(wait_for(Path(args.judge) / "judge.safetensors"))).to(DEVICE).eval()
    encoder, tokenizer = TextEncoder(args.text).to(DEVICE), Tokenizer(args.text)
    for entry in args.entries:
        score(entry, prompts, judge, names, encoder, tokenizer, args.out, args.batch)


if __name__ == "__main__":
    main()
