//! `kinora eval`: a model to a score.

use kinora_eval::{Choice, Evaluation, Outcome, PromptSet, find_judge};
use kinora_pipeline::{CancelToken, OpenOptions, Pipeline};

use super::generate::model_name;
use super::table;
use crate::args::Eval;
use crate::interrupt::{self, Talk};
use crate::progress::Clips;
use crate::trouble::{Stopped, say_plain};
use crate::{stdout, terminal};

/// Makes and judges the clips, and prints the table.
pub fn run(args: &Eval) -> anyhow::Result<()> {
    let model = model_name(&args.model)?;
    // What can be missing is looked for before the model is loaded.
    let set = PromptSet::read(&args.prompts)?;
    let (judge, judge_hash) = find_judge(args.judge.as_deref())?;
    if let Some(threads) = args.threads {
        kinora_kernels::set_threads(threads as usize)?;
    }
    let choice = Choice {
        task: args.task,
        kinds: args.kinds.clone(),
        limit: args.limit.map(|limit| limit as usize),
        steps: args.steps,
        guidance_scale: args.guidance,
        sampler: args.sampler,
        seed: args.seed,
        keep_clips: args.keep_clips,
        ..Choice::default()
    };
    let live = !args.quiet && terminal::is_live();
    let talk = match (args.quiet, live) {
        (true, _) => Talk::Quiet,
        (false, true) => Talk::Live,
        (false, false) => Talk::Plain,
    };
    let cancel = CancelToken::new();
    interrupt::install(&cancel, talk, args.out.join("clips"))?;
    let options = OpenOptions {
        precision: args.precision,
        ..OpenOptions::default()
    };
    let pipeline = Pipeline::open(model, options)?;
    let evaluation = Evaluation {
        pipeline: &pipeline,
        judge: &judge,
        judge_hash: &judge_hash,
        set: &set,
        choice: &choice,
        out: &args.out,
    };
    let mut clips = Clips::new(std::io::stderr(), live, &cancel);
    let quiet = args.quiet;
    let result = evaluation.run(
        &mut |news| {
            if !quiet {
                clips.news(news);
            }
        },
        &cancel,
    );
    clips.finish();
    let out = args.out.display();
    match result? {
        Outcome::Finished(score) => {
            stdout::write(table::columns(&score.rows()).as_bytes())?;
            if !quiet {
                say_plain(&format!("{out}: results.jsonl, score.json, score.md, sheet.png\n"));
            }
            Ok(())
        }
        Outcome::Stopped { done, of } => {
            if !quiet {
                say_plain(&format!(
                    "stopped: {done} of {of} clips are judged and kept in {out}\nhint: the same command goes on from there\n"
                ));
            }
            Err(Stopped.into())
        }
    }
}
