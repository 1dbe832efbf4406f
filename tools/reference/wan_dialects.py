"""dialects/: one tiny Wan transformer in every kind of file that people have, and wan_dialects: what must come out.

All lossless files hold the same values (bf16 holds them exactly, so do f16 and f32) and give `output`. The others give
`output.<name>`: the output of diffusers' class with the values that the reference decoder of the format reads back.

  diffusers/                    folder: config.json, two shards and their index, f32
  wan_original.safetensors      names of Wan-Video, bf16
  wan_comfy.safetensors         the same behind `model.diffusion_model.`, f16 (all-in-one files; Comfy-Org's single
                                transformers have no prefix)
  wan_fp8.safetensors           matrices of the blocks cast to f8_e4m3, no scale, the rest f16
  wan_fp8_scaled.safetensors    older fp8_scaled: `scaled_fp8` (two f8 numbers: multiply in full precision; none: need
                                not), for each such matrix `<layer>.scale_weight`, an f32 scalar, and `scale_input`, here 1
  wan_fp8_comfy.safetensors     newer: `<layer>.weight_scale` and `<layer>.comfy_quant`, JSON as bytes:
                                {"format": "float8_e4m3fn"}
  wan_int8.safetensors          int8: `<layer>.weight_scale` [out, 1] f32, {"format": "int8_tensorwise"}; and where the
                                width divides by 256 ConvRot: {..., "convrot": true, "convrot_groupsize": 256}
  wan_f16.gguf, wan_q8_0.gguf   version 3, architecture `wan`, original names; matrices in that type where the width
  wan_q4_k.gguf, wan_q6_k.gguf  allows it (32; 256 for K types), else Q8_0; 1-d and embeddings f32
  lora_*.safetensors            LoRAs of rank 4, below

A weight of fp8 or int8 is value * scale. ConvRot: the row, in groups of 256, times H/16, where H is the 4x4 matrix
[[1, 1, 1, -1], [1, 1, -1, 1], [1, -1, 1, 1], [-1, 1, 1, 1]] in its own Kronecker product 4 times: symmetric and its own
inverse, and not the usual Hadamard matrix. Or leave the weight and turn the input by it.

`patch_embedding.weight` has 5 dimensions, one more than GGML knows. Real GGUF files have it as a tensor of 5 dimensions in
f32 (`fix_5d_tensors.py` of city96/ComfyUI-GGUF); here all but Q6_K. Others flatten it and give the real shape as an array
of int32 under `comfy.gguf.orig_shape.patch_embedding.weight`; here Q6_K. Dimensions are written last first.

LoRA: W += strength * (alpha / rank) * up * down; without `alpha` the factor is the strength. All of these hold the same
matrices for all linears of the blocks, so all give `output.lora` at strength 1 and `output.lora_0.7` at 0.7:

  lora_kohya       lora_unet_blocks_0_self_attn_q.lora_down.weight, .lora_up.weight, .alpha (2, rank 4) [musubi-tuner]
  lora_diffusers   transformer.blocks.0.attn1.to_q.lora_A.weight, .lora_B.weight, no alpha: the factor is in them
  lora_original    diffusion_model.blocks.0.self_attn.q.lora_A.weight, .lora_B.weight, .alpha
  lora_lightx2v    diffusion_model.blocks.0.self_attn.q.lora_down.weight, .lora_up.weight, no alpha; and besides whole
                   differences, W += strength * diff: `.diff_b` of biases, `.diff` of norms and of the head:
                   diffusion_model.blocks.0.norm3.diff, .self_attn.norm_q.diff, head.head.diff, patch_embedding.diff_b.
                   Gives `output.lora_lightx2v` at strength 1. diffusers drops the differences of norms; Comfy adds them.
  two at once      `output.lora_two`: lora_kohya at 0.8 and lora_lightx2v at 0.5, added
  lora_misfit      lora_kohya with one matrix of a wrong width: to be refused by name

Sources: diffusers 0.42.1 (`convert_wan_transformer_to_diffusers`, `_convert_musubi_wan_lora_to_diffusers`,
`_convert_non_diffusers_wan_lora_to_diffusers`; the files here go through them), ComfyUI `comfy/utils.py`
(`convert_old_quants`) and comfy-kitchen 0.2.40 (`int8_utils.py`), gguf 0.19.0 (`quants.py`, which decodes all types and
encodes those that are not K types; the encoders of Q4_K and Q6_K here are for small files, not for quality).

gguf_blocks (kinora-weights): for each type `<type>.blocks`, random bytes [rows, bytes], and `<type>.values`, decoded.
"""

