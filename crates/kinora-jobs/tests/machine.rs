//! The state machine: every pair of state and command, and long random lives against a model that is written another way.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use kinora_jobs::{Change, Command, Fence, Illegal, Lease, Life, Phase, Retry, State, Timestamp};
use support::Random;

fn command(random: &mut Random, now: Timestamp, newest: Fence) -> Command {
    // Mostly the newest token, sometimes an old one, sometimes one that was never given.
    let fence = Fence((newest.0 + 2).saturating_sub([2, 2, 2, 3, 1][random.below(5) as usize]));
    let until = Timestamp(now.0 + random.below(20) as i64);
    match random.below(10) {
        0 => Command::Claim {
            worker: format!("w{}", random.below(3)),
            now,
            until,
        },
        1 => Command::Heartbeat { fence, until },
        2 => Command::Checkpoint {
            fence,
            until,
            step: random.below(30),
        },
        3 if random.below(4) == 0 => Command::Succeed { fence },
        4 => Command::Fail {
            fence,
            retry: if random.below(8) == 0 {
                Retry::Never
            } else {
                Retry::At(until)
            },
        },
        5 => Command::Stop { fence },
        6 => Command::Release { fence, now },
        7 if random.below(4) == 0 => Command::Cancel,
        8 => Command::Retry { now },
        _ => Command::Expire { now },
    }
}

/// The same rules as flags and numbers instead of phases: what may happen is asked first, then it is done.
#[derive(Debug, Clone, PartialEq)]
struct Model {
    state: State,
    run_at: i64,
    until: i64,
    cancelling: bool,
    token: u64,
    attempts: u32,
    idle: u32,
    limit: u32,
    furthest: u64,
}

impl Model {
    fn of(life: &Life) -> Self {
        let (mut run_at, mut until, mut cancelling) = (0, 0, false);
        match &life.phase {
            Phase::Queued { run_at: at } => run_at = at.0,
            Phase::Running {
                lease,
                cancel_requested,
            } => (until, cancelling) = (lease.until.0, *cancel_requested),
            _ => {}
        }
        Self {
            state: life.state(),
            run_at,
            until,
            cancelling,
            token: life.fence.0,
            attempts: life.attempts,
            idle: life.idle_attempts,
            limit: life.max_attempts,
            furthest: life.furthest,
        }
    }

    /// Which token a command of a worker carries.
    fn token(command: &Command) -> Option<u64> {
        match command {
            Command::Heartbeat { fence, .. }
            | Command::Checkpoint { fence, .. }
            | Command::Succeed { fence }
            | Command::Fail { fence, .. }
            | Command::Stop { fence }
            | Command::Release { fence, .. } => Some(fence.0),
            _ => None,
        }
    }

    fn may(&self, command: &Command) -> bool {
        if let Some(token) = Self::token(command) {
            let stopping = matches!(command, Command::Stop { .. });
            return self.state == State::Running && token == self.token && (!stopping || self.cancelling);
        }
        match command {
            Command::Claim { now, .. } => self.state == State::Queued && now.0 >= self.run_at,
            Command::Expire { now } => self.state == State::Running && now.0 >= self.until,
            Command::Cancel => !matches!(self.state, State::Succeeded | State::Failed),
            Command::Retry { .. } => matches!(self.state, State::Failed | State::Cancelled),
            _ => unreachable!(),
        }
    }

    fn leave(&mut self, state: State, run_at: i64) {
        (self.state, self.until, self.cancelling) = (state, 0, false);
        self.run_at = if state == State::Queued { run_at } else { 0 };
    }

    fn bad_end(&mut self, run_at: i64) {
        let state = match (self.cancelling, self.idle < self.limit) {
            (true, _) => State::Cancelled,
            (false, true) => State::Queued,
            (false, false) => State::Failed,
        };
        self.leave(state, run_at);
    }

    fn perform(&mut self, command: &Command) {
        match command {
            Command::Claim { until, .. } => {
                self.leave(State::Running, 0);
                self.until = until.0;
                self.token += 1;
                self.attempts += 1;
                self.idle += 1;
            }
            Command::Heartbeat { until, .. } => self.until = self.until.max(until.0),
            Command::Checkpoint { until, step, .. } => {
                self.until = self.until.max(until.0);
                if *step > self.furthest {
                    (self.furthest, self.idle) = (*step, 0);
                }
            }
            Command::Succeed { .. } => self.leave(State::Succeeded, 0),
            Command::Fail {
                retry: Retry::Never, ..
            } => self.leave(State::Failed, 0),
            Command::Fail {
                retry: Retry::At(at), ..
            } => self.bad_end(at.0),
            Command::Expire { now } => self.bad_end(now.0),
            Command::Stop { .. } => self.leave(State::Cancelled, 0),
            Command::Release { now, .. } => {
                self.attempts -= 1;
                self.idle = self.idle.saturating_sub(1);
                let state = if self.cancelling {
                    State::Cancelled
                } else {
                    State::Queued
                };
                self.leave(state, now.0);
            }
            Command::Cancel if self.state == State::Running => self.cancelling = true,
            Command::Cancel => self.leave(State::Cancelled, 0),
            Command::Retry { now } => {
                self.leave(State::Queued, now.0);
                self.idle = 0;
            }
        }
    }
}

