//! What fuzzing calls: bytes as a file of each kind, opened and read to the end. Shared by the targets of cargo-fuzz and by
//! `crates/kinora-weights/tests/fuzz.rs`.
//!
//! Each returns what became of the bytes, in words: an input that gives new words is worth keeping.
#![allow(dead_code)] // a target calls one of them

use kinora_weights::{Checkpoint, Error, Lora, recognise};

/// Elements of a tensor that is read: files of the corpus are small, and a tensor of blocks unpacks to 12 times its bytes.
const MOST_ELEMENTS: usize = 1 << 20;

/// The bytes as a safetensors file.
pub fn safetensors(bytes: &[u8]) -> String {
    opened(Checkpoint::from_bytes("fuzz", bytes.to_vec())) + &header(bytes)
}

/// The bytes as a GGUF file.
pub fn gguf(bytes: &[u8]) -> String {
    opened(Checkpoint::from_bytes("fuzz", bytes.to_vec())) + &header(bytes)
}

/// The bytes as a PyTorch file.
pub fn pickle(bytes: &[u8]) -> String {
    opened(Checkpoint::from_pickle_bytes("fuzz", bytes.to_vec()))
}

/// The bytes as a LoRA of a small model.
pub fn lora(bytes: &[u8]) -> String {
    let lora = Checkpoint::from_bytes("fuzz", bytes.to_vec()).and_then(Lora::from_checkpoint);
    let changed = lora.and_then(|lora| model()?.with_loras(&[(lora.clone(), 0.5), (lora, -1.0)]));
    opened(changed)
}

fn header(bytes: &[u8]) -> String {
    match Checkpoint::from_header_bytes("fuzz", bytes.to_vec()) {
        Ok(checkpoint) => format!("header with {} tensors", checkpoint.names().count()),
        Err(error) => error.to_string(),
    }
}

/// Everything that can be done with a checkpoint.
fn opened(checkpoint: Result<Checkpoint, Error>) -> String {
    let checkpoint = match checkpoint {
        Ok(checkpoint) => checkpoint,
        Err(error) => return error.to_string(),
    };
    let reader = checkpoint.reader();
    let mut words = String::new();
    for name in checkpoint.names().take(64) {
        let Ok(shape) = reader.shape(name) else { continue };
        let elements = shape.iter().try_fold(1_usize, |all, &n| all.checked_mul(n));
        if elements.is_none_or(|elements| elements > MOST_ELEMENTS) {
            continue;
        }
        words += &match reader.tensor(name, &shape) {
            Ok(tensor) => format!("rank {}, ", tensor.dims().len()),
            Err(error) => error.to_string(),
        };
        if let ([out, rest @ ..], Some(layer)) = (shape.as_slice(), name.strip_suffix(".weight")) {
            let inner: usize = rest.iter().product();
            words += &match reader.linear(layer, *out, inner) {
                Ok(layer) => format!("{}, ", layer.precision().name()),
                Err(error) => error.to_string(),
            };
        }
    }
    words += &match recognise(&checkpoint) {
        Ok(found) => {
            let renamed = checkpoint.in_diffusers_names(&found);
            format!("{:?} {}", found.component, renamed.is_ok())
        }
        Err(error) => error.to_string(),
    };
    words + if reader.finish(&["a*"]).is_ok() { "all used" } else { "" }
}

/// One block and what is around it.
fn model() -> Result<Checkpoint, Error> {
    const HEADER: &str = concat!(
        r#"{"blocks.0.attn1.to_q.weight":{"dtype":"F32","shape":[2,4],"data_offsets":[0,32]},"#,
        r#""blocks.0.attn1.to_q.bias":{"dtype":"F32","shape":[2],"data_offsets":[32,40]},"#,
        r#""blocks.0.norm2.weight":{"dtype":"F16","shape":[4],"data_offsets":[40,48]},"#,
        r#""proj_out.weight":{"dtype":"BF16","shape":[2,4],"data_offsets":[48,64]}}"#,
    );
    let mut bytes = (HEADER.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(HEADER.as_bytes());
    bytes.extend_from_slice(&[0; 64]);
    Checkpoint::from_bytes("model", bytes)
}
