//! Starts the program and keeps what it said.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// What a run left.
pub struct Run {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Run {
    pub fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Fails with everything that was said unless the exit code is `code`.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            code,
            "stderr:\n{}\nstdout:\n{}",
            self.stderr,
            String::from_utf8_lossy(&self.stdout)
        );
        self
    }

    /// Fails unless it was refused with `code`, an `error:` line that holds `word`, and a `hint:` line.
    #[track_caller]
    pub fn expect_refusal(self, code: i32, word: &str) -> Self {
        let run = self.expect_code(code);
        assert!(
            run.stderr.starts_with("error: ") && run.stderr.contains("\nhint: "),
            "{}",
            run.stderr
        );
        assert!(run.stderr.contains(word), "no {word:?} in: {}", run.stderr);
        assert!(run.stdout.is_empty(), "{}", run.text());
        run
    }
}

/// The program with its surroundings under control: no colour, no models of whoever runs the test, no terminal.
pub fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinora"));
    command
        .current_dir(folder)
        .env_remove("KINORA_MODELS")
        .env_remove("KINORA_MODEL_SOURCE")
        .env("XDG_DATA_HOME", folder)
        .env_remove("COLUMNS");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs the program in a folder.
pub fn kinora(folder: &Path, args: &[impl AsRef<OsStr>]) -> Run {
    ended(program(folder).args(args).output().unwrap())
}

/// Runs the program in a folder of its own that is gone afterwards.
pub fn kinora_anywhere(args: &[impl AsRef<OsStr>]) -> Run {
    kinora(TempDir::new().unwrap().path(), args)
}

/// Runs the program with `input` at its standard input.
pub fn kinora_fed(args: &[&str], input: &[u8]) -> Run {
    let folder = TempDir::new().unwrap();
    let mut child = program(folder.path()).args(args).stdin(Stdio::piped()).spawn().unwrap();
    // The program may refuse and leave before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(input);
    ended(child.wait_with_output().unwrap())
}

pub fn ended(output: std::process::Output) -> Run {
    let code = output.status.code().unwrap_or(-1);
    Run {
        code,
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Names in a folder, sorted; hidden ones too.
pub fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
