//! Image to video: a picture beside the text, two pictures, and a picture in the latents alone.

use kinora_kernels::Precision;
use kinora_models::wan::{Timesteps, Transformer};
use kinora_tensor::Tensor;
use kinora_testkit::{Golden, assert_close};
use kinora_weights::Checkpoint;

use crate::common::{Comparison, MAIN, TIME, assert_output, entry, of_entries, open, stacked, tiny, with_tensor};

const PICTURE: [&str; 5] = [
    "image_embedding.norm1",
    "image_embedding.ff",
    "image_embedding",
    "blocks.0.cross_attn.image_keys",
    "blocks.0.cross_attn.image_values",
];

fn timesteps(golden: &Golden, transformer: &Transformer) -> Timesteps {
    of_entries(transformer, &golden.tensor("hidden_states"), &golden.tensor("timestep"))
}

fn compare(name: &str, expected: &[&str]) {
    let (golden, transformer) = tiny(name);
    let mut comparison = Comparison::with(&golden, "");
    let see = &mut |name: &str, got: &Tensor| comparison.see(name, got);
    let image = golden.has("image_context").then(|| golden.tensor("image_context"));
    let context = transformer
        .embed_context_tapped(&golden.tensor("context"), image.as_ref(), see)
        .unwrap();
    let output = transformer
        .forward_tapped(
            &golden.tensor("hidden_states"),
            &timesteps(&golden, &transformer),
            &context,
            see,
        )
        .unwrap();
    comparison.assert_all(expected);
    assert_output(&golden, "output", &output);
}

#[test]
fn a_picture_beside_the_text_gives_the_reference_output() {
    compare("wan_i2v21_tiny", &[&MAIN[..], &TIME[..], &PICTURE[..]].concat());
}

#[test]
fn a_first_and_a_last_frame_give_the_reference_output() {
    compare("wan_flf21_tiny", &[&MAIN[..], &TIME[..], &PICTURE[..]].concat());
}

#[test]
fn a_picture_in_the_latents_alone_gives_the_reference_output() {
    compare("wan_i2v22_tiny", &[&MAIN[..], &TIME[..]].concat());
}

/// What guidance asks for: two texts, the same latents, the same picture, in one batch or one after the other. Tokens of
/// the first frame are clean.
fn guidance_agrees(name: &str, picture: impl Fn(&Tensor) -> Tensor) {
    let (golden, transformer) = tiny(name);
    let latents = entry(&golden.tensor("hidden_states"), 0);
    let image = golden
        .has("image_context")
        .then(|| picture(&golden.tensor("image_context")));
    let cond = entry(&golden.tensor("context"), 0);
    let uncond = {
        let mut text = cond.try_clone().unwrap();
        text.as_mut_slice().iter_mut().for_each(|v| *v = 0.5 - *v);
        text
    };
    let is_clean: Vec<bool> = (0..18).map(|token| token < 6).collect();
    let one = Timesteps::with_clean(640.0, &is_clean);
    let two = Timesteps::with_clean(640.0, &is_clean.repeat(2));

    let both = stacked(&cond, &uncond);
    let context = transformer.embed_context(&both, image.as_ref()).unwrap();
    let batched = transformer
        .forward(&stacked(&latents, &latents), &two, &context)
        .unwrap();
    assert_eq!(batched.dims(), &[2, 16, 3, 4, 6]);

    let mut single = Vec::new();
    for text in [&cond, &uncond] {
        let context = transformer.embed_context(text, image.as_ref()).unwrap();
        let velocity = transformer.forward(&latents, &one, &context).unwrap();
        single.extend_from_slice(velocity.as_slice());
    }
    assert_close("batched", batched.as_slice(), &single, 1e-6);
    let (a, b) = single.split_at(single.len() / 2);
    let apart = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart > 0.01, "the texts change nothing: {apart}");
}

#[test]
fn guidance_in_a_batch_is_guidance_one_after_the_other() {
    guidance_agrees("wan_i2v21_tiny", |image| entry(image, 1));
    guidance_agrees("wan_flf21_tiny", |image| image.try_clone().unwrap());
    guidance_agrees("wan_i2v22_tiny", |image| image.try_clone().unwrap());
}

#[test]
fn pictures_that_do_not_fit_are_refused() {
    let (golden, transformer) = tiny("wan_i2v21_tiny");
    let (text, image) = (golden.tensor("context"), golden.tensor("image_context"));
    let error = |text: &Tensor, image: Option<&Tensor>, of: &Transformer| {
        of.embed_context(text, image).err().unwrap().to_string()
    };
    assert!(error(&text, None, &transformer).contains("hint: an image to video model"));
    let narrow = Tensor::zeros([2, 5, 19]).unwrap();
    assert!(error(&text, Some(&narrow), &transformer).contains("20"));
    let three = Tensor::zeros([3, 5, 20]).unwrap();
    assert!(error(&text, Some(&three), &transformer).contains("as many as texts"));

    let (golden, of_two) = tiny("wan_flf21_tiny");
    let text = golden.tensor("context");
    let first = entry(&golden.tensor("image_context"), 0);
    assert!(error(&text, Some(&first), &of_two).contains("first and last frame"));

    let (golden, of_latents) = tiny("wan_i2v22_tiny");
    assert!(error(&golden.tensor("context"), Some(&image), &of_latents).contains("no layers for them"));
}

#[test]
fn a_norm_of_queries_for_the_picture_is_left_alone_and_others_are_not() {
    let golden = open("wan_i2v21_tiny");
    let with = |name: &str| {
        let bytes = with_tensor(&golden.checkpoint_bytes("weights."), name, 32);
        let checkpoint = Checkpoint::from_bytes("more", bytes).unwrap();
        Transformer::load(&checkpoint, golden.meta("config"), Precision::F32).map(|_| ())
    };
    with("blocks.1.attn2.norm_added_q.weight").unwrap();
    let error = with("blocks.2.attn2.norm_added_q.weight").unwrap_err().to_string();
    assert!(error.contains("blocks.2.attn2"), "{error}");
}
