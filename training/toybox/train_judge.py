"""Trains the judge on fresh renders and states its accuracy on renders that it never saw.

    train_judge.py OUT --until T --sprites DIR --text DIR [--init DIR]

Writes OUT/judge.safetensors (f16, batch norms folded), OUT/judge.json (classes, accuracies, losses).
"""

import argparse
import json
import random
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import scenes
from common import DEVICE, Clock, Log, autocast, place, save_json, setup
from data import HEADS, MOTION, Scenes, classes, make_chunk, seconds_of, take_frames
from judge import FRAMES, HEIGHT, WIDTH, Judge, choose_frames, fold
from render import make_renderer
from stored import read_weights
from text import Tokenizer

PEAK_LR = 2e-3
FURTHER_LR = 5e-4  # of a judge that was trained before
HELD_OUT_SEED = 987654321
SIZE = (2 * WIDTH, 2 * HEIGHT)


def show(chunk, render):
    """Frames [B, 17, 3, 144, 256] of a chunk of landscape scenes."""
    _, G, C, A = chunk[:4]
    times = torch.tensor(choose_frames(scenes.NF), device=G.device)[None].expand(G.shape[0], -1)
    C, A = take_frames(C, A, times)
    pixels, _ = render(G, C, A, seconds_of(times), SIZE)
    return F.avg_pool2d(pixels.float().flatten(0, 1), 2).unflatten(0, (G.shape[0], FRAMES))


def show_single(chunk, render):
    """One frame of each scene, [B, 1, 3, 144, 256]: enough for the appearance, and many more scenes a second."""
    _, G, C, A = chunk[:4]
    times = torch.randint(0, scenes.NF, (G.shape[0], 1), device=G.device)
    C, A = take_frames(C, A, times)
    pixels, _ = render(G, C, A, seconds_of(times), SIZE)
    return F.avg_pool2d(pixels.float().flatten(0, 1), 2)[:, None]


def join(chunks):
    return chunks[0][0], *(torch.cat(parts) for parts in list(zip(*chunks))[1:])


def roughen(x):
    """Blur, noise, brightness and colour, so that generated frames are no strangers. One choice a batch."""
    if random.random() < 0.6:
        scale = random.uniform(1.2, 3.0)
        size = (int(HEIGHT / scale), int(WIDTH / scale))
        small = F.interpolate(x.flatten(0, 1), size=size, mode="bilinear", antialias=True)
        x = F.interpolate(small, size=(HEIGHT, WIDTH), mode="bilinear").view_as(x)
    gain = 1 + 0.12 * torch.randn(x.shape[0], 1, 3, 1, 1, device=x.device)
    x = x * gain + 0.04 * torch.randn(x.shape[0], 1, 1, 1, 1, device=x.device)
    return (x + random.uniform(0, 0.05) * torch.randn_like(x)).clamp(0, 1)


def actor_target(actors, count):
    """[B, 4] class numbers, -1 where there is none -> [B, actors], each different actor an equal share"""
    target = torch.zeros(actors.shape[0], count + 1, device=actors.device)
    target.scatter_(1, torch.where(actors < 0, count, actors), 1.0)
    target = target[:, :-1]
    return target / target.sum(1, keepdim=True)


def loss_of(logits, actors, labels):
    target = actor_target(actors, logits["actor"].shape[1])
    losses = {"actor": F.cross_entropy(logits["actor"].float(), target, label_smoothing=0.02)}
    for i, head in enumerate(HEADS):
        if head in logits:
            losses[head] = F.cross_entropy(logits[head].float(), labels[:, i])
    return losses


def correct(logits, actors, labels):
    """1 or 0 for each clip and head; of two different actors both must be the first two."""
    target = actor_target(actors, logits["actor"].shape[1]) > 0
    wanted = target.sum(1)
    order = logits["actor"].argsort(1, descending=True)
    rank_ok = target.gather(1, order[:, :2])
    out = {"actor": torch.where(wanted == 1, rank_ok[:, 0], rank_ok.all(1)).float()}
    for i, head in enumerate(HEADS):
        out[head] = (logits[head].argmax(1) == labels[:, i]).float()
    return out


