//! Tasks that are ended after each of their steps and go on to the same bytes.

use std::path::PathBuf;

use super::tests::Bench;
use crate::description::StartsFrom;
use crate::{Blend, CloseLoop, Length, SavedLatents, Shot, Transition};

/// A clip of `frames` frames and its kept latents.
fn source(bench: &Bench, name: &str, prompt: &str, frames: u32) -> (PathBuf, PathBuf) {
    let mut request = bench.request();
    request.output = bench.folder.path().join(name);
    (request.prompt, request.length, request.keep_latents) = (prompt.into(), Length::Frames(frames), true);
    bench.undisturbed_to(&request);
    let latents = SavedLatents::path_for(&request.output);
    (request.output, latents)
}

#[test]
fn a_blend_goes_on_from_every_step() {
    check_blend(&Bench::new(|_| ()));
    // What is held is shown as noisy as the rest to a model that never saw clean frames.
    check_blend(&Bench::new(|description| description.starts = StartsFrom::Anything));
}

fn check_blend(bench: &Bench) {
    let (_, from) = source(bench, "from.mp4", "a red car", 14);
    let (to, _) = source(bench, "to.mp4", "a boat at night", 14);
    let mut request = bench.request();
    (request.length, request.strength) = (Length::Default, 1.0);
    let curve = vec![0.0, 0.0, 1.0];
    request.blend = Some(Blend { from, to, curve });
    bench.check(&request, |_| true);
}

#[test]
fn kept_latents_go_on_from_every_step() {
    let bench = Bench::new(|_| ());
    let (_, latents) = source(&bench, "from.mp4", "a red car", 14);
    let mut request = bench.request();
    (request.length, request.video_latents) = (Length::Default, Some(latents));
    bench.check(&request, |_| true);
}

#[test]
fn a_loop_goes_on_from_every_step() {
    for starts in [StartsFrom::CleanFrames, StartsFrom::Anything] {
        check_loop(&Bench::new(|description| {
            (description.max_latent_frames, description.starts) = (6, starts);
        }));
    }
}

fn check_loop(bench: &Bench) {
    let (clip, latents) = source(bench, "from.mp4", "a red car", 9);
    for source in [clip, latents] {
        let mut request = bench.request();
        request.length = Length::Default;
        request.close_loop = Some(CloseLoop {
            source,
            seam_frames: Some(8),
        });
        bench.check(&request, |_| true);
    }
}

#[test]
fn shots_go_on_from_every_step() {
    let bench = Bench::new(|_| ());
    let shot = |prompt: &str, frames, transition| Shot {
        length: Length::Frames(frames),
        transition,
        ..Shot::new(prompt)
    };
    let mut request = bench.request();
    request.length = Length::Default;
    // Each has surplus frames, which the next one must not start from.
    request.shots = vec![
        shot("a red car", 7, Transition::Cut),
        shot("a boat at night", 3, Transition::Cut),
        shot("a boat in the sun", 6, Transition::Continue),
    ];
    bench.check(&request, |_| true);
}
