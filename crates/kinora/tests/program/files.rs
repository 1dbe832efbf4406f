//! Files that are handed in, models that are not there, and places that cannot be written to.

use tempfile::TempDir;

use crate::support::{kinora, kinora_anywhere, names_in};

#[test]
fn inputs_that_are_no_pictures_or_clips_are_refused() {
    let folder = TempDir::new().unwrap();
    let file = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    file("notes.txt", b"just some text, long enough to look at");
    file("empty.png", b"");
    file("cut.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x02\0\0\0\x01");
    file("cut.mp4", b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2avc1mp41\0\0\x10\0moov");
    let before = names_in(folder.path());
    for (flag, name) in [
        ("--image", "notes.txt"),
        ("--image", "empty.png"),
        ("--image", "cut.png"),
        ("--image", "missing.png"),
        ("--image", "."),
        ("--extend", "notes.txt"),
        ("--extend", "cut.mp4"),
        ("--extend", "missing.mp4"),
        ("--extend", "."),
    ] {
        let run = kinora(folder.path(), &["generate", "a cat", flag, name, "--quiet"]).expect_code(3);
        assert!(
            run.stderr.starts_with("error: ") && run.stderr.contains(name),
            "{flag} {name}: {}",
            run.stderr
        );
        assert!(run.stdout.is_empty());
    }
    for name in ["notes.txt", "empty.png", "missing.mp4", "cut.mp4"] {
        let run = kinora(folder.path(), &["inspect", name]).expect_code(3);
        assert!(
            run.stderr.starts_with("error: ") && run.stderr.contains(name),
            "{name}: {}",
            run.stderr
        );
    }
    assert_eq!(names_in(folder.path()), before);
}

#[test]
fn models_that_are_not_there_are_named() {
    kinora_anywhere(&["generate", "a cat", "--model", "toybax"]).expect_refusal(4, "toybox");
    kinora_anywhere(&["generate", "a cat", "--model", "."]).expect_refusal(4, "");
    kinora_anywhere(&["parse", "a cat", "--model", "./missing/folder"]).expect_refusal(4, "");
}

#[test]
fn places_that_cannot_be_written_to_are_found_before_the_work() {
    let folder = TempDir::new().unwrap();
    let mut places = vec!["missing/cat.mp4"];
    if cfg!(target_os = "linux") {
        // Nobody can write there, not even root.
        places.push("/proc/cat.mp4");
    }
    for place in places {
        let run = kinora(folder.path(), &["generate", "a cat", "-o", place]).expect_code(5);
        assert!(
            run.stderr.contains("error: ") && run.stderr.contains("hint: ") && run.stderr.contains(place),
            "{}",
            run.stderr
        );
        assert!(!run.stderr.contains("diffuse"), "{}", run.stderr);
    }
    assert_eq!(names_in(folder.path()), [""; 0]);
}

#[test]
fn a_file_that_is_there_is_not_replaced() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("cat.mp4"), b"precious").unwrap();
    std::fs::write(folder.path().join("dog-2.mp4"), b"precious").unwrap();
    kinora(folder.path(), &["generate", "a cat", "-o", "cat.mp4"]).expect_refusal(5, "--overwrite");
    // The second variant's name counts before the first is made.
    kinora(
        folder.path(),
        &["generate", "a dog", "-o", "dog.mp4", "--variants", "3"],
    )
    .expect_refusal(5, "dog-2.mp4");
    assert_eq!(std::fs::read(folder.path().join("cat.mp4")).unwrap(), b"precious");
}
