//! What is said of memory beforehand, against loaded models and real arenas.

use kinora_kernels::Precision;
use kinora_models::wan::memory::{self, Step};
use kinora_models::wan::{
    CacheElement, CacheOptions, Config, ContextMemory, Control, KvCache, LoadOptions, Residency, TextPadding,
    Timesteps, Transformer, WriteCache,
};
use kinora_tensor::{Arena, Tensor};
use kinora_weights::ModelFolder;

use crate::common::{load, open};

const FIXTURES: [&str; 5] = [
    "wan_tiny",
    "wan_i2v21_tiny",
    "wan_flf21_tiny",
    "wan_i2v22_tiny",
    "wan_vace_tiny",
];

/// Every way to load a model.
fn all_options() -> Vec<LoadOptions> {
    let mut all = Vec::new();
    for precision in Precision::ALL {
        for residency in [Residency::Resident, Residency::Streamed] {
            for contexts in [ContextMemory::Kept, ContextMemory::Remade] {
                all.push(LoadOptions {
                    precision,
                    residency,
                    contexts,
                    padding: TextPadding::Attended,
                });
            }
        }
    }
    all
}

#[test]
fn the_weights_of_a_model_are_known_to_the_byte() {
    for name in FIXTURES {
        let golden = open(name);
        for precision in Precision::ALL {
            let transformer = load(&golden, precision);
            let estimate = memory::resident_bytes(transformer.config(), precision);
            assert_eq!(estimate, transformer.bytes(), "{name}, {precision:?}");
        }
    }
    let (toybox, config) = toybox(Precision::Int8.into());
    assert_eq!(memory::resident_bytes(&config, Precision::Int8), toybox.bytes());
}

fn toybox(options: LoadOptions) -> (Transformer, Config) {
    let folder = ModelFolder::embedded_toybox().unwrap();
    let json = folder.config("transformer").unwrap();
    let transformer = Transformer::load(&folder.checkpoint("transformer").unwrap(), &json, options).unwrap();
    (transformer, Config::from_json(&json).unwrap())
}

/// One call of a model, measured: what the arena holds because of it, and what the context holds.
fn measured(transformer: &Transformer, step: &Step) -> (usize, usize) {
    let (config, arena) = (transformer.config(), Arena::new());
    let [frames, rows, columns] = step.token_grid;
    let [pf, ph, pw] = config.patch_size;
    let zeros = |dims: &[usize]| Tensor::zeros_in(&arena, dims).unwrap();
    let latents = |batch, channels| zeros(&[batch, channels, frames * pf, rows * ph, columns * pw]);
    // Folded, all tokens but the first few are one.
    let (folded, tokens) = (step.options.padding == TextPadding::Folded, step.text_tokens);
    let mut text = zeros(&[step.batch, if folded { 100 } else { tokens }, config.text_dim]);
    for text in text
        .as_mut_slice()
        .chunks_exact_mut(100 * config.text_dim)
        .filter(|_| folded)
    {
        text[..(tokens - 1) * config.text_dim].fill(1.0);
    }
    let pictures = if config.pos_embed_seq_len.is_some() { 2 } else { 1 };
    let image = config
        .image_dim
        .map(|width| zeros(&[step.batch * pictures, step.image_tokens / pictures, width]));
    let context = transformer.embed_context(&text, image.as_ref()).unwrap();
    let control = step.control.then(|| Control {
        latents: latents(step.batch, config.vace_in_channels.unwrap()),
        scales: vec![1.0; config.vace_layers.as_ref().unwrap().len()],
    });
    let x = latents(step.batch, config.in_channels);
    let is_clean: Vec<bool> = (0..step.batch * frames * rows * columns)
        .map(|token| token % 7 == 0)
        .collect();
    let timesteps = Timesteps::with_clean(500.0, &is_clean);

    let mut cache = KvCache::new(CacheOptions::default()).unwrap();
    if step.cached_frames > 0 {
        let given = Tensor::zeros([
            step.batch,
            config.in_channels,
            step.cached_frames * pf,
            rows * ph,
            columns * pw,
        ]);
        let clean = Timesteps::uniform(0.0, step.batch * step.cached_frames * rows * columns);
        transformer
            .forward_causal(&given.unwrap(), &clean, &context, &mut cache, WriteCache::Yes)
            .unwrap();
        let expected = memory::kv_cache_bytes(
            config,
            [rows, columns],
            step.cached_frames,
            step.batch,
            CacheElement::F32,
        );
        assert_eq!(cache.bytes(), expected);
    }
    arena.trim(); // what the embedding of the text has left
    let held = || arena.stats().live_bytes + arena.stats().free_bytes;
    let before = held() - context.bytes();
    // Twice: the second call finds all that it needs.
    for _ in 0..2 {
        if step.cached_frames > 0 {
            transformer
                .forward_causal(&x, &timesteps, &context, &mut cache, WriteCache::No)
                .unwrap();
        } else {
            transformer
                .forward_controlled(&x, &timesteps, &context, control.as_ref())
                .unwrap();
        }
    }
    (held() - context.bytes() - before, context.bytes())
}

