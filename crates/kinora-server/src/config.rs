//! How a server is set up. The program fills this from its arguments.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use kinora_dispatch::DispatchOptions;

use crate::{Error, Result};

/// How a server is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its own folder: the database if `jobs` names none, files if `files` names no other place, temporary files.
    pub folder: PathBuf,
    /// The record of jobs: `postgres://…`, or a file of SQLite; `jobs.db` in the folder if absent.
    pub jobs: Option<String>,
    /// Where files go: `s3://bucket/prefix`, or a folder; `files` in the folder if absent.
    pub files: Option<String>,
    /// Models by their names in the registry or their folders; the first one is used if a request names none.
    pub models: Vec<String>,
    /// Whether requests need a key. Without, the server listens on loopback addresses only.
    pub keys: bool,
    /// Certificate and key, if connections are encrypted.
    pub tls: Option<Tls>,
    /// Origins of web pages that may call the server from a browser; none unless set.
    pub cors: Vec<String>,
    /// How long a finished video is kept; for ever if absent.
    pub keep: Option<Duration>,
    /// Worker processes that the server starts and watches; 0 if they are started elsewhere.
    pub workers: usize,
    /// The most memory that one worker may hold, in bytes; what the system gives if absent.
    pub max_memory_bytes: Option<u64>,
    /// Whether webhooks and pulled pictures may come from private addresses too: for tests and closed networks.
    pub allow_private_addresses: bool,
    /// NATS, through which workers on other machines get jobs; none if absent.
    pub nats: Option<DispatchOptions>,
    /// What one connection, request or key may take.
    pub limits: Limits,
}

/// Files in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The certificate and those between it and a trusted one.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What one connection, request or key may take.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// The largest body, in bytes.
    pub body_bytes: u64,
    /// The largest body that is not multipart (its files lie on the disk, this one in memory), in bytes.
    pub memory_body_bytes: u64,
    /// How long the headers of a request may take.
    pub header_time: Duration,
    /// How long a body, or an answer that its client does not take, may stand still.
    pub body_time: Duration,
    /// Connections at once.
    pub connections: usize,
    /// Requests of one key in a minute; no limit if absent.
    pub requests_per_minute: Option<u32>,
    /// Unfinished jobs of one key; no limit if absent.
    pub jobs_per_key: Option<u32>,
    /// Bytes of the disk below which no new job is taken.
    pub free_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 512 << 20,
            memory_body_bytes: 32 << 20,
            header_time: Duration::from_secs(10),
            body_time: Duration::from_secs(30),
            connections: 4096,
            requests_per_minute: None,
            jobs_per_key: None,
            free_bytes: 256 << 20,
        }
    }
}

impl Config {
    /// A server of the embedded model on `address`, with everything in `folder`.
    #[must_use]
    pub fn new(address: SocketAddr, folder: PathBuf) -> Self {
        Self {
            address,
            folder,
            jobs: None,
            files: None,
            models: vec!["toybox".to_owned()],
            keys: false,
            tls: None,
            cors: Vec::new(),
            keep: None,
            workers: 1,
            max_memory_bytes: None,
            allow_private_addresses: false,
            nats: None,
            limits: Limits::default(),
        }
    }

    /// Whether a server may start like this.
    ///
    /// **Errors**: [`Error::Setting`] for an address that other machines reach while no key is needed.
    pub fn check(&self) -> Result<()> {
        if self.keys || self.address.ip().to_canonical().is_loopback() {
            return Ok(());
        }
        Err(Error::Setting {
            what: "the address to listen on",
            problem: format!("other machines reach {}, and requests need no key", self.address),
            hint: "let requests need a key, or listen on 127.0.0.1".to_owned(),
        })
    }
}
