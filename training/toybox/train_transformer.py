"""Trains the transformer on latents of fresh scenes, with more weight on tokens that actors cover.

    train_transformer.py OUT --until T --vae FILE [--init FILE] --sprites DIR --text DIR

Reads OUT/transformer_state.pt if it is there (weights, optimizers, running mean) and goes on from it. Writes it again at
the end, OUT/transformer.pt (the running mean of the weights: what to use) and OUT/transformer.json (losses).
"""

import argparse
import random
from pathlib import Path

import torch

import scenes
from autoencoder import Autoencoder
from common import (
    DEVICE,
    SHIFT,
    Clock,
    Log,
    autocast,
    ema_update,
    free_memory,
    save_json,
    save_state,
    setup,
    shifted,
    turn,
    wait_for,
)
from data import GRIDS, LATENT_FRAMES, TOKENS_PER_FRAME, LatentData, Scenes
from muon import Muon
from render import make_renderer
from text import TextEncoder, Tokenizer, read_rows
from transformer import Config, Transformer, output_order, patchify, rope_table

COVER_WEIGHT = 4.0
DROP_TEXT = 0.10
EMA = 0.9985
IMAGE_SHIFT = 1.5
TABLES = {}


def rope(frames, orientation):
    if (frames, orientation) not in TABLES:
        height, width = GRIDS[orientation]
        TABLES[frames, orientation] = rope_table(frames, height // 2, width // 2, device=DEVICE)
    return TABLES[frames, orientation]


def draw_sigmas(batch, shift):
    """Noise levels: the logistic of a normal number, shifted; one in ten uniform."""
    s = shifted(torch.sigmoid(torch.randn(batch, device=DEVICE) * 1.1), shift)
    return torch.where(torch.rand(batch, device=DEVICE) < 0.1, torch.rand(batch, device=DEVICE), s).clamp(1e-3, 1)


def draw_clean(batch, frames):
    """Tokens given as clean [B, L, 1]: the first latent frame (image-to-video) in 17 %, the first three (extend) in 8 %."""
    given = torch.zeros(batch, device=DEVICE)
    if frames > 1:
        u = torch.rand(batch, device=DEVICE)
        given = torch.where(u < 0.17, 1.0, torch.where(u < 0.25, 3.0, 0.0))
    frame = torch.arange(frames, device=DEVICE).repeat_interleave(TOKENS_PER_FRAME)[None]
    return (frame < given[:, None]).float()[..., None]


def token_weight(cover, is_clean):
    """[B, L] -> [B, L, 1]: 1, more on actors, 0 on clean tokens"""
    weight = 1 + COVER_WEIGHT * (2 * cover.float()).clamp(max=1)
    return weight[..., None] * (1 - is_clean)


def weighted(error, weight):
    """error [B, L, C] squared, weight [B, L, 1] -> mean"""
    return (error.pow(2).mean(-1, keepdim=True) * weight).sum() / weight.sum()


def velocity_loss(model, batch, image, nothing):
    orientation, latents, text, cover = batch
    count, frames = latents.shape[0], latents.shape[2]
    clean = patchify(latents).float()
    noise = torch.randn_like(clean)
    sigmas, is_clean = draw_sigmas(count, IMAGE_SHIFT if image else SHIFT), draw_clean(count, frames)
    level = sigmas[:, None, None] * (1 - is_clean)
    noisy = (1 - level) * clean + level * noise
    text = torch.where((torch.rand(count, device=DEVICE) < DROP_TEXT)[:, None, None], nothing.to(text.dtype), text)
    with autocast():
        out = model(noisy, text, sigmas * 1000, is_clean, *rope(frames, orientation))
    return weighted(out.float() - output_order(noise - clean), token_weight(cover, is_clean))


class Optimizers:
    """Muon for the matrices of the blocks, AdamW for the rest."""

    def __init__(self, model):
        named = list(model.named_parameters())
        matrices = [p for n, p in named if n.startswith("blocks") and p.ndim == 2]
        chosen = {id(p) for p in matrices}
        self.all = [p for _, p in named]
        self.muon = Muon(matrices)
        self.adam = torch.optim.AdamW(
            [p for p in self.all if id(p) not in chosen], lr=1e-3, betas=(0.9, 0.98), weight_decay=0.0
        )

    def step(self, lr):
        torch.nn.utils.clip_grad_norm_(self.all, 2.0)
        self.muon.step(lr)
        self.adam.param_groups[0]["lr"] = lr / 3
        self.adam.step()
        for p in self.all:
            p.grad = None

    def state_dict(self):
        return {"muon": self.muon.state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state):
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])


