//! The configuration of a part from the shapes of its tensors, in diffusers' spelling.

use serde_json::{Value, json};

use super::Component;
use super::latents::statistics;
use crate::{Checkpoint, Error, Result};

/// Width of an attention head in every published transformer of the family; it is not in the files.
const HEAD_DIM: usize = 128;

type Derived = (Value, Vec<String>);

/// True if a text is a configuration of that part.
pub(crate) fn is_of(component: Component, text: &str) -> bool {
    let field = match component {
        Component::WanTransformer => "num_attention_heads",
        Component::WanVae => "z_dim",
        Component::Umt5 => "d_model",
        Component::ClipVision => "hidden_size",
        Component::Taehv => "latent_channels",
        Component::Lora => return false,
    };
    serde_json::from_str::<Value>(text).is_ok_and(|value| value.get(field).is_some())
}

/// **Errors**: [`Error::MissingTensor`], [`Error::NoConfig`].
pub(super) fn derive(component: Component, checkpoint: &Checkpoint) -> Result<(String, Vec<String>)> {
    let shapes = Shapes(checkpoint);
    let (config, notes) = match component {
        Component::WanTransformer => transformer(&shapes),
        Component::WanVae => vae(&shapes),
        Component::Umt5 => umt5(&shapes),
        Component::ClipVision => clip(&shapes),
        Component::Taehv => taehv(&shapes),
        Component::Lora => Ok((json!({}), Vec::new())),
    }?;
    Ok((config.to_string(), notes))
}

struct Shapes<'a>(&'a Checkpoint);

impl Shapes<'_> {
    fn has(&self, name: &str) -> bool {
        self.0.has(name)
    }

    fn of(&self, name: &str) -> Result<&[usize]> {
        Ok(self.0.describe(name)?.shape)
    }

    /// One extent of a tensor.
    fn axis(&self, name: &str, axis: usize) -> Result<usize> {
        let shape = self.of(name)?;
        match shape.get(axis) {
            Some(&extent) if extent > 0 => Ok(extent),
            _ => Err(Error::WrongShape {
                file: self.0.name().into(),
                tensor: self.0.label(name),
                expected: format!("at least {} axes, none of them empty", axis + 1),
                got: shape.to_vec(),
            }),
        }
    }

    /// How many blocks `prefix` has: one more than the largest number behind it.
    fn count(&self, prefix: &str) -> usize {
        let numbers = self.0.names().filter_map(|name| {
            let (number, _) = name.strip_prefix(prefix)?.split_once('.')?;
            number.parse::<usize>().ok()
        });
        numbers.max().map_or(0, |n| n.saturating_add(1))
    }

    fn unknown(&self, reason: String) -> Error {
        Error::NoConfig {
            file: self.0.name().into(),
            reason,
        }
    }
}

