//! Tasks beside a clip from words, as whole runs of the embedded model: what comes out is near what went in where it has to
//! be, and the same request makes the same bytes.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use kinora_media::{ClipReader, ClipWriter, Format, Fps, Frame, Limits, WriteOptions, probe, psnr};
use kinora_pipeline::{
    Blend, CancelToken, CharacterUse, CloseLoop, Error, Length, OpenOptions, Pipeline, PrecisionChoice, Recipe,
    Request, RunReport, SavedLatents, Shot, Size, Transition, character_from_clip, read_recipe,
};
use tempfile::TempDir;

use crate::Taker;

fn pipeline() -> &'static Pipeline {
    static PIPELINE: OnceLock<Pipeline> = OnceLock::new();
    PIPELINE.get_or_init(|| {
        let options = OpenOptions {
            precision: PrecisionChoice::Int8,
            ..OpenOptions::default()
        };
        Pipeline::open("toybox", options).unwrap()
    })
}

struct Clip {
    path: PathBuf,
    latents: PathBuf,
    frames: Vec<Frame>,
    report: RunReport,
}

impl Clip {
    fn recipe(&self) -> &Recipe {
        &self.report.clips[0].recipe
    }
}

fn request(folder: &TempDir, name: &str, prompt: &str) -> Request {
    let mut request = Request::new(prompt, folder.path().join(name), Format::Mp4);
    (request.steps, request.seed, request.keep_latents) = (Some(2), 11, true);
    request
}

fn run(request: &Request) -> Clip {
    let mut taker = Taker::default();
    let report = pipeline().run(request, &mut taker, &CancelToken::new()).unwrap();
    let written = report.clips[0].recipe.length.written_frames;
    assert_eq!(taker.0.len(), written, "the recipe counts the frames of the file");
    assert_eq!(probe(&request.output).unwrap().frames as usize, written);
    assert_eq!(
        read_recipe(&request.output).unwrap().as_ref(),
        Some(&report.clips[0].recipe)
    );
    Clip {
        path: request.output.clone(),
        latents: SavedLatents::path_for(&request.output),
        frames: taker.0,
        report,
    }
}

/// A clip from words.
fn made(folder: &TempDir, name: &str, prompt: &str, frames: u32) -> Clip {
    let mut request = request(folder, name, prompt);
    request.length = Length::Frames(frames);
    run(&request)
}

fn assert_repeats(request: &Request, clip: &Clip) {
    let again = run(request);
    assert_eq!(again.frames, clip.frames);
    assert_eq!(
        again.report.clips[0].outputs[0].sha256,
        clip.report.clips[0].outputs[0].sha256
    );
}

fn worst_db(a: &[Frame], b: &[Frame]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| psnr(a, b).unwrap())
        .fold(f64::INFINITY, f64::min)
}

/// Mean absolute difference of two frames.
fn jump(a: &Frame, b: &Frame) -> f64 {
    let sum: u64 = a.rgb.iter().zip(&b.rgb).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.rgb.len() as f64
}

