//! Whole runs of the embedded model. One program: each that holds the model takes 100 MB and more of the disk.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a helper that fails fails its test

mod frames;
mod kill;
mod parity;
mod tasks;
mod toybox;

use kinora_media::Frame;
use kinora_pipeline::{Event, Observer};

/// The frames of a run as they were made, without loss through a codec.
#[derive(Default)]
struct Taker(Vec<Frame>);

impl Observer for Taker {
    fn event(&mut self, event: &Event<'_>) {
        if let Event::Frame(frame) = event {
            self.0.push((*frame).clone());
        }
    }
}
