//! The whole way, from a request to files and a report.

use std::path::{Path, PathBuf};
use std::time::Instant;

use kinora_kernels::{Precision, trace};
use kinora_models::clip_vision::ClipVision;
use kinora_tensor::Arena;
use kinora_weights::{ModelFolder, registry};

use crate::checkpoint::{Checkpoints, Decisive, Keeper, NoCheckpoints, fingerprint};
use crate::clip::{ClipMaker, Context, Made};
use crate::description::Description;
use crate::inputs::Inputs;
use crate::memory::MemoryLimit;
use crate::memory_plan::{Loaded, MemoryPlan, Networks, TextSize, check_model, packed_bytes};
use crate::model::{Model, VaeHalf, joined};
use crate::options::OpenOptions;
use crate::parse::{self, Scene, Vocabulary};
use crate::plan::{Plan, Task};
use crate::precision::ResolvedPrecision;
use crate::prepare::Prepared;
use crate::progress::{CancelToken, Event, Observer, Stage};
use crate::render::Destination;
use crate::report::{CancelRecord, ClipReport, LengthRecord, ModelRecord, Recipe, RunPlan, RunReport, Timings};
use crate::request::{PromptMode, Request};
use crate::stopwatch::Stopwatch;
use crate::{Error, Result, memory};

/// The key under which a file carries its [`Recipe`].
pub(crate) const RECIPE_KEY: &str = "kinora.recipe";

/// A loaded model and everything that it takes to run it.
pub struct Pipeline {
    model: Model,
    /// Whether all networks were loaded when the model was opened, and stay.
    is_loaded: bool,
    vocabulary: Option<Vocabulary>,
    arena: Arena,
    precision: ResolvedPrecision,
    max_memory_bytes: Option<u64>,
    tiny_decoder: Option<PathBuf>,
    load_ms: u64,
}

/// What the parser understood, and what the model will get.
#[derive(Debug)]
pub struct Parsed {
    /// The scene.
    pub scene: Scene,
    /// The prompt as the model gets it.
    pub model_prompt: String,
    /// What the user should know.
    pub notes: Vec<String>,
}

impl Pipeline {
    /// Loads a model by its name in the registry or by its folder, and checks its files against their hashes.
    ///
    /// **Errors**: [`Error::Weights`] if it is not there, damaged or foreign; [`Error::UnsupportedModel`];
    /// [`Error::Memory`] if the weights alone are more than may be held.
    pub fn open(model: &str, options: OpenOptions) -> Result<Self> {
        let started = Instant::now();
        let _span = trace::span("load", 0.0);
        let folder = registry::find(model, &[])?.open()?;
        let mut pipeline = Self::from_folder(&folder, options)?;
        pipeline.load_ms = started.elapsed().as_millis() as u64;
        Ok(pipeline)
    }

    /// As [`Pipeline::open`] for a folder that is open already.
    pub fn from_folder(folder: &ModelFolder, options: OpenOptions) -> Result<Self> {
        let precision = options.precision.resolve()?;
        let model = Model::open(folder, precision.precision, &options)?;
        // A model with a small text encoder is small; of the others each part is loaded when its stage comes.
        let is_loaded = matches!(model.text.size(), TextSize::Loaded);
        // Reading and checking side by side keeps the start under half a second.
        std::thread::scope(|scope| {
            let hashes = scope.spawn(|| folder.verify_hashes());
            if is_loaded {
                check_model(
                    model_bytes(folder, precision.precision)?,
                    precision.precision,
                    memory::limit(options.max_memory_bytes),
                )?;
                model.load_all()?;
            }
            Ok::<_, Error>(joined(hashes.join())?)
        })?;
        Ok(Self {
            vocabulary: load_vocabulary(folder)?,
            model,
            is_loaded,
            arena: Arena::new(),
            precision,
            max_memory_bytes: options.max_memory_bytes,
            tiny_decoder: options.tiny_decoder,
            load_ms: 0,
        })
    }

    /// Which weights are loaded.
    pub const fn model(&self) -> &ModelRecord {
        &self.model.record
    }

