//! OpenAI's ten endpoints through a real socket, with a simulated worker. Every JSON answer is held against its schema.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod characters;
mod content;
mod create;
mod delete;
mod derive;
mod document;
mod list;
mod projects;
