//! Grounding and expansion against Toybox's own vocabulary, with recorded sentence vectors (all-MiniLM-L6-v2).

use kinora_pipeline::parse::{
    Error, ExpansionPolicy, Grounding, Group, How, Role, Scene, SentenceEncoder, Vocabulary, VocabularyPhrase, expand,
    expand_shot, ground, parse,
};
use serde::Deserialize;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;

/// Length of a sentence vector.
const WIDTH: usize = 384;

fn root(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn half(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (
        f32::from(bits >> 15),
        i32::from(bits >> 10 & 31),
        f32::from(bits & 1023),
    );
    let value = if exponent == 0 {
        fraction * 2f32.powi(-24)
    } else {
        (1.0 + fraction / 1024.0) * 2f32.powi(exponent - 15)
    };
    value * (1.0 - 2.0 * sign)
}

fn vectors(bytes: &[u8]) -> Vec<Vec<f32>> {
    let numbers: Vec<f32> = bytes
        .chunks_exact(2)
        .map(|b| half(u16::from_le_bytes([b[0], b[1]])))
        .collect();
    numbers.chunks_exact(WIDTH).map(<[f32]>::to_vec).collect()
}

/// The vocabulary as it lies in the tree: `concepts.json` and the f16 vectors of `concepts.safetensors`.
fn toybox() -> &'static Vocabulary {
    static TOYBOX: LazyLock<Vocabulary> = LazyLock::new(read_toybox);
    &TOYBOX
}

fn read_toybox() -> Vocabulary {
    let json = std::fs::read_to_string(root("../../models/toybox/concepts.json")).unwrap();
    let file = std::fs::read(root("../../models/toybox/concepts.safetensors")).unwrap();
    let header_bytes = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&file[8..8 + header_bytes]).unwrap();
    let phrases: Vec<VocabularyPhrase> =
        serde_json::from_str(header["__metadata__"]["phrases"].as_str().unwrap()).unwrap();
    let vectors = vectors(&file[8 + header_bytes..]);
    assert_eq!(phrases.len(), vectors.len());
    Vocabulary::new(&json, phrases.into_iter().zip(vectors).collect()).unwrap()
}

#[derive(Deserialize)]
struct Words {
    actors: BTreeMap<String, Vec<String>>,
    not_actors: Vec<String>,
    other: Vec<String>,
}

/// Answers from the recording; counts what it was asked.
struct Recorded {
    by_text: &'static BTreeMap<String, Vec<f32>>,
    asked: RefCell<Vec<String>>,
}

fn recorded() -> (&'static Words, Recorded) {
    static RECORDING: LazyLock<(Words, BTreeMap<String, Vec<f32>>)> = LazyLock::new(read_recording);
    let (words, by_text) = &*RECORDING;
    (
        words,
        Recorded {
            by_text,
            asked: RefCell::default(),
        },
    )
}

fn read_recording() -> (Words, BTreeMap<String, Vec<f32>>) {
    let text = include_str!("../data/parse/words.json");
    let words: Words = serde_json::from_str(text).unwrap();
    // The order of the file is the order of the vectors; a map of serde_json sorts, so the keys are read from the text.
    let order: Vec<String> = text
        .lines()
        .filter_map(|l| l.strip_suffix(": ["))
        .map(|k| k.trim_matches('"').to_owned())
        .collect();
    let actors = order.into_iter().filter(|k| words.actors.contains_key(k));
    let texts: Vec<String> = actors
        .chain(words.not_actors.clone())
        .chain(words.other.clone())
        .collect();
    let vectors = vectors(include_bytes!("../fixtures/parse_words.f16"));
    assert_eq!(texts.len(), vectors.len());
    let by_text = texts.into_iter().zip(vectors).collect();
    (words, by_text)
}

#[derive(Debug, thiserror::Error)]
#[error("not recorded: {0}")]
struct NotRecorded(String);

impl SentenceEncoder for Recorded {
    type Error = NotRecorded;

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, NotRecorded> {
        self.asked.borrow_mut().extend(texts.iter().map(|t| (*t).to_owned()));
        texts
            .iter()
            .map(|t| {
                self.by_text
                    .get(*t)
                    .cloned()
                    .ok_or_else(|| NotRecorded((*t).to_owned()))
            })
            .collect()
    }
}

