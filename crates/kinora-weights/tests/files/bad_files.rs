//! Files from outside: whatever is wrong with one must end in a typed error that says what it is.

use std::collections::HashMap;

use kinora_weights::{Checkpoint, Error, ModelFolder};
use safetensors::tensor::{Dtype, TensorView};

/// A valid file with an f32 matrix and an int8 vector.
fn valid() -> Vec<u8> {
    let floats: Vec<u8> = (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let tensors = vec![
        ("a.weight", TensorView::new(Dtype::F32, vec![2, 3], &floats).unwrap()),
        ("b", TensorView::new(Dtype::I8, vec![4], &[1, 2, 3, 255]).unwrap()),
    ];
    safetensors::serialize(tensors, Some(HashMap::from([("format".into(), "pt".into())]))).unwrap()
}

/// A file with this header and `data` bytes after it.
fn with_header(json: &str, data: usize) -> Vec<u8> {
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

fn open(bytes: Vec<u8>) -> Result<Checkpoint, Error> {
    Checkpoint::from_bytes("test.safetensors", bytes)
}

#[test]
fn the_valid_file_opens() {
    let checkpoint = open(valid()).unwrap();
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a.weight", "b"]);
    assert_eq!(checkpoint.metadata()["format"], "pt");
    assert_eq!(checkpoint.get("b").unwrap().bytes, [1, 2, 3, 255]);
}

#[test]
fn every_truncation_is_called_a_truncation() {
    let whole = valid();
    for length in 0..whole.len() {
        match open(whole[..length].to_vec()) {
            Err(Error::Truncated {
                expected_bytes,
                got_bytes,
                ..
            }) => {
                assert_eq!(got_bytes, length as u64);
                assert!(
                    expected_bytes > got_bytes && expected_bytes <= whole.len() as u64,
                    "at {length}"
                );
            }
            other => panic!("cut at {length}: {other:?}"),
        }
    }
}

#[test]
fn any_changed_header_byte_is_an_error_or_another_valid_header_but_never_a_panic() {
    let whole = valid();
    let header_end = 8 + u64::from_le_bytes(*whole.first_chunk::<8>().unwrap()) as usize;
    let mut refused = 0;
    for at in 0..header_end {
        for change in [0x01, 0x02, 0x10, 0x80] {
            let mut bytes = whole.clone();
            bytes[at] ^= change;
            match open(bytes) {
                Err(error) => {
                    refused += 1;
                    assert!(error.to_string().contains("test.safetensors"));
                }
                Ok(checkpoint) => {
                    // A changed name or metadata string: all that is left must still be readable.
                    for name in checkpoint.names() {
                        let raw = checkpoint.require(name).unwrap();
                        let elements: usize = raw.shape.iter().product();
                        assert!(
                            raw.encoding
                                .is_none_or(|e| e.size_bytes(elements) == Some(raw.bytes.len()))
                        );
                    }
                }
            }
        }
    }
    assert!(
        refused > header_end,
        "only {refused} of {} changes were noticed",
        4 * header_end
    );
}

#[test]
fn each_kind_of_damage_has_its_message() {
    let tensor = |rest: &str| format!(r#"{{"x":{{"dtype":"F32","shape":[2],{rest}}}}}"#);
    let huge = u64::MAX.to_le_bytes().into_iter().chain(*b"{}  ").collect::<Vec<u8>>();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("claims a header of 18446744073709551615 bytes", huge),
        (
            "claims a header of 100000001",
            [&100_000_001_u64.to_le_bytes()[..], b"{"].concat(),
        ),
        ("its header is not JSON", with_header("[1,2]", 0)),
        ("its header is not JSON", b"\x04\0\0\0\0\0\0\0RIFF".to_vec()),
        ("header of test.safetensors is damaged", with_header(r#"{"x":"#, 0)),
        ("missing field `data_offsets`", with_header(&tensor(r#""y":0"#), 8)),
        (
            "do not hold F32 of shape [2]",
            with_header(&tensor(r#""data_offsets":[0,7]"#), 8),
        ),
        (
            "do not hold F32 of shape [2]",
            with_header(&tensor(r#""data_offsets":[8,0]"#), 8),
        ),
        (
            "do not hold",
            with_header(&tensor(r#""data_offsets":[0,18446744073709551615]"#), 8),
        ),
        ("invalid value", with_header(&tensor(r#""data_offsets":[-8,0]"#), 8)),
        (
            "8 bytes before tensor `x` belong to no tensor",
            with_header(&tensor(r#""data_offsets":[8,16]"#), 16),
        ),
        (
            "3 bytes follow the last tensor",
            with_header(&tensor(r#""data_offsets":[0,8]"#), 11),
        ),
        (
            "tensor `y` overlaps",
            with_header(
                r#"{"x":{"dtype":"I8","shape":[4],"data_offsets":[0,4]},"y":{"dtype":"I8","shape":[4],"data_offsets":[2,6]}}"#,
                6,
            ),
        ),
        (
            "unknown element type `Q4`",
            with_header(r#"{"x":{"dtype":"Q4","shape":[],"data_offsets":[0,4]}}"#, 4),
        ),
        (
            "more elements than this machine can address",
            with_header(
                r#"{"x":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#,
                0,
            ),
        ),
        ("metadata", with_header(r#"{"__metadata__":{"n":1}}"#, 0)),
        ("PyTorch archive", b"PK\x03\x04\0\0\0\0\0\0\0\0".to_vec()),
        ("kinora convert", b"\x80\x02}q\0X\x01\0\0\0aq\x01K\x01s.".to_vec()),
        (
            "git lfs pull",
            b"version https://git-lfs.github.com/spec/v1\noid".to_vec(),
        ),
        ("web page", b"<!DOCTYPE html><title>404</title>".to_vec()),
    ];
    for (expected, bytes) in cases {
        let text = open(bytes).expect_err(expected).to_string();
        assert!(text.contains(expected), "wanted `{expected}` in: {text}");
    }
}

#[test]
fn a_missing_file_and_a_folder_are_io_errors_that_name_the_path() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().join("none.safetensors"), dir.path().to_path_buf()] {
        let text = Checkpoint::open(&path).unwrap_err().to_string();
        assert!(text.contains(&path.display().to_string()), "{text}");
    }
    let empty = dir.path().join("empty.safetensors");
    std::fs::write(&empty, "").unwrap();
    assert!(matches!(
        Checkpoint::open(&empty),
        Err(Error::Truncated { got_bytes: 0, .. })
    ));
}

#[test]
fn a_mapped_file_reads_like_one_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.safetensors");
    std::fs::write(&path, valid()).unwrap();
    let (mapped, owned) = (Checkpoint::open(&path).unwrap(), open(valid()).unwrap());
    for name in owned.names() {
        assert_eq!(mapped.get(name).unwrap().bytes, owned.get(name).unwrap().bytes);
    }
    assert_eq!(mapped.size_bytes(), valid().len() as u64);
}

#[test]
fn shards_open_together_and_an_index_cannot_lead_astray() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
    let index = |map: &str| {
        write(
            "m.safetensors.index.json",
            format!(r#"{{"metadata":{{}},"weight_map":{map}}}"#).as_bytes(),
        );
        Checkpoint::open(&dir.path().join("m.safetensors.index.json"))
    };
    write("1.safetensors", &valid());
    write(
        "2.safetensors",
        &with_header(r#"{"c":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}}"#, 1),
    );
    let both = index(r#"{"a.weight":"1.safetensors","b":"1.safetensors","c":"2.safetensors"}"#).unwrap();
    assert_eq!(both.names().collect::<Vec<_>>(), ["a.weight", "b", "c"]);
    write("3.safetensors", &valid());
    for (expected, map) in [
        ("not a plain file name", r#"{"a":"../1.safetensors"}"#),
        ("not a plain file name", r#"{"a":"/etc/passwd"}"#),
        ("`d`, which the index lists", r#"{"d":"1.safetensors"}"#),
        (
            "is in 3.safetensors and in a file before it",
            r#"{"b":"1.safetensors","a.weight":"3.safetensors"}"#,
        ),
        (
            "4.safetensors is missing, which holds tensor `b` and 1 more",
            r#"{"b":"4.safetensors","e":"4.safetensors"}"#,
        ),
        (
            "tensor `b` is in 1.safetensors, but the index says 2.safetensors",
            r#"{"a.weight":"1.safetensors","b":"2.safetensors"}"#,
        ),
        ("cannot be understood", r#"[]"#),
    ] {
        let text = index(map).expect_err(map).to_string();
        assert!(text.contains(expected), "wanted `{expected}` in: {text}");
    }
}

/// A model folder with one weights file and a manifest that fits it.
fn model_folder() -> tempfile::TempDir {
    use sha2::{Digest, Sha256};
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("transformer")).unwrap();
    std::fs::write(dir.path().join("model_index.json"), "{}").unwrap();
    std::fs::write(dir.path().join("transformer/model.safetensors"), valid()).unwrap();
    let entry = |path: &str, content: &[u8]| {
        let hash: String = Sha256::digest(content).iter().map(|b| format!("{b:02x}")).collect();
        format!(r#"{{"path":"{path}","bytes":{},"sha256":"{hash}"}}"#, content.len())
    };
    let files = [
        entry("model_index.json", b"{}"),
        entry("transformer/model.safetensors", &valid()),
    ]
    .join(",");
    let text = format!(r#"{{"name":"t","version":"1","licence":"MIT","files":[{files}]}}"#);
    std::fs::write(dir.path().join("manifest.json"), text).unwrap();
    dir
}

#[test]
fn hashes_are_compared_with_the_manifest() {
    let dir = model_folder();
    let at = |name: &str| dir.path().join(name);
    let folder = ModelFolder::open(dir.path()).unwrap();
    let verified = folder.verify_hashes().unwrap().unwrap();
    assert_eq!((verified.files, verified.bytes), (2, 2 + valid().len() as u64));
    let hash = folder.weights_hash().unwrap();

    let weights = at("transformer/model.safetensors");
    let mut changed = valid();
    *changed.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, &changed).unwrap();
    let error = folder.verify_hashes().unwrap_err();
    assert!(matches!(&error, Error::HashMismatch { file, .. } if file.ends_with("transformer/model.safetensors")));
    std::fs::write(&weights, &changed[..20]).unwrap();
    assert!(matches!(
        folder.verify_hashes(),
        Err(Error::Truncated { got_bytes: 20, .. })
    ));
    std::fs::remove_file(&weights).unwrap();
    assert!(
        folder
            .verify_hashes()
            .unwrap_err()
            .to_string()
            .contains("has no transformer/model.safetensors")
    );

    // Without a manifest the files are hashed themselves, and the same files give the same short hash.
    std::fs::write(&weights, valid()).unwrap();
    std::fs::remove_file(at("manifest.json")).unwrap();
    let bare = ModelFolder::open(dir.path()).unwrap();
    assert_eq!(bare.verify_hashes().unwrap(), None);
    assert_eq!(bare.weights_hash().unwrap(), hash);
    std::fs::write(&weights, &changed).unwrap();
    assert_ne!(bare.weights_hash().unwrap(), hash);
}

#[test]
fn folders_that_are_no_models_say_what_is_missing() {
    let dir = model_folder();
    let folder = ModelFolder::open(dir.path()).unwrap();
    for (expected, result) in [
        ("no vae folder", folder.checkpoint("vae").map(drop)),
        ("has no transformer/config.json", folder.config("transformer").map(drop)),
        ("has no text_encoder/tokenizer.json", folder.tokenizer().map(drop)),
        (
            "there is nothing of that name",
            ModelFolder::open(&dir.path().join("x")).map(drop),
        ),
        (
            "has no model_index.json",
            ModelFolder::open(&dir.path().join("transformer")).map(drop),
        ),
    ] {
        let text = result.expect_err(expected).to_string();
        assert!(
            text.contains(expected) && text.contains("hint:"),
            "wanted `{expected}` in: {text}"
        );
    }
    assert!(folder.concepts().unwrap().is_none() && folder.concept_vectors().unwrap().is_none());

    let part = dir.path().join("transformer");
    std::fs::rename(part.join("model.safetensors"), part.join("x.safetensors")).unwrap();
    assert!(
        folder.checkpoint("transformer").is_ok(),
        "the only file needs no usual name"
    );
    std::fs::write(part.join("y.safetensors"), valid()).unwrap();
    assert!(
        folder
            .checkpoint("transformer")
            .unwrap_err()
            .to_string()
            .contains("2 checkpoints")
    );
    for name in ["x.safetensors", "y.safetensors"] {
        std::fs::rename(part.join(name), part.join(name.replace("safetensors", "bin"))).unwrap();
    }
    assert!(
        folder
            .checkpoint("transformer")
            .unwrap_err()
            .to_string()
            .contains("only pickle files")
    );

    let outside = r#"{"name":"t","version":"1","licence":"MIT","files":[{"path":"../x","bytes":1,"sha256":""}]}"#;
    std::fs::write(dir.path().join("manifest.json"), outside).unwrap();
    assert!(
        ModelFolder::open(dir.path())
            .unwrap_err()
            .to_string()
            .contains("leads out of the folder")
    );
}
