"""One step of a transformer of Wan 1.3B's shape (random weights): Kinora against diffusers + PyTorch.

    bench/peers/run wan                          # with an environment of its own
    python bench/peers/compare_wan.py --work DIR --precision int8 --repeats 3

One prediction for one batch entry: without guidance that is a denoising step, with guidance half of one. The engines run
one after the other in turns, each time as a process of its own that loads the weights, makes `--steps` steps after one that
is not counted, and writes its result; the results are compared with the peer's in f32.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from common import PEERS, RELEASE, Rows, cosine, psnr, relative_error, run
from wan_model import latent_shape, write_inputs, write_model

LABELS = {
    "load": "load, s",
    "context": "keys and values of the text, s",
    "step": "one step, s",
    "step_and_context": "one step, text counted in each, s",
    "peak_memory_bytes": "peak memory, MB",
}
# What two f32 engines may differ by after 30 blocks.
MAX_ERROR_F32 = 1e-4


def kinora_run(args, work, output, steps):
    """The row of one process of Kinora's."""
    command = [args.kinora, work, "--inputs", work / "inputs.safetensors", "--output", output]
    command += ["--repeats", 1 + steps, "--threads", args.threads]
    command += ["--precision", args.precision] if args.precision else []
    text, wall, peak = run(command, args.threads)
    report = json.loads(text)
    step = statistics.median(report["steps"][1:] or report["steps"])
    row = {"load": report["load"], "context": report["context"], "step": step, "step_and_context": step + report["context"]}
    return row | {"wall": wall, "peak_memory_bytes": peak}


def peer_run(args, work, output, steps, dtype):
    command = [sys.executable, PEERS / "wan_diffusers.py", work, "--output", output, "--repeats", 1 + steps]
    text, wall, peak = run(command + ["--threads", args.threads, "--dtype", dtype], args.threads)
    report = json.loads(text.splitlines()[-1])
    step = statistics.median(report["steps"][1:] or report["steps"])
    # diffusers calculates the text's keys and values in every step: they are in its step already.
    row = {"load": report["load"], "context": 0.0, "step": step, "step_and_context": step}
    return row | {"import": report["import"], "wall": wall, "peak_memory_bytes": peak}


def read_velocity(path):
    from safetensors.numpy import load_file

    return load_file(path)["velocity"]


def agreement(args, results, want):
    """Cosine, relative error and PSNR (over the range of the result) of each engine's velocity against the peer's in f32."""
    found = {}
    for who, path in results.items():
        got = read_velocity(path)
        found[who] = {"cosine": cosine(got, want), "relative_error": relative_error(got, want)}
        found[who]["psnr_db"] = psnr(got, want, top=float(want.max() - want.min()))
        print(f"  {who}: " + ", ".join(f"{key} {value:.6g}" for key, value in found[who].items()))
    limit = args.max_error if args.max_error is not None else MAX_ERROR_F32 if args.precision == "f32" else None
    error = found["kinora"]["relative_error"]
    if limit is None:
        print(f"  no limit is set for precision {args.precision}: --max-error sets one")
    elif not error <= limit:
        sys.exit(f"the outputs disagree: relative error {error:.3g}, expected {limit:.3g} or less")
    else:
        print(f"  passed: relative error {error:.3g}, the limit is {limit:.3g}")
    return found | {"limit_relative_error": limit}


def main():
    parser = argparse.ArgumentParser(prog="wan", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinora", default=str(RELEASE / "examples/wan_step"))
    parser.add_argument("--work", type=Path, help="keep the weights (2.8 GB) in this folder; a temporary one if absent")
    parser.add_argument("--size", default="320x192")
    parser.add_argument("--frames", type=int, default=33)
    parser.add_argument("--text-tokens", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=1, help="counted steps of each process")
    parser.add_argument("--repeats", type=int, default=3, help="processes of each engine; 0 for the agreement alone")
    parser.add_argument("--precision", choices=("f32", "bf16", "int8"), default="f32", help="Kinora's")
    parser.add_argument("--peer-dtype", choices=("f32", "bf16"), default="f32")
    parser.add_argument("--max-error", type=float, help=f"fail above this relative error; {MAX_ERROR_F32} for f32")
    parser.add_argument("--out", type=Path, help="folder for raw.csv, machine.json, command.txt, agreement.json")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="kinora-wan-") as temporary:
        work, results = args.work or Path(temporary), Path(temporary)
        write_model(work)
        shape = latent_shape(args.size, args.frames)
        write_inputs(work / "inputs.safetensors", shape, args.text_tokens)
        print(f"latents {list(shape)}, {args.text_tokens} text tokens, {args.threads} threads", flush=True)
        rows, files = Rows(), {}
        for repeat in range(args.repeats):
            files["kinora"] = results / "kinora.safetensors"
            rows.add("kinora", repeat, kinora_run(args, work, files["kinora"], args.steps))
            files["diffusers"] = results / "diffusers.safetensors"
            rows.add("diffusers", repeat, peer_run(args, work, files["diffusers"], args.steps, args.peer_dtype))
        if "kinora" not in files:
            files["kinora"] = results / "kinora.safetensors"
            kinora_run(args, work, files["kinora"], 0)
        reference = files.get("diffusers")
        if args.peer_dtype != "f32" or reference is None:
            reference = results / "reference.safetensors"
            peer_run(args, work, reference, 0, "f32")
        print("agreement with diffusers + PyTorch in f32 (the same inputs):")
        if reference == files.get("diffusers"):
            del files["diffusers"]
        found = agreement(args, files, read_velocity(reference))
    if args.repeats:
        rows.table("diffusers", LABELS)
        print(f"\nKinora: precision {args.precision}; peer: dtype {args.peer_dtype}")
        print(f"spread of the steps: kinora {rows.spread('kinora', 'step'):.0%}, diffusers {rows.spread('diffusers', 'step'):.0%}")
    rows.write(args.out, agreement=found)


if __name__ == "__main__":
    main()
