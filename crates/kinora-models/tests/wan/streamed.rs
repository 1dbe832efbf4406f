//! Streamed blocks: the numbers of resident ones, in less memory, and errors before the first step.

use std::fs;

use kinora_kernels::Precision;
use kinora_models::wan::{ContextMemory, Control, LoadOptions, Residency, TextPadding, Transformer};
use kinora_tensor::Tensor;
use kinora_testkit::Golden;
use kinora_weights::Checkpoint;

use crate::common::{checkpoint, load, of_entries, open, with_tensor};

const FIXTURES: [&str; 4] = ["wan_tiny", "wan_i2v21_tiny", "wan_flf21_tiny", "wan_vace_tiny"];

const fn streamed(precision: Precision, contexts: ContextMemory) -> LoadOptions {
    LoadOptions {
        precision,
        residency: Residency::Streamed,
        contexts,
        padding: TextPadding::Attended,
    }
}

/// Two steps on the same context.
fn steps(golden: &Golden, transformer: &Transformer) -> [Tensor; 2] {
    let optional = |name: &str| golden.has(name).then(|| golden.tensor(name));
    let latents = golden.tensor("hidden_states");
    let timestep = optional("timestep").unwrap_or_else(|| golden.tensor("scalar.timestep"));
    let context = transformer
        .embed_context(&golden.tensor("context"), optional("image_context").as_ref())
        .unwrap();
    let control = optional("control").map(|latents| Control {
        latents,
        scales: vec![0.6, 1.3],
    });
    let timesteps = of_entries(transformer, &latents, &timestep);
    [(); 2].map(|()| {
        transformer
            .forward_controlled(&latents, &timesteps, &context, control.as_ref())
            .unwrap()
    })
}

#[test]
fn streamed_blocks_give_the_numbers_of_resident_ones_bit_for_bit() {
    for name in FIXTURES {
        let golden = open(name);
        for precision in Precision::ALL {
            let want = steps(&golden, &load(&golden, precision));
            for contexts in [ContextMemory::Kept, ContextMemory::Remade] {
                let got = steps(&golden, &load(&golden, streamed(precision, contexts)));
                for (got, want) in got.iter().zip(&want) {
                    assert!(got.as_slice() == want.as_slice(), "{name}, {precision:?}, {contexts:?}");
                }
            }
            let remade = LoadOptions {
                contexts: ContextMemory::Remade,
                ..precision.into()
            };
            assert!(steps(&golden, &load(&golden, remade))[1].as_slice() == want[1].as_slice());
        }
    }
}

#[test]
fn no_more_than_two_streamed_blocks_are_in_memory_and_none_between_steps() {
    // Three main blocks and two of control.
    let golden = open("wan_vace_tiny");
    for precision in Precision::ALL {
        let resident = load(&golden, precision);
        assert_eq!(resident.peak_bytes(), resident.bytes());
        let streamed = load(&golden, LoadOptions::streamed(precision));
        let outside = streamed.bytes();
        let all_blocks = resident.bytes() - outside;
        assert_eq!(streamed.peak_bytes(), outside, "nothing is read before the first step");
        drop(steps(&golden, &streamed));
        assert_eq!(streamed.bytes(), outside, "nothing stays behind");
        let peak = streamed.peak_bytes() - outside;
        // A control block is a little larger than a main one.
        assert!(
            peak > all_blocks / 6 && peak < all_blocks / 2,
            "{precision:?}: {peak} of {all_blocks} bytes"
        );
    }
}

#[test]
fn a_mapped_file_is_streamed_from_its_place() {
    let golden = open("wan_tiny");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.safetensors");
    fs::write(&path, golden.checkpoint_bytes("weights.")).unwrap();
    let mapped = Checkpoint::open(&path).unwrap();
    let options = LoadOptions::streamed(Precision::F32);
    let transformer = Transformer::load(&mapped, golden.meta("config"), options).unwrap();
    drop(mapped);
    let want = steps(&golden, &load(&golden, Precision::F32));
    for (got, want) in steps(&golden, &transformer).iter().zip(&want) {
        assert!(got.as_slice() == want.as_slice());
    }
}

