"""Scenes from worker processes, rendered; latents of them in buffers on the device, used several times each."""

import multiprocessing
import queue
import random

import numpy as np
import torch
import torch.nn.functional as F

import scenes
from text import Tokenizer

FRAMES, LATENT_FRAMES = scenes.NF, (scenes.NF - 1) // 4 + 1
SHARES = (0.56, 0.22, 0.22)  # landscape, square, portrait
GRIDS = {0: (18, 32), 1: (24, 24), 2: (32, 18)}  # latent height and width
TOKENS_PER_FRAME = 144  # the same for all three
HEADS = {"background": "bg", "time": "tod", "weather": "wx", "motion": "motion", "camera": "cam", "count": "n"}
MOTION, CAMERA = (list(HEADS).index(head) for head in ("motion", "camera"))
CAMERAS = ["static", "panl", "panr", "in", "out", "follow"]


def classes():
    """The names of the classes that a judge tells apart, by head."""
    return {
        "actor": [c["label"] for c in scenes.CON],
        "background": [scenes.BGS[i][0] for i in range(scenes.NB)],
        "time": scenes.TODS,
        "weather": scenes.WXS,
        "motion": scenes.MOTIONS,
        "camera": CAMERAS,
        "count": ["1", "2", "3", "4"],
    }


def labels_of(meta):
    """Class numbers by head, in the order of `HEADS`."""
    return [
        meta["bg"], meta["tod"], meta["wx"], scenes.MOTIONS.index(meta["motion"]), CAMERAS.index(meta["cam"]), meta["n"] - 1,
    ]  # fmt: skip


def make_chunk(rng, orientation, count, tokenizer, mix=scenes.MIX):
    made = [scenes.sample(rng, orientation, mix=mix) for _ in range(count)]
    ids, lengths = tokenizer([m[3] for m in made])
    unmoved = tokenizer([m[4]["unmoved"] for m in made])
    actors = np.full((count, 4), -1, np.int64)
    for row, m in zip(actors, made):
        row[: len(m[4]["actor"])] = m[4]["actor"]
    arrays = [np.stack([m[i] for m in made]) for i in range(3)]
    labels, later = np.array([labels_of(m[4]) for m in made]), np.array([m[4]["later"] for m in made])
    return orientation, *arrays, ids.numpy(), lengths.numpy(), actors, labels, later, *(v.numpy() for v in unmoved)


def work(out, stop, seed, count, text_folder, shares, mix):
    torch.set_num_threads(1)
    rng, tokenizer = random.Random(seed), Tokenizer(text_folder)
    while not stop.is_set():
        chunk = make_chunk(rng, rng.choices(range(3), shares)[0], count, tokenizer, mix)
        while not stop.is_set():
            try:
                out.put(chunk, timeout=1)
                break
            except queue.Full:
                pass


class Scenes:
    """Endless random scenes, made by `workers` processes. Start it before the device is touched."""

    def __init__(self, text_folder, seed, workers=12, count=32, shares=SHARES, mix=scenes.MIX, depth=48):
        context = multiprocessing.get_context("fork")
        self.queue, self.stop = context.Queue(depth), context.Event()
        rest = (count, str(text_folder), shares, mix)
        arguments = [(self.queue, self.stop, seed * 1000 + i, *rest) for i in range(workers)]
        self.workers = [context.Process(target=work, args=a, daemon=True) for a in arguments]
        for worker in self.workers:
            worker.start()

    def get(self, device):
        """orientation, G, C, A, token ids, token counts, actors [B, 4] (-1: none), labels [B, 6], later [B], and the tokens of
        the captions without their motions (ids, counts), on the device"""
        orientation, *arrays = self.queue.get()
        return orientation, *(torch.from_numpy(a).to(device, non_blocking=True) for a in arrays)

    def close(self):
        self.stop.set()
        for worker in self.workers:
            worker.terminate()


def seconds_of(frames):
    return frames.float() / scenes.FPS


def take_frames(C, A, frames):
    """The camera and the actors of chosen frames [B, n]."""
    rows = torch.arange(C.shape[0], device=C.device)[:, None]
    return C[rows, frames], A[rows, frames]


