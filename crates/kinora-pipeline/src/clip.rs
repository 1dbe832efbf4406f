//! One clip: each part is mapped, diffused and rendered; the end of a part is where the next one starts.

use std::path::{Path, PathBuf};

use kinora_models::wan::LoadOptions;
use kinora_sampling::{CacheReport, Guidance, GuidanceInterval, Stream};
use kinora_tensor::{Arena, Tensor};

use crate::checkpoint::{Expected, Keeper, Resumed};
use crate::diffuse::{AfterStep, Denoised, Emit, Halfway, Settings, diffuse, diffuse_blocks};
use crate::inputs::Inputs;
use crate::latents::{join_frames, take_frames};
use crate::map::Conditioning;
use crate::memory_plan::{MemoryPlan, WeightsMode};
use crate::model::{Model, Slot, VaeHalf};
use crate::plan::{Plan, Segment};
use crate::progress::{CancelToken, Event, Observer, Stage};
use crate::render::{Destination, Finished, PartRun, Renderer};
use crate::report::Recipe;
use crate::request::Request;
use crate::saved::{SavedLatents, SavedPart};
use crate::steer::not_new;
use crate::stopwatch::Stopwatch;
use crate::{Error, Result, memory};

/// The text of a run as the transformer reads it.
pub(crate) struct Context {
    /// Of the prompt, `[1, S, T]`.
    pub(crate) cond: Tensor,
    /// Of the negative prompt; absent without guidance.
    pub(crate) uncond: Option<Tensor>,
}

/// Everything that the clips of a run have in common.
pub(crate) struct ClipMaker<'a> {
    pub(crate) model: &'a Model,
    pub(crate) arena: &'a Arena,
    pub(crate) request: &'a Request,
    pub(crate) plan: &'a Plan,
    pub(crate) memory: &'a MemoryPlan,
    pub(crate) inputs: &'a Inputs,
    /// The text of each shot; there is one if there are no shots.
    pub(crate) contexts: &'a [Context],
}

/// What became of a clip.
pub(crate) struct Made {
    pub(crate) finished: Finished,
    /// What the step cache did in the part where it may have cost the most.
    pub(crate) cache: Option<CacheReport>,
}

