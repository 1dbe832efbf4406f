//! A model as far as its headers tell: enough to say what a request would take, for who does not run it. No weight is read.

use kinora_kernels::Precision;
use kinora_models::{clip_vision, umt5, wan};
use kinora_weights::{ModelFolder, registry};

use crate::Result;
use crate::description::Description;
use crate::memory;
use crate::memory_plan::{Loaded, MemoryPlan, Networks, TextSize};
use crate::model::{VaeConfig, outlined};
use crate::pipeline::model_bytes;
use crate::plan::{Plan, SourceClip};
use crate::precision::PrecisionChoice;
use crate::request::Request;

/// What a process holds before it has loaded anything: code, runtime, buffers.
const BASE_BYTES: u64 = 64 << 20;

/// A model that is described and not loaded.
#[derive(Debug)]
pub struct Outline {
    /// Its name.
    pub name: String,
    /// The licence of its weights, in SPDX's words, if it says.
    pub licence: Option<String>,
    description: Description,
    transformer: wan::Config,
    vae: VaeConfig,
    /// The text encoder, if it is read block by block.
    text: Option<umt5::Config>,
    image_encoder: Option<clip_vision::Config>,
    experts: usize,
    precision: Precision,
    /// What a process that runs it holds between two runs, at least.
    loaded_bytes: u64,
}

/// What is known of a model without its weights.
pub(crate) struct Outlined {
    pub(crate) description: Description,
    pub(crate) transformer: wan::Config,
    pub(crate) vae: VaeConfig,
    pub(crate) text: Option<umt5::Config>,
    pub(crate) image_encoder: Option<clip_vision::Config>,
    pub(crate) experts: usize,
}

impl Outline {
    /// Describes a model by its name in the registry or by its folder, as it would run in `precision`.
    ///
    /// **Errors**: [`crate::Error::Weights`] if it is not there or its headers are damaged,
    /// [`crate::Error::UnsupportedModel`].
    pub fn open(model: &str, precision: PrecisionChoice) -> Result<Self> {
        Self::of(&registry::find(model, &[])?.open()?, precision)
    }

    fn of(folder: &ModelFolder, precision: PrecisionChoice) -> Result<Self> {
        let precision = precision.resolve()?.precision;
        let outlined = outlined(folder)?;
        // As the pipeline does: small models are loaded as a whole, of others each part when its stage comes.
        let weights = match &outlined.text {
            None => model_bytes(folder, precision)?,
            Some(_) => 0,
        };
        Ok(Self {
            name: folder.name(),
            licence: folder.licence().map(str::to_owned),
            description: outlined.description,
            transformer: outlined.transformer,
            vae: outlined.vae,
            text: outlined.text,
            image_encoder: outlined.image_encoder,
            experts: outlined.experts,
            precision,
            loaded_bytes: BASE_BYTES + weights,
        })
    }

    /// Sizes, lengths and defaults of the model.
    pub const fn description(&self) -> &Description {
        &self.description
    }

    /// What a process of its own would hold for `request`, which names no files that are looked at; `source` is what is known
    /// of a clip that it continues.
    ///
    /// **Errors**: those of [`Plan::new`]; [`crate::Error::Memory`] if no way to carry it out fits into `max_memory_bytes`.
    pub fn memory(
        &self,
        request: &Request,
        source: Option<SourceClip>,
        max_memory_bytes: Option<u64>,
    ) -> Result<MemoryPlan> {
        let plan = Plan::new(request, &self.description, source)?;
        let loaded = Loaded {
            bytes: self.loaded_bytes,
            peak_bytes: self.loaded_bytes,
        };
        let limit = max_memory_bytes.and_then(|bytes| memory::limit(Some(bytes)));
        MemoryPlan::choose(self.networks(), &plan, &self.description, request.format, loaded, limit)
    }

    fn networks(&self) -> Networks<'_> {
        Networks {
            transformer: &self.transformer,
            vae: &self.vae,
            decoder: &self.vae,
            text: self.text.as_ref().map_or(TextSize::Loaded, TextSize::Umt5),
            text_tokens: self.description.text_tokens,
            image_encoder: self.image_encoder.as_ref(),
            experts: self.experts,
            block_frames: self.description.block_frames,
            is_loaded: self.text.is_none(),
            precision: self.precision,
        }
    }
}

#[cfg(test)]
mod tests {
    use kinora_media::Format;

    use super::*;
    use crate::{Error, ErrorKind, Length, OpenOptions, Pipeline};

    #[test]
    fn the_outline_of_a_model_says_what_the_model_says() {
        let outline = Outline::open("toybox", PrecisionChoice::F32).unwrap();
        let pipeline = Pipeline::open("toybox", OpenOptions::EXACT).unwrap();
        assert_eq!(outline.description(), pipeline.description());
        assert!(outline.licence.is_some());
        let request = Request::new("a cat", "cat.mp4", Format::Mp4);
        let (ours, theirs) = (
            outline.memory(&request, None, None).unwrap(),
            pipeline.plan(&request).unwrap().memory,
        );
        // What the process of this test holds has nothing to do with a worker's.
        assert_eq!(
            (ours.diffuse_bytes, ours.render_bytes),
            (theirs.diffuse_bytes, theirs.render_bytes)
        );
    }

    #[test]
    fn what_does_not_fit_is_refused_without_a_weight() {
        let outline = Outline::open("toybox", PrecisionChoice::F32).unwrap();
        let mut request = Request::new("a cat", "cat.mp4", Format::Mp4);
        request.size = Some("3840x2160".parse().unwrap());
        request.length = Length::Frames(33);
        let needed = outline.memory(&request, None, None).unwrap().peak_bytes;
        let error = outline.memory(&request, None, Some(needed / 4)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Memory);
        assert!(matches!(
            outline.memory(
                &Request {
                    steps: Some(1000),
                    ..request
                },
                None,
                None
            ),
            Err(Error::Invalid { what: "steps", .. })
        ));
    }
}