import json

import gguf
import numpy as np
import torch
from diffusers import WanTransformer3DModel
from diffusers.loaders.lora_conversion_utils import (
    _convert_musubi_wan_lora_to_diffusers,
    _convert_non_diffusers_wan_lora_to_diffusers,
)
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers
from gguf import GGMLQuantizationType as Type
from safetensors.torch import load_file, save_file

import goldens
import wan_names
import wan_tiny

SEED = 43
CONFIG = wan_tiny.CONFIG | {"ffn_dim": 256, "num_layers": 2}
RANK, ALPHA = 4, 2.0
PREFIX = "model.diffusion_model."
FP8 = torch.float8_e4m3fn


def exact(tensor):
    """Values that bf16, f16 and f32 all hold: multiples of 1/4096 with 8 significant bits."""
    return ((tensor * 4096).round() / 4096).bfloat16().float()


def is_matrix(name):
    """What the published quantised files quantise: the linears of the blocks."""
    return name.startswith("blocks.") and name.endswith(".weight") and "norm" not in name


def layer(name):
    return name.removesuffix(".weight")


def note(settings):
    return torch.tensor(list(json.dumps(settings).encode()), dtype=torch.uint8)


def hadamard(size):
    four = torch.tensor([[1, 1, 1, -1], [1, 1, -1, 1], [1, -1, 1, 1], [-1, 1, 1, 1]], dtype=torch.float32)
    matrix = four
    while len(matrix) < size:
        matrix = torch.kron(matrix, four)
    return matrix / size**0.5


def rotated(weight):
    groups = weight.reshape(weight.shape[0], -1, 256)
    return (groups @ hadamard(256).T).reshape(weight.shape)


def fp8_scaled(state, scale_name, extra):
    """(file, weights as they are read back)."""
    file, back = {}, {}
    for name, tensor in state.items():
        if not is_matrix(name):
            file[name], back[name] = tensor.half(), tensor
            continue
        scale = tensor.abs().max() / 448
        file[name] = (tensor / scale).clamp(-448, 448).to(FP8)
        file[f"{layer(name)}.{scale_name}"] = scale
        file |= extra(layer(name))
        back[name] = file[name].float() * scale
    return file, back


def int8(state):
    file, back = {}, {}
    for name, tensor in state.items():
        if not is_matrix(name):
            file[name], back[name] = tensor.bfloat16(), tensor
            continue
        turn = tensor.shape[1] % 256 == 0
        source = rotated(tensor) if turn else tensor
        scale = source.abs().amax(1, keepdim=True) / 127
        file[name] = (source / scale).round().clamp(-128, 127).to(torch.int8)
        file[f"{layer(name)}.weight_scale"] = scale
        settings = {"format": "int8_tensorwise"} | ({"convrot": True, "convrot_groupsize": 256} if turn else {})
        file[f"{layer(name)}.comfy_quant"] = note(settings)
        values = file[name].float() * scale
        back[name] = rotated(values) if turn else values
        assert (back[name] - tensor).abs().max() < 0.03
    return file, back


def pack_q4_k(rows):
    x = rows.reshape(-1, 8, 32).astype(np.float32)
    least = np.minimum(x.min(-1), 0)
    step = (x.max(-1) - least) / 15
    d = np.maximum(step.max(-1, keepdims=True) / 63, 1e-12).astype(np.float16).astype(np.float32)
    dmin = np.maximum((-least).max(-1, keepdims=True) / 63, 1e-12).astype(np.float16).astype(np.float32)
    s, m = np.clip(np.rint(step / d), 0, 63), np.clip(np.rint(-least / dmin), 0, 63)
    scale, offset = (d * s)[..., None], (dmin * m)[..., None]
    q = np.clip(np.rint((x + offset) / np.where(scale == 0, 1, scale)), 0, 15).astype(np.uint8).reshape(-1, 4, 2, 32)
    s, m = s.astype(np.uint8), m.astype(np.uint8)
    low, high = s[:, :4] | (s[:, 4:] >> 4) << 6, m[:, :4] | (m[:, 4:] >> 4) << 6
    scales = np.concatenate([low, high, (s[:, 4:] & 15) | (m[:, 4:] & 15) << 4], -1)
    halves = [v.astype(np.float16).view(np.uint8).reshape(-1, 2) for v in (d, dmin)]
    return np.concatenate([*halves, scales, (q[:, :, 0] | q[:, :, 1] << 4).reshape(-1, 128)], -1)


