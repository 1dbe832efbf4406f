//! A transaction on the server: who changes a row holds it, and what is numbered is numbered last.
//!
//! The order in which things are held is always job, key, claiming before both, numbering after all, so nobody waits in a circle.

use std::collections::HashMap;

use postgres::{Statement, Transaction};

use crate::clock::{Clock, Timestamp};
use crate::sql::{Columns, Fault, NewEvent, Tx, Value, number, text};

/// Names of locks in the database: any numbers that nobody else uses ("KJ" and a count).
pub(super) const MIGRATING: i64 = 0x4b4a_0001;
const CLAIMING: i64 = 0x4b4a_0002;
const NUMBERING: i64 = 0x4b4a_0003;

/// Proves that a transaction was committed: the number of its last event and a random name that it gave to it.
#[derive(Debug)]
pub(super) struct Receipt {
    seq: u64,
    call: String,
}

/// A transaction.
pub(crate) struct PostgresTx<'a> {
    transaction: Transaction<'a>,
    statements: &'a mut HashMap<String, Statement>,
    clock: &'a dyn Clock,
    now: Timestamp,
    events: Vec<NewEvent>,
}

impl<'a> PostgresTx<'a> {
    pub(super) fn new(
        transaction: Transaction<'a>,
        statements: &'a mut HashMap<String, Statement>,
        clock: &'a dyn Clock,
    ) -> Self {
        Self {
            transaction,
            statements,
            clock,
            now: clock.now(),
            events: Vec::new(),
        }
    }

    fn prepared(&mut self, sql: &str) -> Result<Statement, Fault> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.transaction.prepare(sql)?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    fn lock(&mut self, name: i64) -> Result<(), Fault> {
        self.query("SELECT pg_advisory_xact_lock($1)", &[name.into()], |_| Ok(()))?;
        Ok(())
    }

    /// Writes the events, and gives back what is to be committed with the proof of it.
    pub(super) fn finish(mut self) -> Result<(Transaction<'a>, Option<Receipt>), Fault> {
        let mut receipt = None;
        if !self.events.is_empty() {
            self.begin_numbering()?;
        }
        for event in std::mem::take(&mut self.events) {
            let written = self.query(
                "INSERT INTO events (job, project, at, kind, data) VALUES ($1, $2, $3, $4, $5)
                 RETURNING seq, CAST(call AS TEXT) AS call",
                &[
                    event.job.as_str().into(),
                    event.project.as_str().into(),
                    event.at.into(),
                    event.kind.name().into(),
                    event.data.as_str().into(),
                ],
                |row| {
                    Ok(Receipt {
                        seq: number(row, "seq")?,
                        call: text(row, "call")?,
                    })
                },
            )?;
            receipt = written.into_iter().next();
        }
        Ok((self.transaction, receipt))
    }

    /// Whether the transaction of this receipt was committed. If it has not ended, it still numbers, and this waits for it.
    pub(super) fn committed(&mut self, receipt: &Receipt) -> Result<bool, Fault> {
        self.begin_numbering()?;
        let sql = "SELECT seq FROM events WHERE seq = $1 AND CAST(call AS TEXT) = $2";
        let found = self.query(sql, &[receipt.seq.into(), receipt.call.as_str().into()], |_| Ok(()))?;
        Ok(!found.is_empty())
    }
}

impl Tx for PostgresTx<'_> {
    fn now(&self) -> Timestamp {
        self.now
    }

    fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64, Fault> {
        let statement = self.prepared(sql)?;
        let values: Vec<_> = values.iter().map(Value::for_postgres).collect();
        Ok(self.transaction.execute(&statement, &values)?)
    }

    fn query<T>(
        &mut self,
        sql: &str,
        values: &[Value<'_>],
        mut read: impl FnMut(&dyn Columns) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault> {
        let statement = self.prepared(sql)?;
        let values: Vec<_> = values.iter().map(Value::for_postgres).collect();
        let rows = self.transaction.query(&statement, &values)?;
        rows.iter().map(|row| read(row)).collect()
    }

    fn begin_claiming(&mut self) -> Result<(), Fault> {
        self.lock(CLAIMING)?;
        // Waiting may have taken a while.
        self.now = self.clock.now();
        Ok(())
    }

    fn begin_numbering(&mut self) -> Result<(), Fault> {
        self.lock(NUMBERING)
    }

    fn append(&mut self, event: NewEvent) -> Result<(), Fault> {
        // Numbers are given out just before the commit, so that others wait for as little as possible.
        self.events.push(event);
        Ok(())
    }

    fn new_name(&mut self) -> Result<String, Fault> {
        let sql = "SELECT 'job_' || replace(CAST(gen_random_uuid() AS TEXT), '-', '') AS name";
        let names = self.query(sql, &[], |row| text(row, "name"))?;
        let name = names.into_iter().next();
        name.ok_or_else(|| Fault::Damaged("the server made no name".into()))
    }
}