def token_cover(actors, grid):
    """Share of each token that actors cover: [B, F, 1, H, W] -> [B, k+1, 144]; a latent frame takes the most of its frames"""
    batch, frames = actors.shape[:2]
    cover = F.avg_pool2d(actors.float().flatten(0, 1), 32).flatten(1).unflatten(0, (batch, frames))
    if frames == 1:
        return cover
    rest = cover[:, 1:].unflatten(1, (-1, 4)).amax(2)
    return torch.cat([cover[:, :1], rest], 1)


class Ring:
    """The last `size` latents of one shape with their texts, covers, labels (numbers of the motion and of the camera; 1 where
    the scene begins later) and, where `unmoved`, the texts without the motion."""

    def __init__(self, size, frames, device, dtype, unmoved=False):
        self.latents = torch.empty(size, frames, 48, 576, device=device, dtype=dtype)
        self.text = torch.empty(size, 1 + unmoved, 64, 384, device=device, dtype=dtype)
        self.cover = torch.empty(size, frames, TOKENS_PER_FRAME, device=device, dtype=dtype)
        self.labels = torch.empty(size, 3, device=device, dtype=torch.long)
        self.size, self.count, self.at = size, 0, 0

    def put(self, latents, text, cover, labels):
        n = latents.shape[0]
        rows = (torch.arange(n, device=latents.device) + self.at) % self.size
        for buffer, new in ((self.latents, latents), (self.text, text), (self.cover, cover), (self.labels, labels)):
            buffer[rows] = new.to(buffer.dtype)
        self.at, self.count = (self.at + n) % self.size, min(self.size, self.count + n)


class LatentData:
    """Renders, encodes and keeps latents of clips and of single frames (images)."""

    def __init__(self, render, text_encoder, device, clips=16000, images=60000, shares=SHARES, unmoved=False):
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        self.render, self.text_encoder, self.device, self.dtype = render, text_encoder, device, dtype
        size = lambda total, share: max(8, int(total * share))
        self.rings = {
            False: [Ring(size(clips, s), LATENT_FRAMES, device, dtype, unmoved) for s in shares],
            True: [Ring(size(images, s), 1, device, dtype, unmoved) for s in shares],
        }
        self.encoder, self.unmoved = None, unmoved

    def set_encoder(self, encode, mean, std):
        """encode: frames -> raw latents; mean, std [48]: what makes them normal"""
        self.encoder = encode
        self.mean, self.std = (v.to(self.device).float().view(1, 1, 48, 1, 1) for v in (mean, std))

    @torch.no_grad()
    def add(self, chunk, image):
        orientation, G, C, A, ids, lengths = chunk[:6]
        batch = G.shape[0]
        frames = torch.arange(FRAMES, device=self.device)[None].expand(batch, -1)
        if image:
            frames = torch.randint(0, FRAMES, (batch, 1), device=self.device)
            C, A = take_frames(C, A, frames)
        pixels, actors = self.render(G, C, A, seconds_of(frames), scenes.ORIENT[orientation])
        raw = torch.cat([self.encoder(part.to(self.dtype)) for part in pixels.split(64 if image else 16)])
        latents = ((raw.float() - self.mean) / self.std).flatten(3)
        labels = torch.cat([chunk[7][:, [MOTION, CAMERA]], chunk[8][:, None].long()], 1)
        cover = token_cover(actors, GRIDS[orientation])
        texts = [self.text_encoder(ids, lengths)] + ([self.text_encoder(*chunk[9:11])] if self.unmoved else [])
        self.rings[image][orientation].put(latents, torch.stack(texts, 1), cover, labels)
        return batch

    def pick(self, image, batch):
        """orientation, latents [B, 48, F, H, W], text [B, 1 or 2, 64, 384], cover [B, F*144], labels [B, 3]; see `Ring`"""
        rings = self.rings[image]
        orientation = random.choices(range(3), [r.count for r in rings])[0]
        ring, (height, width) = rings[orientation], GRIDS[orientation]
        rows = torch.randint(0, ring.count, (batch,), device=self.device)
        latents = ring.latents[rows].unflatten(-1, (height, width)).transpose(1, 2)
        return orientation, latents, ring.text[rows], ring.cover[rows].flatten(1), ring.labels[rows]
