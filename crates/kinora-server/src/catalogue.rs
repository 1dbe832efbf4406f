//! The models that a server serves: what they are called, what they make, and whether a piece of work fits into a worker.
//! Only headers are read, so the process that answers requests holds no weights.

use kinora_api::{ApiError, Lengths, ModelRules, Rules, Seconds, Size, Sizes};
use kinora_pipeline::{Error as PipelineError, Outline, PrecisionChoice, Size as ClipSize};

use crate::runner::{apply_unseen, one_line, request_of};
use crate::work::Work;
use crate::{Config, Error, Result};

/// The name that programs written for OpenAI's interface ask for.
const SORA: &str = "sora-2";
/// Its other names.
const SORA_ALIASES: [&str; 4] = [
    "sora-2-pro",
    "sora-2-2025-10-06",
    "sora-2-2025-12-08",
    "sora-2-pro-2025-10-06",
];
/// The size and length that such programs expect if they ask for none.
const SORA_DEFAULTS: (Size, Seconds) = (Size::new(720, 1280), Seconds::whole(4));
/// Lengths that one job makes.
const SHORTEST: Seconds = Seconds::from_ms(250);
const LONGEST: Seconds = Seconds::whole(60);
/// Frames of the longest clip at the highest rate.
const MOST_FRAMES: u32 = 7200;

/// A model that is served.
#[derive(Debug)]
struct Served {
    /// What the workers call it.
    engine: String,
    outline: Outline,
}

/// The models of a server.
#[derive(Debug)]
pub struct Catalogue {
    /// In the order of the settings; the first one is used if nobody says otherwise.
    models: Vec<Served>,
    rules: Rules,
    max_memory_bytes: Option<u64>,
}

impl Catalogue {
    /// Describes the models of `config`.
    ///
    /// **Errors**: [`Error::Pipeline`] for one that is not there or cannot be run, [`Error::Setting`] for none, or for two of
    /// one name.
    pub fn open(config: &Config) -> Result<Self> {
        let mut models: Vec<Served> = Vec::new();
        for name in &config.models {
            let outline = Outline::open(name, PrecisionChoice::default())?;
            let engine = outline.name.clone();
            if models.iter().any(|model| model.engine == engine) {
                return Err(Error::Setting {
                    what: "--model",
                    problem: format!("two models are called {engine}"),
                    hint: "rename the folder of one of them".into(),
                });
            }
            models.push(Served { engine, outline });
        }
        let Some(first) = models.first() else {
            return Err(Error::Setting {
                what: "--model",
                problem: "no model is named".into(),
                hint: "toybox is inside the program".into(),
            });
        };
        let sora = rules(SORA, &SORA_ALIASES, SORA_DEFAULTS, &first.outline);
        let own = models.iter().map(|model| {
            let defaults = defaults_of(&model.outline);
            rules(&model.engine, &[], defaults, &model.outline)
        });
        Ok(Self {
            rules: Rules::new(std::iter::once(sora).chain(own).collect()),
            models,
            max_memory_bytes: config.max_memory_bytes,
        })
    }

    /// What requests are checked against.
    #[must_use]
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The model that makes what is asked of `name`; `None` if there is no such name.
    #[must_use]
    pub fn engine_of(&self, name: &str) -> Option<&str> {
        self.served(name).map(|model| model.engine.as_str())
    }

    /// The licence of the weights behind `name`, if they say it.
    #[must_use]
    pub fn licence_of(&self, name: &str) -> Option<&str> {
        self.served(name)?.outline.licence.as_deref()
    }

    /// Whether a worker can do `work`: its model takes the values, and the memory plan fits into what a worker may hold.
    /// Clips that it starts from are not looked at; what is wrong with them shows when it is done.
    ///
    /// **Errors**: 400 naming the field; for too little memory too, on `size`.
    pub fn admit(&self, work: &Work) -> Result<(), ApiError> {
        let Some(model) = self.models.iter().find(|model| model.engine == work.engine) else {
            let served: Vec<&str> = self.rules.models.iter().map(|model| model.name.as_str()).collect();
            return Err(ApiError::unknown_model(&work.model, &served));
        };
        let description = model.outline.description();
        let request = request_of(work, description, std::path::Path::new("video.mp4"));
        let mut request = request.map_err(|refused| ApiError::invalid_value(refused.field, "", &refused.reason))?;
        let source = apply_unseen(&mut request, &work.task, description);
        let planned = model.outline.memory(&request, source, self.max_memory_bytes);
        planned.map(drop).map_err(|error| match &error {
            PipelineError::Invalid { what, got, reason, hint } => {
                ApiError::invalid_value(field_of(what), got, &format!("{reason}: {hint}."))
            }
            PipelineError::Memory { needed_bytes, limit_bytes, .. } => {
                let megabytes = |bytes: u64| bytes.div_ceil(1_000_000);
                let rule = format!(
                    "It would take about {} MB of memory; workers of this server may hold {} MB. Ask for a smaller size or a \
                     shorter clip.",
                    megabytes(*needed_bytes),
                    megabytes(*limit_bytes)
                );
                ApiError::invalid_value("size", &work.size.to_string(), &rule)
            }
            other => ApiError::invalid_value("model", &work.model, &one_line(&other.to_string())),
        })
    }

