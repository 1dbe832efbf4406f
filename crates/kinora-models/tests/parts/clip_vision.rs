//! The picture encoder of Wan 2.1 against transformers' `CLIPVisionModel` in tiny configurations.

use kinora_kernels::Precision;
use kinora_models::clip_vision::{ClipVision, pixels};
use kinora_tensor::Tensor;
use kinora_testkit::{Golden, Json, assert_close, nmse};
use kinora_weights::Checkpoint;

fn golden() -> Golden {
    Golden::open(env!("CARGO_MANIFEST_DIR"), "clip_vision_tiny")
}

fn tiny(golden: &Golden, precision: Precision) -> ClipVision {
    let checkpoint = Checkpoint::from_bytes("clip_vision_tiny", golden.checkpoint_bytes("weights.")).unwrap();
    ClipVision::load(&checkpoint, golden.meta("config"), precision).unwrap()
}

fn frame(golden: &Golden, name: &str) -> Tensor {
    let values: Vec<f32> = golden.bytes(name).iter().map(|&b| f32::from(b) / 255.0).collect();
    Tensor::from_slice(&values, golden.shape(name)).unwrap()
}

#[test]
fn every_layer_gives_the_reference_s_tokens() {
    let golden = golden();
    let model = tiny(&golden, Precision::F32);
    let (first, second) = (frame(&golden, "picture.2"), frame(&golden, "picture.4"));
    let mut compared = 0;
    let mut tap = |name: &str, got: &Tensor| {
        let want = golden.tensor(name);
        assert_eq!(got.dims(), want.dims());
        assert_close(name, got.as_slice(), want.as_slice(), golden.tolerance());
        compared += 1;
    };
    let tokens = model.embed_tapped(&[&first, &second], &mut tap).unwrap();
    assert_eq!(compared, 4);
    let want = golden.tensor("embeds");
    assert_close("embeds", tokens.as_slice(), want.as_slice(), golden.tolerance());
    // Alone, each has the same tokens.
    let alone = model.embed(&second).unwrap();
    assert_eq!(alone.dims(), [1, 17, 36]);
    assert_close(
        "alone",
        alone.as_slice(),
        &want.as_slice()[17 * 36..],
        golden.tolerance(),
    );
    assert_eq!(model.embed_all(&[]).unwrap().dims(), [0, 17, 36]);
}

#[test]
fn pixels_are_the_reference_s() {
    let golden = golden();
    // [2, 3, 28, 28]
    let want = golden.tensor("pixels");
    for (i, name) in ["picture.2", "picture.4"].into_iter().enumerate() {
        let got = pixels(&frame(&golden, name), 28).unwrap();
        let want: Vec<f32> = (0..28 * 28 * 3)
            .map(|j| want.as_slice()[(i * 3 + j % 3) * 28 * 28 + j / 3])
            .collect();
        assert_close(name, got.as_slice(), &want, 1e-6);
    }
}

#[test]
fn the_image_of_a_whole_run_has_the_reference_s_tokens() {
    // Names without `vision_model.` in front, as transformers 5 has them in memory.
    let golden = Golden::open(env!("CARGO_MANIFEST_DIR"), "wan_pipeline_i2v21_tiny");
    let configs: Json = serde_json::from_str(golden.meta("configs")).unwrap();
    let checkpoint = Checkpoint::from_bytes("clip", golden.checkpoint_bytes("image_encoder.")).unwrap();
    let model = ClipVision::load(&checkpoint, &configs["image_encoder"].to_string(), Precision::F32).unwrap();
    let tokens = model.embed(&frame(&golden, "image")).unwrap();
    let want = golden.tensor("clip.embeds");
    assert_eq!(tokens.dims(), want.dims());
    assert_close("clip.embeds", tokens.as_slice(), want.as_slice(), golden.tolerance());
}

#[test]
fn smaller_precisions_stay_close() {
    let golden = golden();
    let picture = frame(&golden, "picture.2");
    let exact = tiny(&golden, Precision::F32).embed(&picture).unwrap();
    for (precision, bound) in [(Precision::Bf16, 5e-5), (Precision::Int8, 1e-3)] {
        let got = tiny(&golden, precision).embed(&picture).unwrap();
        let error = nmse(got.as_slice(), exact.as_slice());
        println!("{}: {error:.1e}", precision.name());
        assert!(error > 0.0 && error < bound, "{}: {error:e}", precision.name());
    }
}

#[test]
fn files_that_do_not_fit_are_refused() {
    let golden = golden();
    let config = golden.meta("config");
    let open = |bytes: Vec<u8>, config: &str| {
        let checkpoint = Checkpoint::from_bytes("clip", bytes).unwrap();
        ClipVision::load(&checkpoint, config, Precision::F32)
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default()
    };
    let weights = || golden.checkpoint_bytes("weights.");
    assert_eq!(open(weights(), config), "");
    let fewer = config.replace("\"num_hidden_layers\": 4", "\"num_hidden_layers\": 3");
    let error = open(weights(), &fewer);
    assert!(error.contains("vision_model.encoder.layers.3."), "{error}");
    let more = config.replace("\"num_hidden_layers\": 4", "\"num_hidden_layers\": 5");
    let error = open(weights(), &more);
    assert!(error.contains("vision_model.encoder.layers.4."), "{error}");
    let error = open(weights(), &config.replace("\"image_size\": 28", "\"image_size\": 35"));
    assert!(error.contains("position_embedding"), "{error}");
    // Another model altogether.
    let error = open(golden.checkpoint_bytes("picture."), config);
    assert!(error.contains("vision_model.embeddings.class_embedding"), "{error}");
}
