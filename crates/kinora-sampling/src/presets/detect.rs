//! Finding the preset of a model from what was recognised in its files, and from what people call them.
//!
//! Shapes say what a network is, but not how it was trained on: a distilled model has the shapes of its base, and so have
//! the two experts of A14B. For these only the name is left.

use super::{PRESETS, Preset};
use crate::Expert;

/// What shapes tell about a transformer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ModelFacts {
    /// Number of blocks.
    pub layers: usize,
    /// Model width M.
    pub width: usize,
    /// Latent channels that go in, with those of a picture.
    pub in_channels: usize,
    /// Whether cross-attention also reads CLIP's tokens of a picture (Wan 2.1, image to video).
    pub has_image_tokens: bool,
    /// Whether there are positions for the tokens of two pictures.
    pub has_two_pictures: bool,
    /// Whether there is a control branch (VACE).
    pub has_control: bool,
    /// How many such transformers the model has: 2 for a pair of experts.
    pub experts: usize,
}

/// How a model was distilled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Variant {
    /// Four steps, by lightx2v.
    LightX2v,
    /// Three steps, by FastVideo.
    FastWan,
    /// Four steps, causal.
    SelfForcing,
    /// Nine steps, causal.
    CausVid,
    /// rCM, one to four steps, by TurboDiffusion.
    TurboWan,
}

/// What the names of files and folders suggest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NameHints {
    /// How the model was distilled.
    pub variant: Option<Variant>,
    /// Which expert of A14B a file is.
    pub expert: Option<Expert>,
    /// Whether the name says 720p (true) or 480p (false).
    pub is_720p: Option<bool>,
    /// Whether the name says Wan 2.2 or A14B.
    pub is_wan_2_2: bool,
}

impl NameHints {
    /// Reads the names of a file, its folder, and of LoRAs, without their paths.
    pub fn of(names: &[&str]) -> Self {
        let mut hints = Self::default();
        for name in names {
            hints.read(name);
        }
        hints
    }

    fn read(&mut self, name: &str) {
        let name = name.to_ascii_lowercase();
        let words: Vec<&str> = name.split(|c: char| !c.is_ascii_alphanumeric()).collect();
        let joined = words.concat();
        let says = |word: &str| joined.contains(word);
        let variant = if says("fastwan") {
            Some(Variant::FastWan)
        } else if says("selfforcing") && !says("lightx2v") {
            Some(Variant::SelfForcing)
        } else if says("causvid") {
            Some(Variant::CausVid)
        } else if says("turbowan") || says("turbodiffusion") || ["turbo", "rcm"].iter().any(|word| words.contains(word))
        {
            Some(Variant::TurboWan)
        } else if says("lightx2v") || says("lightning") || says("distill") || has_four_steps(&joined) {
            Some(Variant::LightX2v)
        } else {
            None
        };
        self.variant = self.variant.or(variant);
        let speaks_of = |word: &str, noise: &str| says(noise) || words.contains(&word);
        let expert = match (speaks_of("high", "highnoise"), speaks_of("low", "lownoise")) {
            (true, false) => Some(Expert::HighNoise),
            (false, true) => Some(Expert::LowNoise),
            _ => None,
        };
        self.expert = self.expert.or(expert);
        let is_720p = says("720p").then_some(true).or(says("480p").then_some(false));
        self.is_720p = self.is_720p.or(is_720p);
        self.is_wan_2_2 |= says("wan22") || says("a14b") || expert.is_some();
    }
}

/// "4step", "4steps", but not the end of "14steps".
fn has_four_steps(joined: &str) -> bool {
    joined.match_indices("4step").any(|(at, _)| {
        let before = joined[..at].chars().next_back();
        !before.is_some_and(|c| c.is_ascii_digit())
    })
}

