//! Work becomes videos: their files, their previews, and what happens when somebody stops it or it cannot be done.

use std::time::{Duration, Instant};

use crate::runner_support::{Bench, FRAMES, STEPS, create, outcome, work};
use kinora_api::{Seconds, Size, VideoId};
use kinora_jobs::{EventKind, Scope, State, Store};
use kinora_media::{ClipReader, Limits, read_image};
use kinora_server::{CharacterUse, ClipSource, FileRef, Files, Outcome, Task, Work, WorkShot};

/// Reads the clip of an outcome; its frames.
fn frames(bench: &Bench, outcome: &Outcome) -> u32 {
    let reader = ClipReader::open(&bench.path(&outcome.files.video), &Limits::default()).unwrap();
    let frames: Vec<_> = reader.collect::<Result<_, _>>().unwrap();
    assert!(
        frames
            .iter()
            .all(|frame| { (frame.width_px, frame.height_px) == (outcome.size.width, outcome.size.height) })
    );
    // Never a black video.
    assert!(frames.iter().any(|frame| frame.rgb.iter().any(|value| *value > 60)));
    frames.len() as u32
}

#[test]
fn a_video_has_all_its_files_and_they_are_whole() {
    let bench = Bench::new();
    let (id, outcome) = bench.make(&create());
    assert_eq!((outcome.num_frames, outcome.size), (FRAMES, Size::new(128, 96)));
    assert_eq!(frames(&bench, &outcome), FRAMES);
    let bytes = std::fs::read(bench.path(&outcome.files.video)).unwrap();
    assert_eq!(outcome.bytes, bytes.len() as u64);
    assert_eq!(outcome.sha256, sha256(&bytes));
    assert_eq!(outcome.seconds, Seconds::of_frames(FRAMES, outcome.fps).unwrap());

    let thumbnail = read_image(&bench.path(&outcome.files.thumbnail), &Limits::default()).unwrap();
    assert_eq!((thumbnail.format, thumbnail.animated), ("webp", false));
    assert_eq!((thumbnail.frame.width_px, thumbnail.frame.height_px), (128, 96));
    // Nine frames are nine tiles in one row, 160 wide and 120 high, with 4 pixels around each.
    let sheet = read_image(&bench.path(&outcome.files.spritesheet), &Limits::default()).unwrap();
    assert_eq!(sheet.format, "jpeg");
    assert_eq!((sheet.frame.width_px, sheet.frame.height_px), (FRAMES * 164 + 4, 128));

    let report = std::fs::read_to_string(bench.path(&outcome.files.others["report"])).unwrap();
    assert!(!report.contains(bench.folder.path().to_str().unwrap()), "{report}");
    let videos: Vec<_> = bench
        .keys()
        .into_iter()
        .filter(|key| key.starts_with("videos/"))
        .collect();
    let expected = [
        "report.json",
        "spritesheet.jpg",
        "thumbnail.webp",
        "video.latents.safetensors",
        "video.mp4",
    ];
    assert_eq!(videos, expected.map(|name| format!("videos/{id}/1/{name}")));
    assert!(outcome.inference_time_s > 0.0 && outcome.peak_memory_mb > 1.0);

    // Whoever watched has seen each step, and a picture after the first.
    let events = bench
        .store
        .events(&Scope::Job(kinora_jobs::JobId(id.to_string())), 0, 1000)
        .unwrap();
    let told = events.iter().filter(|event| event.kind == EventKind::Progress);
    let steps: Vec<_> = told.clone().filter(|event| event.data["stage"] == "diffuse").collect();
    assert_eq!(steps.last().unwrap().data["done"], STEPS, "{steps:?}");
    assert!(told.clone().any(|event| event.data["stage"] == "render"));
    let preview = told
        .filter_map(|event| event.data["preview"].as_str())
        .next()
        .unwrap()
        .to_owned();
    assert_eq!(preview, format!("previews/{id}/1-1.webp"));
    let preview = read_image(&bench.path(&FileRef(preview)), &Limits::default()).unwrap();
    assert!(preview.animated && preview.frame.width_px >= 128);
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_bucket_gets_the_same_bytes_as_a_folder() {
    let (_, in_folder) = Bench::new().make(&create());
    let bench = Bench::with(tempfile::tempdir().unwrap(), Files::in_memory());
    let (id, outcome) = bench.make(&create());
    assert_eq!(
        (outcome.sha256.as_str(), outcome.bytes),
        (in_folder.sha256.as_str(), in_folder.bytes)
    );
    let stored = bench
        .runtime
        .block_on(bench.files.read(&outcome.files.video))
        .unwrap()
        .unwrap();
    assert_eq!(sha256(&stored), outcome.sha256);
    assert!(
        bench
            .keys()
            .contains(&format!("videos/{id}/1/video.latents.safetensors"))
    );
    assert!(bench.keys().iter().any(|key| key.starts_with("checkpoints/")));
    // What a video starts from comes from there too.
    let (_, remix) = bench.make(&remix_of(id));
    assert_eq!(remix.num_frames, FRAMES);
}

fn remix_of(source: VideoId) -> Work {
    Work {
        prompt: "a blue car drives through the desert".into(),
        remixed_from: Some(source.clone()),
        ..work(Task::Remix { source, strength: 0.6 })
    }
}

#[test]
fn videos_are_made_of_videos() {
    let bench = Bench::new();
    let (first, original) = bench.make(&create());
    let (second, remix) = bench.make(&remix_of(first.clone()));
    assert!(remix.sha256 != original.sha256 && frames(&bench, &remix) == FRAMES);

    let edit = work(Task::Edit {
        source: ClipSource::Video(first.clone()),
        strength: 0.5,
    });
    assert_eq!(frames(&bench, &bench.make(&edit).1), FRAMES);

    let extend = Work {
        num_frames: None,
        ..work(Task::Extend {
            source: ClipSource::Video(first.clone()),
            added: Seconds::from_ms(750),
        })
    };
    let extended = bench.make(&extend).1;
    assert!(extended.num_frames > FRAMES + 6, "{extended:?}");
    assert_eq!(frames(&bench, &extended), extended.num_frames);

    let blend = work(Task::Blend {
        from: first.clone(),
        to: second,
        curve: vec![0.0, 0.5, 1.0],
    });
    assert_eq!(frames(&bench, &bench.make(&blend).1), FRAMES);

    let seam = work(Task::Loop {
        source: first,
        seam: Some(Seconds::from_ms(500)),
    });
    let looped = bench.make(&seam).1;
    assert!(looped.num_frames > FRAMES, "{looped:?}");

    let shot = |prompt: &str, continues| WorkShot {
        prompt: prompt.into(),
        seconds: Seconds::from_ms(500),
        continues,
        image: None,
    };
    let board = Work {
        num_frames: None,
        ..work(Task::Storyboard {
            shots: vec![
                shot("a red car drives along a road", false),
                shot("a blue boat on a lake", false),
            ],
        })
    };
    let board = bench.make(&board).1;
    assert!(board.num_frames >= 10, "{board:?}");
}

#[test]
fn a_picture_and_a_character_are_read_from_the_uploads() {
    let bench = Bench::new();
    let picture = kinora_media::Frame::filled(96, 64, [200, 40, 40]).unwrap();
    let (image, of_character) = (
        FileRef("uploads/a".into()),
        FileRef("characters/p/char_1/picture.png".into()),
    );
    let path = bench.folder.path().join("picture.png");
    kinora_media::write_image(&path, &picture, kinora_media::Quality::default(), &[]).unwrap();
    for key in [&image, &of_character] {
        bench.runtime.block_on(bench.files.import(&path, key)).unwrap();
    }
    let with_image = work(Task::Create {
        image: Some(image),
        characters: Vec::new(),
    });
    assert_eq!(frames(&bench, &bench.make(&with_image).1), FRAMES);
    let with_character = Work {
        prompt: "Rusty drives through the desert".into(),
        ..work(Task::Create {
            image: None,
            characters: vec![CharacterUse {
                id: "char_1"
                    .parse()
                    .unwrap_or_else(|_| kinora_api::CharacterId::new(1, [1; kinora_api::RANDOM_BYTES])),
                name: "Rusty".into(),
                subject: Some("a red car".into()),
                picture: of_character,
            }],
        })
    };
    assert_eq!(frames(&bench, &bench.make(&with_character).1), FRAMES);
}

#[test]
fn what_cannot_be_done_fails_at_once_with_its_code_and_leaves_nothing() {
    let bench = Bench::new();
    let gone = VideoId::new(1, [1; kinora_api::RANDOM_BYTES]);
    let broken = FileRef("uploads/broken".into());
    bench
        .runtime
        .block_on(bench.files.write(&broken, "no picture".into()))
        .unwrap();
    let with_lora = |name: &str| {
        let mut work = create();
        work.options.loras.push(kinora_api::LoraRef {
            name: name.into(),
            scale: 1.0,
        });
        work
    };
    let cases = [
        (remix_of(gone), "invalid_input"),
        (
            work(Task::Create {
                image: Some(broken.clone()),
                characters: Vec::new(),
            }),
            "invalid_input",
        ),
        (
            work(Task::Edit {
                source: ClipSource::File(FileRef("uploads/never".into())),
                strength: 0.5,
            }),
            "invalid_input",
        ),
        (with_lora("../../secret"), "invalid_input"),
        (
            Work {
                engine: "toybox".into(),
                version: 99,
                ..create()
            },
            "internal_error",
        ),
    ];
    for (work, code) in cases {
        bench.submit(&work);
        let job = bench.work();
        let error = job.error.clone().unwrap();
        assert_eq!((job.state(), error.code.as_str()), (State::Failed, code), "{error:?}");
        assert!(
            !error.message.contains(bench.folder.path().to_str().unwrap()),
            "{error:?}"
        );
    }
    assert_eq!(bench.keys(), [broken.0]);
}

#[test]
fn a_cancelled_video_stops_at_its_next_step_and_leaves_no_video() {
    let bench = Bench::new();
    let mut long = create();
    long.options.steps = Some(60);
    let id = bench.submit(&long);
    let began = std::thread::scope(|scope| {
        let canceller = scope.spawn(|| {
            let is_running = || {
                bench
                    .store
                    .get(&id)
                    .unwrap()
                    .progress
                    .is_some_and(|report| report.stage == "diffuse")
            };
            while !is_running() {
                std::thread::sleep(Duration::from_millis(5));
            }
            bench.store.cancel(&id).unwrap();
            Instant::now()
        });
        bench.work();
        canceller.join().unwrap()
    });
    let job = bench.store.get(&id).unwrap();
    assert_eq!(job.state(), State::Cancelled);
    let report = job.progress.unwrap();
    assert!(report.done < 60, "{report:?}");
    println!("stopped {} ms after it was asked", began.elapsed().as_millis());
    let left = bench.keys();
    assert!(left.iter().all(|key| key.starts_with("checkpoints/")), "{left:?}");
    assert!(outcome_is_absent(&bench, &id));
}

fn outcome_is_absent(bench: &Bench, id: &kinora_jobs::JobId) -> bool {
    bench.store.get(id).unwrap().result.is_none()
}

#[test]
fn a_second_job_finds_the_model_loaded() {
    let bench = Bench::new();
    let first = bench.make(&create()).1;
    let job = {
        bench.submit(&create());
        bench.work()
    };
    let second = outcome(&job);
    assert_eq!(first.sha256, second.sha256);
}
