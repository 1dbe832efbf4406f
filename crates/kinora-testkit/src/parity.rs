//! Keeping what comparisons found, for the table in `docs/parity.md`.
//!
//! When the variable `KINORA_PARITY` names a file, every comparison with a golden appends a line of JSON to it; `cargo xtask
//! parity` sets it, and makes the table from the lines. A comparison belongs to the golden whose tensor or tolerance was
//! asked for last on the same thread: in `assert_close(name, got, golden.tensor(..), golden.tolerance())` that is the one
//! compared with. Comparisons on threads that opened none are not kept.

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::compare::{Differences, cosine, psnr};

/// The variable that names the file.
const VARIABLE: &str = "KINORA_PARITY";

/// The golden that a thread looked at last.
#[derive(Debug, Clone)]
pub(crate) struct Looked {
    /// Folder name of the crate that holds it.
    pub crate_name: String,
    /// Name of the file without its ending.
    pub golden: String,
    pub script: String,
    pub sources: Value,
    pub tolerance: f32,
}

thread_local! {
    static LOOKED: RefCell<Option<Looked>> = const { RefCell::new(None) };
}

/// Remembers the golden for the comparisons that follow on this thread. Costs nothing where nobody asked for records.
pub(crate) fn look(golden: impl FnOnce() -> Looked) {
    if std::env::var_os(VARIABLE).is_some() {
        LOOKED.set(Some(golden()));
    }
}

/// Keeps a comparison, before it is known to pass.
pub(crate) fn keep(tap: &str, got: &[f32], want: &[f32], tolerance: f32) {
    let Some(file) = std::env::var_os(VARIABLE) else {
        return;
    };
    if let Some(line) = LOOKED.with_borrow(|looked| looked.as_ref().map(|at| line(at, tap, got, want, tolerance))) {
        append(Path::new(&file), &line);
    }
}

/// Keeps a fact about the machine, such as the path of its kernels; later ones of the same name replace it.
pub fn parity_note(name: &str, value: &str) {
    if let Some(file) = std::env::var_os(VARIABLE) {
        append(Path::new(&file), &json!({ "note": name, "value": value }));
    }
}

fn line(at: &Looked, tap: &str, got: &[f32], want: &[f32], tolerance: f32) -> Value {
    let found = Differences::between(got, want, tolerance);
    let (low, high) = want.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| {
        (low.min(v), high.max(v))
    });
    // Numbers that JSON cannot hold (equal values have an infinite ratio) become null.
    json!({
        "crate": at.crate_name,
        "binary": binary(),
        "golden": at.golden,
        "script": at.script,
        "sources": at.sources,
        "tap": tap,
        "values": want.len(),
        "max_abs": found.max_abs,
        "nmse": found.nmse,
        "cosine": cosine(got, want),
        "psnr": psnr(got, want, f64::from(high) - f64::from(low)),
        "tolerance": tolerance,
        "golden_tolerance": at.tolerance,
    })
}

/// Name of the test program, without the hash that cargo adds.
fn binary() -> String {
    let program = std::env::args().next().unwrap_or_default();
    let name = Path::new(&program)
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    match name.rsplit_once('-') {
        Some((name, _)) => name.to_owned(),
        None => name,
    }
}

/// One write for a line, so that the lines of threads and processes do not mix.
fn append(file: &Path, line: &Value) {
    let written = OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
    if let Err(error) = written {
        panic!("{VARIABLE} names {}, which cannot be written: {error}", file.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked() -> Looked {
        Looked {
            crate_name: "kinora-models".into(),
            golden: "wan_tiny".into(),
            script: "s.py".into(),
            sources: json!({ "torch": "2" }),
            tolerance: 1e-3,
        }
    }

    #[test]
    fn a_line_says_what_was_compared_and_how_far_it_is() {
        let line = line(&looked(), "output", &[1.0, 2.0, 3.5], &[1.0, 2.0, 3.0], 0.6);
        assert_eq!(
            (&line["golden"], &line["tap"], &line["max_abs"]),
            (&json!("wan_tiny"), &json!("output"), &json!(0.5))
        );
        assert_eq!(line["values"], 3);
        assert!(line["cosine"].as_f64().unwrap() > 0.99);
        // Peak 2, mean squared error 1/12: 10 log10(48).
        assert!((line["psnr"].as_f64().unwrap() - 16.812).abs() < 1e-3);
        assert_eq!(line["binary"], "kinora_testkit");
    }

    #[test]
    fn equal_values_have_no_finite_ratio() {
        let line = line(&looked(), "output", &[1.0, 2.0], &[1.0, 2.0], 0.0);
        assert!(line["psnr"].is_null());
        assert_eq!(
            (line["cosine"].as_f64(), line["max_abs"].as_f64()),
            (Some(1.0), Some(0.0))
        );
    }

    #[test]
    fn lines_are_appended() {
        let file = std::env::temp_dir().join(format!("kinora-testkit-{}-parity", std::process::id()));
        let _ = std::fs::remove_file(&file);
        append(&file, &json!({ "note": "kernels", "value": "avx2" }));
        append(&file, &json!({ "note": "kernels", "value": "neon" }));
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(text.ends_with("\"neon\"}\n"), "{text}");
    }
}
