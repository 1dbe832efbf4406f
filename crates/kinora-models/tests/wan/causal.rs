//! Block after block with a cache, against calls over the whole clip so far with a mask.

use kinora_kernels::Precision;
use kinora_models::wan::{
    CacheElement, CacheOptions, Context, KvCache, LoadOptions, Timesteps, Transformer, WriteCache,
};
use kinora_tensor::Tensor;
use kinora_testkit::{Golden, assert_close};

use crate::common::{Comparison, assert_output, load, open, tiny};

const FIXTURE: &str = "wan_causal_tiny";
const TOKENS_OF_FRAME: usize = 6;

/// The runs of the fixture: their blocks, and which of them are given.
const RUNS: [(&str, usize, usize, CacheOptions); 3] = [
    ("whole", 4, 0, options(None, 0)),
    ("window", 4, 0, options(Some(7), 1)),
    ("image", 3, 1, options(None, 0)),
];

const fn options(window_frames: Option<usize>, sink_frames: usize) -> CacheOptions {
    CacheOptions {
        window_frames,
        sink_frames,
        element: CacheElement::F32,
    }
}

/// A clip in the making.
struct Run<'a> {
    golden: &'a Golden,
    transformer: &'a Transformer,
    context: Context,
    cache: KvCache,
}

impl<'a> Run<'a> {
    fn new(golden: &'a Golden, transformer: &'a Transformer, options: CacheOptions) -> Self {
        Self {
            golden,
            transformer,
            context: transformer.embed_context(&golden.tensor("context"), None).unwrap(),
            cache: KvCache::new(options).unwrap(),
        }
    }

    fn velocity(&mut self, latents: &str, timestep: f32, write: WriteCache) -> Tensor {
        let latents = self.golden.tensor(latents);
        let timesteps = Timesteps::uniform(timestep, 2 * latents.dims()[2] * TOKENS_OF_FRAME);
        self.transformer
            .forward_causal(&latents, &timesteps, &self.context, &mut self.cache, write)
            .unwrap()
    }

    /// All blocks of a run of the fixture; `see` gets each name with what the model says.
    fn make(&mut self, run: &str, blocks: usize, given: usize, mut see: impl FnMut(&str, &Tensor)) {
        let timesteps = self.golden.tensor("timesteps");
        for block in 0..blocks {
            let steps = if block < given { &[] } else { timesteps.as_slice() };
            for (step, &timestep) in steps.iter().enumerate() {
                let key = format!("{run}.{block}.{step}");
                let velocity = self.velocity(&format!("{key}.latents"), timestep, WriteCache::No);
                see(&format!("{key}.velocity"), &velocity);
            }
            let written = self.velocity(&format!("{run}.{block}.clean"), 0.0, WriteCache::Yes);
            see(&format!("{run}.{block}.written"), &written);
        }
    }
}

#[test]
fn a_cache_gives_what_the_masked_clip_gives() {
    let (golden, transformer) = tiny(FIXTURE);
    for (name, blocks, given, options) in RUNS {
        let mut run = Run::new(&golden, &transformer, options);
        let mut compared = 0;
        run.make(name, blocks, given, |key, got| {
            assert_output(&golden, key, got);
            compared += 1;
        });
        assert_eq!(compared, 3 * blocks - 2 * given);
    }
}

#[test]
fn the_tokens_of_each_block_agree_too() {
    let (golden, transformer) = tiny(FIXTURE);
    let mut run = Run::new(&golden, &transformer, CacheOptions::default());
    run.make("whole", 3, 0, |_, _| ());
    let mut comparison = Comparison::with(&golden, "whole.3.1.");
    transformer
        .forward_causal_tapped(
            &golden.tensor("whole.3.1.latents"),
            &Timesteps::uniform(625.5, 2 * 3 * TOKENS_OF_FRAME),
            &run.context,
            &mut run.cache,
            WriteCache::No,
            &mut |name, got| comparison.see(name, got),
        )
        .unwrap();
    comparison.assert_all(&["blocks.0", "blocks.1"]);
}

#[test]
fn streamed_blocks_remember_the_same_bit_for_bit() {
    let golden = open(FIXTURE);
    let said = |options: LoadOptions| {
        let transformer = load(&golden, options);
        let mut all = Vec::new();
        Run::new(&golden, &transformer, RUNS[1].3).make("window", 4, 0, |_, got| all.extend_from_slice(got.as_slice()));
        all
    };
    let resident = said(Precision::Bf16.into());
    assert!(resident == said(LoadOptions::streamed(Precision::Bf16)));
}

