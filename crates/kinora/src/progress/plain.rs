//! Progress as lines: for log files and pipes. No control codes, and a long stage speaks up about every tenth.

use std::io::Write;
use std::time::Duration;

use kinora_pipeline::{Event, memory};

use super::Meter;

/// Writes a line for what is worth one.
pub struct Plain<W> {
    out: W,
    meter: Meter,
    said_tenths: usize,
    peak: fn() -> Option<u64>,
}

impl<W: Write> Plain<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self {
            out,
            meter: Meter::default(),
            said_tenths: 0,
            peak: memory::peak_bytes,
        }
    }

    /// Takes in an event that came `now`.
    pub fn event(&mut self, event: &Event<'_>, now: Duration) {
        if let Some(line) = self.meter.event(event, now) {
            self.line(&line);
        }
        match *event {
            Event::StageStarted { .. } => self.said_tenths = 0,
            Event::Progress { done, of, .. } if of > 1 => {
                let tenths = done * 10 / of;
                if tenths > self.said_tenths && done < of {
                    self.said_tenths = tenths;
                    let stage = self.meter.current.as_ref().map_or("", |current| current.stage.name());
                    let standing = self.meter.standing(now, (self.peak)());
                    self.line(&format!("{stage:<8}{:>3} %, {standing}", done * 100 / of));
                }
            }
            _ => {}
        }
    }

    fn line(&mut self, text: &str) {
        let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        // Nobody can be told that stderr is closed; the run goes on.
        let _ = writeln!(self.out, "{clean}");
    }
}

#[cfg(test)]
mod tests {
    use kinora_pipeline::Stage;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn said(events: &[(u64, Event<'_>)]) -> String {
        let mut plain = Plain {
            peak: || Some(512_000_000),
            ..Plain::new(Vec::new())
        };
        for (at, event) in events {
            plain.event(event, ms(*at));
        }
        String::from_utf8(plain.out).unwrap()
    }

    #[test]
    fn a_stage_has_a_line_and_long_ones_speak_up_each_tenth() {
        let mut events = vec![
            (
                0,
                Event::ClipStarted {
                    variant: 1,
                    variants: 3,
                    seed: 8,
                },
            ),
            (
                0,
                Event::StageStarted {
                    stage: Stage::Parse,
                    units: 1,
                },
            ),
            (
                9,
                Event::Progress {
                    stage: Stage::Parse,
                    done: 1,
                    of: 1,
                },
            ),
            (9, Event::Note("the model does not know \"dragon\"\u{1b}[31m")),
            (
                9,
                Event::StageFinished {
                    stage: Stage::Parse,
                    took: ms(9),
                },
            ),
            (
                10,
                Event::SegmentStarted {
                    segment: 0,
                    segments: 2,
                },
            ),
            (
                10,
                Event::StageStarted {
                    stage: Stage::Diffuse,
                    units: 20,
                },
            ),
        ];
        events.extend((1..=20).map(|done| {
            (
                10 + 1000 * done as u64,
                Event::Progress {
                    stage: Stage::Diffuse,
                    done,
                    of: 20,
                },
            )
        }));
        events.push((
            20_010,
            Event::StageFinished {
                stage: Stage::Diffuse,
                took: ms(20_000),
            },
        ));
        assert_eq!(
            said(&events),
            "clip 2 of 3, seed 8\n\
             note: the model does not know \"dragon\" [31m\n\
             parse   done in 0.0 s\n\
             diffuse  10 %, step 2 of 20, part 1 of 2, 18 s left, peak memory 512 MB\n\
             diffuse  20 %, step 4 of 20, part 1 of 2, 16 s left, peak memory 512 MB\n\
             diffuse  30 %, step 6 of 20, part 1 of 2, 14 s left, peak memory 512 MB\n\
             diffuse  40 %, step 8 of 20, part 1 of 2, 12 s left, peak memory 512 MB\n\
             diffuse  50 %, step 10 of 20, part 1 of 2, 10 s left, peak memory 512 MB\n\
             diffuse  60 %, step 12 of 20, part 1 of 2, 8.0 s left, peak memory 512 MB\n\
             diffuse  70 %, step 14 of 20, part 1 of 2, 6.0 s left, peak memory 512 MB\n\
             diffuse  80 %, step 16 of 20, part 1 of 2, 4.0 s left, peak memory 512 MB\n\
             diffuse  90 %, step 18 of 20, part 1 of 2, 2.0 s left, peak memory 512 MB\n\
             diffuse done in 20 s, part 1 of 2\n"
        );
    }

    #[test]
    fn few_steps_are_few_lines_and_frames_are_called_frames() {
        let stage = Stage::Render;
        let events = [
            (0, Event::StageStarted { stage, units: 3 }),
            (1000, Event::Progress { stage, done: 1, of: 3 }),
            (2000, Event::Progress { stage, done: 2, of: 3 }),
            (3000, Event::Progress { stage, done: 3, of: 3 }),
        ];
        assert_eq!(
            said(&events),
            "render   33 %, frame 1 of 3, 2.0 s left, peak memory 512 MB\n\
             render   66 %, frame 2 of 3, 1.0 s left, peak memory 512 MB\n"
        );
    }

    #[test]
    fn a_closed_stderr_is_no_trouble() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        Plain::new(Closed).event(&Event::Note("hello"), ms(0));
    }
}
