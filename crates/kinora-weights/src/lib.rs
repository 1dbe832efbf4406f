//! Checkpoint files, model folders, and the models that are installed.
//!
//! A [`Checkpoint`] is a safetensors or GGUF file (or several with an index), mapped into memory and checked before anything is
//! read from it. A model takes its tensors through a [`Reader`]: each with the shape that its configuration promises,
//! converted to `f32` or packed for a kernel; at the end [`Reader::finish`] refuses weights of which something was left
//! over. [`recognise`] tells whose names a file uses and what its configuration is, and
//! [`Checkpoint::in_diffusers_names`] gives it under the names that the models ask for. A [`ModelFolder`] is the diffusers
//! layout (`model_index.json`, one folder for each part) with Kinora's manifest of licences and hashes, of which one, Toybox,
//! is inside the program; or a `model.json` that names parts; or the file of a transformer with its parts around it.
//! [`registry`] lists what is installed.
//!
//! ```
//! use kinora_weights::ModelFolder;
//! let folder = ModelFolder::embedded_toybox()?;
//! let text_encoder = folder.checkpoint("text_encoder")?;
//! let reader = text_encoder.reader();
//! let words = reader.at("embeddings").table("word_embeddings.weight", 30522, 384)?;
//! assert_eq!(words.gather(&[101, 102])?.dims(), &[2, 384]);
//! assert!(reader.finish(&["embeddings.*", "encoder.*"]).is_ok());
//! # Ok::<(), kinora_weights::Error>(())
//! ```

mod checkpoint;
mod convert_model;
mod embedded;
mod encoding;
mod error;
mod folder;
#[doc(hidden)]
pub mod fuzzing;
pub mod gguf;
mod header;
mod lora;
mod manifest;
mod pickle;
mod pull;
mod quantize;
mod reader;
mod recognise;
pub mod registry;
mod shards;
mod similar;
mod stored;
mod verify;
mod write;

pub use checkpoint::{Checkpoint, RawTensor};
pub use convert_model::{ConvertOptions, Converted, FloatType, WriteProgress, convert, open_any};
pub use encoding::Encoding;
pub use error::{Error, Result};
pub use folder::{ModelFolder, TokenizerSource};
pub use lora::{Lora, LoraError, LoraUse};
pub use manifest::{Manifest, ManifestFile, Part, TrainingAsset};
pub use pickle::PickleError;
pub use pull::{
    CatalogueEntry, PlannedFile, PullError, PullOptions, PullPlan, PullProgress, Pulled, catalogue, free_bytes,
    plan_pull, pull, system_tls,
};
pub use quantize::{ClassError, QuantKind, Quantized, quantize};
pub use reader::{Reader, Table};
pub use recognise::{Component, Dialect, Recognised, recognise, recognise_as};
pub use registry::{Location, ModelEntry};
pub use verify::Verified;
pub use write::{NewTensor, write_safetensors};
