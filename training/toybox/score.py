"""Scores transformers with the judge: every prompt of the evaluation, a clip each, on the device that trains.

    score.py OUT --judge DIR --prompts prompts-240.json --text DIR [--given 0 1 3 --sprites DIR] NAME=WEIGHTS,VAE,STEPS,GUIDANCE ...

`kinora eval` does the same with the product and is what counts; this is its quick look during training. Writes
OUT/score_NAME.json and OUT/sheet_NAME.jpg, or score_NAME_image.json and score_NAME_extend.json where frames are given:

--given 1 (image-to-video) and 3 (extension) give so many first latent frames, 1 or 9 frames of a clip, as clean. That clip is
a fresh render of what the prompt says (--from render: do true frames go on as they should?), or the model's own clip of the
same words (--from own: its first frame, or its last nine, as `kinora eval --task` does). The judge sees the whole new clip,
given frames and all, so that its motion has the length that the judge knows; "kept" is the PSNR of the given frames.
"""

import argparse
import json
import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import scenes
from autoencoder import Autoencoder
from common import DEVICE, autocast, save_json, save_sheet, setup, shifted, wait_for
from data import GRIDS, LATENT_FRAMES, TOKENS_PER_FRAME, seconds_of
from judge import FRAMES, Judge, choose_frames
from render import make_renderer
from stored import read_autoencoder, read_weights
from text import TextEncoder, Tokenizer
from train_transformer import initial, rope
from transformer import Config, Transformer, patchify, unpatchify

TASKS = {0: "text", 1: "image", 3: "extend"}
LANDSCAPE = 0  # the judge knows no other


def load_vae(path):
    """Autoencoder, mean and std of latents: from vae.pt, or from a folder of the product."""
    weights, mean, std = read_autoencoder(wait_for(path))
    model = Autoencoder()
    model.load_state_dict(weights)
    model = model.to(DEVICE).to(memory_format=torch.channels_last).eval()
    return model, *(v.to(DEVICE).float().view(1, 48, 1, 1, 1) for v in (mean, std))


def load_judge(folder):
    """The judge and its classes: what a training left, or what the product has (models/judge, int8 rows)."""
    folder = Path(folder)
    trained = not (folder / "config.json").exists()
    weights = read_weights(wait_for(folder / ("judge.safetensors" if trained else "model.safetensors")))
    about = json.loads(wait_for(folder / ("judge.json" if trained else "config.json")).read_text())
    return Judge.folded(weights).to(DEVICE).eval(), about["classes"]


@torch.no_grad()
def sample(model, text, nothing, steps, guidance, seeds, orientation=LANDSCAPE, frames=LATENT_FRAMES, given=None):
    """Latents [B, 48, F, H, W] by Euler steps; `given` [B, 48, k, H, W] are the first ones, clean from the start."""
    height, width = GRIDS[orientation]
    noise = [torch.randn(48, frames, height, width, generator=torch.Generator().manual_seed(s)) for s in seeds]
    x = torch.stack(noise).to(DEVICE)
    known = 0 if given is None else given.shape[2]
    x[:, :, :known] = given if known else 0
    sigmas = shifted(torch.linspace(1, 0, steps + 1))
    batch, guided = x.shape[0], guidance != 1
    texts = torch.cat([text, nothing.expand_as(text)]) if guided else text
    flags = torch.zeros(texts.shape[0], frames * TOKENS_PER_FRAME, 1, device=DEVICE)
    flags[:, : known * TOKENS_PER_FRAME] = 1
    for sigma, following in zip(sigmas, sigmas[1:]):
        patches = patchify(x)
        timesteps = torch.full((texts.shape[0],), float(sigma) * 1000, device=DEVICE)
        inputs = torch.cat([patches, patches]) if guided else patches
        with autocast():
            out = model(inputs, texts, timesteps, flags, *rope(frames, orientation)).float()
        velocity = out[batch:] + guidance * (out[:batch] - out[batch:]) if guided else out
        step = float(following - sigma) * unpatchify(velocity, frames, height, width)
        x[:, :, known:] += step[:, :, known:]
    return x


@torch.no_grad()
def decode(vae, latents):
    """[B, 48, F, H, W] -> frames [B, T, 3, H, W] in 0 to 1"""
    model, mean, std = vae
    with autocast():
        return torch.cat([model.decode((z[None] * std + mean).transpose(1, 2)).float().clamp(0, 1) for z in latents])


@torch.no_grad()
def encode(vae, frames):
    """The inverse of `decode`."""
    model, mean, std = vae
    dtype = torch.bfloat16 if DEVICE.type == "cuda" else torch.float32
    with autocast():
        latents = torch.cat([model.encode(f[None].to(dtype)) for f in frames])
    return (latents.float().transpose(1, 2) - mean) / std


def scene_of(prompt):
    """A scene that shows what `prompt` says, as the renderer wants it (G, C, A). What is not said is plain: day, clear,
    a still camera; place and motion are drawn. The seed is the prompt's, so that all models get the same frames."""
    labels, rng = prompt["labels"], random.Random(f"given {prompt['id']}")
    actors = [scenes.IDX[a] for a in labels["actors"]]
    count = labels["count"]
    relation = None if count == 1 else "beside" if len(actors) == 2 else "group"
    names = [scenes.BGS[i][0] for i in range(scenes.NB)]
    force = {"actor": actors[0], "n": (count, relation), "style": 0, "cam": labels["camera"] or "static"}
    force |= {"actor2": actors[1]} if len(actors) == 2 else {}
    force |= {"bg": names.index(labels["background"])} if labels["background"] else {}
    force |= {"motion": labels["motion"]} if labels["motion"] else {}
    force["tod"] = scenes.TODS.index(labels["time"] or "day")
    force["wx"] = scenes.WXS.index(labels["weather"] or "clear")
    return scenes.sample(rng, LANDSCAPE, force)[:3]


