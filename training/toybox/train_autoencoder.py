"""Trains the autoencoder on crops of fresh clips, with more weight on actors; against a discriminator in the last part.

    train_autoencoder.py OUT --until T [--init PATH] [--decoder-only] [--after FILE] --sprites DIR --text DIR

Reads OUT/vae_state.pt if it is there (weights, running mean, optimizers, discriminator, how far it was) and goes on from
it. Writes it again at the end, and OUT/vae.pt (running mean in f16, mean and std of the latents: what the next steps
read), vae.json (scores and losses) and vae.jpg (held-out clips above what came back).

With --decoder-only the encoder is frozen: latents and their statistics stay what they are, and a transformer that was
trained on them stays right.
"""

import argparse
import math
import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import scenes
from autoencoder import Autoencoder
from common import (
    DEVICE,
    Clock,
    Log,
    autocast,
    ema_update,
    free_memory,
    fresh_seed,
    save_json,
    save_sheet,
    save_state,
    setup,
    turn,
    wait_for,
)
from data import Scenes, seconds_of, take_frames
from discriminator import Adversary, patch_weight
from render import make_renderer
from stored import read_autoencoder, read_weights

NOISE = 0.10  # added to latents in training, so that decoding forgives the transformer's errors
ACTOR_WEIGHT = 4.0
PEAK_LR = 6e-4
EMA = 0.998
EMA_ADVERSARIAL = 0.99  # short, or the running mean would hardly see a short end
RAMP = 0.2  # share of the adversarial part in which its weight rises: the discriminator has to learn first


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
    def __init__(self, model, compiled, decoder_only=False):
        wrap = (lambda f: torch.compile(f, dynamic=False)) if compiled else (lambda f: f)
        self.encode, self.decode = wrap(model.encode), wrap(model.decode)
        self.decoder_only = decoder_only

    def __call__(self, x, actors, at_half_size, pull=None):
        """x [B, T, 3, H, W], actors [B, T, 1, H, W] -> the loss, numbers for the log, the frames that came back.

        `pull(frames, gradient of the loss with respect to them)` gives a further gradient for the frames, which the loss
        takes in: what a discriminator asks for.
        """
        weight = pixel_weight(actors.flatten(0, 1))
        with autocast():
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.decoder_only):
                latents = self.encode(x.to(torch.bfloat16 if x.is_cuda else x.dtype))
            noisy = latents + NOISE * torch.randn_like(latents)
            y = self.decode(noisy).float()
        frames, target = y.flatten(0, 1), x.float().flatten(0, 1)
        error = (frames - target).abs()
        loss = (error * weight).mean() + 0.6 * edge_loss(frames, target, weight)
        if pull is not None:
            (own,) = torch.autograd.grad(loss, y, retain_graph=True)
            loss = loss + (y * pull(y, own)).sum()
        if not self.decoder_only:
            loss = loss + self.of_latents(x, latents, at_half_size)
        numbers = {"l1": error.mean().detach()}
        with torch.no_grad():
            square = (frames.clamp(0, 1) - target).pow(2)
            mask = actors.flatten(0, 1).float()
            numbers |= {"mse": square.mean(), "mse_actors": (square * mask).sum() / (3 * mask.sum() + 1)}
        return loss, numbers, y

    def of_latents(self, x, latents, at_half_size):
        """Keeps latents small, and like pictures: half-size latents shall be latents of half-size clips."""
        size = latents.float()
        loss = 0.1 * F.relu(size.abs() - 2.2).pow(2).mean() + 2e-4 * size.pow(2).mean()
        if not at_half_size:
            return loss
        half = x.shape[0] // 2
        small = F.avg_pool2d(latents[:half].flatten(0, 1), 2).unflatten(0, (half, -1))
        wanted = F.avg_pool2d(x[:half].float().flatten(0, 1), 2)
        with autocast():
            y = self.decode(small).float().flatten(0, 1)
        one = torch.ones_like(wanted[:, :1])
        return loss + 0.25 * ((y - wanted).abs().mean() + 0.3 * edge_loss(y, wanted, one))


