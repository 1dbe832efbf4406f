//! A request before it is run: its files opened, its words settled, its plan made.

use kinora_media::Frame;

use crate::clip::Context;
use crate::model::{Vae, VaeHalf};
use crate::parse::Scene;
use crate::pipeline::{Parsed, Pipeline};
use crate::plan::Plan;
use crate::render::tensor_to_frame;
use crate::report::{CharacterRecord, Recipe, ShotRecord};
use crate::request::Request;
use crate::saved::SavedLatents;
use crate::tasks::{self, Material, Sources};
use crate::{Error, Result, map};

/// What is known of a run before anything is computed.
pub(crate) struct Prepared {
    /// The request, with what its task settles.
    pub(crate) request: Request,
    /// What the model is told: for the prompt, or for each shot.
    pub(crate) words: Vec<String>,
    pub(crate) sources: Sources,
    pub(crate) plan: Plan,
    /// What the user should know.
    pub(crate) notes: Vec<String>,
}

/// What the parser made of the words of a run.
pub(crate) struct Told {
    pub(crate) scene: Scene,
    /// The prompt as the model gets it: for the whole clip, or for each shot.
    pub(crate) prompts: Vec<String>,
    /// What the user should know.
    pub(crate) notes: Vec<String>,
}

impl Told {
    /// One text for the recipe.
    pub(crate) fn model_prompt(&self) -> String {
        match self.prompts.as_slice() {
            [prompt] => prompt.clone(),
            prompts => tasks::derived_prompt(prompts.iter().map(String::as_str)),
        }
    }
}

impl Pipeline {
    /// Opens the files of `request` and plans it.
    ///
    /// **Errors**: those of [`Pipeline::run`] before anything is computed.
    pub(crate) fn prepare(&self, request: &Request) -> Result<Prepared> {
        request.validate()?;
        let model = self.description();
        let resolved = tasks::resolve_characters(request, model.starts)?;
        let (mut request, mut words, mut notes) = (resolved.request, resolved.words, resolved.notes);
        let sources = Sources::open(&request, model)?;
        for material in sources.all() {
            if let Material::Latents { saved, .. } = material {
                self.check_source(material, saved)?;
            }
        }
        if !request.shots.is_empty() {
            request.prompt = tasks::derived_prompt(request.shots.iter().map(|shot| shot.prompt.as_str()));
        } else if request.prompt.trim().is_empty()
            && request.extend.is_none()
            && let Some(prompt) = sources.prompt()
        {
            notes.push(format!("the words are those that it is made of: {prompt}"));
            words = vec![prompt.clone()];
            request.prompt = prompt;
        }
        Ok(Prepared {
            plan: Plan::with_sources(&request, model, &sources)?,
            request,
            words,
            sources,
            notes,
        })
    }

    /// Refuses latents that this model's autoencoder did not make, or that are not what they say.
    fn check_source(&self, material: &Material, saved: &SavedLatents) -> Result<()> {
        self.check_latents(saved)?;
        let factor = self.inner().vae_config.spatial_factor();
        let size = saved.recipe.size.generated;
        let expected = [size.height_px, size.width_px].map(|side| side as usize / factor);
        let fits = |dims: &[usize]| dims.len() == 5 && dims[2] > 0 && dims[3..] == expected;
        match saved.parts.iter().all(|part| fits(part.latents.dims())) {
            true => Ok(()),
            false => Err(Error::NotLatents {
                path: material.path().to_owned(),
                reason: format!("they are not those of a clip of {size} by this model's autoencoder"),
            }),
        }
    }

    /// Parses the words of a run.
    ///
    /// **Errors**: [`Error::Prompt`] for words that cannot be used, [`Error::Invalid`] for a shot that has none.
    pub(crate) fn tell(&self, prepared: &Prepared) -> Result<Told> {
        let mode = prepared.request.prompt_mode;
        let shots = &prepared.request.shots;
        let scene = match shots.is_empty() {
            true => None,
            false => Some(tasks::parse_shots(shots, &prepared.words)?),
        };
        let parsed = prepared.words.iter().map(|words| self.parse(words, mode));
        let parsed = parsed.collect::<Result<Vec<Parsed>>>()?;
        let mut told = Told {
            prompts: parsed.iter().map(|shot| shot.model_prompt.clone()).collect(),
            notes: Vec::new(),
            scene: match (scene, parsed.first()) {
                (Some(scene), _) => scene,
                (None, Some(only)) => only.scene.clone(),
                (None, None) => crate::parse::parse(&prepared.request.prompt)?,
            },
        };
        for note in parsed.into_iter().flat_map(|shot| shot.notes) {
            if !told.notes.contains(&note) {
                told.notes.push(note);
            }
        }
        Ok(told)
    }

    /// The texts of a run as the transformer reads them.
    pub(crate) fn embed_texts(&self, plan: &Plan, prompts: &[String], notes: &mut Vec<String>) -> Result<Vec<Context>> {
        let embed = |prompt: &String| self.embed_text(plan, prompt, notes);
        prompts.iter().map(embed).collect()
    }

    /// The frames of kept latents at the model's rate, `most` of them or all.
    pub(crate) fn decode_frames(&self, saved: &SavedLatents, most: Option<usize>) -> Result<Vec<Frame>> {
        let frames = self.decode_with(&*self.inner().vae.get(VaeHalf::Both)?, saved, most);
        if self.decoding_half() != VaeHalf::Both {
            self.inner().vae.release();
        }
        frames
    }

    fn decode_with(&self, vae: &Vae, saved: &SavedLatents, most: Option<usize>) -> Result<Vec<Frame>> {
        let wanted = most.unwrap_or(usize::MAX).min(saved.recipe.length.new_frames);
        let mut frames = Vec::new();
        for part in &saved.parts {
            let (first, count) = (part.not_new, part.new_frames(self.description()));
            let mut decoder = vae.decoder(None)?;
            let mut done = 0;
            for index in 0..part.latents.dims()[2] {
                for tensor in decoder.push(&part.latents, index)? {
                    let is_new = done >= first && done < first + count;
                    if is_new && frames.len() < wanted {
                        frames.push(tensor_to_frame(&tensor)?);
                    }
                    done += 1;
                }
                if frames.len() >= wanted {
                    return Ok(frames);
                }
            }
        }
        Ok(frames)
    }
}

impl Prepared {
    /// What a recipe says of the task.
    ///
    /// **Errors**: [`Error::Input`] if the picture of a character cannot be read.
    pub(crate) fn record(&self, told: &Told, recipe: &mut Recipe) -> Result<()> {
        let Self { request, plan, .. } = self;
        recipe.curve = request.blend.as_ref().map(|blend| blend.curve.clone());
        recipe.seam_frames = request.close_loop.as_ref().map(|_| plan.new_frames);
        recipe.shots = request
            .shots
            .iter()
            .enumerate()
            .map(|(index, shot)| {
                let parts = plan.segments.iter().filter(|segment| segment.shot == index);
                ShotRecord {
                    prompt: shot.prompt.clone(),
                    model_prompt: told.prompts.get(index).cloned().unwrap_or_default(),
                    frames: parts.map(|segment| segment.new_frames).sum(),
                    transition: shot.transition,
                    has_image: shot.image.is_some(),
                }
            })
            .collect();
        let characters = request.characters.iter().map(|character| {
            Ok(CharacterRecord {
                name: character.name.trim().to_owned(),
                subject: character.subject.clone(),
                picture_sha256: map::file_sha256(&character.picture)?,
            })
        });
        recipe.characters = characters.collect::<Result<_>>()?;
        Ok(())
    }
}
