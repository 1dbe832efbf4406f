//! The command that makes a clip again: from a request, or from what a file says about itself.

use std::borrow::Cow;
use std::fmt::Display;

use kinora_pipeline::{
    Length, LoraChoice, LoraRecord, OpenOptions, PrecisionChoice, PromptMode, Recipe, Request, Transition,
};
use kinora_sampling::Expert;

use crate::args::DEFAULT_MODEL;

/// A command line in the making.
struct Line(String);

impl Line {
    fn generate(prompt: &str) -> Self {
        // A prompt that looks like a flag has to come after `--`; `{}` then stands at the end.
        let line = Self("kinora generate".into());
        match prompt.starts_with('-') || prompt.is_empty() {
            true => line,
            false => line.word(prompt),
        }
    }

    fn word(mut self, word: &str) -> Self {
        self.0 = format!("{} {}", self.0, quoted(word));
        self
    }

    fn flag(self, flag: &str, wanted: bool) -> Self {
        if wanted {
            Self(format!("{} {flag}", self.0))
        } else {
            self
        }
    }

    fn value(self, flag: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => Self(format!("{} {flag}", self.0)).word(&value.to_string()),
            None => self,
        }
    }

    fn values(self, flag: &str, values: impl Iterator<Item = impl Display>) -> Self {
        values.fold(self, |line, value| line.value(flag, Some(value)))
    }

    fn end(self, prompt: &str) -> String {
        match prompt.starts_with('-') {
            true => Self(self.0 + " --").word(prompt).0,
            false => self.0,
        }
    }
}

/// Quotes a word for a POSIX shell, if it needs that.
pub fn quoted(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_alphanumeric() || "-_./:,+=@%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.into(),
        false => format!("'{}'", word.replace('\'', r"'\''")).into(),
    }
}

/// The command for the clips of `request` from `seed` on.
pub fn of_request(request: &Request, model: &str, options: &OpenOptions, seed: u64, variants: u32) -> String {
    let (frames, seconds) = match request.length {
        Length::Default => (None, None),
        Length::Frames(frames) => (Some(frames), None),
        Length::Seconds(seconds) => (None, Some(seconds)),
    };
    let by_ending = kinora_media::Format::from_extension(&request.output);
    let format =
        (by_ending.ok() != Some(request.format) || request.output.extension().is_none()).then_some(request.format);
    Line::generate(&request.prompt)
        .value("-o", Some(request.output.display()))
        .value("--format", format)
        .value("--size", request.size)
        .value("--frames", frames)
        .value("--seconds", seconds)
        .value("--fps", request.fps)
        .value("--image", request.image.as_ref().map(|path| path.display()))
        .value("--last-image", request.last_image.as_ref().map(|path| path.display()))
        .value("--extend", request.extend.as_ref().map(|path| path.display()))
        .value("--video", request.video.as_ref().map(|path| path.display()))
        .value(
            "--video-latents",
            request.video_latents.as_ref().map(|path| path.display()),
        )
        .value("--blend-from", request.blend.as_ref().map(|blend| blend.from.display()))
        .value("--blend-to", request.blend.as_ref().map(|blend| blend.to.display()))
        .value("--curve", request.blend.as_ref().and_then(|blend| list(&blend.curve)))
        .value(
            "--loop",
            request.close_loop.as_ref().map(|close| close.source.display()),
        )
        .value(
            "--seam-frames",
            request.close_loop.as_ref().and_then(|close| close.seam_frames),
        )
        .value(
            "--strength",
            Some(request.strength).filter(|_| is_made_of_a_clip(request)),
        )
        .values("--shot", request.shots.iter().map(|shot| &shot.prompt))
        .value(
            "--shot-frames",
            list_of(request, |length| match length {
                Length::Frames(frames) => Some(f64::from(frames)),
                _ => None,
            }),
        )
        .value(
            "--shot-seconds",
            list_of(request, |length| match length {
                Length::Seconds(seconds) => Some(seconds),
                _ => None,
            }),
        )
        .flag(
            "--continue-shots",
            request
                .shots
                .last()
                .is_some_and(|shot| shot.transition == Transition::Continue),
        )
        .value("--control", request.control.as_ref().map(|path| path.display()))
        .value("--mask", request.control_mask.as_ref().map(|path| path.display()))
        .values("--reference", request.references.iter().map(|path| path.display()))
        .value(
            "--control-scale",
            Some(request.control_scale).filter(|&scale| scale != 1.0),
        )
        .value("--negative", request.negative.as_ref())
        .flag("--raw-prompt", request.prompt_mode == PromptMode::Raw)
        .flag("--expand-prompt", request.prompt_mode == PromptMode::Expanded)
        .value("--model", Some(model).filter(|model| *model != DEFAULT_MODEL))
        .value("--steps", request.steps)
        .value("--guidance", request.guidance_scale)
        .value("--guidance-low", request.guidance_scale_low)
        .value("--guided-steps", request.guided_steps)
        .value("--shift", request.shift)
        .value("--cache", request.cache.spelling())
        .values("--lora", options.loras.iter().map(lora))
        .value("--sampler", request.sampler.map(|sampler| sampler.name()))
        .value(
            "--precision",
            Some(options.precision)
                .filter(|&choice| choice != PrecisionChoice::Auto)
                .map(PrecisionChoice::name),
        )
        .value("--decoder", options.tiny_decoder.as_ref().map(|path| path.display()))
        .value("--max-memory", options.max_memory_bytes.map(memory_size))
        .value("--seed", Some(seed))
        .value("--variants", Some(variants).filter(|&variants| variants != 1))
        .flag("--poster", request.poster)
        .flag("--sheet", request.sheet)
        .flag("--keep-latents", request.keep_latents)
        .flag("--overwrite", request.overwrite)
        .end(&request.prompt)
}

