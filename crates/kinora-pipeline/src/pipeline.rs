//! The whole way, from a request to files and a report.

use std::path::{Path, PathBuf};
use std::time::Instant;

use kinora_kernels::{Precision, trace};
use kinora_media::{Fps, Frame};
use kinora_sampling::{Guidance, Schedule, Stream};
use kinora_tensor::Arena;
use kinora_weights::{ModelFolder, registry};

use crate::description::Description;
use crate::diffuse::{Denoised, Known, Settings, diffuse};
use crate::map::{ClipTail, Conditioning, clip_tail, encode_frames, file_sha256, first_frame, probe_source};
use crate::memory_plan::{GuidanceMode, Loaded, MemoryPlan, Networks, check_model, packed_bytes};
use crate::model::{Model, joined};
use crate::options::OpenOptions;
use crate::parse::{self, Scene, Vocabulary};
use crate::plan::{Plan, SourceClip, Task};
use crate::precision::ResolvedPrecision;
use crate::progress::{CancelToken, Event, Observer, Stage};
use crate::render::{Destination, Renderer};
use crate::report::{CancelRecord, ClipReport, LengthRecord, ModelRecord, Recipe, RunPlan, RunReport, Timings};
use crate::request::{PromptMode, Request};
use crate::stopwatch::Stopwatch;
use crate::{Error, Result, memory};

/// The key under which a file carries its [`Recipe`].
pub(crate) const RECIPE_KEY: &str = "kinora.recipe";

