//! The text encoder of Wan against transformers' `UMT5EncoderModel` in a tiny configuration.

use std::collections::BTreeSet;

use kinora_kernels::Precision;
use kinora_models::umt5::Umt5;
use kinora_tensor::Tensor;
use kinora_testkit::{Golden, assert_close, nmse};
use kinora_weights::Checkpoint;

fn golden() -> Golden {
    Golden::open(env!("CARGO_MANIFEST_DIR"), "umt5_tiny")
}

fn checkpoint(golden: &Golden) -> Checkpoint {
    Checkpoint::from_bytes("umt5_tiny", golden.checkpoint_bytes("weights.")).unwrap()
}

fn tiny(precision: Precision) -> (Golden, Umt5) {
    let golden = golden();
    let model = Umt5::open(&checkpoint(&golden), golden.meta("config"), precision).unwrap();
    (golden, model)
}

/// The rows of ids without their padding.
fn texts(golden: &Golden) -> Vec<Vec<u32>> {
    let columns = golden.shape("ids")[1];
    let (ids, mask) = (golden.ints("ids"), golden.ints("mask"));
    let rows = ids.chunks_exact(columns).zip(mask.chunks_exact(columns));
    rows.map(|(ids, mask)| {
        let real = mask.iter().sum::<i64>() as usize;
        ids[..real].iter().map(|&id| id as u32).collect()
    })
    .collect()
}

/// The first rows of one entry of a padded batch `[B, S, M]`.
fn entry(batch: &Tensor, index: usize, rows: usize) -> &[f32] {
    let [_, columns, width] = batch.dims_of("golden", "[B, S, M]").unwrap();
    &batch.as_slice()[index * columns * width..][..rows * width]
}

#[test]
fn every_tap_of_both_texts_is_the_reference_s() {
    let (golden, model) = tiny(Precision::F32);
    let texts = texts(&golden);
    assert!(texts[1].len() < texts[0].len(), "the fixture must have padding");
    let mut compared = BTreeSet::new();
    let mut tap = |text: usize, name: &str, got: &Tensor| {
        compared.insert(name.to_owned());
        let want = golden.tensor(name);
        let label = format!("{name} of text {text}");
        if name.ends_with(".bias") {
            // [1, N, L, L], of which the table has each diagonal once.
            let (&[_, heads, length, _], tokens) = (want.dims(), texts[text].len()) else {
                panic!("{:?}", want.dims())
            };
            for (i, &bias) in want.as_slice().iter().enumerate() {
                let (head, query, key) = (i / length / length, i / length % length, i % length);
                if query < tokens && key < tokens {
                    let got = got.as_slice()[head * (2 * tokens - 1) + key + tokens - 1 - query];
                    assert_eq!(got, bias, "{label}: head {head}, query {query}, key {key}");
                }
            }
            assert_eq!(got.dims(), [heads, 2 * tokens - 1]);
        } else {
            let rows = texts[text].len();
            assert_close(&label, got.as_slice(), entry(&want, text, rows), golden.tolerance());
        }
    };
    let context = model.embed_tapped(&texts, &mut tap).unwrap();
    let want: BTreeSet<String> = golden
        .names()
        .into_iter()
        .filter(|n| n.starts_with("block.") || n.starts_with("hidden."))
        .collect();
    assert_eq!(compared, want);
    let output = golden.tensor("output");
    for (i, context) in context.iter().enumerate() {
        assert_eq!(context.dims(), [texts[i].len(), 32]);
        assert_close(
            "output",
            context.as_slice(),
            entry(&output, i, texts[i].len()),
            golden.tolerance(),
        );
    }
}

#[test]
fn a_text_does_not_depend_on_its_company_and_may_be_empty() {
    let (golden, model) = tiny(Precision::F32);
    let texts = texts(&golden);
    let alone = model.embed(&texts[1..]).unwrap();
    let among = model
        .embed(&[vec![], texts[0].clone(), texts[1].clone(), texts[1].clone()])
        .unwrap();
    assert_eq!(among[0].dims(), [0, 32]);
    assert_eq!(among[2].as_slice(), alone[0].as_slice());
    assert_eq!(among[3].as_slice(), alone[0].as_slice());
    assert!(model.embed(&[]).unwrap().is_empty());
}

