//! The parts that a model is made of, by the name of their folder in the diffusers layout.

use crate::recognise::Component;

/// What a part is, where it usually lies, and what it is usually called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Role {
    /// Folder in the diffusers layout.
    pub name: &'static str,
    /// In words.
    pub words: &'static str,
    /// What may fill it; empty for what is no checkpoint.
    pub components: &'static [Component],
    /// Folders of ComfyUI and of published repositories, beside that of the transformer.
    pub folders: &'static [&'static str],
    /// Names of files that people have.
    pub usual: &'static str,
}

/// Every part that kinora reads.
pub(crate) const ROLES: [Role; 6] = [
    Role {
        name: "transformer",
        words: "a transformer",
        components: &[Component::WanTransformer],
        folders: &["diffusion_models", "unet", "transformer", "high_noise_model"],
        usual: "`wan2.1_t2v_1.3B_bf16.safetensors` or any other transformer of the Wan family, also as GGUF",
    },
    Role {
        name: "transformer_2",
        words: "the other of its two experts (one for high noise, one for low)",
        components: &[Component::WanTransformer],
        folders: &["diffusion_models", "unet", "transformer_2", "low_noise_model"],
        usual: "called like the first with `low` in place of `high`, or the reverse",
    },
    Role {
        name: "text_encoder",
        words: "a text encoder (umT5)",
        components: &[Component::Umt5],
        folders: &["text_encoders", "clip", "text_encoder"],
        usual: "`umt5_xxl_fp8_e4m3fn_scaled.safetensors`, `umt5-xxl-encoder-Q8_0.gguf` or `models_t5_umt5-xxl-enc-bf16.safetensors`",
    },
    Role {
        name: "vae",
        words: "an autoencoder",
        components: &[Component::WanVae, Component::Taehv],
        folders: &["vae"],
        usual: "`wan_2.1_vae.safetensors` (for Wan 2.1 and for the 14B models of 2.2) or `wan2.2_vae.safetensors` (for the 5B model)",
    },
    Role {
        name: "image_encoder",
        words: "an image encoder (CLIP)",
        components: &[Component::ClipVision],
        folders: &["clip_vision", "image_encoder"],
        usual: "`clip_vision_h.safetensors`",
    },
    Role {
        name: "tokenizer",
        words: "the vocabulary of the text encoder",
        components: &[],
        folders: &["tokenizer", "google/umt5-xxl", "text_encoders", "clip", "text_encoder"],
        usual: "`tokenizer.json` or `spiece.model`, unless the text encoder's file holds it, as those of ComfyUI and GGUF files do",
    },
];

/// The part of that name.
pub(crate) fn role(name: &str) -> Option<&'static Role> {
    ROLES.iter().find(|role| role.name == name)
}
