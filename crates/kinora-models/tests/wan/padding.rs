//! Folded padding: one key for all padding tokens, against the reference that attends to each.

use kinora_kernels::Precision;
use kinora_models::wan::{LoadOptions, TextPadding, Transformer};
use kinora_tensor::Tensor;
use kinora_testkit::{Golden, assert_close};

use crate::common::{Comparison, MAIN, TIME, assert_output, entry, load, of_entries, open};

fn folded(precision: Precision) -> LoadOptions {
    LoadOptions {
        padding: TextPadding::Folded,
        ..precision.into()
    }
}

fn velocity(golden: &Golden, transformer: &Transformer, text: &Tensor) -> Tensor {
    let image = golden.has("image_context").then(|| golden.tensor("image_context"));
    let latents = golden.tensor("hidden_states");
    let timesteps = of_entries(transformer, &latents, &golden.tensor("timestep"));
    let context = transformer.embed_context(text, image.as_ref()).unwrap();
    transformer.forward(&latents, &timesteps, &context).unwrap()
}

#[test]
fn one_key_for_all_padding_gives_the_reference_output() {
    for name in ["wan_i2v21_tiny", "wan_flf21_tiny"] {
        let golden = open(name);
        let transformer = load(&golden, folded(Precision::F32));
        let mut comparison = Comparison::with(&golden, "");
        let see = &mut |name: &str, got: &Tensor| {
            // The fixture keeps the tokens of the longest text of the other file, and this is shorter.
            if name != "text_embedding" || got.dims()[1] == 31 {
                comparison.see(name, got);
            }
        };
        let (text, image) = (golden.tensor("context"), golden.tensor("image_context"));
        let context = transformer.embed_context_tapped(&text, Some(&image), see).unwrap();
        let latents = golden.tensor("hidden_states");
        let timesteps = of_entries(&transformer, &latents, &golden.tensor("timestep"));
        let output = transformer.forward_tapped(&latents, &timesteps, &context, see).unwrap();
        for name in MAIN.iter().chain(&TIME).filter(|&&name| name != "text_embedding") {
            assert!(comparison.compared.contains(*name), "{name}");
        }
        assert_output(&golden, "output", &output);
        let whole = load(&golden, Precision::F32)
            .embed_context(&text, Some(&image))
            .unwrap();
        assert!(context.bytes() < whole.bytes() / 9);
    }
}

#[test]
fn the_number_of_padding_tokens_counts() {
    let golden = open("wan_i2v22_tiny");
    let text = golden.tensor("context"); // no padding
    let attended = load(&golden, Precision::F32);
    let transformer = load(&golden, folded(Precision::F32));
    let want = velocity(&golden, &attended, &text);
    assert!(velocity(&golden, &transformer, &text).as_slice() == want.as_slice());
    let padded = |length: usize| {
        let mut padded = Tensor::zeros([2, length, 16]).unwrap();
        for index in 0..2 {
            let from = entry(&text, index);
            padded.as_mut_slice()[index * length * 16..][..from.elements()].copy_from_slice(from.as_slice());
        }
        padded
    };
    let mut apart = 0f32;
    for length in [8, 9, 40] {
        let (got, want) = (
            velocity(&golden, &transformer, &padded(length)),
            velocity(&golden, &attended, &padded(length)),
        );
        assert_close("folded", got.as_slice(), want.as_slice(), 5e-6);
        let eight = velocity(&golden, &attended, &padded(8));
        let pairs = eight.as_slice().iter().zip(got.as_slice());
        apart = pairs.map(|(a, b)| (a - b).abs()).fold(apart, f32::max);
    }
    assert!(apart > 0.01, "padding changes nothing: {apart}");
}

#[test]
fn a_text_of_equal_tokens_is_one() {
    let golden = open("wan_i2v22_tiny");
    let text = Tensor::from_slice(&[0.3; 2 * 6 * 16], [2, 6, 16]).unwrap();
    for precision in Precision::ALL {
        let got = velocity(&golden, &load(&golden, folded(precision)), &text);
        let want = velocity(&golden, &load(&golden, precision), &text);
        // Quantised attention rounds what folded attention does not.
        let tolerance = if precision == Precision::Int8 { 0.05 } else { 5e-6 };
        assert_close("folded", got.as_slice(), want.as_slice(), tolerance);
    }
}
