//! The parser against text that nobody would call a prompt: no panic, valid spans, the same answer twice, linear time.

use kinora_pipeline::parse::{Error, Language, MAX_PROMPT_BYTES, NoteKind, Scene, Span, parse};
use std::time::{Duration, Instant};

/// A small xorshift, so that failures can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

fn spans(scene: &Scene) -> Vec<Span> {
    let mut out = Vec::new();
    for shot in &scene.shots {
        out.push(shot.span);
        for s in &shot.subjects {
            out.push(s.span);
            out.extend(s.motion.iter().chain(&s.also).map(|m| m.span));
        }
        out.extend(shot.setting.iter().map(|s| s.span));
        out.extend(shot.time_of_day.iter().map(|t| t.span));
        out.extend(shot.season.iter().map(|t| t.span));
        out.extend(shot.weather.iter().map(|w| w.span));
        out.extend(shot.negations.iter().map(|n| n.span));
        out.extend(shot.camera.iter().flat_map(|c| &c.phrases).map(|p| p.span));
        out.extend(
            [&shot.lighting, &shot.mood, &shot.style, &shot.rest]
                .into_iter()
                .flatten()
                .map(|p| p.span),
        );
        for r in &shot.relations {
            assert!(r.from < shot.subjects.len() && r.to < shot.subjects.len());
        }
    }
    out.extend(scene.hints.iter().map(|h| h.span));
    out.extend(scene.quoted.iter().map(|q| q.span));
    out
}

fn check(text: &str) {
    let Ok(scene) = parse(text) else { return };
    assert_eq!(scene, parse(text).unwrap(), "{text:?}");
    assert!(!scene.shots.is_empty());
    for s in spans(&scene) {
        assert!(
            s.start <= s.end && scene.raw.get(s.start..s.end).is_some(),
            "{s:?} in {text:?}"
        );
    }
    let json = serde_json::to_string(&scene).unwrap();
    assert_eq!(scene, serde_json::from_str::<Scene>(&json).unwrap(), "{text:?}");
    let _ = scene.to_string();
}

#[test]
fn random_unicode_never_panics() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..3000 {
        let length = random.below(40);
        let text: String = (0..length)
            .filter_map(|_| {
                let range = [0x80, 0x250, 0x3000, 0x1_1000, 0x11_0000][random.below(5)];
                char::from_u32(random.below(range) as u32)
            })
            .collect();
        check(&text);
    }
}

#[test]
fn random_words_and_marks_never_panic() {
    const PIECES: &str = "a an the two no not n't 's it's he it they and or , . ; : - — ! ? ( ) \" “ ” ' while as who that which with without of in on to from \
        left right up down across into out camera pans zoom in shot 1 cut to then first finally next dog dogs cat running runs ran run sleeping red small snowy \
        night winter rain style black white slow motion 5s 16:9 4k vertical each other one another there is are has have made covered by through lit very softly \
        zorblax 🐶 ñ ß İ ŉ ﷺ е̄ 1940s e.g. b&w O'Neil's rock'n'roll left-to-right close-up \u{200b} \u{202e} \t \n 3 dozen hundred group herd kind full light";
    let pieces: Vec<&str> = PIECES.split(' ').collect();
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for _ in 0..6000 {
        let words: Vec<&str> = (0..1 + random.below(14))
            .map(|_| pieces[random.below(pieces.len())])
            .collect();
        check(&words.join(if random.below(4) == 0 { "" } else { " " }));
    }
}

#[test]
fn cutting_a_prompt_anywhere_never_panics() {
    let text = "First, “an old man’s dog” chases 2 cats — across a snowy field at dusk; while the camera pans left, no people. Cut to: it's raining… 🐶🎥 16:9";
    for (i, _) in text.char_indices() {
        check(&text[..i]);
        check(&text[i..]);
    }
}

#[test]
fn a_full_prompt_parses_within_fifty_milliseconds() {
    let sentences = [
        "A small brown dog chases two cats across a snowy field at dusk while the camera pans left. ",
        "and the and with a of in to red blue, ",
        "zorblax ",
        "word, ",
        "a lion ",
        "then it jumps ",
        "\" ",
        "not no without ",
        "A dog runs. The dog sits. It barks. ",
    ];
    for sentence in sentences {
        let text = sentence.repeat(MAX_PROMPT_BYTES / sentence.len());
        let best = (0..3)
            .map(|_| {
                let start = Instant::now();
                let _ = parse(&text);
                start.elapsed()
            })
            .min()
            .unwrap();
        println!(
            "{:>8.2} ms for {} bytes of {sentence:?}",
            best.as_secs_f64() * 1e3,
            text.len()
        );
        assert!(best < Duration::from_millis(50), "{best:?} for {sentence:?}");
    }
}

#[test]
fn what_is_no_prompt_is_refused_with_a_hint() {
    for text in ["", "   \n\t", "...", "?!", "\u{200b}\u{feff}"] {
        let error = parse(text).unwrap_err();
        assert!(matches!(error, Error::Empty), "{text:?}");
        assert!(error.to_string().contains("hint: "));
    }
    let error = parse(&"dog ".repeat(MAX_PROMPT_BYTES)).unwrap_err();
    assert!(matches!(
        error,
        Error::TooLong {
            limit: MAX_PROMPT_BYTES,
            ..
        }
    ));
    assert!(error.to_string().contains("hint: "));
    let error = parse("a dog\0runs").unwrap_err();
    assert!(matches!(error, Error::ControlCharacter { offset: 5, code: 0 }));
    assert!(error.to_string().contains("U+0000 at byte 5"));
    assert!(matches!(
        parse("a \u{1b}[31mdog").unwrap_err(),
        Error::ControlCharacter { code: 0x1b, .. }
    ));
}

#[test]
fn text_that_is_not_english_keeps_its_raw_form_and_says_so() {
    for (text, kind, language) in [
        ("🐶🐱🌧️", NoteKind::NoWords, Language::NoWords),
        ("12345", NoteKind::NoWords, Language::NoWords),
        (
            "Ein kleiner Hund läuft über die Wiese",
            NoteKind::NotEnglish,
            Language::Other,
        ),
        ("un perro corre por la playa", NoteKind::NotEnglish, Language::Other),
        ("un chien court dans la neige", NoteKind::NotEnglish, Language::Other),
        ("собака бежит по полю", NoteKind::NotEnglish, Language::Other),
        ("كلب يجري على الشاطئ", NoteKind::NotEnglish, Language::Other),
        ("犬が雪の中を走る", NoteKind::NotEnglish, Language::Other),
        ("קלב רץ על החוף", NoteKind::NotEnglish, Language::Other),
    ] {
        let scene = parse(text).unwrap();
        assert_eq!(scene.raw, text);
        assert_eq!(scene.language, language, "{text}");
        assert!(scene.notes.iter().any(|n| n.kind == kind), "{text}: {:?}", scene.notes);
        assert_eq!(scene.shots.len(), 1);
    }
    for english in [
        "dog",
        "a van",
        "Godzilla",
        "Pikachu dancing",
        "zorblax",
        "la la land",
        "café in Paris",
    ] {
        assert_eq!(parse(english).unwrap().language, Language::English, "{english}");
    }
}

#[test]
fn the_printed_form_is_aligned() {
    let text = parse("Two red cars race through a foggy forest, no people, 10s")
        .unwrap()
        .to_string();
    let expected = "subject    2 × car (red): race through\n\
                    setting    forest (foggy), through it\n\
                    weather    fog (foggy)\n\
                    without    person\n\
                    file       seconds 10\n";
    assert_eq!(text, expected);
}
