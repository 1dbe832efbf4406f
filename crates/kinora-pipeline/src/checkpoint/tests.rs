//! Runs that are ended after each of their steps, or while frames are decoded, and go on to the same bytes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use kinora_media::{Format, Frame, Quality, write_image};
use kinora_sampling::{ExpertSwitch, Sampler};
use tempfile::TempDir;

use super::*;
use crate::description::StartsFrom;
use crate::progress::{CancelToken, Stage};
use crate::{CacheChoice, Description, Length, OpenOptions, Pipeline, Request, RunReport, Size};

/// Keeps a file a step, and ends the run after one of them.
#[derive(Default)]
struct Folder {
    path: PathBuf,
    resume: Option<PathBuf>,
    stop_at: Option<u64>,
    asked: Vec<u64>,
    kept: Vec<(PathBuf, u64)>,
}

impl Checkpoints for Folder {
    fn resume(&mut self) -> Option<PathBuf> {
        self.resume.clone()
    }

    fn path_for(&mut self, step: u64) -> Option<PathBuf> {
        self.asked.push(step);
        Some(self.path.join(format!("{step}.checkpoint")))
    }

    fn kept(&mut self, path: &Path, step: u64) -> Result<()> {
        self.kept.push((path.to_owned(), step));
        match self.stop_at == Some(step) {
            true => Err(Error::Stopped {
                reason: format!("test at {step}"),
            }),
            false => Ok(()),
        }
    }
}

/// What a run told, and where it dies.
#[derive(Default)]
struct Ear {
    resumed: Option<u64>,
    notes: Vec<String>,
    diffused: usize,
    rendered: usize,
    /// Dies after so many decoded frames.
    dies_at: Option<usize>,
}

impl Observer for Ear {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Resumed { step } => self.resumed = Some(*step),
            Event::Note(note) => self.notes.push((*note).to_owned()),
            Event::Progress {
                stage: Stage::Diffuse, ..
            } => self.diffused += 1,
            Event::Progress {
                stage: Stage::Render, ..
            } => {
                self.rendered += 1;
                assert!(self.dies_at != Some(self.rendered), "killed here");
            }
            _ => {}
        }
    }
}

const STEPS: u32 = 3;

/// Toybox, making clips of 64 x 64 in parts of 3 latent frames. In two copies: what goes on has nothing of what was ended.
pub(super) struct Bench {
    pipelines: [Pipeline; 2],
    pub(super) folder: TempDir,
}

impl Bench {
    pub(super) fn new(change: impl Fn(&mut Description)) -> Self {
        let pipelines = [(); 2].map(|()| {
            let mut pipeline = Pipeline::open("toybox", OpenOptions::default()).unwrap();
            let description = pipeline.description_mut();
            (description.max_latent_frames, description.overlap_latent_frames) = (3, 1);
            description.sizes = vec![Size {
                width_px: 64,
                height_px: 64,
            }];
            change(description);
            pipeline
        });
        let folder = TempDir::new().unwrap();
        Self { pipelines, folder }
    }

    /// A clip in two parts.
    pub(super) fn request(&self) -> Request {
        let mut request = Request::new("a red car", self.folder.path().join("clip.mp4"), Format::Mp4);
        (request.length, request.steps) = (Length::Frames(14), Some(STEPS));
        request
    }

    fn folder(&self) -> Folder {
        Folder {
            path: self.folder.path().to_owned(),
            ..Folder::default()
        }
    }

    fn run(&self, which: usize, request: &Request, folder: &mut Folder, ear: &mut Ear) -> Result<RunReport> {
        self.pipelines[which].run_resumable(request, ear, &CancelToken::new(), folder)
    }

    /// The clip when nothing happens, and how many steps it takes.
    fn undisturbed(&self, request: &Request) -> (Vec<u8>, u64, RunReport) {
        let mut ear = Ear::default();
        let report = self.pipelines[0].run(request, &mut ear, &CancelToken::new()).unwrap();
        (bytes_of(request), ear.diffused as u64, report)
    }

