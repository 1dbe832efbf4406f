//! Prompts of every kind.

use std::time::{Duration, Instant};

use crate::support::{kinora_anywhere, kinora_fed};

#[test]
fn ten_megabytes_are_refused_at_once() {
    let started = Instant::now();
    for command in ["generate", "parse"] {
        kinora_fed(&[command, "-"], &vec![b'a'; 10 << 20]).expect_refusal(2, "longer than");
    }
    // Nothing was loaded for it.
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn nothing_on_standard_input_is_an_empty_prompt() {
    kinora_fed(&["generate", "-"], b"\n").expect_refusal(2, "empty");
    kinora_fed(&["generate", "-"], b"a \xff cat").expect_refusal(2, "not valid UTF-8");
}

#[cfg(unix)]
#[test]
fn arguments_that_are_not_utf8_are_refused() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let bytes = OsStr::from_bytes(b"a \xff\xfe cat");
    kinora_anywhere(&[OsStr::new("generate"), bytes]).expect_refusal(2, "at byte 2");
    kinora_anywhere(&[
        OsStr::new("generate"),
        OsStr::new("a cat"),
        OsStr::new("--negative"),
        bytes,
    ])
    .expect_refusal(2, "UTF-8");
    kinora_anywhere(&[
        OsStr::new("generate"),
        OsStr::new("a cat"),
        OsStr::new("--model"),
        bytes,
    ])
    .expect_refusal(2, "UTF-8");
}

#[test]
fn a_prompt_is_parsed_and_shown() {
    let run = kinora_fed(&["parse", "-"], b"a red car drives through a city at night\n").expect_code(0);
    let text = run.text();
    for word in ["car", "red", "city", "night", "toybox gets: "] {
        assert!(text.contains(word), "no {word}: {text}");
    }
    let json = kinora_anywhere(&["parse", "a red car drives through a city at night", "--json"])
        .expect_code(0)
        .json();
    assert_eq!(json["scene"]["shots"][0]["subjects"][0]["noun"], "car");
    assert_eq!(json["model"]["name"], "toybox");
    assert!(
        json["model_prompt"]
            .as_str()
            .is_some_and(|prompt| prompt.contains("car"))
            && json["notes"].is_array()
    );
}

#[test]
fn the_raw_prompt_reaches_the_model_as_typed() {
    let prompt = "Automobile, LATE evening...";
    let json = kinora_anywhere(&["parse", prompt, "--raw-prompt", "--json"])
        .expect_code(0)
        .json();
    assert_eq!(json["model_prompt"], prompt);
}

#[test]
fn words_that_the_model_knows_are_left_alone() {
    let model_prompt = |prompt: &str, more: &[&str]| {
        kinora_anywhere(&[&["parse", prompt, "--json"], more].concat())
            .expect_code(0)
            .json()["model_prompt"]
            .clone()
    };
    let known = "a cat, at sunset, on a beach";
    assert_eq!(model_prompt(known, &[]), known);
    assert_ne!(model_prompt(known, &["--expand-prompt"]), known);
    // One strange word, and all of it is put into the model's.
    let strange = model_prompt("a hound, at sunset, on a beach", &[]);
    assert_eq!(strange, "a dog on a beach at sunset");
}

#[test]
fn right_to_left_text_is_no_error() {
    let prompt = "\u{202b}كلب أحمر يركض في المدينة\u{202c}";
    let json = kinora_anywhere(&["parse", prompt, "--json"]).expect_code(0).json();
    assert_eq!(json["prompt"], prompt);
    assert!(!kinora_anywhere(&["parse", prompt]).expect_code(0).stdout.is_empty());
}