def warm_up(model, shapes):
    """Compiles for batches [(samples, frames, with gradients)] of made-up latents, while other steps train."""
    dtype = torch.bfloat16 if DEVICE.type == "cuda" else torch.float32
    for count, frames, gradients in shapes:
        tokens = frames * TOKENS_PER_FRAME
        patches = torch.randn(count, tokens, 192, device=DEVICE)
        text = torch.randn(count, 64, 384, device=DEVICE, dtype=dtype)
        flags = torch.zeros(count, tokens, 1, device=DEVICE)
        with torch.set_grad_enabled(gradients), autocast():
            out = model(patches, text, torch.full((count,), 500.0, device=DEVICE), flags, *rope(frames, 0))
            if gradients:
                out.float().pow(2).mean().backward()
    for p in model.parameters():
        p.grad = None
    free_memory()
    print("compiled", flush=True)


def load_encoder(data, path):
    """The encoder of OUT/vae.pt into `data`."""
    found = torch.load(wait_for(path), map_location="cpu")
    data.autoencoder.load_state_dict({k: v.float() for k, v in found["weights"].items()})
    data.set_encoder(data.encode, found["mean"], found["std"])


def make_data(args):
    """Scenes, buffers and networks that fill them, the embedding of no words; the autoencoder's weights come with `load_encoder`."""
    source = Scenes(args.text, args.seed, workers=args.workers, count=args.chunk)  # before the device is touched
    render = make_renderer(args.sprites, scenes.NS, DEVICE)
    dtype = torch.float16 if DEVICE.type == "cuda" else torch.float32
    text = TextEncoder(args.text, dtype).to(DEVICE)
    data = LatentData(render, text, DEVICE, args.keep_clips, args.keep_images)
    data.autoencoder = Autoencoder().to(DEVICE).to(data.dtype).to(memory_format=torch.channels_last).eval()
    data.encode = torch.compile(data.autoencoder.encode, dynamic=False) if args.compile else data.autoencoder.encode
    ids, lengths = (v.to(DEVICE) for v in Tokenizer(args.text)([""]))
    torch.manual_seed(args.seed)
    return source, data, text(ids, lengths)


@torch.no_grad()
def warm_up_encoder(data, chunk):
    for height, width in GRIDS.values():
        for count, frames in ((min(16, chunk), scenes.NF), (min(64, chunk), 1)):
            data.encode(torch.rand(count, frames, 3, height * 16, width * 16, device=DEVICE).to(data.dtype))
    free_memory()
    print("compiled the encoder", flush=True)


def fill(data, source, image, count):
    done, clock = 0, Clock(0)
    while done < count:
        done += data.add(source.get(DEVICE), image)
    print(f"filled {done} {'images' if image else 'clips'} in {clock.seconds():.1f} s", flush=True)


def initial(path):
    """Weights from a product's folder (int8 rows), a plain safetensors file or OUT/transformer.pt."""
    path = wait_for(path)
    return torch.load(path, map_location="cpu") if path.suffix == ".pt" else read_rows(path.parent, path.name)


