//! The names that give a file away.

use super::names::VaeBlocks;
use super::{Component, Dialect};
use crate::{Checkpoint, Error};

/// What a file was told by.
pub(super) struct Sign {
    pub component: Component,
    pub dialect: Dialect,
    pub prefix: String,
}

/// Part, dialect, and names of which all must be there.
const SIGNS: [(Component, Dialect, &[&str]); 11] = [
    (
        Component::WanTransformer,
        Dialect::Original,
        &["head.modulation", "blocks.0.modulation", "time_projection.1.weight"],
    ),
    (
        Component::WanTransformer,
        Dialect::Diffusers,
        &["scale_shift_table", "condition_embedder.time_proj.weight"],
    ),
    (
        Component::WanVae,
        Dialect::Original,
        &["decoder.conv1.weight", "decoder.middle.0.residual.0.gamma"],
    ),
    (
        Component::WanVae,
        Dialect::Diffusers,
        &["decoder.conv_in.weight", "decoder.mid_block.resnets.0.norm1.gamma"],
    ),
    (
        Component::Umt5,
        Dialect::Original,
        &["token_embedding.weight", "blocks.0.pos_embedding.embedding.weight"],
    ),
    (
        Component::Umt5,
        Dialect::LlamaCpp,
        &["token_embd.weight", "enc.blk.0.attn_rel_b.weight"],
    ),
    (
        Component::Umt5,
        Dialect::Diffusers,
        &[
            "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
            "encoder.block.0.layer.1.DenseReluDense.wi_0.weight",
        ],
    ),
    (Component::ClipVision, Dialect::Original, &["visual.cls_embedding"]),
    (Component::ClipVision, Dialect::OpenClip, &["visual.class_embedding"]),
    (
        Component::ClipVision,
        Dialect::Diffusers,
        &["vision_model.embeddings.class_embedding"],
    ),
    (
        Component::Taehv,
        Dialect::Diffusers,
        &["encoder.0.weight", "decoder.1.weight", "decoder.3.conv.0.weight"],
    ),
];

/// What may stand before all names: nothing; a wrapper's name; the names that ComfyUI gives the parts of all-in-one files.
const fn prefixes(component: Component) -> &'static [&'static str] {
    match component {
        Component::WanTransformer => &[
            "",
            "model.diffusion_model.",
            "diffusion_model.",
            "model.",
            "transformer.",
        ],
        Component::WanVae | Component::Taehv => &["", "first_stage_model.", "vae.", "model."],
        Component::Umt5 => &["", "text_encoders.umt5xxl.transformer.", "text_encoder.", "model."],
        Component::ClipVision => &["", "clip_vision.", "model."],
        Component::Lora => &[],
    }
}

pub(super) fn find(checkpoint: &Checkpoint, wanted: Option<Component>) -> Option<Sign> {
    let is_lora = |name: &str| {
        ["lora_A.", "lora_B.", "lora_down.", "lora_up."]
            .iter()
            .any(|word| name.contains(word))
            || name.starts_with("lora_unet_")
    };
    if wanted.is_none_or(|w| w == Component::Lora) && checkpoint.names().any(is_lora) {
        return Some(Sign {
            component: Component::Lora,
            dialect: Dialect::Original,
            prefix: String::new(),
        });
    }
    for (component, dialect, signs) in SIGNS.into_iter().filter(|s| wanted.is_none_or(|w| w == s.0)) {
        for prefix in prefixes(component) {
            if signs.iter().all(|sign| checkpoint.has(&format!("{prefix}{sign}"))) {
                return Some(Sign {
                    component,
                    dialect,
                    prefix: (*prefix).to_owned(),
                });
            }
        }
    }
    None
}

/// How the blocks of a Wan autoencoder are counted in its file: those that change the resolution are the last of their stage.
pub(super) fn blocks(checkpoint: &Checkpoint, sign: &Sign) -> VaeBlocks {
    let inside = |start: &str| -> Vec<&str> {
        let start = format!("{}{start}", sign.prefix);
        checkpoint
            .names()
            .filter_map(|name| name.strip_prefix(&start))
            .collect()
    };
    let last = |names: &[&str], start: &str| {
        (1..16).find(|n| {
            names
                .iter()
                .any(|name| name.starts_with(&format!("{start}{n}.resample.")))
        })
    };
    let (up, down) = (inside("decoder.upsamples."), inside("encoder.downsamples."));
    let is_nested = up.iter().any(|name| name.starts_with("0.upsamples."));
    VaeBlocks {
        is_nested,
        last_up: last(&up, if is_nested { "0.upsamples." } else { "" }).unwrap_or(3),
        last_down: last(&down, "0.downsamples.").unwrap_or(2),
    }
}

/// Parts of names of other models, and what those are.
const OTHERS: [(&str, &str); 12] = [
    ("double_blocks.0.", "a HunyuanVideo or Flux transformer"),
    ("single_transformer_blocks.0.", "a HunyuanVideo or Flux transformer"),
    ("input_blocks.0.", "a Stable Diffusion U-Net"),
    ("down_blocks.0.attentions.", "a Stable Diffusion U-Net"),
    ("adaln_single.", "an LTX-Video or PixArt transformer"),
    (
        "transformer_blocks.0.",
        "a transformer of another family (CogVideoX, LTX-Video, Qwen-Image)",
    ),
    ("joint_blocks.0.", "a Stable Diffusion 3 transformer"),
    ("text_model.encoder.", "a CLIP text encoder"),
    ("model.layers.0.", "a language model"),
    ("blk.0.", "a language model"),
    ("encoder.block.0.", "a T5 text encoder that is not umT5"),
    ("control_adapter.", "a Wan transformer with a control adapter"),
];

pub(super) fn not_recognised(checkpoint: &Checkpoint, wanted: Option<Component>) -> Error {
    let other = OTHERS
        .iter()
        .find(|(part, _)| checkpoint.names().any(|name| name.contains(part)))
        .map(|&(_, what)| what);
    Error::NotRecognised {
        file: checkpoint.name().into(),
        wanted: wanted.map_or("a part of a model that kinora runs", Component::name),
        found: other.unwrap_or("something else").into(),
        names: checkpoint.names().take(3).map(String::from).collect(),
    }
}
