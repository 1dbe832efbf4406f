//! Which job is next: of the highest priority; among equals, of the key that has used least; then the oldest.
//!
//! Nothing here grows with the number of jobs that wait. Keys are asked for their first job in the order of what they have used,
//! some at a time, and no more of them once a job of the highest priority that waits is found: usually the first has one.

use super::rows::{job, number, number_or_none, text};
use super::{Fault, Tx, Value};
use crate::record::{Allowance, Job};

/// How many keys are asked at once, at first and at most.
const KEYS: (i64, i64) = (16, 1024);

/// The job that is next for a worker of these kinds (all, if none is named). Nobody else changes it until we are done.
pub(super) fn next(tx: &mut impl Tx, kinds: &[String]) -> Result<Option<Job>, Fault> {
    let waiting = waiting(tx, kinds)?;
    let mut passed = String::new();
    while let Some(seq) = first(tx, &waiting, &passed)? {
        // Somebody may be cancelling it just now; whoever waits for that gains nothing.
        let sql = "SELECT * FROM jobs WHERE seq = $1 AND state = 'queued' FOR UPDATE SKIP LOCKED";
        if let Some(job) = tx.query(sql, &[seq.into()], job)?.pop() {
            return Ok(Some(job));
        }
        passed.push_str(&format!(" AND seq <> {seq}"));
    }
    Ok(None)
}

/// Those of the kinds of which any job waits, with the highest priority among them. It may not be its time yet.
fn waiting(tx: &mut impl Tx, kinds: &[String]) -> Result<Vec<(String, i32)>, Fault> {
    let all;
    let kinds = if kinds.is_empty() {
        all = every_kind(tx)?;
        &all
    } else {
        kinds
    };
    let mut waiting = Vec::with_capacity(kinds.len());
    for kind in kinds {
        let sql = "SELECT priority FROM jobs WHERE state = 'queued' AND kind = $1 ORDER BY priority DESC LIMIT 1";
        let highest = tx.query(sql, &[kind.as_str().into()], |row| number(row, "priority"))?;
        waiting.extend(highest.first().map(|priority| (kind.clone(), *priority)));
    }
    Ok(waiting)
}

/// How many jobs of these kinds (all, if none is named) have their time come, counted up to `limit`.
pub(super) fn ready(tx: &mut impl Tx, kinds: &[String], limit: usize) -> Result<usize, Fault> {
    let mut values: Vec<Value<'_>> = vec![tx.now().into(), super::at_most(limit).into()];
    values.extend(kinds.iter().map(|kind| Value::from(kind.as_str())));
    let names: Vec<String> = (3..values.len() + 1).map(|index| format!("${index}")).collect();
    let among = match names.is_empty() {
        true => String::new(),
        false => format!("AND kind IN ({})", names.join(", ")),
    };
    let sql = format!(
        "SELECT count(*) AS found FROM
         (SELECT 1 FROM jobs WHERE state = 'queued' AND run_at <= $1 {among} LIMIT $2) AS ready"
    );
    let found = tx.query(&sql, &values, |row| number(row, "found"))?.pop();
    Ok(found.unwrap_or(0))
}

/// Every kind of which a job waits, each found behind the one before.
fn every_kind(tx: &mut impl Tx) -> Result<Vec<String>, Fault> {
    let mut kinds: Vec<String> = Vec::new();
    loop {
        let last = kinds.last().map_or("", String::as_str);
        let sql = "SELECT kind FROM jobs WHERE state = 'queued' AND kind > $1 ORDER BY kind LIMIT 1";
        let Some(next) = tx.query(sql, &[last.into()], |row| text(row, "kind"))?.pop() else {
            return Ok(kinds);
        };
        kinds.push(next);
    }
}

/// The first job of a key.
#[derive(Debug, Clone, Copy)]
struct Head {
    priority: i32,
    seq: u64,
}

impl Head {
    /// Of two jobs of one key, the one that comes first.
    fn earlier(self, other: Self) -> Self {
        if (-i64::from(other.priority), other.seq) < (-i64::from(self.priority), self.seq) {
            other
        } else {
            self
        }
    }
}

/// A key that may have a job started.
struct Key {
    name: String,
    used: f64,
    head: Option<Head>,
}

/// The number of the job that is next, were it not for those that `passed` excludes.
fn first(tx: &mut impl Tx, waiting: &[(String, i32)], passed: &str) -> Result<Option<u64>, Fault> {
    let Some(highest) = waiting.iter().map(|(_, priority)| *priority).max() else {
        return Ok(None);
    };
    let mut best: Option<Head> = None;
    let (mut behind, mut count) = ((f64::MIN, String::new()), KEYS.0);
    loop {
        let keys = some_keys(tx, waiting, passed, &behind, count)?;
        for key in &keys {
            // Keys come with the least used first, so only a higher priority may pass.
            best = match (best, key.head) {
                (Some(best), Some(head)) if head.priority > best.priority => Some(head),
                (None, head) => head,
                (best, _) => best,
            };
        }
        let done = best.is_some_and(|best| best.priority >= highest);
        match keys.last() {
            Some(last) if !done && keys.len() as i64 == count => behind = (last.used, last.name.clone()),
            _ => return Ok(best.map(|best| best.seq)),
        }
        count = (count * 8).min(KEYS.1);
    }
}

/// `count` keys behind `behind`, each with its first job of the kinds that wait: one statement, so one moment.
fn some_keys(
    tx: &mut impl Tx,
    waiting: &[(String, i32)],
    passed: &str,
    behind: &(f64, String),
    count: i64,
) -> Result<Vec<Key>, Fault> {
    let mut values: Vec<Value<'_>> = vec![
        tx.now().into(),
        Allowance::default().max_running.into(),
        behind.0.into(),
        behind.1.as_str().into(),
        count.into(),
    ];
    let mut heads = String::new();
    for (index, (kind, _)) in waiting.iter().enumerate() {
        values.push(kind.as_str().into());
        for column in ["priority", "seq"] {
            heads.push_str(&format!(
                ", (SELECT {column} FROM jobs WHERE state = 'queued' AND jobs.key = keys.key AND kind = ${}
                    AND run_at <= $1{passed} ORDER BY priority DESC, seq LIMIT 1) AS {column}_{index}",
                values.len()
            ));
        }
    }
    let sql = format!(
        "SELECT key, used{heads} FROM keys
         WHERE queued > 0 AND running < coalesce(max_running, $2) AND (used, key) > ($3, $4)
         ORDER BY used, key LIMIT $5"
    );
    tx.query(&sql, &values, |row| {
        let mut head: Option<Head> = None;
        for index in 0..waiting.len() {
            let priority = number_or_none(row, &format!("priority_{index}"))?;
            let seq = number_or_none(row, &format!("seq_{index}"))?;
            let found = priority.zip(seq).map(|(priority, seq)| Head { priority, seq });
            head = match (head, found) {
                (Some(one), Some(other)) => Some(one.earlier(other)),
                (one, other) => one.or(other),
            };
        }
        Ok(Key {
            name: text(row, "key")?,
            used: row.real("used")?.unwrap_or(0.0),
            head,
        })
    })
}