fn is_made_of_a_clip(request: &Request) -> bool {
    request.video.is_some()
        || request.video_latents.is_some()
        || request.blend.is_some()
        || request.close_loop.is_some()
}

/// Numbers between commas; `None` for none.
fn list(numbers: &[impl Display]) -> Option<String> {
    let words: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    (!words.is_empty()).then(|| words.join(","))
}

/// The lengths of all shots, in the one unit that `number` reads: the command line gives all in the same.
fn list_of(request: &Request, number: impl Fn(Length) -> Option<f64>) -> Option<String> {
    let numbers: Vec<f64> = request.shots.iter().filter_map(|shot| number(shot.length)).collect();
    list(&numbers)
}

/// A LoRA as `--lora` reads it.
fn lora(choice: &LoraChoice) -> String {
    let expert = match choice.expert {
        None => "",
        Some(Expert::HighNoise) => "@high",
        Some(Expert::LowNoise) => "@low",
    };
    format!("{}:{}{expert}", choice.path.display(), choice.strength)
}

/// The same for one that a file tells of.
fn recorded_lora(lora: &LoraRecord) -> String {
    let expert = lora.expert.as_ref().map(|expert| format!("@{expert}"));
    format!("{}:{}{}", lora.name, lora.strength, expert.unwrap_or_default())
}

/// Bytes as `--max-memory` reads them, exactly.
fn memory_size(bytes: u64) -> String {
    format!("{}MB", bytes as f64 / 1e6)
}

