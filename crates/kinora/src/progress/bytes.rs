//! Progress of work on files, in bytes.

use std::io::Write;
use std::time::{Duration, Instant};

use super::CLEAR_BELOW;
use super::time_left::TimeLeft;
use crate::interrupt::Talk;
use crate::{terminal, units};

/// Characters of the bar.
const BAR: usize = 24;
/// Time between drawings of the moving line.
const TICK: Duration = Duration::from_millis(125);
/// Time between marks of the pace.
const MARK: Duration = Duration::from_millis(500);
/// Least time between lines in a log.
const PAUSE: Duration = Duration::from_secs(2);

/// Says how much of a number of bytes is done: a moving line on a terminal, else a line now and then.
pub struct Bytes<W> {
    out: W,
    talk: Talk,
    started: Instant,
    /// Bytes that were there before.
    before: Option<u64>,
    left: Option<TimeLeft>,
    said: Duration,
    marked: Duration,
}

impl<W: Write> Bytes<W> {
    /// Writes to `out`.
    pub fn new(out: W, talk: Talk) -> Self {
        Self {
            out,
            talk,
            started: Instant::now(),
            before: None,
            left: None,
            said: Duration::ZERO,
            marked: Duration::ZERO,
        }
    }

    /// `done` of `total` bytes are finished; `at` is what is being worked on.
    pub fn advance(&mut self, done: u64, total: u64, at: &str) {
        self.advance_at(self.started.elapsed(), done, total, at);
    }

    fn advance_at(&mut self, now: Duration, done: u64, total: u64, at: &str) {
        let before = *self.before.get_or_insert(done);
        let left = self
            .left
            .get_or_insert_with(|| TimeLeft::start(total.saturating_sub(before) as usize, now));
        if now >= self.marked + MARK {
            self.marked = now;
            left.advance(done.saturating_sub(before) as usize, now);
        }
        let wait = if self.talk == Talk::Live { TICK } else { PAUSE };
        if self.talk == Talk::Quiet || now < self.said + wait {
            return;
        }
        self.said = now;
        let share = done as f64 / total.max(1) as f64;
        let rate = left.rate().map(|rate| format!(", {}/s", units::bytes(rate as u64)));
        let estimate = left.estimate(now).map(|left| format!(", {} left", units::time(left)));
        let standing = format!(
            "{:>3.0} %, {} of {}{}{}, {at}",
            share * 100.0,
            units::bytes(done),
            units::bytes(total),
            rate.unwrap_or_default(),
            estimate.unwrap_or_default()
        );
        let clean: String = standing.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        match self.talk {
            Talk::Live => {
                let full = ((share * BAR as f64) as usize).min(BAR);
                let line = format!("[{}{}] {clean}", "#".repeat(full), "-".repeat(BAR - full));
                // A line as wide as the terminal would wrap.
                let columns = usize::from(terminal::size().columns.saturating_sub(1));
                let line: String = line.chars().take(columns).collect();
                self.write(&format!("\r{line}\x1b[K"));
            }
            _ => self.write(&format!("{clean}\n")),
        }
    }

    /// Takes what moves off the terminal.
    pub fn finish(mut self) {
        if self.talk == Talk::Live {
            self.write(CLEAR_BELOW);
        }
    }

    fn write(&mut self, text: &str) {
        // Nobody can be told that stderr is closed; the work goes on.
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(talk: Talk, steps: &[(u64, u64)]) -> String {
        let mut bytes = Bytes::new(Vec::new(), talk);
        for (seconds, done) in steps {
            bytes.advance_at(Duration::from_secs(*seconds), *done, 8_000_000_000, "a\u{1b}b");
        }
        let mut out = Vec::new();
        std::mem::swap(&mut out, &mut bytes.out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_log_has_a_line_now_and_then_with_rate_and_time_left() {
        let steps = [
            (0, 1_000_000_000),
            (1, 2_000_000_000),
            (4, 5_000_000_000),
            (5, 6_000_000_000),
        ];
        assert_eq!(
            said(Talk::Plain, &steps),
            " 62 %, 5.0 GB of 8.0 GB, 1.0 GB/s, 3.0 s left, a b\n"
        );
        assert_eq!(said(Talk::Quiet, &steps), "");
    }

    #[test]
    fn a_terminal_has_a_line_that_moves() {
        let text = said(Talk::Live, &[(0, 0), (1, 2_000_000_000), (2, 4_000_000_000)]);
        assert!(
            text.starts_with("\r[######------------------]  25 %, 2.0 GB of 8.0 GB, 2.0 GB/s, 3.0 s left, a b\x1b[K"),
            "{text:?}"
        );
        assert!(text.contains("\r[############------------]  50 %"), "{text:?}");
    }
}
