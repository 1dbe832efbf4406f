"""One step of a transformer of Wan 1.3B's shape (random weights): Kinora against stable-diffusion.cpp.

    bench/peers/run sd-cpp --source DIR          # DIR: your checkout of stable-diffusion.cpp, built as its docs say
    bench/peers/run sd-cpp --sd-cli FILE --type q8_0 --precision int8

Nothing of stable-diffusion.cpp is here, and this does not build it: its program is looked for in DIR/build/bin.

Both get the same weights (its file has the names of Wan's own code), the same noise (PyTorch's, which `--rng cpu` makes), the
same timestep, and as text 256 tokens of zeros, which is what it takes when no text encoder is given. A list of sigmas
1,1,..,1,0 makes every step the same prediction; the first is not counted. Its result is read from its frames: the
autoencoder that it is given is made so that a frame shows three mixtures of the 16 latent channels.
"""

import argparse
import re
import statistics
import sys
import tempfile
from pathlib import Path

from common import RELEASE, Rows, cosine, psnr, run
from compare_wan import kinora_run, read_velocity
from wan_model import WEIGHTS, latent_shape, write_inputs, write_model, write_with_original_names

NAME = "sd.cpp"
# Tokens of zeros that stable-diffusion.cpp makes without a text encoder.
TEXT_TOKENS = 256
LABELS = {"step": "one step, s", "peak_memory_bytes": "peak memory of the process, MB"}
# Frames as bytes; enough to see that both calculate the same network, whatever the type of the weights.
MIN_PSNR = 40.0
# How the mixtures become bytes: 0.5 + CONTRAST x mixture.
CONTRAST = 0.125


def mixture(torch):
    """[3, 16], entries of +-1/4: three mixtures of the latent channels, exact in f16."""
    signs = torch.randint(0, 2, (3, 16), generator=torch.Generator().manual_seed(3)) * 2 - 1
    return signs * 0.25


def write_probe(path):
    """An autoencoder in the layout of taew2_1 whose frames show mixtures of the latents, each latent as 8x8 pixels.

    The positive and the negative part of each mixture pass the layers (which end in ReLU) in six channels; the last layer
    takes their difference. The encoder has to be there, and is zero.
    """
    import torch
    from safetensors.torch import save_file

    tensors, centre = {}, (slice(None), slice(None), 1, 1)

    def conv(name, outputs, inputs, kernel, bias=True):
        tensors[f"{name}.weight"] = torch.zeros(outputs, inputs, kernel, kernel)
        if bias:
            tensors[f"{name}.bias"] = torch.zeros(outputs)
        return tensors[f"{name}.weight"]

    def memory_block(name, width):
        for layer, inputs in ((0, 2 * width), (2, width), (4, width)):
            conv(f"{name}.conv.{layer}", width, inputs, 3)

    mix = mixture(torch)
    conv("decoder.1", 256, 16, 3)[centre][:6] = torch.cat([mix, -mix])
    at, widths = 3, (256, 128, 64, 64)
    for stage, grow in enumerate((1, 2, 2)):
        for _ in range(3):
            memory_block(f"decoder.{at}", widths[stage])
            at += 1
        eye = torch.eye(widths[stage])
        conv(f"decoder.{at + 1}.conv", grow * widths[stage], widths[stage], 1, bias=False)[:, :, 0, 0] = eye.repeat(grow, 1)
        conv(f"decoder.{at + 2}", widths[stage + 1], widths[stage], 3, bias=False)[centre][:6, :6] = torch.eye(6)
        at += 3
    last = conv("decoder.22", 3, 64, 3)
    last[:, :3, 1, 1], last[:, 3:6, 1, 1] = CONTRAST * torch.eye(3), -CONTRAST * torch.eye(3)
    tensors["decoder.22.bias"] += 0.5

    conv("encoder.0", 64, 3, 3)
    at = 2
    for shrink in (2, 2, 1):
        conv(f"encoder.{at}.conv", 64, 64 * shrink, 1, bias=False)
        conv(f"encoder.{at + 1}", 64, 64, 3, bias=False)
        for block in range(3):
            memory_block(f"encoder.{at + 2 + block}", 64)
        at += 5
    conv("encoder.17", 16, 64, 3)
    save_file(tensors, path)


