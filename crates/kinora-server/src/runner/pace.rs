//! How often something is done beside the work itself, so that it takes little of the time.

use std::time::{Duration, Instant};

/// Keeps the share of time that something takes small.
#[derive(Debug)]
pub(super) struct Pace {
    /// The time between two is at least this,
    least: Duration,
    /// and so many times what the last one took.
    times: u32,
    last: Option<(Instant, Duration)>,
}

impl Pace {
    /// The first is due at once; the others take at most one part in `times` of the time.
    pub(super) const fn new(least: Duration, times: u32) -> Self {
        Self {
            least,
            times,
            last: None,
        }
    }

    /// Whether it is time for another one.
    pub(super) fn is_due(&self) -> bool {
        let Some((at, took)) = self.last else { return true };
        at.elapsed() >= self.least.max(took.saturating_mul(self.times))
    }

    /// One that began then is done.
    pub(super) fn done(&mut self, begun: Instant) {
        self.last = Some((Instant::now(), begun.elapsed()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_comes_seldom() {
        let mut pace = Pace::new(Duration::ZERO, 50);
        assert!(pace.is_due(), "the first");
        let begun = Instant::now();
        std::thread::sleep(Duration::from_millis(4));
        pace.done(begun);
        assert!(!pace.is_due());
        std::thread::sleep(Duration::from_millis(300).max(begun.elapsed() * 60));
        assert!(pace.is_due());
        let mut pace = Pace::new(Duration::from_secs(3600), 1);
        pace.done(Instant::now());
        assert!(!pace.is_due());
    }
}
