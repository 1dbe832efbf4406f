//! How long a stage will still take, from how long its last units took.

use std::collections::VecDeque;
use std::time::Duration;

/// Units that the pace is measured over: few enough to follow a machine that becomes busy, enough to be calm.
const WINDOW: usize = 8;

/// Measures the pace of one stage. Times are since any fixed moment.
#[derive(Debug)]
pub struct TimeLeft {
    of: usize,
    marks: VecDeque<(usize, Duration)>,
}

impl TimeLeft {
    /// A stage of `of` units begins.
    pub fn start(of: usize, now: Duration) -> Self {
        Self {
            of,
            marks: VecDeque::from([(0, now)]),
        }
    }

    /// `done` units are finished.
    pub fn advance(&mut self, done: usize, now: Duration) {
        self.marks.push_back((done, now));
        if self.marks.len() > WINDOW + 1 {
            self.marks.pop_front();
        }
    }

    /// Units a second; unknown until one unit is finished.
    pub fn rate(&self) -> Option<f64> {
        let (units, took) = self.measured()?;
        Some(units as f64 / took.as_secs_f64()).filter(|rate| rate.is_finite())
    }

    /// Units that the marks span, and how long they took.
    fn measured(&self) -> Option<(usize, Duration)> {
        let (&(first, from), &(last, to)) = (self.marks.front()?, self.marks.back()?);
        let units = last.checked_sub(first).filter(|&units| units > 0)?;
        Some((units, to.checked_sub(from)?))
    }

    /// What is left; unknown until one unit is finished.
    pub fn estimate(&self, now: Duration) -> Option<Duration> {
        let (units, took) = self.measured()?;
        let &(last, to) = self.marks.back()?;
        // As a share first: the time of one byte is less than a duration can hold.
        let whole = took.mul_f64(self.of.saturating_sub(last) as f64 / units as f64);
        Some(whole.saturating_sub(now.saturating_sub(to)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn nothing_is_claimed_before_the_first_unit() {
        assert_eq!(TimeLeft::start(10, s(5)).estimate(s(9)), None);
    }

    #[test]
    fn the_measured_pace_counts_down_between_units() {
        let mut left = TimeLeft::start(10, s(100));
        left.advance(1, s(102));
        assert_eq!(left.estimate(s(102)), Some(s(18)));
        assert_eq!(left.estimate(s(103)), Some(s(17)));
        assert_eq!(left.estimate(s(500)), Some(s(0)));
        left.advance(10, s(120));
        assert_eq!(left.estimate(s(120)), Some(s(0)));
    }

    #[test]
    fn a_slow_start_is_forgotten() {
        let mut left = TimeLeft::start(100, s(0));
        left.advance(1, s(60));
        for done in 2..=20 {
            left.advance(done, s(60 + done as u64));
        }
        assert_eq!(left.estimate(s(80)), Some(s(80)));
    }

    #[test]
    fn no_units_and_repeats_do_no_harm() {
        let mut left = TimeLeft::start(0, s(0));
        left.advance(0, s(1));
        assert_eq!(left.estimate(s(2)), None);
    }
}
