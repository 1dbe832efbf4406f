//! Who may do what: API keys, what each route needs, and how often a key may ask.
//!
//! [`guard`] stands before all routes. It finds the key of a request, counts it, compares its scopes with what the route
//! [needs](Need), and lets the request through with a [`Caller`](crate::Caller). Each refusal is one line in the log with
//! the target `audit`; a key itself is in no line.
//!
//! A server without keys listens on this machine only ([`Config::check`](crate::Config::check)), where web pages can reach
//! it too; [`local`] keeps them out.

mod guard;
mod keys;
mod local;
mod need;
mod rates;
mod secret;

use std::sync::Arc;

use kinora_jobs::{Clock, Store};

pub(crate) use guard::guard;
pub use keys::{CreatedKey, Key, Keys, NewKey};
pub(crate) use rates::Rates;

use crate::Files;

/// What [`guard`] needs to decide.
#[derive(Debug)]
pub(crate) struct Auth {
    pub(crate) keys: Keys,
    pub(crate) rates: Rates,
}

impl Auth {
    pub(crate) fn new(files: &Files, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self {
            keys: Keys::new(files, store, clock),
            rates: Rates::default(),
        }
    }
}
