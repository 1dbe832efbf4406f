//! Jobs in a PostgreSQL database: `docs/adr/0012-jobs-on-postgresql.md` says why, and what it takes.
//!
//! Many machines may use one. Rows are held by those who change them; claims are made one at a time, and commits that append to
//! the log come one after the other, so that a reader of the log who has seen a number has seen all smaller ones.

mod address;
mod faults;
mod link;
mod pool;
mod schema;
mod tls;
mod tx;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use postgres::IsolationLevel;

use self::address::Address;
use self::faults::{Kind, kind, named};
use self::pool::Pool;
use self::tx::{PostgresTx, Receipt};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::sql::{Database, Fault};

/// How often a transaction is begun anew when somebody was faster, and for how long at most.
const TRIES: u32 = 10;
const PATIENCE: Duration = Duration::from_secs(5);
/// How long we ask what became of a commit whose answer was lost. A server restarts and a standby takes over in less.
const INQUIRY: Duration = Duration::from_secs(30);

/// Jobs in a PostgreSQL database.
pub struct PostgresStore {
    pool: Pool,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore")
            .field("place", &self.pool.address.label)
            .finish_non_exhaustive()
    }
}

/// How a transaction ended.
enum End<T> {
    /// Committed.
    Done(T),
    /// The answer to the commit was lost.
    Unknown(T, Option<Receipt>, postgres::Error),
}

impl PostgresStore {
    /// Connects to the database of `url`, and makes the tables or brings them to this version. They are in a schema of their
    /// own, `kinora_jobs`. A TLS connection is made as `sslmode` says (disable, allow, prefer, require, verify-ca, verify-full;
    /// `prefer` if it is silent), with the certificates of `sslrootcert=FILE` or those that the system trusts.
    ///
    /// **Errors**: `Field` (of the URL), `Unreachable`, `Unfit` (too old, or it would lose jobs), `Foreign` (the schema is
    /// another program's), `Newer` (a newer Kinora's), `Busy`, `Storage`.
    pub fn open(url: &str, clock: Arc<dyn Clock>) -> Result<Self> {
        let pool = Pool::new(Address::parse(url)?);
        let label = &pool.address.label;
        pool.with(|link| schema::migrate(link, label))
            .map_err(|fault| named(fault, label, "open"))?;
        Ok(Self { pool, clock })
    }

    fn attempt<T>(&self, work: &mut impl FnMut(&mut PostgresTx<'_>) -> Result<T, Fault>) -> Result<End<T>, Fault> {
        self.pool.with(|link| {
            let transaction = link.client.transaction()?;
            let mut tx = PostgresTx::new(transaction, &mut link.statements, &*self.clock);
            let done = work(&mut tx)?;
            let (transaction, receipt) = tx.finish()?;
            match transaction.commit() {
                Ok(()) => Ok(End::Done(done)),
                Err(error) if kind(&error) == Kind::Conflict => Err(error.into()),
                // Also what the server says as it ends: it may have committed before.
                Err(error) => Ok(End::Unknown(done, receipt, error)),
            }
        })
    }

    /// Finds out what became of a commit whose answer was lost.
    fn inquire<T>(&self, doing: &'static str, done: T, receipt: Option<&Receipt>, error: postgres::Error) -> Result<T> {
        let place = &self.pool.address.label;
        let Some(receipt) = receipt else {
            // It appended nothing to the log: a sign of life, or news of a delivery. To repeat it does no harm.
            return Err(Error::Unreachable {
                place: place.clone(),
                detail: faults::told(&error),
            });
        };
        let begun = Instant::now();
        for turn in 0.. {
            let answer = self.pool.with(|link| {
                let transaction = link.client.transaction()?;
                PostgresTx::new(transaction, &mut link.statements, &*self.clock).committed(receipt)
            });
            match answer {
                Ok(true) => return Ok(done),
                Ok(false) => return Err(named(error.into(), place, doing)),
                Err(_) if begun.elapsed() < INQUIRY => std::thread::sleep(pause(turn)),
                Err(_) => break,
            }
        }
        let place = place.clone();
        Err(Error::Uncertain { place, doing })
    }
}

/// A pause of random length before the next try: 1 to 2 ms at first, up to half a second.
fn pause(turn: u32) -> Duration {
    let most = 1_000_u64 << turn.min(8);
    let random = RandomState::new().build_hasher().finish();
    Duration::from_micros(most + random % most)
}

impl Database for PostgresStore {
    type Tx<'a> = PostgresTx<'a>;

    fn write<T>(
        &self,
        doing: &'static str,
        mut work: impl FnMut(&mut PostgresTx<'_>) -> Result<T, Fault>,
    ) -> Result<T> {
        let begun = Instant::now();
        let mut turn = 0;
        loop {
            match self.attempt(&mut work) {
                Ok(End::Done(done)) => return Ok(done),
                Ok(End::Unknown(done, receipt, error)) => return self.inquire(doing, done, receipt.as_ref(), error),
                Err(Fault::Postgres(error))
                    if kind(&error) == Kind::Conflict && turn < TRIES && begun.elapsed() < PATIENCE =>
                {
                    std::thread::sleep(pause(turn));
                    turn += 1;
                }
                Err(fault) => return Err(named(fault, &self.pool.address.label, doing)),
            }
        }
    }

    fn read<T>(&self, doing: &'static str, mut work: impl FnMut(&mut PostgresTx<'_>) -> Result<T, Fault>) -> Result<T> {
        let run = self.pool.with(|link| {
            let moment = link.client.build_transaction().read_only(true);
            let transaction = moment.isolation_level(IsolationLevel::RepeatableRead).start()?;
            work(&mut PostgresTx::new(transaction, &mut link.statements, &*self.clock))
        });
        run.map_err(|fault| named(fault, &self.pool.address.label, doing))
    }
}