/// The command for a recipe; `FILE` stands for the picture or clip that it started from, `FROM` and `TO` for those that
/// became one.
///
/// **Errors**: what no command can say.
pub fn of_recipe(recipe: &Recipe) -> Result<String, &'static str> {
    if !recipe.characters.is_empty() {
        return Err("it has characters, which no command names");
    }
    let shots = &recipe.shots;
    let later = shots.get(1..).unwrap_or_default();
    let continued = !later.is_empty() && later.iter().all(|shot| shot.transition == Transition::Continue);
    if shots.iter().any(|shot| shot.has_image) {
        return Err("its shots have pictures, which no command gives them");
    }
    if !continued && later.iter().any(|shot| shot.transition == Transition::Continue) {
        return Err("some of its shots are cut and some continue, which no command says");
    }
    let rewritten = shots.iter().filter(|shot| shot.model_prompt != shot.prompt).count();
    if rewritten != 0 && rewritten != shots.len() {
        return Err("some of its prompts were rewritten and some were not, which no command says");
    }
    let input = |task: &str| (recipe.task == task).then_some("FILE");
    let blend = |name: &'static str| (recipe.task == "blend").then_some(name);
    let frames: Vec<usize> = shots.iter().map(|shot| shot.frames).collect();
    let has_own_length = !shots.is_empty() || recipe.task == "loop";
    let raw = recipe.model_prompt == recipe.prompt;
    let prompt = if shots.is_empty() { recipe.prompt.as_str() } else { "" };
    let line = Line::generate(prompt)
        .value("--size", Some(recipe.size.written))
        .value("--frames", Some(recipe.length.new_frames).filter(|_| !has_own_length))
        .value(
            "--fps",
            Some(&recipe.length.fps).filter(|_| recipe.task != "text-to-image"),
        )
        .value("--image", input("image-to-video").or(input("first-last-to-video")))
        .value("--last-image", input("first-last-to-video"))
        .value("--extend", input("extend"))
        .value("--video", input("video-to-video"))
        .value("--video-latents", input("remix"))
        .value("--blend-from", blend("FROM"))
        .value("--blend-to", blend("TO"))
        .value("--curve", recipe.curve.as_ref().and_then(|curve| list(curve)))
        .value("--loop", input("loop"))
        .value("--seam-frames", recipe.seam_frames)
        .values("--shot", shots.iter().map(|shot| &shot.prompt))
        .value("--shot-frames", list(&frames))
        .flag("--continue-shots", continued)
        .value("--strength", recipe.strength)
        .value("--control", input("controlled"))
        .value("--control-scale", recipe.control_scale)
        .value("--negative", Some(&recipe.negative).filter(|text| !text.is_empty()))
        .flag("--raw-prompt", raw)
        .flag("--expand-prompt", !raw)
        .value(
            "--model",
            Some(&recipe.model.name).filter(|name| *name != DEFAULT_MODEL),
        )
        .value("--steps", Some(recipe.steps))
        .value("--guidance", Some(recipe.guidance_scale))
        .value("--guidance-low", recipe.guidance_scale_low)
        .value("--guided-steps", recipe.guided_steps)
        .value(
            "--shift",
            Some(recipe.shift).filter(|_| recipe.schedule != "rectified-flow"),
        )
        .value("--cache", recipe.cache.as_ref())
        .values("--lora", recipe.loras.iter().map(recorded_lora))
        .value("--sampler", Some(&recipe.sampler))
        .value("--precision", Some(&recipe.precision))
        .value("--seed", Some(recipe.seed))
        .end(prompt);
    Ok(line)
}

#[cfg(test)]
mod tests {
    use kinora_media::Format;
    use kinora_pipeline::memory::MemorySize;

    use super::*;

    #[test]
    fn words_are_quoted_for_the_shell() {
        for (word, expected) in [
            ("cat.mp4", "cat.mp4"),
            ("a cat", "'a cat'"),
            ("it's $HOME", r"'it'\''s $HOME'"),
            ("", "''"),
            ("a;rm -rf", "'a;rm -rf'"),
            ("кот", "кот"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }

    #[test]
    fn amounts_of_memory_are_read_again_as_they_were() {
        for text in ["2GB", "1500MB", "1.5GiB", "129MiB", "0.7TiB"] {
            let bytes = text.parse::<MemorySize>().unwrap().bytes;
            assert_eq!(memory_size(bytes).parse::<MemorySize>().unwrap().bytes, bytes, "{text}");
        }
    }

    #[test]
    fn only_what_was_asked_for_is_repeated() {
        let mut request = Request::new("a red car", "car.mp4", Format::Mp4);
        request.overwrite = false;
        assert_eq!(
            of_request(&request, "toybox", &OpenOptions::default(), 7, 1),
            "kinora generate 'a red car' -o car.mp4 --seed 7"
        );
        request.length = Length::Seconds(2.5);
        request.guidance_scale = Some(4.5);
        request.format = Format::PngFrames;
        request.output = "car".into();
        request.prompt = "-5 cats".into();
        let options = OpenOptions {
            precision: PrecisionChoice::Bf16,
            max_memory_bytes: Some(1_500_000_000),
            ..OpenOptions::default()
        };
        assert_eq!(
            of_request(&request, "/m/wan 2", &options, 7, 3),
            "kinora generate -o car --format png-frames --seconds 2.5 --model '/m/wan 2' --guidance 4.5 --precision bf16 \
             --max-memory 1500MB --seed 7 --variants 3 -- '-5 cats'"
        );
    }
}
