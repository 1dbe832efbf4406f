//! Flags of `kinora pull`.

use std::path::PathBuf;

use clap::Args;

pub(super) const PULL_EXAMPLES: &str = "\
Examples:
  kinora pull --list
  kinora pull wan2.1-t2v-1.3b
  kinora pull wan2.1-t2v-1.3b --yes --dir /data/models
  kinora pull https://models.example.org/style.safetensors --dir loras

A pull that was stopped goes on where it was: run the same command again.
No other command uses the network.";

/// Flags of `kinora pull`.
#[derive(Debug, Args)]
pub struct Pull {
    /// A name from `kinora pull --list`, or the address of a file
    ///
    /// Example: wan2.1-t2v-1.3b
    #[arg(value_name = "NAME|URL", required_unless_present = "list")]
    pub name: Option<String>,

    /// List what can be pulled by name
    ///
    /// Example: --list
    #[arg(long, conflicts_with = "name")]
    pub list: bool,

    /// Folder to pull into; the first of the user's model folders if absent
    ///
    /// A model is put into a folder of its own below it.
    ///
    /// Example: --dir /data/models
    #[arg(long, value_name = "FOLDER")]
    pub dir: Option<PathBuf>,

    /// Where the models are; $KINORA_MODEL_SOURCE, or the public model hub, if absent
    ///
    /// A mirror with the same layout.
    ///
    /// Example: --source https://mirror.example.org
    #[arg(long, value_name = "URL")]
    pub source: Option<String>,

    /// Agree to licence and size without being asked
    ///
    /// Example: --yes
    #[arg(short, long)]
    pub yes: bool,

    /// Show licence, size and files, and stop
    ///
    /// Example: --dry-run
    #[arg(long)]
    pub dry_run: bool,

    /// Print what was pulled, or would be, as JSON
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
