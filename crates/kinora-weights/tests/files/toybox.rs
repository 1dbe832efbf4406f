//! The model inside the program: everything is there, whole, and quick to open.

use std::time::Instant;

use kinora_weights::{Encoding, ModelFolder};

#[test]
fn all_parts_are_there_and_are_those_of_the_manifest() {
    let folder = ModelFolder::embedded_toybox().unwrap();
    let manifest = folder.manifest().unwrap();
    assert_eq!(folder.name(), "toybox");
    assert!(manifest.size_bytes() <= 105_000_000, "{} bytes", manifest.size_bytes());
    let verified = folder.verify_hashes().unwrap().unwrap();
    assert!(verified.files >= 12 && verified.bytes > 90_000_000, "{verified:?}");
    assert_eq!(folder.weights_hash().unwrap().len(), 16);
    for part in ["transformer", "vae", "text_encoder", "scheduler"] {
        assert!(folder.config(part).unwrap().trim_start().starts_with('{'), "{part}");
    }
    assert!(folder.index().unwrap().contains("ToyboxPipeline"));
    assert!(folder.tokenizer().unwrap().starts_with(b"{"));
    for part in &manifest.parts {
        assert!(!part.licence.is_empty() && !part.source.is_empty(), "{part:?}");
    }
}

#[test]
fn matrices_are_int8_with_scales_and_the_rest_is_f32_or_f16() {
    let folder = ModelFolder::embedded_toybox().unwrap();
    for (part, encoding, smallest) in [
        ("transformer", Encoding::I8, 120),
        ("text_encoder", Encoding::I8, 35),
        ("vae", Encoding::F16, 100),
    ] {
        let checkpoint = folder.checkpoint(part).unwrap();
        let of_type = checkpoint
            .names()
            .filter(|n| checkpoint.get(n).unwrap().encoding == Some(encoding));
        let mut count = 0;
        for name in of_type {
            count += 1;
            if encoding == Encoding::I8 {
                let (weight, scale) = (checkpoint.get(name).unwrap(), checkpoint.get(&format!("{name}.scale")));
                assert_eq!(scale.unwrap().shape, &weight.shape[..1], "{name}");
            }
        }
        assert!(count >= smallest, "{part}: {count} tensors of {encoding}");
    }
}

#[test]
fn concepts_have_one_unit_vector_each() {
    let folder = ModelFolder::embedded_toybox().unwrap();
    assert!(folder.concepts().unwrap().unwrap().contains("\"actors\""));
    let checkpoint = folder.concept_vectors().unwrap().unwrap();
    let phrases: Vec<std::collections::BTreeMap<String, String>> =
        serde_json::from_str(&checkpoint.metadata()["phrases"]).unwrap();
    let reader = checkpoint.reader();
    let shape = reader.shape("vectors").unwrap();
    assert_eq!(shape[0], phrases.len());
    assert!(
        phrases.len() > 500
            && phrases
                .iter()
                .all(|p| p.contains_key("group") && p.contains_key("concept"))
    );
    let vectors = reader.tensor("vectors", &shape).unwrap();
    for (row, phrase) in vectors.as_slice().chunks_exact(shape[1]).zip(&phrases) {
        let length: f32 = row.iter().map(|v| v * v).sum();
        assert!((length - 1.0).abs() < 2e-3, "{phrase:?}: {length}");
    }
}

#[test]
fn opening_and_checking_takes_well_under_half_a_second() {
    // The best of a few runs: the machine may be busy with something else.
    let best_ms = (0..5)
        .map(|_| {
            let start = Instant::now();
            let folder = ModelFolder::embedded_toybox().unwrap();
            for part in ["transformer", "vae", "text_encoder"] {
                folder.checkpoint(part).unwrap();
            }
            folder.verify_hashes().unwrap();
            start.elapsed().as_millis()
        })
        .min();
    println!("open and verify: {best_ms:?} ms");
    assert!(best_ms.is_some_and(|ms| ms < 400), "{best_ms:?} ms");
}