#[test]
fn smaller_precisions_stay_close() {
    let (golden, model) = tiny(Precision::F32);
    let texts = texts(&golden);
    let exact = model.embed(&texts).unwrap();
    for (precision, bound) in [(Precision::Bf16, 2e-4), (Precision::Int8, 1e-3)] {
        let (_, model) = tiny(precision);
        assert_eq!(model.precision(), precision);
        for (got, want) in model.embed(&texts).unwrap().iter().zip(&exact) {
            let error = nmse(got.as_slice(), want.as_slice());
            println!("{}: {error:.1e}", precision.name());
            assert!(error > 0.0 && error < bound, "{}: {error:e}", precision.name());
        }
    }
}

#[test]
fn the_walk_stops_when_it_is_told_to() {
    let (golden, model) = tiny(Precision::F32);
    let mut asked = Vec::new();
    let mut go_on = |done: usize| {
        asked.push(done);
        done < 1
    };
    assert!(model.embed_while(&texts(&golden), &mut go_on).unwrap().is_none());
    assert_eq!(asked, [0, 1]);
}

/// The weights of the fixture with some tensors renamed, doubled or dropped, as f32.
fn changed(golden: &Golden, change: impl Fn(&str) -> Vec<String>) -> Checkpoint {
    let weights = checkpoint(golden);
    let tensors: Vec<(String, safetensors::tensor::TensorView)> = weights
        .names()
        .flat_map(|name| {
            let raw = weights.get(name).unwrap();
            change(name).into_iter().map(move |new| {
                let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, raw.shape.to_vec(), raw.bytes);
                (new, view.unwrap())
            })
        })
        .collect();
    Checkpoint::from_bytes("changed", safetensors::serialize(tensors, None).unwrap()).unwrap()
}

#[test]
fn the_token_table_may_have_either_name_or_both() {
    let golden = golden();
    let texts = texts(&golden);
    let (_, model) = tiny(Precision::F32);
    let want = model.embed(&texts[1..]).unwrap();
    for names in [
        &["encoder.embed_tokens.weight"][..],
        &["encoder.embed_tokens.weight", "shared.weight"],
    ] {
        let checkpoint = changed(&golden, |name| match name {
            "shared.weight" => names.iter().map(|&n| n.to_owned()).collect(),
            other => vec![other.to_owned()],
        });
        let model = Umt5::open(&checkpoint, golden.meta("config"), Precision::F32).unwrap();
        assert_eq!(model.embed(&texts[1..]).unwrap()[0].as_slice(), want[0].as_slice());
    }
}

#[test]
fn files_that_do_not_fit_are_refused_before_anything_is_read() {
    let golden = golden();
    let open = |checkpoint: Checkpoint, config: &str| {
        Umt5::open(&checkpoint, config, Precision::F32)
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default()
    };
    let config = golden.meta("config");
    let keep = |name: &str| vec![name.to_owned()];
    let without = |gone: &'static str| changed(&golden, |name| if name == gone { vec![] } else { keep(name) });
    for gone in [
        "encoder.block.2.layer.1.DenseReluDense.wi_1.weight",
        "encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight",
        "encoder.final_layer_norm.weight",
        "shared.weight",
    ] {
        let error = open(without(gone), config);
        assert!(error.contains(gone), "{gone}: {error}");
    }
    let more = changed(&golden, |name| match name {
        "encoder.final_layer_norm.weight" => vec![name.to_owned(), "decoder.final_layer_norm.weight".into()],
        _ => keep(name),
    });
    let error = open(more, config);
    assert!(error.contains("decoder.final_layer_norm.weight"), "{error}");
    let error = open(
        checkpoint(&golden),
        &config.replace("\"num_layers\": 3", "\"num_layers\": 2"),
    );
    assert!(error.contains("encoder.block.2."), "{error}");
    let error = open(checkpoint(&golden), &config.replace("\"d_ff\": 48", "\"d_ff\": 64"));
    assert!(error.contains("[48, 32]") && error.contains("[64, 32]"), "{error}");
}

#[test]
fn a_token_outside_the_vocabulary_is_refused() {
    let (_, model) = tiny(Precision::F32);
    let error = model.embed(&[vec![2, 96]]).unwrap_err().to_string();
    assert!(error.contains("token 96") && error.contains("hint"), "{error}");
}