fn transformer(shapes: &Shapes) -> Result<Derived> {
    let patch_embedding = shapes.of("patch_embedding.weight")?;
    let width = shapes.axis("patch_embedding.weight", 0)?;
    let (in_channels, patch) = match *patch_embedding {
        [_, channels, frames, height, width] => (channels, [frames, height, width]),
        // Flattened by a program that knows no five dimensions.
        _ => (patch_embedding.iter().skip(1).product::<usize>() / 4, [1, 2, 2]),
    };
    let patch_volume: usize = patch.iter().product();
    if !width.is_multiple_of(HEAD_DIM) || patch_volume == 0 {
        return Err(shapes.unknown(format!(
            "the number of attention heads is not in the file, and its width of {width} is not that of a published model \
             (a multiple of {HEAD_DIM})"
        )));
    }
    let out_channels = shapes.axis("proj_out.weight", 0)? / patch_volume;
    let embedder = |name: &str| format!("condition_embedder.{name}");
    let layers = shapes.count("blocks.");
    let mut config = json!({
        "_class_name": "WanTransformer3DModel",
        "patch_size": patch,
        "num_attention_heads": width / HEAD_DIM,
        "attention_head_dim": HEAD_DIM,
        "in_channels": in_channels,
        "out_channels": out_channels,
        "text_dim": shapes.axis(&embedder("text_embedder.linear_1.weight"), 1)?,
        "freq_dim": shapes.axis(&embedder("time_embedder.linear_1.weight"), 1)?,
        "ffn_dim": shapes.axis("blocks.0.ffn.net.0.proj.weight", 0)?,
        "num_layers": layers,
        "cross_attn_norm": shapes.has("blocks.0.norm2.weight"),
        "qk_norm": "rms_norm_across_heads",
        "eps": 1e-6,
        "image_dim": null,
        "added_kv_proj_dim": null,
        "rope_max_seq_len": 1024,
        "pos_embed_seq_len": null,
    });
    let mut notes = vec![format!(
        "{} attention heads of {HEAD_DIM} taken from the width of {width}",
        width / HEAD_DIM
    )];
    let mut kind = match (in_channels, out_channels) {
        (c, out) if c == out && out == 48 => "text or image to video (2.2, 5B)",
        (c, out) if c == out => "text to video",
        _ => "image to video without CLIP (2.2)",
    };
    if shapes.has(&embedder("image_embedder.norm1.weight")) {
        kind = "image to video with CLIP (2.1)";
        config["image_dim"] = shapes.axis(&embedder("image_embedder.norm1.weight"), 0)?.into();
        config["added_kv_proj_dim"] = shapes.axis("blocks.0.attn2.add_k_proj.weight", 1)?.into();
        if shapes.has(&embedder("image_embedder.pos_embed")) {
            kind = "first and last frame to video (2.1)";
            config["pos_embed_seq_len"] = shapes.axis(&embedder("image_embedder.pos_embed"), 1)?.into();
        }
    }
    let controls = shapes.count("vace_blocks.");
    if controls > 0 {
        kind = "VACE";
        // Which blocks they belong to is not in the file; published ones are spread evenly, from block 0.
        let every = layers.div_ceil(controls);
        if every * controls != layers {
            return Err(shapes.unknown(format!(
                "which of the {layers} blocks the {controls} blocks of `vace_blocks` belong to is not in the file"
            )));
        }
        config["_class_name"] = "WanVACETransformer3DModel".into();
        config["vace_layers"] = (0..controls).map(|i| i * every).collect::<Vec<_>>().into();
        config["vace_in_channels"] = shapes.axis("vace_patch_embedding.weight", 1)?.into();
        notes.push(format!("VACE blocks at every {every}th block, from their number"));
    }
    notes.insert(0, format!("{kind}, {layers} blocks of {width}"));
    Ok((config, notes))
}

fn vae(shapes: &Shapes) -> Result<Derived> {
    let base = shapes.axis("encoder.conv_in.weight", 0)?;
    let in_channels = shapes.axis("encoder.conv_in.weight", 1)?;
    let channels = shapes.axis("post_quant_conv.weight", 0)?;
    let decoder_width = shapes.axis("decoder.conv_in.weight", 0)?;
    let is_residual = shapes.has("encoder.down_blocks.0.resnets.0.norm1.gamma");
    let Some([mean, std]) = statistics(channels) else {
        return Err(shapes.unknown(format!(
            "the mean and deviation of its {channels} latent channels are not in the file; those of 16 (Wan 2.1) and 48 (Wan 2.2) are known"
        )));
    };
    let (patch, factor) = if is_residual { (Some(2), 16) } else { (None, 8) };
    let mut config = json!({
        "_class_name": "AutoencoderKLWan",
        "base_dim": base,
        "z_dim": channels,
        "dim_mult": [1, 2, 4, 4],
        "num_res_blocks": 2,
        "attn_scales": [],
        "temperal_downsample": [false, true, true],
        "dropout": 0.0,
        "latents_mean": mean,
        "latents_std": std,
        "is_residual": is_residual,
        "in_channels": in_channels,
        "out_channels": shapes.axis("decoder.conv_out.weight", 0)?,
        "patch_size": patch,
        "scale_factor_temporal": 4,
        "scale_factor_spatial": factor,
    });
    // The widest stage comes first in the decoder.
    if decoder_width != 4 * base {
        config["decoder_base_dim"] = (decoder_width / 4).into();
    }
    let version = if is_residual { "2.2" } else { "2.1" };
    Ok((config, vec![format!("Wan {version}, {channels} latent channels")]))
}

