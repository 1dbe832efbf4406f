//! Ctrl-C while a clip is being made.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::{names_in, program};

struct Running {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
    said: String,
}

impl Running {
    fn start(folder: &Path, args: &[&str]) -> Self {
        let mut child = program(folder).arg("generate").args(args).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self {
            child,
            stderr,
            said: String::new(),
        }
    }

    /// Reads on until a line holds `word`.
    fn wait_for(&mut self, word: &str) {
        loop {
            let mut line = String::new();
            let count = self.stderr.read_line(&mut line).unwrap();
            assert!(count > 0, "it ended without {word:?}: {}", self.said);
            self.said += &line;
            if line.contains(word) {
                return;
            }
        }
    }

    fn interrupt(&self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
    }

    /// The exit code and everything that was said on stderr.
    fn end(mut self) -> (Option<i32>, String) {
        self.stderr.read_to_string(&mut self.said).unwrap();
        (self.child.wait().unwrap().code(), self.said)
    }
}

#[test]
fn the_first_stops_at_the_next_step_and_leaves_nothing_half_made() {
    let folder = TempDir::new().unwrap();
    let mut running = Running::start(
        folder.path(),
        &[
            "a cat", "--frames", "5", "--steps", "200", "--seed", "9", "-o", "cat.mp4",
        ],
    );
    running.wait_for("diffuse ");
    running.interrupt();
    let (code, said) = running.end();
    assert_eq!(code, Some(130), "{said}");
    assert_eq!(names_in(folder.path()), [""; 0], "{said}");
    assert!(
        said.contains("stopped in diffuse at ") && said.contains("of 200: nothing was written"),
        "{said}"
    );
    assert!(
        said.contains("hint: to make it: kinora generate 'a cat' -o cat.mp4 --frames 5 --steps 200 --seed 9\n"),
        "{said}"
    );
}

#[test]
fn finished_clips_are_kept_and_the_rest_is_named() {
    let folder = TempDir::new().unwrap();
    let args = [
        "a cat",
        "--size",
        "384x384",
        "--frames",
        "1",
        "--steps",
        "40",
        "--variants",
        "3",
        "--seed",
        "9",
        "-o",
        "cat.png",
    ];
    let mut running = Running::start(folder.path(), &args);
    running.wait_for("clip 2 of 3");
    running.interrupt();
    let (code, said) = running.end();
    assert_eq!(code, Some(130), "{said}");
    assert_eq!(names_in(folder.path()), ["cat-1.png"], "{said}");
    assert!(
        said.contains("the finished clip was kept; clips 2 to 3 of 3 (seeds from 10) were not made"),
        "{said}"
    );
    assert!(said.contains("--seed 10 --variants 2\n"), "{said}");
}

#[test]
fn the_second_leaves_at_once_and_clean() {
    let folder = TempDir::new().unwrap();
    let mut running = Running::start(
        folder.path(),
        &["a cat", "--seconds", "60", "--steps", "200", "-o", "cat.mp4"],
    );
    running.wait_for("map ");
    std::thread::sleep(Duration::from_millis(200));
    running.interrupt();
    // Two signals at the same moment would be one.
    running.wait_for("Ctrl-C again");
    running.interrupt();
    let (code, said) = running.end();
    assert_eq!(code, Some(130), "{said}");
    assert_eq!(names_in(folder.path()), [""; 0], "{said}");
}
