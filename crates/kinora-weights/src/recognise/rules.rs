//! Which name of a file is which of diffusers, for each part and each dialect.
//!
//! **Source**: `tools/reference/wan_names.py`, which the golden `wan_names.json` comes from; for CLIP the names of `clip.py` of Wan-Video/Wan2.1
//! and of open_clip's `VisionTransformer` against those of transformers' `CLIPVisionModel` (facts, not code).

use super::names::VaeBlocks;
use super::{Component, Dialect};
use crate::stored::is_marker;

const ATTENTION: [(&str, &str); 9] = [
    ("q", "to_q"),
    ("k", "to_k"),
    ("v", "to_v"),
    ("o", "to_out.0"),
    ("norm_q", "norm_q"),
    ("norm_k", "norm_k"),
    ("k_img", "add_k_proj"),
    ("v_img", "add_v_proj"),
    ("norm_k_img", "norm_added_k"),
];

/// A trap: `norm3` of the original is `norm2` of diffusers; the other two norms have no weights in either.
const BLOCK: [(&str, &str); 6] = [
    ("modulation", "scale_shift_table"),
    ("norm3", "norm2"),
    ("ffn.0", "ffn.net.0.proj"),
    ("ffn.2", "ffn.net.2"),
    ("before_proj", "proj_in"),
    ("after_proj", "proj_out"),
];

const TRANSFORMER: [(&str, &str); 12] = [
    ("text_embedding.0", "condition_embedder.text_embedder.linear_1"),
    ("text_embedding.2", "condition_embedder.text_embedder.linear_2"),
    ("time_embedding.0", "condition_embedder.time_embedder.linear_1"),
    ("time_embedding.2", "condition_embedder.time_embedder.linear_2"),
    ("time_projection.1", "condition_embedder.time_proj"),
    ("img_emb.emb_pos", "condition_embedder.image_embedder.pos_embed"),
    ("img_emb.proj.0", "condition_embedder.image_embedder.norm1"),
    ("img_emb.proj.1", "condition_embedder.image_embedder.ff.net.0.proj"),
    ("img_emb.proj.3", "condition_embedder.image_embedder.ff.net.2"),
    ("img_emb.proj.4", "condition_embedder.image_embedder.norm2"),
    ("head.modulation", "scale_shift_table"),
    ("head.head", "proj_out"),
];

const RESNET: [(&str, &str); 5] = [
    ("residual.0", "norm1"),
    ("residual.2", "conv1"),
    ("residual.3", "norm2"),
    ("residual.6", "conv2"),
    ("shortcut", "conv_shortcut"),
];

const UMT5_BLOCK: [(&str, &str); 10] = [
    ("attn.q", "layer.0.SelfAttention.q"),
    ("attn.k", "layer.0.SelfAttention.k"),
    ("attn.v", "layer.0.SelfAttention.v"),
    ("attn.o", "layer.0.SelfAttention.o"),
    (
        "pos_embedding.embedding",
        "layer.0.SelfAttention.relative_attention_bias",
    ),
    ("norm1", "layer.0.layer_norm"),
    ("ffn.gate.0", "layer.1.DenseReluDense.wi_0"),
    ("ffn.fc1", "layer.1.DenseReluDense.wi_1"),
    ("ffn.fc2", "layer.1.DenseReluDense.wo"),
    ("norm2", "layer.1.layer_norm"),
];

const UMT5_GGUF_BLOCK: [(&str, &str); 10] = [
    ("attn_q", "layer.0.SelfAttention.q"),
    ("attn_k", "layer.0.SelfAttention.k"),
    ("attn_v", "layer.0.SelfAttention.v"),
    ("attn_o", "layer.0.SelfAttention.o"),
    ("attn_rel_b", "layer.0.SelfAttention.relative_attention_bias"),
    ("attn_norm", "layer.0.layer_norm"),
    ("ffn_gate", "layer.1.DenseReluDense.wi_0"),
    ("ffn_up", "layer.1.DenseReluDense.wi_1"),
    ("ffn_down", "layer.1.DenseReluDense.wo"),
    ("ffn_norm", "layer.1.layer_norm"),
];

const CLIP_LAYER: [(&str, &str); 5] = [
    ("norm1", "layer_norm1"),
    ("norm2", "layer_norm2"),
    ("attn.proj", "self_attn.out_proj"),
    ("mlp.0", "mlp.fc1"),
    ("mlp.2", "mlp.fc2"),
];

const OPEN_CLIP_LAYER: [(&str, &str); 5] = [
    ("ln_1", "layer_norm1"),
    ("ln_2", "layer_norm2"),
    ("attn.out_proj", "self_attn.out_proj"),
    ("mlp.c_fc", "mlp.fc1"),
    ("mlp.c_proj", "mlp.fc2"),
];

