//! The tables, and how those of an older version become those of this version.

use postgres::Transaction;

use super::link::{Link, SCHEMA};
use super::tx::MIGRATING;
use crate::error::Error;
use crate::sql::Fault;

/// One step a version, in order. A step that was released is never changed: a new one is added.
///
/// Whole numbers are BIGINT and texts TEXT throughout, as the statements that are shared with SQLite expect. Keys are ordered
/// by their bytes, whatever the language of the database. Rows that change often leave room on their page (fillfactor), and
/// what is left of old ones is cleared away early: a queue that is not cleared gets slow at its head.
const MIGRATIONS: [&str; 1] = ["
CREATE TABLE jobs (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    project TEXT NOT NULL,
    key TEXT COLLATE \"C\" NOT NULL,
    kind TEXT COLLATE \"C\" NOT NULL,
    request TEXT NOT NULL,
    priority BIGINT NOT NULL,
    cost DOUBLE PRECISION NOT NULL,
    retain_ms BIGINT,
    idempotency_key TEXT,
    webhooks TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    run_at BIGINT,
    worker TEXT,
    lease_until BIGINT,
    cancel_requested BIGINT NOT NULL CHECK (cancel_requested IN (0, 1)),
    fence BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    idle_attempts BIGINT NOT NULL,
    max_attempts BIGINT NOT NULL,
    furthest BIGINT NOT NULL,
    progress TEXT,
    checkpoint TEXT,
    result TEXT,
    error TEXT,
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    finished_at BIGINT,
    expires_at BIGINT,
    purged_at BIGINT,
    CHECK ((state = 'queued') = (run_at IS NOT NULL)),
    CHECK ((state = 'running') = (lease_until IS NOT NULL AND worker IS NOT NULL)),
    CHECK ((state IN ('queued', 'running')) = (finished_at IS NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
CREATE UNIQUE INDEX jobs_idempotency ON jobs (project, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_waiting ON jobs (key, kind, priority DESC, seq, run_at) WHERE state = 'queued';
CREATE INDEX jobs_kinds ON jobs (kind, priority) WHERE state = 'queued';
CREATE INDEX jobs_leased ON jobs (lease_until) WHERE state = 'running';
CREATE INDEX jobs_expiring ON jobs (expires_at) WHERE expires_at IS NOT NULL AND purged_at IS NULL;
CREATE INDEX jobs_project ON jobs (project, seq);
CREATE INDEX jobs_state ON jobs (state, seq);

CREATE TABLE keys (
    key TEXT COLLATE \"C\" PRIMARY KEY,
    used DOUBLE PRECISION NOT NULL,
    queued BIGINT NOT NULL CHECK (queued >= 0),
    running BIGINT NOT NULL CHECK (running >= 0),
    weight DOUBLE PRECISION,
    max_queued BIGINT,
    max_running BIGINT,
    max_priority BIGINT
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
CREATE TABLE share_clock (one BIGINT PRIMARY KEY CHECK (one = 1), used DOUBLE PRECISION NOT NULL) WITH (fillfactor = 10);
INSERT INTO share_clock VALUES (1, 0.0);

-- The random name tells which transaction has written the line, if the connection was lost before it said so.
CREATE TABLE events (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job TEXT NOT NULL,
    project TEXT NOT NULL,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL,
    call UUID NOT NULL DEFAULT gen_random_uuid()
);
CREATE INDEX events_job ON events (job, seq);
CREATE INDEX events_project ON events (project, seq);

CREATE TABLE outbox (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    payload TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
    attempt BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    last_error TEXT,
    created_at BIGINT NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX outbox_due ON outbox (next_at, id) WHERE state = 'pending';
CREATE INDEX outbox_job ON outbox (job, id);
"];

/// The newest version that this program knows.
const VERSION: i64 = MIGRATIONS.len() as i64;

/// Makes the tables, or brings them to [`VERSION`]. Of several processes at once, one does it and the others wait.
pub(super) fn migrate(link: &mut Link, place: &std::path::Path) -> Result<(), Fault> {
    let mut transaction = link.client.transaction()?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&MIGRATING])?;
    let found = version(&mut transaction, place)?;
    if found == VERSION {
        return Ok(());
    }
    if found == 0 {
        transaction.batch_execute(&format!(
            "CREATE SCHEMA IF NOT EXISTS {SCHEMA}; CREATE TABLE {SCHEMA}.version (version BIGINT NOT NULL)"
        ))?;
        transaction.execute(&format!("INSERT INTO {SCHEMA}.version VALUES (0)"), &[])?;
    }
    for step in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.batch_execute(step)?;
    }
    transaction.execute(&format!("UPDATE {SCHEMA}.version SET version = $1"), &[&VERSION])?;
    transaction.commit()?;
    Ok(())
}

/// The version of the tables: 0 if there are none.
fn version(transaction: &mut Transaction<'_>, place: &std::path::Path) -> Result<i64, Fault> {
    let count = "SELECT count(*), count(*) FILTER (WHERE relname = 'version')
        FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname = $1 AND relkind IN ('r', 'v', 'p')";
    let row = transaction.query_one(count, &[&SCHEMA])?;
    let (tables, versions): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let foreign = || Fault::Typed(Error::Foreign { path: place.to_owned() });
    if tables == 0 {
        return Ok(0);
    }
    if versions == 0 {
        return Err(foreign());
    }
    let row = transaction.query_opt(&format!("SELECT version FROM {SCHEMA}.version"), &[])?;
    let found: i64 = row.ok_or_else(foreign)?.try_get(0)?;
    match found {
        1..=VERSION => Ok(found),
        _ if found > VERSION => Err(Fault::Typed(Error::Newer {
            path: place.to_owned(),
            found,
            known: VERSION,
        })),
        _ => Err(foreign()),
    }
}