class Training:
    """The networks, their optimizers and the running mean; `step` trains once. Its state is all that a run needs to go on."""

    def __init__(self, model, args):
        self.model, self.args = model, args
        model.encoder.requires_grad_(not args.decoder_only)
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.losses = Losses(model, args.compile, args.decoder_only)
        self.optimizer = torch.optim.AdamW(self.parameters, lr=PEAK_LR, betas=(0.9, 0.99), weight_decay=1e-3)
        self.adversary = Adversary(DEVICE, args.adversarial) if args.adversarial_from < 1 else None
        self.steps, self.progress = 0, 0.0
        self.restart_mean()

    def restart_mean(self):
        self.ema = [p.detach().clone() for p in self.parameters]

    def step(self, x, actors, progress):
        """progress: 0 at the start of all the training, 1 at its end. Numbers for the log."""
        self.progress = progress
        cosine = 0.5 + 0.5 * math.cos(math.pi * progress)
        self.optimizer.param_groups[0]["lr"] = PEAK_LR * min(1, (self.steps + 1) / 60) * cosine + 1e-6
        adversarial, found = progress >= self.args.adversarial_from, {}
        pull = None
        if adversarial:
            patches = patch_weight(pixel_weight(actors.flatten(0, 1))).unflatten(0, (x.shape[0], -1))
            length = 1 - self.args.adversarial_from
            strength = min(1.0, (progress - self.args.adversarial_from) / (RAMP * length))

            def pull(made, own):
                gradient, found["fooling"] = self.adversary.pull(made, x, own, patches, strength, autocast)
                return gradient

        loss, numbers, made = self.losses(x, actors, self.steps % 3 == 0, pull)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if adversarial:
            found["telling"], found["told"] = self.adversary.learn(x, made, patches, autocast)
        ema_update(self.ema, self.parameters, min(EMA_ADVERSARIAL if adversarial else EMA, 1 - 1 / (self.steps + 2)))
        self.steps += 1
        return numbers | found

    def use_mean(self):
        """Puts the running mean in the place of the weights."""
        for p, e in zip(self.parameters, self.ema):
            p.data.copy_(e)

    def state_dict(self):
        return {
            "weights": self.model.state_dict(),
            "ema": self.ema,
            "optimizer": self.optimizer.state_dict(),
            "adversary": self.adversary and self.adversary.state_dict(),
            "steps": self.steps,
            "progress": self.progress,
        }

    def load_state_dict(self, state):
        self.model.load_state_dict(state["weights"])
        torch._foreach_copy_(self.ema, [e.to(DEVICE) for e in state["ema"]])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.adversary and state["adversary"]:
            self.adversary.load_state_dict(state["adversary"])
        self.steps, self.progress = state["steps"], state["progress"]


def db(mean_square):
    return -10 * math.log10(mean_square + 1e-10)


def edge_energy(frames, mask):
    """Squared differences of neighbouring pixels, added up where `mask` is. A reconstruction's share of the original's is
    its sharpness: 1 is as sharp, less is blurred. PSNR does not see that, it likes blur better than misplaced detail."""
    pairs = zip(steps(frames), (mask[..., 1:], mask[..., 1:, :]))
    return sum((d.pow(2) * m).sum() for d, m in pairs).item() + 1e-8


@torch.no_grad()
def evaluate(model, render, clips=36, picture=None):
    """PSNR of whole held-out clips, sharpness of their actors; the mean and spread of their latents."""
    rng, scores, sharpness, latents, rows = random.Random(777), [], [], [], []
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
        sharpness.append(edge_energy(y, mask) / edge_energy(x.float(), mask))
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
        "sharpness_actors": round(float(np.mean(sharpness)), 4),
    }
    return result, z.mean(1), z.std(1)


