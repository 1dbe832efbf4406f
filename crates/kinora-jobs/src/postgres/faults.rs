//! What the server's errors mean for us.

use std::error::Error as StdError;
use std::io::ErrorKind;
use std::path::Path;

use postgres::error::SqlState;

use crate::error::Error;
use crate::sql::Fault;

/// What can be done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Somebody was faster: the same transaction, begun anew, may work.
    Conflict,
    /// The server is gone, or going, or no more the one that takes changes.
    Lost,
    /// Others held a lock for too long.
    Busy,
    /// Its disk is full.
    Full,
    /// Anything else.
    Other,
}

/// What kind of error this is.
pub(super) fn kind(error: &postgres::Error) -> Kind {
    if let Some(state) = error.code() {
        return kind_of_state(state);
    }
    let io = error
        .source()
        .and_then(|source| source.downcast_ref::<std::io::Error>());
    match io.map(std::io::Error::kind) {
        // What TLS does not like comes as one of these, and will be the same the next time.
        Some(ErrorKind::InvalidData | ErrorKind::InvalidInput) => Kind::Other,
        Some(_) => Kind::Lost,
        None if error.is_closed() => Kind::Lost,
        None => Kind::Other,
    }
}

fn kind_of_state(state: &SqlState) -> Kind {
    const CONFLICTS: [SqlState; 3] = [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        // Of two that submit the same at once: the second will see the first.
        SqlState::UNIQUE_VIOLATION,
    ];
    const LOST: [SqlState; 8] = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::TOO_MANY_CONNECTIONS,
        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
        SqlState::READ_ONLY_SQL_TRANSACTION,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::INVALID_TRANSACTION_TERMINATION,
    ];
    if CONFLICTS.contains(state) {
        Kind::Conflict
    } else if LOST.contains(state) || state.code().starts_with("08") {
        Kind::Lost
    } else if *state == SqlState::LOCK_NOT_AVAILABLE {
        Kind::Busy
    } else if *state == SqlState::DISK_FULL {
        Kind::Full
    } else {
        Kind::Other
    }
}

/// The error with everything behind it.
pub(super) fn told(error: &postgres::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = source.source();
    }
    text
}

/// The error of this crate, for a caller that was `doing` something on the database at `place`.
pub(super) fn named(fault: Fault, place: &Path, doing: &'static str) -> Error {
    let error = match fault {
        Fault::Typed(error) => return error,
        Fault::Damaged(detail) => {
            let path = place.to_owned();
            return Error::Corrupt { path, detail };
        }
        Fault::Sqlite(error) => return Error::storage(doing, error),
        Fault::Postgres(error) => error,
    };
    match kind(&error) {
        Kind::Conflict | Kind::Busy => Error::Busy,
        Kind::Full => Error::DiskFull,
        Kind::Lost => Error::Unreachable {
            place: place.to_owned(),
            detail: told(&error),
        },
        Kind::Other => Error::storage(doing, told(&error)),
    }
}