#[test]
fn contexts_that_are_made_again_hold_their_tokens_only() {
    let golden = open("wan_i2v21_tiny");
    let of = |options: LoadOptions| {
        let transformer = load(&golden, options);
        let context = transformer
            .embed_context(&golden.tensor("context"), Some(&golden.tensor("image_context")))
            .unwrap();
        let before = context.bytes();
        let latents = golden.tensor("hidden_states");
        let timesteps = of_entries(&transformer, &latents, &golden.tensor("timestep"));
        transformer.forward(&latents, &timesteps, &context).unwrap();
        (before, context.bytes())
    };
    let tokens = 4 * 2 * (512 + 5) * 32; // floats of 2 entries
    let keys_and_values = 2 * 2 * tokens; // of 2 blocks
    assert_eq!(of(Precision::F32.into()), (keys_and_values, keys_and_values));
    assert_eq!(of(streamed(Precision::F32, ContextMemory::Remade)), (tokens, tokens));
    assert_eq!(
        of(streamed(Precision::F32, ContextMemory::Kept)),
        (tokens, tokens + keys_and_values)
    );
}

#[test]
fn a_checkpoint_that_does_not_fit_is_refused_before_the_first_step() {
    let golden = open("wan_vace_tiny");
    let load_with = |config: &str, checkpoint: &Checkpoint| {
        Transformer::load(checkpoint, config, LoadOptions::streamed(Precision::F32))
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    let (config, whole) = (golden.meta("config"), checkpoint(&golden));
    load_with(config, &whole).unwrap();

    let deep = config.replace("\"num_layers\": 3", "\"num_layers\": 4");
    let error = load_with(&deep, &whole).unwrap_err();
    assert!(error.contains("blocks.3."), "missing: {error}");
    let shallow = config
        .replace("\"num_layers\": 3", "\"num_layers\": 1")
        .replace("[0, 2]", "[0]");
    let error = load_with(&shallow, &whole).unwrap_err();
    assert!(error.contains("blocks.1."), "too many: {error}");
    let wide = config.replace("\"ffn_dim\": 64", "\"ffn_dim\": 96");
    let error = load_with(&wide, &whole).unwrap_err();
    assert!(error.contains("ffn.net.0.proj") && error.contains("96"), "{error}");

    let more = |name: &str| {
        let bytes = with_tensor(&golden.checkpoint_bytes("weights."), name, 32);
        load_with(config, &Checkpoint::from_bytes("more", bytes).unwrap())
    };
    let error = more("blocks.1.attn3.to_q.weight").unwrap_err();
    assert!(error.contains("attn3"), "{error}");
    more("vace_blocks.1.attn2.norm_added_q.weight").unwrap();
}

#[test]
fn a_companion_that_nobody_reads_is_found_at_the_first_use() {
    let golden = open("wan_tiny");
    let bytes = with_tensor(&golden.checkpoint_bytes("weights."), "blocks.1.attn1.to_q.lora_up", 32);
    let checkpoint = Checkpoint::from_bytes("more", bytes).unwrap();
    let options = LoadOptions::streamed(Precision::F32);
    let transformer = Transformer::load(&checkpoint, golden.meta("config"), options).unwrap();
    let context = transformer.embed_context(&golden.tensor("context"), None).unwrap();
    let latents = golden.tensor("hidden_states");
    let timesteps = of_entries(&transformer, &latents, &golden.tensor("scalar.timestep"));
    let error = transformer
        .forward(&latents, &timesteps, &context)
        .unwrap_err()
        .to_string();
    assert!(error.contains("blocks.1.attn1.to_q.lora_up"), "{error}");
    let resident = Transformer::load(&checkpoint, golden.meta("config"), Precision::F32);
    assert!(resident.is_err());
}
