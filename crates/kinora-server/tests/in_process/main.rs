//! A server in this process, with a record of jobs that can be broken: native routes, events, health, webhooks, files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../native_support/mod.rs"]
mod native_support;

mod events;
mod files;
mod health;
mod hooks;
mod native;
