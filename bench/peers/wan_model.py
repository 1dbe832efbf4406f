"""A transformer of Wan 2.1's 1.3B shape with random weights, and inputs for one step of it.

    python bench/peers/wan_model.py FOLDER

FOLDER gets config.json and diffusion_pytorch_model.safetensors (bf16, 2.8 GB, as diffusers names tensors) and
inputs.safetensors. Files that are there are kept. Every tensor has a seed of its own, so that the same numbers come out
each time. Matrices have the variance 1 / inputs, so that activations keep their size through the 30 blocks.
"""

import argparse
import json
import zlib
from pathlib import Path

CONFIG = {
    "_class_name": "WanTransformer3DModel",
    "_diffusers_version": "0.42.1",
    "patch_size": [1, 2, 2],
    "num_attention_heads": 12,
    "attention_head_dim": 128,
    "in_channels": 16,
    "out_channels": 16,
    "text_dim": 4096,
    "freq_dim": 256,
    "ffn_dim": 8960,
    "num_layers": 30,
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "eps": 1e-6,
    "image_dim": None,
    "added_kv_proj_dim": None,
    "rope_max_seq_len": 1024,
    "pos_embed_seq_len": None,
}
WEIGHTS = "diffusion_pytorch_model.safetensors"
TIMESTEP = 700.0
SEED = 1
# How diffusers names tensors, and how Wan's own code and the engines that follow it do; the first match of each counts.
ORIGINAL_NAMES = (
    ("condition_embedder.time_embedder.linear_1.", "time_embedding.0."),
    ("condition_embedder.time_embedder.linear_2.", "time_embedding.2."),
    ("condition_embedder.time_proj.", "time_projection.1."),
    ("condition_embedder.text_embedder.linear_1.", "text_embedding.0."),
    ("condition_embedder.text_embedder.linear_2.", "text_embedding.2."),
    (".attn1.to_out.0.", ".self_attn.o."),
    (".attn1.to_", ".self_attn."),
    (".attn1.", ".self_attn."),
    (".attn2.to_out.0.", ".cross_attn.o."),
    (".attn2.to_", ".cross_attn."),
    (".attn2.", ".cross_attn."),
    (".norm2.", ".norm3."),
    (".ffn.net.0.proj.", ".ffn.0."),
    (".ffn.net.2.", ".ffn.2."),
    (".scale_shift_table", ".modulation"),
    ("proj_out.", "head.head."),
)


def original_name(name):
    if name == "scale_shift_table":
        return "head.modulation"
    for ours, theirs in ORIGINAL_NAMES:
        if ours in name:
            return name.replace(ours, theirs)
    return name


def latent_shape(size, frames):
    """[1, 16, F, h, w] of a clip: Wan 2.1's autoencoder takes 8x8 pixels and, after the first, four frames together."""
    width, height = map(int, size.split("x"))
    return 1, 16, (frames - 1) // 4 + 1, height // 8, width // 8


def value(name, shape, torch):
    """Seeded by the name, so that it does not depend on the order of tensors."""
    random = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    if name.endswith("scale_shift_table"):
        return random / shape[-1] ** 0.5
    if name.endswith("bias"):
        return 0.02 * random
    if len(shape) == 1:  # the weights of norms
        return 1 + 0.1 * random
    return random / (random[0].numel()) ** 0.5


def write_model(folder):
    """config.json and the weights, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "config.json").exists() and (folder / WEIGHTS).exists():
        return
    import torch
    from diffusers import WanTransformer3DModel
    from safetensors.torch import save_file

    with torch.device("meta"):
        shapes = {k: v.shape for k, v in WanTransformer3DModel.from_config(CONFIG).state_dict().items()}
    weights = {name: value(name, shape, torch).to(torch.bfloat16) for name, shape in shapes.items()}
    save_file(weights, folder / "half-written", metadata={"format": "pt"})
    (folder / "half-written").rename(folder / WEIGHTS)
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n", encoding="utf-8")


def write_inputs(path, shape, text_tokens, timestep=TIMESTEP, seed=SEED, zero_text=False):
    """`latents`, `text` [1, S, 4096] and `timestep` [1], all f32."""
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(shape, generator=generator)
    text = torch.zeros(1, text_tokens, CONFIG["text_dim"])
    if not zero_text:
        text.normal_(generator=generator)
    save_file({"latents": latents, "text": text, "timestep": torch.tensor([timestep])}, path)


def write_with_original_names(source, target):
    """The same bytes under the names of Wan's own code: only the header is written anew."""
    with open(source, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        header.pop("__metadata__", None)
        renamed = json.dumps({original_name(name): entry for name, entry in header.items()}).encode()
        renamed += b" " * (-len(renamed) % 8)
        half_written = target.with_name("half-written")
        with open(half_written, "wb") as out:
            out.write(len(renamed).to_bytes(8, "little") + renamed)
            while block := file.read(1 << 24):
                out.write(block)
    half_written.rename(target)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", default="320x192")
    parser.add_argument("--frames", type=int, default=33)
    parser.add_argument("--text-tokens", type=int, default=512)
    args = parser.parse_args()
    write_model(args.folder)
    write_inputs(args.folder / "inputs.safetensors", latent_shape(args.size, args.frames), args.text_tokens)


if __name__ == "__main__":
    main()
