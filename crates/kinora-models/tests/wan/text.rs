//! Text to video: one timestep for an entry, or one for each token.

use kinora_models::wan::{Timesteps, Transformer};
use kinora_tensor::Tensor;
use kinora_testkit::Golden;

use crate::common::{Comparison, MAIN, TIME, assert_output, distinct, of_entries, tiny};

fn compare(golden: &Golden, transformer: &Transformer, run: &str, timesteps: &Timesteps, expected: &[&str]) {
    let prefix = format!("{run}.");
    let mut comparison = Comparison::with(golden, &prefix);
    let see = &mut |name: &str, got: &Tensor| {
        // For each token there, for each distinct timestep here.
        if run == "scalar" || !TIME.contains(&name) {
            comparison.see(name, got);
        }
    };
    let context = transformer
        .embed_context_tapped(&golden.tensor("context"), None, see)
        .unwrap();
    let output = transformer
        .forward_tapped(&golden.tensor("hidden_states"), timesteps, &context, see)
        .unwrap();
    comparison.assert_all(expected);
    assert_output(golden, &format!("{run}.output"), &output);
}

#[test]
fn one_timestep_for_each_batch_entry_gives_the_reference_output() {
    let (golden, transformer) = tiny("wan_tiny");
    let timesteps = of_entries(
        &transformer,
        &golden.tensor("hidden_states"),
        &golden.tensor("scalar.timestep"),
    );
    compare(
        &golden,
        &transformer,
        "scalar",
        &timesteps,
        &[&MAIN[..], &TIME[..]].concat(),
    );
}

#[test]
fn a_timestep_for_each_token_gives_the_reference_output() {
    let (golden, transformer) = tiny("wan_tiny");
    let timesteps = distinct(golden.tensor("per_token.timestep").as_slice());
    compare(&golden, &transformer, "per_token", &timesteps, &MAIN);
}

#[test]
fn latents_and_timesteps_that_do_not_fit_are_refused() {
    let (golden, transformer) = tiny("wan_tiny");
    let context = transformer.embed_context(&golden.tensor("context"), None).unwrap();
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
    let wide = Tensor::zeros([2, 5, 17]).unwrap();
    assert!(transformer.embed_context(&wide, None).is_err());
}
