//! Token ids of umT5's kind of tokenizer against sentencepiece.

use kinora_models::umt5::{GgufPieces, Tokenizer};
use kinora_testkit::{Golden, Json};
use kinora_weights::Checkpoint;

fn golden() -> Golden {
    Golden::open(env!("CARGO_MANIFEST_DIR"), "umt5_tokenizer")
}

/// Prompts and the ids that the model of that name gives them.
fn cases(golden: &Golden, model: &str) -> Vec<(String, Vec<u32>)> {
    let cases: Vec<Json> = serde_json::from_str(golden.meta("cases")).unwrap();
    let ids = |case: &Json| {
        case[model]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_u64().unwrap() as u32)
            .collect()
    };
    cases
        .iter()
        .map(|case| (case["prompt"].as_str().unwrap().to_owned(), ids(case)))
        .collect()
}

fn with_end(ids: &[u32]) -> Vec<u32> {
    [ids, &[1]].concat()
}

#[test]
fn prompts_become_sentencepiece_s_ids() {
    let golden = golden();
    for model in ["spiece_model", "plain_model"] {
        let tokenizer = Tokenizer::from_sentencepiece(&golden.bytes(model)).unwrap();
        let cases = cases(&golden, model);
        assert!(cases.len() >= 40);
        for (prompt, ids) in cases {
            let tokens = tokenizer.tokens(&prompt, 512).unwrap();
            assert_eq!(tokens.ids, with_end(&ids), "{model}: {prompt:?}");
            assert!(!tokens.is_cut);
        }
    }
}

#[test]
fn a_long_text_is_cut_and_keeps_its_end_token() {
    let golden = golden();
    let tokenizer = Tokenizer::from_sentencepiece(&golden.bytes("spiece_model")).unwrap();
    let (prompt, ids) = &cases(&golden, "spiece_model")[3];
    assert!(ids.len() > 4);
    for (limit, want, is_cut) in [
        (ids.len() + 1, with_end(ids), false),
        (ids.len(), with_end(&ids[..ids.len() - 1]), true),
        (3, with_end(&ids[..2]), true),
        (1, vec![1], true),
    ] {
        let tokens = tokenizer.tokens(prompt, limit).unwrap();
        assert_eq!((tokens.ids, tokens.is_cut), (want, is_cut), "{limit}");
    }
    let long = "a red ball ".repeat(600);
    let tokens = tokenizer.tokens(&long, 512).unwrap();
    assert!(tokens.ids.len() == 512 && tokens.ids[511] == 1 && tokens.is_cut);
}

#[test]
fn the_model_inside_a_checkpoint_is_the_one_of_its_file() {
    let golden = golden();
    let checkpoint = Checkpoint::from_bytes("comfy", golden.checkpoint_bytes("")).unwrap();
    let tokenizer = Tokenizer::from_sentencepiece(checkpoint.require("spiece_model").unwrap().bytes).unwrap();
    let (prompt, ids) = &cases(&golden, "spiece_model")[5];
    assert_eq!(tokenizer.tokens(prompt, 512).unwrap().ids, with_end(ids));
}

/// The pieces of a model file, read by hand: each is field 1, of text (1), score (2) and type (3, 1 if missing).
fn pieces(model: &[u8]) -> (Vec<String>, Vec<f32>, Vec<i32>) {
    let (mut tokens, mut scores, mut types) = (Vec::new(), Vec::new(), Vec::new());
    let mut at = 0;
    while model[at] == 0x0a {
        let end = at + 2 + model[at + 1] as usize;
        let (mut piece, mut kind) = (&model[at + 2..end], 1);
        let length = piece[1] as usize;
        tokens.push(String::from_utf8(piece[2..2 + length].to_vec()).unwrap());
        piece = &piece[2 + length..];
        scores.push(f32::from_le_bytes(piece[1..5].try_into().unwrap()));
        if let [0x18, number] = piece[5..] {
            kind = i32::from(number);
        }
        types.push(kind);
        at = end;
    }
    (tokens, scores, types)
}

