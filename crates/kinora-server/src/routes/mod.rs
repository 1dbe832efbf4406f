//! The routes: what each path answers.

pub(crate) mod native;
pub(crate) mod server;
pub(crate) mod videos;
pub(crate) mod webhooks;