fn grounded(prompt: &str) -> (Scene, Grounding, Vec<String>) {
    let (_, encoder) = recorded();
    let scene = parse(prompt).unwrap();
    let grounding = ground(&scene, toybox(), &encoder).unwrap_or_else(|e| panic!("{prompt}: {e}"));
    (scene, grounding, encoder.asked.into_inner())
}

#[test]
fn words_of_the_model_need_no_encoder() {
    for (prompt, concept, phrase, how) in [
        ("a dog", "dog", "dog", How::Exact),
        ("a puppy", "dog", "puppy", How::Synonym),
        ("an automobile", "red car", "automobile", How::Synonym),
        ("two dogs", "dog", "dog", How::Inflection),
        ("the geese", "goose", "goose", How::Inflection),
        ("a fire engine", "fire truck", "fire engine", How::Synonym),
        ("an old man", "old man", "old man", How::Exact),
        ("a polar bear", "polar bear face", "polar bear", How::Synonym),
        ("a green apple", "green apple", "green apple", How::Exact),
        ("a hot air balloon", "red balloon", "balloon", How::Related),
        ("a lorry", "big truck", "truck", How::Related),
        ("a t-rex", "T-Rex dinosaur", "T-Rex", How::Synonym),
    ] {
        let (_, g, asked) = grounded(prompt);
        let m = g
            .of(0, Role::Subject(0))
            .unwrap_or_else(|| panic!("{prompt}: no match, {:?}", g.unknown));
        assert_eq!(
            (m.concept.as_str(), m.phrase.as_str(), m.how),
            (concept, phrase, how),
            "{prompt}"
        );
        assert!(asked.is_empty(), "{prompt}: {asked:?}");
    }
}

#[test]
fn neighbours_land_and_strangers_do_not() {
    let (words, _) = recorded();
    let (mut right, mut wrong, mut none) = (0, Vec::new(), Vec::new());
    for (word, wanted) in &words.actors {
        let (_, g, _) = grounded(&format!("a {word}"));
        match g.of(0, Role::Subject(0)) {
            Some(m) if wanted.contains(&m.concept) => right += 1,
            Some(m) => wrong.push(format!("{word} -> {} {:.2} {:?}", m.concept, m.score, m.how)),
            None => none.push(format!("{word} {:?}", g.unknown.first().map(|u| &u.why))),
        }
    }
    let mut taken = Vec::new();
    for word in &words.not_actors {
        let (_, g, _) = grounded(&format!("a {word}"));
        if let Some(m) = g.of(0, Role::Subject(0)) {
            taken.push(format!("{word} -> {} {:.2}", m.concept, m.score));
        }
    }
    println!(
        "right {right}, wrong {}, none {} of {}; strangers taken {} of {}",
        wrong.len(),
        none.len(),
        words.actors.len(),
        taken.len(),
        words.not_actors.len()
    );
    println!("wrong: {wrong:#?}\nnone: {none:#?}\ntaken: {taken:#?}");
    assert!(
        right * 100 >= words.actors.len() * 90,
        "only {right} of {} words land: {wrong:#?} {none:#?}",
        words.actors.len()
    );
    assert!(wrong.len() * 100 <= words.actors.len() * 5, "{wrong:#?}");
    assert!(taken.len() * 100 <= words.not_actors.len() * 6, "{taken:#?}");
    for must_not in ["justice", "spreadsheet", "quantum foam"] {
        assert!(!taken.iter().any(|t| t.starts_with(must_not)), "{must_not}");
    }
}

#[test]
fn what_is_not_known_is_said() {
    let (_, g, _) = grounded("a hovercraft crosses a lake");
    let notes = g.notes("Toybox");
    assert!(
        notes
            .iter()
            .any(|n| n == "'hovercraft' is not known to Toybox; took 'speedboat'"),
        "{notes:?}"
    );
    let (_, g, _) = grounded("a spreadsheet");
    assert!(g.matches.is_empty());
    assert!(
        g.notes("Toybox")[0].starts_with("'spreadsheet' is not known to Toybox: "),
        "{:?}",
        g.notes("Toybox")
    );
    let (_, g, _) = grounded("a hound");
    assert!(
        g.notes("Toybox")[0].starts_with("'hound' is not known to Toybox; took 'dog' (0."),
        "{:?}",
        g.notes("Toybox")
    );
}