/// A loaded model and everything that it takes to run it.
pub struct Pipeline {
    model: Model,
    vocabulary: Option<Vocabulary>,
    arena: Arena,
    precision: ResolvedPrecision,
    max_memory_bytes: Option<u64>,
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

/// What a run was given to start from, read once for all variants.
#[derive(Default)]
struct Given {
    /// Frames that the first part starts from, in playing order.
    frames: Vec<Frame>,
    /// Frames and rate of the clip that is continued.
    source: Option<(usize, Fps)>,
    sha256: Option<String>,
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
        check_model(
            model_bytes(folder, precision.precision)?,
            precision.precision,
            memory::limit(options.max_memory_bytes),
        )?;
        let model = Model::open(folder, precision.precision)?;
        // Reading and checking side by side keeps the start under half a second.
        std::thread::scope(|scope| {
            let hashes = scope.spawn(|| folder.verify_hashes());
            model.load_all()?;
            Ok::<_, Error>(joined(hashes.join())?)
        })?;
        Ok(Self {
            vocabulary: load_vocabulary(folder)?,
            model,
            arena: Arena::new(),
            precision,
            max_memory_bytes: options.max_memory_bytes,
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
                let grounding = parse::ground(&scene, vocabulary, sentences)?;
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

    /// Makes the clips that `request` asks for.
    ///
    /// Stopping through `cancel` is not an error: the report says where, and lists the clips that were finished.
    /// **Errors**: see [`Error`]; nothing half-written is left behind.
    pub fn run(&self, request: &Request, observer: &mut dyn Observer, cancel: &CancelToken) -> Result<RunReport> {
        let started = Instant::now();
        request.validate()?;
        let source = request.extend.as_deref().map(probe_source).transpose()?;
        let plan = Plan::new(request, &self.model.description, source)?;
        let run_plan = self.plan_run(request, &plan)?;
        observer.event(&Event::Planned(&run_plan));
        let mut watch = Stopwatch::new(observer);

        let parsed = watch.stage(Stage::Parse, |_| self.parse(&request.prompt, request.prompt_mode))?;
        let mut notes = parsed.notes;
        notes.extend(plan.guidance_note(request, &self.model.description));
        let (given, cond, uncond) = watch.stage(Stage::Map, |_| {
            let given = self.read_given(request, &plan, source, &mut notes)?;
            let negative = plan.is_guided().then_some(plan.negative.as_str());
            let (cond, uncond) = self.model.text.embed(&parsed.model_prompt, negative)?;
            if cond.cut {
                notes.push(format!(
                    "the prompt is longer than {} tokens; its end was cut off",
                    self.model.description.text_tokens
                ));
            }
            Ok((given, cond.context, uncond.map(|text| text.context)))
        })?;
        notes.iter().for_each(|note| watch.observer().event(&Event::Note(note)));

        let mut report = RunReport {
            schema: RunReport::SCHEMA,
            scene: serde_json::to_value(&parsed.scene).unwrap_or_default(),
            notes,
            plan: Some(run_plan.clone()),
            clips: Vec::new(),
            cancelled: None,
            threads: kinora_kernels::threads(),
            peak_memory_bytes: None,
        };
        let mut conditioning = Conditioning {
            cond,
            uncond,
            image: None,
            known: Known::Nothing,
            control: None,
        };
        for variant in 0..request.variants {
            let seed = request.seed.wrapping_add(u64::from(variant));
            watch.observer().event(&Event::ClipStarted {
                variant,
                variants: request.variants,
                seed,
            });
            let recipe = self.recipe(request, &plan, &given, &parsed.model_prompt, seed);
            let path = variant_path(&request.output, variant, request.variants);
            match self.make_clip(
                request,
                &plan,
                run_plan.memory.guidance,
                &given,
                &mut conditioning,
                recipe,
                &path,
                &mut watch,
                cancel,
            ) {
                Ok((recipe, outputs)) => {
                    let load_ms = if variant == 0 { self.load_ms } else { 0 };
                    let timings = Timings {
                        load_ms,
                        ..watch.take_timings(started)
                    };
                    report.clips.push(ClipReport {
                        recipe,
                        outputs,
                        timings,
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

    /// One clip: each part is mapped, diffused and rendered; the end of a part is where the next one starts.
    fn make_clip(
        &self,
        request: &Request,
        plan: &Plan,
        guidance_mode: GuidanceMode,
        given: &Given,
        conditioning: &mut Conditioning,
        mut recipe: Recipe,
        path: &Path,
        watch: &mut Stopwatch<'_>,
        cancel: &CancelToken,
    ) -> Result<(Recipe, Vec<crate::report::OutputRecord>)> {
        if !request.frames_only && !request.overwrite && path.exists() {
            return Err(Error::OutputExists { path: path.to_owned() });
        }
        let tail_frames = self
            .model
            .description
            .frames_of(self.model.description.overlap_latent_frames);
        recipe.length.written_frames = plan.written_frames(given.source);
        let destination = Destination {
            path,
            format: request.format,
            metadata: metadata(&recipe)?,
            poster: request.poster,
            sheet: request.sheet,
            expected_frames: recipe.length.written_frames,
        };
        let destination = (!request.frames_only).then_some(&destination);
        let mut renderer = Renderer::create(plan, destination, tail_frames)?;
        if let (Some((_, fps)), Some(path)) = (given.source, &request.extend) {
            renderer.copy_source(path, fps, &given.frames, watch.observer(), cancel)?;
        }
        let generated = plan.size.generated;
        let vae = self.model.vae.get(())?;
        let factor = self.model.vae_config.spatial_factor();
        let [height, width] = [
            generated.height_px as usize / factor,
            generated.width_px as usize / factor,
        ];
        let schedule = Schedule::new(plan.schedule, plan.steps as usize, plan.shift)?;

        for (index, segment) in plan.segments.iter().enumerate() {
            watch.observer().event(&Event::SegmentStarted {
                segment: index,
                segments: plan.segments.len(),
            });
            let given_frames = self.model.description.frames_of(segment.prefix_latent_frames);
            if segment.prefix_latent_frames > 0 {
                let frames = if index == 0 {
                    given.frames.clone()
                } else {
                    renderer.tail()
                };
                let frames = &frames[frames.len().saturating_sub(given_frames)..];
                let prefix = watch.stage(Stage::Map, |_| encode_frames(&vae, &self.arena, frames, generated))?;
                conditioning.known = Known::Prefix(prefix);
                self.arena.trim();
            }
            let settings = Settings {
                grid: [segment.latent_frames, height, width],
                seed: recipe.seed,
                stream: Stream {
                    variant: 0,
                    part: index as u32,
                },
                schedule: schedule.clone(),
                sampler: plan.sampler,
                guidance: Guidance::new(plan.guidance_scale)?,
                guidance_mode,
                switch: None,
                load: self.model.precision.into(),
                cache: None,
                keep_experts: true,
            };
            let Denoised { latents, .. } = watch.stage(Stage::Diffuse, |observer| {
                diffuse(
                    &self.model.experts,
                    &self.model.vae_config,
                    &self.arena,
                    conditioning,
                    &settings,
                    observer,
                    cancel,
                )
            })?;
            conditioning.known = Known::Nothing;
            self.arena.trim();
            // The picture that a clip starts from is its first frame; other given frames are in the file already.
            let not_new = if index == 0 && plan.task == Task::ImageToVideo {
                0
            } else {
                given_frames
            };
            watch.stage(Stage::Render, |observer| {
                renderer.push_latents(&vae, &latents, not_new, observer, cancel)
            })?;
        }
        let finished = watch.stage_quietly(Stage::Render, |observer| renderer.finish(observer))?;
        self.arena.trim();
        Ok((recipe, finished.outputs))
    }

    /// How a request is going to be carried out.
    fn plan_run(&self, request: &Request, plan: &Plan) -> Result<RunPlan> {
        let networks = Networks {
            transformer: &self.model.transformer_config,
            vae: &self.model.vae_config,
            text_tokens: self.model.description.text_tokens,
            precision: self.precision.precision,
        };
        // Where the system does not tell, nobody has to be told either: a limit is then compared with the rest alone.
        let loaded = Loaded {
            bytes: memory::resident_bytes().unwrap_or(0),
            peak_bytes: memory::peak_bytes().unwrap_or(0),
        };
        let limit = memory::limit(self.max_memory_bytes);
        Ok(RunPlan {
            precision: self.precision.name().to_owned(),
            precision_reason: self.precision.reason.clone(),
            kernels: kernels_name(),
            threads: kinora_kernels::threads(),
            memory: MemoryPlan::choose(networks, plan, &self.model.description, request.format, loaded, limit)?,
        })
    }

    fn read_given(
        &self,
        request: &Request,
        plan: &Plan,
        source: Option<SourceClip>,
        notes: &mut Vec<String>,
    ) -> Result<Given> {
        let size = plan.size.generated;
        if let Some(path) = &request.image {
            let (frame, image_notes) = first_frame(path, size)?;
            notes.extend(image_notes);
            let sha256 = Some(file_sha256(path)?);
            return Ok(Given {
                frames: vec![frame],
                source: None,
                sha256,
            });
        }
        if let (Some(path), Some(source)) = (&request.extend, source) {
            let most_frames = plan
                .segments
                .first()
                .map_or(1, |s| self.model.description.frames_of(s.prefix_latent_frames));
            let ClipTail { frames, source_frames } = clip_tail(path, plan.model_fps, most_frames, size)?;
            let sha256 = Some(file_sha256(path)?);
            return Ok(Given {
                frames,
                source: Some((source_frames, source.fps)),
                sha256,
            });
        }
        Ok(Given::default())
    }

    fn recipe(&self, request: &Request, plan: &Plan, given: &Given, model_prompt: &str, seed: u64) -> Recipe {
        Recipe {
            kinora: env!("CARGO_PKG_VERSION").to_owned(),
            task: plan.task.name().to_owned(),
            prompt: request.prompt.clone(),
            model_prompt: model_prompt.to_owned(),
            negative: plan.negative.clone(),
            model: self.model.record.clone(),
            seed,
            noise: "philox4x32-10 box-muller".to_owned(),
            sampler: plan.sampler.name().to_owned(),
            schedule: plan.schedule.name().to_owned(),
            shift: plan.shift,
            steps: plan.steps,
            guidance_scale: plan.guidance_scale,
            size: plan.size.clone(),
            length: LengthRecord {
                new_frames: plan.new_frames,
                generated_frames: plan.generated_frames(&self.model.description),
                segments: plan.segments.len(),
                written_frames: 0,
                fps: plan.fps.to_string(),
                how: plan.length_how.clone(),
            },
            input_sha256: given.sha256.clone(),
            kernels: kernels_name(),
            precision: self.precision.name().to_owned(),
        }
    }
}

fn kernels_name() -> String {
    kinora_kernels::Path::active().map_or_else(|_| "unknown".to_owned(), |path| path.to_string())
}

/// What a model will take once its weights are packed.
fn model_bytes(folder: &ModelFolder, precision: Precision) -> Result<u64> {
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
fn metadata(recipe: &Recipe) -> Result<Vec<(String, String)>> {
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
