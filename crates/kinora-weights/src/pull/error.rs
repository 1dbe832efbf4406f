//! What can go wrong with a download.

use crate::error::suggestion;

/// Why a model was not pulled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// Neither a name of the catalogue nor an address.
    #[error("no model `{name}` to pull{}\nhint: one of {}, or an address that begins with https://", suggestion(similar), known.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
        /// The closest name.
        similar: Option<String>,
        /// All names.
        known: Vec<String>,
    },
    /// The server says no.
    #[error("{url}: the server answers {status}\nhint: {hint}")]
    Refused {
        /// The address.
        url: String,
        /// Its answer.
        status: u16,
        /// What to do.
        hint: &'static str,
    },
    /// The network does not work, also after several attempts.
    #[error("{url}: {reason}\nhint: run the same command again, it goes on where it stopped")]
    Network {
        /// The address.
        url: String,
        /// What the last attempt said.
        reason: String,
    },
    /// The server sends one elsewhere than to a file on the web.
    #[error("{url} leads to {target}, which is refused: {reason}")]
    Redirect {
        /// The address.
        url: String,
        /// Where it leads.
        target: String,
        /// Why not.
        reason: &'static str,
    },
    /// All bytes came and are not those that were announced.
    #[error(
        "{file} is not what the server announced (sha256 {got}, expected {expected})\nhint: it was removed; pull it again, and if that repeats, do not use this source"
    )]
    WrongHash {
        /// The file.
        file: String,
        /// The announced hash.
        expected: String,
        /// The hash of what came.
        got: String,
    },
    /// More bytes came than were announced.
    #[error("{file} has {got} bytes, {expected} were announced\nhint: pull it again")]
    WrongSize {
        /// The file.
        file: String,
        /// Announced.
        expected: u64,
        /// Arrived.
        got: u64,
    },
    /// The disk is too full.
    #[error("{folder} has {free} bytes free, {needed} are needed\nhint: make room, or pull into another folder")]
    NoSpace {
        /// The folder.
        folder: String,
        /// Bytes that are still to come.
        needed: u64,
        /// Bytes that are there.
        free: u64,
    },
    /// A name of a file that would leave the folder.
    #[error("{url} has `{name}` for a name of a file\nhint: give the address of a file")]
    BadName {
        /// The address.
        url: String,
        /// The name.
        name: String,
    },
    /// The caller wanted no more.
    #[error("stopped; what has come is kept\nhint: run the same command again, it goes on where it stopped")]
    Cancelled,
}
