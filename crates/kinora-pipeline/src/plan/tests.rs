//! Plans of Toybox, and of models like it.

use super::*;
use crate::tasks::{CloseLoop, Shot, Transition};

fn plan(change: impl FnOnce(&mut Request), source: Option<SourceClip>) -> Result<Plan> {
    let mut request = Request::new("a cat", "cat.mp4", Format::Mp4);
    change(&mut request);
    Plan::new(&request, &Description::toybox(), source)
}

fn latents(plan: &Plan) -> Vec<(usize, usize)> {
    plan.segments
        .iter()
        .map(|s| (s.latent_frames, s.prefix_latent_frames))
        .collect()
}

#[test]
fn guidance_that_does_nothing_or_too_much_is_noted() {
    let distilled = Description::toybox();
    let plain = Description {
        default_guidance_scale: 5.0,
        ..Description::toybox()
    };
    let note = |model: &Description, scale: Option<f32>, negative: &str| {
        let mut request = Request::new("a cat", "cat.mp4", Format::Mp4);
        (request.guidance_scale, request.negative) = (scale, Some(negative.to_owned()));
        let plan = Plan::new(&request, model, None).unwrap();
        plan.guidance_note(&request, model).unwrap_or_default()
    };
    assert_eq!(note(&distilled, None, ""), "");
    assert!(note(&distilled, None, "dogs").contains("--guidance 2 would use it"));
    assert!(note(&distilled, Some(5.0), "").contains("built into this model"));
    assert_eq!(note(&plain, None, "dogs"), "");
    assert!(note(&plain, Some(1.0), "dogs").contains("--guidance 5 would use it"));
}

#[test]
fn defaults_are_the_models_own() {
    let plan = plan(|_| (), None).unwrap();
    assert_eq!(
        (plan.task, latents(&plan), plan.new_frames),
        (Task::TextToVideo, vec![(9, 0)], 33)
    );
    assert_eq!(
        (plan.size.written.to_string(), plan.size.how.as_str()),
        ("512x288".into(), "native size")
    );
}

#[test]
fn lengths_become_the_fewest_passes_that_reach_them() {
    for (frames, expected) in [
        (2, vec![(2, 0)]),
        (5, vec![(2, 0)]),
        (6, vec![(3, 0)]),
        (33, vec![(9, 0)]),
        (34, vec![(9, 0), (4, 3)]),
        (57, vec![(9, 0), (9, 3)]),
        (60, vec![(9, 0), (9, 3), (4, 3)]),
    ] {
        let plan = plan(|r| r.length = Length::Frames(frames), None).unwrap();
        assert_eq!(latents(&plan), expected, "{frames} frames");
    }
    assert_eq!(
        plan(|r| r.length = Length::Seconds(10.0), None).unwrap().new_frames,
        120
    );
    assert!(plan(|r| r.length = Length::Frames(100_000), None).is_err());
}

#[test]
fn a_still_is_one_latent_frame_and_wants_a_still_format() {
    let plan_still = plan(|r| (r.length, r.format) = (Length::Frames(1), Format::Png), None).unwrap();
    assert_eq!(
        (plan_still.task, latents(&plan_still)),
        (Task::TextToImage, vec![(1, 0)])
    );
    assert!(plan(|r| r.length = Length::Frames(1), None).is_err());
    assert!(plan(|r| r.format = Format::Png, None).is_err());
}

#[test]
fn a_picture_is_the_first_frame_and_a_clip_is_continued_by_new_frames_only() {
    let from_image = plan(|r| r.image = Some("a.png".into()), None).unwrap();
    assert_eq!(
        (from_image.task, latents(&from_image)),
        (Task::ImageToVideo, vec![(9, 1)])
    );
    let source = SourceClip {
        size: Size {
            width_px: 640,
            height_px: 360,
        },
        fps: Fps::new(30, 1).unwrap(),
        frames: 90,
    };
    let longer = plan(|r| r.length = Length::Seconds(2.0), Some(source)).unwrap();
    assert_eq!(
        (longer.task, latents(&longer), longer.new_frames),
        (Task::Extend, vec![(9, 3)], 24)
    );
    assert_eq!(
        (longer.size.written.to_string(), longer.fps.to_string()),
        ("640x360".into(), "30".into())
    );
}

#[test]
fn other_sizes_come_from_the_native_size_of_the_nearest_shape() {
    for (text, generated, cropped) in [
        ("1920x1080", "512x288", false),
        ("720x1280", "288x512", false),
        ("640x512", "384x384", true),
        ("1280x544", "512x288", true),
    ] {
        let plan = plan(|r| r.size = Some(text.parse().unwrap()), None).unwrap();
        assert_eq!(plan.size.generated.to_string(), generated, "{text}");
        assert_eq!(plan.size.how.contains("cropped"), cropped, "{text}: {}", plan.size.how);
    }
}

#[test]
fn shots_are_cut_to_their_lengths_and_continue_what_there_is() {
    let shot = |frames, transition| Shot {
        length: Length::Frames(frames),
        transition,
        ..Shot::new("a cat")
    };
    let with_picture = |shot: Shot| Shot {
        image: Some("a.png".into()),
        ..shot
    };
    let plan = plan(
        |r| {
            r.shots = vec![
                with_picture(shot(40, Transition::Cut)),
                shot(6, Transition::Continue),
                shot(7, Transition::Cut),
                shot(4, Transition::Continue),
                shot(5, Transition::Continue),
            ];
        },
        None,
    )
    .unwrap();
    let parts: Vec<_> = plan
        .segments
        .iter()
        .map(|s| {
            (
                s.shot,
                s.opens,
                s.latent_frames,
                s.prefix_latent_frames,
                s.not_new,
                s.new_frames,
            )
        })
        .collect();
    assert_eq!(
        parts,
        [
            (0, true, 9, 1, 0, 33),
            (0, false, 5, 3, 9, 7),
            (1, false, 5, 3, 9, 6),
            (2, true, 3, 0, 0, 7),
            // Seven frames since the cut are fewer than an overlap: it goes on from the last one alone.
            (3, false, 2, 1, 1, 4),
            (4, false, 5, 3, 9, 5),
        ]
    );
    assert_eq!((plan.task, plan.new_frames), (Task::Storyboard, 62));
    assert!(plan.length_how.contains("in 5 shots of 6 parts") && plan.length_how.contains("surplus"));
}

#[test]
fn what_a_model_cannot_is_refused_for_tasks_too() {
    let close_loop = || {
        Some(CloseLoop {
            source: "a.mp4".into(),
            seam_frames: None,
        })
    };
    let blocks = Description {
        block_frames: Some(3),
        ..Description::toybox()
    };
    let mut request = Request::new("a cat", "cat.mp4", Format::Mp4);
    request.close_loop = close_loop();
    let error = Plan::new(&request, &blocks, None).unwrap_err().to_string();
    assert!(error.contains("block by block"), "{error}");
    request.close_loop = None;
    request.shots = vec![Shot::new("a cat")];
    let pictures = Description {
        starts: StartsFrom::Channels,
        ..Description::toybox()
    };
    let error = Plan::new(&request, &pictures, None).unwrap_err().to_string();
    assert!(error.contains("a picture for each shot"), "{error}");
    request.shots[0].image = Some("a.png".into());
    Plan::new(&request, &pictures, None).unwrap();
    request.references = vec!["a.png".into()];
    let error = Plan::new(&request, &Description::toybox(), None)
        .unwrap_err()
        .to_string();
    assert!(error.contains("no control branch"), "{error}");
}