#[test]
fn random_lives_follow_the_model() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..2000 {
        let mut random = Random(seed);
        let mut now = Timestamp(0);
        let mut life = Life::queued(now, 1 + random.below(4) as u32);
        let mut newest = life.fence;
        for _ in 0..60 {
            now.0 += random.below(12) as i64;
            let command = command(&mut random, now, life.fence);
            let mut model = Model::of(&life);
            let allowed = model.may(&command);
            seen.insert((life.state(), command.name(), allowed));
            let answer = life.step(&command);
            assert_eq!(
                answer.is_ok(),
                allowed,
                "seed {seed}: {command:?} in {life:?} gave {answer:?}"
            );
            let Ok((next, change)) = answer else { continue };
            model.perform(&command);
            assert_eq!(Model::of(&next), model, "seed {seed}: {command:?} in {life:?}");
            assert_eq!(
                change == Change::None,
                next == life && matches!(command, Command::Cancel),
                "{command:?}"
            );
            assert!(next.fence >= newest, "tokens never fall");
            newest = next.fence;
            life = next;
        }
    }
    // Each command was tried in each state; how many are possible in queued, running, succeeded, failed, cancelled.
    let pairs: std::collections::BTreeSet<_> = seen.iter().map(|(state, name, _)| (*state, *name)).collect();
    assert_eq!(pairs.len(), 5 * 10);
    assert_eq!(
        seen.iter().filter(|found| found.2).count(),
        [2, 8, 0, 1, 2].iter().sum::<usize>(),
        "{seen:?}"
    );
}

#[test]
fn refusals_say_why() {
    let now = Timestamp(100);
    let claim = |now| Command::Claim {
        worker: "w".into(),
        now,
        until: Timestamp(200),
    };
    let queued = Life::queued(now, 3);
    let (running, change) = queued.step(&claim(now)).unwrap();
    assert_eq!((change, running.fence), (Change::Claimed, Fence(1)));
    let reason = |life: &Life, command: &Command| life.step(command).unwrap_err();

    assert_eq!(reason(&queued, &claim(Timestamp(99))), Illegal::NotYet { run_at: now });
    let state = |command, state| Illegal::State { command, state };
    assert_eq!(reason(&running, &claim(now)), state("claim", State::Running));
    assert_eq!(
        reason(&queued, &Command::Expire { now }),
        state("expire", State::Queued)
    );
    let held = Illegal::LeaseHeld { until: Timestamp(200) };
    assert_eq!(reason(&running, &Command::Expire { now: Timestamp(199) }), held);
    assert_eq!(
        reason(&running, &Command::Stop { fence: Fence(1) }),
        Illegal::NotCancelled
    );
    let stale = |given| Illegal::Stale {
        command: "succeed",
        given,
        newest: Fence(1),
    };
    assert_eq!(reason(&running, &Command::Succeed { fence: Fence(0) }), stale(Fence(0)));

    // Late, but nobody took it: the token decides. A second time it is the own token that the answer names.
    let (done, change) = running.step(&Command::Succeed { fence: Fence(1) }).unwrap();
    assert_eq!((change, done.state()), (Change::Succeeded, State::Succeeded));
    let finished = |command| Illegal::Finished {
        command,
        state: State::Succeeded,
        fence: Fence(1),
    };
    assert_eq!(
        reason(&done, &Command::Succeed { fence: Fence(1) }),
        finished("succeed")
    );
    assert_eq!(reason(&done, &Command::Succeed { fence: Fence(0) }), stale(Fence(0)));
    assert_eq!(reason(&done, &Command::Cancel), finished("cancel"));
    assert_eq!(reason(&done, &Command::Retry { now }), finished("retry"));
}

#[test]
fn a_job_that_moves_survives_any_number_of_kills_and_one_that_does_not_is_given_up() {
    let mut life = Life::queued(Timestamp(0), 3);
    let attempt = |life: &Life, step: Option<u64>| {
        let now = Timestamp(0);
        let claim = Command::Claim {
            worker: "w".into(),
            now,
            until: now,
        };
        let mut life = life.step(&claim).unwrap().0;
        if let Some(step) = step {
            let fence = life.fence;
            life = life
                .step(&Command::Checkpoint {
                    fence,
                    until: now,
                    step,
                })
                .unwrap()
                .0;
        }
        life.step(&Command::Expire { now }).unwrap()
    };
    for step in 1..=200 {
        life = attempt(&life, Some(step)).0;
        assert_eq!(life.state(), State::Queued, "kill {step}");
    }
    // The same step again and again is no move.
    for _ in 0..2 {
        life = attempt(&life, Some(200)).0;
        assert_eq!(life.state(), State::Queued);
    }
    let (life, change) = attempt(&life, None);
    assert_eq!(
        (life.state(), change, life.attempts),
        (State::Failed, Change::Exhausted, 203)
    );
}

#[test]
fn a_lease_is_never_made_shorter() {
    let lease = |until| Lease {
        worker: "w".into(),
        until: Timestamp(until),
    };
    let mut life = Life::queued(Timestamp(0), 1);
    life.phase = Phase::Running {
        lease: lease(50),
        cancel_requested: true,
    };
    let beat = Command::Heartbeat {
        fence: Fence(0),
        until: Timestamp(40),
    };
    let (next, change) = life.step(&beat).unwrap();
    assert_eq!((&next, change), (&life, Change::Renewed));
}
