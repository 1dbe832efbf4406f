//! Whole runs of the embedded model. One program: each that holds the model takes 100 MB and more of the disk.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a helper that fails fails its test

mod frames;
mod kill;
mod parity;
mod tasks;
mod toybox;
