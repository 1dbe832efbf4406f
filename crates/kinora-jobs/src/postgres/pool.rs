//! A few connections for many threads.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::address::Address;
use super::faults::{Kind, kind};
use super::link::Link;
use crate::error::Error;
use crate::sql::Fault;

/// How many connections one store has at most. More would only wait for each other: commits that have news come one by one.
const MOST: usize = 16;
/// How long a call waits for one, and how long an idle one may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// A connection that was not used for so long is asked whether it is there.
const STALE: Duration = Duration::from_secs(1);

/// The connections of a store.
pub(super) struct Pool {
    pub(super) address: Address,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Link>,
    /// How many calls have one. A new one is made only if none idles, so there are never more than [`MOST`].
    busy: usize,
}

/// The right to a connection.
struct Place<'a>(&'a Pool);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.state().busy -= 1;
        self.0.freed.notify_one();
    }
}

impl Pool {
    pub(super) fn new(address: Address) -> Self {
        Self {
            address,
            state: Mutex::default(),
            freed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self) -> Result<Place<'_>, Fault> {
        let (mut state, wait) = self
            .freed
            .wait_timeout_while(self.state(), PATIENCE, |state| state.busy >= MOST)
            .unwrap_or_else(PoisonError::into_inner);
        if wait.timed_out() && state.busy >= MOST {
            return Err(Fault::Typed(Error::Busy));
        }
        state.busy += 1;
        Ok(Place(self))
    }

    /// An idle connection that is alive, or a new one.
    fn link(&self) -> Result<Link, Fault> {
        loop {
            let idle = self.state().idle.pop();
            let Some(mut link) = idle else {
                return Link::open(&self.address);
            };
            if link.used.elapsed() < STALE || link.client.is_valid(PATIENCE).is_ok() {
                return Ok(link);
            }
        }
    }

    /// Lends a connection to `work`. One that was lost is not used again, and neither are those that idle.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Link) -> Result<T, Fault>) -> Result<T, Fault> {
        let _place = self.place()?;
        let mut link = self.link()?;
        let done = work(&mut link);
        let lost = matches!(&done, Err(Fault::Postgres(error)) if kind(error) == Kind::Lost);
        if lost || link.client.is_closed() {
            self.state().idle.clear();
        } else {
            link.used = Instant::now();
            self.state().idle.push(link);
        }
        done
    }
}
