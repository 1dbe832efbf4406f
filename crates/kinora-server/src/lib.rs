//! The server: OpenAI's Videos API and Kinora's own routes on durable jobs, and the runner that makes their videos.
//!
//! **The way of a request.** A connection is limited and perhaps encrypted, a request gets an id, a [`Caller`] and a
//! body; [`kinora_api`] reads it into a typed request; it becomes [`Work`], the JSON of a job; [`kinora_jobs`] keeps it. A
//! worker, in a process of its own, claims the job, makes the video with [`kinora_pipeline`] and puts its files into
//! [`Files`]. Everything that the routes answer is read from the job's record again, so a restart loses nothing.
//!
//! **Who may do what**: `auth`. **What leaves the house**: `fetch` and `hooks` go through one client that reaches public
//! addresses only. **What is seen of it**: `observe`.

mod answer;
mod app;
mod ask;
mod auth;
mod body;
mod caller;
mod catalogue;
mod config;
mod error;
mod events;
mod fetch;
mod files;
mod hex;
mod hooks;
mod http;
mod inputs;
mod observe;
mod records;
pub mod retention;
mod routes;
mod runner;
mod start;
mod submit;
mod view;
mod work;
pub mod worker;

pub use app::App;
pub use auth::{CreatedKey, Key, Keys, NewKey};
pub use caller::{Caller, Scope};
pub use catalogue::Catalogue;
pub use config::{Config, Limits, Tls};
pub use error::{Error, Result};
pub use files::{BlockingFiles, FileInfo, FileRef, FileStream, Files, install_crypto};
pub use hooks::{Sender, start_sender};
pub use http::Server;
pub use kinora_dispatch::DispatchOptions;
pub use kinora_jobs::Allowance;
pub use observe::{LogFormat, LogOptions, Logs, init, span_of_job};
pub use runner::{Model, RunnerParts, VideoRunner, outcome_of};
pub use start::{open_keys, run};
pub use work::{CharacterUse, ClipSource, Outcome, OutcomeFiles, Task, Work, WorkShot};
