//! Flags of `kinora convert` and `kinora quantize`.

use std::path::PathBuf;

use clap::Args;
use kinora_weights::{FloatType, QuantKind};

use crate::values;

pub(super) const CONVERT_EXAMPLES: &str = "\
Examples:
  kinora convert models_t5_umt5-xxl-enc-bf16.pth -o umt5-xxl-bf16.safetensors
  kinora convert wan2.1-t2v-14b-Q4_K_M.gguf -o wan2.1-t2v-14b.safetensors --dtype bf16
  kinora convert self_forcing_dmd.pt -o self-forcing.safetensors --only generator_ema

A PyTorch file is a program for a small machine; only the few instructions that make tensors are
carried out, and a file with others is refused. One tensor at a time is in memory.";

pub(super) const QUANTIZE_EXAMPLES: &str = "\
Examples:
  kinora quantize wan2.1_t2v_14B_bf16.safetensors -o wan2.1_t2v_14B_int8.safetensors
  kinora quantize umt5-xxl-bf16.safetensors -o umt5-xxl-fp8.safetensors --kind fp8

Rounded are the matrices of the blocks; embeddings, norms and biases stay as they are. The table at
the end says what that costs: the squared error in parts of the squared weights, and the cosine
between rounded and exact weights.";

/// Flags of `kinora convert`.
#[derive(Debug, Args)]
pub struct Convert {
    /// A PyTorch file, GGUF, safetensors, or the index of a sharded checkpoint
    ///
    /// Example: models_t5_umt5-xxl-enc-bf16.pth
    pub input: PathBuf,

    /// The safetensors file to write
    ///
    /// Example: -o umt5-xxl-bf16.safetensors
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,

    /// Type of the weights: keep, f32, f16 or bf16
    ///
    /// keep leaves each as it is; block types of GGUF have no place in safetensors and become bf16.
    ///
    /// Example: --dtype bf16
    #[arg(long, value_name = "TYPE", value_parser = values::float_type, default_value = "keep")]
    pub dtype: KeptOr,

    /// Only the tensors below this name, without it
    ///
    /// Example: --only generator_ema
    #[arg(long, value_name = "NAME")]
    pub only: Option<String>,

    /// Replace the file if it is there
    ///
    /// Example: --overwrite
    #[arg(long)]
    pub overwrite: bool,

    /// Print what was written as JSON
    ///
    /// Example: --json
    #[arg(long)]
    pub json: bool,

    /// Say nothing but errors
    ///
    /// Example: --quiet
    #[arg(short, long)]
    pub quiet: bool,
}

/// A type, or what each tensor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptOr(pub Option<FloatType>);

/// Flags of `kinora quantize`.
#[derive(Debug, Args)]
pub struct Quantize {
    /// A safetensors file, GGUF, PyTorch file, or the index of a sharded checkpoint
    ///
    /// Example: wan2.1_t2v_14B_bf16.safetensors
    pub input: PathBuf,

    /// The safetensors file to write
    ///
    /// Example: -o wan2.1_t2v_14B_int8.safetensors
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,

    /// How to round: int8 or fp8
    ///
    /// int8 has a scale for each row and is what Kinora computes with; fp8 (e4m3, one scale for each matrix) is read by
    /// other programs too.
    ///
    /// Example: --kind int8
    #[arg(long, value_name = "KIND", value_parser = values::quant_kind, default_value = "int8")]
    pub kind: QuantKind,

    /// Replace the file if it is there
    ///
    /// Example: --overwrite
    #[arg(long)]
    pub overwrite: bool,

    /// Print what was written, and the errors, as JSON
    ///
    /// Example: --json
    #[arg(long)]
    pub json: bool,

    /// Say nothing but errors and the table
    ///
    /// Example: --quiet
    #[arg(short, long)]
    pub quiet: bool,
}