@torch.no_grad()
def evaluate(model, render, clips, tokenizer, batch=32):
    """Accuracy on held-out renders by head, and for each motion: one that is never recognised can never be scored. Their
    seed is used nowhere else."""
    model.eval()
    rng, sums, seen, motions = random.Random(HELD_OUT_SEED), {}, 0, {}
    while seen < clips:
        orientation, *arrays = make_chunk(rng, 0, batch, tokenizer)
        chunk = orientation, *(torch.from_numpy(a).to(DEVICE) for a in arrays)
        with autocast():
            logits, _ = model(show(chunk, render))
        right = correct(logits, *chunk[6:8])
        for head, value in right.items():
            sums[head] = sums.get(head, 0) + value.sum().item()
        for label, value in zip(chunk[7][:, MOTION].tolist(), right["motion"].tolist()):
            motions.setdefault(scenes.MOTIONS[label], []).append(value)
        seen += batch
    accuracy = {head: round(value / seen, 4) for head, value in sums.items()}
    return accuracy, {name: round(sum(values) / len(values), 4) for name, values in sorted(motions.items())}


def initial(path):
    """A new judge, or that of `path`. Exported judges have no batch norms left, so theirs stay what they are."""
    if not path:
        return Judge().train()
    path = Path(path)
    return Judge.folded(read_weights(path / "model.safetensors" if path.is_dir() else path)).eval()


def seen_by(path):
    """How much the judge of `path` was shown before, as far as that is known."""
    config = Path(path or "") / "config.json"
    about = json.loads(config.read_text()) if config.exists() else {}
    return {name: about.get(name, 0) for name in ("clips_seen", "frames_seen")}


def main(argv=None):
    args = arguments(argv)
    setup()
    before = seen_by(args.init)
    shares, mix = (1, 0, 0), scenes.Mix(lessons=args.lessons, settled=args.settled)
    source = Scenes(args.text, args.seed, workers=args.workers, count=args.batch, shares=shares, mix=mix)
    render = make_renderer(args.sprites, scenes.NS, DEVICE)
    torch.manual_seed(args.seed)
    model = initial(args.init).to(DEVICE).to(memory_format=torch.channels_last)
    peak, every = (FURTHER_LR, 1) if args.init else (PEAK_LR, 3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.98), weight_decay=0.05)
    clock, log, step = Clock(args.until), Log(), 0
    while not clock.over() and step < args.max_steps:
        optimizer.param_groups[0]["lr"] = peak * min(1, (step + 1) / 100) * (1 - clock.progress()) + 1e-6
        single = step % every != every - 1
        chunk = join([source.get(DEVICE) for _ in range(args.singles)]) if single else source.get(DEVICE)
        with autocast():
            logits, _ = model(roughen((show_single if single else show)(chunk, render)))
        losses = loss_of(logits, *chunk[6:8])
        loss = sum(losses.values())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        log.add(waiting=source.queue.qsize(), **(losses if not single else {"single_actor": losses["actor"]}))
    source.close()
    accuracy, by_motion = evaluate(model, render, args.clips, Tokenizer(args.text))
    print("judge", accuracy, by_motion, "steps", step, flush=True)
    save_json(
        f"{args.out}/judge.json",
        {
            "classes": classes(),
            "accuracy": accuracy,
            "accuracy_by_motion": by_motion,
            "held_out_clips": args.clips,
            "clips_seen": before["clips_seen"] + step // every * args.batch,
            "frames_seen": before["frames_seen"] + (step - step // every) * args.batch * args.singles,
            "log": log.rows,
        },
    )
    place(
        f"{args.out}/judge.safetensors",
        lambda p: save_file({k: v.half().contiguous().cpu() for k, v in fold(model).items()}, p),
    )


def arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--until", type=float, required=True, help="when to stop, seconds since 1970")
    parser.add_argument("--max-steps", type=int, default=10**9)
    parser.add_argument("--sprites", required=True)
    parser.add_argument("--text", required=True, help="folder of the text encoder")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--workers", type=int, default=13)
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--singles", type=int, default=8, help="batches of scenes of which one frame each is shown")
    parser.add_argument("--clips", type=int, default=2048, help="held-out renders")
    parser.add_argument("--lessons", type=float, default=0.0, help="share of scenes that show a motion alone")
    parser.add_argument(
        "--settled", type=float, default=0.0, help="share of scenes with settled motions (`scenes.settle`)"
    )
    parser.add_argument(
        "--init", help="a judge to go on from, models/judge or judge.safetensors; it is shown clips only"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