#[test]
fn expansion_comes_close_to_the_training_captions() {
    for (prompt, caption) in [
        (
            "A hound is chasing a kitty along the shore as the sun goes down",
            "a dog chasing a kitty on a beach at sunset",
        ),
        (
            "A police car races down a city street at night",
            "a police car runs from left to right on a city street at night",
        ),
        (
            "a tropical fish swims from right to left under water",
            "a tropical fish swims from right to left under water",
        ),
        (
            "Two puppies jump up and down in the woods, it's raining",
            "two puppies jump in the woods in the rain",
        ),
        (
            "Show me a lorry moving right to left down the motorway at night",
            "a truck moves from right to left on a highway at night",
        ),
        (
            "slow zoom in on a tiny hamster spinning on a pink background",
            "a tiny hamster spins on a pink background, the camera zooms in",
        ),
        (
            "The UFO hovers over downtown in thick fog, black and white",
            "a UFO hovers downtown in a big city in the fog, black and white",
        ),
        (
            "a fox stays in place in the snowy mountains under a clear sky",
            "a fox stays in place in the snowy mountains on a clear day",
        ),
        (
            "a jellyfish moves to the left at the bottom of the sea",
            "a jellyfish moves from right to left under water",
        ),
        (
            "an astronaut drifting among the stars while the camera follows",
            "an astronaut drifts slowly among stars and planets, the camera follows",
        ),
        ("a cat next to a dog on stage", "a cat next to a dog on a theatre stage"),
        (
            "A dolphin leaps out of the sea at dawn",
            "a dolphin jumps at sea at sunrise",
        ),
    ] {
        let (scene, g, _) = grounded(prompt);
        println!("{prompt}\n   {}", expand(&scene, &g));
        let got = expand(&scene, &g);
        assert_eq!(got, caption, "{prompt}\n{:#?}", g.matches);
        assert_eq!(expand_shot(&scene, &g, 0, ExpansionPolicy::Raw), prompt);
    }
}

#[test]
fn shots_are_expanded_one_by_one() {
    let (scene, g, _) = grounded("First a rabbit hops in a meadow, then it flies to the right.");
    let captions: Vec<String> = (0..2)
        .map(|i| expand_shot(&scene, &g, i, ExpansionPolicy::Vocabulary))
        .collect();
    assert_eq!(
        captions,
        [
            "a rabbit hops in a green meadow",
            "a rabbit flies from left to right in a green meadow"
        ]
    );
    assert_eq!(expand(&scene, &g), captions.join(". "));
}

#[test]
fn a_scene_shows_what_the_model_takes() {
    let (scene, g, _) = grounded("a lorry in the forest next to a sofa");
    let text = scene.with_grounding(g).to_string();
    assert!(text.contains("lorry  → truck"), "{text}");
    assert!(text.contains("'sofa' is not known"), "{text}");
}

#[test]
fn bad_vocabularies_and_encoders_are_errors() {
    assert!(matches!(Vocabulary::new("{", Vec::new()), Err(Error::Concepts { .. })));
    let phrase = |t: &str| VocabularyPhrase {
        text: t.into(),
        group: Group::Actor,
        concept: "dog".into(),
    };
    let json = r#"{"actors": [{"name": "dog"}]}"#;
    let uneven = Vocabulary::new(
        json,
        vec![(phrase("dog"), vec![1.0, 0.0]), (phrase("puppy"), vec![1.0])],
    );
    assert!(matches!(
        uneven,
        Err(Error::VectorLength {
            expected: 2,
            got: 1,
            ..
        })
    ));

    struct Broken(Option<Vec<Vec<f32>>>);
    impl SentenceEncoder for Broken {
        type Error = NotRecorded;
        fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, NotRecorded> {
            self.0.clone().ok_or_else(|| NotRecorded(texts.join(", ")))
        }
    }
    let vocabulary = Vocabulary::new(json, vec![(phrase("dog"), vec![1.0, 0.0])]).unwrap();
    let scene = parse("a zorblax").unwrap();
    assert!(matches!(
        ground(&scene, &vocabulary, &Broken(None)),
        Err(Error::Encoder { .. })
    ));
    assert!(matches!(
        ground(&scene, &vocabulary, &Broken(Some(vec![vec![1.0]]))),
        Err(Error::EncoderShape { .. })
    ));
    assert!(
        ground(&scene, &vocabulary, &Broken(Some(vec![vec![0.1, 0.1]])))
            .unwrap()
            .matches
            .is_empty()
    );
    // Without vectors the encoder is never asked.
    let bare = Vocabulary::new(json, Vec::new()).unwrap();
    assert!(ground(&scene, &bare, &Broken(None)).unwrap().matches.is_empty());
}