    /// Goes on from `checkpoint` in the other pipeline: the bytes, and what was heard.
    fn go_on(&self, request: &Request, checkpoint: &Path) -> (Vec<u8>, Ear, RunReport) {
        let (mut ear, mut folder) = (Ear::default(), self.folder());
        folder.resume = Some(checkpoint.to_owned());
        let report = self.run(1, request, &mut folder, &mut ear).unwrap();
        let first = ear.resumed.map_or(1, |step| step + 1);
        assert!(folder.asked.iter().all(|&step| step >= first), "{:?}", folder.asked);
        (bytes_of(request), ear, report)
    }

    /// Ends the run after each of `at` and compares what becomes of it.
    pub(super) fn check(&self, request: &Request, at: impl Fn(u64) -> bool) {
        let (expected, steps, report) = self.undisturbed(request);
        for stop_at in (1..=steps).filter(|step| at(*step)) {
            let mut folder = self.folder();
            folder.stop_at = Some(stop_at);
            let error = self.run(0, request, &mut folder, &mut Ear::default()).unwrap_err();
            assert!(matches!(error, Error::Stopped { .. }), "step {stop_at}: {error}");
            assert!(!request.output.exists(), "step {stop_at}");
            let (checkpoint, _) = folder.kept.last().unwrap();
            let (bytes, ear, resumed) = self.go_on(request, checkpoint);
            assert_eq!(ear.resumed, Some(stop_at));
            assert_eq!(
                ear.diffused as u64,
                steps - stop_at,
                "step {stop_at}: no step is done twice"
            );
            assert!(bytes == expected, "step {stop_at} of {steps}: other bytes");
            let (ours, theirs) = (&resumed.clips[0], &report.clips[0]);
            assert_eq!((&ours.recipe, &ours.cache), (&theirs.recipe, &theirs.cache));
        }
    }
}

/// The bytes of the clip, which is removed.
fn bytes_of(request: &Request) -> Vec<u8> {
    let bytes = std::fs::read(&request.output).unwrap();
    std::fs::remove_file(&request.output).unwrap();
    bytes
}

fn names_in(folder: &TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(folder.path()).unwrap();
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort();
    names
}

fn picture(path: &Path, shade: u8) {
    let rgb = (0..64 * 64 * 3).map(|i| (i % 251) as u8 ^ shade).collect();
    let frame = Frame::new(64, 64, rgb).unwrap();
    write_image(path, &frame, Quality::default(), &[]).unwrap();
}

#[test]
fn every_sampler_goes_on_from_every_step() {
    let bench = Bench::new(|_| ());
    for sampler in Sampler::ALL {
        let mut request = bench.request();
        request.sampler = Some(sampler);
        bench.check(&request, |_| true);
    }
}

#[test]
fn a_step_cache_goes_on_too_and_forgets_at_the_other_expert() {
    let of = |switch: Option<ExpertSwitch>, threshold: f64| {
        let bench = Bench::new(|description| description.expert_switch = switch);
        let mut request = bench.request();
        (request.steps, request.guidance_scale) = (Some(14), Some(3.0));
        request.cache = CacheChoice::Easy(threshold);
        let cache = bench.undisturbed(&request).2.clips[0].cache.unwrap();
        assert!(cache.reused > 0, "the cache does something: {cache:?}");
        // Around the steps that it takes over, the other expert, and the end of a part.
        bench.check(&request, |step| [8, 10, 11, 12, 14, 22, 25].contains(&step));
    };
    of(None, 0.3);
    of(Some(ExpertSwitch::Step(11)), 0.3);
}

#[test]
fn given_pictures_and_clips_are_read_again() {
    let bench = Bench::new(|_| ());
    let untrained = Bench::new(|description| description.starts = StartsFrom::Anything);
    let [image, clip] = ["image.png", "source.mp4"].map(|name| bench.folder.path().join(name));
    picture(&image, 0);
    let mut source = bench.request();
    source.output = clip.clone();
    bench.undisturbed_to(&source);
    let mut from_image = bench.request();
    from_image.image = Some(image.clone());
    bench.check(&from_image, |_| true);
    let mut longer = bench.request();
    longer.extend = Some(clip.clone());
    bench.check(&longer, |step| step % 2 == 0);
    let mut anew = bench.request();
    anew.video = Some(clip);
    bench.check(&anew, |_| true);
    // A model that sees given frames as noisy as the others needs the noise that it started from.
    let mut request = untrained.request();
    request.image = Some(image);
    untrained.check(&request, |_| true);
}