impl Preset {
    /// The preset of a model: what it is from `facts`, how it was distilled from `hints`. `None` if the shapes are those of
    /// no published Wan.
    ///
    /// A hint that does not go with the shapes is ignored, so a 5B model with "lightx2v" in its name is sampled as TI2V-5B.
    pub fn detect(facts: &ModelFacts, hints: &NameHints) -> Option<&'static Self> {
        let base = base(facts, hints)?;
        let two_experts = base.starts_with("wan2.2") && base.ends_with("a14b");
        let distilled = match (hints.variant, facts.width) {
            (Some(Variant::FastWan), 1536) => Some("fastwan2.1-1.3b"),
            (Some(Variant::FastWan), 3072) => Some("fastwan2.2-5b"),
            (Some(Variant::FastWan), 5120) if !two_experts => Some("fastwan2.1-14b"),
            (Some(Variant::LightX2v), 5120) if two_experts => Some("lightx2v-4step-a14b"),
            (Some(Variant::LightX2v), 1536 | 5120) => Some("lightx2v-4step"),
            (Some(Variant::SelfForcing), 1536) => Some("self-forcing-1.3b"),
            (Some(Variant::CausVid), 1536 | 5120) if !two_experts => Some("causvid"),
            (Some(Variant::TurboWan), 5120) if base == "wan2.2-i2v-a14b" => Some("turbowan-i2v-a14b"),
            (Some(Variant::TurboWan), 1536 | 5120) if !two_experts => Some("turbowan"),
            _ => None,
        };
        let name = distilled.unwrap_or(base);
        PRESETS.iter().find(|preset| preset.name == name)
    }
}

