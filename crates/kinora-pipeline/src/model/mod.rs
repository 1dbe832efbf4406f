//! A model as the pipeline sees it: what is known of it without reading a weight, and its networks, each loaded when it
//! is needed.

mod classes;
mod loras;
mod slot;
mod text;
mod vae;

use kinora_kernels::{Precision, trace};
use kinora_media::Frame;
use kinora_models::clip_vision::{self, ClipVision};
use kinora_models::umt5;
use kinora_models::wan::{self, LoadOptions, Residency};
use kinora_sampling::Expert;
use kinora_tensor::Tensor;
use kinora_weights::{Lora, LoraUse, ModelFolder};

use classes::{Kinds, TextKind};
use loras::Loras;
pub(crate) use slot::Slot;
#[cfg(test)]
pub(crate) use text::padded;
pub(crate) use text::{Embedded, Text};
pub(crate) use vae::{Decoder, Vae, VaeConfig, VaeHalf};

use crate::Result;
use crate::description::{Description, WanFacts};
use crate::diffuse::Previewer;
use crate::map::whole_frame;
use crate::options::OpenOptions;
use crate::outline::Outlined;
use crate::report::{LoraRecord, ModelRecord};

/// A model that is open: its files are found and understood.
pub(crate) struct Model {
    pub(crate) record: ModelRecord,
    pub(crate) description: Description,
    pub(crate) transformer_config: wan::Config,
    pub(crate) vae_config: VaeConfig,
    pub(crate) experts: Experts,
    pub(crate) vae: Slot<Vae, VaeHalf>,
    /// What decodes instead of the autoencoder, if something does.
    tiny_decoder: Option<(VaeConfig, Slot<Vae, VaeHalf>)>,
    pub(crate) text: Text,
    /// What sees given pictures, for models that attend to it; its layers are read at each use.
    pub(crate) image_encoder: Option<ClipVision>,
    /// What was added to the transformer's weights.
    pub(crate) loras: Vec<LoraRecord>,
    /// What the user should know of the model in this form.
    pub(crate) notes: Vec<String>,
    /// What the large layers are packed in.
    pub(crate) precision: Precision,
}

/// The transformers of a model.
pub(crate) struct Experts {
    /// The only one, or that for high noise.
    high_noise: Slot<wan::Transformer, LoadOptions>,
    /// That for low noise, if it is another one.
    low_noise: Option<Slot<wan::Transformer, LoadOptions>>,
}

impl Experts {
    /// One transformer, or two experts.
    pub(crate) const fn new(
        high_noise: Slot<wan::Transformer, LoadOptions>,
        low_noise: Option<Slot<wan::Transformer, LoadOptions>>,
    ) -> Self {
        Self { high_noise, low_noise }
    }

    /// The one that `expert` means.
    pub(crate) fn slot(&self, expert: Expert) -> &Slot<wan::Transformer, LoadOptions> {
        match (expert, &self.low_noise) {
            (Expert::LowNoise, Some(low_noise)) => low_noise,
            _ => &self.high_noise,
        }
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Slot<wan::Transformer, LoadOptions>> {
        std::iter::once(&self.high_noise).chain(&self.low_noise)
    }
}

impl Model {
    /// Opens the model in `folder`, whose large layers will be packed in `precision`.
    ///
    /// **Errors**: [`crate::Error::UnsupportedModel`]; [`crate::Error::Weights`] if a file is missing, damaged or foreign.
    pub(crate) fn open(folder: &ModelFolder, precision: Precision, options: &OpenOptions) -> Result<Self> {
        let kinds = classes::read(folder)?;
        let vae_config = VaeConfig::read(kinds.vae, &folder.config("vae")?)?;
        let loras = Loras::open(&options.loras)?;
        let transformer_config = wan::Config::from_json(&folder.config("transformer")?)?;
        let names = loras.names().chain([folder.name()]).collect();
        let description = describe(folder, kinds, &transformer_config, &vae_config, names)?;
        Ok(Self {
            record: record(folder)?,
            notes: loras.notes(&folder.checkpoint("transformer")?)?,
            experts: match kinds.has_second_expert {
                false => Experts::new(transformer_slot(folder, "transformer", loras.all())?, None),
                true => Experts::new(
                    transformer_slot(folder, "transformer", loras.of(Expert::HighNoise))?,
                    Some(transformer_slot(folder, "transformer_2", loras.of(Expert::LowNoise))?),
                ),
            },
            loras: loras.records(),
            vae: vae_slot(folder, vae_config.clone(), precision)?,
            tiny_decoder: match &options.tiny_decoder {
                Some(path) => Some(vae::tiny_decoder(path, &vae_config, precision)?),
                None => None,
            },
            vae_config,
            text: Text::open(kinds.text, folder, description.text_tokens)?,
            image_encoder: match kinds.has_image_encoder && transformer_config.image_dim.is_some() {
                true => Some(ClipVision::load(
                    &folder.checkpoint("image_encoder")?,
                    &folder.config("image_encoder")?,
                    // Few tokens, once: exactness costs little here.
                    Precision::F32,
                )?),
                false => None,
            },
            transformer_config,
            description,
            precision,
        })
    }

