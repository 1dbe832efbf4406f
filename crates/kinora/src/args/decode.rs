//! Flags of `kinora decode`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use kinora_pipeline::PrecisionChoice;

use super::OutputFiles;
use crate::values;

pub(super) const DECODE_EXAMPLES: &str = "\
Examples:
  kinora decode rocket.latents.safetensors
  kinora decode rocket.latents.safetensors -o rocket.webm --sheet
  kinora decode rocket.latents.safetensors --model wan2.1-t2v-1.3b --max-memory 6GB

`kinora generate` leaves such a file beside a clip with --keep-latents, and whenever it has made
the latents but cannot finish the clip.";

/// Flags of `kinora decode`.
#[derive(Debug, Args)]
pub struct Decode {
    /// Latents that `kinora generate` left
    ///
    /// Example: rocket.latents.safetensors
    pub latents: PathBuf,

    /// Where to write; beside the latents, under their name, if absent
    ///
    /// The ending names the format.
    ///
    /// Example: -o rocket.mp4
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub output: Option<PathBuf>,

    /// What is written, and what beside it.
    #[command(flatten)]
    pub files: OutputFiles,

    /// Model whose autoencoder is used; the one that made the latents if absent
    ///
    /// A name from `kinora models`, a folder, or the file of a transformer with its parts around it.
    ///
    /// Example: --model wan2.1_t2v_1.3B_bf16
    #[arg(long, value_name = "NAME|PATH", help_heading = "Model")]
    pub model: Option<OsString>,

    /// What the autoencoder computes with: auto, f32, bf16 or int8
    ///
    /// Example: --precision f32
    #[arg(long, value_name = "NAME", value_parser = values::precision, default_value = "auto", help_heading = "Speed")]
    pub precision: PrecisionChoice,

    /// Most memory to use; what is free if absent
    ///
    /// In MB, GB, MiB or GiB. Where whole frames do not fit, they are made in tiles.
    ///
    /// Example: --max-memory 2GB
    #[arg(long, value_name = "SIZE", value_parser = values::memory, allow_hyphen_values = true, help_heading = "Speed")]
    pub max_memory: Option<u64>,

    /// Decode with this tiny autoencoder (taew2_1, taew2_2) instead of the model's own
    ///
    /// Example: --decoder taew2_1.safetensors
    #[arg(long, value_name = "FILE", help_heading = "Speed")]
    pub decoder: Option<PathBuf>,

    /// Threads that compute; as many as the machine has cores if absent
    ///
    /// Example: --threads 2
    #[arg(long, value_name = "N", value_parser = values::threads, allow_negative_numbers = true, help_heading = "Speed")]
    pub threads: Option<u32>,

    /// Print the run report to standard output as JSON
    ///
    /// Example: --json > report.json
    #[arg(long, help_heading = "Talk")]
    pub json: bool,

    /// Say nothing but errors
    ///
    /// Example: --quiet
    #[arg(short, long, help_heading = "Talk")]
    pub quiet: bool,
}
