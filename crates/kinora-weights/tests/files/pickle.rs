//! Files of torch.save against the values that PyTorch holds, and files that must be refused.

use std::path::PathBuf;

use kinora_testkit::Golden;
use kinora_weights::{Checkpoint, Error, PickleError, RawTensor};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/pickles")
        .join(name)
}

/// Elements of any type as floats.
fn floats(raw: &RawTensor) -> Vec<f32> {
    if let Some(encoding) = raw.encoding.filter(|e| e.name() != "int8") {
        let mut values = vec![0.0; raw.shape.iter().product()];
        encoding.to_f32(raw.bytes, &mut values);
        return values;
    }
    let bytes = raw.bytes;
    match raw.dtype_name {
        "F64" => bytes
            .as_chunks()
            .0
            .iter()
            .map(|&b| f64::from_le_bytes(b) as f32)
            .collect(),
        "I64" => bytes
            .as_chunks()
            .0
            .iter()
            .map(|&b| i64::from_le_bytes(b) as f32)
            .collect(),
        "I32" => bytes
            .as_chunks()
            .0
            .iter()
            .map(|&b| i32::from_le_bytes(b) as f32)
            .collect(),
        "I8" => bytes.iter().map(|&b| f32::from(b as i8)).collect(),
        "U8" | "BOOL" => bytes.iter().map(|&b| f32::from(b)).collect(),
        other => panic!("{other}"),
    }
}

fn compare(file: &str, start: &str, count: usize) {
    let golden = Golden::open(env!("CARGO_MANIFEST_DIR"), "pickles");
    let checkpoint = Checkpoint::open_pickle(&fixture(file)).unwrap();
    assert_eq!(
        checkpoint.names().count(),
        count,
        "{:?}",
        checkpoint.names().collect::<Vec<_>>()
    );
    for name in checkpoint.names() {
        let want = golden.tensor(&format!("{start}.{name}"));
        let raw = checkpoint.require(name).unwrap();
        assert_eq!(raw.shape, want.dims(), "{name}");
        assert_eq!(floats(&raw), want.as_slice(), "{file}: {name}");
    }
}

#[test]
fn tensors_of_both_formats_have_the_values_of_pytorch() {
    compare("plain.pth", "plain", 16);
    compare("legacy.pth", "plain", 16);
}

#[test]
fn a_dict_around_the_tensors_and_parameters_are_looked_through() {
    compare("nested.pth", "nested", 2);
    let checkpoint = Checkpoint::open_pickle(&fixture("nested.pth")).unwrap();
    assert!(checkpoint.reader().linear("", 2, 3).is_err());
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["bias", "weight"]);
}

#[test]
fn types_keep_their_names() {
    let checkpoint = Checkpoint::open_pickle(&fixture("plain.pth")).unwrap();
    for (name, dtype) in [
        ("f8", "F8_E4M3"),
        ("bf16", "BF16"),
        ("f16", "F16"),
        ("flags", "BOOL"),
        ("i64", "I64"),
    ] {
        assert_eq!(checkpoint.require(name).unwrap().dtype_name, dtype);
    }
}

fn refused(bytes: Vec<u8>) -> PickleError {
    match Checkpoint::from_pickle_bytes("model.pth", bytes).unwrap_err() {
        Error::Pickle(error) => *error,
        other => panic!("{other}"),
    }
}

#[test]
fn a_file_that_would_run_a_program_is_refused_by_name() {
    for file in ["evil.pth", "evil_deep.pth"] {
        let error = Checkpoint::open_pickle(&fixture(file)).unwrap_err().to_string();
        assert!(error.contains("`posix.system`") && error.contains("hint:"), "{error}");
        // And without asking for it, with the way out.
        let error = Checkpoint::open(&fixture(file)).unwrap_err().to_string();
        assert!(error.contains("pickle"), "{error}");
    }
}

/// A file in the legacy format around a pickle of values, with nothing beside it.
fn alone(values: &[u8]) -> Vec<u8> {
    let mut file = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.".to_vec();
    file.extend_from_slice(b"\x80\x02M\xe9\x03.\x80\x02}q\x00.\x80\x02");
    file.extend_from_slice(values);
    file.extend_from_slice(b"\x80\x02].");
    file
}

/// The same with a storage `s` of four floats.
fn legacy(values: &[u8]) -> Vec<u8> {
    let mut file = alone(values);
    file.truncate(file.len() - 2);
    file.extend_from_slice(b"]U\x01sa.");
    file.extend_from_slice(&4_u64.to_le_bytes());
    file.extend_from_slice(&[0; 16]);
    file
}

/// A tensor of four floats seen with this offset, shape and strides.
fn view(offset: u8, shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let tuple = |extents: &[u8]| {
        let items: Vec<u8> = extents.iter().flat_map(|&n| [b'K', n]).collect();
        [b"(".as_slice(), &items, b"t"].concat()
    };
    [
        b"}U\x01wctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x01sU\x03cpuK\x04NtQK"
            .as_slice(),
        &[offset],
        &tuple(shape),
        &tuple(strides),
        b"\x89NtRs.",
    ]
    .concat()
}

