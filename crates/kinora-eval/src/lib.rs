//! Scores a text-to-video model with the judge over a prompt set, from words, from a picture, or going on from a clip
//! ([`Task`]): `kinora eval`.
//!
//! [`PromptSet`] is what is asked for, with labels; the pipeline makes a clip of each prompt, [`look`] lets the judge say
//! what it shows, [`Verdict`] compares the two, and [`Score`] counts. An [`Evaluation`] does all of it and leaves a line
//! for each clip in `results.jsonl`, so that it goes on where it was interrupted. `docs/eval.md` defines every number.
//!
//! What is compared and counted ([`Verdict::of`], [`Score::of`], [`Share`]) are functions of plain values: they know no
//! model and no file.

mod answers;
mod error;
mod evaluation;
mod find;
mod measure;
mod prompts;
mod results;
mod score;
mod share;
mod sheet;
mod task;
mod verdict;

pub use answers::{Answers, look};
pub use error::{Error, Result};
pub use evaluation::{Choice, Evaluation, News, Outcome};
pub use find::{DEFAULT_FOLDER, find_judge};
pub use measure::{consistency, flicker, judge_input, seam};
pub use prompts::{Kind, Labels, Prompt, PromptSet};
pub use results::{ClipResult, Settings, Source};
pub use score::{Measured, Score, Tally};
pub use share::{Average, Share};
pub use task::Task;
pub use verdict::{Kept, Metric, Verdict};
