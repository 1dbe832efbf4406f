//! Work becomes videos, and what a server bears.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../runner_support/mod.rs"]
mod runner_support;

mod load;
mod videos;