def pack_q6_k(rows):
    x = rows.reshape(-1, 16, 16).astype(np.float32)
    step = np.abs(x).max(-1) / 31
    d = np.maximum(step.max(-1, keepdims=True) / 127, 1e-12).astype(np.float16).astype(np.float32)
    s = np.clip(np.rint(step / d), 1, 127)
    q = (np.clip(np.rint(x / (d * s)[..., None]), -32, 31) + 32).astype(np.uint8).reshape(-1, 2, 4, 32)
    low = q.reshape(-1, 2, 2, 64) & 15
    ql = (low[:, :, 0] | low[:, :, 1] << 4).reshape(-1, 128)
    high = q >> 4
    qh = (high[:, :, 0] | high[:, :, 1] << 2 | high[:, :, 2] << 4 | high[:, :, 3] << 6).reshape(-1, 64)
    return np.concatenate([ql, qh, s.astype(np.int8).view(np.uint8), d.astype(np.float16).view(np.uint8).reshape(-1, 2)], -1)


def encode(rows, kind):
    if kind in (Type.Q4_K, Type.Q6_K):
        blocks = (pack_q4_k if kind == Type.Q4_K else pack_q6_k)(rows)
        return np.ascontiguousarray(blocks.reshape(rows.shape[0], -1))
    return gguf.quants.quantize(rows, kind)


def gguf_file(state, kind, flatten):
    """(how to write it, weights as they are read back)."""
    parts, back = [], {}
    for name, tensor in state.items():
        rows, chosen = tensor.numpy(), Type.F32
        if is_matrix(name):
            wide = rows.shape[-1] % 256 == 0
            chosen = kind if kind in (Type.F16, Type.Q8_0) or wide else Type.Q8_0
        data = encode(rows, chosen)
        parts.append((name, data, chosen))
        back[name] = torch.from_numpy(gguf.quants.dequantize(data, chosen).reshape(rows.shape).astype(np.float32))
        limit = {Type.F32: 0, Type.F16: 0, Type.Q8_0: 0.01, Type.Q6_K: 0.02, Type.Q4_K: 0.08}[chosen]
        error = (back[name] - tensor).abs().max() / tensor.abs().max()
        assert error <= limit, (name, chosen, float(error))

    def save(path):
        writer = gguf.GGUFWriter(str(path), "wan")
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        writer.add_file_type(getattr(gguf.LlamaFileType, f"MOSTLY_{kind.name}", gguf.LlamaFileType.MOSTLY_F16))
        for name, data, chosen in parts:
            if flatten and data.ndim == 5:
                writer.add_array(f"comfy.gguf.orig_shape.{name}", [int(n) for n in data.shape])
                data = data.reshape(data.shape[0], -1)
            writer.add_tensor(name, data, raw_dtype=chosen)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        read = {t.name: t for t in gguf.GGUFReader(str(path)).tensors}
        assert set(read) == set(state) and {t.tensor_type for t in read.values()} >= {kind}

    return save, back


def loras(state):
    """Matrices by the original name of their layer."""
    generator = torch.Generator().manual_seed(SEED + 1)
    result = {}
    for name in filter(is_matrix, state):
        out, width = state[name].shape
        down = exact(torch.randn(RANK, width, generator=generator) / width**0.5)
        up = exact(torch.randn(out, RANK, generator=generator) * 0.5)
        result[layer(name)] = (down, up)
    return result


def differences(state):
    generator = torch.Generator().manual_seed(SEED + 2)
    wanted = {}
    for name in state:
        if name.startswith("blocks.0.") and "norm" in name or name in ("head.head.weight", "patch_embedding.bias"):
            wanted[name] = exact(torch.randn(state[name].shape, generator=generator) * 0.1)
        if name.startswith("blocks.") and name.endswith(("attn.q.bias", "ffn.0.bias")):
            wanted[name] = exact(torch.randn(state[name].shape, generator=generator) * 0.1)
    return wanted


def with_lora(state, matrices, strength):
    result = dict(state)
    for name, (down, up) in matrices.items():
        result[f"{name}.weight"] = result[f"{name}.weight"] + strength * (ALPHA / RANK) * (up @ down)
    return result


def with_differences(state, wanted, strength):
    return state | {name: state[name] + strength * difference for name, difference in wanted.items()}


