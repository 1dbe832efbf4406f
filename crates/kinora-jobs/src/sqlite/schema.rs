//! The tables, and how a file of an older version becomes one of this version.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use crate::error::Error;
use crate::sql::Fault;

/// Marks a file as ours ("KJOB").
const APPLICATION: i64 = 0x4b4a_4f42;
/// How long to wait for others, in one call.
const PATIENCE: Duration = Duration::from_secs(5);

/// One step a version, in order. A step that was released is never changed: a new one is added.
const MIGRATIONS: [&str; 2] = [
    "
CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    project TEXT NOT NULL,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    request TEXT NOT NULL,
    priority INTEGER NOT NULL,
    cost REAL NOT NULL,
    retain_ms INTEGER,
    idempotency_key TEXT,
    webhooks TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    run_at INTEGER,
    worker TEXT,
    lease_until INTEGER,
    cancel_requested INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    idle_attempts INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    furthest INTEGER NOT NULL,
    progress TEXT,
    checkpoint TEXT,
    result TEXT,
    error TEXT,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    expires_at INTEGER,
    purged_at INTEGER,
    CHECK ((state = 'queued') = (run_at IS NOT NULL)),
    CHECK ((state = 'running') = (lease_until IS NOT NULL AND worker IS NOT NULL)),
    CHECK ((state IN ('queued', 'running')) = (finished_at IS NULL))
) STRICT;
CREATE UNIQUE INDEX jobs_idempotency ON jobs (project, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_waiting ON jobs (key, priority DESC, seq, run_at, kind) WHERE state = 'queued';
CREATE INDEX jobs_leased ON jobs (lease_until) WHERE state = 'running';
CREATE INDEX jobs_expiring ON jobs (expires_at) WHERE expires_at IS NOT NULL AND purged_at IS NULL;
CREATE INDEX jobs_project ON jobs (project, seq);
CREATE INDEX jobs_state ON jobs (state, seq);

-- One row for each key that was ever seen. NULL in the allowance means that nothing was said for this key.
CREATE TABLE keys (
    key TEXT PRIMARY KEY,
    used REAL NOT NULL,
    queued INTEGER NOT NULL CHECK (queued >= 0),
    running INTEGER NOT NULL CHECK (running >= 0),
    weight REAL,
    max_queued INTEGER,
    max_running INTEGER,
    max_priority INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_waiting ON keys (used, key) WHERE queued > 0;
-- How much the key that was served last had used: where a key begins that had nothing to do.
CREATE TABLE share_clock (one INTEGER PRIMARY KEY CHECK (one = 1), used REAL NOT NULL) STRICT;
INSERT INTO share_clock VALUES (1, 0.0);

CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    job TEXT NOT NULL,
    project TEXT NOT NULL,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL
) STRICT;
CREATE INDEX events_job ON events (job, seq);
CREATE INDEX events_project ON events (project, seq);

CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    payload TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
    attempt INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    last_error TEXT,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX outbox_due ON outbox (next_at) WHERE state = 'pending';
CREATE INDEX outbox_job ON outbox (job, id);
",
    "
-- A claim asks for the first job of a key and a kind, and for the highest priority of a kind.
DROP INDEX jobs_waiting;
CREATE INDEX jobs_waiting ON jobs (key, kind, priority DESC, seq, run_at) WHERE state = 'queued';
CREATE INDEX jobs_kinds ON jobs (kind, priority) WHERE state = 'queued';
",
];

/// The newest version that this program knows.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

/// Opens or creates the file at `path`, and brings it to [`VERSION`].
pub(super) fn open(path: &Path) -> Result<Connection, Fault> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    // Before anything is written: a file that is not ours stays as it is.
    let snapshot = connection.unchecked_transaction()?;
    let found = version(&snapshot, path)?;
    snapshot.commit()?;
    settle(&connection)?;
    if found < VERSION {
        migrate(&mut connection, path)?;
    }
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(Fault::Damaged(verdict));
    }
    Ok(connection)
}

/// Another connection to a file that [`open`] has seen, for reading.
pub(super) fn open_reader(path: &Path) -> Result<Connection, Fault> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    connection.execute_batch("PRAGMA query_only = ON;")?;
    Ok(connection)
}

/// The version of the file: 0 if it is new. Inside of a transaction: another process may be writing these very numbers.
fn version(connection: &Connection, path: &Path) -> Result<i64, Fault> {
    let read = |what: &str| connection.query_row(what, [], |row| row.get::<_, i64>(0));
    let (application, version) = (read("PRAGMA application_id")?, read("PRAGMA user_version")?);
    let tables = read("SELECT count(*) FROM sqlite_schema")?;
    let path = || path.to_owned();
    match (application, version, tables) {
        (0, 0, 0) => Ok(0),
        (APPLICATION, found, _) if found > VERSION => Err(Fault::Typed(Error::Newer {
            path: path(),
            found,
            known: VERSION,
        })),
        (APPLICATION, found, _) if found >= 1 => Ok(found),
        _ => Err(Fault::Typed(Error::Foreign { path: path() })),
    }
}

/// Every commit is on the disk when it is acknowledged, and readers do not wait for the writer.
fn settle(connection: &Connection) -> Result<(), Fault> {
    let begun = Instant::now();
    loop {
        // The busy handler is not asked here: two processes that open a new file at once would fail.
        match connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0)) {
            Ok(mode) if mode.eq_ignore_ascii_case("wal") => break,
            Ok(mode) => {
                let detail = format!("the journal stays in mode {mode}; a disk with locks and shared memory is needed");
                return Err(Fault::Typed(Error::Storage { doing: "open", detail }));
            }
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && begun.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => return Err(error.into()),
        }
    }
    // `fullfsync` is what `FULL` needs on macOS to mean it; elsewhere it says nothing.
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA foreign_keys = ON; PRAGMA journal_size_limit = 67108864;",
    )?;
    Ok(())
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Again, now that nobody else can write: another process may have done it.
    let found = version(&transaction, path)?;
    for step in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(())
}
