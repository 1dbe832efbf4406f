//! One connection, and what must be true of it before a job is trusted to it.

use std::collections::HashMap;
use std::time::Instant;

use postgres::{Client, NoTls, Statement};

use super::address::Address;
use crate::error::Error;
use crate::sql::Fault;

/// The schema that all tables are in.
pub(super) const SCHEMA: &str = "kinora_jobs";
/// PostgreSQL 13: the oldest that has `gen_random_uuid` and is still met.
const OLDEST: i64 = 130_000;

/// A connection with its prepared statements.
pub(super) struct Link {
    pub(super) client: Client,
    pub(super) statements: HashMap<String, Statement>,
    pub(super) used: Instant,
}

/// Every session has these, whatever the server, the database or the role says.
///
/// No `statement_timeout`: one that ends a `COMMIT` which waits for a standby makes it look done. A client that was stopped in
/// the middle of a transaction (it may hold the numbering of events) is thrown out.
const SETTINGS: &str = "
SET search_path = kinora_jobs, pg_catalog;
SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED;
SET statement_timeout = 0;
SET lock_timeout = '5s';
SET idle_in_transaction_session_timeout = '10s';
SET client_min_messages = warning;
";

impl Link {
    /// Connects, and makes sure that what the server acknowledges is on its disk.
    pub(super) fn open(address: &Address) -> Result<Self, Fault> {
        let mut client = match &address.tls {
            Some(tls) => address.config.connect(tls.clone())?,
            None => address.config.connect(NoTls)?,
        };
        client.batch_execute(SETTINGS)?;
        let mut setting = |name: &str| -> Result<String, Fault> {
            Ok(client.query_one("SELECT current_setting($1)", &[&name])?.try_get(0)?)
        };
        let unfit = |problem: String, hint: &'static str| {
            let place = address.label.clone();
            Fault::Typed(Error::Unfit { place, problem, hint })
        };
        let version = setting("server_version_num")?;
        if version.parse::<i64>().is_ok_and(|version| version < OLDEST) {
            return Err(unfit(
                format!("it is PostgreSQL {}", setting("server_version")?),
                "at least PostgreSQL 13 is needed",
            ));
        }
        for (name, loses) in [
            (
                "fsync",
                "jobs that were acknowledged, or all of them, when the power fails",
            ),
            (
                "full_page_writes",
                "all jobs when the power fails in the middle of a page",
            ),
        ] {
            if setting(name)? != "on" {
                return Err(unfit(format!("with {name} = off it loses {loses}"), "set it on"));
            }
        }
        // With `off`, what was acknowledged in the last half second is lost in a crash; anything else waits for a disk.
        if setting("synchronous_commit")? == "off" {
            client.batch_execute("SET synchronous_commit = on")?;
        }
        Ok(Self {
            client,
            statements: HashMap::new(),
            used: Instant::now(),
        })
    }
}
