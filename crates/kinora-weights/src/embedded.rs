//! Toybox inside the program. The files are those of `models/toybox`, put here by `tools/reference/install_toybox.py`.

/// Tensors are read in place, so the bytes start on a cache line.
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        /// Path inside the model folder and content.
        pub(crate) static TOYBOX: &[(&str, &[u8])] = &[$(($name, {
            static FILE: &Aligned<[u8]> =
                &Aligned(*include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/toybox/", $name)));
            &FILE.0
        })),*];
    };
}

files![
    "MODEL_CARD.md",
    "concepts.json",
    "concepts.safetensors",
    "manifest.json",
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "text_encoder/tokenizer.json",
    "transformer/config.json",
    "transformer/diffusion_pytorch_model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
];