impl ClipMaker<'_> {
    /// Makes the clip of `recipe` and writes it to `destination`, if it has one. Its latents are on disk before its frames
    /// are made, and stay there if these cannot be made. `keeper` has what an earlier attempt did, and keeps what this
    /// one does.
    ///
    /// **Errors**: see [`Error`].
    pub(crate) fn make(
        &self,
        recipe: &Recipe,
        destination: Option<&Destination<'_>>,
        watch: &mut Stopwatch<'_>,
        cancel: &CancelToken,
        mut keeper: Keeper<'_>,
    ) -> Result<Made> {
        let seed = recipe.seed;
        let mut resumed = keeper.resume(&self.expected(), self.arena, watch.observer())?;
        let kept = destination.map(|to| SavedLatents::path_for(to.path));
        let saved = SavedLatents {
            recipe: recipe.clone(),
            parts: Vec::new(),
        };
        let description = &self.model.description;
        let tail_frames = description.frames_of(description.overlap_latent_frames);
        let mut out = Out {
            renderer: Renderer::create(&self.plan.into(), destination, tail_frames, self.memory.tile_px)?,
            saved,
            kept,
            keeper,
            worst: resumed.cache.take(),
        };
        self.copy_source(&mut out.renderer, watch, cancel)?;
        let mut frames_before = 0;
        for (index, segment) in self.plan.segments.iter().enumerate() {
            watch.observer().event(&Event::SegmentStarted {
                segment: index,
                segments: self.plan.segments.len(),
            });
            let not_new = match resumed.parts.pop_front() {
                Some(mut part) => {
                    let not_new = part.not_new;
                    part.most_new = self.most_new(index, segment);
                    self.render(part, None, &mut out, watch, cancel)?;
                    not_new
                }
                None => self.part(
                    index,
                    segment,
                    seed,
                    frames_before,
                    &mut resumed,
                    &mut out,
                    watch,
                    cancel,
                )?,
            };
            self.release_after_use();
            frames_before += description.frames_of(segment.latent_frames) - not_new;
        }
        let Out {
            renderer, kept, worst, ..
        } = out;
        let finished = watch.stage_quietly(Stage::Render, |observer| renderer.finish(observer));
        if let Some(path) = &kept {
            match &finished {
                Err(_) => note_kept(path, watch.observer()),
                Ok(_) if self.request.keep_latents => {}
                // One that cannot be removed does no harm.
                Ok(_) => drop(std::fs::remove_file(path)),
            }
        }
        self.arena.trim();
        Ok(Made {
            finished: finished?,
            cache: worst,
        })
    }

    /// Makes a part from its beginning, or from where an earlier attempt was in it. Returns how many of its frames are not
    /// new.
    fn part(
        &self,
        index: usize,
        segment: &Segment,
        seed: u64,
        frames_before: usize,
        resumed: &mut Resumed,
        out: &mut Out<'_>,
        watch: &mut Stopwatch<'_>,
        cancel: &CancelToken,
    ) -> Result<usize> {
        let first = self.first_frames(index, segment, &out.renderer);
        let not_new = not_new(segment, &first);
        let part = Part {
            conditioning: self.map(index, segment, &first, frames_before, watch)?,
            settings: self.settings(segment, seed, index)?,
            not_new,
            most_new: self.most_new(index, segment),
        };
        match self.model.description.block_frames {
            Some(block_frames) => self.stream(part, block_frames, resumed.blocks.take(), out, watch, cancel)?,
            None => self.denoise_and_render(part, resumed.halfway.take(), out, watch, cancel)?,
        }
        Ok(not_new)
    }

    /// The latents of a part, then its frames.
    fn denoise_and_render(
        &self,
        part: Part<'_>,
        halfway: Option<Halfway>,
        out: &mut Out<'_>,
        watch: &mut Stopwatch<'_>,
        cancel: &CancelToken,
    ) -> Result<()> {
        let Part {
            conditioning,
            settings,
            not_new,
            most_new,
        } = part;
        let steps = settings.schedule.steps();
        let denoised = watch.stage(Stage::Diffuse, |observer| {
            let (keeper, parts, worst) = (&mut out.keeper, &out.saved.parts, out.worst);
            let after_step: &mut AfterStep<'_> =
                &mut |between, observer| keeper.after_step(parts, worst, between, observer);
            let channels = self.model.vae_config.latent_channels();
            let (experts, previewer) = (&self.model.experts, self.model.previewer());
            diffuse(
                experts,
                previewer,
                channels,
                self.arena,
                &conditioning,
                &settings,
                halfway,
                observer,
                cancel,
                after_step,
            )
        });
        if let Err(error) = &denoised {
            out.give_up(error, watch.observer());
        }
        let Denoised { latents, cache } = denoised?;
        drop(conditioning);
        self.arena.trim();
        if self.memory.weights != WeightsMode::Kept {
            self.model.experts.iter().for_each(Slot::release);
            memory::give_back();
        }
        out.worst = worse(out.worst, cache);
        let latents = self.without_references(latents)?;
        let part = SavedPart {
            latents,
            not_new,
            most_new,
        };
        self.render(part, Some(steps), out, watch, cancel)
    }

    /// The frames of a part whose latents are finished: just now, with the last of so many steps, or by an earlier attempt.
    fn render(
        &self,
        part: SavedPart,
        steps: Option<usize>,
        out: &mut Out<'_>,
        watch: &mut Stopwatch<'_>,
        cancel: &CancelToken,
    ) -> Result<()> {
        let SavedPart {
            latents,
            not_new,
            most_new,
        } = part;
        watch.stage(Stage::Render, |observer| {
            out.save(SavedPart {
                latents: latents.try_clone()?,
                not_new,
                most_new,
            })?;
            if let Some(steps) = steps {
                out.keep_finished(steps, observer)?;
            }
            let rendered = self.model.decoding_vae().get(self.decoding_half()).and_then(|vae| {
                out.renderer
                    .push_latents(&vae, &latents, not_new, most_new, observer, cancel)
            });
            out.note_if_failed(rendered, observer)
        })
    }

    /// The latents of a part block by block, each of which becomes frames at once; `before` are those that an earlier attempt
    /// made.
    fn stream(
        &self,
        part: Part<'_>,
        block_frames: usize,
        before: Option<Tensor>,
        out: &mut Out<'_>,
        watch: &mut Stopwatch<'_>,
        cancel: &CancelToken,
    ) -> Result<()> {
        let vae = self.model.decoding_vae().get(self.decoding_half())?;
        let [frames, ..] = part.settings.grid;
        let mut run = PartRun {
            decoder: vae.decoder(self.memory.tile_px)?,
            given_frames: part.not_new,
            most_new: part.most_new.unwrap_or(usize::MAX),
            done: 0,
            of: vae.frames_of(frames),
        };
        let mut made: Option<Tensor> = None;
        let streamed = watch.stage(Stage::Diffuse, |observer| {
            let emit: &mut Emit<'_> = &mut |latents, steps, observer| {
                // The blocks of a part are one run of the decoder, and one part in the file too.
                let all = match made.take() {
                    None => latents.try_clone()?,
                    Some(before) => {
                        out.saved.parts.pop();
                        join_frames(&before, latents)?
                    }
                };
                out.save(SavedPart {
                    latents: all.try_clone()?,
                    not_new: part.not_new,
                    most_new: part.most_new,
                })?;
                let is_finished = all.dims()[2] == frames;
                made = Some(all);
                match steps {
                    Some(steps) if is_finished => out.keep_finished(steps, observer)?,
                    Some(steps) => out.keep_blocks(steps, observer)?,
                    None => {}
                }
                let rendered = out.renderer.push_block(&mut run, latents, observer, cancel);
                out.note_if_failed(rendered, observer)
            };
            let channels = self.model.vae_config.latent_channels();
            diffuse_blocks(
                &self.model.experts,
                self.arena,
                &part.conditioning,
                &part.settings,
                block_frames,
                channels,
                before.as_ref(),
                observer,
                cancel,
                emit,
            )
        });
        if let Err(error) = &streamed {
            out.give_up(error, watch.observer());
        }
        streamed
    }

    fn settings(&self, segment: &Segment, seed: u64, index: usize) -> Result<Settings> {
        let (plan, factor) = (self.plan, self.model.vae_config.spatial_factor());
        let generated = plan.size.generated;
        let mut guidance = Guidance::per_expert(f64::from(plan.guidance_scale), f64::from(plan.guidance_scale_low))?;
        if let Some(steps) = plan.guided_steps {
            guidance = guidance.within(GuidanceInterval::Before(steps as usize));
        }
        Ok(Settings {
            grid: [
                segment.latent_frames + self.inputs.references.len(),
                generated.height_px as usize / factor,
                generated.width_px as usize / factor,
            ],
            seed,
            stream: Stream {
                variant: 0,
                // A part that is made block by block has a stream for each block.
                part: match self.model.description.block_frames {
                    Some(_) => (index as u32) << 16,
                    None => index as u32,
                },
            },
            schedule: plan.schedule.from_step(plan.first_step as usize)?,
            sampler: plan.sampler,
            guidance,
            guidance_mode: self.memory.guidance,
            switch: self.model.description.expert_switch,
            load: match self.memory.weights {
                WeightsMode::Streamed => LoadOptions::streamed(self.model.precision),
                WeightsMode::Kept | WeightsMode::Staged => self.model.precision.into(),
            },
            cache: plan.cache.clone(),
            keep_experts: self.memory.weights == WeightsMode::Kept,
        })
    }

    /// Frames of a part that the clip gets, where another part or the clip's beginning follows what is surplus. The surplus of
    /// the last part is cut off by the length of the clip.
    fn most_new(&self, index: usize, segment: &Segment) -> Option<usize> {
        let made = self.model.description.frames_of(segment.latent_frames) - segment.not_new;
        let is_last = index + 1 == self.plan.segments.len() && segment.suffix_latent_frames == 0;
        (segment.new_frames < made && !is_last).then_some(segment.new_frames)
    }

    /// The latents of the clip itself: those of reference pictures stood in front.
    fn without_references(&self, latents: Tensor) -> Result<Tensor> {
        match self.inputs.references.len() {
            0 => Ok(latents),
            given => take_frames(&latents, given..latents.dims()[2]),
        }
    }

    /// What a checkpoint of this clip must hold.
    fn expected(&self) -> Expected<'_> {
        let (generated, factor) = (self.plan.size.generated, self.model.vae_config.spatial_factor());
        Expected {
            segments: &self.plan.segments,
            channels: self.model.vae_config.latent_channels(),
            height: generated.height_px as usize / factor,
            width: generated.width_px as usize / factor,
            cache: self.plan.cache.as_ref(),
            is_streamed: self.model.description.block_frames.is_some(),
        }
    }

    /// What of the autoencoder decodes: both halves where they stay for the next clip.
    pub(crate) fn decoding_half(&self) -> VaeHalf {
        match self.memory.weights {
            WeightsMode::Kept => VaeHalf::Both,
            WeightsMode::Staged | WeightsMode::Streamed => VaeHalf::Decoder,
        }
    }

    /// Gives up the networks around the transformer, unless the plan keeps them.
    pub(crate) fn release_after_use(&self) {
        self.arena.trim();
        if self.memory.weights != WeightsMode::Kept {
            self.model.vae.release();
            memory::give_back();
        }
    }
}

