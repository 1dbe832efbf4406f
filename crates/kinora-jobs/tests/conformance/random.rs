//! Random days of many jobs: after each call, the store holds what the pure machine says.

use std::collections::BTreeMap;
use std::time::Duration;

use kinora_jobs::{
    Allowance, Clock, Command, Error, Failure, JobId, Life, Phase, Retry, Scope, State, Store, Submission, Ticket,
};
use serde_json::json;

use super::{Bench, LEASE};
use crate::support::Random;

/// Every claim that was ever made, so that old ones can be tried again.
struct Day {
    lives: BTreeMap<JobId, (String, Life)>,
    tickets: Vec<Ticket>,
    ends: BTreeMap<JobId, u32>,
}

impl Day {
    /// The store answered with `answer`; the machine must say the same.
    fn agree<T: std::fmt::Debug>(&mut self, id: &JobId, command: &Command, answer: &Result<T, Error>) {
        let life = &self.lives[id].1;
        match (life.step(command), answer) {
            (Ok((next, _)), Ok(_)) => {
                if next.state().is_final() && !life.state().is_final() {
                    *self.ends.entry(id.clone()).or_default() += 1;
                }
                if let Some(entry) = self.lives.get_mut(id) {
                    entry.1 = next;
                }
            }
            (Err(expected), Err(Error::Illegal { reason, .. })) => assert_eq!(expected, *reason, "{command:?}"),
            (expected, answer) => panic!("{command:?}: machine {expected:?}, store {answer:?}"),
        }
    }

    fn one_call(&mut self, bench: &Bench, random: &mut Random) {
        let store: &dyn Store = &*bench.store;
        let now = bench.clock.now();
        let until = now.after(LEASE);
        let ids: Vec<_> = self.lives.keys().cloned().collect();
        let any = |random: &mut Random| ids.get(random.below(ids.len().max(1) as u64) as usize).cloned();
        match random.below(12) {
            0 | 1 if ids.len() < 20 => {
                let key = format!("k{}", random.below(3));
                let mut submission = Submission::new("p", &key, "video", json!(random.next()));
                submission.max_attempts = 1 + random.below(3) as u32;
                submission.webhooks = vec!["e".into()];
                let job = store.submit(&submission).unwrap().job;
                self.lives.insert(job.id, (key, job.life));
            }
            2 | 3 => {
                let ready = |life: &Life| matches!(life.phase, Phase::Queued { run_at } if run_at <= now);
                let Some(job) = bench.claim() else {
                    assert!(
                        !self.lives.values().any(|(_, life)| ready(life)),
                        "a job that is ready was not given"
                    );
                    return;
                };
                let command = Command::Claim {
                    worker: "w".into(),
                    now,
                    until,
                };
                self.agree(&job.id, &command, &Ok(()));
                self.tickets.push(job.ticket());
            }
            4 => {
                let Some(id) = any(random) else { return };
                self.agree(&id, &Command::Cancel, &store.cancel(&id));
            }
            5 if random.below(3) == 0 => {
                let Some(id) = any(random) else { return };
                self.agree(&id, &Command::Retry { now }, &store.retry(&id));
            }
            6 => {
                for id in store.reap(100).unwrap() {
                    self.agree(&id, &Command::Expire { now }, &Ok(()));
                }
                let held = |life: &Life| matches!(&life.phase, Phase::Running { lease, .. } if lease.until > now);
                assert!(
                    self.lives
                        .values()
                        .all(|(_, life)| life.state() != State::Running || held(life))
                );
            }
            _ => self.worker_speaks(store, random, now, until),
        }
    }

    fn worker_speaks(
        &mut self,
        store: &dyn Store,
        random: &mut Random,
        now: kinora_jobs::Timestamp,
        until: kinora_jobs::Timestamp,
    ) {
        let count = self.tickets.len() as u64;
        if count == 0 {
            return;
        }
        // Mostly one of the newest.
        let back = random.below(random.0 % count.min(6) + 1).min(count - 1);
        let ticket = self.tickets[(count - 1 - back) as usize].clone();
        let (id, fence) = (&ticket.job, ticket.fence);
        match random.below(7) {
            0 => self.agree(
                id,
                &Command::Heartbeat { fence, until },
                &store.heartbeat(&ticket, None, LEASE),
            ),
            1 => {
                let step = random.below(9);
                let answer = store.checkpoint(&ticket, "c", step, LEASE);
                self.agree(id, &Command::Checkpoint { fence, until, step }, &answer);
            }
            2 => self.agree(id, &Command::Succeed { fence }, &store.succeed(&ticket, &json!(fence))),
            3 | 4 => {
                let at = Retry::At(now.after(Duration::from_secs(random.below(9))));
                let retry = if random.below(2) == 0 { Retry::Never } else { at };
                let answer = store.fail(&ticket, &Failure::new("c", "m"), retry);
                self.agree(id, &Command::Fail { fence, retry }, &answer);
            }
            5 => self.agree(id, &Command::Stop { fence }, &store.stop(&ticket)),
            _ => self.agree(id, &Command::Release { fence, now }, &store.release(&ticket)),
        }
    }

    fn check(&self, store: &dyn Store) {
        let mut load: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for (id, (key, life)) in &self.lives {
            assert_eq!(store.get(id).unwrap().life, *life);
            let counts = load.entry(key).or_default();
            counts.0 += u64::from(life.state() == State::Queued);
            counts.1 += u64::from(life.state() == State::Running);
            let told = store.outbox(id).unwrap().len();
            assert_eq!(
                told,
                self.ends.get(id).copied().unwrap_or(0) as usize,
                "one webhook for each end"
            );
        }
        load.retain(|_, counts| *counts != (0, 0));
        let stored = store.load().unwrap();
        let stored: BTreeMap<_, _> = stored
            .iter()
            .map(|load| (&*load.key, (load.queued, load.running)))
            .collect();
        assert_eq!(stored, load);
    }
}

pub fn random_days_follow_the_machine(bench: &Bench) {
    let mut random = Random(20_261_125);
    for key in ["k0", "k1", "k2"] {
        bench.store.set_allowance(key, &Allowance::default()).unwrap();
    }
    for _day in 0..8 {
        let mut day = Day {
            lives: BTreeMap::new(),
            tickets: Vec::new(),
            ends: BTreeMap::new(),
        };
        for call in 0..250 {
            bench.clock.advance(Duration::from_secs(random.below(4)));
            day.one_call(bench, &mut random);
            if call % 25 == 0 {
                day.check(&*bench.store);
            }
        }
        day.check(&*bench.store);
        for id in day.lives.keys() {
            if !bench.store.get(id).unwrap().state().is_final() {
                bench.store.cancel(id).unwrap();
            }
        }
        bench.wait(100);
        bench.store.reap(100).unwrap();
        for id in day.lives.keys() {
            bench.store.delete(id).unwrap();
        }
    }
    assert_eq!(bench.store.events(&Scope::All, 0, 10).unwrap(), []);
}