def render_prompts(prompts, render, frames):
    """The first `frames` frames of the scenes of prompts [B, frames, 3, 288, 512]."""
    made = [torch.stack([torch.from_numpy(v) for v in parts]).to(DEVICE) for parts in zip(*map(scene_of, prompts))]
    G, C, A = made[0], made[1][:, :frames], made[2][:, :frames]
    times = torch.arange(frames, device=DEVICE)[None].expand(len(prompts), -1)
    return render(G, C, A, seconds_of(times), scenes.ORIENT[LANDSCAPE])[0].float()


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


class Contestant:
    """A transformer with its autoencoder and settings: NAME=WEIGHTS,VAE,STEPS,GUIDANCE."""

    def __init__(self, entry, text_folder):
        self.name, rest = entry.split("=", 1)
        weights, vae, steps, guidance = rest.split(",")
        weights = initial(weights)
        self.model = Transformer(Config.of(weights)).to(DEVICE)
        self.model.load_state_dict(weights)
        self.vae, self.steps, self.guidance = load_vae(vae), int(steps), float(guidance)
        self.encoder, self.tokenizer = TextEncoder(text_folder).to(DEVICE), Tokenizer(text_folder)

    def embed(self, texts):
        return self.encoder(*(v.to(DEVICE) for v in self.tokenizer(texts))).float()

    def clips(self, prompts, first_seed, given=None):
        """Latents of a clip for each prompt."""
        text, seeds = self.embed([p["prompt"] for p in prompts]), [first_seed + p["id"] for p in prompts]
        return sample(self.model, text, self.embed([""]), self.steps, self.guidance, seeds, given=given)

    def given(self, prompts, latent_frames, render):
        """The frames that are given: of renders, or of clips of its own if `render` is None."""
        frames = 4 * latent_frames - 3
        if render:
            return render_prompts(prompts, render, frames)
        own = decode(self.vae, self.clips(prompts, 1000))
        return own[:, :1] if latent_frames == 1 else own[:, -frames:]


def judged(contestant, prompts, judge, names, given=0, render=None):
    """Frames [B, 33, 3, H, W] and the results of one batch of prompts."""
    if given:
        true = contestant.given(prompts, given, render)
        latents = contestant.clips(prompts, 1_001_000, encode(contestant.vae, true))
    else:
        latents = contestant.clips(prompts, 1000)
    frames = decode(contestant.vae, latents)
    with torch.no_grad(), autocast():
        logits, _ = judge(judge_frames(frames))
    results = []
    for i, p in enumerate(prompts):
        found = verdicts(p["labels"], {h: v[i].float() for h, v in logits.items()}, names)
        result = {"id": p["id"], "kind": p["kind"], "verdicts": found}
        if given:
            error = (frames[i, : true.shape[1]] - true[i]).pow(2).mean().item()
            result["kept"] = round(-10 * float(np.log10(error + 1e-10)), 2)
        results.append(result)
    return frames, results


def score(contestant, prompts, judge, names, args, given=0, render=None):
    results, strips = [], []
    for at in range(0, len(prompts), args.batch):
        frames, found = judged(contestant, prompts[at : at + args.batch], judge, names, given, render)
        results += found
        small = F.avg_pool2d(frames[:, [0, 16, 32]].flatten(0, 1), 4).unflatten(0, (-1, 3)).permute(0, 3, 1, 4, 2)
        strips += list((small.flatten(2, 3) * 255).byte().cpu().numpy())
    about = {"task": TASKS[given], "steps": contestant.steps, "guidance": contestant.guidance}
    if given:
        about |= {"from": args.source, "kept": round(float(np.mean([r["kept"] for r in results])), 2)}
    name = contestant.name if not given else f"{contestant.name}_{TASKS[given]}"
    scores = table(results)
    save_json(Path(args.out) / f"score_{name}.json", about | {"scores": scores, "results": results})
    save_sheet(strips, Path(args.out) / f"sheet_{name}.jpg", columns=4)
    print(name, json.dumps(about), json.dumps(scores["all"]), flush=True)


def main(argv=None):
    args = arguments(argv)
    setup()
    prompts = json.loads(Path(args.prompts).read_text())[:: args.every][: args.limit]
    judge, names = load_judge(args.judge)
    rendered = args.source == "render" and any(args.given)
    render = make_renderer(args.sprites, scenes.NS, DEVICE) if rendered else None
    for entry in args.entries:
        contestant = Contestant(entry, args.text)
        for given in args.given:
            score(contestant, prompts, judge, names, args, given, render)


def arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("entries", nargs="+", metavar="NAME=WEIGHTS,VAE,STEPS,GUIDANCE")
    parser.add_argument(
        "--judge", required=True, help="models/judge, or the folder of judge.safetensors and judge.json"
    )
    parser.add_argument("--prompts", required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument(
        "--given", type=int, nargs="+", default=[0], choices=TASKS, help="first latent frames that are given"
    )
    parser.add_argument(
        "--from", dest="source", choices=("render", "own"), default="render", help="whose frames are given"
    )
    parser.add_argument("--sprites", help="for --from render")
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--every", type=int, default=1, help="takes every so many-th prompt")
    parser.add_argument("--limit", type=int, default=10**9)
    args = parser.parse_args(argv)
    if args.source == "render" and any(args.given) and not args.sprites:
        parser.error("--given frames of renders need --sprites")
    return args


if __name__ == "__main__":
    main()
