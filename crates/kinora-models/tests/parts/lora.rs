//! LoRAs of every dialect on the tiny Wan transformer, against diffusers' class with the changed weights.

use std::path::PathBuf;

use kinora_kernels::Precision;
use kinora_models::wan::{Timesteps, Transformer};
use kinora_tensor::Tensor;
use kinora_testkit::{Golden, assert_close, nmse};
use kinora_weights::{Checkpoint, Error, Lora, LoraError, LoraUse, QuantKind, quantize, recognise_as};

fn dialects() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dialects")
}

fn base() -> Checkpoint {
    Checkpoint::open(&dialects().join("diffusers/diffusion_pytorch_model.safetensors.index.json")).unwrap()
}

fn lora(name: &str) -> Lora {
    Lora::open(&dialects().join(format!("lora_{name}.safetensors"))).unwrap()
}

/// The golden's inputs through a transformer.
fn run(golden: &Golden, checkpoint: &Checkpoint, precision: Precision) -> Tensor {
    let transformer = Transformer::load(checkpoint, golden.meta("config"), precision).unwrap();
    let latents = golden.tensor("hidden_states");
    let tokens = transformer.token_grid(&latents).unwrap().iter().product();
    let timesteps = Timesteps::uniform(golden.tensor("timestep").as_slice()[0], tokens);
    let context = transformer.embed_context(&golden.tensor("context"), None).unwrap();
    transformer.forward(&latents, &timesteps, &context).unwrap()
}

/// Compares with the golden's tensor `output`.
fn compare(checkpoint: &Checkpoint, output: &str) {
    let golden = Golden::open(env!("CARGO_MANIFEST_DIR"), "wan_dialects");
    let got = run(&golden, checkpoint, Precision::F32);
    assert_close(
        output,
        got.as_slice(),
        golden.tensor(output).as_slice(),
        golden.tolerance(),
    );
}

/// Both ways of taking part.
fn compare_both(loras: &[(Lora, f32)], output: &str) {
    for how in [LoraUse::Merged, LoraUse::Branch] {
        let checkpoint = base().with_loras_as(loras, how).unwrap();
        assert!(checkpoint.lora_notes().is_empty());
        compare(&checkpoint, output);
    }
}

#[test]
fn without_a_lora_the_model_is_as_it_was() {
    compare(&base(), "output");
    compare(&base().with_loras(&[]).unwrap(), "output");
    compare(&base().with_loras(&[(lora("kohya"), 0.0)]).unwrap(), "output");
}

#[test]
fn every_dialect_gives_the_reference_output() {
    for dialect in ["kohya", "diffusers", "original"] {
        let lora = lora(dialect);
        assert_eq!((lora.layers(), lora.rank()), (20, 4), "{dialect}");
        compare_both(&[(lora, 1.0)], "output.lora");
    }
}

#[test]
fn the_strength_scales_the_change() {
    for dialect in ["kohya", "diffusers", "original"] {
        compare_both(&[(lora(dialect), 0.7)], "output.lora_0.7");
    }
}

#[test]
fn whole_differences_of_norms_biases_and_the_head_are_added() {
    compare_both(&[(lora("lightx2v"), 1.0)], "output.lora_lightx2v");
}

#[test]
fn two_loras_add_up_together_and_one_after_the_other() {
    let pair = [(lora("kohya"), 0.8), (lora("lightx2v"), 0.5)];
    compare_both(&pair, "output.lora_two");
    let after = base().with_loras(&pair[..1]).unwrap().with_loras(&pair[1..]).unwrap();
    compare(&after, "output.lora_two");
}

#[test]
fn a_negative_strength_takes_back_what_a_positive_one_gave() {
    let opposite = [(lora("original"), 1.3), (lora("diffusers"), -1.3)];
    compare_both(&opposite, "output");
}