def main(argv=None):
    args = arguments(argv)
    setup()
    state_file = Path(args.out) / "vae_state.pt"
    seed = fresh_seed(args.seed, state_file)
    source = Scenes(args.text, seed, workers=args.workers, count=args.batch, mix=scenes.Mix(fast=args.fast))
    render = make_renderer(args.sprites, scenes.NS, DEVICE)
    torch.manual_seed(seed)
    model = Autoencoder().to(DEVICE).to(memory_format=torch.channels_last)
    training = Training(model, args)
    if args.compile:
        with turn(args.out):
            warm_up(training, args)
    statistics = start(training, args)
    if args.after:
        wait_for(args.after)
    before, rows = {}, []
    if state_file.exists():
        found = torch.load(state_file, map_location=DEVICE)
        training.load_state_dict(found)
        before, rows = found["before"], found["log"]
    elif args.init:
        before, _, _ = evaluate(model, render, args.clips)
    print("before", before, flush=True)
    done = training.progress if training.progress < 0.99 else 0.0  # a schedule that has come to its end starts again
    clock, log, first = Clock(args.until), Log(args.log_every), training.steps
    save = lambda: save_state(state_file, training.state_dict() | {"before": before, "log": rows + log.rows})
    while not clock.over() and training.steps - first < args.max_steps:
        passed = max(clock.progress(), (training.steps - first) / args.max_steps)
        x, actors = crops(source.get(DEVICE), render, args.crop, args.frames)
        log.add(**training.step(x, actors, done + (1 - done) * passed))
        if args.save_every and training.steps % args.save_every == 0:
            save()
    source.close()
    save()
    training.use_mean()
    finish(
        model,
        render,
        args,
        before,
        statistics,
        {"steps": training.steps, "seconds": clock.seconds(), "log": rows + log.rows},
    )


def start(training, args):
    """First weights; the mean and std of the latents if they are to stay."""
    if not args.init:
        return None
    wait_for(args.init)
    if args.decoder_only:
        weights, *statistics = read_autoencoder(args.init)
    else:
        weights, statistics = read_weights(args.init), None
    training.model.load_state_dict(weights)
    training.restart_mean()
    return statistics


def warm_up(training, args):
    """Compiles with made-up clips, while other steps train."""
    x = torch.rand(args.batch, args.frames, 3, args.crop, args.crop, device=DEVICE)
    for at_half_size in (True, False):
        training.losses(x, x[:, :, :1], at_half_size)[0].backward()
    for p in training.parameters:
        p.grad = None
    free_memory()
    print("compiled", flush=True)


def finish(model, render, args, before, statistics, about):
    out = args.out
    after, mean, std = evaluate(model, render, args.clips, f"{out}/vae.jpg")
    if statistics:
        mean, std = statistics
    print("after", after, flush=True)
    state = {k: v.detach().half().contiguous().cpu() for k, v in model.state_dict().items()}
    latents = {f"latents_{k}": [round(x, 5) for x in v.tolist()] for k, v in (("mean", mean), ("std", std))}
    settings = {
        k: getattr(args, k) for k in ("decoder_only", "adversarial_from", "adversarial", "fast", "crop", "frames")
    }
    save_json(f"{out}/vae.json", latents | settings | {"before": before, "after": after} | about)
    save_state(f"{out}/vae.pt", {"weights": state, "mean": mean.cpu(), "std": std.cpu()})


def arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--until", type=float, required=True, help="when to stop, seconds since 1970")
    parser.add_argument("--max-steps", type=int, default=10**9)
    parser.add_argument("--init", help="weights to start from: the product's folder, vae.pt or safetensors")
    parser.add_argument(
        "--decoder-only", action="store_true", help="keep the encoder, its latents and their statistics"
    )
    parser.add_argument("--adversarial-from", type=float, default=1.0, help="from which share of the time; 1: never")
    parser.add_argument(
        "--adversarial", type=float, default=0.05, help="the discriminator's gradient as a share of the other"
    )
    parser.add_argument("--fast", type=float, default=0.0, help="share of scenes whose actors move fast")
    parser.add_argument(
        "--save-every", type=int, default=0, help="steps from one vae_state.pt to the next; 0: at the end"
    )
    parser.add_argument("--log-every", type=int, default=100)
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
    args = parser.parse_args(argv)
    if args.decoder_only and (not args.init or args.init.endswith(".safetensors")):
        parser.error("--decoder-only needs the statistics of the latents: give --init a product's folder or vae.pt")
    return args


if __name__ == "__main__":
    main()