fn jumps(frames: &[Frame]) -> Vec<f64> {
    frames.windows(2).map(|pair| jump(&pair[0], &pair[1])).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn refused(request: &Request) -> Error {
    pipeline()
        .run(request, &mut Taker::default(), &CancelToken::new())
        .unwrap_err()
}

fn assert_invalid(request: &Request, field: &str, word: &str) {
    let error = refused(request);
    let named = matches!(&error, Error::Invalid { what, .. } if *what == field);
    assert!(named && error.to_string().contains(word), "{field}: {error}");
    assert!(!request.output.exists(), "nothing is written");
}

/// As little as a step makes anew.
fn barely(request: &mut Request) {
    (request.steps, request.strength) = (Some(40), 0.001);
}

#[test]
fn kept_latents_are_made_anew_without_the_loss_of_a_file() {
    let folder = TempDir::new().unwrap();
    let car = made(&folder, "car.mp4", "a red car drives", 9);
    let mut remix = request(&folder, "remix.mp4", "a blue car drives");
    remix.video_latents = Some(car.latents.clone());
    barely(&mut remix);
    let near = run(&remix);
    let db = worst_db(&near.frames, &car.frames);
    assert!(db > 33.0, "{db:.1} dB");
    assert_repeats(&remix, &near);
    let recipe = near.recipe();
    assert_eq!((recipe.task.as_str(), recipe.strength), ("remix", Some(0.001)));
    assert_eq!(
        (recipe.prompt.as_str(), recipe.length.new_frames),
        ("a blue car drives", 9)
    );
    assert_eq!(recipe.input_sha256.as_ref().unwrap().len(), 64);
    // The same through frames and a codec loses more.
    let mut through_file = request(&folder, "edit.mp4", "a blue car drives");
    (through_file.video, through_file.length) = (Some(car.path.clone()), Length::Frames(9));
    barely(&mut through_file);
    let edited = worst_db(&run(&through_file).frames, &car.frames);
    assert!(
        edited > 25.0 && edited < db,
        "{edited:.1} dB through the file, {db:.1} dB as latents"
    );

    // More strength, more change; no words, the old ones; less length, the beginning.
    remix.strength = 1.0;
    remix.steps = Some(2);
    assert!(worst_db(&run(&remix).frames, &car.frames) < db - 6.0);
    remix.output = folder.path().join("short.mp4");
    barely(&mut remix);
    (remix.prompt, remix.length, remix.fps) = (String::new(), Length::Frames(5), Some(Fps::new(24, 1).unwrap()));
    let short = run(&remix);
    assert_eq!(
        (short.recipe().prompt.as_str(), short.frames.len()),
        ("a red car drives", 10)
    );
}

#[test]
fn kept_latents_that_do_not_fit_are_refused() {
    let folder = TempDir::new().unwrap();
    let car = made(&folder, "car.mp4", "a red car drives", 5);
    let mut remix = request(&folder, "remix.mp4", "a blue car");
    remix.video_latents = Some(car.latents.clone());
    let with = |change: &dyn Fn(&mut Request)| {
        let mut request = remix.clone();
        change(&mut request);
        request
    };
    assert_invalid(&with(&|r| r.length = Length::Frames(6)), "frames", "--extend");
    let square = Size::new(384, 384).unwrap();
    assert_invalid(&with(&|r| r.size = Some(square)), "size", "512x288");
    assert_invalid(&with(&|r| r.strength = 0.0), "strength", "above 0");
    let no_latents = refused(&with(&|r| r.video_latents = Some(car.path.clone())));
    assert!(matches!(no_latents, Error::NotLatents { .. }), "{no_latents}");
    let missing = refused(&with(&|r| {
        r.video_latents = Some(folder.path().join("none.safetensors"))
    }));
    assert!(missing.to_string().contains("none.safetensors"), "{missing}");
    // A recipe that does not tell the truth about its latents.
    let bytes = std::fs::read(&car.latents).unwrap();
    let at = |needle: &[u8]| bytes.windows(needle.len()).position(|window| window == needle).unwrap();
    let place = at(b"\\\"width_px\\\":512") + b"\\\"width_px\\\":".len();
    let mut damaged = bytes.clone();
    damaged[place..place + 3].copy_from_slice(b"256");
    let path = folder.path().join("lie.safetensors");
    std::fs::write(&path, damaged).unwrap();
    let lying = refused(&with(&|r| r.video_latents = Some(path.clone())));
    assert!(matches!(lying, Error::NotLatents { .. }), "{lying}");
}

#[test]
fn clips_of_several_parts_are_made_anew_part_by_part() {
    let folder = TempDir::new().unwrap();
    let mut source = request(&folder, "long.mp4", "a red car drives");
    (source.length, source.steps) = (Length::Frames(38), Some(1));
    let long = run(&source);
    assert_eq!(long.recipe().length.segments, 2);
    let mut remix = request(&folder, "remix.mp4", "a red car drives");
    remix.video_latents = Some(long.latents.clone());
    barely(&mut remix);
    let near = worst_db(&run(&remix).frames, &long.frames);
    assert!(near > 30.0, "{near:.1} dB");
    let mut edit = request(&folder, "edit.mp4", "a red car drives");
    (edit.video, edit.length) = (Some(long.path.clone()), Length::Frames(38));
    barely(&mut edit);
    let edited = worst_db(&run(&edit).frames, &long.frames);
    assert!(edited > 25.0, "{edited:.1} dB: each part is made of its own frames");
}

#[test]
fn a_blend_is_one_clip_where_its_curve_says_so() {
    let folder = TempDir::new().unwrap();
    let car = made(&folder, "car.mp4", "a red car drives", 9);
    let boat = made(&folder, "boat.mp4", "a boat at night", 9);
    let blend = |name: &str, curve: &[f32]| {
        let mut request = request(&folder, name, "");
        request.strength = Blend::DEFAULT_STRENGTH;
        request.blend = Some(Blend {
            from: car.latents.clone(),
            to: boat.latents.clone(),
            curve: curve.to_vec(),
        });
        request
    };
    for (curve, like) in [([0.0, 0.0], &car), ([1.0, 1.0], &boat)] {
        let same = run(&blend("same.mp4", &curve));
        let db = worst_db(&same.frames, &like.frames);
        assert!(db > 40.0, "{curve:?}: {db:.1} dB");
    }
    let request = blend("blend.mp4", &[]);
    let mixed = run(&request);
    let (first, last) = (&mixed.frames[0], &mixed.frames[8]);
    assert!(psnr(first, &car.frames[0]).unwrap() > 40.0);
    assert!(
        psnr(last, &boat.frames[8]).unwrap() > 24.0,
        "it ends as the other, after another past"
    );
    let middle = &mixed.frames[4];
    assert!(
        jump(middle, &car.frames[4]) > 5.0 && jump(middle, &boat.frames[4]) > 5.0,
        "it is neither in the middle"
    );
    assert_repeats(&request, &mixed);
    let recipe = mixed.recipe();
    assert_eq!(
        (recipe.task.as_str(), recipe.curve.as_deref()),
        ("blend", Some(&[][..]))
    );
    assert_eq!(recipe.prompt, "a red car drives. a boat at night");
    assert_eq!(recipe.input_sha256.as_ref().unwrap().split(',').count(), 2);
    // The curve changes bytes, so recipes tell it apart.
    let other = run(&blend("other.mp4", &[0.0, 0.2, 1.0]));
    assert!(other.frames != mixed.frames && other.recipe().curve != recipe.curve);
}

#[test]
fn clips_of_other_sizes_and_lengths_are_blended_through_their_frames() {
    let folder = TempDir::new().unwrap();
    let car = made(&folder, "car.mp4", "a red car drives", 9);
    let small = folder.path().join("small.webm");
    write_clip(&small, 320, 240, 24, 40);
    let mut request = request(&folder, "blend.mp4", "a field");
    request.blend = Some(Blend {
        from: car.latents.clone(),
        to: small,
        curve: vec![1.0, 0.0, 1.0],
    });
    let blend = run(&request);
    let recipe = blend.recipe();
    // As long as the shorter one, of the size of the first.
    assert_eq!(
        (recipe.length.new_frames, recipe.size.written.to_string()),
        (9, "512x288".into())
    );
    // The end of the longer one: its last frame is nearly white.
    let light = blend.frames[8].luma().iter().map(|&y| f64::from(y)).sum::<f64>() / (512.0 * 288.0);
    assert!(light > 180.0, "{light:.0}");
    request.length = Length::Frames(13);
    assert_eq!(run(&request).frames.len(), 13, "the shorter one is held");
}

/// A clip that goes from black to white.
fn write_clip(path: &Path, width_px: u32, height_px: u32, fps: u32, frames: u32) {
    let format = Format::from_extension(path).unwrap();
    let options = WriteOptions::new(width_px, height_px, Fps::new(fps, 1).unwrap());
    let mut writer = ClipWriter::create(path, format, &options).unwrap();
    for index in 0..frames {
        let level = (index * 255 / (frames - 1).max(1)) as u8;
        writer
            .push(&Frame::filled(width_px, height_px, [level; 3]).unwrap())
            .unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn a_loop_comes_back_to_its_beginning() {
    let folder = TempDir::new().unwrap();
    let mut source = request(&folder, "car.mp4", "a red car drives along a road");
    (source.length, source.steps) = (Length::Frames(33), Some(6));
    let car = run(&source);
    let inside = mean(&jumps(&car.frames));
    let open = jump(&car.frames[32], &car.frames[0]);
    let mut request = request(&folder, "loop.mp4", "");
    request.steps = Some(6);
    request.close_loop = Some(CloseLoop {
        source: car.latents.clone(),
        seam_frames: Some(11),
    });
    let closed = run(&request);
    // Whole latent frames.
    assert_eq!((closed.frames.len(), closed.recipe().seam_frames), (33 + 12, Some(12)));
    assert!(
        worst_db(&closed.frames[..33], &car.frames) > 45.0,
        "the clip itself is as it was"
    );
    let seam = jump(&closed.frames[44], &closed.frames[0]);
    println!("inside {inside:.2}, seam {seam:.2}, without the task {open:.2}");
    assert!(seam <= 1.5 * inside, "{seam:.2} where {inside:.2} is usual");
    assert!(seam < open / 2.0, "{seam:.2}, and {open:.2} without the task");
    let start = jump(&closed.frames[32], &closed.frames[33]);
    assert!(start <= 1.5 * inside, "{start:.2} at the start of the seam");
    assert_eq!(
        (closed.recipe().task.as_str(), closed.recipe().prompt.as_str()),
        ("loop", "a red car drives along a road")
    );
    assert_repeats(&request, &closed);

    // The same of the file, at another rate: the time of the seam is filled up to the first frame.
    request.output = folder.path().join("file.mp4");
    request.close_loop = Some(CloseLoop {
        source: car.path.clone(),
        seam_frames: None,
    });
    (request.fps, request.steps) = (Some(Fps::new(24, 1).unwrap()), Some(3));
    let file = run(&request);
    assert_eq!(file.frames.len(), 66 + 25);
    let seam = jump(&file.frames[file.frames.len() - 1], &file.frames[0]);
    assert!(seam <= 1.5 * inside, "{seam:.2} where {inside:.2} is usual");
}

#[test]
fn loops_that_cannot_be_closed_are_refused() {
    let folder = TempDir::new().unwrap();
    let clip = folder.path().join("clip.mp4");
    write_clip(&clip, 320, 240, 12, 5);
    let mut request = request(&folder, "loop.mp4", "a field");
    let close = |seam_frames| {
        Some(CloseLoop {
            source: clip.clone(),
            seam_frames,
        })
    };
    request.close_loop = close(None);
    assert_invalid(&request, "loop", "frames or more");
    write_clip(&clip, 320, 240, 12, 12);
    request.close_loop = close(Some(40));
    assert_invalid(&request, "seam frames", "at most");
    request.close_loop = close(None);
    (request.output, request.format) = (folder.path().join("loop.png"), Format::Png);
    assert_invalid(&request, "format", "one frame");
}

#[test]
fn a_clip_of_few_frames_far_apart_is_closed_where_it_is_planned() {
    let folder = TempDir::new().unwrap();
    let slow = folder.path().join("slow.mp4");
    write_clip(&slow, 320, 240, 1, 1);
    let mut request = request(&folder, "loop.mp4", "a black wall");
    request.close_loop = Some(CloseLoop {
        source: slow,
        seam_frames: Some(4),
    });
    request.fps = Some(Fps::new(12, 1).unwrap());
    let closed = run(&request);
    assert_eq!(closed.frames.len(), 12 + 4);
    let seam = jump(&closed.frames[15], &closed.frames[0]);
    assert!(seam < 6.0, "{seam:.2}: it comes back to black");
}

fn shot(prompt: &str, frames: u32, transition: Transition) -> Shot {
    Shot {
        length: Length::Frames(frames),
        transition,
        ..Shot::new(prompt)
    }
}

#[test]
fn shots_follow_each_other_cut_or_continued() {
    let folder = TempDir::new().unwrap();
    let mut request = request(&folder, "shots.mp4", "not read");
    request.shots = vec![
        shot("a red car drives along a road", 10, Transition::Continue),
        shot("a fox in a forest at night", 6, Transition::Cut),
        shot("a fox sleeps", 7, Transition::Continue),
    ];
    let clip = run(&request);
    assert_eq!(clip.frames.len(), 10 + 6 + 7);
    let jumps = jumps(&clip.frames);
    let (cut, continued) = (jumps[9], jumps[15]);
    assert!(
        cut > 20.0 && continued < cut / 3.0,
        "cut {cut:.1}, continued {continued:.1}"
    );
    let recipe = clip.recipe();
    assert_eq!(recipe.task, "storyboard");
    assert_eq!(
        recipe.prompt,
        "Shot 1: a red car drives along a road. Shot 2: a fox in a forest at night. Shot 3: a fox sleeps."
    );
    let frames: Vec<usize> = recipe.shots.iter().map(|shot| shot.frames).collect();
    assert_eq!(frames, [10, 6, 7]);
    assert_eq!(clip.report.scene["shots"].as_array().unwrap().len(), 3);
    assert_repeats(&request, &clip);
    // Kept latents decode to the same clip, cuts and all.
    let decode = kinora_pipeline::DecodeRequest {
        output: folder.path().join("again.mp4"),
        format: Format::Mp4,
        poster: false,
        sheet: false,
        overwrite: false,
    };
    let mut taker = Taker::default();
    let saved = SavedLatents::read(&clip.latents).unwrap();
    pipeline()
        .decode(&saved, &decode, &mut taker, &CancelToken::new())
        .unwrap();
    assert_eq!(taker.0, clip.frames);
    // And can be made anew, shot by shot.
    let mut remix = self::request(&folder, "remix.mp4", "a fox");
    remix.video_latents = Some(clip.latents.clone());
    barely(&mut remix);
    assert!(worst_db(&run(&remix).frames, &clip.frames) > 28.0);
}

#[test]
fn shots_have_their_own_noise_and_pictures() {
    let folder = TempDir::new().unwrap();
    let picture = folder.path().join("fox.png");
    let fox = made(&folder, "fox.mp4", "a fox in a forest", 5);
    character_from_clip(&fox.path).unwrap().write(&picture).unwrap();
    let mut request = request(&folder, "shots.mp4", "");
    request.shots = vec![
        shot("a red car", 5, Transition::Cut),
        shot("a red car", 5, Transition::Cut),
        Shot {
            image: Some(picture.clone()),
            ..shot("a fox", 5, Transition::Cut)
        },
    ];
    let clip = run(&request);
    assert!(clip.frames[..5] != clip.frames[5..10], "the same words, another noise");
    let read = kinora_media::read_image(&picture, &Limits::default()).unwrap().frame;
    let db = psnr(&clip.frames[10], &read).unwrap();
    assert!(db > 25.0, "{db:.1} dB: it starts with the picture");
    assert!(clip.recipe().shots[2].has_image);
    assert_eq!(clip.recipe().input_sha256.as_ref().unwrap().len(), 64);
    request.shots[1].prompt = "  ".into();
    request.output = folder.path().join("none.mp4");
    assert_invalid(&request, "shot", "no words");
    request.shots = vec![shot("a car", 700, Transition::Cut), shot("a car", 700, Transition::Cut)];
    assert_invalid(&request, "frames", "longer than one run makes");
}

#[test]
fn a_character_is_where_the_clip_starts() {
    let folder = TempDir::new().unwrap();
    let fox = made(&folder, "fox.mp4", "a fox in a forest", 9);
    let best = character_from_clip(&fox.path).unwrap();
    assert_eq!(
        (best.frames, (best.frame.width_px, best.frame.height_px)),
        (9, (512, 288))
    );
    let in_file: Vec<Frame> = ClipReader::open(&fox.path, &Limits::default())
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(best.frame, in_file[best.index as usize], "untouched");
    let picture = folder.path().join("rusty.png");
    best.write(&picture).unwrap();

    let mut request = request(&folder, "rusty.mp4", "Rusty walks in a forest");
    request.length = Length::Frames(5);
    request.characters = vec![CharacterUse {
        name: "rusty".into(),
        picture,
        subject: Some("a fox".into()),
    }];
    let clip = run(&request);
    let db = psnr(&clip.frames[0], &best.frame).unwrap();
    assert!(db > 25.0, "{db:.1} dB");
    let recipe = clip.recipe();
    assert_eq!(recipe.prompt, "Rusty walks in a forest");
    assert!(
        recipe.model_prompt.contains("fox") && !recipe.model_prompt.contains("Rusty"),
        "{}",
        recipe.model_prompt
    );
    assert_eq!(recipe.characters[0].picture_sha256.len(), 64);
    let notes = clip.report.notes.join("\n");
    assert!(
        notes.contains("the picture of rusty is where the clip starts"),
        "{notes}"
    );
    let error = character_from_clip(&folder.path().join("none.mp4")).unwrap_err();
    assert!(matches!(error, Error::Input { .. }), "{error}");
}

#[test]
fn a_clip_of_another_size_and_rate_is_continued_as_it_is() {
    let folder = TempDir::new().unwrap();
    let source = folder.path().join("grey.mp4");
    write_clip(&source, 320, 240, 30, 30);
    let mut request = request(&folder, "longer.mp4", "a white wall");
    (request.extend, request.length) = (Some(source.clone()), Length::Frames(4));
    let longer = run(&request);
    let recipe = longer.recipe();
    assert_eq!(
        (recipe.size.written.to_string(), recipe.length.fps.as_str()),
        ("320x240".into(), "30")
    );
    let old: Vec<Frame> = ClipReader::open(&source, &Limits::default())
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(longer.frames[..30], old[..], "the stitched clip begins with the source");
    assert_eq!(longer.frames.len(), 30 + 12);
}
