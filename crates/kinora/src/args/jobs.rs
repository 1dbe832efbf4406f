//! Flags of `kinora jobs` and of what is below it.

use clap::{Args, Subcommand};

use crate::values;

pub(super) const JOBS_EXAMPLES: &str = "\
Examples:
  kinora jobs list
  kinora jobs watch video_68d7512d07848190b3e45da0ecbebcde
  kinora jobs cancel video_68d7512d07848190b3e45da0ecbebcde --server http://studio:8080";

/// Flags of `kinora jobs`.
#[derive(Debug, Args)]
pub struct Jobs {
    /// What to do with them.
    #[command(subcommand)]
    pub action: JobsAction,

    /// Where the server is
    ///
    /// Example: --server http://127.0.0.1:8080
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "KINORA_SERVER",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8080"
    )]
    pub server: String,

    /// The key, for a server that wants one
    ///
    /// Example: --key kn_5f0c
    #[arg(long, global = true, value_name = "KEY", env = "KINORA_KEY", hide_env_values = true)]
    pub key: Option<String>,

    /// Print the answer as JSON
    ///
    /// Example: --json
    #[arg(long, global = true)]
    pub json: bool,
}

/// What can be done with jobs.
#[derive(Debug, Subcommand)]
pub enum JobsAction {
    /// List the newest jobs of the project
    #[command(after_help = "Examples:\n  kinora jobs list\n  kinora jobs list --limit 100 --json")]
    List(ListJobs),
    /// Show how far a job is until it has ended
    #[command(after_help = "Examples:\n  kinora jobs watch video_68d7512d07848190b3e45da0ecbebcde")]
    Watch(OneJob),
    /// Show a job
    #[command(after_help = "Examples:\n  kinora jobs show video_68d7512d07848190b3e45da0ecbebcde")]
    Show(OneJob),
    /// Stop a job at its next step
    #[command(after_help = "Examples:\n  kinora jobs cancel video_68d7512d07848190b3e45da0ecbebcde")]
    Cancel(OneJob),
    /// Queue a job again that failed or was cancelled
    #[command(after_help = "Examples:\n  kinora jobs retry video_68d7512d07848190b3e45da0ecbebcde")]
    Retry(OneJob),
    /// Delete a job that has ended, and its video
    #[command(after_help = "Examples:\n  kinora jobs delete video_68d7512d07848190b3e45da0ecbebcde")]
    Delete(OneJob),
}

/// Flags of `kinora jobs list`.
#[derive(Debug, Args)]
pub struct ListJobs {
    /// At most so many
    ///
    /// Example: --limit 50
    #[arg(long, value_name = "N", default_value = "20", value_parser = values::jobs)]
    pub limit: u32,
}

/// Flags of what is done with one job.
#[derive(Debug, Args)]
pub struct OneJob {
    /// Its id, which is that of its video
    ///
    /// Example: video_68d7512d07848190b3e45da0ecbebcde
    pub id: String,
}
