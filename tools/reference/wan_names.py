"""wan_names.json: what the tensors of a Wan model are called in the files that people have.

For each kind of model a map from the names of diffusers (transformers for the text encoder) to those of another dialect:

  transformer.{t2v,i2v,flf,vace}  original: the files of Wan-Video, of Comfy-Org (there also behind `model.diffusion_model.`)
                                  and GGUF. Checked: diffusers' `convert_wan_transformer_to_diffusers` leads back, except
                                  for `img_emb.emb_pos` (first and last frame), which it does not know.
  vae.21                          original: `Wan2.1_VAE.pth`, `wan_2.1_vae.safetensors`. Checked by
                                  `convert_wan_vae_to_diffusers`.
  vae.22                          original: `Wan2.2_VAE.pth`, `wan2.2_vae.safetensors`; diffusers has no converter for a
                                  single file; from `wan/modules/vae2_2.py` of Wan-Video/Wan2.2.
  umt5.original                   `models_t5_umt5-xxl-enc-bf16.pth`; from `wan/modules/t5.py` of Wan-Video/Wan2.1.
  umt5.gguf                       names of llama.cpp; from `T5_SD_MAP` in `loader.py` of city96/ComfyUI-GGUF.

Comfy-Org's text encoder (`umt5_xxl_fp8_e4m3fn_scaled.safetensors`) has the names of transformers, `shared.weight` once, and
the sentencepiece file as the bytes of a tensor `spiece_model`.

Table of the transformer (diffusers | original), inside a block first:

  attn1.to_q, to_k, to_v, to_out.0      self_attn.q, k, v, o
  attn1.norm_q, norm_k                  self_attn.norm_q, norm_k
  attn2.*                               cross_attn.*
  attn2.add_k_proj, add_v_proj          cross_attn.k_img, v_img
  attn2.norm_added_k                    cross_attn.norm_k_img
  norm2                                 norm3                    (the two count their norms differently)
  ffn.net.0.proj, ffn.net.2             ffn.0, ffn.2
  scale_shift_table                     modulation
  proj_in, proj_out (VACE blocks)       before_proj, after_proj
  condition_embedder.time_embedder.linear_1, linear_2    time_embedding.0, 2
  condition_embedder.text_embedder.linear_1, linear_2    text_embedding.0, 2
  condition_embedder.time_proj                           time_projection.1
  condition_embedder.image_embedder.norm1, ff.net.0.proj, ff.net.2, norm2, pos_embed    img_emb.proj.0, 1, 3, 4, emb_pos
  patch_embedding, vace_patch_embedding                  the same
  scale_shift_table, proj_out                            head.modulation, head.head
"""

import re

from diffusers import AutoencoderKLWan, WanTransformer3DModel, WanVACETransformer3DModel
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers, convert_wan_vae_to_diffusers
from transformers import UMT5Config, UMT5EncoderModel

import goldens
import umt5_tiny
import wan_i2v_tiny
import wan_tiny
import wan_vace_tiny
import wan_vae_tiny

TOP = {
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "condition_embedder.image_embedder.norm1": "img_emb.proj.0",
    "condition_embedder.image_embedder.ff.net.0.proj": "img_emb.proj.1",
    "condition_embedder.image_embedder.ff.net.2": "img_emb.proj.3",
    "condition_embedder.image_embedder.norm2": "img_emb.proj.4",
    "condition_embedder.image_embedder.pos_embed": "img_emb.emb_pos",
    "proj_out": "head.head",
    "scale_shift_table": "head.modulation",
}
IN_BLOCK = {
    "attn1": "self_attn",
    "attn2": "cross_attn",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "o",
    "add_k_proj": "k_img",
    "add_v_proj": "v_img",
    "norm_added_k": "norm_k_img",
    "ffn.net.0.proj": "ffn.0",
    "ffn.net.2": "ffn.2",
    "norm2": "norm3",
    "scale_shift_table": "modulation",
    "proj_in": "before_proj",
    "proj_out": "after_proj",
}
RESIDUAL = {
    "norm1": "residual.0",
    "conv1": "residual.2",
    "norm2": "residual.3",
    "conv2": "residual.6",
    "conv_shortcut": "shortcut",
}
UMT5_ORIGINAL = {
    "layer.0.SelfAttention.relative_attention_bias": "pos_embedding.embedding",
    "layer.0.SelfAttention": "attn",
    "layer.0.layer_norm": "norm1",
    "layer.1.layer_norm": "norm2",
    "layer.1.DenseReluDense.wi_0": "ffn.gate.0",
    "layer.1.DenseReluDense.wi_1": "ffn.fc1",
    "layer.1.DenseReluDense.wo": "ffn.fc2",
}
UMT5_GGUF = {
    "layer.0.SelfAttention.relative_attention_bias": "attn_rel_b",
    "layer.0.SelfAttention.": "attn_",
    "layer.0.layer_norm": "attn_norm",
    "layer.1.layer_norm": "ffn_norm",
    "layer.1.DenseReluDense.wi_0": "ffn_gate",
    "layer.1.DenseReluDense.wi_1": "ffn_up",
    "layer.1.DenseReluDense.wo": "ffn_down",
}


