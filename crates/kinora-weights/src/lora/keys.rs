//! The names of tensors inside LoRA files: what they change, and in which way.
//!
//! A name is a prefix that says where the file comes from, the layer, and an ending. The prefix is dropped here and the
//! ending read; which dialect the layer is spelled in does not matter until a model is there (see `names`).

/// Ways in front of the layer, the longest first where one begins like another. `lora_unet_` (kohya) comes with
/// underscores instead of dots in the layer.
const PREFIXES: [&str; 9] = [
    "base_model.model.diffusion_model.",
    "base_model.model.transformer.",
    "base_model.model.",
    "model.diffusion_model.",
    "diffusion_model.",
    "transformer_2.",
    "transformer.",
    "pipe.dit.",
    "lora_unet_",
];

/// What a tensor is to its layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// `[R,K]`.
    Down,
    /// `[N,R]`.
    Up,
    /// `[N]`, behind up: it has the factor of the pair.
    UpBias,
    /// A number; the pair has the factor alpha / R.
    Alpha,
    /// A whole difference of the weight.
    Diff,
    /// A whole difference of the bias.
    DiffBias,
    /// A whole difference of the modulation table of a block.
    DiffModulation,
}

/// Endings and what they mean; peft puts the name of the adapter (`default`) in the middle.
const ENDINGS: [(&str, Role); 18] = [
    (".lora_A.weight", Role::Down),
    (".lora_A.default.weight", Role::Down),
    (".lora_down.weight", Role::Down),
    (".lora.down.weight", Role::Down),
    (".lora_A", Role::Down),
    (".lora_B.weight", Role::Up),
    (".lora_B.default.weight", Role::Up),
    (".lora_up.weight", Role::Up),
    (".lora.up.weight", Role::Up),
    (".lora_B", Role::Up),
    (".lora_B.bias", Role::UpBias),
    (".lora_B.default.bias", Role::UpBias),
    (".lora_up.bias", Role::UpBias),
    (".lora.up.bias", Role::UpBias),
    (".alpha", Role::Alpha),
    (".diff", Role::Diff),
    (".diff_b", Role::DiffBias),
    (".diff_m", Role::DiffModulation),
];

/// Parts of names by which other adapters are known.
const OTHERS: [(&str, &str); 6] = [
    (".lokr_", "LoKr"),
    (".hada_", "LoHa"),
    (".oft_", "OFT"),
    (".dora_scale", "DoRA"),
    (".lora_magnitude_vector", "DoRA"),
    (".lora_mid.", "LoRA with a middle part (LoCon)"),
];

/// A name taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// The layer in the spelling of the file, without the prefix.
    pub layer: String,
    pub role: Role,
    /// True where underscores stand for dots.
    pub flat: bool,
}

/// The parts of a name, if its ending is one of a LoRA.
pub(super) fn parse(name: &str) -> Option<Key> {
    // The longest ending: `.lora_B.bias` is not the bias of a layer `x.lora_B`.
    let (ending, role) = ENDINGS
        .iter()
        .filter(|(ending, _)| name.ends_with(ending))
        .max_by_key(|(ending, _)| ending.len())?;
    let path = name.strip_suffix(ending)?;
    let prefix = PREFIXES.iter().find(|prefix| path.starts_with(**prefix));
    let layer = prefix.map_or(path, |prefix| &path[prefix.len()..]);
    Some(Key {
        layer: layer.to_owned(),
        role: *role,
        flat: prefix == Some(&"lora_unet_"),
    })
}

/// What other kind of adapter a tensor belongs to, if any.
pub(super) fn other_adapter(name: &str) -> Option<&'static str> {
    OTHERS
        .iter()
        .find(|(part, _)| name.contains(part))
        .map(|&(_, kind)| kind)
}

/// All endings, for suggestions.
pub(super) fn endings() -> impl Iterator<Item = &'static str> {
    ENDINGS.iter().map(|&(ending, _)| ending)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_dialect_come_apart() {
        for (name, layer, role, flat) in [
            (
                "lora_unet_blocks_0_self_attn_q.lora_down.weight",
                "blocks_0_self_attn_q",
                Role::Down,
                true,
            ),
            ("lora_unet_blocks_0_ffn_2.alpha", "blocks_0_ffn_2", Role::Alpha, true),
            (
                "transformer.blocks.0.attn1.to_out.0.lora_B.weight",
                "blocks.0.attn1.to_out.0",
                Role::Up,
                false,
            ),
            (
                "diffusion_model.blocks.3.cross_attn.k_img.lora_up.weight",
                "blocks.3.cross_attn.k_img",
                Role::Up,
                false,
            ),
            (
                "diffusion_model.blocks.0.norm3.diff",
                "blocks.0.norm3",
                Role::Diff,
                false,
            ),
            (
                "diffusion_model.patch_embedding.diff_b",
                "patch_embedding",
                Role::DiffBias,
                false,
            ),
            (
                "diffusion_model.blocks.0.diff_m",
                "blocks.0",
                Role::DiffModulation,
                false,
            ),
            (
                "base_model.model.blocks.0.attn1.to_q.lora_A.weight",
                "blocks.0.attn1.to_q",
                Role::Down,
                false,
            ),
            (
                "base_model.model.transformer.proj_out.lora_B.bias",
                "proj_out",
                Role::UpBias,
                false,
            ),
            (
                "blocks.0.self_attn.q.lora_A.default.weight",
                "blocks.0.self_attn.q",
                Role::Down,
                false,
            ),
            (
                "pipe.dit.blocks.0.ffn.0.lora_B.weight",
                "blocks.0.ffn.0",
                Role::Up,
                false,
            ),
        ] {
            let expected = Key {
                layer: layer.into(),
                role,
                flat,
            };
            assert_eq!(parse(name), Some(expected), "{name}");
        }
        assert_eq!(parse("blocks.0.attn1.to_q.weight"), None);
        assert_eq!(other_adapter("lycoris_blocks_0.lokr_w1"), Some("LoKr"));
        assert_eq!(other_adapter("x.lora_magnitude_vector"), Some("DoRA"));
        assert_eq!(other_adapter("x.lora_A.weight"), None);
    }
}
