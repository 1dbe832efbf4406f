//! The terminal at stderr: whether there is one, its size, and what it says about itself.

use std::io::IsTerminal;

/// Size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Characters across.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
    /// Height of a line in pixels, if known.
    pub row_px: Option<u16>,
}

/// Whether stderr understands control codes.
pub fn is_live() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    cfg!(unix) && !dumb && std::io::stderr().is_terminal()
}

/// Whether colour is welcome (<https://no-color.org>).
pub fn wants_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The size now; the window may have been resized since the last call.
pub fn size() -> TerminalSize {
    let usual = TerminalSize {
        columns: 80,
        rows: 24,
        row_px: None,
    };
    measured()
        .filter(|size| size.columns > 0 && size.rows > 0)
        .unwrap_or(usual)
}

#[cfg(unix)]
fn measured() -> Option<TerminalSize> {
    let window = rustix::termios::tcgetwinsize(std::io::stderr()).ok()?;
    let row_px = window.ws_ypixel.checked_div(window.ws_row).filter(|&px| px > 0);
    Some(TerminalSize {
        columns: window.ws_col,
        rows: window.ws_row,
        row_px,
    })
}

#[cfg(not(unix))]
fn measured() -> Option<TerminalSize> {
    None
}

/// The terminal's answer to a request for its device attributes (DA1), or `None` if it gives none in time.
#[cfg(unix)]
pub fn device_attributes() -> Option<String> {
    ask::device_attributes()
}

/// The terminal's answer to a request for its device attributes; not asked on this system.
#[cfg(not(unix))]
pub fn device_attributes() -> Option<String> {
    None
}

#[cfg(unix)]
mod ask {
    use std::fs::{File, OpenOptions};
    use std::io::{Read, Write};
    use std::time::{Duration, Instant};

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios};

    /// How long a terminal may take; over a slow connection the answer may be lost, then half-blocks are used.
    const PATIENCE: Duration = Duration::from_millis(200);
    const REQUEST: &[u8] = b"\x1b[c";

    /// Puts the terminal's mode back when dropped.
    struct Restore<'a>(&'a File, Termios);

    impl Drop for Restore<'_> {
        fn drop(&mut self) {
            // `Flush` throws an answer away that came too late, so that the shell does not take it for typing.
            let _ = termios::tcsetattr(self.0, OptionalActions::Flush, &self.1);
        }
    }

    pub(super) fn device_attributes() -> Option<String> {
        let tty = OpenOptions::new().read(true).write(true).open("/dev/tty").ok()?;
        // A background job that changes the terminal's mode would be stopped by the system.
        if termios::tcgetpgrp(&tty).ok()? != rustix::process::getpgrp() {
            return None;
        }
        let before = termios::tcgetattr(&tty).ok()?;
        let mut quiet = before.clone();
        quiet.local_modes &= !(LocalModes::ICANON | LocalModes::ECHO);
        quiet.special_codes[SpecialCodeIndex::VMIN] = 0;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        termios::tcsetattr(&tty, OptionalActions::Drain, &quiet).ok()?;
        let restore = Restore(&tty, before);
        (&tty).write_all(REQUEST).ok()?;
        let answer = read_answer(&tty);
        drop(restore);
        answer
    }

    fn read_answer(mut tty: &File) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut answer = Vec::new();
        while answer.len() < 256 {
            let left = deadline.checked_duration_since(Instant::now())?;
            let timeout = Timespec {
                tv_sec: 0,
                tv_nsec: left.subsec_nanos().into(),
            };
            if poll(&mut [PollFd::new(&tty, PollFlags::IN)], Some(&timeout)).ok()? == 0 {
                return None;
            }
            let mut piece = [0; 64];
            let count = tty.read(&mut piece).ok().filter(|&count| count > 0)?;
            answer.extend_from_slice(&piece[..count]);
            let text = String::from_utf8_lossy(&answer);
            if text.split_once("\x1b[?").is_some_and(|(_, after)| after.contains('c')) {
                return Some(text.into_owned());
            }
        }
        None
    }
}
