//! The control branch: hints beside the text, with scales, in batches, and what does not fit.

use kinora_models::wan::{Control, Timesteps, Transformer};
use kinora_tensor::Tensor;
use kinora_testkit::{Golden, assert_close};

use crate::common::{Comparison, MAIN, TIME, assert_output, entry, of_entries, stacked, tiny};

const CONTROL: [&str; 8] = [
    "blocks.2",
    "vace_patch_embedding",
    "vace_blocks.0.proj_in",
    "vace_blocks.0.self_attn",
    "vace_blocks.0.hint",
    "vace_blocks.1.self_attn",
    "vace_blocks.1.tokens",
    "vace_blocks.1.hint",
];

fn control(golden: &Golden, run: &str) -> Control {
    Control {
        latents: golden.tensor("control"),
        scales: golden.tensor(&format!("{run}.scales")).as_slice().to_vec(),
    }
}

fn compare(run: &str, expected: &[&str]) {
    let (golden, transformer) = tiny("wan_vace_tiny");
    let latents = golden.tensor("hidden_states");
    let prefix = format!("{run}.");
    let mut comparison = Comparison::with(&golden, &prefix);
    let see = &mut |name: &str, got: &Tensor| comparison.see(name, got);
    let context = transformer
        .embed_context_tapped(&golden.tensor("context"), None, see)
        .unwrap();
    let output = transformer
        .forward_controlled_tapped(
            &latents,
            &of_entries(&transformer, &latents, &golden.tensor("timestep")),
            &context,
            Some(&control(&golden, run)),
            see,
        )
        .unwrap();
    comparison.assert_all(expected);
    assert_output(&golden, &format!("{run}.output"), &output);
}

#[test]
fn hints_in_full_give_the_reference_output() {
    compare("full", &[&MAIN[..], &TIME[..], &CONTROL[..]].concat());
}

#[test]
fn scaled_hints_give_the_reference_output() {
    // The reference shows what comes after the first hint: the rest is that of the other run.
    compare("scaled", &["blocks.1", "blocks.2", "proj_out"]);
}

fn velocity(
    transformer: &Transformer,
    latents: &Tensor,
    timesteps: &Timesteps,
    text: &Tensor,
    control: Option<&Control>,
) -> Tensor {
    let context = transformer.embed_context(text, None).unwrap();
    transformer
        .forward_controlled(latents, timesteps, &context, control)
        .unwrap()
}

#[test]
fn without_control_and_with_hints_of_no_weight_the_model_is_the_one_below() {
    let (golden, transformer) = tiny("wan_vace_tiny");
    let (latents, text) = (golden.tensor("hidden_states"), golden.tensor("context"));
    let timesteps = of_entries(&transformer, &latents, &golden.tensor("timestep"));
    let none = velocity(&transformer, &latents, &timesteps, &text, None);
    let mut silent = control(&golden, "full");
    silent.scales.fill(0.0);
    let silent = velocity(&transformer, &latents, &timesteps, &text, Some(&silent));
    assert_close("silent", silent.as_slice(), none.as_slice(), 1e-6);
    let context = transformer.embed_context(&text, None).unwrap();
    let plain = transformer.forward(&latents, &timesteps, &context).unwrap();
    assert!(plain.as_slice() == none.as_slice());
}

#[test]
fn one_control_steers_a_batch_of_two_with_clean_tokens() {
    let (golden, transformer) = tiny("wan_vace_tiny");
    let latents = entry(&golden.tensor("hidden_states"), 0);
    let (cond, uncond) = (entry(&golden.tensor("context"), 0), entry(&golden.tensor("context"), 1));
    let mut steering = control(&golden, "scaled");
    steering.latents = entry(&steering.latents, 1);
    let is_clean: Vec<bool> = (0..18).map(|token| token < 6).collect();
    let one = Timesteps::with_clean(640.0, &is_clean);
    let two = Timesteps::with_clean(640.0, &is_clean.repeat(2));

    let single: Vec<f32> = [&cond, &uncond]
        .iter()
        .flat_map(|text| {
            velocity(&transformer, &latents, &one, text, Some(&steering))
                .as_slice()
                .to_vec()
        })
        .collect();
    let (latents, text) = (stacked(&latents, &latents), stacked(&cond, &uncond));
    let shared = velocity(&transformer, &latents, &two, &text, Some(&steering));
    assert_close("shared", shared.as_slice(), &single, 1e-6);
    steering.latents = stacked(&steering.latents, &steering.latents);
    let own = velocity(&transformer, &latents, &two, &text, Some(&steering));
    assert_close("own", own.as_slice(), &single, 1e-6);
}

#[test]
fn control_that_does_not_fit_is_refused() {
    let (golden, transformer) = tiny("wan_vace_tiny");
    let (latents, text) = (golden.tensor("hidden_states"), golden.tensor("context"));
    let timesteps = of_entries(&transformer, &latents, &golden.tensor("timestep"));
    let context = transformer.embed_context(&text, None).unwrap();
    let error = |transformer: &Transformer, control: Control| {
        transformer
            .forward_controlled(&latents, &timesteps, &context, Some(&control))
            .unwrap_err()
            .to_string()
    };
    let mut few = control(&golden, "full");
    few.scales.pop();
    let text = error(&transformer, few);
    assert!(text.contains("1 scales for 2 control blocks"), "{text}");
    let mut short = control(&golden, "full");
    short.latents = Tensor::zeros([2, 96, 2, 4, 6]).unwrap();
    let text = error(&transformer, short);
    assert!(text.contains("[2 or 1, 96, 3, 4, 6]"), "{text}");
    let (_, plain) = tiny("wan_tiny");
    let text = error(&plain, control(&golden, "full"));
    assert!(text.contains("no control branch"), "{text}");
}
