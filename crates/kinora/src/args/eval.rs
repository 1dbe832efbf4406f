//! Flags of `kinora eval`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use kinora_eval::{Kind, Task};
use kinora_pipeline::PrecisionChoice;
use kinora_sampling::Sampler;

use super::DEFAULT_MODEL;
use crate::values;

pub(super) const EVAL_EXAMPLES: &str = "\
Examples:
  kinora eval --out eval-toybox
  kinora eval --steps 14 --sampler unipc --out eval-14
  kinora eval --kinds people --limit 20 --keep-clips --out eval-people
  kinora eval --task extend --limit 60 --out eval-extend
  kinora eval --model ~/models/wan-mini --judge ~/models/judge --out eval-wan

It takes as long as making all the clips, 240 for the whole set, twice as many for image and extend.
Ctrl-C stops at the next step; the same command goes on from there.
docs/eval.md says what is counted.";

/// Flags of `kinora eval`.
#[derive(Debug, Args)]
pub struct Eval {
    /// Model to score: a name from `kinora models`, a folder, or the file of a transformer
    ///
    /// Example: --model toybox
    #[arg(long, value_name = "NAME|PATH", default_value = DEFAULT_MODEL)]
    pub model: OsString,

    /// What the model has to do with each prompt: text, image or extend
    ///
    /// text makes a clip of the words; image makes another one from its first frame; extend lets it go on.
    ///
    /// Example: --task extend
    #[arg(long, value_name = "TASK", value_parser = values::task, default_value = "text")]
    pub task: Task,

    /// The prompts, with what each one says
    ///
    /// Example: --prompts bench/prompts-240.json
    #[arg(long, value_name = "FILE", default_value = "bench/prompts-240.json")]
    pub prompts: PathBuf,

    /// Folder of the judge; models/judge here, or judge in the user's model folders, if absent
    ///
    /// Example: --judge models/judge
    #[arg(long, value_name = "FOLDER")]
    pub judge: Option<PathBuf>,

    /// At most so many prompts, spread evenly over the chosen kinds
    ///
    /// Example: --limit 24
    #[arg(long, value_name = "N", value_parser = values::limit, allow_negative_numbers = true)]
    pub limit: Option<u32>,

    /// Kinds of prompts: seen, held_out, people
    ///
    /// Example: --kinds held_out,people
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = values::kind,
          default_value = "seen,held_out,people")]
    pub kinds: Vec<Kind>,

    /// Denoising steps, 1 to 200; the model's own number if absent
    ///
    /// Example: --steps 14
    #[arg(long, value_name = "N", value_parser = values::steps, allow_negative_numbers = true)]
    pub steps: Option<u32>,

    /// How closely to follow the prompt, 0 to 30; 1 turns guidance off
    ///
    /// Example: --guidance 5
    #[arg(long, value_name = "SCALE", value_parser = values::guidance, allow_negative_numbers = true)]
    pub guidance: Option<f32>,

    /// Update rule: euler, heun, unipc, dpmpp-2m or renoise
    ///
    /// Example: --sampler unipc
    #[arg(long, value_name = "NAME", value_parser = values::sampler)]
    pub sampler: Option<Sampler>,

    /// What the model computes with: auto, f32, bf16 or int8
    ///
    /// Example: --precision f32
    #[arg(long, value_name = "NAME", value_parser = values::precision, default_value = "auto")]
    pub precision: PrecisionChoice,

    /// The clip of prompt i is made with this seed plus i, what is made of that clip with 1000000 more
    ///
    /// Example: --seed 1000
    #[arg(long, value_name = "N", value_parser = values::seed, allow_negative_numbers = true, default_value = "0")]
    pub seed: u64,

    /// Threads that compute; as many as the machine has cores if absent
    ///
    /// Example: --threads 2
    #[arg(long, value_name = "N", value_parser = values::threads, allow_negative_numbers = true)]
    pub threads: Option<u32>,

    /// Folder for results.jsonl, score.json, score.md and sheet.png
    ///
    /// What was made there with the same settings is not made again.
    ///
    /// Example: --out eval-toybox
    #[arg(long, value_name = "FOLDER", default_value = "eval")]
    pub out: PathBuf,

    /// Keep the clips, in the folder clips of --out
    ///
    /// Example: --keep-clips
    #[arg(long)]
    pub keep_clips: bool,

    /// Say nothing but errors and the score
    ///
    /// Example: --quiet
    #[arg(short, long)]
    pub quiet: bool,
}
