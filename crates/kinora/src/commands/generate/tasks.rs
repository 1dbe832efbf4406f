//! From the flags of a task to the request.

use kinora_pipeline::{Blend, CloseLoop, Length, Request, Shot, Transition};

use crate::args::Tasks;
use crate::trouble::Usage;

/// Words for the name of a file where there is no prompt.
pub fn name(args: &Tasks) -> String {
    let stem = |path: &std::path::PathBuf| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    match args {
        Tasks {
            video_latents: Some(path),
            ..
        } => format!("{} anew", stem(path)),
        Tasks {
            blend_from: Some(from),
            blend_to: Some(to),
            ..
        } => format!("{} {}", stem(from), stem(to)),
        Tasks {
            close_loop: Some(path), ..
        } => format!("{} loop", stem(path)),
        _ => args.shot.join(" "),
    }
}

/// How much is made anew if nobody says it.
pub fn default_strength(args: &Tasks) -> f32 {
    match args.blend_from {
        Some(_) => Blend::DEFAULT_STRENGTH,
        None => Request::DEFAULT_STRENGTH,
    }
}

/// Puts what the flags of a task say into `request`.
pub fn apply(args: &Tasks, request: &mut Request) -> Result<(), Usage> {
    request.video_latents.clone_from(&args.video_latents);
    if let (Some(from), Some(to)) = (&args.blend_from, &args.blend_to) {
        request.blend = Some(Blend {
            from: from.clone(),
            to: to.clone(),
            curve: args.curve.clone().unwrap_or_default(),
        });
    }
    request.close_loop = args.close_loop.as_ref().map(|source| CloseLoop {
        source: source.clone(),
        seam_frames: args.seam_frames,
    });
    let frames = args.shot_frames.iter().map(|&frames| Length::Frames(frames));
    let seconds = args.shot_seconds.iter().map(|&seconds| Length::Seconds(seconds));
    let lengths: Vec<Length> = frames.chain(seconds).collect();
    let length = |index: usize| match lengths.as_slice() {
        [] => Length::Default,
        [all] => *all,
        each => each.get(index).copied().unwrap_or(Length::Default),
    };
    if lengths.len() > 1 && lengths.len() != args.shot.len() {
        return Err(Usage::new(
            format!("{} lengths for {} shots", lengths.len(), args.shot.len()),
            "give one length for all shots, or one for each",
        ));
    }
    let shots = args.shot.iter().enumerate().map(|(index, prompt)| Shot {
        length: length(index),
        transition: match args.continue_shots {
            true => Transition::Continue,
            false => Transition::Cut,
        },
        ..Shot::new(prompt.clone())
    });
    request.shots = shots.collect();
    Ok(())
}
