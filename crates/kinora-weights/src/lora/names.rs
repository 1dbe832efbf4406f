//! From the spelling of a layer in a LoRA to the tensor of the model.
//!
//! The model's names are known, so nothing is guessed from the LoRA's: each tensor of the model is spelled in every way
//! that files have (diffusers, Wan-Video, both with underscores for dots), and the LoRA's layer is looked up among these.

use std::collections::BTreeMap;

use super::keys::{Key, Role};
use crate::{Checkpoint, similar};

/// The tensors of a model under all their spellings.
pub(super) struct Spellings<'a> {
    tensors: BTreeMap<String, &'a str>,
}

impl<'a> Spellings<'a> {
    pub fn of(model: &'a Checkpoint) -> Self {
        let mut tensors = BTreeMap::new();
        for name in model.names() {
            for spelled in [name.to_owned(), original(name)] {
                let flat = match spelled.rsplit_once('.') {
                    Some((layer, end)) => format!("{}.{end}", layer.replace('.', "_")),
                    None => spelled.clone(),
                };
                tensors.insert(flat, name);
                tensors.insert(spelled, name);
            }
        }
        Self { tensors }
    }

    /// The tensor that `key` changes.
    pub fn find(&self, key: &Key) -> Option<&'a str> {
        let layer = &key.layer;
        let look = |name: &str| self.tensors.get(name).copied();
        match key.role {
            Role::Down | Role::Up | Role::Alpha => look(&format!("{layer}.weight")),
            // The tables of modulation are no weight of a layer.
            Role::Diff => look(&format!("{layer}.weight")).or_else(|| look(layer)),
            Role::UpBias | Role::DiffBias => look(&format!("{layer}.bias")),
            Role::DiffModulation => look(&format!("{layer}.modulation")),
        }
    }

    /// The layer with the closest spelling.
    pub fn nearest(&self, key: &Key) -> Option<String> {
        let layers = self.tensors.keys().filter_map(|name| name.strip_suffix(".weight"));
        similar::closest(&key.layer, layers.filter(|layer| !key.flat || !layer.contains('.')))
    }

    /// Whether the model attends to tokens of a picture.
    pub fn has_image_layers(&self) -> bool {
        self.tensors.keys().any(|name| is_of_image(name))
    }
}

/// Whether a layer, in any spelling, belongs to the attention to the tokens of a picture or to their embedding.
pub(super) fn is_of_image(layer: &str) -> bool {
    let parts = [
        "k_img",
        "v_img",
        "add_k_proj",
        "add_v_proj",
        "norm_added_k",
        "img_emb",
        "image_embedder",
    ];
    parts.iter().any(|part| layer.contains(part))
}

/// Names of diffusers outside of blocks, and what the files of Wan-Video have.
const TOP: [(&str, &str); 12] = [
    ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
    ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
    ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
    ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
    ("condition_embedder.time_proj", "time_projection.1"),
    ("condition_embedder.image_embedder.norm1", "img_emb.proj.0"),
    ("condition_embedder.image_embedder.ff.net.0.proj", "img_emb.proj.1"),
    ("condition_embedder.image_embedder.ff.net.2", "img_emb.proj.3"),
    ("condition_embedder.image_embedder.norm2", "img_emb.proj.4"),
    ("condition_embedder.image_embedder.pos_embed", "img_emb.emb_pos"),
    ("proj_out", "head.head"),
    ("scale_shift_table", "head.modulation"),
];

/// The same inside of blocks, part by part.
const IN_BLOCK: [(&str, &str); 20] = [
    ("attn1.to_q", "self_attn.q"),
    ("attn1.to_k", "self_attn.k"),
    ("attn1.to_v", "self_attn.v"),
    ("attn1.to_out.0", "self_attn.o"),
    ("attn1.norm_q", "self_attn.norm_q"),
    ("attn1.norm_k", "self_attn.norm_k"),
    ("attn2.to_q", "cross_attn.q"),
    ("attn2.to_k", "cross_attn.k"),
    ("attn2.to_v", "cross_attn.v"),
    ("attn2.to_out.0", "cross_attn.o"),
    ("attn2.norm_q", "cross_attn.norm_q"),
    ("attn2.norm_k", "cross_attn.norm_k"),
    ("attn2.add_k_proj", "cross_attn.k_img"),
    ("attn2.add_v_proj", "cross_attn.v_img"),
    ("attn2.norm_added_k", "cross_attn.norm_k_img"),
    ("ffn.net.0.proj", "ffn.0"),
    ("ffn.net.2", "ffn.2"),
    // The two count their norms differently.
    ("norm2", "norm3"),
    ("proj_in", "before_proj"),
    ("proj_out", "after_proj"),
];

/// A name of diffusers' Wan transformer as the files of Wan-Video have it; any other name as it is.
fn original(name: &str) -> String {
    let start = ["blocks.", "vace_blocks."]
        .iter()
        .find(|start| name.starts_with(**start));
    let in_block = start.and_then(|start| Some(start.len() + name[start.len()..].find('.')? + 1));
    let Some(at) = in_block else {
        return renamed(name, &TOP).unwrap_or_else(|| name.into());
    };
    let (block, part) = name.split_at(at);
    if part == "scale_shift_table" {
        return format!("{block}modulation");
    }
    renamed(part, &IN_BLOCK).map_or_else(|| name.into(), |part| format!("{block}{part}"))
}

/// `name` with the entry of `table` replaced that it is or begins with.
fn renamed(name: &str, table: &[(&str, &str)]) -> Option<String> {
    table.iter().find_map(|(new, old)| {
        let rest = name.strip_prefix(new)?;
        (rest.is_empty() || rest.starts_with('.')).then(|| format!("{old}{rest}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_family_has_its_original_spelling() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../kinora-models/tests/fixtures/wan_names.json"
        );
        let names: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let mut compared = 0;
        for kind in ["t2v", "i2v", "flf", "vace"] {
            for (new, old) in names[format!("transformer.{kind}")].as_object().unwrap() {
                assert_eq!(original(new), old.as_str().unwrap(), "{kind}");
                compared += 1;
            }
        }
        assert!(compared > 100, "{compared}");
    }
}
