//! What is scored: clips from words, from a picture, or that go on from another one; and how their frames are made.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use kinora_media::{Format, Frame, Quality, psnr, write_image};
use kinora_pipeline::{CancelToken, Description, Event, Length, Observer, Pipeline, Plan, Request, SourceClip, Stage};
use serde::{Deserialize, Serialize};

use crate::evaluation::{Choice, News};
use crate::measure::seam;
use crate::prompts::Prompt;
use crate::results::Settings;
use crate::{Error, Result};

/// What the model is asked to do with each prompt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// A clip from words.
    #[default]
    Text,
    /// A clip from words and the first frame of the prompt's own clip.
    Image,
    /// The prompt's own clip, extended in the same words.
    Extend,
}

impl Task {
    /// All tasks.
    pub const ALL: [Self; 3] = [Self::Text, Self::Image, Self::Extend];

    /// Added to the seed of a prompt's own clip, it is the seed of what is made of that clip: other noise, so that what is
    /// made does not merely repeat it. No two clips of a prompt set get the same seed, whose numbers are smaller.
    pub const SECOND_SEED: u64 = 1_000_000;

    /// Its name in files and flags.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Image => "image",
            Self::Extend => "extend",
        }
    }

    /// Whether it is clips from words alone: what there was first, and is not written into records.
    pub(crate) const fn is_text(&self) -> bool {
        matches!(self, Self::Text)
    }

    /// Refuses before anything is made what a model cannot do.
    ///
    /// **Errors**: [`Error::Task`].
    pub(crate) fn check(self, model: &Description, settings: &Settings) -> Result<()> {
        if self.is_text() {
            return Ok(()); // the pipeline says it with the first clip
        }
        let mut request = request(settings, "a clip", "clip.mp4".into());
        let plan = |request: &Request, source| {
            Plan::new(request, model, source).map_err(|source| Error::Task {
                task: self.name(),
                source: Box::new(source),
            })
        };
        plan(&request, None)?;
        let source = match self {
            Self::Image => {
                request.image = Some("first.png".into());
                None
            }
            _ => Some(SourceClip {
                size: settings.size,
                fps: model.fps,
                frames: settings.frames as usize,
            }),
        };
        plan(&request, source).map(|_| ())
    }
}

impl FromStr for Task {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|task| task.name() == text)
            .ok_or_else(|| "there is no such task\nhint: text, image or extend".to_owned())
    }
}

/// What was made for a prompt.
pub(crate) struct Made {
    /// The frames that are judged: the clip, or what is new of an extended one.
    pub(crate) frames: Vec<Frame>,
    /// Their seed.
    pub(crate) seed: u64,
    /// The words as the model got them.
    pub(crate) model_prompt: String,
    /// What they were made of.
    pub(crate) source: Option<MadeOf>,
}

/// The prompt's own clip, of which another was made.
pub(crate) struct MadeOf {
    /// Its frames, as the model made them.
    pub(crate) frames: Vec<Frame>,
    /// Which of them the new clip follows.
    pub(crate) joint: usize,
    /// Its seed.
    pub(crate) seed: u64,
    /// See [`seam`].
    pub(crate) seam: Option<f64>,
    /// See [`likeness`].
    pub(crate) first_frame: Option<f64>,
}

/// The request of a clip as `settings` want all of them.
fn request(settings: &Settings, prompt: &str, output: PathBuf) -> Request {
    let mut request = Request::new(prompt, output, Format::Mp4);
    request.size = Some(settings.size);
    request.length = Length::Frames(settings.frames);
    request.steps = Some(settings.steps);
    request.guidance_scale = Some(settings.guidance_scale);
    request
}

/// Makes the frames of prompts.
pub(crate) struct Maker<'a> {
    pub(crate) pipeline: &'a Pipeline,
    pub(crate) choice: &'a Choice,
    pub(crate) settings: &'a Settings,
    pub(crate) out: &'a Path,
}

