//! A model of the Wan family that is small enough to run in a test: the weights of a golden, as folders and as single files.

use std::path::{Path, PathBuf};

use kinora_testkit::{Golden, Json};
use serde_json::json;

/// The golden whose weights these are.
fn golden() -> Golden {
    let models = concat!(env!("CARGO_MANIFEST_DIR"), "/../kinora-models");
    Golden::open(models, "wan_pipeline_t2v_tiny")
}

/// The bytes of one part.
pub fn weights(part: &str) -> Vec<u8> {
    golden().checkpoint_bytes(&format!("{part}."))
}

fn config(part: &str) -> String {
    let configs: Json = serde_json::from_str(golden().meta("configs")).unwrap();
    configs[part].to_string()
}

/// Writes `bytes` below `folder`, with the folders on the way.
pub fn write(folder: &Path, file: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    path
}

/// The model as diffusers saves it, in `folder/name`.
pub fn diffusers(folder: &Path, name: &str) {
    let home = folder.join(name);
    let index = json!({
        "_class_name": "WanPipeline",
        "transformer": ["diffusers", "WanTransformer3DModel"],
        "vae": ["diffusers", "AutoencoderKLWan"],
        "text_encoder": ["transformers", "UMT5EncoderModel"],
        "tokenizer": ["transformers", "T5TokenizerFast"],
        "scheduler": ["diffusers", "UniPCMultistepScheduler"],
    });
    write(&home, "model_index.json", index.to_string());
    write(&home, "scheduler/scheduler_config.json", r#"{"flow_shift": 3.0}"#);
    write(&home, "tokenizer/tokenizer.json", tokenizer());
    for part in ["transformer", "vae", "text_encoder"] {
        write(&home, &format!("{part}/config.json"), config(part));
        // The libraries that save them have names of their own.
        let file = match part {
            "text_encoder" => "model.safetensors",
            _ => "diffusion_pytorch_model.safetensors",
        };
        write(&home, &format!("{part}/{file}"), weights(part));
    }
}

/// The model in single files, where ComfyUI keeps them; gives back the transformer.
pub fn comfy(folder: &Path) -> PathBuf {
    // Shapes do not say everything about networks as small as these.
    for (place, part) in [("vae", "vae"), ("text_encoders", "text_encoder")] {
        write(folder, &format!("{place}/config.json"), config(part));
        write(folder, &format!("{place}/tiny_{part}.safetensors"), weights(part));
    }
    write(folder, "text_encoders/tokenizer.json", tokenizer());
    write(folder, "diffusion_models/config.json", config("transformer"));
    write(folder, "diffusion_models/tiny_t2v.safetensors", weights("transformer"))
}

/// A tokenizer of single letters.
fn tokenizer() -> String {
    let special = ["<pad>", "</s>", "<unk>"];
    let added = special.iter().enumerate().map(|(id, content)| {
        json!({
            "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            "special": true,
        })
    });
    let letters = ('a'..='z').map(|letter| (letter.to_string(), -3.0));
    let pieces = special.iter().map(|piece| (piece.to_string(), 0.0));
    let pieces: Vec<_> = pieces.chain([("\u{2581}".to_owned(), -2.0)]).chain(letters).collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": null,
        "pre_tokenizer": { "type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true },
        "post_processor": null, "decoder": null,
        "model": { "type": "Unigram", "unk_id": 2, "vocab": pieces, "byte_fallback": false },
    })
    .to_string()
}
