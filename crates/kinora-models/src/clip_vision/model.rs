//! The picture encoder of CLIP ViT-H/14: a frame in, its image tokens out.
//!
//! **Source**: `CLIPVisionModel`, transformers 5.23.0 (Apache-2.0), whose hidden state -2 Wan 2.1 takes; weights
//! laion/CLIP-ViT-H-14 (MIT); CLIP, arXiv 2103.00020; ViT, arXiv 2010.11929.
//!
//! **Flow**: frame `[H,W,3]` -> scaled, cut, normalised `[size,size,3]` -> patches, a class token in front, positions,
//! LayerNorm `[B,L,M]` -> all layers but the last (self-attention, feed-forward with exact GELU; each on the LayerNorm of
//! its input, added to it) -> `[B,L,M]`.
//!
//! **Numerics**: f32 activations. The last layer, the norm behind it and the projection are not computed.
//!
//! 632 M parameters are needed once for a clip, so layers are read one at a time, like the text encoder's.

use kinora_kernels::{Activation, KeyMask, Linear, Precision, attention_as, linear, linear_residual, linears};
use kinora_tensor::{Arena, Tensor};
use kinora_weights::{Checkpoint, Reader};

use super::config::Config;
use super::picture::pixels;
use crate::Result;
use crate::nn::LayerNorm;

/// What files have in front of all names; transformers 5 cuts it off.
const SCOPE: &str = "vision_model";

/// What stands in files and is not computed.
const NOT_NEEDED: [&str; 3] = [
    "visual_projection.weight",
    "vision_model.embeddings.position_ids",
    "embeddings.position_ids",
];

/// One layer, in memory while it is needed.
struct Layer {
    norm_1: LayerNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    attention_out: Linear,
    norm_2: LayerNorm,
    ffn_in: Linear,
    ffn_out: Linear,
    heads: usize,
    precision: Precision,
}

impl Layer {
    /// Names and extents of all tensors.
    fn expect(reader: &Reader, config: &Config) -> Result<()> {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let layers = [
            ("self_attn.q_proj", width, width),
            ("self_attn.k_proj", width, width),
            ("self_attn.v_proj", width, width),
            ("self_attn.out_proj", width, width),
            ("mlp.fc1", inner, width),
            ("mlp.fc2", width, inner),
        ];
        for (name, out, depth) in layers {
            reader.expect(&format!("{name}.weight"), &[out, depth])?;
            reader.expect(&format!("{name}.bias"), &[out])?;
        }
        for name in ["layer_norm1", "layer_norm2"] {
            reader.expect(&format!("{name}.weight"), &[width])?;
            reader.expect(&format!("{name}.bias"), &[width])?;
        }
        Ok(())
    }

    /// The largest layers first: while one is packed, its part of the file is in memory beside what is packed already.
    fn load(reader: &Reader, config: &Config) -> Result<Self> {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        Ok(Self {
            ffn_in: reader.linear("mlp.fc1", inner, width)?,
            ffn_out: reader.linear("mlp.fc2", width, inner)?,
            q: reader.linear("self_attn.q_proj", width, width)?,
            k: reader.linear("self_attn.k_proj", width, width)?,
            v: reader.linear("self_attn.v_proj", width, width)?,
            attention_out: reader.linear("self_attn.out_proj", width, width)?,
            norm_1: LayerNorm::load(reader, "layer_norm1", config.hidden_size, config.layer_norm_eps)?,
            norm_2: LayerNorm::load(reader, "layer_norm2", config.hidden_size, config.layer_norm_eps)?,
            heads: config.num_attention_heads,
            precision: reader.precision(),
        })
    }

    /// **Shapes**: `x [B, L, M]` -> `[B, L, M]`.
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        let [batch, tokens, width] = x.dims_of("clip vision", "[B, L, M]")?;
        // 1. Self-attention: x += out(attn(norm(x)))
        let heads = [batch, tokens, self.heads, width / self.heads];
        let [q, k, v] = linears(self.norm_1.of(&x), [&self.q, &self.k, &self.v])?;
        let [q, k, v] = [q.reshape(heads)?, k.reshape(heads)?, v.reshape(heads)?]; // [B, L, N, D]
        let mixed = attention_as(&q, &k, &v, KeyMask::None, self.precision.attention_mode())?;
        drop((q, k, v));
        let mixed = mixed.reshape([batch, tokens, width])?; // [B, L, M]
        let x = linear_residual(&mixed, &self.attention_out, x)?;
        drop(mixed);
        // 2. Feed-forward: x += out(gelu(in(norm(x))))
        let inner = linear(self.norm_2.of(&x), &self.ffn_in, Activation::GeluErf)?;
        Ok(linear_residual(&inner, &self.ffn_out, x)?)
    }
}

/// The encoder. Its layers stay in the file.
pub struct ClipVision {
    config: Config,
    reader: Reader,
    patch_embedding: Linear,
    class_embedding: Vec<f32>,
    /// `[L, M]`.
    positions: Tensor,
    first_norm: LayerNorm,
}

