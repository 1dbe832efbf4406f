//! GGUF files: what is read from good ones, and that damage ends in a typed error, never in a panic.

use std::path::PathBuf;

use kinora_weights::gguf::{self, Value};
use kinora_weights::{Checkpoint, Encoding, Error};

/// A GGUF file under construction.
#[derive(Clone, Default)]
struct Writer {
    values: Vec<Vec<u8>>,
    tensors: Vec<(Vec<u8>, Vec<u8>)>,
    version: u32,
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

impl Writer {
    fn new() -> Self {
        Self {
            version: 3,
            ..Self::default()
        }
    }

    fn value(mut self, name: &str, kind: u32, data: &[u8]) -> Self {
        self.values.push([&text(name)[..], &kind.to_le_bytes(), data].concat());
        self
    }

    fn array(self, name: &str, kind: u32, count: u64, data: &[u8]) -> Self {
        let data = [&kind.to_le_bytes()[..], &count.to_le_bytes(), data].concat();
        self.value(name, 9, &data)
    }

    /// `dims` as they are written: the last axis first.
    fn tensor(mut self, name: &str, dims: &[u64], kind: u32, offset: u64, data: &[u8]) -> Self {
        let mut head = text(name);
        head.extend((dims.len() as u32).to_le_bytes());
        dims.iter().for_each(|d| head.extend(d.to_le_bytes()));
        head.extend(kind.to_le_bytes());
        head.extend(offset.to_le_bytes());
        self.tensors.push((head, data.to_vec()));
        self
    }

    fn header(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.values.len() as u64).to_le_bytes());
        self.values.iter().for_each(|v| bytes.extend(v));
        self.tensors.iter().for_each(|(head, _)| bytes.extend(head));
        bytes
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header();
        for (_, data) in &self.tensors {
            bytes.resize(bytes.len().next_multiple_of(32), 0);
            bytes.extend(data);
        }
        bytes
    }
}

/// One value of each kind, a matrix of Q8_0, a flattened tensor of five dimensions, and a bias.
fn valid() -> Writer {
    let q8: Vec<u8> = (0..2)
        .flat_map(|row| {
            let scale = half::f16::from_f32(0.5 * (row + 1) as f32).to_le_bytes();
            scale.into_iter().chain((0..32).map(|i| i as u8))
        })
        .collect();
    let f32s = |n: usize| (0..n).flat_map(|i| (i as f32).to_le_bytes()).collect::<Vec<u8>>();
    Writer::new()
        .value("general.architecture", 8, &text("wan"))
        .value("general.file_type", 4, &7_u32.to_le_bytes())
        .value("a.float", 6, &1.5_f32.to_le_bytes())
        .value("a.flag", 7, &[1])
        .value("a.small", 1, &[0xff])
        .array("tokenizer.ggml.tokens", 8, 2, &[text("<pad>"), text("▁a")].concat())
        .array(
            "tokenizer.ggml.scores",
            6,
            2,
            &[0.0_f32.to_le_bytes(), (-2.5_f32).to_le_bytes()].concat(),
        )
        .array(
            "comfy.gguf.orig_shape.patch",
            5,
            5,
            &[2_i32, 1, 1, 2, 2].map(i32::to_le_bytes).concat(),
        )
        .tensor("a.weight", &[32, 2], 8, 0, &q8)
        .tensor("patch", &[4, 2], 0, 96, &f32s(8))
        .tensor("a.bias", &[2], 0, 128, &f32s(2))
}

fn open(bytes: Vec<u8>) -> Result<Checkpoint, Error> {
    Checkpoint::from_bytes("test.gguf", bytes)
}

