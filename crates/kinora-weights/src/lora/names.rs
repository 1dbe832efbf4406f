//! From the spelling of a layer in a LoRA to the tensor of the model.
//!
//! The model's names are known, so nothing is guessed from the LoRA's: each tensor of the model is spelled in every way
//! that files have (diffusers, Wan-Video, both with underscores for dots), and the LoRA's layer is looked up among these.

use std::collections::BTreeMap;

use super::keys::{Key, Role};
use crate::recognise::{Component, Dialect, Names, VaeBlocks};
use crate::{Checkpoint, similar};

/// The tensors of a model under all their spellings.
pub(super) struct Spellings<'a> {
    tensors: BTreeMap<String, &'a str>,
}

impl<'a> Spellings<'a> {
    pub fn of(model: &'a Checkpoint) -> Self {
        let original = original();
        let mut tensors = BTreeMap::new();
        for name in model.names() {
            let old = original.to_own(name).unwrap_or_else(|| name.to_owned());
            for spelled in [name.to_owned(), old] {
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

/// From diffusers' names of a Wan transformer to those of Wan-Video's files.
fn original() -> Names {
    // Blocks of autoencoders; there are none here.
    let blocks = VaeBlocks {
        is_nested: true,
        last_up: 0,
        last_down: 0,
    };
    Names::new(Component::WanTransformer, Dialect::Original, "", blocks)
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
        let (original, mut compared) = (original(), 0);
        for kind in ["t2v", "i2v", "flf", "vace"] {
            for (new, old) in names[format!("transformer.{kind}")].as_object().unwrap() {
                assert_eq!(original.to_own(new).as_deref(), old.as_str(), "{kind}");
                compared += 1;
            }
        }
        assert!(compared > 100, "{compared}");
    }
}
