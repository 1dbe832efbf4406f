//! Flags of `kinora models` and of what is below it.

use std::path::PathBuf;

use clap::{Args, Subcommand};

pub(super) const MODELS_EXAMPLES: &str = "\
Examples:
  kinora models
  kinora models --json
  kinora models add ~/ComfyUI/models/diffusion_models/wan2.1_t2v_1.3B_bf16.safetensors";

const ADD_EXAMPLES: &str = "\
Examples:
  kinora models add ~/ComfyUI/models/diffusion_models/wan2.1_t2v_1.3B_bf16.safetensors
  kinora models add ~/models/Wan2.1-T2V-1.3B-Diffusers

Nothing is copied: a small model.json in the first folder of $KINORA_MODELS, or in kinora/models
of the user's data folder, names the files where they lie.";

/// Flags of `kinora models`.
#[derive(Debug, Args)]
pub struct Models {
    /// What to do with them; list them if absent.
    #[command(subcommand)]
    pub action: Option<ModelsAction>,

    /// Print the answer as JSON
    ///
    /// Example: --json
    #[arg(long, global = true)]
    pub json: bool,
}

/// What can be done with models.
#[derive(Debug, Subcommand)]
pub enum ModelsAction {
    /// List the models that are installed, with size and licence
    #[command(after_help = "Examples:\n  kinora models list\n  kinora models list --json")]
    List,
    /// Make a model on this machine known by its name
    #[command(after_help = ADD_EXAMPLES)]
    Add(AddModel),
}

/// Flags of `kinora models add`.
#[derive(Debug, Args)]
pub struct AddModel {
    /// A folder as diffusers saves it, or the file of a transformer, with the other parts around it
    ///
    /// Example: ~/ComfyUI/models/diffusion_models/wan2.1_t2v_1.3B_bf16.safetensors
    pub path: PathBuf,
}