#[test]
fn values_shapes_and_numbers_are_read() {
    for version in [2, 3] {
        let checkpoint = open(Writer { version, ..valid() }.bytes()).unwrap();
        assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a.bias", "a.weight", "patch"]);
        let metadata = checkpoint.metadata();
        assert_eq!(
            [
                "general.architecture",
                "general.file_type",
                "a.float",
                "a.flag",
                "a.small"
            ]
            .map(|n| metadata[n].as_str()),
            ["wan", "7", "1.5", "true", "-1"]
        );
        assert!(!metadata.contains_key("tokenizer.ggml.tokens"), "arrays are no strings");
        assert_eq!(
            checkpoint
                .value("tokenizer.ggml.tokens")
                .and_then(Value::texts)
                .unwrap(),
            ["<pad>", "▁a"]
        );
        assert_eq!(
            checkpoint.value("tokenizer.ggml.scores").and_then(Value::floats),
            Some(&[0.0, -2.5][..])
        );
        let raw = checkpoint.get("patch").unwrap();
        assert_eq!((raw.shape, raw.encoding), (&[2, 1, 1, 2, 2][..], Some(Encoding::F32)));
        let reader = checkpoint.reader();
        assert_eq!(reader.rows("a.weight", &[1]).unwrap().as_slice()[..3], [0.0, 1.0, 2.0]);
        assert_eq!(reader.rows("a.weight", &[0]).unwrap().as_slice()[31], 15.5);
        assert_eq!(reader.vector("a.bias", 2).unwrap(), [0.0, 1.0]);
        reader.linear("a", 2, 32).unwrap();
        assert_eq!(reader.tensor("patch", &[2, 1, 1, 2, 2]).unwrap().as_slice()[7], 7.0);
        reader.finish(&[]).unwrap();
    }
}

#[test]
fn rows_may_begin_in_the_middle_of_a_block() {
    // Written as 2 rows of 32 whatever its shape, as some programs do: a row of 16 is half a block.
    let block = |scale: f32| {
        let scale = half::f16::from_f32(scale).to_le_bytes();
        scale.into_iter().chain((0..32).map(|i| i as u8)).collect::<Vec<u8>>()
    };
    let file = Writer::new()
        .array(
            "comfy.gguf.orig_shape.x",
            5,
            2,
            &[4_i32, 16].map(i32::to_le_bytes).concat(),
        )
        .tensor("x", &[32, 2], 8, 0, &[block(1.0), block(2.0)].concat());
    let reader = open(file.bytes()).unwrap().reader();
    let rows = reader.rows("x", &[1, 2]).unwrap();
    let want: Vec<f32> = (16..32).chain((0..16).map(|i| 2 * i)).map(|v| v as f32).collect();
    assert_eq!(rows.as_slice(), want);
}

#[test]
fn every_truncation_is_called_a_truncation() {
    let whole = valid().bytes();
    assert!(open(whole.clone()).is_ok());
    for length in 4..whole.len() {
        match open(whole[..length].to_vec()) {
            Err(Error::Truncated {
                expected_bytes,
                got_bytes,
                ..
            }) => assert!(got_bytes == length as u64 && expected_bytes > got_bytes, "at {length}"),
            other => panic!("cut at {length}: {other:?}"),
        }
    }
}

/// Reads everything that a checkpoint offers; every outcome but a panic is fine.
fn read_all(checkpoint: &Checkpoint) {
    let reader = checkpoint.reader();
    for name in checkpoint.names() {
        let raw = checkpoint.require(name).unwrap();
        assert_eq!(raw.bytes.len(), raw.size_bytes, "{name}");
        let _ = reader.tensor(name, raw.shape);
        if raw.shape.len() == 2 && raw.shape[0] > 0 {
            let _ = reader.rows(name, &[raw.shape[0] as u32 - 1]);
        }
    }
    let _ = reader.finish(&[]);
}

