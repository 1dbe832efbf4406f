//! A clip from latents that were kept: the last of the four steps alone.

use std::path::PathBuf;
use std::time::Instant;

use kinora_media::{Format, Fps};

use crate::memory_plan::MemoryPlan;
use crate::pipeline::{Pipeline, metadata};
use crate::progress::{CancelToken, Event, Observer, Stage};
use crate::render::{Destination, Playing, Renderer};
use crate::report::{ClipReport, RunReport, Timings};
use crate::saved::SavedLatents;
use crate::stopwatch::Stopwatch;
use crate::{Error, Result, memory};

/// Where a clip of kept latents goes.
#[derive(Debug, Clone)]
pub struct DecodeRequest {
    /// The file.
    pub output: PathBuf,
    /// What to write.
    pub format: Format,
    /// Also write the clip's best frame.
    pub poster: bool,
    /// Also write frames side by side.
    pub sheet: bool,
    /// Whether the output may replace a file that is there.
    pub overwrite: bool,
}

impl Pipeline {
    /// Makes the clip of `saved` latents, which a model with the same autoencoder has left.
    ///
    /// A clip that continued another one comes without the one that it continued.
    ///
    /// **Errors**: [`Error::OtherModel`]; [`Error::Memory`]; those of rendering. [`Error::Cancelled`] if `cancel` stopped it.
    pub fn decode(
        &self,
        saved: &SavedLatents,
        request: &DecodeRequest,
        observer: &mut dyn Observer,
        cancel: &CancelToken,
    ) -> Result<RunReport> {
        let started = Instant::now();
        if !request.overwrite && request.output.exists() {
            return Err(Error::OutputExists {
                path: request.output.clone(),
            });
        }
        self.check_latents(saved)?;
        let mut recipe = saved.recipe.clone();
        let playing = self.playing(saved)?;
        let tile_px = self.decoding_tile(saved, request.format)?;
        let mut watch = Stopwatch::new(observer);
        recipe.length.written_frames = playing.written_frames();
        let destination = Destination {
            path: &request.output,
            format: request.format,
            metadata: metadata(&recipe)?,
            poster: request.poster,
            sheet: request.sheet,
            expected_frames: recipe.length.written_frames,
        };
        let mut renderer = Renderer::create(&playing, Some(&destination), 0, tile_px)?;
        let parts = saved.parts.len();
        for (segment, part) in saved.parts.iter().enumerate() {
            watch.observer().event(&Event::SegmentStarted {
                segment,
                segments: parts,
            });
            watch.stage(Stage::Render, |observer| {
                let vae = self.inner().decoding_vae().get(self.decoding_half())?;
                renderer.push_latents(&vae, &part.latents, part.not_new, part.most_new, observer, cancel)
            })?;
        }
        let finished = watch.stage_quietly(Stage::Render, |observer| renderer.finish(observer))?;
        let timings = Timings {
            load_ms: self.load_ms(),
            ..watch.take_timings(started)
        };
        Ok(RunReport {
            schema: RunReport::SCHEMA,
            scene: serde_json::Value::Null,
            notes: Vec::new(),
            plan: None,
            clips: vec![ClipReport {
                recipe,
                outputs: finished.outputs,
                timings,
                cache: None,
            }],
            cancelled: None,
            threads: kinora_kernels::threads(),
            peak_memory_bytes: memory::peak_bytes(),
        })
    }

    /// **Errors**: [`Error::OtherModel`] for latents of another autoencoder.
    pub(crate) fn check_latents(&self, saved: &SavedLatents) -> Result<()> {
        let expected = self.inner().vae_config.latent_channels();
        let other = saved
            .parts
            .iter()
            .map(|part| part.latents.dims()[1])
            .find(|&got| got != expected);
        match other {
            None => Ok(()),
            Some(got) => Err(Error::OtherModel {
                model: self.inner().record.name.clone(),
                expected,
                got,
            }),
        }
    }

    fn playing(&self, saved: &SavedLatents) -> Result<Playing> {
        let length = &saved.recipe.length;
        let fps = length.fps.parse::<Fps>().map_err(Error::Media)?;
        Ok(Playing {
            size: saved.recipe.size.written,
            model_fps: self.description().fps,
            fps,
            new_frames: length.new_frames,
        })
    }

    fn decoding_tile(&self, saved: &SavedLatents, format: Format) -> Result<Option<u32>> {
        let grids = saved.parts.iter().map(|part| part.latents.dims());
        let grid = grids.fold([0; 3], |most, dims| {
            [most[0].max(dims[2]), most[1].max(dims[3]), most[2].max(dims[4])]
        });
        let size = &saved.recipe.size;
        MemoryPlan::choose_tile(self.networks(), grid, size, format, self.loaded(), self.limit())
    }
}