impl Maker<'_> {
    /// The frames of a prompt; `None` if the caller stopped it.
    pub(crate) fn make(
        &self,
        prompt: &Prompt,
        news: &mut dyn FnMut(&News<'_>),
        cancel: &CancelToken,
    ) -> Result<Option<Made>> {
        let keep = self.choice.keep_clips;
        let clip = self.out.join(format!("clips/{:03}.mp4", prompt.id));
        let mut request = request(self.settings, &prompt.prompt, clip);
        request.sampler = self.choice.sampler;
        request.seed = self.settings.seed.wrapping_add(prompt.id);
        request.frames_only = !keep;
        let task = self.settings.task;
        if task.is_text() {
            return self.run(&request, (0, 1), news, cancel);
        }
        // 1. The prompt's own clip; an extension needs it as a file, as users have it
        let beside = Passing(self.out.join(match task {
            Task::Extend => "source.mp4",
            _ => "source.png",
        }));
        let mut first = request.clone();
        first.output = match keep {
            true => self.out.join(format!("clips/{:03}.source.mp4", prompt.id)),
            false => beside.0.clone(),
        };
        first.frames_only = !keep && task != Task::Extend;
        let Some(source) = self.run(&first, (0, 2), news, cancel)? else {
            return Ok(None);
        };
        // 2. What is made of it, from other noise
        request.seed = first.seed.wrapping_add(Task::SECOND_SEED);
        match task {
            Task::Extend => request.extend = Some(first.output.clone()),
            _ => {
                let picture = source.frames.first().ok_or(kinora_media::Error::NoFrames)?;
                write_image(&beside.0, picture, Quality::default(), &[])?;
                request.image = Some(beside.0.clone());
            }
        }
        let Some(made) = self.run(&request, (1, 2), news, cancel)? else {
            return Ok(None);
        };
        self.compared(source, made).map(Some)
    }

    /// Makes one clip of a prompt's; `place` is its number and how many there are.
    fn run(
        &self,
        request: &Request,
        place: (usize, usize),
        news: &mut dyn FnMut(&News<'_>),
        cancel: &CancelToken,
    ) -> Result<Option<Made>> {
        let mut taker = Taker {
            frames: Vec::new(),
            place,
            news,
        };
        let report = self.pipeline.run(request, &mut taker, cancel)?;
        let frames = taker.frames;
        Ok(report.clips.into_iter().next().map(|clip| Made {
            frames,
            seed: request.seed,
            model_prompt: clip.recipe.model_prompt,
            source: None,
        }))
    }

    /// The second clip with what it has to do with the first.
    fn compared(&self, source: Made, mut made: Made) -> Result<Made> {
        let mut of = MadeOf {
            joint: 0,
            seed: source.seed,
            seam: None,
            first_frame: None,
            frames: source.frames,
        };
        if self.settings.task == Task::Extend {
            // An extended clip begins with the old frames as they are in the file.
            let old = made.frames.len().saturating_sub(self.settings.frames as usize);
            let new = made.frames.split_off(old);
            of.seam = seam(&made.frames, &new);
            of.joint = of.frames.len().saturating_sub(1);
            made.frames = new;
        } else if let (Some(picture), Some(first)) = (of.frames.first(), made.frames.first()) {
            of.first_frame = Some(likeness(picture, first)?);
        }
        made.source = Some(of);
        Ok(made)
    }
}

/// The most decibels that a frame gets: so many that equal ones, whose number would be infinite, can be averaged.
const MOST_DB: f64 = 60.0;

/// PSNR in dB, at most [`MOST_DB`].
fn likeness(a: &Frame, b: &Frame) -> Result<f64> {
    Ok(psnr(a, b)?.min(MOST_DB))
}

/// A file that is there as long as this is.
struct Passing(PathBuf);

impl Drop for Passing {
    fn drop(&mut self) {
        // It may never have been written; one that stays is replaced by the next.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Takes the frames of a clip, and passes on how far its prompt is.
struct Taker<'a> {
    frames: Vec<Frame>,
    /// Number of the clip, and how many the prompt has: their steps count as if all had as many as this one.
    place: (usize, usize),
    news: &'a mut dyn FnMut(&News<'_>),
}

impl Observer for Taker<'_> {
    fn event(&mut self, event: &Event<'_>) {
        match *event {
            Event::Frame(frame) => self.frames.push(frame.clone()),
            Event::Progress {
                stage: Stage::Diffuse,
                done,
                of,
            } => {
                let (number, clips) = self.place;
                (self.news)(&News::Step {
                    done: number * of + done,
                    of: clips * of,
                });
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_frames_are_as_like_as_it_gets() {
        let grey = |level| Frame::filled(4, 2, [level; 3]).unwrap();
        assert_eq!(likeness(&grey(9), &grey(9)).unwrap(), MOST_DB);
        assert!((likeness(&grey(10), &grey(20)).unwrap() - 28.13).abs() < 0.01);
    }

    #[test]
    fn the_steps_of_a_second_clip_go_on_from_those_of_the_first() {
        let mut seen = Vec::new();
        for place in [(0, 2), (1, 2)] {
            let news = &mut |news: &News<'_>| {
                if let News::Step { done, of } = news {
                    seen.push((*done, *of));
                }
            };
            let frames = Vec::new();
            let mut taker = Taker { frames, place, news };
            for done in [0, 6] {
                let stage = Stage::Diffuse;
                taker.event(&Event::Progress { stage, done, of: 6 });
            }
        }
        assert_eq!(seen, [(0, 12), (6, 12), (6, 12), (12, 12)]);
    }

    #[test]
    fn a_model_that_makes_nothing_of_words_alone_is_refused_with_a_hint() {
        let settings: Settings = serde_json::from_value(serde_json::json!({
            "kinora": "", "model": {"name": "", "version": "", "weights_hash": ""}, "judge": "", "prompts": "",
            "size": {"width_px": 512, "height_px": 288}, "frames": 33, "steps": 4, "guidance_scale": 1.0,
            "sampler": "euler", "precision": "f32", "seed": 0}))
        .unwrap();
        let pipeline = Pipeline::open("toybox", kinora_pipeline::OpenOptions::default()).unwrap();
        let toybox = pipeline.description();
        let pictures = Description {
            starts: kinora_pipeline::StartsFrom::Channels,
            ..toybox.clone()
        };
        for task in [Task::Image, Task::Extend] {
            task.check(toybox, &settings).unwrap();
            let error = task.check(&pictures, &settings).unwrap_err().to_string();
            assert!(error.contains(task.name()) && error.contains("--task text"), "{error}");
        }
    }

    #[test]
    fn tasks_are_read_as_they_are_named() {
        assert!(Task::ALL.into_iter().all(|task| task.name().parse() == Ok(task)));
        assert!("video".parse::<Task>().unwrap_err().contains("extend"));
    }
}