    /// Sizes, lengths and defaults of the model.
    pub const fn description(&self) -> &Description {
        &self.model.description
    }

    /// What the large layers compute with, and why.
    pub const fn precision(&self) -> &ResolvedPrecision {
        &self.precision
    }

    /// The first step alone: text to scene, and what the model would get.
    ///
    /// **Errors**: [`Error::Prompt`] for an empty or oversized prompt.
    pub fn parse(&self, prompt: &str, mode: PromptMode) -> Result<Parsed> {
        let scene = parse::parse(prompt)?;
        let mut notes: Vec<String> = scene.notes.iter().map(ToString::to_string).collect();
        let (scene, model_prompt) = match self.vocabulary.as_ref().zip(self.model.text.sentences()) {
            Some((vocabulary, sentences)) => {
                let mut grounding = parse::ground(&scene, vocabulary, sentences)?;
                if !grounding.unknown.is_empty() && vocabulary.spells_out(&scene, &grounding) {
                    // What the parser did not know how to place, the model knows.
                    grounding.unknown.clear();
                }
                notes.extend(grounding.notes(&self.model.record.name));
                let expand = match mode {
                    PromptMode::Raw => false,
                    PromptMode::Expanded => true,
                    // Words that the model knows are best left as they are: it was trained on many wordings.
                    PromptMode::Auto => self.model.description.wants_vocabulary && !notes.is_empty(),
                };
                let expanded = if expand {
                    parse::expand(&scene, &grounding)
                } else {
                    prompt.to_owned()
                };
                (scene.with_grounding(grounding), expanded)
            }
            None => (scene, prompt.to_owned()),
        };
        Ok(Parsed {
            scene,
            model_prompt,
            notes,
        })
    }

    /// How `request` would be carried out, without doing it.
    ///
    /// **Errors**: those of [`Pipeline::run`] before anything is computed.
    pub fn plan(&self, request: &Request) -> Result<RunPlan> {
        let prepared = self.prepare(request)?;
        self.plan_run(&prepared.request, &prepared.plan)
    }

    /// Makes the clips that `request` asks for.
    ///
    /// Stopping through `cancel` is not an error: the report says where, and lists the clips that were finished.
    /// **Errors**: see [`Error`]; nothing half-written is left behind.
    pub fn run(&self, request: &Request, observer: &mut dyn Observer, cancel: &CancelToken) -> Result<RunReport> {
        self.run_resumable(request, observer, cancel, &mut NoCheckpoints)
    }