/// The published model with these shapes.
fn base(facts: &ModelFacts, hints: &NameHints) -> Option<&'static str> {
    let two_experts = facts.experts >= 2 || hints.is_wan_2_2;
    Some(match (facts.width, facts.layers, facts.in_channels) {
        (1536, 30, _) if facts.has_control => "wan2.1-vace-1.3b",
        (5120, 40, _) if facts.has_control => "wan2.1-vace-14b",
        (1536, 30, 16) => "wan2.1-t2v-1.3b",
        (3072, 30, 48) => "wan2.2-ti2v-5b",
        (5120, 40, 36) if facts.has_two_pictures => "wan2.1-flf2v",
        (5120, 40, 36) if facts.has_image_tokens && hints.is_720p == Some(true) => "wan2.1-i2v-14b-720p",
        (5120, 40, 36) if facts.has_image_tokens => "wan2.1-i2v-14b-480p",
        // Without the tokens of a picture it can only be Wan 2.2.
        (5120, 40, 36) => "wan2.2-i2v-a14b",
        (5120, 40, 16) if two_experts => "wan2.2-t2v-a14b",
        (5120, 40, 16) => "wan2.1-t2v-14b",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const T2V_14B: ModelFacts = ModelFacts {
        layers: 40,
        width: 5120,
        in_channels: 16,
        has_image_tokens: false,
        has_two_pictures: false,
        has_control: false,
        experts: 1,
    };
    const T2V_1_3B: ModelFacts = ModelFacts {
        layers: 30,
        width: 1536,
        ..T2V_14B
    };
    const TI2V_5B: ModelFacts = ModelFacts {
        layers: 30,
        width: 3072,
        in_channels: 48,
        ..T2V_14B
    };
    const I2V_14B: ModelFacts = ModelFacts {
        in_channels: 36,
        has_image_tokens: true,
        ..T2V_14B
    };
    const I2V_A14B: ModelFacts = ModelFacts {
        has_image_tokens: false,
        ..I2V_14B
    };

    /// Names under which the models are published.
    #[test]
    fn published_files_are_found() {
        let flf = ModelFacts {
            has_two_pictures: true,
            ..I2V_14B
        };
        let vace = |facts: ModelFacts| ModelFacts {
            has_control: true,
            ..facts
        };
        let pair = ModelFacts { experts: 2, ..T2V_14B };
        for (facts, name, preset) in [
            (T2V_1_3B, "wan2.1_t2v_1.3B_bf16.safetensors", "wan2.1-t2v-1.3b"),
            (T2V_14B, "wan2.1-t2v-14b-Q4_K_M.gguf", "wan2.1-t2v-14b"),
            (
                I2V_14B,
                "wan2.1_i2v_480p_14B_fp8_scaled.safetensors",
                "wan2.1-i2v-14b-480p",
            ),
            (I2V_14B, "Wan2.1-I2V-14B-720P", "wan2.1-i2v-14b-720p"),
            (flf, "wan2.1_flf2v_720p_14B_fp16.safetensors", "wan2.1-flf2v"),
            (vace(T2V_1_3B), "wan2.1_vace_1.3B_fp16.safetensors", "wan2.1-vace-1.3b"),
            (vace(T2V_14B), "Wan2.1_VACE_14B-Q8_0.gguf", "wan2.1-vace-14b"),
            (
                T2V_14B,
                "wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors",
                "wan2.2-t2v-a14b",
            ),
            (T2V_14B, "Wan2_2-T2V-A14B-LOW_fp8_e4m3fn.safetensors", "wan2.2-t2v-a14b"),
            (pair, "my-model", "wan2.2-t2v-a14b"),
            (I2V_A14B, "some-name.gguf", "wan2.2-i2v-a14b"),
            (TI2V_5B, "Wan2.2-TI2V-5B-Q8_0.gguf", "wan2.2-ti2v-5b"),
            (T2V_1_3B, "FastWan2.1-T2V-1.3B-Diffusers", "fastwan2.1-1.3b"),
            (T2V_14B, "FastWan2.1-T2V-14B-480P-Diffusers", "fastwan2.1-14b"),
            (TI2V_5B, "FastWan2.2-TI2V-5B-FullAttn-Diffusers", "fastwan2.2-5b"),
            (T2V_14B, "wan2.1_t2v_14b_lightx2v_4step.safetensors", "lightx2v-4step"),
            (
                T2V_14B,
                "lightx2v_T2V_14B_cfg_step_distill_v2_lora_rank64_bf16.safetensors",
                "lightx2v-4step",
            ),
            (
                I2V_A14B,
                "wan2.2_i2v_A14b_high_noise_lightx2v_4step.safetensors",
                "lightx2v-4step-a14b",
            ),
            (
                T2V_14B,
                "Wan2.2-Lightning_T2V-A14B-4steps-lora_HIGH_fp16.safetensors",
                "lightx2v-4step-a14b",
            ),
            (T2V_1_3B, "self_forcing_dmd.safetensors", "self-forcing-1.3b"),
            (T2V_14B, "Wan21_CausVid_14B_T2V_lora_rank32.safetensors", "causvid"),
            (T2V_1_3B, "TurboWan2.1-T2V-1.3B-480P-quant.safetensors", "turbowan"),
            (
                I2V_A14B,
                "TurboWan2.2-I2V-A14B-high-720P.safetensors",
                "turbowan-i2v-a14b",
            ),
            // A hint that does not go with the shapes.
            (TI2V_5B, "5b_lightx2v_4step.safetensors", "wan2.2-ti2v-5b"),
        ] {
            let found = Preset::detect(&facts, &NameHints::of(&[name]));
            assert_eq!(found.map(|preset| preset.name), Some(preset), "{name}");
        }
        let other = ModelFacts { width: 64, ..T2V_14B };
        assert_eq!(Preset::detect(&other, &NameHints::default()), None);
    }

    #[test]
    fn hints_come_from_whole_words() {
        let hints = |name: &str| NameHints::of(&[name]);
        assert_eq!(hints("wan_14steps.safetensors").variant, None);
        assert_eq!(hints("wan_4steps").variant, Some(Variant::LightX2v));
        assert_eq!(hints("highway_slow_flow.safetensors").expert, None);
        assert_eq!(hints("T2V-A14B-HIGH").expert, Some(Expert::HighNoise));
        assert_eq!(hints("wan2.2_low_noise").expert, Some(Expert::LowNoise));
        assert_eq!(hints("Wan22-Style-LowNoise").expert, Some(Expert::LowNoise));
        assert_eq!(hints("both_high_and_low").expert, None);
        assert_eq!(hints("turbocharged.safetensors").variant, None);
        // The LoRA says more than the base.
        let both = NameHints::of(&["wan2.1_t2v_14B_bf16", "lightx2v_cfg_step_distill_lora"]);
        assert_eq!(both.variant, Some(Variant::LightX2v));
        assert!(!both.is_wan_2_2);
    }
}
