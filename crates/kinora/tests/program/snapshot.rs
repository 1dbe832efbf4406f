//! Compares text with a file in `tests/snapshots/`. `KINORA_UPDATE_SNAPSHOTS=1 cargo test -p kinora` writes the files.

use std::path::Path;

/// Fails with the first line that differs.
#[track_caller]
pub fn check(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    let text: String = text.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    if std::env::var_os("KINORA_UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&file, text).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut lines = expected.lines().zip(text.lines()).enumerate();
    if let Some((i, (expected, got))) = lines.find(|(_, (expected, got))| expected != got) {
        panic!("{name}, line {}:\n  expected: {expected}\n       got: {got}", i + 1);
    }
    assert_eq!(
        text.lines().count(),
        expected.lines().count(),
        "{name}: the number of lines differs"
    );
}