def expected_bytes(clean):
    """What the probe shows of clean latents [1,16,F,h,w]: bytes [F,h,w,3]."""
    import numpy as np
    import torch

    limited = 3 * np.tanh(clean[0] / 3)
    mixed = np.einsum("mc,cfyx->fyxm", mixture(torch).numpy(), limited)
    return (np.clip(0.5 + CONTRAST * mixed, 0, 1) * 255).round().astype(np.uint8)


def shown_bytes(folder):
    """The same from the frames that stable-diffusion.cpp wrote: one of each latent frame, one pixel of each 8x8."""
    import numpy as np
    from PIL import Image

    files = sorted(folder.glob("frame_*.png"))
    frames = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    # The first latent frame becomes one frame, each other one four.
    return frames[np.r_[0 : 1, 2 : len(frames) : 4], 4::8, 4::8]


def sd_cpp_run(args, work, folder, steps):
    """The row of one process, and its log."""
    command = [args.sd_cli, "-M", "vid_gen", "--diffusion-model", work / "original.safetensors", "--tae", work / "probe.safetensors"]
    width, height = args.size.split("x")
    command += ["-p", "", "-W", width, "-H", height, "--video-frames", args.frames, "--cfg-scale", 1, "--sampling-method", "euler"]
    sigmas = ",".join(["1"] * (1 + steps) + ["0"])
    command += ["--steps", 1 + steps, "--sigmas", sigmas, "--flow-shift", 3, "--rng", "cpu", "--seed", args.seed]
    command += ["--threads", args.threads, "--type", args.type, "-v", "-o", folder / "frame_%04d.png", *args.sd_option]
    command += [] if args.no_flash_attention else ["--diffusion-fa"]
    for old in folder.glob("frame_*.png"):
        old.unlink()
    text, wall, peak = run(command, args.threads, keep_output=folder / "log.txt")
    log = (folder / "log.txt").read_text(encoding="utf-8", errors="replace")
    times = step_seconds(log, 1 + steps)
    return {"step": statistics.median(times[1:] or times), "wall": wall, "peak_memory_bytes": peak}, log


def step_seconds(log, steps):
    """Seconds of each step from the progress lines, `| 2/3 - 12.34s/it`; the last line of a step counts."""
    found = {}
    for step, total, value, unit in re.findall(r"(\d+)/(\d+) - ([\d.]+)(s/it|it/s)", log):
        if int(total) == steps:
            found[int(step)] = float(value) if unit == "s/it" else 1 / float(value)
    if sorted(found) != list(range(1, steps + 1)):
        sys.exit(f"no time of each of the {steps} steps in its output; the last lines:\n" + "\n".join(log.splitlines()[-15:]))
    return [found[step] for step in sorted(found)]


def program(args):
    if args.sd_cli:
        return args.sd_cli
    if not args.source:
        sys.exit("stable-diffusion.cpp is not named\nhint: --source DIR (a checkout with build/bin/sd-cli) or --sd-cli FILE")
    found = args.source / "build/bin/sd-cli"
    if not found.exists():
        sys.exit(f"{found} is not there\nhint: build it as its docs/build.md says, or name the program with --sd-cli FILE")
    return found


