//! Models by name: where their files are, and under which licence.
//!
//! Nothing here was downloaded when it was written: no size and no hash is stated that nobody has measured. Both come from the
//! server when a pull is planned. A part with weights is named without its ending, because some publish one file
//! and some an index with shards; the plan asks which.

/// A model that can be pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatalogueEntry {
    /// What one types.
    pub name: &'static str,
    /// In a sentence.
    pub about: &'static str,
    /// SPDX.
    pub licence: &'static str,
    /// Where it is, below the source: `owner/name`.
    pub repository: &'static str,
    pub(super) items: &'static [Item],
}

/// One or several files of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item {
    File(&'static str),
    /// Left out where the server has none.
    Optional(&'static str),
    /// `x.safetensors`, or `x.safetensors.index.json` and what it names.
    Weights(&'static str),
}

use Item::{File, Optional, Weights};

const COMMON: [Item; 9] = [
    File("model_index.json"),
    File("scheduler/scheduler_config.json"),
    File("tokenizer/tokenizer.json"),
    Optional("tokenizer/tokenizer_config.json"),
    File("text_encoder/config.json"),
    Weights("text_encoder/model"),
    File("vae/config.json"),
    Weights("vae/diffusion_pytorch_model"),
    File("transformer/config.json"),
];
const TEXT: [Item; 10] = with(COMMON, [Weights("transformer/diffusion_pytorch_model")]);
const TWO_EXPERTS: [Item; 12] = with(
    TEXT,
    [
        File("transformer_2/config.json"),
        Weights("transformer_2/diffusion_pytorch_model"),
    ],
);
const PICTURE: [Item; 13] = with(
    TEXT,
    [
        File("image_encoder/config.json"),
        Weights("image_encoder/model"),
        File("image_processor/preprocessor_config.json"),
    ],
);

/// Everything that can be pulled by name.
pub(super) const CATALOGUE: [CatalogueEntry; 6] = [
    CatalogueEntry {
        name: "wan2.1-t2v-1.3b",
        about: "text to video, 480p, the smallest of the family",
        licence: "Apache-2.0",
        repository: "Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
        items: &TEXT,
    },
    CatalogueEntry {
        name: "wan2.1-t2v-14b",
        about: "text to video, 480p and 720p",
        licence: "Apache-2.0",
        repository: "Wan-AI/Wan2.1-T2V-14B-Diffusers",
        items: &TEXT,
    },
    CatalogueEntry {
        name: "wan2.1-i2v-14b-480p",
        about: "a picture to video, 480p",
        licence: "Apache-2.0",
        repository: "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers",
        items: &PICTURE,
    },
    CatalogueEntry {
        name: "wan2.2-ti2v-5b",
        about: "text or a picture to video, 720p, 24 frames a second",
        licence: "Apache-2.0",
        repository: "Wan-AI/Wan2.2-TI2V-5B-Diffusers",
        items: &TEXT,
    },
    CatalogueEntry {
        name: "wan2.2-t2v-a14b",
        about: "text to video with two experts",
        licence: "Apache-2.0",
        repository: "Wan-AI/Wan2.2-T2V-A14B-Diffusers",
        items: &TWO_EXPERTS,
    },
    CatalogueEntry {
        name: "wan2.2-i2v-a14b",
        about: "a picture to video with two experts",
        licence: "Apache-2.0",
        repository: "Wan-AI/Wan2.2-I2V-A14B-Diffusers",
        items: &TWO_EXPERTS,
    },
];

const fn with<const A: usize, const B: usize, const N: usize>(first: [Item; A], more: [Item; B]) -> [Item; N] {
    let mut all = [File(""); N];
    let mut i = 0;
    while i < N {
        all[i] = if i < A { first[i] } else { more[i - A] };
        i += 1;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_paths_stay_inside() {
        let names: std::collections::BTreeSet<_> = CATALOGUE.iter().map(|entry| entry.name).collect();
        assert_eq!(names.len(), CATALOGUE.len());
        for entry in CATALOGUE {
            for item in entry.items {
                let (File(path) | Optional(path) | Weights(path)) = item;
                assert!(
                    !path.is_empty() && !path.starts_with('/') && !path.contains(".."),
                    "{}",
                    entry.name
                );
            }
            assert!(entry.items.contains(&Weights("transformer/diffusion_pytorch_model")));
        }
    }
}
