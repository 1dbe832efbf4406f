//! Block by block in time: each block of latent frames is denoised to its end, seeing those before it through a cache of
//! their keys and values, and handed out at once. The first frames are shown while the rest is made.
//!
//! **Source**: Self-Forcing, arXiv 2506.08009, `pipeline/causal_inference.py` (facts, not code).

use kinora_kernels::{Precision, trace};
use kinora_models::wan::{CacheElement, CacheOptions, Context, KvCache, Timesteps, Transformer, WriteCache};
use kinora_sampling::{Expert, SamplerRun, Stream, noise_in};
use kinora_tensor::{Arena, Tensor};

use super::{DOES_NOT_FIT, Known, Settings, finite, scaled_noise};
use crate::latents::take_frames;
use crate::map::Conditioning;
use crate::model::Experts;
use crate::progress::{CancelToken, Event, Observer, Stage};
use crate::{Error, Result};

/// Latent frames that a token sees at most, its own block included: the length of the clips that such models learnt from.
pub(crate) const WINDOW_FRAMES: usize = 21;

/// What the cache of a run keeps.
pub(crate) fn cache_options(precision: Precision, latent_frames: usize) -> CacheOptions {
    CacheOptions {
        window_frames: (latent_frames > WINDOW_FRAMES).then_some(WINDOW_FRAMES),
        sink_frames: 0,
        element: match precision {
            Precision::F32 => CacheElement::F32,
            _ => CacheElement::Bf16,
        },
    }
}

/// Takes the latents of a block `[1, C, P, h, w]` as soon as they are clean, and how many steps of the pass are done with
/// it; `None` for latents that were there before.
pub(crate) type Emit<'a> = dyn FnMut(&Tensor, Option<usize>, &mut dyn Observer) -> Result<()> + 'a;

/// Makes `settings.grid` latent frames in blocks of `block_frames`. Frames that are known come first and are emitted too,
/// and so are the blocks that an earlier attempt has `made` (with the known frames in front).
///
/// **Shapes**: `made [1, C, P, h, w]`. **Errors**: [`Error::Cancelled`] at the step after `cancel` was set; those of `emit`.
pub(crate) fn diffuse_blocks(
    experts: &Experts,
    arena: &Arena,
    conditioning: &Conditioning<'_>,
    settings: &Settings,
    block_frames: usize,
    channels: usize,
    made: Option<&Tensor>,
    observer: &mut dyn Observer,
    cancel: &CancelToken,
    emit: &mut Emit<'_>,
) -> Result<()> {
    let transformer = experts.slot(Expert::HighNoise).get(settings.load)?;
    let [frames, height, width] = settings.grid;
    let mut blocks = Blocks {
        transformer: &transformer,
        context: transformer.embed_context(conditioning.cond, None)?,
        cache: KvCache::new(cache_options(settings.load.precision, frames))?,
    };
    let mut first = 0;
    let mut made = made;
    if let Known::Noised(clean) | Known::Prefix(clean) = &conditioning.known {
        if let Some(other) = made
            && take_frames(other, 0..clean.dims()[2].min(other.dims()[2]))?.as_slice() != clean.as_slice()
        {
            observer.event(&Event::Note(DOES_NOT_FIT));
            made = None;
        }
        first = clean.dims()[2];
        blocks.remember(clean)?;
        emit(clean, None, observer)?;
    }
    let steps = settings.schedule.steps();
    let count = (frames - first).div_ceil(block_frames);
    let (of, mut done) = (count * steps, 0);
    observer.event(&Event::StageStarted {
        stage: Stage::Diffuse,
        units: of,
    });
    let made_frames = made.map_or(0, |made| made.dims()[2]);
    for block in 0..count {
        let length = block_frames.min(frames - first);
        if let Some(made) = made.filter(|_| first + length <= made_frames) {
            let latents = take_frames(made, first..first + length)?;
            (first, done) = (first + length, done + steps);
            if first < frames {
                blocks.remember(&latents)?;
            }
            emit(&latents, None, observer)?;
            continue;
        }
        let stream = Stream {
            part: settings.stream.part.wrapping_add(block as u32),
            ..settings.stream
        };
        let noise = noise_in(arena, settings.seed, stream, [1, channels, length, height, width])?;
        let noise = scaled_noise(noise, &settings.schedule);
        let mut run =
            SamplerRun::new(settings.sampler, &settings.schedule, noise)?.with_fresh_noise(settings.seed, stream);
        while let Some(eval) = run.next_eval() {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled { step: done, of });
            }
            let step = trace::span("step", 0.0);
            let before = run.steps_done();
            let velocity = blocks.velocity(eval.latents, eval.timestep.0, WriteCache::No)?;
            let velocity = finite(velocity, before)?;
            run.provide(velocity)?;
            drop(step);
            done += run.steps_done() - before;
            observer.event(&Event::Progress {
                stage: Stage::Diffuse,
                done,
                of,
            });
        }
        let latents = run.into_latents();
        first += length;
        if first < frames {
            blocks.remember(&latents)?;
        }
        emit(&latents, Some(done), observer)?;
    }
    Ok(())
}

/// A causal model in the middle of a clip.
struct Blocks<'a> {
    transformer: &'a Transformer,
    context: Context,
    cache: KvCache,
}

impl Blocks<'_> {
    fn velocity(&mut self, latents: &Tensor, timestep: f32, write: WriteCache) -> Result<Tensor> {
        let tokens = self.transformer.token_grid(latents)?.iter().product();
        let timesteps = Timesteps::uniform(timestep, tokens);
        let transformer = self.transformer;
        Ok(transformer.forward_causal(latents, &timesteps, &self.context, &mut self.cache, write)?)
    }

    /// Later blocks see these clean latents.
    fn remember(&mut self, latents: &Tensor) -> Result<()> {
        self.velocity(latents, 0.0, WriteCache::Yes).map(drop)
    }
}
