"""Renders scenes to frames: on a GPU with NVRTC, on a processor with a shared library. Both run `scene.cuh`."""

import ctypes
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
SPRITE, SPRITE_FRAMES = 128, 36
KERNEL = r"""
#include <cuda_fp16.h>
%s
extern "C" __global__ void render(const float* G, const float* C, const float* A, const float* T, const int* O,
    const uchar4* sprites, __half* out, int F, int W, int H, int w, int h) {
  int p = blockIdx.x * blockDim.x + threadIdx.x; int f = blockIdx.y, b = blockIdx.z; if (p >= w * h) return;
  long bf = (long)b * F + f; float actor;
  V3 c = shade(G + b * NG, C + bf * NC, A + bf * NA * NAF, sprites, T[bf], (float)W, (float)H,
               O[b * 2] + p %% w + .5f, O[b * 2 + 1] + p / w + .5f, &actor);
  __half* o = out + bf * 4 * w * h + p;
  o[0] = __float2half(c.x); o[w * h] = __float2half(c.y); o[2 * w * h] = __float2half(c.z); o[3 * w * h] = __float2half(actor);
}
"""


def load_sprites(folder, count, threads=8):
    """Sprites [count*36, 128, 128, 4], bytes, colour multiplied by alpha; each file is a sheet of 6x6 frames."""
    from PIL import Image

    out = np.zeros((count * SPRITE_FRAMES, SPRITE, SPRITE, 4), np.uint8)

    def one(i):
        sheet = np.asarray(Image.open(Path(folder) / f"{i:03d}.webp").convert("RGBA")).astype(np.float32)
        sheet[..., :3] *= sheet[..., 3:] / 255
        tiles = sheet.round().astype(np.uint8).reshape(6, SPRITE, 6, SPRITE, 4).transpose(0, 2, 1, 3, 4)
        out[i * SPRITE_FRAMES : (i + 1) * SPRITE_FRAMES] = tiles.reshape(SPRITE_FRAMES, SPRITE, SPRITE, 4)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, range(count)))
    return torch.from_numpy(out)


class Renderer:
    """(G [B,24], C [B,F,4], A [B,F,4,10], seconds [B,F]) -> frames [B,F,3,h,w] and actors [B,F,1,h,w], both 0 to 1.

    `size` (W, H) is the picture, `window` (offsets [B,2], w, h) a part of it in pixels; the whole picture if absent.
    """

    def __call__(self, G, C, A, seconds, size, window=None):
        offsets, w, h = window or (torch.zeros(G.shape[0], 2, dtype=torch.int32, device=G.device), *size)
        planes = self.planes(
            *(v.float().contiguous() for v in (G, C, A, seconds)), size, offsets.int().contiguous(), w, h
        )
        return planes[:, :, :3], planes[:, :, 3:]


class GpuRenderer(Renderer):
    def __init__(self, sprites, device):
        import cupy

        self.cupy = cupy
        source = KERNEL % (HERE / "scene.cuh").read_text()
        options = ("--use_fast_math", "-std=c++17", "-I/usr/local/cuda/include")
        self.kernel = cupy.RawKernel(source, "render", options=options)
        self.sprites = sprites.to(device)

    def planes(self, G, C, A, seconds, size, offsets, w, h):
        batch, frames = C.shape[:2]
        out = torch.empty(batch, frames, 4, h, w, device=G.device, dtype=torch.float16)
        pointers = [v.data_ptr() for v in (G, C, A, seconds, offsets, self.sprites, out)]
        numbers = [np.int32(v) for v in (frames, *size, w, h)]
        with self.cupy.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream):
            self.kernel(((w * h + 127) // 128, frames, batch), (128,), (*pointers, *numbers))
        return out


class CpuRenderer(Renderer):
    def __init__(self, sprites, device):
        library = Path(tempfile.mkdtemp()) / "libscene.so"
        flags = ["-O3", "-march=native", "-ffast-math", "-shared", "-fPIC", "-w"]
        subprocess.run(["g++", *flags, HERE / "scene_cpu.cpp", "-o", library], check=True)
        self.render = ctypes.CDLL(str(library)).render
        self.sprites = sprites.contiguous()

    def planes(self, G, C, A, seconds, size, offsets, w, h):
        batch, frames = C.shape[:2]
        out = torch.empty(batch, frames, 4, h, w)

        def one(at):
            b, f = divmod(at, frames)
            pointers = [ctypes.c_void_p(v.data_ptr()) for v in (G[b], C[b, f], A[b, f], self.sprites)]
            numbers = [ctypes.c_int(int(v)) for v in (*size, *offsets[b], w, h)]
            self.render(*pointers, ctypes.c_float(seconds[b, f]), *numbers, ctypes.c_void_p(out[b, f].data_ptr()))

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(one, range(batch * frames)))
        return out


def make_renderer(sprites_folder, count, device):
    sprites = load_sprites(sprites_folder, count)
    return GpuRenderer(sprites, device) if device.type == "cuda" else CpuRenderer(sprites, device)
