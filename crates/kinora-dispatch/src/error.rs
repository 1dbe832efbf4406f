//! What can go wrong before work begins. While it goes on, errors are those of [`kinora_jobs`].

/// What the functions of this crate return, except those of a [`Store`](kinora_jobs::Store).
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why dispatch did not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option makes no sense.
    #[error("{field} is not possible: {problem}")]
    Option {
        /// Which option.
        field: &'static str,
        /// What is wrong, and what is possible.
        problem: String,
    },
    /// No connection to NATS.
    #[error(
        "NATS at {url} cannot be reached: {detail}\nhint: check the address, the user, and whether the server runs"
    )]
    Connect {
        /// The address, without user and password.
        url: String,
        /// What happened.
        detail: String,
    },
    /// NATS answers, but JetStream does not do what is needed.
    #[error(
        "JetStream failed to {doing}: {detail}\nhint: start the NATS server with JetStream, and check what this user may do"
    )]
    JetStream {
        /// What was being done.
        doing: &'static str,
        /// What it said.
        detail: String,
    },
    /// Offers must survive a loss of power of the broker, and it was not shown that they do.
    #[error(
        "NATS does not show that it syncs each message, and keeps {replicas} copies\n\
         hint: set `sync_interval: always` in its jetstream block and name its monitoring address, or use 3 replicas"
    )]
    NotSynced {
        /// Copies of the stream.
        replicas: usize,
    },
    /// The machine gives no thread or socket.
    #[error("the runtime of the dispatch failed to start: {detail}")]
    Runtime {
        /// What it said.
        detail: String,
    },
}