#[test]
fn a_window_forgets_and_a_half_cache_is_half() {
    let (golden, transformer) = tiny(FIXTURE);
    // Keys and values of 2 entries in 2 blocks, 32 wide.
    let frame = 2 * 2 * 2 * TOKENS_OF_FRAME * 32;
    let mut run = Run::new(&golden, &transformer, RUNS[1].3);
    run.make("window", 4, 0, |_, _| ());
    assert_eq!((run.cache.frames(), run.cache.kept_frames()), (12, 7));
    assert_eq!(run.cache.bytes(), 4 * 7 * frame);
    run.cache.clear();
    assert_eq!((run.cache.frames(), run.cache.bytes()), (0, 0));
    let first = run.velocity("window.0.0.latents", 999.0, WriteCache::No);
    assert_output(&golden, "window.0.0.velocity", &first);
    assert_eq!(run.cache.bytes(), 0, "nothing was to be written");

    let half = CacheOptions {
        element: CacheElement::Bf16,
        ..CacheOptions::default()
    };
    let mut run = Run::new(&golden, &transformer, half);
    let mut largest = 0f32;
    run.make("whole", 4, 0, |key, got| {
        let want = golden.tensor(key);
        assert_close(key, got.as_slice(), want.as_slice(), 0.02);
        let apart = got.as_slice().iter().zip(want.as_slice()).map(|(a, b)| (a - b).abs());
        largest = largest.max(apart.fold(0.0, f32::max));
    });
    assert!(largest > 1e-4, "nothing was rounded: {largest}");
    assert_eq!(run.cache.bytes(), 2 * 12 * frame);
}

#[test]
fn a_call_that_fails_is_forgotten() {
    let (golden, transformer) = tiny(FIXTURE);
    let mut run = Run::new(&golden, &transformer, CacheOptions::default());
    run.make("whole", 1, 0, |_, _| ());
    // Too few timesteps: the first block of the transformer refuses.
    let latents = golden.tensor("whole.1.clean");
    let few = Timesteps::uniform(0.0, 7);
    let failed = transformer.forward_causal(&latents, &few, &run.context, &mut run.cache, WriteCache::Yes);
    assert!(failed.is_err());
    // Half of a text: cross-attention refuses, when self-attention has been remembered.
    let half = transformer
        .embed_context(&Tensor::zeros([1, 5, 16]).unwrap(), None)
        .unwrap();
    let timesteps = Timesteps::uniform(0.0, 2 * 3 * TOKENS_OF_FRAME);
    let failed = transformer.forward_causal(&latents, &timesteps, &half, &mut run.cache, WriteCache::Yes);
    assert!(failed.is_err());
    assert_eq!(run.cache.frames(), 3);
    let velocity = run.velocity("whole.1.0.latents", 999.0, WriteCache::No);
    assert_output(&golden, "whole.1.0.velocity", &velocity);
}

#[test]
fn blocks_and_windows_that_do_not_fit_are_refused() {
    let (golden, transformer) = tiny(FIXTURE);
    let error = KvCache::new(options(Some(2), 2)).err().unwrap().to_string();
    assert!(error.contains("a window of 2 frames with 2 sink frames"), "{error}");
    let mut run = Run::new(&golden, &transformer, options(Some(4), 2));
    let mut refused = |dims: [usize; 5], timestep| {
        let latents = Tensor::zeros(dims).unwrap();
        let tokens = dims[0] * dims[2] * dims[3] * dims[4] / 4;
        transformer
            .forward_causal(
                &latents,
                &Timesteps::uniform(timestep, tokens),
                &run.context,
                &mut run.cache,
                WriteCache::Yes,
            )
            .map_err(|error| error.to_string())
            .map(|_| ())
    };
    let error = refused([2, 4, 3, 4, 6], 0.0).unwrap_err();
    assert!(error.contains("a block of 3 frames in a window of 4"), "{error}");
    refused([2, 4, 2, 4, 6], 0.0).unwrap();
    let error = refused([2, 4, 2, 4, 8], 0.0).unwrap_err();
    assert!(error.contains("a batch of 2 with 2 x 3 tokens a frame"), "{error}");
}
