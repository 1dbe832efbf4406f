//! The whole way from a prompt set to a score.

use std::path::{Path, PathBuf};
use std::time::Instant;

use kinora_models::judge::Judge;
use kinora_pipeline::{CancelToken, Pipeline, Size};
use kinora_sampling::Sampler;
use serde::Serialize;

use crate::answers::{Answers, look};
use crate::measure::{SHRINK, flicker};
use crate::prompts::{Kind, Prompt, PromptSet};
use crate::results::{ClipResult, Results, Settings, Source, json, write_whole};
use crate::score::{Measured, Score};
use crate::share::rounded;
use crate::sheet::{write_sheet, write_strip};
use crate::task::{MadeOf, Maker, Task};
use crate::verdict::{Kept, Verdict};
use crate::{Error, Result};

/// What to evaluate, and with which settings; what is absent is the model's default.
#[derive(Debug, Clone)]
pub struct Choice {
    /// What the model is asked to do.
    pub task: Task,
    /// Kinds of prompts.
    pub kinds: Vec<Kind>,
    /// At most so many of their prompts, evenly spread.
    pub limit: Option<usize>,
    /// Denoising steps.
    pub steps: Option<u32>,
    /// Guidance scale.
    pub guidance_scale: Option<f32>,
    /// Update rule.
    pub sampler: Option<Sampler>,
    /// The clip of prompt i has this seed plus i.
    pub seed: u64,
    /// Frames of a clip, and of what is added to it.
    pub frames: u32,
    /// Keep the clips as MP4 files.
    pub keep_clips: bool,
}

impl Choice {
    /// Frames of a clip of Toybox.
    const FRAMES: u32 = 33;
}

impl Default for Choice {
    fn default() -> Self {
        Self {
            task: Task::Text,
            kinds: Kind::ALL.to_vec(),
            limit: None,
            steps: None,
            guidance_scale: None,
            sampler: None,
            seed: 0,
            frames: Self::FRAMES,
            keep_clips: false,
        }
    }
}

/// One piece of news from an evaluation.
#[derive(Debug)]
pub enum News<'a> {
    /// It begins: `done` of `of` clips are known already.
    Started {
        /// Known ones.
        done: usize,
        /// All that were chosen.
        of: usize,
    },
    /// The clip that is being made is so far; where another is made of it, that one begins anew.
    Step {
        /// Finished denoising steps.
        done: usize,
        /// All of them.
        of: usize,
    },
    /// A clip is judged, and its line is written.
    Judged(&'a ClipResult),
}

/// How an evaluation ended.
#[derive(Debug)]
pub enum Outcome {
    /// All clips are judged, and the score is written.
    Finished(Score),
    /// The caller stopped it; the same call goes on.
    Stopped {
        /// Clips that are known.
        done: usize,
        /// All that were chosen.
        of: usize,
    },
}

/// What `score.json` holds.
#[derive(Serialize)]
struct Record<'a> {
    settings: &'a Settings,
    /// Mean seconds of making and judging one clip.
    seconds_a_clip: f64,
    #[serde(flatten)]
    score: &'a Score,
}

/// A model, a judge, a prompt set, and a folder for what comes out.
pub struct Evaluation<'a> {
    /// The model.
    pub pipeline: &'a Pipeline,
    /// The judge.
    pub judge: &'a Judge,
    /// A short hash of its files.
    pub judge_hash: &'a str,
    /// The prompts.
    pub set: &'a PromptSet,
    /// Which of them, and how.
    pub choice: &'a Choice,
    /// Where `results.jsonl`, `score.json`, `score.md`, `sheet.png` and the folder `strips` go.
    pub out: &'a Path,
}