impl Bench {
    pub(super) fn undisturbed_to(&self, request: &Request) {
        let cancel = CancelToken::new();
        self.pipelines[0].run(request, &mut Ear::default(), &cancel).unwrap();
    }
}

#[test]
fn a_model_that_streams_goes_on_from_every_block() {
    let bench = Bench::new(|description| {
        description.block_frames = Some(2);
        description.max_latent_frames = 5;
    });
    let mut request = bench.request();
    request.length = Length::Frames(30);
    let (_, steps, _) = bench.undisturbed(&request);
    let mut folder = bench.folder();
    bench.run(0, &request, &mut folder, &mut Ear::default()).unwrap();
    let asked = folder.asked;
    let blocks: Vec<u64> = (1..=steps / u64::from(STEPS))
        .map(|block| block * u64::from(STEPS))
        .collect();
    assert_eq!(asked, blocks, "between two steps at the end of a block only");
    bench.check(&request, |step| blocks.contains(&step));
}

#[test]
fn a_run_that_dies_in_decode_only_decodes_again() {
    let bench = Bench::new(|_| ());
    let request = bench.request();
    let (expected, steps, _) = bench.undisturbed(&request);
    for (dies_at, resumes_at) in [(3, steps / 2), (9 + 4, steps)] {
        let (mut folder, mut ear) = (bench.folder(), Ear::default());
        ear.dies_at = Some(dies_at);
        let died = catch_unwind(AssertUnwindSafe(|| bench.run(0, &request, &mut folder, &mut ear)));
        assert!(died.is_err());
        let (checkpoint, step) = folder.kept.last().unwrap();
        assert_eq!(*step, resumes_at);
        let (bytes, ear, _) = bench.go_on(&request, checkpoint);
        assert_eq!(
            (ear.resumed, ear.diffused as u64),
            (Some(resumes_at), steps - resumes_at)
        );
        assert!(bytes == expected, "dies at {dies_at}: other bytes");
    }
}

#[test]
fn a_run_may_die_again_and_again() {
    let bench = Bench::new(|_| ());
    let request = bench.request();
    let (expected, steps, _) = bench.undisturbed(&request);
    let mut resume = None;
    for stop_at in 1..=steps {
        let mut folder = bench.folder();
        (folder.stop_at, folder.resume) = (Some(stop_at), resume);
        bench
            .run(stop_at as usize % 2, &request, &mut folder, &mut Ear::default())
            .unwrap_err();
        assert_eq!(folder.asked, [stop_at], "one step a life");
        resume = folder.kept.pop().map(|(path, _)| path);
    }
    assert!(bench.go_on(&request, &resume.unwrap()).0 == expected);
}

#[test]
fn what_is_no_checkpoint_of_this_run_is_not_used() {
    let bench = Bench::new(|_| ());
    let image = bench.folder.path().join("image.png");
    picture(&image, 0);
    let mut request = bench.request();
    request.image = Some(image.clone());
    let (expected, steps, _) = bench.undisturbed(&request);
    let mut folder = bench.folder();
    folder.stop_at = Some(4);
    bench.run(0, &request, &mut folder, &mut Ear::default()).unwrap_err();
    // Later runs replace the files of earlier ones.
    let checkpoint = bench.folder.path().join("first.checkpoint");
    std::fs::rename(folder.kept.pop().unwrap().0, &checkpoint).unwrap();
    let refused = |request: &Request, checkpoint: &Path, why: &str| {
        let (bytes, ear, _) = bench.go_on(request, checkpoint);
        assert_eq!((ear.resumed, ear.diffused as u64), (None, steps), "{why}");
        let note = ear
            .notes
            .iter()
            .find(|note| note.starts_with("the clip is made from its beginning"));
        assert!(note.is_some_and(|note| note.contains(why)), "{why}: {:?}", ear.notes);
        bytes
    };
    // The file itself.
    let damaged = bench.folder.path().join("damaged.checkpoint");
    let mut bytes = std::fs::read(&checkpoint).unwrap();
    let middle = bytes.len() * 3 / 4;
    bytes[middle] ^= 4;
    std::fs::write(&damaged, &bytes).unwrap();
    assert!(refused(&request, &damaged, "it was changed") == expected);
    std::fs::write(&damaged, &bytes[..middle]).unwrap();
    assert!(refused(&request, &damaged, "damaged.checkpoint") == expected);
    std::fs::write(&damaged, "").unwrap();
    assert!(refused(&request, &damaged, "damaged.checkpoint") == expected);
    assert!(refused(&request, Path::new("/nowhere/at.all"), "at.all") == expected);
    // Another request.
    let other: [fn(&mut Request); 4] = [
        |r| r.seed = 1,
        |r| r.prompt = "a blue car".into(),
        |r| r.sampler = Some(Sampler::UniPc),
        |r| r.length = Length::Frames(15),
    ];
    for change in other {
        let mut other = request.clone();
        change(&mut other);
        assert!(refused(&other, &checkpoint, "another request") == bench.undisturbed(&other).0);
    }
    // Under the same name, another picture.
    picture(&image, 9);
    assert!(refused(&request, &checkpoint, "another request") == bench.undisturbed(&request).0);
    // The right one is used, wherever the clip goes.
    picture(&image, 0);
    let mut elsewhere = request.clone();
    (elsewhere.output, elsewhere.keep_latents) = (bench.folder.path().join("other.mp4"), true);
    let (bytes, ear, _) = bench.go_on(&elsewhere, &checkpoint);
    assert_eq!(ear.resumed, Some(4));
    assert!(bytes == expected);
}