#[test]
fn rounded_weights_take_loras_too() {
    for precision in [Precision::Bf16, Precision::Int8] {
        let golden = Golden::open(env!("CARGO_MANIFEST_DIR"), "wan_dialects");
        let error = |checkpoint: &Checkpoint, output: &str| {
            let got = run(&golden, checkpoint, precision);
            nmse(got.as_slice(), golden.tensor(output).as_slice())
        };
        let rounding = error(&base(), "output");
        for how in [LoraUse::Merged, LoraUse::Branch] {
            let changed = base().with_loras_as(&[(lora("kohya"), 1.0)], how).unwrap();
            let with_lora = error(&changed, "output.lora");
            println!("{precision:?} {how:?}: {with_lora:e}, without a LoRA {rounding:e}");
            // The change itself is 3e-2 and more. The base holds values that bf16 holds exactly, its sums with a LoRA do not.
            assert!(with_lora < 3e-4, "{precision:?} {how:?}: {with_lora:e}");
        }
    }
}

#[test]
fn files_of_every_kind_take_loras() {
    let golden = Golden::open(env!("CARGO_MANIFEST_DIR"), "wan_dialects");
    let changed = |file: &str, how| {
        let checkpoint = Checkpoint::open(&dialects().join(file)).unwrap();
        let found = recognise_as(&checkpoint, None, Some(golden.meta("config"))).unwrap();
        let checkpoint = checkpoint.in_diffusers_names(&found).unwrap();
        checkpoint.with_loras_as(&[(lora("kohya"), 1.0)], how).unwrap()
    };
    for file in ["wan_original.safetensors", "wan_comfy.safetensors", "wan_f16.gguf"] {
        compare(&changed(file, LoraUse::Merged), "output.lora");
    }
    // Rounded weights: near the reference, and both ways alike.
    let want = golden.tensor("output.lora");
    for file in [
        "wan_q8_0.gguf",
        "wan_q4_k.gguf",
        "wan_fp8_scaled.safetensors",
        "wan_int8.safetensors",
    ] {
        let merged = run(&golden, &changed(file, LoraUse::Merged), Precision::F32);
        let beside = run(&golden, &changed(file, LoraUse::Branch), Precision::F32);
        assert_close(file, beside.as_slice(), merged.as_slice(), golden.tolerance());
        let kept = run(&golden, &changed(file, LoraUse::Merged), Precision::Int8);
        let [floats, bytes] = [merged, kept].map(|got| nmse(got.as_slice(), want.as_slice()));
        println!("{file}: {floats:e}, in int8 {bytes:e}");
        assert!(floats < 5e-3 && bytes < 5e-3, "{file}: {floats:e}, in int8 {bytes:e}");
    }
}

#[test]
fn models_that_kinora_quantised_itself_run_and_take_loras() {
    let golden = Golden::open(env!("CARGO_MANIFEST_DIR"), "wan_dialects");
    let folder = tempfile::tempdir().unwrap();
    let index = dialects().join("diffusers/diffusion_pytorch_model.safetensors.index.json");
    for (kind, limit) in [(QuantKind::Int8, 5e-4), (QuantKind::F8E4M3, 2e-3)] {
        let path = folder.path().join("quantised.safetensors");
        quantize(&index, &path, kind, &mut |_| ()).unwrap();
        let quantised = Checkpoint::open(&path).unwrap();
        let changed = quantised.with_loras(&[(lora("original"), 1.0)]).unwrap();
        for precision in [Precision::F32, Precision::Int8] {
            for (checkpoint, output) in [(&quantised, "output"), (&changed, "output.lora")] {
                let got = run(&golden, checkpoint, precision);
                let error = nmse(got.as_slice(), golden.tensor(output).as_slice());
                println!("{kind:?} in {precision:?}, {output}: {error:e}");
                assert!(error < limit, "{kind:?} in {precision:?}, {output}: {error:e}");
            }
        }
    }
}

#[test]
fn one_that_does_not_fit_is_refused_by_name() {
    let error = base().with_loras(&[(lora("misfit"), 1.0)]).unwrap_err();
    let Error::Lora(fit) = &error else {
        unreachable!("{error}")
    };
    let LoraError::Misfit {
        key,
        got,
        tensor,
        expected,
        ..
    } = &**fit
    else {
        unreachable!("{error}")
    };
    assert_eq!(key, "lora_unet_blocks_1_ffn_2.lora_down.weight");
    assert_eq!((got.as_slice(), expected.as_slice()), (&[4, 255][..], &[32, 256][..]));
    assert_eq!(tensor, "blocks.1.ffn.net.2.weight");
    let text = error.to_string();
    assert!(
        text.contains("lora_misfit.safetensors") && text.contains("hint:"),
        "{text}"
    );
}
