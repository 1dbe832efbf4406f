//! The networks that Kinora runs, one folder a family. A model file reads like the `forward` of its reference.
//!
//! - [`wan`]: the video diffusion transformer (Wan 2.1, Wan 2.2, Toybox).
//! - [`wan_vae`]: the autoencoders of Wan 2.1 and Wan 2.2, streamed in both directions, in tiles where memory asks for it.
//! - [`taehv`]: the tiny causal video autoencoder, streamed frame by frame in both directions.
//! - [`minilm`]: the sentence encoder and its tokenizer.
//! - [`umt5`]: the text encoder of Wan, streamed from its file, its tokenizer, and the cleaning of prompts.
//! - [`clip_vision`]: the picture encoder of Wan 2.1 image to video.
//! - [`judge`]: says what a clip of Toybox's world shows.
//!
//! Models never import models; what two of them share bit for bit lives in the folder `nn`. Activations are `f32`
//! whatever the weights are stored as. Each `load` reads every tensor that it needs by its checkpoint name through a
//! [`kinora_weights::Reader`], which afterwards reports the ones that nobody read.
//!
//! ```no_run
//! use kinora_kernels::Precision;
//! use kinora_models::taehv::Taehv;
//! use kinora_weights::Checkpoint;
//! let checkpoint = Checkpoint::open("vae/diffusion_pytorch_model.safetensors".as_ref())?;
//! let config = include_str!("../../../models/toybox/vae/config.json");
//! let vae = Taehv::load(&checkpoint, config, Precision::F32)?;
//! assert_eq!(vae.config().spatial_factor(), 16);
//! # Ok::<(), kinora_models::Error>(())
//! ```

pub mod clip_vision;
mod error;
pub mod judge;
pub mod minilm;
mod nn;
pub mod taehv;
pub mod umt5;
pub mod wan;
pub mod wan_vae;

pub use error::{Error, Result};
