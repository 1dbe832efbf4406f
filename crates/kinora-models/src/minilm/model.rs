//! MiniLM-L6: a six-layer BERT encoder.
//!
//! **Source**: `BertModel`, transformers (Apache-2.0); weights sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0);
//! BERT, arXiv 1810.04805; MiniLM, arXiv 2002.10957.
//!
//! **Flow**: token ids `[B,S]` → embeddings (word + position + type, LayerNorm) → layers (self-attention, feed-forward with
//! exact GELU, each followed by LayerNorm of the sum) → hidden states `[B,S,M]`, zero where padded.
//!
//! **Numerics**: f32; padded keys are masked out of every attention, so padding does not change a text's states.

use kinora_kernels::{Activation, KeyMask, Linear, add, attention, linear, linear_residual};
use kinora_tensor::{Arena, Tensor};
use kinora_weights::{Checkpoint, Reader, Table};
use serde::Deserialize;

use super::tokenizer::TokenBatch;
use crate::error::parse_config;
use crate::nn::LayerNorm;
use crate::{Error, Result};

/// Hyper-parameters, as `config.json` of a transformers folder spells them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Config {
    /// Model width M.
    pub hidden_size: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Inner width of the feed-forward layers.
    pub intermediate_size: usize,
    /// Rows of the word embedding table.
    pub vocab_size: usize,
    /// Longest text in tokens.
    pub max_position_embeddings: usize,
    /// Rows of the token type table.
    pub type_vocab_size: usize,
    /// Added to variances before their square root.
    pub layer_norm_eps: f32,
    /// Activation of the feed-forward layers; only `gelu` (the exact one) is known.
    pub hidden_act: String,
}

impl Config {
    /// Reads and validates `config.json`.
    ///
    /// **Errors**: [`Error::Config`] naming the field.
    pub fn from_json(json: &str) -> Result<Self> {
        let config: Self = parse_config("minilm", json)?;
        let refuse = |reason: String| {
            Err(Error::Config {
                model: "minilm",
                reason,
            })
        };
        if config.hidden_act != "gelu" {
            return refuse(format!("hidden_act is {:?}; only \"gelu\" is known", config.hidden_act));
        }
        if config.num_attention_heads == 0 || !config.hidden_size.is_multiple_of(config.num_attention_heads) {
            return refuse("num_attention_heads does not divide hidden_size".into());
        }
        let sizes = [
            config.hidden_size,
            config.intermediate_size,
            config.vocab_size,
            config.max_position_embeddings,
        ];
        if sizes.iter().any(|&size| size == 0 || size > 1 << 20) {
            return refuse(format!("a size is outside 1 to {}", 1 << 20));
        }
        Ok(config)
    }
}

struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attention_out: Linear,
    attention_norm: LayerNorm,
    ffn_in: Linear,
    ffn_out: Linear,
    ffn_norm: LayerNorm,
    heads: usize,
}

impl Layer {
    fn load(reader: &Reader, config: &Config) -> Result<Self> {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        Ok(Self {
            query: reader.linear("attention.self.query", width, width)?,
            key: reader.linear("attention.self.key", width, width)?,
            value: reader.linear("attention.self.value", width, width)?,
            attention_out: reader.linear("attention.output.dense", width, width)?,
            attention_norm: LayerNorm::load(
                reader,
                "attention.output.LayerNorm",
                config.hidden_size,
                config.layer_norm_eps,
            )?,
            ffn_in: reader.linear("intermediate.dense", inner, width)?,
            ffn_out: reader.linear("output.dense", width, inner)?,
            ffn_norm: LayerNorm::load(reader, "output.LayerNorm", config.hidden_size, config.layer_norm_eps)?,
            heads: config.num_attention_heads,
        })
    }

    /// **Shapes**: `x [B, S, M]` → `[B, S, M]`; keys at or past `lengths` are not attended to.
    fn forward(&self, x: Tensor, lengths: &[usize]) -> Result<Tensor> {
        let [batch, tokens, width] = x.dims_of("minilm", "[B, S, M]")?;
        let project = |w: &Linear| -> Result<Tensor> {
            let heads = [batch, tokens, self.heads, width / self.heads];
            Ok(linear(&x, w, Activation::None)?.reshape(heads)?) // [B, S, N, D]
        };
        let (q, k, v) = (project(&self.query)?, project(&self.key)?, project(&self.value)?);
        // 1. Self-attention
        let attended = attention(&q, &k, &v, KeyMask::Lengths(lengths))?.reshape([batch, tokens, width])?;
        let x = self
            .attention_norm
            .forward(&linear_residual(&attended, &self.attention_out, x)?)?;
        // 2. Feed-forward
        let inner = linear(&x, &self.ffn_in, Activation::GeluErf)?;
        self.ffn_norm.forward(&linear_residual(&inner, &self.ffn_out, x)?)
    }
}

