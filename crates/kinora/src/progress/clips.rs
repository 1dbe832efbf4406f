//! Progress of an evaluation: one clip after the other, each judged.

use std::io::Write;
use std::time::Instant;

use kinora_eval::{ClipResult, News};
use kinora_pipeline::CancelToken;

use super::CLEAR_BELOW;
use super::time_left::TimeLeft;
use crate::{terminal, units};

/// Characters of the bar.
const BAR: usize = 24;

/// Says how far an evaluation is: a moving line on a terminal, else a line a clip.
pub struct Clips<W> {
    out: W,
    live: bool,
    cancel: CancelToken,
    started: Instant,
    left: TimeLeft,
    /// Clips that were known at the start.
    known: usize,
    judged: usize,
    of: usize,
    /// Steps of the clip that is being made.
    step: (usize, usize),
    subjects: usize,
}

impl<W: Write> Clips<W> {
    /// Writes to `out`; `cancel` lets it say that a stop is under way.
    pub fn new(out: W, live: bool, cancel: &CancelToken) -> Self {
        let started = Instant::now();
        Self {
            out,
            live,
            cancel: cancel.clone(),
            started,
            left: TimeLeft::start(0, started.elapsed()),
            known: 0,
            judged: 0,
            of: 0,
            step: (0, 0),
            subjects: 0,
        }
    }

    /// Takes in a piece of news.
    pub fn news(&mut self, news: &News<'_>) {
        match news {
            News::Started { done, of } => {
                (self.known, self.of) = (*done, *of);
                self.left = TimeLeft::start(of.saturating_sub(*done), self.started.elapsed());
                if *done > 0 {
                    self.line(&format!("{done} of {of} clips are known from before"));
                }
            }
            News::Step { done, of } => self.step = (*done, *of),
            News::Judged(result) => {
                self.judged += 1;
                self.subjects += usize::from(result.verdict.subject);
                self.step = (0, 0);
                self.left.advance(self.judged, self.started.elapsed());
                if !self.live {
                    let line = self.clip_line(result);
                    self.line(&line);
                }
            }
        }
        if self.live {
            let line = self.moving_line();
            self.write(&format!("\r{line}\x1b[K"));
        }
    }

    /// Takes what moves off the terminal.
    pub fn finish(&mut self) {
        if self.live {
            self.write(CLEAR_BELOW);
        }
    }

    /// `13 of 240, subject right: a cat on the moon, 41 min 02 s left`.
    fn clip_line(&self, result: &ClipResult) -> String {
        let word = if result.verdict.subject { "right" } else { "wrong" };
        let prompt = &result.prompt;
        format!(
            "{} of {}, subject {word}: {prompt}{}",
            self.known + self.judged,
            self.of,
            self.time_left()
        )
    }

    /// `[##------] 13 of 240, step 3 of 28, subject right in 10 of 13, 41 min 02 s left`.
    fn moving_line(&self) -> String {
        let done = self.known + self.judged;
        let share = (done as f64 + self.step.0 as f64 / self.step.1.max(1) as f64) / self.of.max(1) as f64;
        let full = ((share * BAR as f64) as usize).min(BAR);
        let standing = match self.cancel.is_cancelled() {
            true => "stopping at the next step; Ctrl-C again leaves at once".to_owned(),
            false => {
                let step = match self.step {
                    (_, 0) => String::new(),
                    (step, steps) => format!(", step {step} of {steps}"),
                };
                let subjects = match self.judged {
                    0 => String::new(),
                    judged => format!(", subject right in {} of {judged}", self.subjects),
                };
                format!("{done} of {}{step}{subjects}{}", self.of, self.time_left())
            }
        };
        let line = format!("[{}{}] {standing}", "#".repeat(full), "-".repeat(BAR - full));
        // A line as wide as the terminal would wrap.
        line.chars()
            .take(usize::from(terminal::size().columns.saturating_sub(1)))
            .collect()
    }

    fn time_left(&self) -> String {
        let left = self.left.estimate(self.started.elapsed());
        left.map(|left| format!(", {} left", units::time(left)))
            .unwrap_or_default()
    }

    fn line(&mut self, text: &str) {
        let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let clear = if self.live { CLEAR_BELOW } else { "" };
        self.write(&format!("{clear}{clean}\n"));
    }

    fn write(&mut self, text: &str) {
        // Nobody can be told that stderr is closed; the evaluation goes on.
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(subject: bool) -> ClipResult {
        serde_json::from_value(serde_json::json!({
            "id": 7, "kind": "seen", "prompt": "a cat\u{1b}[2J", "model_prompt": "", "seed": 7, "consistency": 1.0,
            "answers": {"actors": [], "count": "1", "background": "", "time": "", "weather": "", "motion": "", "camera": ""},
            "verdict": {"subject": subject, "count": true}, "flicker": 0.0, "seconds": 1.0}))
        .unwrap()
    }

    fn said(live: bool, news: &[News<'_>]) -> String {
        let mut clips = Clips::new(Vec::new(), live, &CancelToken::new());
        news.iter().for_each(|news| clips.news(news));
        clips.finish();
        String::from_utf8(clips.out).unwrap()
    }

    #[test]
    fn a_log_has_a_line_for_each_clip() {
        let (right, wrong) = (result(true), result(false));
        let news = [
            News::Started { done: 2, of: 4 },
            News::Step { done: 1, of: 2 },
            News::Judged(&right),
            News::Judged(&wrong),
        ];
        assert_eq!(
            said(false, &news),
            "2 of 4 clips are known from before\n\
             3 of 4, subject right: a cat [2J, 0.0 s left\n\
             4 of 4, subject wrong: a cat [2J, 0.0 s left\n"
        );
    }

    #[test]
    fn a_terminal_has_a_line_that_moves() {
        let right = result(true);
        let text = said(
            true,
            &[
                News::Started { done: 0, of: 2 },
                News::Step { done: 7, of: 14 },
                News::Judged(&right),
            ],
        );
        assert!(
            text.contains("\r[######------------------] 0 of 2, step 7 of 14\x1b[K"),
            "{text:?}"
        );
        assert!(
            text.contains("[############------------] 1 of 2, subject right in 1 of 1, 0.0 s left"),
            "{text:?}"
        );
        assert!(text.ends_with(CLEAR_BELOW));
    }
}