def lora_files(state, out, run, save):
    matrices, wanted = loras(state), differences(state)
    factor, alpha = ALPHA / RANK, torch.tensor(ALPHA)
    new_names = dict(zip(state, convert_wan_transformer_to_diffusers({name: name for name in state}), strict=True))
    kohya, diffusers, original, lightx2v = {}, {}, {}, {}
    for name, (down, up) in matrices.items():
        flat = f"lora_unet_{name.replace('.', '_')}"
        kohya |= {f"{flat}.lora_down.weight": down, f"{flat}.lora_up.weight": up, f"{flat}.alpha": alpha}
        new = layer(new_names[f"{name}.weight"])
        # A factor of 1/2 changes no digit.
        diffusers |= {f"transformer.{new}.lora_A.weight": down * factor, f"transformer.{new}.lora_B.weight": up}
        key = f"diffusion_model.{name}"
        original |= {f"{key}.lora_A.weight": down, f"{key}.lora_B.weight": up, f"{key}.alpha": alpha}
        lightx2v |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up * factor}
    # The converters multiply in place, so they get copies.
    kohya_copy, original_copy = ({key: value.clone() for key, value in file.items()} for file in (kohya, original))
    for source in (_convert_musubi_wan_lora_to_diffusers(kohya_copy), _convert_non_diffusers_wan_lora_to_diffusers(original_copy)):
        assert set(source) == set(diffusers) and all(torch.equal(source[k], diffusers[k]) for k in source)
    for name, difference in wanted.items():
        base, end = name.rsplit(".", 1)
        lightx2v[f"diffusion_model.{base}.{'diff' if end == 'weight' else 'diff_b'}"] = difference
    bad = dict(kohya)
    key = "lora_unet_blocks_1_ffn_2.lora_down.weight"
    bad[key] = bad[key][:, :-1].clone()
    files = {"kohya": kohya, "diffusers": diffusers, "original": original, "lightx2v": lightx2v, "misfit": bad}
    for kind, file in files.items():
        save(f"lora_{kind}.safetensors", file, "f32")
    out["output.lora"] = run(with_lora(state, matrices, 1.0))
    out["output.lora_0.7"] = run(with_lora(state, matrices, 0.7))
    out["output.lora_lightx2v"] = run(with_differences(with_lora(state, matrices, 1.0), wanted, 1.0))
    both = with_lora(with_lora(state, matrices, 0.8), matrices, 0.5)
    out["output.lora_two"] = run(with_differences(both, wanted, 0.5))


def folder(model, sources):
    """The diffusers layout in two shards."""
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    names = list(state)
    half = len(names) // 2
    shards = {f"diffusion_pytorch_model-0000{i + 1}-of-00002.safetensors": part for i, part in enumerate((names[:half], names[half:]))}
    for file, part in shards.items():
        write = {name: state[name] for name in part}
        goldens.write_file(
            "kinora-models", f"dialects/diffusers/{file}", lambda p, w=write: save_file(w, p, {"format": "pt"}), __file__, SEED, "f32", sources
        )  # fmt: skip
    size = sum(t.numel() * 4 for t in state.values())
    index = {"metadata": {"total_size": size}, "weight_map": {name: file for file, part in shards.items() for name in part}}
    for file, value in (("config.json", CONFIG), ("diffusion_pytorch_model.safetensors.index.json", index)):
        text = json.dumps(value, indent=1) + "\n"
        goldens.write_file(
            "kinora-models", f"dialects/diffusers/{file}", lambda p, t=text: p.write_text(t), __file__, SEED, "json", sources
        )  # fmt: skip
    path = goldens.root() / "crates/kinora-models/tests/fixtures/dialects/diffusers"
    return WanTransformer3DModel.from_pretrained(path).eval()


def blocks():
    """Random bytes of every GGUF type, with scales that are not absurd."""
    draw, out = np.random.default_rng(SEED), {}
    halves = {
        "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
        "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
    }  # fmt: skip
    for name, offsets in halves.items():
        kind = Type[name]
        _, size = gguf.GGML_QUANT_SIZES[kind]
        data = draw.integers(0, 256, (2, 3, size), dtype=np.uint8)
        for offset in offsets:
            scale = draw.uniform(0.001, 0.1, (2, 3, 1)).astype(np.float16)
            data[..., offset : offset + 2] = scale.view(np.uint8).reshape(2, 3, 2)
        data = data.reshape(2, -1)
        out[f"{name}.blocks"] = torch.from_numpy(data)
        out[f"{name}.values"] = torch.from_numpy(gguf.quants.dequantize(data, kind).astype(np.float32))
    values = draw.standard_normal((2, 64)).astype(np.float32)
    for name in ("F16", "BF16"):
        data = gguf.quants.quantize(values, Type[name])
        out[f"{name}.blocks"] = torch.from_numpy(data.view(np.uint8).copy())
        out[f"{name}.values"] = torch.from_numpy(gguf.quants.dequantize(data, Type[name]).astype(np.float32))
    goldens.write("kinora-weights", "gguf_blocks", out, __file__, SEED, ["gguf"], 1e-6)


