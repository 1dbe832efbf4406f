"""The peer: one step of a Wan transformer in diffusers + PyTorch on the CPU, as a process of its own.

    python bench/peers/wan_diffusers.py FOLDER --repeats 3 --output velocity.safetensors

FOLDER is what wan_model.py writes. Prints one JSON line: seconds for the import, for loading, and for each forward call;
what diffusers calculates in every call (the text's keys and values too) is in them.
"""

import time

BEGIN = time.perf_counter()

import argparse  # noqa: E402
import json  # noqa: E402
from pathlib import Path  # noqa: E402

import torch  # noqa: E402
from diffusers import WanTransformer3DModel  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

IMPORTED = time.perf_counter()
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--inputs", type=Path, help="FOLDER/inputs.safetensors if absent")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=DTYPES, default="f32")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    dtype = DTYPES[args.dtype]

    begin = time.perf_counter()
    model = WanTransformer3DModel.from_pretrained(args.folder, torch_dtype=dtype).eval()
    load = time.perf_counter() - begin
    inputs = load_file(args.inputs or args.folder / "inputs.safetensors")
    steps = []
    with torch.inference_mode():
        latents, text = inputs["latents"].to(dtype), inputs["text"].to(dtype)
        for _ in range(args.repeats):
            begin = time.perf_counter()
            velocity = model(latents, inputs["timestep"], text, return_dict=False)[0]
            steps.append(time.perf_counter() - begin)
    if args.output:
        save_file({"velocity": velocity.float().contiguous()}, args.output)
    print(json.dumps({"import": IMPORTED - BEGIN, "load": load, "steps": steps, "torch": torch.__version__}))


if __name__ == "__main__":
    main()