/// The encoder with its weights.
pub struct MiniLm {
    config: Config,
    words: Table,
    positions: Tensor,
    token_type: Vec<f32>,
    embedding_norm: LayerNorm,
    layers: Vec<Layer>,
}

impl MiniLm {
    /// Reads every tensor of `checkpoint` except the pooling layer, which the sentence encoder does not have.
    ///
    /// **Errors**: a tensor that is missing, has another shape, or that nothing reads.
    pub fn load(checkpoint: &Checkpoint, config_json: &str) -> Result<Self> {
        let config = Config::from_json(config_json)?;
        let reader = checkpoint.reader();
        let embeddings = reader.at("embeddings");
        let width = config.hidden_size;
        let token_types = embeddings.tensor("token_type_embeddings.weight", &[config.type_vocab_size, width])?;
        let model = Self {
            words: embeddings.table("word_embeddings.weight", config.vocab_size, width)?,
            positions: embeddings.tensor("position_embeddings.weight", &[config.max_position_embeddings, width])?,
            token_type: token_types.as_slice()[..width].to_vec(),
            embedding_norm: LayerNorm::load(&embeddings, "LayerNorm", config.hidden_size, config.layer_norm_eps)?,
            layers: (0..config.num_hidden_layers)
                .map(|i| Layer::load(&reader.at(format_args!("encoder.layer.{i}")), &config))
                .collect::<Result<_>>()?,
            config,
        };
        reader.finish(&["pooler.*", "embeddings.position_ids"])?;
        Ok(model)
    }

    /// The hyper-parameters.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Hidden states of the last layer.
    ///
    /// **Shapes**: B texts of S tokens → `[B, S, M]`, zero where padded.
    /// **Errors**: a token outside the vocabulary, or more columns than positions.
    pub fn forward(&self, tokens: &TokenBatch, arena: &Arena) -> Result<Tensor> {
        self.forward_tapped(tokens, arena, &mut |_, _| ())
    }

    /// As [`MiniLm::forward`], showing intermediate tensors to `tap` under the names that the goldens use.
    pub fn forward_tapped(
        &self,
        tokens: &TokenBatch,
        arena: &Arena,
        tap: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<Tensor> {
        let mut x = self.embed(tokens, arena)?; // [B, S, M]
        tap("hidden.0", &x);
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(x, &tokens.lengths)?;
            tap(&format!("hidden.{}", i + 1), &x);
        }
        let rows = x.as_mut_slice().chunks_exact_mut(self.config.hidden_size);
        for (i, row) in rows.enumerate() {
            if i % tokens.columns >= tokens.lengths[i / tokens.columns] {
                row.fill(0.0);
            }
        }
        Ok(x)
    }

    /// One vector of length 1 for each text: the mean of its tokens' states.
    ///
    /// **Source**: sentence-transformers' mean pooling, as the model was trained.
    pub fn sentences(&self, tokens: &TokenBatch, arena: &Arena) -> Result<Vec<Vec<f32>>> {
        let states = self.forward(tokens, arena)?;
        let width = self.config.hidden_size;
        let texts = states.as_slice().chunks_exact((tokens.columns * width).max(1));
        Ok(texts.map(|text| unit_mean(text, width)).collect())
    }

    fn embed(&self, tokens: &TokenBatch, arena: &Arena) -> Result<Tensor> {
        let (batch, columns, width) = (tokens.lengths.len(), tokens.columns, self.config.hidden_size);
        let mut words = Tensor::zeros_in(arena, [batch, columns, width])?;
        if columns > self.config.max_position_embeddings {
            return Err(words
                .mismatch(
                    "minilm",
                    format!("at most {} tokens", self.config.max_position_embeddings),
                )
                .into());
        }
        if let Some(&id) = tokens.ids.iter().find(|&&id| id as usize >= self.config.vocab_size) {
            return Err(Error::TokenOutOfRange {
                id,
                vocab_size: self.config.vocab_size,
            });
        }
        self.words.gather_into(&tokens.ids, words.as_mut_slice())?;
        let mut rest = words.uninit_like([batch, columns, width])?;
        for (i, rest) in rest.as_mut_slice().chunks_exact_mut(width).enumerate() {
            let position = &self.positions.as_slice()[(i % columns) * width..][..width];
            rest.iter_mut()
                .zip(position.iter().zip(&self.token_type))
                .for_each(|(out, (p, t))| *out = p + t);
        }
        self.embedding_norm.forward(&add(words, &rest)?)
    }
}

/// The mean of the rows that are not all zero (padding), scaled to length 1.
fn unit_mean(rows: &[f32], width: usize) -> Vec<f32> {
    let mut sum = vec![0.0f32; width];
    for row in rows.chunks_exact(width) {
        sum.iter_mut().zip(row).for_each(|(sum, v)| *sum += v);
    }
    let length = sum.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-12);
    sum.iter_mut().for_each(|v| *v /= length);
    sum
}
