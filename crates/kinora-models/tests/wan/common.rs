//! What the tests of the Wan transformer share.

use std::collections::BTreeSet;

use kinora_kernels::Precision;
use kinora_models::wan::{LoadOptions, Timesteps, Transformer};
use kinora_tensor::Tensor;
use kinora_testkit::{Golden, assert_close};
use kinora_weights::Checkpoint;

pub(crate) fn open(name: &str) -> Golden {
    Golden::open(env!("CARGO_MANIFEST_DIR"), name)
}

pub(crate) fn checkpoint(golden: &Golden) -> Checkpoint {
    Checkpoint::from_bytes("tiny", golden.checkpoint_bytes("weights.")).unwrap()
}

pub(crate) fn load(golden: &Golden, options: impl Into<LoadOptions>) -> Transformer {
    Transformer::load(&checkpoint(golden), golden.meta("config"), options).unwrap()
}

pub(crate) fn tiny(name: &str) -> (Golden, Transformer) {
    let golden = open(name);
    let transformer = load(&golden, Precision::F32);
    (golden, transformer)
}

/// One row for each distinct value, and the row of each token.
pub(crate) fn distinct(per_token: &[f32]) -> Timesteps {
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

/// The fixtures have one timestep for each batch entry; the tokens of an entry share it.
pub(crate) fn of_entries(transformer: &Transformer, latents: &Tensor, timesteps: &Tensor) -> Timesteps {
    let tokens: usize = transformer.token_grid(latents).unwrap().iter().product();
    let per_token: Vec<f32> = timesteps.as_slice().iter().flat_map(|&t| vec![t; tokens]).collect();
    distinct(&per_token)
}

/// Compares every tensor that is shown with the reference of the same name below `prefix`, and keeps the names.
pub(crate) struct Comparison<'a> {
    golden: &'a Golden,
    prefix: &'a str,
    pub(crate) compared: BTreeSet<String>,
}

impl<'a> Comparison<'a> {
    pub(crate) fn with(golden: &'a Golden, prefix: &'a str) -> Self {
        Self {
            golden,
            prefix,
            compared: BTreeSet::new(),
        }
    }

    pub(crate) fn see(&mut self, name: &str, got: &Tensor) {
        let reference = format!("{}{name}", self.prefix);
        if !self.golden.has(&reference) {
            return; // the reference shows the inside of some blocks only
        }
        let want = self.golden.tensor(&reference);
        // The fixtures keep the first text tokens of each entry; the rest are copies of the padding.
        let shortened = name == "text_embedding" && want.elements() < got.elements();
        let got = if shortened {
            first_tokens(got, want.dims()[1])
        } else {
            got.as_slice().to_vec()
        };
        assert_close(&reference, &got, want.as_slice(), self.golden.tolerance());
        self.compared.insert(name.to_owned());
    }

    pub(crate) fn assert_all(&self, names: &[&str]) {
        let names: BTreeSet<String> = names.iter().map(|&n| n.to_owned()).collect();
        assert_eq!(self.compared, names);
    }
}

/// The first `count` tokens of each entry of `[B, S, M]`.
pub(crate) fn first_tokens(x: &Tensor, count: usize) -> Vec<f32> {
    let [_, tokens, width] = x.dims_of("test", "[B, S, M]").unwrap();
    let entries = x.as_slice().chunks_exact(tokens * width);
    entries.flat_map(|entry| entry[..count * width].to_vec()).collect()
}

pub(crate) fn assert_output(golden: &Golden, name: &str, got: &Tensor) {
    let want = golden.tensor(name);
    assert_eq!(got.dims(), want.dims());
    assert_close(name, got.as_slice(), want.as_slice(), golden.tolerance());
}

/// What the main list of a model with two blocks shows.
pub(crate) const MAIN: [&str; 9] = [
    "patch_embedding",
    "text_embedding",
    "blocks.0.self_attn",
    "blocks.0.cross_attn",
    "blocks.0.ffn",
    "blocks.0",
    "blocks.1",
    "norm_out",
    "proj_out",
];

/// Time embeddings, where timesteps are as many as entries.
pub(crate) const TIME: [&str; 2] = ["temb", "time_proj"];

/// The entry `index` of a batch, as a batch of one.
pub(crate) fn entry(x: &Tensor, index: usize) -> Tensor {
    let mut dims = x.dims().to_vec();
    let size = x.elements() / dims[0];
    dims[0] = 1;
    Tensor::from_slice(&x.as_slice()[index * size..][..size], dims).unwrap()
}

/// Both batches as one.
pub(crate) fn stacked(a: &Tensor, b: &Tensor) -> Tensor {
    let mut dims = a.dims().to_vec();
    dims[0] += b.dims()[0];
    Tensor::from_slice(&[a.as_slice(), b.as_slice()].concat(), dims).unwrap()
}

/// A safetensors file with one more tensor, of `length` zeros.
pub(crate) fn with_tensor(file: &[u8], name: &str, length: usize) -> Vec<u8> {
    let (size, rest) = file.split_at(8);
    let (header, data) = rest.split_at(u64::from_le_bytes(size.try_into().unwrap()) as usize);
    let mut header: serde_json::Value = serde_json::from_slice(header).unwrap();
    let (start, end) = (data.len(), data.len() + 4 * length);
    header[name] = serde_json::json!({"dtype": "F32", "shape": [length], "data_offsets": [start, end]});
    let mut text = header.to_string();
    text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));
    let mut out = (text.len() as u64).to_le_bytes().to_vec();
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(data);
    out.resize(out.len() + 4 * length, 0);
    out
}