def replaced(name, table):
    """Every entry of the table that stands between dots, or ends with one."""
    for new, old in table.items():
        name = re.sub(rf"(?<![^.]){re.escape(new)}(?![^.])" if not new.endswith(".") else re.escape(new), old, name)
    return name


def transformer(name):
    """A name of diffusers as the original files have it."""
    block = re.match(r"((?:vace_)?blocks\.\d+\.)(.*)", name)
    return block[1] + replaced(block[2], IN_BLOCK) if block else replaced(name, TOP)


def vae(name, residual):
    """The same for the autoencoders; `residual`: that of Wan 2.2."""
    if name.startswith(("quant_conv", "post_quant_conv")):
        return name.replace("post_quant_conv", "conv2").replace("quant_conv", "conv1")
    part, rest = name.split(".", 1)
    rest = replaced(rest, {"conv_in": "conv1", "norm_out": "head.0", "conv_out": "head.2"})
    middle = {"mid_block.resnets.0": "middle.0", "mid_block.attentions.0": "middle.1", "mid_block.resnets.1": "middle.2"}
    rest = replaced(rest, middle)
    if part == "encoder" and not residual:
        rest = re.sub(r"^down_blocks\.(\d+)", r"downsamples.\1", rest)
    elif part == "encoder":
        rest = re.sub(r"^down_blocks\.(\d+)\.resnets\.(\d+)", r"downsamples.\1.downsamples.\2", rest)
        rest = re.sub(r"^down_blocks\.(\d+)\.downsampler", r"downsamples.\1.downsamples.2", rest)
    elif not residual:
        rest = re.sub(r"^up_blocks\.(\d+)\.resnets\.(\d+)", lambda m: f"upsamples.{4 * int(m[1]) + int(m[2])}", rest)
        rest = re.sub(r"^up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"upsamples.{4 * int(m[1]) + 3}", rest)
    else:
        rest = re.sub(r"^up_blocks\.(\d+)\.resnets\.(\d+)", r"upsamples.\1.upsamples.\2", rest)
        rest = re.sub(r"^up_blocks\.(\d+)\.upsampler", r"upsamples.\1.upsamples.3", rest)
    if re.match(r"(middle|downsamples|upsamples)\.", rest):
        rest = replaced(rest, RESIDUAL)
    return f"{part}.{rest}"


def umt5(name, gguf):
    if gguf:
        ends = {"shared": "token_embd", "encoder.final_layer_norm": "enc.output_norm"}
        name = replaced(name, ends)
        return replaced(re.sub(r"^encoder\.block\.", "enc.blk.", name), UMT5_GGUF)
    ends = {"shared": "token_embedding", "encoder.final_layer_norm": "norm"}
    return replaced(re.sub(r"^encoder\.block\.", "blocks.", replaced(name, ends)), UMT5_ORIGINAL)


def main():
    maps = {}
    models = {"t2v": wan_tiny.CONFIG, "i2v": wan_i2v_tiny.CONFIG_21, "flf": wan_i2v_tiny.CONFIG_FLF}
    for kind, config in models.items():
        maps[f"transformer.{kind}"] = {n: transformer(n) for n in WanTransformer3DModel.from_config(config).state_dict()}
    names = WanVACETransformer3DModel.from_config(wan_vace_tiny.CONFIG).state_dict()
    maps["transformer.vace"] = {name: transformer(name) for name in names}
    for kind, config in (("21", wan_vae_tiny.CONFIG_21), ("22", wan_vae_tiny.CONFIG_22)):
        names = AutoencoderKLWan.from_config(config).state_dict()
        maps[f"vae.{kind}"] = {name: vae(name, config["is_residual"]) for name in names}
    encoder = UMT5EncoderModel(UMT5Config(**umt5_tiny.CONFIG)).state_dict()
    names = [name for name in encoder if name != "encoder.embed_tokens.weight"]
    for kind in ("original", "gguf"):
        maps[f"umt5.{kind}"] = {name: umt5(name, kind == "gguf") for name in names}

    for kind, table in maps.items():
        assert len(set(table.values())) == len(table), kind
        back = {old: new for new, old in table.items()}
        if kind.startswith("transformer"):
            got = convert_wan_transformer_to_diffusers({old: old for old in table.values()})
            wrong = {new: old for new, old in got.items() if back[old] != new}
            assert set(wrong) <= {"img_emb.emb_pos"}, wrong
        if kind == "vae.21":
            got = convert_wan_vae_to_diffusers({old: old for old in table.values()})
            assert {old: new for new, old in got.items()} == back
        if kind.startswith(("vae", "umt5")):
            left = [n for n in table.values() if re.search("resnets|_blocks|conv_in|DenseRelu|layer_norm|embed_tok", n)]
            assert not left, left
    goldens.write_json("kinora-models", "wan_names.json", maps, __file__, 0, ["diffusers", "transformers"])


if __name__ == "__main__":
    main()
