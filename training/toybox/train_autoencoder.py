"""Trains the autoencoder on crops of fresh clips, with more weight on actors.

    train_autoencoder.py OUT --until T [--init FILE] [--after FILE] --sprites DIR --text DIR

Writes OUT/vae.pt (weights in f16, mean and std of the latents: what the next steps read), vae_state.pt (to go on),
vae.json (scores and losses) and vae.jpg (held-out clips above what came back).
"""

import argparse
import math
import random

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

import scenes
from autoencoder import Autoencoder
from common import (
    DEVICE,
    Clock,
    Log,
    autocast,
    ema_update,
    free_memory,
    place,
    save_json,
    save_sheet,
    save_state,
    setup,
    turn,
    wait_for,
)
from data import Scenes, seconds_of, take_frames
from render import make_renderer

NOISE = 0.10  # added to latents in training, so that decoding forgives the transformer's errors
ACTOR_WEIGHT = 4.0
PEAK_LR = 6e-4


def steps(x):
    return x[..., :, 1:] - x[..., :, :-1], x[..., 1:, :] - x[..., :-1, :]


def edge_loss(y, x, weight):
    """L1 of horizontal and vertical differences at three scales; y and x [N, 3, H, W], weight [N, 1, H, W]"""
    loss = 0
    for scale in range(3):
        for (a, b), w in zip(zip(steps(y), steps(x)), (weight[..., 1:], weight[..., 1:, :])):
            loss = loss + ((a - b).abs() * w).mean()
        if scale < 2:
            y, x, weight = (F.avg_pool2d(v, 2) for v in (y, x, weight))
    return loss


def pixel_weight(actors):
    """1, and more on actors and a little around them, 1 in the mean. [N, 1, H, W]"""
    near = F.max_pool2d(actors.float(), 7, 1, 3)
    weight = 1 + ACTOR_WEIGHT * near
    return weight / weight.mean()


def crops(chunk, render, crop, frames):
    """Windows of `crop` pixels and `frames` frames; three of four have an actor in the middle."""
    orientation, G, C, A = chunk[:4]
    W, H = scenes.ORIENT[orientation]
    batch, device = G.shape[0], G.device
    start = torch.randint(0, scenes.NF - frames + 1, (batch,), device=device)
    times = start[:, None] + torch.arange(frames, device=device)
    C, A = take_frames(C, A, times)
    rows = torch.arange(batch, device=device)
    middle, who = frames // 2, (torch.rand(batch, device=device) * G[:, 9]).long()
    camera, actor = C[:, middle], A[rows, middle, who]
    x = (actor[:, 0] - camera[:, 0]) * camera[:, 2] * H + W / 2
    y = ((actor[:, 1] - 0.5 - camera[:, 1]) * camera[:, 2] + 0.5) * H
    centred = torch.stack([x, y], 1) - crop / 2 + 24 * torch.randn(batch, 2, device=device)
    limit = torch.tensor([W - crop, H - crop], device=device).float()
    anywhere = torch.rand(batch, 2, device=device) * limit
    offsets = torch.where(torch.rand(batch, 1, device=device) < 0.75, centred, anywhere).clamp(min=0)
    offsets = torch.minimum(offsets, limit).int()
    return render(G, C, A, seconds_of(times), (W, H), (offsets, crop, crop))


class Losses:
    def __init__(self, model, compiled):
        wrap = (lambda f: torch.compile(f, dynamic=False)) if compiled else (lambda f: f)
        self.encode, self.decode = wrap(model.encode), wrap(model.decode)

    def __call__(self, x, actors, at_half_size):
        """x [B, T, 3, H, W], actors [B, T, 1, H, W] -> loss, L1, mean squared error, mean squared error of actors"""
        weight = pixel_weight(actors.flatten(0, 1))
        with autocast():
            latents = self.encode(x.to(torch.bfloat16 if x.is_cuda else x.dtype))
            noisy = latents + NOISE * torch.randn_like(latents)
            y = self.decode(noisy).float().flatten(0, 1)
        target = x.float().flatten(0, 1)
        error = (y - target).abs()
        size = latents.float()
        loss = (error * weight).mean() + 0.6 * edge_loss(y, target, weight)
        loss = loss + 0.1 * F.relu(size.abs() - 2.2).pow(2).mean() + 2e-4 * size.pow(2).mean()
        if at_half_size:  # half-size latents are latents of half-size clips: latents keep the looks of pictures
            half = x.shape[0] // 2
            small = F.avg_pool2d(latents[:half].flatten(0, 1), 2).unflatten(0, (half, -1))
            wanted = F.avg_pool2d(x[:half].float().flatten(0, 1), 2)
            with autocast():
                y_small = self.decode(small).float().flatten(0, 1)
            one = torch.ones_like(wanted[:, :1])
            loss = loss + 0.25 * ((y_small - wanted).abs().mean() + 0.3 * edge_loss(y_small, wanted, one))
        with torch.no_grad():
            square = (y.clamp(0, 1) - target).pow(2)
            mask = actors.flatten(0, 1).float()
            actor_square = (square * mask).sum() / (3 * mask.sum() + 1)
        return loss, error.mean().detach(), square.mean(), actor_square


def db(mean_square):
    return -10 * math.log10(mean_square + 1e-10)


