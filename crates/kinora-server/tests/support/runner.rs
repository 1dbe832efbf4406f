//! A worker that makes no video: it writes small files, or does what the prompt says.

use std::time::Duration;

use kinora_api::{Seconds, Size};
use kinora_jobs::{Failure, Job, Progress, Runner, Stop};
use kinora_server::{FileRef, Files, Outcome, OutcomeFiles, Work};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Prompts that make it fail, and take as long as it is not cancelled.
pub const FAIL: &str = "please fail";
pub const SLOW: &str = "please be slow";
/// What the files of every finished video hold.
pub const VIDEO: &[u8] = b"\0\0\0\x20ftypisom 0123456789 not a real clip, but a real file";
pub const THUMBNAIL: &[u8] = b"RIFF\x10\0\0\0WEBPVP8 picture";
pub const SPRITESHEET: &[u8] = b"\xff\xd8\xff\xe0 many pictures";

pub struct Simulated {
    files: Files,
    runtime: tokio::runtime::Runtime,
}

impl Simulated {
    pub fn new(files: Files) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        Self { files, runtime }
    }

    fn write(&self, key: String, bytes: &'static [u8]) -> FileRef {
        let key = FileRef(key);
        self.runtime.block_on(self.files.write(&key, bytes.into())).unwrap();
        key
    }
}

// The runtime is only ever entered from the worker's own thread.
impl Runner for Simulated {
    fn run(&self, job: &Job, progress: &mut Progress<'_>) -> Result<Value, Stop> {
        let work: Work = serde_json::from_value(job.request.clone()).unwrap();
        if work.prompt.contains(FAIL) {
            return Err(Stop::Failed(Failure::new("moderation_blocked", "It was refused.")));
        }
        progress.report("diffuse", 1, 2)?;
        while work.prompt.contains(SLOW) {
            progress.report("diffuse", 1, 2)?;
            std::thread::sleep(Duration::from_millis(10));
        }
        let at = |name: &str| format!("videos/{}/{}/{name}", job.id, job.life.fence);
        let files = OutcomeFiles {
            video: self.write(at("video.mp4"), VIDEO),
            thumbnail: self.write(at("thumbnail.webp"), THUMBNAIL),
            spritesheet: self.write(at("spritesheet.jpg"), SPRITESHEET),
            latents: None,
            others: Default::default(),
        };
        let outcome = Outcome {
            files,
            bytes: VIDEO.len() as u64,
            sha256: Sha256::digest(VIDEO).iter().map(|byte| format!("{byte:02x}")).collect(),
            fps: 24.0,
            num_frames: work.num_frames.unwrap_or(96),
            seconds: Seconds::of_frames(work.num_frames.unwrap_or(96), 24.0).unwrap(),
            size: Size::new(128, 64),
            revised_prompt: None,
            inference_time_s: 0.5,
            peak_memory_mb: 12.0,
            notes: Vec::new(),
        };
        Ok(serde_json::to_value(outcome).unwrap())
    }
}