/// What a part is made with.
struct Part<'a> {
    conditioning: Conditioning<'a>,
    settings: Settings,
    /// Frames at its start that are in the file already.
    not_new: usize,
    /// Frames after those that the clip gets, if the part makes more.
    most_new: Option<usize>,
}

/// Where a clip goes: its frames, and its latents before them.
struct Out<'a> {
    renderer: Renderer,
    saved: SavedLatents,
    /// The file of the latents, if they are kept.
    kept: Option<PathBuf>,
    /// Checkpoints of the run.
    keeper: Keeper<'a>,
    /// What the step cache did in the part where it may have cost the most.
    worst: Option<CacheReport>,
}

impl Out<'_> {
    /// Latents are on the disk before anything can go wrong with their frames.
    fn save(&mut self, part: SavedPart) -> Result<()> {
        if self.kept.is_some() || self.keeper.is_on() {
            self.saved.parts.push(part);
        }
        match &self.kept {
            Some(path) => self.saved.write(path),
            None => Ok(()),
        }
    }

    /// A checkpoint after the last of a part's steps: its latents need no sampler any more.
    fn keep_finished(&mut self, steps: usize, observer: &mut dyn Observer) -> Result<()> {
        self.keeper.after_part(&self.saved.parts, self.worst, steps, observer)
    }

    /// A checkpoint after so many steps of a part that is made block by block, the last of the saved ones.
    fn keep_blocks(&mut self, steps: usize, observer: &mut dyn Observer) -> Result<()> {
        self.keeper.after_block(&self.saved.parts, steps, observer)
    }

    /// A part that was not denoised: whoever stopped the run does not want what there is of it; after a failure it is kept.
    fn give_up(&self, error: &Error, observer: &mut dyn Observer) {
        match (error, &self.kept) {
            // One that cannot be removed does no harm.
            (Error::Cancelled { .. }, Some(path)) if !self.saved.parts.is_empty() => drop(std::fs::remove_file(path)),
            (_, Some(path)) if !self.saved.parts.is_empty() => note_kept(path, observer),
            _ => {}
        }
    }

    fn note_if_failed(&self, rendered: Result<()>, observer: &mut dyn Observer) -> Result<()> {
        if let (Err(_), Some(path)) = (&rendered, &self.kept) {
            note_kept(path, observer);
        }
        rendered
    }
}

fn note_kept(path: &Path, observer: &mut dyn Observer) {
    if path.is_file() {
        let path = path.display();
        let note = format!("the latents are kept: `kinora decode {path}` makes the clip of them");
        observer.event(&Event::Note(&note));
    }
}

fn worse(a: Option<CacheReport>, b: Option<CacheReport>) -> Option<CacheReport> {
    match (a, b) {
        (Some(a), Some(b)) if a.estimated_error >= b.estimated_error => Some(a),
        (a, b) => b.or(a),
    }
}
