"""Trains the transformer on latents of fresh scenes, with more weight on tokens that actors cover or that change.

    train_transformer.py OUT --until T --vae FILE [--init FILE] --sprites DIR --text DIR

Reads OUT/transformer_state.pt if it is there (weights, optimizers, running mean) and goes on from it. Writes it again at
the end, OUT/transformer.pt (the running mean of the weights: what to use) and OUT/transformer.json (losses).

For motion: --lessons (scenes that teach the words of motions), --moving (weight on tokens that change) and --auxiliary
(weight of a head that has to say the motion, `auxiliary.py`).
"""

import argparse
import random
from pathlib import Path

import torch
import torch.nn.functional as F

import scenes
from autoencoder import Autoencoder
from auxiliary import Auxiliary
from common import (
    DEVICE,
    SHIFT,
    Clock,
    Log,
    autocast,
    ema_update,
    free_memory,
    fresh_seed,
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
from stored import read_autoencoder, read_weights, shards_of
from text import TextEncoder, Tokenizer
from transformer import Config, Transformer, output_order, patchify, rope_table

COVER_WEIGHT = 4.0
DROP_TEXT = 0.10
EMA = 0.9985
IMAGE_SHIFT = 1.5
STATE = "transformer_state.pt"
# Shares of `scenes.Mix` that a training chooses.
MIX_ARGUMENTS = {
    "lessons": "share of scenes that teach the words of motions",
    "pairs": "share of scenes of two different actors, of those that are no lessons",
    "settled": "share of scenes whose motions begin at one phase and turn in one direction",
    "later": "share of scenes that begin in the middle of their motion, with three latent frames given",
    "camera_said": "captions that say a moving camera",
}
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


def draw_clean(batch, frames, later=None):
    """Tokens given as clean [B, L, 1]: the first latent frame (image-to-video) in 17 %, the first three (extend) in 4 % and
    wherever `later` [B] is 1: a scene that begins in the middle of its motion."""
    given = torch.zeros(batch, device=DEVICE)
    if frames > 1:
        u = torch.rand(batch, device=DEVICE)
        given = torch.where(u < 0.17, 1.0, torch.where(u < 0.21, 3.0, 0.0))
        given = given if later is None else torch.where(later > 0, 3.0, given)
    frame = torch.arange(frames, device=DEVICE).repeat_interleave(TOKENS_PER_FRAME)[None]
    return (frame < given[:, None]).float()[..., None]


def change(latents):
    """How much more than others in its clip a token changes, to the frame before or after it: [B, 48, F, H, W] -> [B, L],
    0 at the mean of the clip or less, 1 at four times the mean. Nothing changes in a single frame."""
    if latents.shape[2] == 1:
        return torch.zeros((), device=latents.device)
    steps = (latents[:, :, 1:] - latents[:, :, :-1]).float().abs().mean(1)
    steps = F.avg_pool2d(steps, 2).flatten(2)
    most = torch.maximum(F.pad(steps, (0, 0, 0, 1)), F.pad(steps, (0, 0, 1, 0))).flatten(1)
    return ((most / (most.mean(1, keepdim=True) + 1e-6) - 1) / 3).clamp(0, 1)


def token_weight(cover, is_clean, moving=0.0):
    """[B, L] -> [B, L, 1]: 1, more on actors, as much more as `moving` says, 0 on clean tokens"""
    weight = 1 + COVER_WEIGHT * (2 * cover.float()).clamp(max=1) + moving
    return weight[..., None] * (1 - is_clean)


def weighted(error, weight):
    """error [B, L, C] squared, weight [B, L, 1] -> mean"""
    return (error.pow(2).mean(-1, keepdim=True) * weight).sum() / weight.sum()


def losses(model, batch, image, nothing, moving=0.0, auxiliary=None, shift=SHIFT):
    """{"velocity": loss}, and of clips those of the auxiliary head, if there is one. `moving` weighs tokens that change;
    `shift` is that of clips' noise levels."""
    orientation, latents, text, cover, labels = batch
    text = text[:, 0]
    count, frames = latents.shape[0], latents.shape[2]
    clean = patchify(latents).float()
    noise = torch.randn_like(clean)
    sigmas, is_clean = draw_sigmas(count, IMAGE_SHIFT if image else shift), draw_clean(count, frames, labels[:, 2])
    level = sigmas[:, None, None] * (1 - is_clean)
    noisy = (1 - level) * clean + level * noise
    text = torch.where((torch.rand(count, device=DEVICE) < DROP_TEXT)[:, None, None], nothing.to(text.dtype), text)
    asks = auxiliary is not None and not image
    with autocast():
        out = model(
            noisy, text, sigmas * 1000, is_clean, *rope(frames, orientation), tap=auxiliary.layer if asks else None
        )
    out, features = out if asks else (out, None)
    weight = token_weight(cover, is_clean, moving * change(latents) if moving else 0.0)
    found = {"velocity": weighted(out.float() - output_order(noise - clean), weight)}
    grid = tuple(n // 2 for n in GRIDS[orientation])
    return found | (auxiliary.losses(features, grid, cover, labels) if asks else {})


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
    """The encoder of vae.pt, or of a folder of the product, into `data`."""
    weights, mean, std = read_autoencoder(wait_for(path))
    data.autoencoder.load_state_dict(weights)
    data.set_encoder(data.encode, mean, std)


def make_data(args, unmoved=False):
    """Scenes, buffers and networks that fill them, the embedding of no words; the autoencoder's weights come with `load_encoder`."""
    mix = scenes.Mix(**{name: getattr(args, name) for name in MIX_ARGUMENTS})
    seed = fresh_seed(args.seed, Path(args.out) / STATE)
    source = Scenes(args.text, seed, workers=args.workers, count=args.chunk, mix=mix)  # before the device is touched
    render = make_renderer(args.sprites, scenes.NS, DEVICE)
    dtype = torch.float16 if DEVICE.type == "cuda" else torch.float32
    text = TextEncoder(args.text, dtype).to(DEVICE)
    data = LatentData(render, text, DEVICE, args.keep_clips, args.keep_images, unmoved=unmoved)
    data.autoencoder = Autoencoder().to(DEVICE).to(data.dtype).to(memory_format=torch.channels_last).eval()
    data.encode = torch.compile(data.autoencoder.encode, dynamic=False) if args.compile else data.autoencoder.encode
    ids, lengths = (v.to(DEVICE) for v in Tokenizer(args.text)([""]))
    torch.manual_seed(seed)
    random.seed(seed)
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
    """Weights of a product's folder (int8 rows), a safetensors file or its parts, or OUT/transformer.pt; waited for."""
    return read_weights(path if shards_of(path) else wait_for(path))


def main(argv=None):
    args = arguments(argv)
    setup()
    source, data, nothing = make_data(args)
    model = Transformer(Config(layers=args.layers)).to(DEVICE)
    auxiliary = Auxiliary(model, DEVICE) if args.auxiliary else None
    if args.compile:
        model.compile_blocks()
        with turn(args.out):
            warm_up(model, [(args.clips, LATENT_FRAMES, True), (args.images, 1, True)])
            warm_up_encoder(data, args.chunk)
    optimizers, names = Optimizers(model), [n for n, _ in model.named_parameters()]
    ema, step, rows = restore(args, model, optimizers, auxiliary)
    load_encoder(data, args.vae)
    fill(data, source, True, args.fill_images)
    fill(data, source, False, args.fill_clips)
    clock, log, credit, first = Clock(args.until), Log(args.log_every), {True: 0.0, False: 0.0}, step
    while not clock.over() and step - first < args.max_steps:
        progress = clock.progress()
        lr = args.lr * min(1, (step - first + 5) / 100) * max(0.01, min(1, (1 - progress) / 0.85))
        image = random.random() < (args.first_images if progress < 0.08 else 0.08)
        count = args.images if image else args.clips
        found = losses(model, data.pick(image, count), image, nothing, args.moving, auxiliary, args.shift)
        velocity = found.pop("velocity")
        (velocity + args.auxiliary * sum(found.values())).backward()
        optimizers.step(lr)
        if found:
            auxiliary.step()
        ema_update(ema, optimizers.all, min(EMA, 1 - 3 / (step - first + 4)))
        step += 1
        credit[image] += count / (args.reuse_images if image else args.reuse_clips)
        while credit[image] >= args.chunk:
            data.add(source.get(DEVICE), image)
            credit[image] -= args.chunk
        log.add(lr=lr, waiting=source.queue.qsize(), **{"image" if image else "clip": velocity}, **found)
        if args.save_every and step % args.save_every == 0:
            save(args, model, optimizers, ema, names, step, rows + log.rows, auxiliary)
    source.close()
    save(args, model, optimizers, ema, names, step, rows + log.rows, auxiliary)


def restore(args, model, optimizers, auxiliary=None):
    """The running mean, the step and the log to go on from."""
    state = Path(args.out) / STATE
    if state.exists():
        found = torch.load(state, map_location=DEVICE)
        model.load_state_dict(found["weights"])
        optimizers.load_state_dict(found["optimizers"])
        if auxiliary and found["auxiliary"]:
            auxiliary.load_state_dict(found["auxiliary"])
        return found["ema"], found["step"], found["log"]
    if args.init:
        model.load_state_dict(initial(args.init))
    return [p.detach().clone() for p in model.parameters()], 0, []


def save(args, model, optimizers, ema, names, step, rows, auxiliary=None):
    out = Path(args.out)
    save_state(
        out / "transformer.pt", {n: e.detach().float().cpu() for n, e in zip(names, ema)}
    )  # first: others wait for it
    state = {
        "weights": model.state_dict(),
        "optimizers": optimizers.state_dict(),
        "auxiliary": auxiliary and auxiliary.state_dict(),
        "ema": ema,
        "step": step,
        "log": rows,
    }
    save_state(out / STATE, state)
    told = ("lr", *MIX_ARGUMENTS, "moving", "auxiliary", "shift", "clips", "images")
    settings = {k: getattr(args, k) for k in told}
    save_json(out / "transformer.json", {"step": step, "settings": settings, "log": rows})


def common_arguments(doc):
    """Arguments of this step and of the distillation."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--until", type=float, required=True, help="when to stop, seconds since 1970")
    parser.add_argument("--max-steps", type=int, default=10**9)
    parser.add_argument("--vae", required=True, help="vae.pt of a training (waited for), or the product's folder")
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
    for name, explanation in MIX_ARGUMENTS.items():
        default = getattr(scenes.MIX, name)
        parser.add_argument("--" + name.replace("_", "-"), type=float, default=default, help=explanation)
    parser.add_argument("--moving", type=float, default=0.0, help="further weight of tokens that change over time")
    parser.add_argument("--log-every", type=int, default=100)
    parser.add_argument("--compile", action="store_true")
    return parser


def arguments(argv):
    parser = common_arguments(__doc__)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--images", type=int, default=384, help="images in a batch")
    parser.add_argument("--lr", type=float, default=2.5e-3)
    parser.add_argument(
        "--first-images", type=float, default=0.3, help="share of batches of images at first; later 0.08"
    )
    parser.add_argument("--shift", type=float, default=SHIFT, help="of the noise levels of clips: higher, more noise")
    parser.add_argument("--auxiliary", type=float, default=0.0, help="weight of the head that has to say the motion")
    parser.add_argument("--save-every", type=int, default=0)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
