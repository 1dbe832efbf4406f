//! Files that are written: safetensors, conversions, quantised models.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kinora_testkit::{Golden, nmse};
use kinora_weights::{
    Checkpoint, ConvertOptions, Encoding, Error, FloatType, NewTensor, QuantKind, convert, quantize, write_safetensors,
};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn dialect(name: &str) -> PathBuf {
    fixture("../../../kinora-models/tests/fixtures/dialects").join(name)
}

fn tensor(name: &str, dtype: &str, shape: &[usize]) -> NewTensor {
    NewTensor {
        name: name.into(),
        dtype: dtype.into(),
        shape: shape.to_vec(),
    }
}

/// Nothing but these files, so nothing unfinished.
fn assert_files(folder: &Path, expected: &[&str]) {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, expected);
}

#[test]
fn what_is_written_is_read_back_by_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    std::fs::write(&path, "what was here before").unwrap();
    let tensors = [
        tensor("z", "F32", &[2, 3]),
        tensor("a", "U8", &[5]),
        tensor("empty", "BF16", &[0, 4]),
    ];
    let data: [Vec<u8>; 3] = [(0..24).collect(), vec![9; 5], vec![]];
    let metadata = BTreeMap::from([("format".to_owned(), "pt \"quoted\"".to_owned())]);
    let length = write_safetensors(&path, &tensors, &metadata, |i, out| {
        out.write_all(&data[i]).unwrap();
        Ok(())
    });
    assert_eq!(length.unwrap(), std::fs::metadata(&path).unwrap().len());
    let bytes = std::fs::read(&path).unwrap();
    let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let ours = Checkpoint::open(&path).unwrap();
    assert_eq!(ours.metadata(), &metadata);
    for (tensor, data) in tensors.iter().zip(&data) {
        assert_eq!(theirs.tensor(&tensor.name).unwrap().data(), data);
        let raw = ours.require(&tensor.name).unwrap();
        assert_eq!(
            (raw.dtype_name, raw.shape, raw.bytes),
            (&*tensor.dtype, &*tensor.shape, &**data)
        );
    }
    assert_files(folder.path(), &["a.safetensors"]);
}

#[test]
fn a_file_that_cannot_be_finished_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    std::fs::write(&path, "before").unwrap();
    let write = |tensors: &[NewTensor], bytes: usize| {
        write_safetensors(&path, tensors, &BTreeMap::new(), |_, out| {
            out.write_all(&vec![0; bytes]).unwrap();
            Ok(())
        })
    };
    let four = tensor("x", "F32", &[4]);
    for (tensors, bytes) in [
        (vec![four.clone()], 15),
        (vec![four.clone()], 17),
        (vec![four.clone(), four], 16),
        (vec![tensor("x", "Q4_K", &[256])], 144),
        (vec![tensor("x", "F32", &[usize::MAX, 2])], 0),
    ] {
        let error = write(&tensors, bytes).unwrap_err();
        assert!(
            matches!(&error, Error::CannotWrite { tensor, .. } if tensor == "x"),
            "{error}"
        );
    }
    let failing = write_safetensors(&path, &[tensor("x", "U8", &[1])], &BTreeMap::new(), |_, _| {
        Err(Error::CannotWrite {
            tensor: "x".into(),
            reason: "the source broke".into(),
        })
    });
    assert!(failing.unwrap_err().to_string().contains("the source broke"));
    assert_eq!(std::fs::read(&path).unwrap(), b"before");
    assert_files(folder.path(), &["a.safetensors"]);
}

fn values(checkpoint: &Checkpoint, name: &str) -> Vec<f32> {
    let reader = checkpoint.reader();
    let shape = reader.shape(name).unwrap();
    reader.tensor(name, &shape).unwrap().as_slice().to_vec()
}

#[test]
fn a_pytorch_file_becomes_safetensors() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (fixture("pickles/plain.pth"), folder.path().join("plain.safetensors"));
    let mut last = None;
    let converted = convert(&input, &output, &ConvertOptions::default(), &mut |progress| {
        last = Some((progress.done_bytes, progress.total_bytes));
    })
    .unwrap();
    assert_eq!(converted.tensors, 16);
    let (done, total) = last.unwrap();
    assert_eq!(done, total);
    let (before, after) = (
        Checkpoint::open_pickle(&input).unwrap(),
        Checkpoint::open(&output).unwrap(),
    );
    assert_eq!(before.names().collect::<Vec<_>>(), after.names().collect::<Vec<_>>());
    for name in before.names() {
        let (a, b) = (before.require(name).unwrap(), after.require(name).unwrap());
        assert_eq!(
            (a.dtype_name, a.shape, a.bytes),
            (b.dtype_name, b.shape, b.bytes),
            "{name}"
        );
    }
    // With a type, weights have it and numbers that are no weights stay.
    let options = ConvertOptions {
        float_type: Some(FloatType::F32),
        only: None,
    };
    let nested = folder.path().join("nested.safetensors");
    convert(&fixture("pickles/nested.pth"), &nested, &options, &mut |_| ()).unwrap();
    let golden = Golden::open(env!("CARGO_MANIFEST_DIR"), "pickles");
    let nested = Checkpoint::open(&nested).unwrap();
    assert_eq!(values(&nested, "weight"), golden.tensor("nested.weight").as_slice());
    // What would run a program is refused here too.
    let error = convert(&fixture("pickles/evil.pth"), &output, &options, &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("posix.system"), "{error}");
    assert!(convert(&output, &output, &options, &mut |_| ()).is_err());
    assert_files(folder.path(), &["nested.safetensors", "plain.safetensors"]);
}

