//! What tests of stores share: random sequences that a seed repeats, and a server of PostgreSQL.

// Each test program uses a part of it.
#![allow(dead_code, unused_imports)]

pub mod postgres;
#[cfg(unix)]
pub mod proxy;
mod random;

pub use random::Random;