impl Evaluation<'_> {
    /// Makes and judges every chosen clip that is not in `results.jsonl` yet, then counts all of them.
    ///
    /// **Errors**: [`Error::UnknownLabel`] and [`Error::Task`] before anything is made; [`Error::OtherSettings`] if the folder holds results of
    /// another evaluation; what the pipeline, the judge or the disk refuse.
    pub fn run(&self, news: &mut dyn FnMut(&News<'_>), cancel: &CancelToken) -> Result<Outcome> {
        self.set.check(&self.judge.config().classes)?;
        let chosen = self.set.select(&self.choice.kinds, self.choice.limit);
        let settings = self.settings()?;
        self.choice.task.check(self.pipeline.description(), &settings)?;
        self.create_folder("strips")?;
        if self.choice.keep_clips {
            self.create_folder("clips")?;
        }
        let mut results = Results::open(&self.out.join("results.jsonl"), &settings)?;
        let mut done = chosen.iter().filter(|prompt| results.get(prompt.id).is_some()).count();
        news(&News::Started { done, of: chosen.len() });
        for prompt in &chosen {
            if results.get(prompt.id).is_some() {
                continue;
            }
            let Some(result) = self.judged(prompt, &settings, news, cancel)? else {
                let of = chosen.len();
                return Ok(Outcome::Stopped { done, of });
            };
            results.push(&result)?;
            done += 1;
            news(&News::Judged(&result));
        }
        self.finish(&chosen, &results, &settings).map(Outcome::Finished)
    }

    /// Everything that decides a result, with the model's defaults filled in.
    fn settings(&self) -> Result<Settings> {
        let (choice, model, judge) = (self.choice, self.pipeline.description(), self.judge.config());
        let side = |px: usize| (SHRINK * px) as u32;
        let sampler = choice.sampler.unwrap_or(model.default_sampler);
        Ok(Settings {
            task: choice.task,
            kinora: env!("CARGO_PKG_VERSION").to_owned(),
            model: self.pipeline.model().clone(),
            judge: self.judge_hash.to_owned(),
            prompts: self.set.hash.clone(),
            size: Size::new(side(judge.width), side(judge.height))?,
            frames: choice.frames,
            steps: choice.steps.unwrap_or(model.default_steps),
            guidance_scale: choice.guidance_scale.unwrap_or(model.default_guidance_scale),
            sampler: sampler.name().to_owned(),
            precision: self.pipeline.precision().name().to_owned(),
            seed: choice.seed,
        })
    }

    fn create_folder(&self, name: &str) -> Result<()> {
        let path = self.out.join(name);
        std::fs::create_dir_all(&path).map_err(|source| Error::Io {
            action: "create",
            path,
            source,
        })
    }

    fn strip_path(&self, id: u64) -> PathBuf {
        self.out.join(format!("strips/{id:03}.png"))
    }

    /// Makes one clip and lets it be judged; `None` if the caller stopped it.
    fn judged(
        &self,
        prompt: &Prompt,
        settings: &Settings,
        news: &mut dyn FnMut(&News<'_>),
        cancel: &CancelToken,
    ) -> Result<Option<ClipResult>> {
        let started = Instant::now();
        let maker = Maker {
            pipeline: self.pipeline,
            choice: self.choice,
            settings,
            out: self.out,
        };
        let Some(made) = maker.make(prompt, news, cancel)? else {
            return Ok(None);
        };
        let frames = &made.frames;
        let (answers, consistency) = look(self.judge, frames)?;
        let verdict = Verdict::of(&prompt.labels, &answers);
        let of = made.source.as_ref();
        let source = of.map(|of| self.source(prompt, of, &answers)).transpose()?;
        let joint = of.and_then(|of| of.frames.get(of.joint));
        write_strip(&self.strip_path(prompt.id), joint, frames, prompt.id, verdict.subject)?;
        Ok(Some(ClipResult {
            id: prompt.id,
            kind: prompt.kind,
            prompt: prompt.prompt.clone(),
            model_prompt: made.model_prompt,
            seed: made.seed,
            answers,
            verdict,
            consistency: rounded(consistency),
            flicker: rounded(flicker(frames)),
            source,
            seconds: rounded(started.elapsed().as_secs_f64()),
        }))
    }

    /// What the judge sees in the clip that another was made of, and what of that the other one, with `answers`, kept.
    fn source(&self, prompt: &Prompt, of: &MadeOf, answers: &Answers) -> Result<Source> {
        let (before, _) = look(self.judge, &of.frames)?;
        Ok(Source {
            seed: of.seed,
            kept: Kept::of(&prompt.labels, &before, answers),
            answers: before,
            seam: of.seam.map(rounded),
            first_frame: of.first_frame.map(rounded),
        })
    }

    /// Counts what is known of the chosen prompts, and writes it down.
    fn finish(&self, chosen: &[&Prompt], results: &Results, settings: &Settings) -> Result<Score> {
        let known: Vec<(&Prompt, &ClipResult)> = chosen
            .iter()
            .filter_map(|prompt| Some((*prompt, results.get(prompt.id)?)))
            .collect();
        let measured: Vec<Measured<'_>> = known
            .iter()
            .map(|(prompt, result)| Measured {
                kind: prompt.kind,
                labels: &prompt.labels,
                verdict: result.verdict,
                consistency: result.consistency,
                flicker: result.flicker,
                source: result.source.as_ref(),
            })
            .collect();
        let score = Score::of(&measured);
        let seconds: f64 = known.iter().map(|(_, result)| result.seconds).sum();
        let record = Record {
            settings,
            seconds_a_clip: rounded(seconds / known.len().max(1) as f64),
            score: &score,
        };
        write_whole(&self.out.join("score.json"), &json(&record)?)?;
        write_whole(&self.out.join("score.md"), page(settings, &score).as_bytes())?;
        let strips: Vec<PathBuf> = known.iter().map(|(prompt, _)| self.strip_path(prompt.id)).collect();
        write_sheet(&self.out.join("sheet.png"), strips.iter().map(PathBuf::as_path))?;
        Ok(score)
    }
}

/// The score as a page.
fn page(settings: &Settings, score: &Score) -> String {
    let Settings {
        task,
        kinora,
        model,
        judge,
        prompts,
        size,
        frames,
        steps,
        guidance_scale,
        sampler,
        precision,
        seed,
    } = settings;
    let what = match task {
        Task::Text => "",
        Task::Image => ", from the first frame of another clip",
        Task::Extend => ", extended",
    };
    format!(
        "# The score of {} {}{what}\n\n{} clips of {size}, {frames} frames; {steps} steps, guidance {guidance_scale}, {sampler}, \
         {precision}, seed {seed} plus the prompt's number; weights {}, judge {judge}, prompts {prompts}, Kinora {kinora}.\n\
         Shares with 95 % intervals; docs/eval.md defines the rows.\n\n{}",
        model.name,
        model.version,
        score.all.clips,
        model.weights_hash,
        score.markdown()
    )
}
