//! The transformer against diffusers' `WanTransformer3DModel` in a tiny configuration, tap by tap.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a helper that fails fails its test

use kinora_kernels::Precision;
use kinora_models::wan::{Timesteps, Transformer};
use kinora_tensor::Tensor;
use kinora_testkit::{Golden, assert_close};
use kinora_weights::Checkpoint;

fn tiny() -> (Golden, Transformer) {
    let golden = Golden::open(env!("CARGO_MANIFEST_DIR"), "wan_tiny");
    let checkpoint = Checkpoint::from_bytes("wan_tiny", golden.checkpoint_bytes("weights.")).unwrap();
    let transformer = Transformer::load(&checkpoint, golden.meta("config"), Precision::F32).unwrap();
    (golden, transformer)
}

/// One row for each distinct value, and the row of each token.
fn distinct(per_token: &[f32]) -> Timesteps {
    let mut distinct: Vec<f32> = Vec::new();
    let row_of_token = per_token
        .iter()
        .map(|t| {
            let row = distinct.iter().position(|d| d == t).unwrap_or_else(|| {
                distinct.push(*t);
                distinct.len() - 1
            });
            row as u32
        })
        .collect();
    Timesteps { distinct, row_of_token }
}

/// The fixture has one timestep for each batch entry; the tokens of an entry share it.
fn scalar_timesteps(golden: &Golden, transformer: &Transformer) -> Vec<f32> {
    let tokens: usize = transformer
        .token_grid(&golden.tensor("hidden_states"))
        .unwrap()
        .iter()
        .product();
    golden
        .tensor("scalar.timestep")
        .as_slice()
        .iter()
        .flat_map(|&t| vec![t; tokens])
        .collect()
}

fn compare(golden: &Golden, transformer: &Transformer, run: &str, per_token: &[f32]) {
    let timesteps = distinct(per_token);
    let context = transformer.embed_context(&golden.tensor("context")).unwrap();
    let mut compared = Vec::new();
    let mut tap = |name: &str, got: &Tensor| {
        // Time embeddings exist once for each distinct timestep here and once for each token (or entry) there.
        if name == "temb" || name == "time_proj" {
            return;
        }
        let reference = format!("{run}.{name}");
        assert_close(
            &reference,
            got.as_slice(),
            golden.tensor(&reference).as_slice(),
            golden.tolerance(),
        );
        compared.push(name.to_owned());
    };
    let output = transformer
        .forward_tapped(&golden.tensor("hidden_states"), &timesteps, &context, &mut tap)
        .unwrap();
    assert_eq!(compared, ["patch_embedding", "blocks.0", "blocks.1", "proj_out"]);
    let want = golden.tensor(&format!("{run}.output"));
    assert_eq!(output.dims(), want.dims());
    assert_close("output", output.as_slice(), want.as_slice(), golden.tolerance());
}

#[test]
fn one_timestep_for_each_batch_entry_gives_the_reference_output() {
    let (golden, transformer) = tiny();
    let per_token = scalar_timesteps(&golden, &transformer);
    compare(&golden, &transformer, "scalar", &per_token);
}

#[test]
fn a_timestep_for_each_token_gives_the_reference_output() {
    let (golden, transformer) = tiny();
    compare(
        &golden,
        &transformer,
        "per_token",
        golden.tensor("per_token.timestep").as_slice(),
    );
}

#[test]
fn time_embeddings_agree_with_the_reference() {
    let (golden, transformer) = tiny();
    let per_token = scalar_timesteps(&golden, &transformer);
    let context = transformer.embed_context(&golden.tensor("context")).unwrap();
    let mut compared = 0;
    let mut tap = |name: &str, got: &Tensor| {
        if name == "temb" || name == "time_proj" {
            let want = golden.tensor(&format!("scalar.{name}"));
            assert_close(name, got.as_slice(), want.as_slice(), golden.tolerance());
            compared += 1;
        }
    };
    transformer
        .forward_tapped(
            &golden.tensor("hidden_states"),
            &distinct(&per_token),
            &context,
            &mut tap,
        )
        .unwrap();
    assert_eq!(compared, 2);
}

#[test]
fn latents_and_timesteps_that_do_not_fit_are_refused() {
    let (golden, transformer) = tiny();
    let context = transformer.embed_context(&golden.tensor("context")).unwrap();
    let odd = Tensor::zeros([2, 4, 3, 5, 10]).unwrap();
    let error = transformer
        .forward(&odd, &Timesteps::uniform(1.0, 90), &context)
        .unwrap_err()
        .to_string();
    assert!(error.contains("divisible by patches"), "{error}");
    let latents = golden.tensor("hidden_states");
    assert!(
        transformer
            .forward(&latents, &Timesteps::uniform(1.0, 7), &context)
            .is_err()
    );
    assert!(transformer.embed_context(&Tensor::zeros([2, 5, 17]).unwrap()).is_err());
}