@torch.no_grad()
def evaluate(model, render, clips=36, picture=None):
    """PSNR of whole held-out clips; the mean and spread of their latents."""
    rng, scores, latents, rows = random.Random(777), [], [], []
    for k in range(clips):
        orientation = k % 3 if k % 2 else 0
        G, C, A = (torch.from_numpy(v).to(DEVICE)[None] for v in scenes.sample(rng, orientation)[:3])
        times = torch.arange(scenes.NF, device=DEVICE)[None]
        x, actors = render(G, C, A, seconds_of(times), scenes.ORIENT[orientation])
        with autocast():
            z = model.encode(x.to(torch.bfloat16 if x.is_cuda else x.dtype))
            y = model.decode(z).float().clamp(0, 1)
        square = (y - x.float()).pow(2)
        mask = actors.float()
        on_actors = (square * mask).sum() / (3 * mask.sum() + 1)
        scores.append([db(v.item()) for v in (square.mean(), square[:, 0].mean(), on_actors)])
        latents.append(z.float()[0].permute(1, 0, 2, 3).flatten(1))
        if orientation == 0 and len(rows) < 12:
            strip = lambda v: (v[0, [0, 16, 32]].float().clamp(0, 1) * 255).byte().permute(0, 2, 3, 1).cpu().numpy()
            rows.append(np.concatenate([np.concatenate(list(strip(v)), 1) for v in (x, y)], 0))
    if picture:
        save_sheet(rows, picture, columns=min(2, len(rows)), shrink=2)
    z, score = torch.cat(latents, 1), torch.tensor(scores)
    names = ("psnr", "psnr_first_frame", "psnr_actors")
    result = {n: round(v, 3) for n, v in zip(names, score.mean(0).tolist())}
    result |= {
        "psnr_worst": round(score[:, 0].min().item(), 3),
        "psnr_actors_worst": round(score[:, 2].min().item(), 3),
    }
    return result, z.mean(1), z.std(1)


def main(argv=None):
    args = arguments(argv)
    setup()
    source = Scenes(args.text, args.seed, workers=args.workers, count=args.batch)
    render = make_renderer(args.sprites, scenes.NS, DEVICE)
    torch.manual_seed(args.seed)
    model = Autoencoder().to(DEVICE).to(memory_format=torch.channels_last)
    parameters = list(model.parameters())
    losses = Losses(model, args.compile)
    if args.compile:
        with turn(args.out):
            warm_up(losses, args, parameters)
    if args.init:
        model.load_state_dict({k: v.float() for k, v in load_file(wait_for(args.init)).items()})
    if args.after:
        wait_for(args.after)
    before, _, _ = evaluate(model, render, args.clips) if args.init else ({}, None, None)
    print("before", before, flush=True)
    optimizer = torch.optim.AdamW(parameters, lr=PEAK_LR, betas=(0.9, 0.99), weight_decay=1e-3)
    ema, clock, log, step = [p.detach().clone() for p in parameters], Clock(args.until), Log(), 0
    while not clock.over() and step < args.max_steps:
        cosine = 0.5 + 0.5 * math.cos(math.pi * clock.progress())
        optimizer.param_groups[0]["lr"] = PEAK_LR * min(1, (step + 1) / 60) * cosine + 1e-6
        x, actors = crops(source.get(DEVICE), render, args.crop, args.frames)
        loss, l1, square, actor_square = losses(x, actors, step % 3 == 0)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        ema_update(ema, parameters, min(0.998, 1 - 1 / (step + 2)))
        step += 1
        log.add(loss=loss, l1=l1, mse=square, mse_actors=actor_square)
    source.close()
    for p, e in zip(parameters, ema):
        p.data.copy_(e)
    finish(model, render, args, before, log, clock, step)


def warm_up(losses, args, parameters):
    """Compiles with made-up clips, while other steps train."""
    x = torch.rand(args.batch, args.frames, 3, args.crop, args.crop, device=DEVICE)
    for at_half_size in (True, False):
        losses(x, x[:, :, :1], at_half_size)[0].backward()
    for p in parameters:
        p.grad = None
    free_memory()
    print("compiled", flush=True)


def finish(model, render, args, before, log, clock, step):
    out = args.out
    after, mean, std = evaluate(model, render, args.clips, f"{out}/vae.jpg")
    print("after", after, flush=True)
    state = {k: v.detach().half().contiguous().cpu() for k, v in model.state_dict().items()}
    statistics = {
        "latents_mean": [round(v, 5) for v in mean.tolist()],
        "latents_std": [round(v, 5) for v in std.tolist()],
    }
    save_json(
        f"{out}/vae.json",
        statistics | {"before": before, "after": after, "steps": step, "seconds": clock.seconds(), "log": log.rows},
    )
    for part in ("encoder", "decoder"):
        only = {k: v for k, v in state.items() if k.startswith(part)}
        place(f"{out}/vae_{part}.safetensors", lambda p, only=only: save_file(only, p))
    save_state(f"{out}/vae.pt", {"weights": state, "mean": mean.cpu(), "std": std.cpu()})


def arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--until", type=float, required=True, help="when to stop, seconds since 1970")
    parser.add_argument("--max-steps", type=int, default=10**9)
    parser.add_argument("--init", help="weights to start from (safetensors)")
    parser.add_argument("--after", help="start when this file exists")
    parser.add_argument("--sprites", required=True)
    parser.add_argument("--text", required=True, help="folder of the text encoder")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=10)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--crop", type=int, default=192)
    parser.add_argument("--frames", type=int, default=13)
    parser.add_argument("--clips", type=int, default=36, help="clips of the evaluation")
    parser.add_argument("--compile", action="store_true")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