fn umt5(shapes: &Shapes) -> Result<Derived> {
    let table = ["shared.weight", "encoder.embed_tokens.weight"];
    let table = table
        .into_iter()
        .find(|name| shapes.has(name))
        .unwrap_or("shared.weight");
    let attention = "encoder.block.0.layer.0.SelfAttention";
    let (buckets, heads) = (
        shapes.axis(&format!("{attention}.relative_attention_bias.weight"), 0)?,
        shapes.axis(&format!("{attention}.relative_attention_bias.weight"), 1)?,
    );
    let layers = shapes.count("encoder.block.");
    // In T5 only the first block has one.
    if layers > 1 && !shapes.has("encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight") {
        return Err(Error::NotRecognised {
            file: shapes.0.name().into(),
            wanted: Component::Umt5.name(),
            found: "a T5 text encoder that is not umT5".into(),
            names: Vec::new(),
        });
    }
    let (vocabulary, width) = (shapes.axis(table, 0)?, shapes.axis(table, 1)?);
    let config = json!({
        "model_type": "umt5",
        "vocab_size": vocabulary,
        "d_model": width,
        "d_kv": shapes.axis(&format!("{attention}.q.weight"), 0)? / heads,
        "d_ff": shapes.axis("encoder.block.0.layer.1.DenseReluDense.wi_0.weight", 0)?,
        "num_layers": layers,
        "num_heads": heads,
        "relative_attention_num_buckets": buckets,
        "relative_attention_max_distance": 128,
        "layer_norm_epsilon": 1e-6,
        "feed_forward_proj": "gated-gelu",
        "pad_token_id": 0,
        "eos_token_id": 1,
    });
    Ok((config, vec![format!("{layers} blocks of {width}, {vocabulary} tokens")]))
}

fn clip(shapes: &Shapes) -> Result<Derived> {
    let embeddings = "vision_model.embeddings";
    let width = shapes.axis(&format!("{embeddings}.class_embedding"), 0)?;
    let patch = shapes.axis(&format!("{embeddings}.patch_embedding.weight"), 3)?;
    let positions = shapes.axis(&format!("{embeddings}.position_embedding.weight"), 0)?;
    // Heads and activation are not in the file.
    let (heads, activation) = match width {
        1280 => (16, "gelu"),
        1024 => (16, "quick_gelu"),
        768 => (12, "quick_gelu"),
        _ => {
            return Err(shapes.unknown(format!(
                "the number of attention heads for a width of {width} is not known"
            )));
        }
    };
    let layers = shapes.count("vision_model.encoder.layers.");
    let config = json!({
        "model_type": "clip_vision_model",
        "hidden_size": width,
        "intermediate_size": shapes.axis("vision_model.encoder.layers.0.mlp.fc1.weight", 0)?,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_channels": 3,
        "image_size": (positions - 1).isqrt() * patch,
        "patch_size": patch,
        "hidden_act": activation,
        "layer_norm_eps": 1e-5,
        "projection_dim": 1024,
    });
    Ok((config, vec![format!("{layers} layers of {width}")]))
}

/// **Source**: madebyollin/taehv (MIT), `taehv.py`: where in its two sequences which layer stands.
fn taehv(shapes: &Shapes) -> Result<Derived> {
    let channels = shapes.axis("decoder.1.weight", 1)?;
    let pixels = shapes.axis("encoder.0.weight", 1)?;
    let patch = (pixels / 3).isqrt();
    if pixels != 3 * patch * patch || ![16, 48].contains(&channels) {
        return Err(shapes.unknown(format!(
            "{channels} latent channels and {pixels} colours of a patch; those of Wan are 16 or 48, and 3 or 12"
        )));
    }
    let stages = [0, 1, 2];
    // A layer that halves the frame rate reads two frames at once, one that doubles it writes two.
    let mut halves = [false; 3];
    let mut doubles = [false; 3];
    let mut widths = [shapes.axis("decoder.1.weight", 0)?, 0, 0, 0];
    for stage in stages {
        let pool = format!("encoder.{}.conv.weight", 2 + 5 * stage);
        halves[stage] = shapes.axis(&pool, 1)? == 2 * shapes.axis(&pool, 0)?;
        let grow = format!("decoder.{}.conv.weight", 7 + 6 * stage);
        doubles[stage] = shapes.axis(&grow, 0)? == 2 * shapes.axis(&grow, 1)?;
        widths[stage + 1] = shapes.axis(&format!("decoder.{}.weight", 8 + 6 * stage), 0)?;
    }
    let config = json!({
        "_class_name": "TAEHV",
        "latent_channels": channels,
        "patch_size": patch,
        "image_channels": 3,
        "encoder_width": shapes.axis("encoder.0.weight", 0)?,
        "encoder_time_downscale": halves,
        "decoder_time_upscale": doubles,
        "decoder_space_upscale": [true, true, true],
        "decoder_widths": widths,
        "scale_factor_spatial": 8 * patch,
        "scale_factor_temporal": 4,
        // It reads and writes the latents of the transformer as they are.
        "latents_mean": vec![0.0; channels],
        "latents_std": vec![1.0; channels],
    });
    Ok((config, vec![format!("{channels} latent channels")]))
}
