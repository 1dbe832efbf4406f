//! `kinora generate`: a prompt to a clip.

mod tasks;

use std::ffi::OsStr;
use std::hash::{BuildHasher, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kinora_media::Fps;
use kinora_pipeline::{
    CacheRecord, CancelRecord, CancelToken, ClipReport, Error, Length, OpenOptions, Pipeline, Request, RunPlan,
    RunReport, SavedLatents, Stage,
};

use super::{profile::Profile, table};
use crate::args::Generate;
use crate::interrupt::{self, Talk};
use crate::output_name::{self, Wish};
use crate::preview::Painter;
use crate::progress::{Reporter, Style};
use crate::trouble::{Stopped, Usage, say_plain};
use crate::{prompt, repeat, stdout, terminal, units};

/// Makes the clips and says what was made.
pub fn run(args: &Generate) -> anyhow::Result<()> {
    let request = request(args)?;
    let model = model_name(&args.model)?;
    if let Some(threads) = args.threads {
        kinora_kernels::set_threads(threads as usize)?;
    }
    let cancel = CancelToken::new();
    let (style, talk) = style(args.quiet, args.no_preview);
    interrupt::install(&cancel, talk, output_name::folder(&request.output))?;
    let options = OpenOptions {
        precision: args.precision,
        max_memory_bytes: args.max_memory,
        loras: args.lora.clone(),
        tiny_decoder: args.decoder.clone(),
    };

    let profile = args.profile.as_deref().map(Profile::start).transpose()?;
    let pipeline = Pipeline::open(model, options.clone())?;
    if args.dry_run {
        return dry_run(&pipeline, &request, args.json);
    }
    let mut reporter = Reporter::new(style, &cancel);
    let result = pipeline.run(&request, &mut reporter, &cancel);
    reporter.finish();
    let report = result?;
    let times = profile.map(Profile::finish).transpose()?;

    if !args.quiet {
        say_plain(&times.unwrap_or_default());
        say_plain(&report.clips.iter().map(clip_line).collect::<String>());
    }
    if args.json {
        stdout::write_json(&report)?;
    }
    let Some(stopped) = &report.cancelled else {
        return Ok(());
    };
    if !args.quiet {
        say_plain(&stopped_lines(&request, model, &options, &report, stopped));
    }
    Err(Stopped.into())
}

/// Says how a request would be carried out.
fn dry_run(pipeline: &Pipeline, request: &Request, json: bool) -> anyhow::Result<()> {
    let plan = pipeline.plan(request)?;
    match json {
        true => stdout::write_json(&plan),
        false => stdout::write(plan_table(&plan).as_bytes()),
    }
}

/// The name or folder of a model as text.
pub fn model_name(model: &OsStr) -> Result<&str, Usage> {
    model.to_str().ok_or_else(|| {
        Usage::new(
            format!("the model folder {} is not valid UTF-8", Path::new(model).display()),
            "rename the folder",
        )
    })
}

fn request(args: &Generate) -> anyhow::Result<Request> {
    let prompt = args.prompt.as_deref().map(prompt::read).transpose()?;
    let name = prompt.clone().unwrap_or_else(|| tasks::name(&args.tasks));
    let wish = Wish {
        prompt: &name,
        output: args.output.as_deref(),
        format: args.files.format,
        still: args.frames == Some(1),
        variants: args.variants,
        overwrite: args.files.overwrite,
    };
    let (output, format) = wish.settle()?;
    let mut request = Request::new(prompt.unwrap_or_default(), output, format);
    request.negative.clone_from(&args.negative);
    request.prompt_mode = args.mode.into();
    request.size = args.size;
    request.length = match (args.frames, args.seconds) {
        (Some(frames), _) => Length::Frames(frames),
        (None, Some(seconds)) => Length::Seconds(seconds),
        (None, None) => Length::Default,
    };
    request.fps = args.fps;
    request.steps = args.steps;
    request.guidance_scale = args.guidance;
    request.guidance_scale_low = args.guidance_low;
    request.guided_steps = args.guided_steps;
    request.sampler = args.sampler;
    request.shift = args.shift;
    request.cache = args.cache;
    request.seed = args.seed.unwrap_or_else(random_seed);
    request.variants = args.variants;
    request.image.clone_from(&args.image);
    request.last_image.clone_from(&args.last_image);
    request.extend.clone_from(&args.extend);
    request.video.clone_from(&args.video);
    request.strength = args.strength.unwrap_or(tasks::default_strength(&args.tasks));
    tasks::apply(&args.tasks, &mut request)?;
    request.control.clone_from(&args.control);
    request.control_mask.clone_from(&args.mask);
    request.references.clone_from(&args.reference);
    request.control_scale = args.control_scale;
    request.keep_latents = args.keep_latents;
    request.poster = args.files.poster;
    request.sheet = args.files.sheet;
    request.overwrite = args.files.overwrite;
    request.validate()?;
    check_seeds(&request)?;
    check_outputs(&request)?;
    check_profile(args)?;
    Ok(request)
}

/// A seed short enough to be typed: 32 bits from the system's randomness, which the standard library's hasher draws on.
fn random_seed() -> u64 {
    std::hash::RandomState::new().build_hasher().finish() >> 32
}

fn check_seeds(request: &Request) -> Result<(), Usage> {
    match request.seed.checked_add(u64::from(request.variants) - 1) {
        Some(_) => Ok(()),
        None => Err(Usage::new(
            "the seeds of the variants go beyond the largest number",
            "a smaller --seed",
        )),
    }
}

/// `--profile` must be able to write too; nobody waits an hour to hear that it is not.
fn check_profile(args: &Generate) -> anyhow::Result<()> {
    match args
        .profile
        .as_ref()
        .filter(|path| path.exists() && !args.files.overwrite)
    {
        Some(path) => Err(Error::OutputExists { path: path.clone() }.into()),
        None => Ok(()),
    }
}

/// Finds a file that is in the way before an hour has been spent on the clip before it.
fn check_outputs(request: &Request) -> anyhow::Result<()> {
    let paths =
        (0..request.variants).map(|variant| output_name::of_variant(&request.output, variant, request.variants));
    match paths.into_iter().find(|path| path.exists() && !request.overwrite) {
        Some(path) => Err(Error::OutputExists { path }.into()),
        None => Ok(()),
    }
}

/// How a run talks here.
pub(super) fn style(quiet: bool, no_preview: bool) -> (Style, Talk) {
    match (quiet, terminal::is_live()) {
        (true, _) => (Style::Quiet, Talk::Quiet),
        (false, false) => (Style::Plain, Talk::Plain),
        (false, true) => (Style::Live((!no_preview).then(Painter::for_this_terminal)), Talk::Live),
    }
}

/// What each stage takes, one line each.
fn plan_table(plan: &RunPlan) -> String {
    let memory = &plan.memory;
    let limit = memory
        .limit
        .map(|limit| format!("{} ({})", units::bytes(limit.bytes), limit.from.name()));
    let tiles = memory.tile_px.map(|side| format!("in tiles of {side} pixels"));
    table::pairs(&[
        ("precision", format!("{} ({})", plan.precision, plan.precision_reason)),
        (
            "weights",
            memory.weights.name().trim_start_matches("weights ").to_owned(),
        ),
        ("guidance", memory.guidance.name().to_owned()),
        ("decoding", tiles.unwrap_or_else(|| "whole frames".into())),
        ("loaded", units::bytes(memory.loaded_bytes)),
        ("map", units::bytes(memory.map_bytes)),
        ("diffuse", units::bytes(memory.diffuse_bytes)),
        ("render", units::bytes(memory.render_bytes)),
        ("peak", units::bytes(memory.peak_bytes)),
        ("limit", limit.unwrap_or_default()),
    ])
}

/// `rocket.mp4  512x288  2.75 s  812 kB  seed 42  made in 31 s`.
pub(super) fn clip_line(clip: &ClipReport) -> String {
    let recipe = &clip.recipe;
    let made = units::time(Duration::from_millis(clip.timings.total_ms));
    let mut text = String::new();
    for output in &clip.outputs {
        let (path, size) = (output.path.display(), units::bytes(output.bytes));
        text += &match output.role.as_str() {
            "clip" => format!(
                "{path}  {}  {}  {size}  seed {}  made in {made}\n",
                recipe.size.written,
                playing_time(recipe.length.written_frames, &recipe.length.fps),
                recipe.seed
            ),
            role => format!("{path}  {role}  {size}\n"),
        };
    }
    text + &clip.cache.as_ref().map(cache_line).unwrap_or_default()
}

/// `step cache: 18 of 50 predictions computed, 32 taken over, estimated error 0.021`.
fn cache_line(cache: &CacheRecord) -> String {
    let CacheRecord {
        computed,
        reused,
        estimated_error,
    } = cache;
    format!(
        "step cache: {computed} of {} predictions computed, {reused} taken over, estimated error {estimated_error:.3}\n",
        computed + reused
    )
}

fn playing_time(frames: usize, fps: &str) -> String {
    match fps.parse::<Fps>() {
        Ok(fps) if frames > 1 => format!("{:.2} s", frames as f64 / fps.as_f64()),
        _ => "1 frame".into(),
    }
}

/// What was kept, what was not, and how to make the rest.
fn stopped_lines(
    request: &Request,
    model: &str,
    options: &OpenOptions,
    report: &RunReport,
    stopped: &CancelRecord,
) -> String {
    let at = format!(
        "stopped in {} at {} of {}",
        stopped.stage.name(),
        stopped.step,
        stopped.of
    );
    let missing = request.variants - stopped.clip;
    let unfinished = output_name::of_variant(&request.output, stopped.clip, request.variants);
    let latents = SavedLatents::path_for(&unfinished);
    let clips = match report.clips.len() {
        0 => None,
        1 => Some("the finished clip was kept".to_owned()),
        count => Some(format!("the {count} finished clips were kept")),
    };
    // They are on disk before the first frame is made.
    let latents = (stopped.stage == Stage::Render && latents.is_file())
        .then(|| format!("the latents were kept in {}", latents.display()));
    let kept = clips.into_iter().chain(latents).collect::<Vec<_>>().join(" and ");
    let kept = if kept.is_empty() { "nothing was written" } else { &kept };
    let not_made = match (request.variants, missing) {
        (1, _) => String::new(),
        (all, 1) => format!("; clip {all} of {all} (seed {}) was not made", stopped.seed),
        (all, _) => format!(
            "; clips {} to {all} of {all} (seeds from {}) were not made",
            stopped.clip + 1,
            stopped.seed
        ),
    };
    let rest = rest_of(request, stopped);
    let command = repeat::of_request(&rest, model, options, stopped.seed, missing);
    format!("{at}: {kept}{not_made}\nhint: to make it: {command}\n")
}

/// The request for what is missing; a single missing variant keeps the name that it would have had.
fn rest_of(request: &Request, stopped: &CancelRecord) -> Request {
    let mut rest = request.clone();
    if request.variants > 1 {
        rest.output = match request.variants - stopped.clip {
            1 => output_name::of_variant(&request.output, stopped.clip, request.variants),
            _ => output_name::with_suffix(&request.output, "rest"),
        };
    }
    if stopped.clip == 0 {
        rest.output = PathBuf::from(&request.output);
    }
    rest
}

#[cfg(test)]
mod tests {
    use kinora_media::Format;

    use super::*;

    fn stopped(variants: u32, clip: u32) -> String {
        let mut request = Request::new("a cat", "cat.mp4", Format::Mp4);
        (request.variants, request.seed, request.overwrite) = (variants, 5, false);
        let report = RunReport {
            schema: 1,
            scene: serde_json::Value::Null,
            notes: Vec::new(),
            plan: None,
            clips: Vec::new(),
            cancelled: None,
            threads: 1,
            peak_memory_bytes: None,
        };
        let record = CancelRecord {
            clip,
            seed: 5 + u64::from(clip),
            stage: Stage::Diffuse,
            step: 3,
            of: 30,
        };
        stopped_lines(&request, "toybox", &OpenOptions::default(), &report, &record)
    }

    #[test]
    fn a_stop_says_how_to_make_the_rest() {
        assert_eq!(
            stopped(1, 0),
            "stopped in diffuse at 3 of 30: nothing was written\nhint: to make it: kinora generate 'a cat' -o cat.mp4 --seed 5\n"
        );
        assert!(
            stopped(3, 0).ends_with("-o cat.mp4 --seed 5 --variants 3\n"),
            "{}",
            stopped(3, 0)
        );
        assert!(stopped(3, 1).contains("clips 2 to 3 of 3 (seeds from 6) were not made"));
        assert!(stopped(3, 1).ends_with("-o cat-rest.mp4 --seed 6 --variants 2\n"));
        assert!(stopped(3, 2).ends_with("-o cat-3.mp4 --seed 7\n"));
    }

    #[test]
    fn stills_have_no_playing_time() {
        assert_eq!(playing_time(33, "12"), "2.75 s");
        assert_eq!(playing_time(1, "12"), "1 frame");
    }

    #[test]
    fn random_seeds_differ_and_can_be_typed() {
        let seeds: std::collections::BTreeSet<u64> = (0..16).map(|_| random_seed()).collect();
        assert!(seeds.len() > 1 && seeds.iter().all(|&seed| seed <= u64::from(u32::MAX)));
    }
}