#[test]
fn every_changed_byte_of_a_checkpoint_is_noticed() {
    let bench = Bench::new(|_| ());
    let mut folder = bench.folder();
    folder.stop_at = Some(4);
    bench
        .run(0, &bench.request(), &mut folder, &mut Ear::default())
        .unwrap_err();
    let checkpoint = folder.kept.pop().unwrap().0;
    let bytes = std::fs::read(&checkpoint).unwrap();
    let contents = Contents::read(&checkpoint).unwrap();
    assert_eq!((contents.head.step, contents.head.steps_in_part), (4, 1));
    assert_eq!((contents.parts.len(), contents.run.is_some()), (1, true));
    let head_bytes = 8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let every = (0..head_bytes).chain((head_bytes..bytes.len()).step_by(101));
    for at in every {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        std::fs::write(&checkpoint, changed).unwrap();
        assert!(Contents::read(&checkpoint).is_err(), "byte {at} of {}", bytes.len());
    }
}

#[test]
fn a_run_without_checkpoints_leaves_its_clip_alone() {
    let bench = Bench::new(|_| ());
    let request = bench.request();
    bench.undisturbed_to(&request);
    assert_eq!(names_in(&bench.folder), ["clip.mp4"]);
    let bytes = bytes_of(&request);
    let cancel = CancelToken::new();
    bench.pipelines[1]
        .run_resumable(&request, &mut Ear::default(), &cancel, &mut NoCheckpoints)
        .unwrap();
    assert_eq!(names_in(&bench.folder), ["clip.mp4"]);
    assert!(bytes_of(&request) == bytes);
}

#[test]
fn a_checkpoint_that_cannot_be_written_is_a_note() {
    let bench = Bench::new(|_| ());
    let request = bench.request();
    let (expected, steps, _) = bench.undisturbed(&request);
    let (mut folder, mut ear) = (bench.folder(), Ear::default());
    folder.path = bench.folder.path().join("missing");
    bench.run(1, &request, &mut folder, &mut ear).unwrap();
    assert!(bytes_of(&request) == expected);
    assert_eq!((folder.asked.len() as u64, folder.kept.len()), (steps, 0));
    let notes = ear.notes.iter().filter(|note| note.contains("without new checkpoints"));
    assert_eq!(notes.count(), 1, "said once: {:?}", ear.notes);
}

#[test]
fn several_variants_are_refused_before_anything_is_made() {
    let bench = Bench::new(|_| ());
    let mut request = bench.request();
    request.variants = 2;
    let (mut folder, mut ear) = (bench.folder(), Ear::default());
    let error = bench.run(0, &request, &mut folder, &mut ear).unwrap_err();
    assert!(matches!(&error, Error::Invalid { what: "variants", .. }), "{error}");
    assert_eq!((folder.asked.len(), ear.diffused), (0, 0));
}
