//! Progress on a terminal: finished stages stay as lines; below them one line moves, and under it the preview.
//!
//! After each drawing the cursor rests at the start of the moving line, so the next drawing, a message, or a shell
//! prompt after a sudden end simply overwrites it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kinora_media::Frame;
use kinora_pipeline::{CancelToken, Event, memory};

use super::Meter;
use crate::preview::Painter;
use crate::terminal::{self, TerminalSize};

/// Time between drawings; also the frame time of the preview (8 latent frames a second).
const TICK: Duration = Duration::from_millis(125);
/// Characters of the bar.
const BAR: usize = 24;
/// Clears from the start of this line to the end of the screen.
pub const CLEAR_BELOW: &str = "\r\x1b[J";

/// Draws from a thread of its own until it is finished.
pub struct Live {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    has_painter: bool,
}

struct Shared {
    scene: Mutex<Scene>,
    wake: Condvar,
}

struct Scene {
    meter: Meter,
    painter: Option<Painter>,
    preview: Vec<Frame>,
    preview_frame: usize,
    /// What the picture on the screen was made from; it is sent again only when that changes.
    shown: Option<(usize, usize, TerminalSize)>,
    /// Counts the previews that came.
    preview_count: usize,
    cancel: CancelToken,
    started: Instant,
    colour: bool,
    ended: bool,
}

impl Live {
    /// Starts drawing.
    pub fn start(painter: Option<Painter>, cancel: CancelToken, started: Instant) -> Self {
        let has_painter = painter.is_some();
        let scene = Scene {
            meter: Meter::default(),
            painter,
            preview: Vec::new(),
            preview_frame: 0,
            shown: None,
            preview_count: 0,
            cancel,
            started,
            colour: terminal::wants_colour(),
            ended: false,
        };
        let shared = Arc::new(Shared {
            scene: Mutex::new(scene),
            wake: Condvar::new(),
        });
        let for_thread = shared.clone();
        // Without the thread the bar still moves with each event.
        let thread = std::thread::Builder::new()
            .name("progress".into())
            .spawn(move || tick(&for_thread))
            .ok();
        Self {
            shared,
            thread,
            has_painter,
        }
    }

    /// Whether previews can be shown.
    pub fn has_painter(&self) -> bool {
        self.has_painter
    }

    /// Takes in an event that came `now`.
    pub fn event(&mut self, event: &Event<'_>, now: Duration) {
        let mut scene = lock(&self.shared);
        if let Event::Preview(frames) = event {
            scene.preview = frames.to_vec();
            scene.preview_count += 1;
        }
        if let Event::ClipStarted { .. } = event {
            scene.preview.clear();
        }
        let lasting = scene.meter.event(event, now);
        scene.draw(lasting.as_deref());
    }

    /// Stops the drawing and removes what moved.
    pub fn finish(mut self) {
        lock(&self.shared).ended = true;
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let scene = lock(&self.shared);
        write(&(CLEAR_BELOW.to_owned() + scene.painter.as_ref().map_or("", Painter::erase)));
    }
}

fn lock(shared: &Shared) -> MutexGuard<'_, Scene> {
    shared.scene.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tick(shared: &Shared) {
    let mut scene = lock(shared);
    for ticks in 1.. {
        if scene.ended {
            return;
        }
        let waited = shared.wake.wait_timeout(scene, TICK);
        scene = waited.unwrap_or_else(PoisonError::into_inner).0;
        if !scene.ended {
            scene.preview_frame += usize::from(ticks % scene.ticks_a_frame() == 0);
            scene.draw(None);
        }
    }
}

impl Scene {
    fn ticks_a_frame(&self) -> usize {
        self.painter.as_ref().map_or(1, Painter::ticks_a_frame)
    }

    fn draw(&mut self, lasting: Option<&str>) {
        let size = terminal::size();
        let mut out = String::new();
        if let Some(line) = lasting {
            out += CLEAR_BELOW;
            out += self.painter.as_ref().map_or("", Painter::erase);
            self.shown = None;
            let clean: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            out += &clean;
            out.push('\n');
        }
        out += &self.moving_line(size.columns);
        out += "\x1b[K";
        if let Some(picture) = self.picture(size) {
            out += &picture;
        }
        out.push('\r');
        write(&out);
    }

    /// The line and its colour: `diffuse [########----------------]  33 %, step 10 of 30, 20 s left, peak memory 412 MB`.
    fn moving_line(&self, columns: u16) -> String {
        let Some(current) = &self.meter.current else {
            return "\r".into();
        };
        let name = current.stage.name();
        let share = current.done as f64 / current.of.max(1) as f64;
        let full = ((share * BAR as f64) as usize).min(BAR);
        let standing = match self.cancel.is_cancelled() {
            true => "stopping at the next step; Ctrl-C again leaves at once".to_owned(),
            false => self.meter.standing(self.started.elapsed(), memory::peak_bytes()),
        };
        let line = format!(
            "{name:<8}[{}{}] {:>3.0} %, {standing}",
            "#".repeat(full),
            "-".repeat(BAR - full),
            share * 100.0
        );
        // A line as wide as the terminal would wrap and spoil the way back up.
        let line: String = line.chars().take(usize::from(columns.saturating_sub(1))).collect();
        match self.colour && line.len() > name.len() {
            true => format!("\r\x1b[1;36m{name}\x1b[0m{}", &line[name.len()..]),
            false => format!("\r{line}"),
        }
    }

    /// The preview below the moving line, and the way back up to it; nothing if it is on the screen already.
    fn picture(&mut self, size: TerminalSize) -> Option<String> {
        let painter = self.painter.as_ref()?;
        let index = self.preview_frame % self.preview.len().max(1);
        let frame = self.preview.get(index)?;
        let wanted = Some((self.preview_count, index, size));
        if std::mem::replace(&mut self.shown, wanted) == wanted {
            return None;
        }
        let picture = painter.paint(frame, size)?;
        let mut out = String::new();
        match picture.lines {
            Ok(lines) => {
                for line in &lines {
                    let _ = write!(out, "\n\r{line}\x1b[K");
                }
                let _ = write!(out, "\x1b[{}A", lines.len());
            }
            Err(image) => {
                // Room first (the screen may scroll), then up to its first row, the image, and back.
                let rows = picture.rows;
                out += &"\n".repeat(usize::from(rows));
                let up = rows.saturating_sub(1);
                if up > 0 {
                    let _ = write!(out, "\x1b[{up}A");
                }
                let _ = write!(out, "\r\x1b7{image}\x1b8\x1b[1A");
            }
        }
        Some(out)
    }
}

fn write(text: &str) {
    let mut stderr = std::io::stderr().lock();
    // Nobody can be told that stderr is closed; the run goes on.
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}