fn assert_near(what: &str, estimate: usize, measured: usize) {
    let ratio = estimate as f64 / measured as f64;
    println!("{what}: {estimate} estimated, {measured} measured, {ratio:.3}");
    assert!(
        (0.9..1.1).contains(&ratio),
        "{what}: {estimate} estimated, {measured} measured"
    );
}

fn check(name: &str, transformer: &Transformer, step: Step) {
    let config = transformer.config();
    let what = format!("{name}, {step:?}");
    let (held, context) = measured(transformer, &step);
    assert_near(&what, memory::step_bytes(config, &step), held);
    let picture = if config.image_dim.is_some() {
        step.image_tokens
    } else {
        0
    };
    let estimate = memory::context_bytes(config, step.batch, step.text_tokens, picture, step.options);
    if step.control || config.vace_layers.is_none() || step.options.residency == Residency::Resident {
        assert_eq!(estimate, context, "{what}");
    } else {
        // The control blocks have not been asked for.
        assert!(context <= estimate, "{what}");
    }
}

#[test]
fn what_a_step_holds_is_known_for_every_kind_of_model() {
    for name in FIXTURES {
        let golden = open(name);
        for options in all_options() {
            let transformer = load(&golden, options);
            for (token_grid, text_tokens, batch) in [([3, 4, 5], 12, 2), ([5, 9, 8], 40, 1), ([1, 2, 3], 70, 2)] {
                let step = Step {
                    token_grid,
                    batch,
                    text_tokens,
                    image_tokens: 10,
                    options,
                    control: false,
                    cached_frames: 0,
                };
                check(name, &transformer, step);
                if name == "wan_vace_tiny" {
                    check(name, &transformer, Step { control: true, ..step });
                }
                check(
                    name,
                    &transformer,
                    Step {
                        cached_frames: 2,
                        ..step
                    },
                );
            }
        }
    }
}

#[test]
fn what_a_step_of_toybox_holds_is_known() {
    for options in all_options().into_iter().step_by(3) {
        let (transformer, _) = toybox(options);
        for batch in [1, 2] {
            let step = Step {
                token_grid: [3, 6, 8],
                batch,
                text_tokens: 64,
                options,
                ..Step::default()
            };
            check("toybox", &transformer, step);
        }
    }
}

#[test]
fn what_a_streamed_model_holds_is_known() {
    for name in FIXTURES {
        let golden = open(name);
        for precision in Precision::ALL {
            let options = LoadOptions::streamed(precision);
            let transformer = load(&golden, options);
            let estimate = memory::streamed_bytes(transformer.config(), precision);
            let step = Step {
                token_grid: [2, 8, 8],
                batch: 1,
                text_tokens: 8,
                image_tokens: 10,
                options,
                control: name == "wan_vace_tiny",
                cached_frames: 0,
            };
            // Two blocks meet when the next is read before the one in use is done; on a busy machine not each time.
            for _ in 0..50 {
                measured(&transformer, &step);
                if transformer.peak_bytes() == estimate {
                    break;
                }
            }
            assert_eq!(transformer.peak_bytes(), estimate, "{name}, {precision:?}");
        }
    }
}

/// The published shapes, to see that the numbers are of the right size.
#[test]
fn large_models_and_absurd_ones_are_counted_without_overflow() {
    let golden = open("wan_vace_tiny");
    let mut config = Config::from_json(golden.meta("config")).unwrap();
    config.num_attention_heads = 40;
    config.attention_head_dim = 128;
    config.ffn_dim = 13824;
    config.text_dim = 4096;
    config.freq_dim = 256;
    config.num_layers = 40;
    config.in_channels = 16;
    (config.vace_layers, config.vace_in_channels) = (None, None);
    let gigabytes = |bytes: usize| bytes as f64 / 1e9;
    let (resident, streamed) = (
        memory::resident_bytes(&config, Precision::Bf16),
        memory::streamed_bytes(&config, Precision::Bf16),
    );
    assert!((28.0..30.5).contains(&gigabytes(resident)), "{resident}");
    assert!((1.8..3.0).contains(&gigabytes(streamed)), "{streamed}");
    let step = Step {
        token_grid: [21, 30, 52],
        batch: 1,
        text_tokens: 512,
        options: LoadOptions::streamed(Precision::Bf16),
        ..Step::default()
    };
    let width = 4.0 * 32760.0 * 5120.0;
    let widths = memory::step_bytes(&config, &step) as f64 / width;
    assert!((7.0..12.0).contains(&widths), "{widths}");

    (config.num_layers, config.ffn_dim) = (1 << 20, 1 << 20);
    (config.num_attention_heads, config.attention_head_dim) = (1 << 10, 1 << 10);
    config.validate().unwrap();
    assert_eq!(memory::resident_bytes(&config, Precision::F32), usize::MAX);
    let absurd = Step {
        token_grid: [1 << 40; 3],
        ..step
    };
    assert_eq!(memory::step_bytes(&config, &absurd), usize::MAX);
    config.num_attention_heads = 1 << 20;
    assert!(
        config
            .validate()
            .unwrap_err()
            .to_string()
            .contains("num_attention_heads times")
    );
}
