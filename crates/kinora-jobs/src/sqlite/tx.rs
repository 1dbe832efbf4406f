//! A transaction on the file. One that writes has the file for itself, so there is nothing to lock.

use rusqlite::{Connection, params};

use crate::clock::Timestamp;
use crate::sql::{Columns, Fault, NewEvent, Tx, Value};

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
}