impl ClipVision {
    /// Checks that `checkpoint` holds exactly this model, and reads what stands before its layers. These are read when
    /// pictures are embedded, packed in `precision`; what stands before them is f32.
    ///
    /// **Errors**: a configuration that is not understood; a tensor that is missing, has another shape, or that nothing
    /// reads.
    pub fn load(checkpoint: &Checkpoint, config_json: &str, precision: Precision) -> Result<Self> {
        let config = Config::from_json(config_json)?;
        let whole = checkpoint.reader();
        let scoped = whole.at(SCOPE);
        // Without the scope only if the names are there without it: a file with neither is told the usual name.
        let reader = match whole.has("embeddings.class_embedding") {
            true => whole.clone(),
            false => scoped,
        };
        let (width, embeddings) = (config.hidden_size, reader.at("embeddings"));
        let model = Self {
            class_embedding: embeddings.vector("class_embedding", width)?,
            patch_embedding: embeddings.linear_no_bias("patch_embedding", width, config.patch_values())?,
            positions: embeddings.tensor("position_embedding.weight", &[config.tokens(), width])?,
            first_norm: LayerNorm::load(&reader, "pre_layrnorm", config.hidden_size, config.layer_norm_eps)?,
            reader: reader.with_precision(precision),
            config,
        };
        for i in 0..model.config.num_hidden_layers {
            Layer::expect(&layer_of(&reader, i), &model.config)?;
        }
        for name in ["weight", "bias"] {
            reader.expect(&format!("post_layernorm.{name}"), &[width])?;
        }
        whole.finish(&NOT_NEEDED)?;
        Ok(model)
    }

    /// The hyper-parameters.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The image tokens of one frame of any size.
    ///
    /// **Shapes**: `frame [H, W, 3]` -> `[1, L, M]`. **Range**: 0 to 1.
    ///
    /// **Errors**: a frame that is none (see [`pixels`]); a file that cannot be read.
    pub fn embed(&self, frame: &Tensor) -> Result<Tensor> {
        self.embed_all(&[frame])
    }

    /// The image tokens of several frames, for which the layers are read once.
    ///
    /// **Shapes**: B frames `[H, W, 3]` each -> `[B, L, M]`. **Range**, **Errors**: as [`ClipVision::embed`].
    pub fn embed_all(&self, frames: &[&Tensor]) -> Result<Tensor> {
        self.embed_tapped(frames, &mut |_, _| ())
    }

    /// As [`ClipVision::embed_all`], showing intermediate tensors to `tap` under the names that the goldens use.
    pub fn embed_tapped(&self, frames: &[&Tensor], tap: &mut dyn FnMut(&str, &Tensor)) -> Result<Tensor> {
        let arena = Arena::new();
        let mut x = self.tokens(frames, &arena)?; // [B, L, M]
        tap("hidden.0", &x);
        // The last layer is not asked for.
        for i in 0..self.config.num_hidden_layers - 1 {
            // While a layer is read there is no use for what the one before worked with.
            arena.trim();
            x = Layer::load(&layer_of(&self.reader, i), &self.config)?.forward(x)?;
            tap(&format!("hidden.{}", i + 1), &x);
        }
        Ok(x)
    }

    /// Patches with a class token in front, positions added, normalised.
    ///
    /// **Shapes**: B frames -> `[B, L, M]`.
    fn tokens(&self, frames: &[&Tensor], arena: &Arena) -> Result<Tensor> {
        let (config, width) = (&self.config, self.config.hidden_size);
        let (grid, side, tokens) = (config.grid(), config.patch_size, config.tokens());
        let mut x = Tensor::zeros_in(arena, [frames.len(), tokens, width])?;
        for (frame, x) in frames.iter().zip(x.as_mut_slice().chunks_exact_mut(tokens * width)) {
            let pixels = pixels(frame, config.image_size)?; // [size, size, 3]
            let mut patches = Tensor::zeros_in(arena, [grid * grid, config.patch_values()])?;
            // The weight of a patch is [3, side, side].
            for (p, patch) in patches
                .as_mut_slice()
                .chunks_exact_mut(config.patch_values())
                .enumerate()
            {
                for (i, value) in patch.iter_mut().enumerate() {
                    let (channel, row, column) = (i / side / side, i / side % side, i % side);
                    let (y, x) = (p / grid * side + row, p % grid * side + column);
                    *value = pixels.as_slice()[(y * config.image_size + x) * Config::CHANNELS + channel];
                }
            }
            let patches = linear(&patches, &self.patch_embedding, Activation::None)?; // [L - 1, M]
            let (class, rest) = x.split_at_mut(width);
            class.copy_from_slice(&self.class_embedding);
            rest.copy_from_slice(patches.as_slice());
            x.iter_mut()
                .zip(self.positions.as_slice())
                .for_each(|(x, position)| *x += position);
        }
        self.first_norm.forward(&x)
    }
}

fn layer_of(reader: &Reader, i: usize) -> Reader {
    reader.at(format_args!("encoder.layers.{i}"))
}
