//! `kinora decode`: kept latents to a clip.

use std::path::{Path, PathBuf};

use kinora_media::Format;
use kinora_pipeline::{CancelToken, DecodeRequest, Error, OpenOptions, Pipeline, Recipe, SavedLatents};

use super::generate;
use crate::args::Decode;
use crate::output_name::{self, Wish};
use crate::progress::Reporter;
use crate::trouble::{Stopped, say_plain};
use crate::{interrupt, stdout};

/// What the names of kept latents end with.
const ENDING: &str = ".latents.safetensors";

/// Makes the clip and says what was made.
pub fn run(args: &Decode) -> anyhow::Result<()> {
    let saved = read(&args.latents)?;
    let request = request(args, &saved.recipe)?;
    if let Some(threads) = args.threads {
        kinora_kernels::set_threads(threads as usize)?;
    }
    let cancel = CancelToken::new();
    // There is no preview: the clip itself is what is made.
    let (style, talk) = generate::style(args.quiet, true);
    interrupt::install(&cancel, talk, output_name::folder(&request.output))?;
    let pipeline = open(args, &saved.recipe)?;
    if !args.quiet {
        say_plain(&other_weights(&pipeline, &saved.recipe));
    }
    let mut reporter = Reporter::new(style, &cancel);
    let result = pipeline.decode(&saved, &request, &mut reporter, &cancel);
    reporter.finish();
    let report = match result {
        Err(Error::Cancelled { step, of }) => {
            if !args.quiet {
                say_plain(&format!("stopped at frame {step} of {of}: nothing was written\n"));
            }
            return Err(Stopped.into());
        }
        result => result?,
    };
    if !args.quiet {
        say_plain(&report.clips.iter().map(generate::clip_line).collect::<String>());
    }
    if args.json {
        stdout::write_json(&report)?;
    }
    Ok(())
}

/// Latents are what a user hands in, whatever their file has in common with those of models.
fn read(path: &Path) -> anyhow::Result<SavedLatents> {
    Ok(SavedLatents::read(path).map_err(|error| match error {
        Error::Weights(source) => {
            let text = source.to_string();
            let reason = text.split("\nhint:").next().unwrap_or(&text).to_owned();
            Error::NotLatents {
                path: path.to_owned(),
                reason,
            }
        }
        error => error,
    })?)
}

fn request(args: &Decode, recipe: &Recipe) -> anyhow::Result<DecodeRequest> {
    let still = recipe.length.new_frames == 1;
    let (output, format) = match &args.output {
        Some(output) => Wish {
            prompt: &recipe.prompt,
            output: Some(output),
            format: args.files.format,
            still,
            variants: 1,
            overwrite: args.files.overwrite,
        }
        .settle()?,
        None => {
            let format = args
                .files
                .format
                .unwrap_or(if still { Format::Png } else { Format::Mp4 });
            (named_after(&args.latents, format), format)
        }
    };
    if output.exists() && !args.files.overwrite {
        return Err(Error::OutputExists { path: output }.into());
    }
    Ok(DecodeRequest {
        output,
        format,
        poster: args.files.poster,
        sheet: args.files.sheet,
        overwrite: args.files.overwrite,
    })
}

/// `rocket.latents.safetensors` becomes `rocket.mp4`.
fn named_after(latents: &Path, format: Format) -> PathBuf {
    let name = latents.file_name().unwrap_or_default().to_string_lossy();
    let stem = name
        .strip_suffix(ENDING)
        .or(name.strip_suffix(".safetensors"))
        .unwrap_or(&name);
    latents.with_file_name(match format.extension() {
        // A folder must not get the name of the file.
        "" => match stem == name {
            true => format!("{stem}-frames"),
            false => stem.to_owned(),
        },
        ending => format!("{stem}.{ending}"),
    })
}

/// The model that is named, or the one that made the latents.
fn open(args: &Decode, recipe: &Recipe) -> anyhow::Result<Pipeline> {
    let options = OpenOptions {
        precision: args.precision,
        max_memory_bytes: args.max_memory,
        loras: Vec::new(),
        tiny_decoder: args.decoder.clone(),
    };
    if let Some(model) = &args.model {
        return Ok(Pipeline::open(generate::model_name(model)?, options)?);
    }
    let made_by = &recipe.model.name;
    Pipeline::open(made_by, options).map_err(|error| match &error {
        Error::Weights(source) if matches!(**source, kinora_weights::Error::UnknownModel { .. }) => anyhow::Error::new(error).context(format!(
            "the latents were made by {made_by}, which is not installed\nhint: name its folder or file with --model, or make \
             it known with kinora models add"
        )),
        _ => error.into(),
    })
}

/// Says it if the model is another one than that which made the latents: its frames may look wrong.
fn other_weights(pipeline: &Pipeline, recipe: &Recipe) -> String {
    let (model, made_by) = (pipeline.model(), &recipe.model);
    match model.weights_hash == made_by.weights_hash {
        true => String::new(),
        false => format!(
            "note: the latents were made by {} (weights {}); {} has weights {}, and the frames may differ\n",
            made_by.name, made_by.weights_hash, model.name, model.weights_hash
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clips_are_named_after_their_latents() {
        for (latents, format, expected) in [
            ("out/car.latents.safetensors", Format::Mp4, "out/car.mp4"),
            ("car-2.latents.safetensors", Format::WebM, "car-2.webm"),
            ("car.latents.safetensors", Format::PngFrames, "car"),
            ("car.safetensors", Format::Gif, "car.gif"),
            ("car", Format::PngFrames, "car-frames"),
        ] {
            assert_eq!(named_after(Path::new(latents), format), Path::new(expected));
        }
    }
}