    /// The autoencoder that decodes.
    pub(crate) fn decoding_vae(&self) -> &Slot<Vae, VaeHalf> {
        self.tiny_decoder.as_ref().map_or(&self.vae, |(_, slot)| slot)
    }

    /// Its hyper-parameters.
    pub(crate) fn decoding_config(&self) -> &VaeConfig {
        self.tiny_decoder
            .as_ref()
            .map_or(&self.vae_config, |(config, _)| config)
    }

    /// What previews are made with.
    pub(crate) fn previewer(&self) -> Previewer<'_> {
        match &self.tiny_decoder {
            Some((_, slot)) => Previewer::Decoder(slot),
            None => Previewer::Colours(self.vae_config.latent_rgb()),
        }
    }

    /// What the image encoder makes of the given pictures, `[1, S, I]`, or `[2, S, I]` for a model that attends to both;
    /// `None` if the model has none or nothing is given.
    pub(crate) fn embed_pictures(&self, first: Option<&Frame>, last: Option<&Frame>) -> Result<Option<Tensor>> {
        let (Some(encoder), Some(first)) = (&self.image_encoder, first) else {
            return Ok(None);
        };
        let _span = trace::span("embed pictures", 0.0);
        let both = self.transformer_config.pos_embed_seq_len.is_some();
        let pictures = std::iter::once(first).chain(last.filter(|_| both));
        let tensors = pictures.map(whole_frame).collect::<Result<Vec<_>>>()?;
        Ok(Some(encoder.embed_all(&tensors.iter().collect::<Vec<_>>())?))
    }

    /// Loads every network side by side: the parts are independent files.
    pub(crate) fn load_all(&self) -> Result<()> {
        std::thread::scope(|scope| {
            let experts: Vec<_> = self
                .experts
                .iter()
                .map(|slot| scope.spawn(|| slot.get(self.precision.into())))
                .collect();
            drop(self.vae.get(VaeHalf::Both)?);
            experts
                .into_iter()
                .try_for_each(|thread| joined(thread.join()).map(drop))
        })
    }
}

/// What is known of the model in `folder` from its headers.
///
/// **Errors**: as [`Model::open`].
pub(crate) fn outlined(folder: &ModelFolder) -> Result<Outlined> {
    let kinds = classes::read(folder)?;
    let vae = VaeConfig::read(kinds.vae, &folder.config("vae")?)?;
    let transformer = wan::Config::from_json(&folder.config("transformer")?)?;
    let sees_pictures = kinds.has_image_encoder && transformer.image_dim.is_some();
    Ok(Outlined {
        description: describe(folder, kinds, &transformer, &vae, vec![folder.name()])?,
        text: match kinds.text {
            TextKind::MiniLm => None,
            TextKind::Umt5 => Some(umt5::Config::from_json(&folder.config("text_encoder")?)?),
        },
        image_encoder: match sees_pictures {
            true => Some(clip_vision::Config::from_json(&folder.config("image_encoder")?)?),
            false => None,
        },
        experts: 1 + usize::from(kinds.has_second_expert),
        transformer,
        vae,
    })
}

/// Describes a model whose LoRAs and folder have these `names`.
fn describe(
    folder: &ModelFolder,
    kinds: Kinds,
    transformer: &wan::Config,
    vae: &VaeConfig,
    names: Vec<String>,
) -> Result<Description> {
    match kinds.text {
        TextKind::MiniLm => Description::read(folder, vae.temporal_factor()),
        TextKind::Umt5 => {
            let facts = WanFacts {
                transformer,
                experts: 1 + usize::from(kinds.has_second_expert),
                vae_spatial_factor: vae.spatial_factor(),
                vae_temporal_factor: vae.temporal_factor(),
                names,
            };
            Description::of_wan(folder, &facts)
        }
    }
}

/// A thread that panicked is a defect; its message goes on to the caller's panic handler.
pub(crate) fn joined<T>(result: std::thread::Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn record(folder: &ModelFolder) -> Result<ModelRecord> {
    Ok(ModelRecord {
        name: folder.name(),
        version: folder
            .manifest()
            .map_or_else(|| "unknown".to_owned(), |manifest| manifest.version.clone()),
        weights_hash: folder.weights_hash()?,
    })
}

fn transformer_slot(
    folder: &ModelFolder,
    part: &str,
    loras: Vec<(Lora, f32)>,
) -> Result<Slot<wan::Transformer, LoadOptions>> {
    let (checkpoint, config) = (folder.checkpoint(part)?, folder.config(part)?);
    let merged = checkpoint.with_loras(&loras)?;
    // Blocks that are read at each step would be merged at each step.
    let beside = checkpoint.with_loras_as(&loras, LoraUse::Branch)?;
    Ok(Slot::new(move |options: LoadOptions| {
        let checkpoint = match options.residency {
            Residency::Resident => &merged,
            Residency::Streamed => &beside,
        };
        Ok(wan::Transformer::load(checkpoint, &config, options)?)
    }))
}

fn vae_slot(folder: &ModelFolder, config: VaeConfig, precision: Precision) -> Result<Slot<Vae, VaeHalf>> {
    let (checkpoint, json) = (folder.checkpoint("vae")?, folder.config("vae")?);
    Ok(Slot::new(move |half| {
        Vae::load(&checkpoint, &config, &json, precision, half)
    }))
}