    fn served(&self, name: &str) -> Option<&Served> {
        let is_sora = name == SORA || SORA_ALIASES.contains(&name);
        let own = self.models.iter().find(|model| model.engine == name);
        own.or_else(|| self.models.first().filter(|_| is_sora))
    }
}

/// What requests call a field of the pipeline's.
fn field_of(what: &str) -> &str {
    match what {
        "steps" => "num_inference_steps",
        "guidance" => "guidance_scale",
        "shift" => "flow_shift",
        "frames" => "num_frames",
        other => other,
    }
}

/// The size and length that a model makes best.
fn defaults_of(outline: &Outline) -> (Size, Seconds) {
    let description = outline.description();
    let size = description
        .sizes
        .first()
        .map_or(SORA_DEFAULTS.0, |size| Size::new(size.width_px, size.height_px));
    let frames = u32::try_from(description.default_frames).unwrap_or(u32::MAX);
    let length = Seconds::of_frames(frames, description.fps.as_f64());
    (size, length.unwrap_or(SORA_DEFAULTS.1).clamp(SHORTEST, LONGEST))
}

fn rules(name: &str, aliases: &[&str], (size, length): (Size, Seconds), outline: &Outline) -> ModelRules {
    let lengths = Lengths::Range {
        least: SHORTEST,
        most: LONGEST,
    };
    let description = outline.description();
    let longest_ms = f64::from(LONGEST.ms());
    ModelRules {
        name: name.to_owned(),
        aliases: aliases.iter().copied().map(str::to_owned).collect(),
        // Frames are scaled to what is asked for, so any size will do that a file can have.
        sizes: Sizes::Range {
            least_px: ClipSize::MIN_SIDE_PX,
            most_px: ClipSize::MAX_SIDE_PX,
            multiple_px: 2,
        },
        default_size: size,
        lengths: lengths.clone(),
        default_seconds: length,
        extension_lengths: lengths,
        most_frames: MOST_FRAMES.max((longest_ms / 1000.0 * description.fps.as_f64()) as u32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::Task;

    fn config() -> Config {
        Config::new(([127, 0, 0, 1], 0).into(), "unused".into())
    }

    fn work(engine: &str) -> Work {
        Work {
            version: Work::VERSION,
            task: Task::Create {
                image: None,
                characters: Vec::new(),
            },
            prompt: "a red ball".into(),
            model: SORA.into(),
            engine: engine.into(),
            size: Size::new(720, 1280),
            seconds: Seconds::whole(4),
            num_frames: None,
            seed: 1,
            options: kinora_api::Options::default(),
            remixed_from: None,
            traceparent: None,
            sources: Default::default(),
        }
    }

    #[test]
    fn programs_written_for_openai_find_their_model_and_defaults() {
        let catalogue = Catalogue::open(&config()).unwrap();
        let rules = catalogue.rules().model(None).unwrap();
        assert_eq!(
            (rules.name.as_str(), rules.default_size, rules.default_seconds),
            ("sora-2", Size::new(720, 1280), Seconds::whole(4))
        );
        for name in ["sora-2", "sora-2-pro", "sora-2-2025-12-08", "toybox"] {
            assert_eq!(catalogue.engine_of(name), Some("toybox"), "{name}");
            catalogue.rules().model(Some(name)).unwrap();
        }
        assert_eq!(catalogue.engine_of("sora-3"), None);
        let names: Vec<_> = catalogue
            .rules()
            .models
            .iter()
            .map(|rules| rules.name.clone())
            .collect();
        assert_eq!(names, ["sora-2", "toybox"]);
        assert!(names.iter().all(|name| catalogue.licence_of(name).is_some()));
        let own = catalogue.rules().model(Some("toybox")).unwrap();
        assert_eq!(own.default_size, Size::new(512, 288));
        assert!(own.sizes.check(Size::new(90, 64)).is_ok() && own.sizes.check(Size::new(91, 64)).is_err());
    }

    #[test]
    fn what_cannot_be_done_is_refused_before_it_waits() {
        let catalogue = Catalogue::open(&config()).unwrap();
        catalogue.admit(&work("toybox")).unwrap();
        let field = |work: &Work, catalogue: &Catalogue| {
            let error = catalogue.admit(work).unwrap_err();
            assert_eq!(error.status, 400, "{error:?}");
            error.object.param.unwrap_or_default()
        };
        assert_eq!(field(&work("other"), &catalogue), "model");
        let mut narrow = work("toybox");
        narrow.size = Size::new(64, 3840);
        assert_eq!(field(&narrow, &catalogue), "size");
        let mut steps = work("toybox");
        steps.options.steps = Some(1000);
        assert_eq!(field(&steps, &catalogue), "num_inference_steps");
        let small = Config {
            max_memory_bytes: Some(100_000_000),
            ..config()
        };
        let error = Catalogue::open(&small).unwrap().admit(&work("toybox")).unwrap_err();
        assert!(error.object.message.contains("100 MB"), "{error:?}");
    }

    #[test]
    fn a_server_without_a_model_or_with_one_twice_does_not_start() {
        for models in [vec![], vec!["toybox".to_owned(), "toybox".to_owned()]] {
            let config = Config { models, ..config() };
            assert!(matches!(
                Catalogue::open(&config),
                Err(Error::Setting { what: "--model", .. })
            ));
        }
        let config = Config {
            models: vec!["nothing-of-this-name".into()],
            ..config()
        };
        assert!(matches!(Catalogue::open(&config), Err(Error::Pipeline(_))));
    }
}
