//! Bodies made at random: nothing that is sent takes a reader down, and what it takes, it writes and takes again.

#![allow(clippy::unwrap_used, clippy::panic)]

use kinora_api::*;
use serde_json::{Map, Value, json};

/// A small generator of random numbers (xorshift), so that failures repeat.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }

    fn text(&mut self) -> String {
        let odd = [
            "",
            "a",
            "[",
            "]",
            "[]",
            "{",
            "}",
            "\"",
            "\\",
            "\0",
            "\u{202e}",
            "e\u{301}\u{301}\u{301}",
            "🎬",
            "\u{feff}",
            "%",
            "%f0",
            "&",
            "=",
            "+",
            "null",
            "NaN",
            "-1",
            "1e999",
            "18446744073709551616",
            "true",
            "data:",
            "http://",
            "é",
            "video_1",
            "720x1280",
            "4",
            "seed",
            "prompt",
            "\r\n",
            "id",
            "char_1",
        ];
        (0..self.below(4)).map(|_| self.pick(&odd)).collect()
    }

    fn value(&mut self, depth: usize) -> Value {
        let kinds = if depth == 0 { 6 } else { 8 };
        match self.below(kinds) {
            0 => Value::Null,
            1 => json!(self.below(2) == 0),
            2 => json!(self.pick(&[0, 1, -1, 4, 720, i64::MAX, i64::MIN])),
            3 => json!(self.pick(&[0.0, -0.0, 0.5, 1e300, -1e-300, f64::MAX])),
            4 => json!(u64::MAX),
            5 => json!(self.text()),
            6 => (0..self.below(4)).map(|_| self.value(depth - 1)).collect(),
            _ => Value::Object(
                (0..self.below(4))
                    .map(|_| (self.name(), self.value(depth - 1)))
                    .collect(),
            ),
        }
    }

    fn name(&mut self) -> String {
        let names = [
            "prompt",
            "model",
            "seconds",
            "size",
            "seed",
            "n",
            "fps",
            "characters",
            "input_reference",
            "video",
            "id",
            "image_url",
            "file_id",
            "loras",
            "lora",
            "name",
            "scale",
            "metadata",
            "extra_body",
            "extra_params",
            "shots",
            "width",
            "height",
            "curve",
            "from",
            "to",
            "video_id",
            "count",
            "seeds",
            "strength",
            "transition",
        ];
        if self.below(8) == 0 {
            self.text()
        } else {
            self.pick(&names).to_owned()
        }
    }
}

/// Gives a body to every reader; what the server would answer is a 400 or a 404.
fn read_all(body: &Body) -> usize {
    let rules = Rules::sora();
    let results = [
        CreateVideo::read(body.clone(), &rules).map(drop),
        RemixVideo::read(body.clone(), &rules).map(drop),
        EditVideo::read(body.clone(), &rules).map(drop),
        ExtendVideo::read(body.clone(), &rules).map(drop),
        CreateCharacter::read(body.clone(), &rules).map(drop),
        MakeVariants::read(body.clone(), &rules).map(drop),
        CreateStoryboard::read(body.clone(), &rules).map(drop),
        BlendVideos::read(body.clone(), &rules).map(drop),
        LoopVideo::read(body.clone(), &rules).map(drop),
    ];
    for error in results.iter().filter_map(|result| result.as_ref().err()) {
        assert!(matches!(error.status, 400 | 404), "{error}");
        let text = &error.object.message;
        assert!(
            text.chars().count() < 1000 && !text.chars().any(char::is_control),
            "{text:?}"
        );
    }
    results.iter().filter(|result| result.is_ok()).count()
}

#[test]
fn random_json() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut taken = 0;
    for _ in 0..20_000 {
        let mut body = Map::new();
        if random.below(4) > 0 {
            body.insert("prompt".into(), json!("x"));
        }
        for _ in 0..random.below(4) {
            let (name, value) = (random.name(), random.value(3));
            body.insert(name, value);
        }
        let body = Value::Object(body);
        let bytes = body.to_string().into_bytes();
        taken += read_all(&Body::Json(&bytes));
        if let Ok(request) = CreateVideo::read(Body::Json(&bytes), &Rules::sora()) {
            let written = serde_json::to_vec(&request).unwrap();
            let again = CreateVideo::read(Body::Json(&written), &Rules::sora()).unwrap();
            let ignored = request.ignored.clone();
            assert_eq!(CreateVideo { ignored, ..again }, request, "{body}");
        }
    }
    assert!(taken > 5_000, "{taken}: most are refused, but not all");
}

#[test]
fn random_forms() {
    let mut random = Random(0xD1B5_4A32_D192_ED03);
    let mut taken = 0;
    for _ in 0..20_000 {
        let mut parts = vec![Part::text("prompt", "x")];
        for _ in 0..random.below(4) {
            let mut name = random.name();
            for _ in 0..random.below(3) {
                name = format!(
                    "{name}[{}]",
                    if random.below(3) == 0 {
                        String::new()
                    } else {
                        random.name()
                    }
                );
            }
            let file = || Upload::from_bytes(None, None, b"\xff\xd8\xff".to_vec());
            parts.push(if random.below(6) == 0 {
                Part::file(name, file())
            } else {
                Part::text(name, random.text())
            });
        }
        taken += read_all(&Body::Multipart(parts));
    }
    assert!(taken > 5_000, "{taken}");
}

#[test]
fn random_bytes_and_cut_bodies() {
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    for _ in 0..5_000 {
        let bytes: Vec<u8> = (0..random.below(40)).map(|_| random.below(256) as u8).collect();
        read_all(&Body::Json(&bytes));
        read_all(&Body::Urlencoded(&bytes));
    }
    let whole = br#"{"prompt": "a \ud83c\udfac", "input_reference": {"image_url": "data:image/png;base64,AA=="}}"#;
    for end in 0..whole.len() {
        let error = CreateVideo::read(Body::Json(&whole[..end]), &Rules::sora()).unwrap_err();
        assert_eq!(error.object.code.as_deref(), Some("invalid_body"), "{end}");
    }
}

#[test]
fn bodies_that_are_made_to_hurt() {
    for bytes in [
        "[".repeat(100_000).into_bytes(),
        "{\"a\":".repeat(100_000).into_bytes(),
        b"\"prompt\"".to_vec(),
        b"[]".to_vec(),
        b"null".to_vec(),
        b"{\"prompt\": \"\\ud800\"}".to_vec(),
        b"{\"prompt\": \"\xff\"}".to_vec(),
        b"".to_vec(),
    ] {
        let error = CreateVideo::read(Body::Json(&bytes), &Rules::sora()).unwrap_err();
        assert_eq!(
            (error.status, error.object.code.as_deref()),
            (400, Some("invalid_body"))
        );
    }
    let marks = format!("e{}", "\u{301}".repeat(1_000_000));
    let body = json!({ "prompt": marks }).to_string();
    let error = CreateVideo::read(Body::Json(body.as_bytes()), &Rules::sora()).unwrap_err();
    assert_eq!(error.object.code.as_deref(), Some("string_above_max_length"));
    // JSON inside a field of a form is read to its own depth only.
    let deep = "[".repeat(100_000);
    let parts = vec![Part::text("prompt", "x"), Part::text("characters", deep)];
    assert_eq!(
        CreateVideo::read(Body::Multipart(parts), &Rules::sora())
            .unwrap_err()
            .status,
        400
    );
}
