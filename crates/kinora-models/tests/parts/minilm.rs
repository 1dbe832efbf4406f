//! The sentence encoder against transformers' `BertModel` in a tiny configuration, and the tokenizer against its own.

use kinora_models::minilm::{MiniLm, TokenBatch, Tokenizer};
use kinora_tensor::{Arena, Tensor};
use kinora_testkit::{Golden, assert_close, read_json};
use kinora_weights::{Checkpoint, ModelFolder};

fn tiny() -> (Golden, MiniLm) {
    let golden = Golden::open(env!("CARGO_MANIFEST_DIR"), "minilm_tiny");
    let checkpoint = Checkpoint::from_bytes("minilm_tiny", golden.checkpoint_bytes("weights.")).unwrap();
    let model = MiniLm::load(&checkpoint, golden.meta("config")).unwrap();
    (golden, model)
}

fn tokens(golden: &Golden) -> TokenBatch {
    let columns = golden.shape("ids")[1];
    let lengths: Vec<usize> = golden
        .ints("mask")
        .chunks_exact(columns)
        .map(|row| row.iter().sum::<i64>() as usize)
        .collect();
    TokenBatch {
        ids: golden.ints("ids").iter().map(|&id| id as u32).collect(),
        truncated: vec![false; lengths.len()],
        lengths,
        columns,
    }
}

/// The values of real tokens; what stands at padded places differs between implementations and is never used.
fn real(states: &Tensor, tokens: &TokenBatch) -> Vec<f32> {
    let width = states.dims()[2];
    let rows = states.as_slice().chunks_exact(width).enumerate();
    let is_real = |i: usize| i % tokens.columns < tokens.lengths[i / tokens.columns];
    rows.filter(|(i, _)| is_real(*i))
        .flat_map(|(_, row)| row.iter().copied())
        .collect()
}

#[test]
fn every_layer_gives_the_reference_states() {
    let (golden, model) = tiny();
    let tokens = tokens(&golden);
    assert!(
        tokens.lengths.iter().any(|&length| length < tokens.columns),
        "the fixture must have padding"
    );
    let mut compared = 0;
    let mut tap = |name: &str, got: &Tensor| {
        let want = golden.tensor(name);
        assert_close(name, &real(got, &tokens), &real(&want, &tokens), golden.tolerance());
        compared += 1;
    };
    let states = model.forward_tapped(&tokens, &Arena::new(), &mut tap).unwrap();
    assert_eq!(compared, 3);
    assert_close(
        "output",
        states.as_slice(),
        golden.tensor("output").as_slice(),
        golden.tolerance(),
    );
    let sentences = model.sentences(&tokens, &Arena::new()).unwrap().concat();
    assert_close(
        "sentence",
        &sentences,
        golden.tensor("sentence").as_slice(),
        golden.tolerance(),
    );
}

#[test]
fn a_token_outside_the_vocabulary_is_refused() {
    let (golden, model) = tiny();
    let mut tokens = tokens(&golden);
    tokens.ids[0] = 100;
    let error = model.forward(&tokens, &Arena::new()).unwrap_err().to_string();
    assert!(error.contains("100"), "{error}");
}

#[test]
fn prompts_become_the_reference_tokens() {
    let folder = ModelFolder::embedded_toybox().unwrap();
    let tokenizer = Tokenizer::from_json(&folder.tokenizer().unwrap()).unwrap();
    let fixture = read_json(env!("CARGO_MANIFEST_DIR"), "tokenizer.json");
    let max_length = fixture["max_length"].as_u64().unwrap() as usize;
    let cases = fixture["cases"].as_array().unwrap();
    assert!(cases.len() >= 30);
    for case in cases {
        let prompt = case["prompt"].as_str().unwrap();
        let want: Vec<u32> = case["ids"]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_u64().unwrap() as u32)
            .collect();
        let got = tokenizer.encode(&[prompt], Some(max_length)).unwrap();
        assert_eq!(&got.ids[..got.lengths[0]], want, "{prompt:?}");
        assert!(got.ids[got.lengths[0]..].iter().all(|&id| id == 0) && got.ids.len() == max_length);
    }
}

#[test]
fn a_file_that_is_no_tokenizer_is_refused() {
    assert!(Tokenizer::from_json(b"{}").is_err());
    assert!(Tokenizer::from_json(&[0xff, 0xfe]).is_err());
}