#[test]
fn views_must_stay_inside_their_storage() {
    let opened = Checkpoint::from_pickle_bytes("m", legacy(&view(0, &[2, 2], &[1, 2]))).unwrap();
    assert_eq!(opened.require("w").unwrap().shape, [2, 2]);
    for (offset, shape, strides) in [
        (1, &[4][..], &[1][..]),
        (0, &[2, 2], &[3, 1]),
        (0, &[5], &[1]),
        (0, &[200], &[0]),
        (0, &[255; 8], &[255; 8]),
    ] {
        let error = refused(legacy(&view(offset, shape, strides)));
        assert!(
            matches!(&error, PickleError::BadTensor { tensor, .. } if tensor == "w"),
            "{shape:?}: {error}"
        );
    }
    // Two extents of 2^40: their product overflows.
    let wide = b"\x8a\x06\x00\x00\x00\x00\x00\x01".repeat(2);
    let narrow = view(0, &[2, 2], &[1, 2]);
    let at = narrow.windows(4).position(|w| w == b"K\x02K\x02").unwrap();
    let error = refused(legacy(&[&narrow[..at], &wide, &narrow[at + 4..]].concat()));
    assert!(error.to_string().contains("overflows"), "{error}");
    let error = refused(legacy(&view(0, &[1; 9], &[1; 9])));
    assert!(matches!(&error, PickleError::Damaged { .. }), "{error}");
}

#[test]
fn hostile_pickles_end_early_and_use_little_memory() {
    let nested =
        |open: &[u8], close: &[u8], times: usize| [open.repeat(times), close.repeat(times), b".".to_vec()].concat();
    for (what, values) in [
        ("lists in lists", nested(b"]", b"a", 100_000)),
        (
            "tuples in tuples",
            [b")".to_vec(), b"\x85".repeat(100_000), b".".to_vec()].concat(),
        ),
        ("marks alone", nested(b"(", b"", 100_000)),
        ("a memo at a far place", b"Nr\xff\xff\xff\xff.".to_vec()),
        ("a memo that was never filled", b"h\x05.".to_vec()),
        ("a text longer than the file", b"X\xff\xff\xff\xff.".to_vec()),
        (
            "a text of 2^63 bytes",
            b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.".to_vec(),
        ),
        ("a list in itself", b"]q\x00h\x00a.".to_vec()),
        ("an empty stack", b"R.".to_vec()),
        ("a call of a number", b"K\x01)R.".to_vec()),
        ("an unknown instruction", b"P1\n.".to_vec()),
        ("items for a number", b"K\x01(K\x02e.".to_vec()),
        ("odd entries", b"}(K\x02u.".to_vec()),
        (
            "a number of 300 bytes",
            [b"\x8b\x2c\x01\x00\x00".to_vec(), vec![9; 300], b".".to_vec()].concat(),
        ),
        ("too many values", [b"N0".repeat(2_100_000), b"N.".to_vec()].concat()),
    ] {
        let error = refused(alone(&values));
        assert!(!matches!(error, PickleError::Forbidden { .. }), "{what}: {error}");
    }
    // 40 dicts that each hold the one before ten times: 10^40 ways to the tensor.
    let mut values = b"}q\x00".to_vec();
    for level in 0..40_u8 {
        values.extend_from_slice(b"}(");
        for key in 0..10 {
            values.extend_from_slice(&[b'K', key, b'h', level]);
        }
        values.extend_from_slice(&[b'u', b'q', level + 1]);
    }
    values.push(b'.');
    let error = refused(alone(&values));
    assert!(matches!(error, PickleError::TooLarge { .. }), "{error}");
}

#[test]
fn names_that_are_not_on_the_list_are_refused_wherever_they_stand() {
    for (values, name) in [
        (b"cos\nsystem\n.".to_vec(), "os.system"),
        (b"cbuiltins\neval\n(U\x01xtR.".to_vec(), "builtins.eval"),
        (b"U\x08builtinsU\x04exec\x93.".to_vec(), "builtins.exec"),
        (b"ctorch\nload\n.".to_vec(), "torch.load"),
        (
            b"ctorch._utils\n_rebuild_tensor_v2.__globals__\n.".to_vec(),
            "torch._utils._rebuild_tensor_v2.__globals__",
        ),
        (b"ccollections\ndefaultdict\n.".to_vec(), "collections.defaultdict"),
    ] {
        let error = refused(alone(&values));
        assert!(
            matches!(&error, PickleError::Forbidden { name: got, .. } if got == name),
            "{error}"
        );
    }
}

#[test]
fn damaged_archives_are_refused() {
    let whole = std::fs::read(fixture("plain.pth")).unwrap();
    for length in (0..whole.len()).step_by(7) {
        assert!(
            Checkpoint::from_pickle_bytes("m", whole[..length].to_vec()).is_err(),
            "{length}"
        );
    }
    // Compression, for which the method of an entry in the list of entries is set.
    let mut compressed = whole.clone();
    let entry = whole.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    compressed[entry + 10] = 8;
    assert!(refused(compressed).to_string().contains("compressed"));
    let error = refused(b"PK\x03\x04 and nothing else".to_vec());
    assert!(matches!(error, PickleError::BadArchive { .. }), "{error}");
    assert!(matches!(refused(b"{}".to_vec()), PickleError::NotPyTorch { .. }));
    let legacy = std::fs::read(fixture("legacy.pth")).unwrap();
    for length in (0..legacy.len()).step_by(3) {
        assert!(
            Checkpoint::from_pickle_bytes("m", legacy[..length].to_vec()).is_err(),
            "{length}"
        );
    }
}
