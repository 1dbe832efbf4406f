//! The judge against its PyTorch original (`training/toybox/judge.py`) in a tiny configuration.

use kinora_models::judge::{Head, Judge};
use kinora_tensor::Tensor;
use kinora_testkit::{Golden, assert_close};
use kinora_weights::Checkpoint;

fn tiny() -> (Golden, Judge) {
    let golden = Golden::open(env!("CARGO_MANIFEST_DIR"), "judge_tiny");
    let checkpoint = Checkpoint::from_bytes("judge_tiny", golden.checkpoint_bytes("weights.")).unwrap();
    let judge = Judge::load(&checkpoint, golden.meta("config")).unwrap();
    (golden, judge)
}

#[test]
fn every_part_gives_the_values_of_the_reference() {
    let (golden, judge) = tiny();
    let mut compared = 0;
    let mut tap = |name: &str, got: &Tensor| {
        let want = golden.tensor(&format!("taps.{name}"));
        assert_eq!(got.dims(), want.dims(), "{name}");
        assert_close(name, got.as_slice(), want.as_slice(), golden.tolerance());
        compared += 1;
    };
    let judgement = judge.forward_tapped(&golden.tensor("frames"), &mut tap).unwrap();
    assert_eq!(compared, 7);
    let features = golden.tensor("features");
    assert_eq!(judgement.features.dims(), features.dims());
    assert_close(
        "features",
        judgement.features.as_slice(),
        features.as_slice(),
        golden.tolerance(),
    );
    for head in Head::ALL {
        let want = golden.tensor(&format!("logits.{}", head.name()));
        assert_close(head.name(), judgement.logits(head), want.as_slice(), golden.tolerance());
    }
}

#[test]
fn a_clip_of_another_size_is_refused() {
    let (_, judge) = tiny();
    let error = judge.forward(&Tensor::zeros([5, 48, 48, 3]).unwrap()).unwrap_err();
    assert!(error.to_string().contains("[5, 48, 64, 3]"), "{error}");
}

#[test]
fn a_folder_is_read_and_a_missing_file_is_named() {
    let golden = Golden::open(env!("CARGO_MANIFEST_DIR"), "judge_tiny");
    let folder = tempfile::tempdir().unwrap();
    let text = Judge::open(folder.path()).err().unwrap().to_string();
    assert!(text.contains("config.json") && text.contains("hint:"), "{text}");
    std::fs::write(folder.path().join("config.json"), golden.meta("config")).unwrap();
    let text = Judge::open(folder.path()).err().unwrap().to_string();
    assert!(text.contains("model.safetensors"), "{text}");
    let weights = golden.checkpoint_bytes("weights.");
    std::fs::write(folder.path().join("model.safetensors"), weights).unwrap();
    assert_eq!(Judge::open(folder.path()).unwrap().config().classes.actor[4], "owl");
}