#[test]
fn the_arrays_of_a_gguf_file_give_the_same_ids() {
    let golden = golden();
    let model = golden.bytes("plain_model");
    let (tokens, scores, types) = pieces(&model);
    assert_eq!(tokens.len(), 523);
    let arrays = GgufPieces {
        tokens: &tokens,
        scores: &scores,
        types: &types,
        charsmap: None,
        add_space_prefix: false,
        remove_extra_spaces: false,
    };
    let tokenizer = Tokenizer::from_gguf(arrays).unwrap();
    for (prompt, ids) in cases(&golden, "plain_model") {
        assert_eq!(
            tokenizer.tokens(&prompt, 512).unwrap().ids,
            with_end(&ids),
            "{prompt:?}"
        );
    }
    // What fills a table up to its size is never found in text.
    let (mut padded, mut more, mut kinds) = (tokens.clone(), scores.clone(), types.clone());
    padded.push("red ball".into());
    more.push(0.0);
    kinds.push(5);
    let arrays = GgufPieces {
        tokens: &padded,
        scores: &more,
        types: &kinds,
        ..arrays
    };
    let same = Tokenizer::from_gguf(arrays).unwrap();
    let text = "A red ball";
    assert_eq!(same.tokens(text, 512).unwrap(), tokenizer.tokens(text, 512).unwrap());
    // Arrays that contradict each other.
    let refused = |arrays: GgufPieces| Tokenizer::from_gguf(arrays).err().unwrap().to_string();
    let fewer = GgufPieces {
        scores: &scores,
        ..arrays
    };
    assert!(refused(fewer).contains("[524, 523, 524]"));
    let mut strange = kinds.clone();
    strange[7] = 9;
    let unknown = GgufPieces {
        types: &strange,
        ..arrays
    };
    assert!(refused(unknown).contains("unknown type 9"));
}

/// `tokenizer.json` as transformers writes it for such a model, without a character map.
fn json(model: &[u8]) -> Vec<u8> {
    let (tokens, scores, _) = pieces(model);
    let vocab: Vec<_> = tokens
        .iter()
        .zip(scores)
        .map(|(token, score)| serde_json::json!([token, score]))
        .collect();
    let special = |id: u32, content: &str| {
        serde_json::json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true})
    };
    let metaspace = serde_json::json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always",
        "split": true});
    let json = serde_json::json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
        "padding": null,
        "added_tokens": [special(0, "<pad>"), special(1, "</s>"), special(2, "<unk>")],
        "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}},
        "decoder": null,
        "model": {"type": "Unigram", "unk_id": 2, "byte_fallback": true, "vocab": vocab},
    });
    serde_json::to_vec(&json).unwrap()
}

#[test]
fn tokenizer_json_gives_the_same_ids_for_text_that_needs_no_map() {
    let golden = golden();
    let model = golden.bytes("spiece_model");
    let tokenizer = Tokenizer::from_json(&json(&model)).unwrap();
    let mut compared = 0;
    for (prompt, ids) in cases(&golden, "spiece_model") {
        let is_plain = |c: char| c.is_ascii_graphic() || c == ' ' || ('а'..='я').contains(&c) || "éèäöüßñí".contains(c);
        if prompt.chars().all(is_plain) && !prompt.contains('<') {
            assert_eq!(
                tokenizer.tokens(&prompt, 512).unwrap().ids,
                with_end(&ids),
                "{prompt:?}"
            );
            compared += 1;
        }
    }
    assert!(compared >= 10, "{compared}");
    // The file's own limit of 4 is set aside, ours is kept.
    let tokens = tokenizer.tokens("A red ball rolls over grass.", 5).unwrap();
    assert!(tokens.ids.len() == 5 && tokens.ids[4] == 1 && tokens.is_cut);
}

#[test]
fn files_that_are_no_tokenizer_are_refused() {
    let golden = golden();
    let model = golden.bytes("spiece_model");
    for bytes in [&b"{}"[..], &[], b"GGUF....", &model[..100_000], &model[..1000]] {
        assert!(Tokenizer::from_sentencepiece(bytes).is_err());
        assert!(Tokenizer::from_json(bytes).is_err());
    }
    // The first piece is <pad>; without </s> nothing could end a text.
    let at = model.windows(4).position(|w| w == b"</s>").unwrap();
    let mut without = model.clone();
    without[at..at + 4].copy_from_slice(b"</x>");
    let error = Tokenizer::from_sentencepiece(&without).err().unwrap().to_string();
    assert!(error.contains("</s>"), "{error}");
}