def main():
    parser = argparse.ArgumentParser(prog="sd-cpp", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="a checkout of stable-diffusion.cpp with build/bin/sd-cli")
    parser.add_argument("--sd-cli", type=Path, help="its program, wherever it is")
    parser.add_argument("--type", default="q8_0", help="type that it turns the weights into: f32, f16, bf16, q8_0, ...")
    parser.add_argument("--no-flash-attention", action="store_true", help="its attention with the whole matrix in memory")
    parser.add_argument("--sd-option", action="append", default=[], help="one more argument for it (--sd-option=--mmap)")
    parser.add_argument("--kinora", default=str(RELEASE / "examples/wan_step"))
    parser.add_argument("--work", type=Path, help="keep the weights (2 x 2.8 GB) in this folder; a temporary one if absent")
    parser.add_argument("--size", default="320x192")
    parser.add_argument("--frames", type=int, default=33)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=1, help="counted steps of each process")
    parser.add_argument("--repeats", type=int, default=3, help="processes of each engine")
    parser.add_argument("--precision", choices=("f32", "bf16", "int8"), default="int8", help="Kinora's")
    parser.add_argument("--min-psnr", type=float, default=MIN_PSNR, help="of the probe's frames, dB; fail below")
    parser.add_argument("--out", type=Path, help="folder for raw.csv, machine.json, command.txt, agreement.json, log.txt")
    args = parser.parse_args()
    args.sd_cli = program(args)

    with tempfile.TemporaryDirectory(prefix="kinora-sd-cpp-") as temporary:
        results = Path(temporary)
        work = args.work or results
        write_model(work)
        if not (work / "original.safetensors").exists():
            write_with_original_names(work / WEIGHTS, work / "original.safetensors")
        write_probe(work / "probe.safetensors")
        shape = latent_shape(args.size, args.frames)
        inputs = work / "inputs.safetensors"
        write_inputs(inputs, shape, TEXT_TOKENS, timestep=1000.0, seed=args.seed, zero_text=True)
        version = run([args.sd_cli, "--version"], args.threads)[0].strip()
        print(f"{version}; latents {list(shape)}, {TEXT_TOKENS} text tokens of zeros, {args.threads} threads", flush=True)

        rows, log = Rows(), ""
        for repeat in range(max(args.repeats, 1)):
            rows.add("kinora", repeat, kinora_run(args, work, results / "kinora.safetensors", args.steps))
            row, log = sd_cpp_run(args, work, results, args.steps)
            rows.add(NAME, repeat, row)

        from safetensors.numpy import load_file

        # From sigma 1 to 0 in one Euler step: clean = noise - velocity.
        want = expected_bytes(load_file(inputs)["latents"] - read_velocity(results / "kinora.safetensors"))
        got = shown_bytes(results)
        if got.shape != want.shape:
            sys.exit(f"the outputs disagree: it shows latents of shape {got.shape}, Kinora's are {want.shape}")
        centred = [values.astype(float) - want.mean() for values in (got, want)]
        found = {"psnr_db": psnr(got, want), "cosine_without_mean": cosine(*centred), "limit_psnr_db": args.min_psnr}
        print(f"\nagreement of the two results, as bytes: {found['psnr_db']:.1f} dB, cosine {found['cosine_without_mean']:.5f}")
        if found["psnr_db"] < args.min_psnr:
            sys.exit(f"the outputs disagree: {found['psnr_db']:.1f} dB, expected {args.min_psnr:.1f} dB or more")

        rows.table(NAME, LABELS)
        print(f"\nKinora: precision {args.precision}; {NAME}: type {args.type}, {' '.join(args.sd_option) or 'no more options'}")
        print(f"{NAME}'s process also decodes the probe's frames, which may be what its peak memory is; it says of itself:")
        for line in dict.fromkeys(re.findall(r"[^|\n]*(?:buffer size:|params mem|total params)[^\n]*", log)):
            print(f"  {line.strip()}")
        print(f"spread of the steps: kinora {rows.spread('kinora', 'step'):.0%}, {NAME} {rows.spread(NAME, 'step'):.0%}")
        rows.write(args.out, agreement=found | {"version": version})
        if args.out:
            # Without the bars of reading a file, of which there are hundreds.
            log = re.sub(r"[^\r\n]*\| \d+/\d+ - [\d.]+[KMG]?B/s[^\r\n]*[\r\n]*", "", log)
            (args.out / "log.txt").write_text(log.replace(str(results), "RESULTS").replace(str(work), "WORK"), encoding="utf-8")


if __name__ == "__main__":
    main()