#[test]
fn any_changed_byte_of_the_header_is_an_error_or_another_file_but_never_a_panic() {
    let whole = valid().bytes();
    let header = valid().header().len();
    let (mut refused, mut opened) = (0, 0);
    for at in 0..header {
        for change in 1..=255 {
            let mut bytes = whole.clone();
            bytes[at] ^= change;
            match open(bytes) {
                Err(error) => {
                    assert!(error.to_string().contains("test.gguf"), "{error}");
                    refused += 1;
                }
                Ok(checkpoint) => {
                    read_all(&checkpoint);
                    opened += 1;
                }
            }
        }
    }
    assert!(
        refused > 255 * header / 3 && opened > 0,
        "{refused} refused, {opened} opened"
    );
}

#[test]
fn each_kind_of_damage_has_its_message() {
    let one = |dims: &[u64], kind, offset| Writer::new().tensor("x", dims, kind, offset, &[0; 64]).bytes();
    let shaped = |shape: &[i32]| {
        let data: Vec<u8> = shape.iter().flat_map(|n| n.to_le_bytes()).collect();
        Writer::new()
            .array("comfy.gguf.orig_shape.x", 5, shape.len() as u64, &data)
            .tensor("x", &[4], 0, 0, &[0; 16])
            .bytes()
    };
    let two = |second: u64, name: &str| {
        Writer::new()
            .tensor("x", &[32], 0, 0, &[0; 128])
            .tensor(name, &[32], 0, second, &[0; 128])
            .bytes()
    };
    let version = |version| Writer { version, ..valid() }.bytes();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("big-endian", version(3_u32.swap_bytes())),
        ("version 1", version(1)),
        ("version 9 is unknown", version(9)),
        ("is of type 4242", one(&[4], 4242, 0)),
        ("tensor `x` has 9 dimensions", one(&[1; 9], 0, 0)),
        ("rows of 33, but Q8_0 comes in blocks of 32", one(&[33], 8, 0)),
        (
            "more elements than this machine can address",
            one(&[1 << 40, 1 << 40], 0, 0),
        ),
        ("is cut off", one(&[1 << 30], 0, 0)),
        ("offset 7 of tensor `x` is no multiple of 32", one(&[4], 0, 7)),
        (
            "offset 18446744073709551584 of tensor `x` is too large",
            one(&[4], 0, u64::MAX - 31),
        ),
        ("tensor `y` overlaps", two(96, "y")),
        ("two tensors have the same name", two(128, "x")),
        ("orig_shape.x is", shaped(&[3])),
        ("orig_shape.x is", shaped(&[-4])),
        ("orig_shape.x is", shaped(&[])),
        ("orig_shape.x is", shaped(&[i32::MAX, i32::MAX, i32::MAX, 8])),
        (
            "value `v` is there twice",
            Writer::new().value("v", 7, &[0]).value("v", 7, &[0]).bytes(),
        ),
        (
            "value `v`: value type 77 is unknown",
            Writer::new().value("v", 77, &[0; 8]).bytes(),
        ),
        (
            "value `v`: an array of arrays",
            Writer::new().array("v", 9, 1, &[0; 16]).bytes(),
        ),
        (
            "value `v`: a string that is not UTF-8",
            Writer::new().value("v", 8, &[1, 0, 0, 0, 0, 0, 0, 0, 0xff]).bytes(),
        ),
        (
            "value `v`: a string of",
            Writer::new().value("v", 8, &[0xff; 8]).bytes(),
        ),
        (
            "general.alignment is",
            Writer::new().value("general.alignment", 4, &[0; 4]).bytes(),
        ),
        (
            "one of 3 GGUF files",
            Writer::new().value("split.count", 2, &[3, 0]).bytes(),
        ),
    ];
    for (expected, bytes) in cases {
        let text = open(bytes).expect_err(expected).to_string();
        assert!(
            text.contains(expected) && text.contains("test.gguf"),
            "wanted `{expected}` in: {text}"
        );
    }
    // Absurd counts are noticed before anything is made for them.
    for place in [8, 16] {
        let mut bytes = valid().bytes();
        bytes[place..place + 8].fill(0xff);
        assert!(matches!(open(bytes), Err(Error::Truncated { .. })));
    }
    let many = Writer::new().array("v", 8, u64::MAX, &[]).bytes();
    assert!(matches!(open(many), Err(Error::Truncated { .. })));
}

