"""Models of published shapes with made-up weights, for measuring memory and time without a download.

    python bench/shapes/make.py 1.3b FOLDER        Wan 2.1 T2V 1.3B: bf16, random (2.8 GB); autoencoder, f32, random
    python bench/shapes/make.py 14b-gguf FOLDER    Wan 2.1 T2V 14B as Q4_K GGUF (8.5 GB); the same autoencoder

Both get umT5-XXL in bf16 (11.4 GB). The text encoder and the GGUF are files of zeros with holes: they take no room on the disk, are read
like any other, and give numbers without meaning. What a run holds and how long it takes does not depend on the numbers.
Needs tools/reference/requirements.txt.
"""

import argparse
import json
import struct
from pathlib import Path

UMT5 = {
    "model_type": "umt5", "vocab_size": 256384, "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64,
    "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128, "layer_norm_epsilon": 1e-6,
    "feed_forward_proj": "gated-gelu",
}  # fmt: skip
INDEX = {
    "_class_name": "WanPipeline",
    "transformer": ["diffusers", "WanTransformer3DModel"],
    "transformer_2": [None, None],
    "vae": ["diffusers", "AutoencoderKLWan"],
    "text_encoder": ["transformers", "UMT5EncoderModel"],
}
LETTERS = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)] + [(chr(97 + i), -3.0) for i in range(26)]


def config_of(model):
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in model.config.items() if not k.startswith("_")}
    return plain | {"_class_name": type(model).__name__}


def save(model, folder, torch, dtype):
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.to(dtype).contiguous() for k, v in model.state_dict().items()}
    save_file(tensors, folder / "diffusion_pytorch_model.safetensors")
    (folder / "config.json").write_text(json.dumps(config_of(model)))


def transformer(folder):
    import torch
    from diffusers import WanTransformer3DModel

    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    model = WanTransformer3DModel(num_attention_heads=12, attention_head_dim=128, ffn_dim=8960, num_layers=30)
    for name, value in model.named_parameters():
        if value.ndim > 1 and "scale_shift" not in name:
            value.data.normal_(0, 1 / value[0].numel() ** 0.5)
    save(model, folder / "transformer", torch, torch.bfloat16)
    torch.set_default_dtype(torch.float32)


def autoencoder(folder):
    import torch
    from diffusers import AutoencoderKLWan

    torch.manual_seed(1)
    save(AutoencoderKLWan(), folder / "vae", torch, torch.float32)


def text_encoder(folder):
    folder = folder / "text_encoder"
    folder.mkdir(parents=True, exist_ok=True)
    m, inner, ffn = UMT5["d_model"], UMT5["d_kv"] * UMT5["num_heads"], UMT5["d_ff"]
    shapes = {"shared.weight": [UMT5["vocab_size"], m], "encoder.final_layer_norm.weight": [m]}
    for i in range(UMT5["num_layers"]):
        block = f"encoder.block.{i}.layer"
        for name, shape in (("q", [inner, m]), ("k", [inner, m]), ("v", [inner, m]), ("o", [m, inner])):
            shapes[f"{block}.0.SelfAttention.{name}.weight"] = shape
        shapes[f"{block}.0.SelfAttention.relative_attention_bias.weight"] = [32, UMT5["num_heads"]]
        for name, shape in (("wi_0", [ffn, m]), ("wi_1", [ffn, m]), ("wo", [m, ffn])):
            shapes[f"{block}.1.DenseReluDense.{name}.weight"] = shape
        shapes |= {f"{block}.0.layer_norm.weight": [m], f"{block}.1.layer_norm.weight": [m]}
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 2
        for extent in shape:
            size *= extent
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    (folder / "config.json").write_text(json.dumps(UMT5))


def tokenizer(folder):
    from tokenizers import Tokenizer, models, pre_tokenizers

    (folder / "tokenizer").mkdir(parents=True, exist_ok=True)
    made = Tokenizer(models.Unigram(LETTERS, unk_id=2, byte_fallback=False))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.save(str(folder / "tokenizer/tokenizer.json"))


def gguf_14b(path):
    """Names, shapes and types of Wan 2.1 T2V 14B as it is published in Q4_K; the data is a hole."""
    import gguf
    import numpy as np

    m, ffn, layers = 5120, 13824, 40
    f32, q4 = gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.Q4_K
    tensors = {"patch_embedding.weight": ([m, 16, 1, 2, 2], f32), "patch_embedding.bias": ([m], f32), "head.modulation": ([1, 2, m], f32)}

    def layer(name, outputs, inputs):
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = ([outputs, inputs], q4), ([outputs], f32)

    for name, outputs, inputs in (
        ("text_embedding.0", m, 4096), ("text_embedding.2", m, m), ("time_embedding.0", m, 256), ("time_embedding.2", m, m),
        ("time_projection.1", 6 * m, m), ("head.head", 64, m),
    ):  # fmt: skip
        layer(name, outputs, inputs)
    for i in range(layers):
        for attention in ("self_attn", "cross_attn"):
            for part in "qkvo":
                layer(f"blocks.{i}.{attention}.{part}", m, m)
            for norm in ("norm_q", "norm_k"):
                tensors[f"blocks.{i}.{attention}.{norm}.weight"] = ([m], f32)
        layer(f"blocks.{i}.ffn.0", ffn, m)
        layer(f"blocks.{i}.ffn.2", m, ffn)
        tensors |= {f"blocks.{i}.norm3.weight": ([m], f32), f"blocks.{i}.norm3.bias": ([m], f32)}
        tensors[f"blocks.{i}.modulation"] = ([1, 6, m], f32)
    writer = gguf.GGUFWriter(path, "wan")
    end = 0
    for name, (shape, kind) in tensors.items():
        block, bytes_ = gguf.GGML_QUANT_SIZES[kind]
        size = int(np.prod(shape)) // block * bytes_
        stored = shape if kind == f32 else [*shape[:-1], shape[-1] // block * bytes_]
        writer.add_tensor_info(name, stored, np.dtype(np.float32 if kind == f32 else np.uint8), size, raw_dtype=kind)
        end += -(-size // 32) * 32
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    header = path.stat().st_size
    with open(path, "r+b") as file:
        file.truncate(-(-header // 32) * 32 + end)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=["1.3b", "14b-gguf"])
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    autoencoder(args.folder)
    text_encoder(args.folder)
    tokenizer(args.folder)
    if args.shape == "1.3b":
        transformer(args.folder)
        (args.folder / "model_index.json").write_text(json.dumps(INDEX))
    else:
        gguf_14b(args.folder / "wan2.1-t2v-14b-Q4_K_M.gguf")
        parts = {"transformer": "wan2.1-t2v-14b-Q4_K_M.gguf", "vae": "vae", "text_encoder": "text_encoder", "tokenizer": "tokenizer"}
        (args.folder / "model.json").write_text(json.dumps({"name": "wan-14b-shape", "parts": parts}))


if __name__ == "__main__":
    main()
