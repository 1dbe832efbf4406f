//! Connections and bodies: what a server meets from clients that are slow, broken or hostile.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod connections;
mod protocol;
mod tls;