#[test]
fn types_that_are_not_read_are_described_and_refused_when_they_are_asked_for() {
    let file = Writer::new().tensor("x.weight", &[32, 1], 20, 0, &[0; 18]);
    let checkpoint = open(file.bytes()).unwrap();
    let raw = checkpoint.get("x.weight").unwrap();
    assert_eq!((raw.dtype_name, raw.encoding), ("IQ4_NL", None));
    let text = checkpoint
        .reader()
        .linear("x", 1, 32)
        .map(drop)
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("`IQ4_NL`") && text.contains("`x.weight`") && text.contains("Q8_0"),
        "{text}"
    );
}

#[test]
fn a_header_alone_describes_a_file_of_which_the_data_is_absent() {
    // 14 G elements of Q4_K: 8 GB that are not here.
    let file = Writer::new()
        .tensor("big.weight", &[5120, 2_800_000], 12, 0, &[])
        .tensor("big.bias", &[2_800_000], 0, 5120 * 2_800_000 / 256 * 144, &[]);
    let bytes = file.header();
    let size = (bytes.len() as u64).next_multiple_of(32) + 5120 * 2_800_000 / 256 * 144 + 4 * 2_800_000;
    assert!(matches!(open(bytes.clone()), Err(Error::Truncated { expected_bytes, .. }) if expected_bytes == size));
    let header = gguf::header("test.gguf", &bytes).unwrap();
    assert_eq!((header.version, header.count(), header.end), (3, 2, size));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.gguf");
    std::fs::write(&path, &bytes).unwrap();
    for checkpoint in [
        Checkpoint::from_header_bytes("m", bytes).unwrap(),
        Checkpoint::open_header_only(&path).unwrap(),
    ] {
        assert_eq!(checkpoint.size_bytes(), size);
        let raw = checkpoint.get("big.weight").unwrap();
        assert_eq!(raw.shape, [2_800_000, 5120]);
        assert_eq!((raw.encoding, raw.size_bytes), (Some(Encoding::Q4K), 8_064_000_000));
        let reader = checkpoint.reader();
        assert_eq!(reader.shape("big.bias").unwrap(), [2_800_000]);
        assert!(reader.is_quantised("big.weight"));
        for result in [
            reader.rows("big.weight", &[0]).map(drop),
            reader.vector("big.bias", 2_800_000).map(drop),
            reader.linear("big", 2_800_000, 5120).map(drop),
        ] {
            assert!(matches!(result, Err(Error::HeaderOnly { .. })), "{result:?}");
        }
    }
}

#[test]
fn files_of_other_programs_open_by_their_content() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../kinora-models/tests/fixtures/dialects");
    for (name, encoding) in [
        ("wan_f16.gguf", Encoding::F16),
        ("wan_q8_0.gguf", Encoding::Q8_0),
        ("wan_q4_k.gguf", Encoding::Q4K),
        ("wan_q6_k.gguf", Encoding::Q6K),
    ] {
        let checkpoint = Checkpoint::open(&folder.join(name)).unwrap();
        assert_eq!(checkpoint.metadata()["general.architecture"], "wan", "{name}");
        let patch = checkpoint.get("patch_embedding.weight").unwrap();
        assert_eq!(patch.shape, [32, 4, 1, 2, 2], "{name}");
        let found = checkpoint
            .names()
            .filter(|n| checkpoint.get(n).unwrap().encoding == Some(encoding));
        assert!(found.count() > 1, "{name}");
        // The name says nothing.
        let bytes = std::fs::read(folder.join(name)).unwrap();
        assert!(Checkpoint::from_bytes("x.safetensors", bytes).is_ok());
    }
}
