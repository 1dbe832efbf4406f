"""fuzz/corpus: small files of every kind, from which fuzzing starts. The smaller, the more of each is changed at a time."""

import io
import json
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import save

import goldens

SEED = 53


def lora_files(draw):
    def pair(layer, down, up, alpha):
        tensors = {f"{layer}.{down}.weight": draw(2, 4), f"{layer}.{up}.weight": draw(2, 2)}
        return tensors | ({f"{layer}.alpha": torch.tensor(1.0)} if alpha else {})

    original = "diffusion_model.blocks.0.self_attn.q"
    return {
        "kohya": pair("lora_unet_blocks_0_self_attn_q", "lora_down", "lora_up", True),
        "diffusers": pair("transformer.blocks.0.attn1.to_q", "lora_A", "lora_B", False),
        "original": pair(original, "lora_A", "lora_B", True) | {f"{original}.diff_b": draw(2)},
        "differences": {"diffusion_model.blocks.0.norm3.diff": draw(4).half(), "diffusion_model.head.head.diff": draw(2, 4).bfloat16()},
        "picture": pair("base_model.model.blocks.0.attn2.add_k_proj", "lora_A.default", "lora_B.default", False),
    }


def safetensors_files(draw):
    note = torch.tensor(list(json.dumps({"format": "int8_tensorwise"}).encode()), dtype=torch.uint8)
    return {
        "types": {"a": draw(2, 3), "b": draw(3).half(), "c": draw(2, 2).bfloat16(), "d": torch.arange(3), "e": torch.zeros(0, 2)},
        "int8": {"l.weight": torch.ones(2, 4, dtype=torch.int8), "l.weight.scale": draw(2), "l.bias": draw(2)},
        "comfy": {"l.weight": torch.ones(2, 4, dtype=torch.int8), "l.weight_scale": draw(2, 1), "l.comfy_quant": note},
        "fp8": {"l.weight": draw(2, 4).to(torch.float8_e4m3fn), "l.scale_weight": torch.tensor(0.5), "scaled_fp8": draw(2).to(torch.float8_e4m3fn)},
    }  # fmt: skip


def pickles(draw):
    base = draw(2, 3)
    plain = {"a": base, "b": base.t(), "c": draw(4).bfloat16(), "d": torch.arange(2)}
    nested = {"state_dict": {"w": torch.nn.Parameter(draw(2))}, "step": 3, "f8": draw(2).to(torch.float8_e4m3fn)}
    for name, value in (("plain", plain), ("nested", nested)):
        for end, zipped in (("zip", True), ("legacy", False)):
            out = io.BytesIO()
            torch.save(value, out, _use_new_zipfile_serialization=zipped)
            yield f"{name}.{end}", out.getvalue()


def gguf_file(path, kind, random):
    writer = gguf.GGUFWriter(str(path), "wan")
    writer.add_array("some.names", ["a", "bc"])
    writer.add_array("comfy.gguf.orig_shape.patch", [2, 2, 8])
    writer.add_float32("some.number", 0.5)
    values = random.standard_normal((2, 256)).astype(np.float32)
    size = gguf.GGML_QUANT_SIZES[kind]
    data = random.integers(0, 256, (2, 256 // size[0] * size[1]), dtype=np.uint8)
    writer.add_tensor("l.weight", data, raw_dtype=kind)
    writer.add_tensor("patch", values[:, :16].copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    goldens.seeded(SEED)
    generator, random = torch.Generator().manual_seed(SEED), np.random.default_rng(SEED)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    folder = goldens.root() / "fuzz/corpus"
    for kind in ("safetensors", "gguf", "pickle", "lora"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for kind, files in (("safetensors", safetensors_files(draw)), ("lora", lora_files(draw))):
        for name, tensors in files.items():
            (folder / kind / name).write_bytes(save(tensors, {"format": "pt"} if name == "types" else None))
    for name, data in pickles(draw):
        (folder / "pickle" / name).write_bytes(data)
    for kind in (gguf.GGMLQuantizationType.Q4_K, gguf.GGMLQuantizationType.Q8_0):
        gguf_file(folder / "gguf" / kind.name.lower(), kind, random)
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            path.chmod(0o644)
            print(path.relative_to(folder), path.stat().st_size)


if __name__ == "__main__":
    main()
