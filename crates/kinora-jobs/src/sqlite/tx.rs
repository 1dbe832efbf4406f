//! A transaction on the file. One that writes has the file for itself, so there is nothing to lock.

use rusqlite::{Connection, params};

use crate::clock::Timestamp;
use crate::record::{Allowance, Job};
use crate::sql::{Columns, Fault, NewEvent, Tx, Value, job, number, text, text_of};

/// A transaction.
pub(crate) struct SqliteTx<'a> {
    connection: &'a Connection,
    now: Timestamp,
}

impl<'a> SqliteTx<'a> {
    pub(super) const fn new(connection: &'a Connection, now: Timestamp) -> Self {
        Self { connection, now }
    }
}

/// The statement as SQLite wants it: places by number, and no locks of rows.
fn ours(sql: &str) -> String {
    let unlocked = sql.split(" FOR UPDATE").next().unwrap_or(sql);
    unlocked.replace('$', "?")
}

impl Tx for SqliteTx<'_> {
    fn now(&self) -> Timestamp {
        self.now
    }

    fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64, Fault> {
        let mut statement = self.connection.prepare_cached(&ours(sql))?;
        Ok(statement.execute(rusqlite::params_from_iter(values))? as u64)
    }

    fn query<T>(
        &mut self,
        sql: &str,
        values: &[Value<'_>],
        mut read: impl FnMut(&dyn Columns) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault> {
        let mut statement = self.connection.prepare_cached(&ours(sql))?;
        let mut rows = statement.query(rusqlite::params_from_iter(values))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
        Ok(found)
    }

    fn begin_claiming(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn begin_numbering(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn append(&mut self, event: NewEvent) -> Result<(), Fault> {
        self.connection
            .prepare_cached("INSERT INTO events (job, project, at, kind, data) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![
                event.job,
                event.project,
                event.at.as_ms(),
                event.kind.name(),
                event.data
            ])?;
        Ok(())
    }

    fn new_name(&mut self) -> Result<String, Fault> {
        Ok(self
            .connection
            .query_row("SELECT 'job_' || lower(hex(randomblob(16)))", [], |row| row.get(0))?)
    }

    fn next(&mut self, kinds: &[String]) -> Result<Option<Job>, Fault> {
        let kinds = if kinds.is_empty() { None } else { Some(text_of(kinds)?) };
        let keys = self.query(
            "SELECT key FROM keys WHERE queued > 0 AND running < coalesce(max_running, $1) ORDER BY used, key",
            &[Allowance::default().max_running.into()],
            |row| text(row, "key"),
        )?;
        let mut best: Option<(i32, u64)> = None;
        for key in keys {
            let head = self.query(
                "SELECT priority, seq FROM jobs
                 WHERE state = 'queued' AND key = $1 AND run_at <= $2
                    AND ($3 IS NULL OR kind IN (SELECT value FROM json_each($3)))
                 ORDER BY priority DESC, seq LIMIT 1",
                &[key.as_str().into(), self.now.into(), kinds.as_deref().into()],
                |row| Ok((number(row, "priority")?, number(row, "seq")?)),
            )?;
            // Keys come with the least used first, so only a higher priority may pass.
            best = match (best, head.first().copied()) {
                (Some(best), Some(found)) if found.0 > best.0 => Some(found),
                (None, found) => found,
                (best, _) => best,
            };
        }
        let Some((_, seq)) = best else { return Ok(None) };
        let found = self.query("SELECT * FROM jobs WHERE seq = $1", &[seq.into()], job)?;
        Ok(found.into_iter().next())
    }
}