#[test]
fn gguf_and_shards_become_one_file_with_the_same_values() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.safetensors");
    for (input, float_type, tolerance) in [
        ("wan_q4_k.gguf", None, 1e-5),
        ("wan_q8_0.gguf", Some(FloatType::F32), 0.0),
        ("wan_int8.safetensors", Some(FloatType::F16), 1e-6),
        ("wan_fp8_scaled.safetensors", Some(FloatType::Bf16), 1e-5),
        ("diffusers/diffusion_pytorch_model.safetensors.index.json", None, 0.0),
    ] {
        let options = ConvertOptions { float_type, only: None };
        convert(&dialect(input), &output, &options, &mut |_| ()).unwrap();
        let (before, after) = (
            Checkpoint::open(&dialect(input)).unwrap(),
            Checkpoint::open(&output).unwrap(),
        );
        assert!(after.names().count() > 60, "{input}");
        for name in after.names() {
            let encoding = after.require(name).unwrap().encoding.unwrap();
            assert!(
                [Encoding::F32, Encoding::F16, Encoding::Bf16].contains(&encoding),
                "{input} {name}"
            );
            let error = nmse(&values(&after, name), &values(&before, name));
            assert!(error <= tolerance, "{input} {name}: {error:e}");
        }
    }
    let options = ConvertOptions {
        float_type: None,
        only: Some("blocks.1".into()),
    };
    let converted = convert(&dialect("wan_original.safetensors"), &output, &options, &mut |_| ()).unwrap();
    let names = Checkpoint::open(&output).unwrap();
    assert!(names.has("self_attn.q.weight") && !names.has("blocks.0.self_attn.q.weight"));
    assert_eq!(converted.tensors, names.names().count());
    let options = ConvertOptions {
        float_type: None,
        only: Some("nothing".into()),
    };
    assert!(convert(&dialect("wan_original.safetensors"), &output, &options, &mut |_| ()).is_err());
}

#[test]
fn quantising_rounds_the_matrices_of_blocks_and_says_what_that_costs() {
    let folder = tempfile::tempdir().unwrap();
    let input = dialect("wan_original.safetensors");
    let before = Checkpoint::open(&input).unwrap();
    for (kind, dtype, limit) in [(QuantKind::Int8, "I8", 2e-4), (QuantKind::F8E4M3, "F8_E4M3", 2e-3)] {
        let output = folder.path().join(dtype);
        let quantized = quantize(&input, &output, kind, &mut |_| ()).unwrap();
        assert_eq!((quantized.rounded, quantized.classes.len()), (20, 10));
        assert!(quantized.bytes[1] < quantized.bytes[0]);
        let after = Checkpoint::open(&output).unwrap();
        let mut rounded = 0;
        for name in before.names() {
            let error = nmse(&values(&after, name), &values(&before, name));
            if after.require(name).unwrap().dtype_name != dtype {
                assert_eq!(error, 0.0, "{name}");
                continue;
            }
            rounded += 1;
            assert!(error > 0.0 && error < limit, "{name}: {error:e}");
            let class = name.replace("blocks.0", "blocks.*").replace("blocks.1", "blocks.*");
            let class = quantized.classes.iter().find(|c| c.class == class).unwrap();
            assert_eq!(class.matrices, 2);
            assert!(
                error <= class.worst.1 * 1.001 && class.nmse <= class.worst.1,
                "{name}: {error:e} {class:?}"
            );
            assert!(1.0 - class.cosine < limit && class.cosine <= 1.0, "{class:?}");
        }
        assert_eq!(rounded, 20);
        // Once more from the rounded file: int8 again, and nothing stands beside the weights that belongs to the old ones.
        let again = folder.path().join("again");
        quantize(&output, &again, QuantKind::Int8, &mut |_| ()).unwrap();
        let again = Checkpoint::open(&again).unwrap();
        assert!(
            again
                .names()
                .all(|name| !name.contains("scale_weight") && !name.contains("scaled_fp8"))
        );
        assert!(again.reader().linear("blocks.0.self_attn.q", 32, 32).is_ok());
    }
    let none = folder.path().join("none");
    let error = quantize(&fixture("pickles/nested.pth"), &none, QuantKind::Int8, &mut |_| ()).unwrap_err();
    assert!(matches!(error, Error::CannotWrite { .. }), "{error}");
    assert!(!none.exists());
}