/// (file's name, diffusers' name), each the beginning of whole names. `blocks` is that of an autoencoder.
pub(super) fn of(component: Component, dialect: Dialect, blocks: VaeBlocks) -> Vec<(String, String)> {
    let mut rules = Rules::default();
    match (component, dialect) {
        (Component::WanTransformer, Dialect::Original) => {
            rules.add("", "", &TRANSFORMER);
            for blocks in ["blocks.{}.", "vace_blocks.{}."] {
                rules.add(&format!("{blocks}self_attn."), &format!("{blocks}attn1."), &ATTENTION);
                rules.add(&format!("{blocks}cross_attn."), &format!("{blocks}attn2."), &ATTENTION);
                rules.add(blocks, blocks, &BLOCK);
            }
        }
        (Component::WanVae, Dialect::Original) => vae(&mut rules, blocks),
        (Component::Umt5, Dialect::Original) => {
            rules.add(
                "",
                "",
                &[("token_embedding", "shared"), ("norm", "encoder.final_layer_norm")],
            );
            rules.add("blocks.{}.", "encoder.block.{}.", &UMT5_BLOCK);
        }
        (Component::Umt5, Dialect::LlamaCpp) => {
            rules.add(
                "",
                "",
                &[
                    ("token_embd", "shared"),
                    ("enc.output_norm", "encoder.final_layer_norm"),
                ],
            );
            rules.add("enc.blk.{}.", "encoder.block.{}.", &UMT5_GGUF_BLOCK);
        }
        (Component::ClipVision, Dialect::Original) => clip(
            &mut rules,
            &[
                ("cls_embedding", "embeddings.class_embedding"),
                ("pos_embedding", "embeddings.position_embedding.weight"),
                ("patch_embedding", "embeddings.patch_embedding"),
                ("pre_norm", "pre_layrnorm"),
                ("post_norm", "post_layernorm"),
            ],
            "transformer.{}.",
            &CLIP_LAYER,
        ),
        (Component::ClipVision, Dialect::OpenClip) => clip(
            &mut rules,
            &[
                ("class_embedding", "embeddings.class_embedding"),
                ("positional_embedding", "embeddings.position_embedding.weight"),
                ("conv1", "embeddings.patch_embedding"),
                ("ln_pre", "pre_layrnorm"),
                ("ln_post", "post_layernorm"),
            ],
            "transformer.resblocks.{}.",
            &OPEN_CLIP_LAYER,
        ),
        _ => {}
    }
    rules.0
}

fn clip(rules: &mut Rules, ends: &[(&str, &str)], layer: &str, inside: &[(&str, &str)]) {
    rules.add("visual.", "vision_model.", ends);
    rules.add(&format!("visual.{layer}"), "vision_model.encoder.layers.{}.", inside);
}

fn vae(rules: &mut Rules, blocks: VaeBlocks) {
    rules.add("", "", &[("conv1", "quant_conv"), ("conv2", "post_quant_conv")]);
    for half in ["encoder.", "decoder."] {
        rules.add(
            half,
            half,
            &[("conv1", "conv_in"), ("head.0", "norm_out"), ("head.2", "conv_out")],
        );
        let middle = |n: usize| format!("{half}middle.{n}.");
        rules.add(&middle(0), &format!("{half}mid_block.resnets.0."), &RESNET);
        rules.add(&middle(2), &format!("{half}mid_block.resnets.1."), &RESNET);
        let attention = [("norm", "norm"), ("to_qkv", "to_qkv"), ("proj", "proj")];
        rules.add(&middle(1), &format!("{half}mid_block.attentions.0."), &attention);
    }
    let (down, up) = ("encoder.downsamples.{}.", "decoder.upsamples.{}.upsamples.");
    let (last_up, last_down) = (
        format!("{up}{}.", blocks.last_up),
        format!("{down}downsamples.{}.", blocks.last_down),
    );
    let same = [("resample", "resample"), ("time_conv", "time_conv")];
    rules.add(&format!("{up}{{}}."), "decoder.up_blocks.{}.resnets.{}.", &RESNET);
    if blocks.is_nested {
        rules.add(&last_up, "decoder.up_blocks.{}.upsampler.", &same);
        rules.add(
            &format!("{down}downsamples.{{}}."),
            "encoder.down_blocks.{}.resnets.{}.",
            &RESNET,
        );
        rules.add(&last_down, "encoder.down_blocks.{}.downsampler.", &same);
    } else {
        rules.add(&last_up, "decoder.up_blocks.{}.upsamplers.0.", &same);
        rules.add(down, "encoder.down_blocks.{}.", &RESNET);
        rules.add(down, "encoder.down_blocks.{}.", &same);
    }
}

#[derive(Default)]
struct Rules(Vec<(String, String)>);

impl Rules {
    fn add(&mut self, from: &str, to: &str, ends: &[(&str, &str)]) {
        self.0.extend(
            ends.iter()
                .map(|(own, new)| (format!("{from}{own}"), format!("{to}{new}"))),
        );
    }
}

/// False for what lies in files of that part and is no weight of it: markers, vocabularies, halves of a model that is not run.
pub(super) fn is_weight(component: Component, name: &str) -> bool {
    if is_marker(name) {
        return false;
    }
    match component {
        Component::Umt5 => !["spiece_model", "logit_scale"].contains(&name),
        Component::ClipVision => {
            (name.starts_with("vision_model.") || name.starts_with("visual."))
                && !["vision_model.embeddings.position_ids", "visual.head", "visual.proj"].contains(&name)
        }
        _ => true,
    }
}

/// True for embeddings that are `[1, P, D]` in the file and `[P, D]` in diffusers.
pub(super) fn is_squeezed(component: Component, name: &str) -> bool {
    component == Component::ClipVision && ["visual.cls_embedding", "visual.pos_embedding"].contains(&name)
}