    /// As [`Pipeline::run`], going on from the checkpoint that an earlier attempt left and keeping new ones. The files are
    /// the same to the byte, wherever the earlier attempt was ended: between two steps or while frames were decoded.
    ///
    /// The request must be the same, up to where it writes and what it writes beside the clip (poster, sheet, latents,
    /// another format); so must the model, the precision, the instruction set and the version of Kinora. A checkpoint of
    /// something else, or one that is damaged, is not used; see [`Checkpoints::resume`]. Without a destination
    /// (`frames_only`) all frames are handed out again.
    ///
    /// **Errors**: those of [`Pipeline::run`] and of [`Checkpoints::kept`]; [`Error::Invalid`] for several variants.
    pub fn run_resumable(
        &self,
        request: &Request,
        observer: &mut dyn Observer,
        cancel: &CancelToken,
        checkpoints: &mut dyn Checkpoints,
    ) -> Result<RunReport> {
        let started = Instant::now();
        check_variants(request, checkpoints)?;
        let mut prepared = self.prepare(request)?;
        let run_plan = self.plan_run(&prepared.request, &prepared.plan)?;
        observer.event(&Event::Planned(&run_plan));
        let mut watch = Stopwatch::new(observer);

        let told = watch.stage(Stage::Parse, |_| self.tell(&prepared))?;
        let sources = std::mem::take(&mut prepared.sources);
        let Prepared { request, plan, .. } = &prepared;
        let mut notes = told.notes.clone();
        notes.extend(prepared.notes.iter().cloned());
        notes.extend(self.model.notes.iter().cloned());
        notes.extend(plan.guidance_note(request, &self.model.description));
        let (inputs, contexts) = watch.stage(Stage::Map, |_| {
            let decode = |saved: &_, most| self.decode_frames(saved, most);
            let inputs = Inputs::read(request, plan, &self.model.description, sources, &decode, &mut notes)?;
            Ok((inputs, self.embed_texts(plan, &told.prompts, &mut notes)?))
        })?;
        notes.iter().for_each(|note| watch.observer().event(&Event::Note(note)));

        let mut report = RunReport {
            schema: RunReport::SCHEMA,
            scene: serde_json::to_value(&told.scene).unwrap_or_default(),
            notes,
            plan: Some(run_plan.clone()),
            clips: Vec::new(),
            cancelled: None,
            threads: kinora_kernels::threads(),
            peak_memory_bytes: None,
        };
        let maker = ClipMaker {
            model: &self.model,
            arena: &self.arena,
            request,
            plan,
            memory: &run_plan.memory,
            inputs: &inputs,
            contexts: &contexts,
        };
        for variant in 0..request.variants {
            let seed = request.seed.wrapping_add(u64::from(variant));
            watch.observer().event(&Event::ClipStarted {
                variant,
                variants: request.variants,
                seed,
            });
            let mut recipe = self.recipe(request, plan, &inputs, told.model_prompt(), seed);
            prepared.record(&told, &mut recipe)?;
            let path = variant_path(&request.output, variant, request.variants);
            match self.make_clip(&maker, recipe, &path, &mut watch, cancel, checkpoints) {
                Ok((recipe, made)) => {
                    let load_ms = if variant == 0 { self.load_ms } else { 0 };
                    let timings = Timings {
                        load_ms,
                        ..watch.take_timings(started)
                    };
                    report.clips.push(ClipReport {
                        recipe,
                        outputs: made.finished.outputs,
                        timings,
                        cache: made.cache.map(Into::into),
                    });
                }
                Err(Error::Cancelled { step, of }) => {
                    report.cancelled = Some(CancelRecord {
                        clip: variant,
                        stage: watch.current(),
                        step,
                        of,
                        seed,
                    });
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        report.peak_memory_bytes = memory::peak_bytes();
        Ok(report)
    }

    /// One clip and the recipe that it carries.
    fn make_clip(
        &self,
        maker: &ClipMaker<'_>,
        mut recipe: Recipe,
        path: &Path,
        watch: &mut Stopwatch<'_>,
        cancel: &CancelToken,
        checkpoints: &mut dyn Checkpoints,
    ) -> Result<(Recipe, Made)> {
        let request = maker.request;
        if !request.frames_only && !request.overwrite && path.exists() {
            return Err(Error::OutputExists { path: path.to_owned() });
        }
        recipe.length.written_frames = maker.plan.written_frames(maker.inputs.source_counts());
        let destination = Destination {
            path,
            format: request.format,
            metadata: metadata(&recipe)?,
            poster: request.poster,
            sheet: request.sheet,
            expected_frames: recipe.length.written_frames,
        };
        let destination = (!request.frames_only).then_some(&destination);
        let fingerprint = match checkpoints.is_on() {
            true => fingerprint(&Decisive {
                recipe: &recipe,
                request,
                plan: maker.plan,
                memory: maker.memory,
                tiny_decoder: self.tiny_decoder.as_deref(),
            })?,
            false => String::new(),
        };
        let keeper = Keeper::new(checkpoints, fingerprint);
        let made = maker.make(&recipe, destination, watch, cancel, keeper)?;
        Ok((recipe, made))
    }

    /// The prompt and, where it counts, the negative prompt as the transformer reads them.
    pub(crate) fn embed_text(&self, plan: &Plan, prompt: &str, notes: &mut Vec<String>) -> Result<Context> {
        let negative = plan.is_guided().then_some(plan.negative.as_str());
        let (cond, uncond) = self.model.text.embed(prompt, negative)?;
        if cond.cut {
            let tokens = self.model.description.text_tokens;
            notes.push(format!(
                "the prompt is longer than {tokens} tokens; its end was cut off"
            ));
        }
        Ok(Context {
            cond: cond.context,
            uncond: uncond.map(|text| text.context),
        })
    }

    /// What the model is taken for: a test makes small clips in several parts.
    #[cfg(test)]
    pub(crate) const fn description_mut(&mut self) -> &mut Description {
        &mut self.model.description
    }

    pub(crate) const fn inner(&self) -> &Model {
        &self.model
    }

    pub(crate) const fn load_ms(&self) -> u64 {
        self.load_ms
    }

    /// What of the autoencoder a run needs that only decodes: what is loaded already, or its decoder.
    pub(crate) const fn decoding_half(&self) -> VaeHalf {
        match self.is_loaded {
            true => VaeHalf::Both,
            false => VaeHalf::Decoder,
        }
    }

    /// What an estimate of memory has to know of the model.
    pub(crate) fn networks(&self) -> Networks<'_> {
        Networks {
            transformer: &self.model.transformer_config,
            vae: &self.model.vae_config,
            decoder: self.model.decoding_config(),
            text: self.model.text.size(),
            image_encoder: self.model.image_encoder.as_ref().map(ClipVision::config),
            experts: self.model.experts.iter().count(),
            block_frames: self.model.description.block_frames,
            is_loaded: self.is_loaded,
            text_tokens: self.model.description.text_tokens,
            precision: self.precision.precision,
        }
    }

    /// What the process holds. Where the system does not tell, nobody has to be told either: a limit is then compared with
    /// the rest alone.
    pub(crate) fn loaded(&self) -> Loaded {
        Loaded {
            bytes: memory::resident_bytes().unwrap_or(0),
            peak_bytes: memory::peak_bytes().unwrap_or(0),
        }
    }

    pub(crate) fn limit(&self) -> Option<MemoryLimit> {
        memory::limit(self.max_memory_bytes)
    }

    /// How a request is going to be carried out.
    fn plan_run(&self, request: &Request, plan: &Plan) -> Result<RunPlan> {
        Ok(RunPlan {
            precision: self.precision.name().to_owned(),
            precision_reason: self.precision.reason.clone(),
            kernels: kernels_name(),
            threads: kinora_kernels::threads(),
            memory: MemoryPlan::choose(
                self.networks(),
                plan,
                &self.model.description,
                request.format,
                self.loaded(),
                self.limit(),
            )?,
        })
    }

    fn recipe(&self, request: &Request, plan: &Plan, inputs: &Inputs, model_prompt: String, seed: u64) -> Recipe {
        Recipe {
            kinora: env!("CARGO_PKG_VERSION").to_owned(),
            task: plan.task.name().to_owned(),
            prompt: request.prompt.clone(),
            model_prompt,
            negative: plan.negative.clone(),
            model: self.model.record.clone(),
            seed,
            noise: "philox4x32-10 box-muller".to_owned(),
            sampler: plan.sampler.name().to_owned(),
            schedule: plan.schedule.kind().name().to_owned(),
            shift: plan.shift,
            steps: plan.steps,
            guidance_scale: plan.guidance_scale,
            guidance_scale_low: self.model.description.expert_switch.map(|_| plan.guidance_scale_low),
            guided_steps: plan.guided_steps,
            strength: plan.strength,
            control_scale: (plan.task == Task::Controlled).then_some(request.control_scale),
            cache: request.cache.spelling(),
            loras: self.model.loras.clone(),
            size: plan.size.clone(),
            length: LengthRecord {
                new_frames: plan.new_frames,
                generated_frames: plan.generated_frames(&self.model.description),
                segments: plan.segments.len(),
                written_frames: 0,
                fps: plan.fps.to_string(),
                how: plan.length_how.clone(),
            },
            curve: None,
            seam_frames: None,
            shots: Vec::new(),
            characters: Vec::new(),
            input_sha256: inputs.sha256(),
            kernels: kernels_name(),
            precision: self.precision.name().to_owned(),
        }
    }
}

/// Clips of several variants come one after the other; each would need checkpoints of its own.
fn check_variants(request: &Request, checkpoints: &dyn Checkpoints) -> Result<()> {
    match request.variants {
        variants if variants != 1 && checkpoints.is_on() => Err(Error::Invalid {
            what: "variants",
            got: variants.to_string(),
            reason: "a run that keeps checkpoints makes one clip".into(),
            hint: "run each variant for itself: variant i has the seed of the first plus i".into(),
        }),
        _ => Ok(()),
    }
}

fn kernels_name() -> String {
    kinora_kernels::Path::active().map_or_else(|_| "unknown".to_owned(), |path| path.to_string())
}

/// What a model will take once its weights are packed.
pub(crate) fn model_bytes(folder: &ModelFolder, precision: Precision) -> Result<u64> {
    let of_convolutions = precision.of_convolutions().map_err(kinora_models::Error::from)?;
    let transformer = packed_bytes(&folder.checkpoint("transformer")?, "blocks.", precision, "");
    let vae = packed_bytes(&folder.checkpoint("vae")?, "", of_convolutions, "");
    let text = packed_bytes(
        &folder.checkpoint("text_encoder")?,
        "",
        Precision::F32,
        "embeddings.word_embeddings.weight",
    );
    // Files inside the program stay in memory once they were read; mapped ones give way when memory is short.
    let embedded = match folder.path() {
        None => folder.size_bytes()?,
        Some(_) => 0,
    };
    Ok(transformer + vae + text + embedded)
}

/// What is written into the file beside its frames.
pub(crate) fn metadata(recipe: &Recipe) -> Result<Vec<(String, String)>> {
    let json = serde_json::to_string(recipe).map_err(|error| Error::Record {
        reason: error.to_string(),
    })?;
    Ok(vec![
        ("title".to_owned(), recipe.prompt.clone()),
        ("encoder".to_owned(), format!("Kinora {}", recipe.kinora)),
        (
            "comment".to_owned(),
            format!("made by {} {} from a prompt", recipe.model.name, recipe.model.version),
        ),
        (RECIPE_KEY.to_owned(), json),
    ])
}

/// `clip.mp4` for a single clip; `clip-2.mp4` for the second of several.
fn variant_path(output: &Path, variant: u32, variants: u32) -> PathBuf {
    if variants == 1 {
        return output.to_owned();
    }
    let stem = output.file_stem().unwrap_or_default().to_string_lossy();
    let name = match output.extension() {
        Some(extension) => format!("{stem}-{}.{}", variant + 1, extension.to_string_lossy()),
        None => format!("{stem}-{}", variant + 1),
    };
    output.with_file_name(name)
}

/// What made a file, if Kinora did.
///
/// **Errors**: [`Error::Input`] if the file cannot be read.
pub fn read_recipe(path: &Path) -> Result<Option<Recipe>> {
    let metadata = kinora_media::read_metadata(path).map_err(|source| Error::Input {
        path: path.to_owned(),
        source,
    })?;
    let json = metadata
        .iter()
        .find(|(key, _)| key == RECIPE_KEY)
        .map(|(_, value)| value);
    Ok(json.and_then(|json| serde_json::from_str(json).ok()))
}

fn load_vocabulary(folder: &ModelFolder) -> Result<Option<Vocabulary>> {
    match (folder.concepts()?, folder.concept_vectors()?) {
        (Some(concepts), Some(vectors)) => Ok(Some(crate::map::vocabulary(&concepts, &vectors)?)),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_are_numbered_before_the_extension() {
        assert_eq!(variant_path(Path::new("out/a.b.mp4"), 0, 1), Path::new("out/a.b.mp4"));
        assert_eq!(variant_path(Path::new("out/a.b.mp4"), 1, 3), Path::new("out/a.b-2.mp4"));
        assert_eq!(variant_path(Path::new("frames"), 0, 2), Path::new("frames-1"));
    }
}