def main(argv=None):
    args = arguments(argv)
    setup()
    source, data, nothing = make_data(args)
    model = Transformer(Config(layers=args.layers)).to(DEVICE)
    if args.compile:
        model.compile_blocks()
        with turn(args.out):
            warm_up(model, [(args.clips, LATENT_FRAMES, True), (args.images, 1, True)])
            warm_up_encoder(data, args.chunk)
    optimizers, names = Optimizers(model), [n for n, _ in model.named_parameters()]
    ema, step, rows = restore(args, model, optimizers)
    load_encoder(data, args.vae)
    fill(data, source, True, args.fill_images)
    fill(data, source, False, args.fill_clips)
    clock, log, credit, first = Clock(args.until), Log(), {True: 0.0, False: 0.0}, step
    while not clock.over() and step - first < args.max_steps:
        progress = clock.progress()
        lr = args.lr * min(1, (step - first + 5) / 100) * max(0.01, min(1, (1 - progress) / 0.85))
        image = random.random() < (0.3 if progress < 0.08 else 0.08)
        count = args.images if image else args.clips
        loss = velocity_loss(model, data.pick(image, count), image, nothing)
        loss.backward()
        optimizers.step(lr)
        ema_update(ema, optimizers.all, min(EMA, 1 - 3 / (step - first + 4)))
        step += 1
        credit[image] += count / (args.reuse_images if image else args.reuse_clips)
        while credit[image] >= args.chunk:
            data.add(source.get(DEVICE), image)
            credit[image] -= args.chunk
        log.add(lr=lr, waiting=source.queue.qsize(), **{"image" if image else "clip": loss})
        if args.save_every and step % args.save_every == 0:
            save(args, model, optimizers, ema, names, step, rows + log.rows)
    source.close()
    save(args, model, optimizers, ema, names, step, rows + log.rows)


def restore(args, model, optimizers):
    """The running mean, the step and the log to go on from."""
    state = Path(args.out) / "transformer_state.pt"
    if state.exists():
        found = torch.load(state, map_location=DEVICE)
        model.load_state_dict(found["weights"])
        optimizers.load_state_dict(found["optimizers"])
        return found["ema"], found["step"], found["log"]
    if args.init:
        model.load_state_dict({k: v.float() for k, v in initial(args.init).items()})
    return [p.detach().clone() for p in model.parameters()], 0, []


def save(args, model, optimizers, ema, names, step, rows):
    out = Path(args.out)
    state = {
        "weights": model.state_dict(),
        "optimizers": optimizers.state_dict(),
        "ema": ema,
        "step": step,
        "log": rows,
    }
    save_state(out / "transformer_state.pt", state)
    save_json(
        out / "transformer.json", {"step": step, "log": rows, "batch": {"clips": args.clips, "images": args.images}}
    )
    save_state(out / "transformer.pt", {n: e.detach().float().cpu() for n, e in zip(names, ema)})


def common_arguments(doc):
    """Arguments of this step and of the distillation."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--until", type=float, required=True, help="when to stop, seconds since 1970")
    parser.add_argument("--max-steps", type=int, default=10**9)
    parser.add_argument("--vae", required=True, help="vae.pt of the autoencoder's training; waited for")
    parser.add_argument("--init", help="weights to start from; waited for")
    parser.add_argument("--sprites", required=True)
    parser.add_argument("--text", required=True, help="folder of the text encoder")
    parser.add_argument("--workers", type=int, default=13)
    parser.add_argument("--chunk", type=int, default=32, help="scenes that are rendered and encoded at once")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--clips", type=int, default=48, help="clips in a batch")
    parser.add_argument("--keep-clips", type=int, default=8000)
    parser.add_argument("--keep-images", type=int, default=30000)
    parser.add_argument("--fill-clips", type=int, default=3000)
    parser.add_argument("--fill-images", type=int, default=6000)
    parser.add_argument("--reuse-clips", type=float, default=8, help="how often each clip is used")
    parser.add_argument("--reuse-images", type=float, default=8)
    parser.add_argument("--compile", action="store_true")
    return parser


def arguments(argv):
    parser = common_arguments(__doc__)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--images", type=int, default=384, help="images in a batch")
    parser.add_argument("--lr", type=float, default=2.5e-3)
    parser.add_argument("--save-every", type=int, default=0)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