def main():
    goldens.seeded(SEED)
    sources = ["diffusers", "gguf"]
    model = WanTransformer3DModel.from_config(CONFIG).eval()
    goldens.randomise(model, SEED)
    for tensor in model.state_dict().values():
        tensor.copy_(exact(tensor))
        assert torch.equal(tensor.half().float(), tensor) and torch.equal(tensor.bfloat16().float(), tensor)
    state = {wan_names.transformer(name): tensor.clone() for name, tensor in model.state_dict().items()}
    latents, context, timestep = torch.randn(1, 4, 2, 4, 6), torch.randn(1, 5, 16), torch.tensor([640.0])

    def run(original):
        twin = WanTransformer3DModel.from_config(CONFIG).eval()
        twin.load_state_dict(convert_wan_transformer_to_diffusers(dict(original)), strict=True)
        return twin(latents, timestep, context, return_dict=False)[0]

    def save(name, tensors, dtype):
        tensors = {key: value.contiguous().clone() for key, value in tensors.items()}
        goldens.write_file("kinora-models", f"dialects/{name}", lambda p: save_file(tensors, p), __file__, SEED, dtype, sources)
        return load_file(goldens.root() / "crates/kinora-models/tests/fixtures/dialects" / name)

    out = {"hidden_states": latents, "context": context, "timestep": timestep, "output": run(state)}
    loaded = folder(model, sources)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in model.state_dict().items())
    assert (loaded(latents, timestep, context, return_dict=False)[0] - out["output"]).abs().max() < 1e-5
    for name, file in {
        "wan_original": save("wan_original.safetensors", {k: v.bfloat16() for k, v in state.items()}, "bf16"),
        "wan_comfy": save("wan_comfy.safetensors", {PREFIX + k: v.half() for k, v in state.items()}, "f16"),
    }.items():
        assert (run({k: v.float() for k, v in file.items()}) - out["output"]).abs().max() < 1e-5, name

    plain = {k: v.to(FP8) if is_matrix(k) else v.half() for k, v in state.items()}
    save("wan_fp8.safetensors", plain, "f8_e4m3")
    out["output.fp8"] = run({k: v.float() for k, v in plain.items()})
    older, back = fp8_scaled(state, "scale_weight", lambda name: {f"{name}.scale_input": torch.tensor(1.0)})
    save("wan_fp8_scaled.safetensors", older | {"scaled_fp8": torch.zeros(2).to(FP8)}, "f8_e4m3")
    newer, same = fp8_scaled(state, "weight_scale", lambda n: {f"{n}.comfy_quant": note({"format": "float8_e4m3fn"})})
    save("wan_fp8_comfy.safetensors", newer, "f8_e4m3")
    assert all(torch.equal(back[k], same[k]) for k in back)
    out["output.fp8_scaled"] = run(back)
    file, back = int8(state)
    save("wan_int8.safetensors", file, "i8")
    out["output.int8"] = run(back)
    for kind in (Type.F16, Type.Q8_0, Type.Q4_K, Type.Q6_K):
        write, back = gguf_file(state, kind, flatten=kind == Type.Q6_K)
        name = kind.name.lower()
        goldens.write_file("kinora-models", f"dialects/wan_{name}.gguf", write, __file__, SEED, name, sources)
        out[f"output.{name}"] = run(back)
    assert (out["output.f16"] - out["output"]).abs().max() < 1e-5
    lora_files(state, out, run, save)
    for name, value in out.items():
        if name.startswith("output.") and name != "output.f16":
            assert 1e-3 < (value - out["output"]).abs().max() < 3, (name, (value - out["output"]).abs().max())
    meta = {"config": json.dumps(CONFIG)}
    goldens.write("kinora-models", "wan_dialects", out, __file__, SEED, sources, 5e-5, meta)
    blocks()


if __name__ == "__main__":
    main()
