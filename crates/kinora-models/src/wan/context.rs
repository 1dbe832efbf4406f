//! What steers a clip, prepared once: text and picture as keys and values of every block's cross-attention.

use std::ops::Deref;
use std::sync::OnceLock;

use kinora_kernels::Activation;
use kinora_tensor::Tensor;
use kinora_weights::Reader;

use super::attention::CrossKeyValue;
use super::block::Block;
use super::blocks::Visit;
use super::config::Config;
use super::image::ImageEmbedding;
use super::layout::Place;
use super::options::TextPadding;
use super::tap::Taps;
use super::time::Mlp;
use crate::{Error, Result};

/// What a run's text (and picture) turns into once: the keys and values of cross-attention of every block, or the tokens
/// that they are made of.
pub struct Context {
    /// `None` once all keys and values are there.
    tokens: Option<ContextTokens>,
    /// For each block, as [`Place::index`] counts; no places at all if they are made again in each step.
    kept: Vec<OnceLock<CrossKeyValue>>,
}

impl Context {
    /// `kept`: the number of blocks whose keys and values are to be kept.
    pub(super) fn of(tokens: ContextTokens, kept: usize) -> Self {
        Self {
            tokens: Some(tokens),
            kept: (0..kept).map(|_| OnceLock::new()).collect(),
        }
    }

    /// For a model whose blocks are all at hand: makes everything now, and forgets the tokens.
    pub(super) fn complete(mut self, blocks: Visit, config: &Config, tap: &mut Taps) -> Result<Self> {
        for visited in blocks {
            let (place, block) = visited?;
            drop(self.for_block(&block, place, config, tap)?);
        }
        self.tokens = None;
        Ok(self)
    }

    /// What `block` reads: from memory, or made now.
    pub(super) fn for_block(
        &self,
        block: &Block,
        place: Place,
        config: &Config,
        tap: &mut Taps,
    ) -> Result<Lent<'_, CrossKeyValue>> {
        let slot = self.kept.get(place.index(config));
        if let Some(kept) = slot.and_then(OnceLock::get) {
            return Ok(Lent::Kept(kept));
        }
        let Some(tokens) = &self.tokens else {
            return refuse(
                "the context has other blocks than the model",
                "embed the context with the model that uses it",
            );
        };
        let made = block.cross_key_value(tokens, place, tap)?;
        Ok(match slot {
            // If another call has been faster, its keys are the same.
            Some(slot) => Lent::Kept(slot.get_or_init(|| made)),
            None => Lent::Made(made),
        })
    }

    /// Memory of what is kept now.
    pub fn bytes(&self) -> usize {
        let tokens = self
            .tokens
            .iter()
            .flat_map(|t| [Some(&t.text), t.image.as_ref()])
            .flatten();
        let kept = self.kept.iter().filter_map(OnceLock::get);
        size_of::<f32>() * tokens.map(Tensor::elements).sum::<usize>() + kept.map(CrossKeyValue::bytes).sum::<usize>()
    }
}

/// Something that lives on, or was made for one use.
pub(super) enum Lent<'a, T> {
    Kept(&'a T),
    Made(T),
}

impl<T> Deref for Lent<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Kept(kept) => kept,
            Self::Made(made) => made,
        }
    }
}

/// The layers in front of cross-attention.
pub(super) struct ContextEmbedder {
    text: Mlp,
    image: Option<ImageEmbedding>,
    padding: TextPadding,
}

/// Text and picture in the width of the model, `[B, S, M]` and `[B, T, M]`.
pub(super) struct ContextTokens {
    pub(super) text: Tensor,
    pub(super) image: Option<Tensor>,
    /// How many tokens the last one of each text stands for.
    pub(super) last_counts: usize,
}

impl ContextEmbedder {
    pub(super) fn load(reader: &Reader, config: &Config, padding: TextPadding) -> Result<Self> {
        let text = reader.at("text_embedder");
        Ok(Self {
            text: Mlp::load(&text, config.text_dim, config.width(), Activation::GeluTanh)?,
            image: ImageEmbedding::load(&reader.at("image_embedder"), config)?,
            padding,
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.text.bytes() + self.image.as_ref().map_or(0, ImageEmbedding::bytes)
    }

    pub(super) fn forward(&self, text: &Tensor, image: Option<&Tensor>, tap: &mut Taps) -> Result<ContextTokens> {
        let image = match (&self.image, image) {
            (Some(embedding), Some(image)) => Some(embedding.forward(image, tap)?), // [B, T, M]
            (None, None) => None,
            (Some(_), None) => {
                return refuse(
                    "no image tokens are given, and this model attends to them",
                    "an image to video model of Wan 2.1 needs a picture, through its CLIP encoder",
                );
            }
            (None, Some(_)) => {
                return refuse(
                    "image tokens are given, and this model has no layers for them",
                    "its config has no image_dim: it takes a picture as latents only, or not at all",
                );
            }
        };
        let last_counts = match self.padding {
            TextPadding::Attended => 1,
            TextPadding::Folded => equal_at_the_end(text)?,
        };
        let text = match last_counts {
            1 => self.text.forward(text)?, // [B, S, M]
            n => self.text.forward(&without_last(text, n - 1)?)?,
        };
        tap.show("text_embedding", &text);
        let image = image
            .map(|image| one_for_each_text(image, text.dims_of("context", "[B, S, M]")?))
            .transpose()?;
        Ok(ContextTokens {
            text,
            image,
            last_counts,
        })
    }
}

/// How many tokens at the end are the same, in each text of the batch; at least 1. Padding is: the text encoder's zeros.
fn equal_at_the_end(text: &Tensor) -> Result<usize> {
    let [_, tokens, width] = text.dims_of("context", "[B, S, T]")?;
    let bits = |token: &[f32]| -> Vec<u32> { token.iter().map(|v| v.to_bits()).collect() };
    let of_text = |text: &[f32]| {
        let last = text.chunks_exact(width).next_back().map(bits);
        let equal = |token: &&[f32]| Some(bits(token)) == last;
        text.chunks_exact(width).rev().take_while(equal).count()
    };
    if tokens * width == 0 {
        return Ok(1);
    }
    let texts = text.as_slice().chunks_exact(tokens * width);
    Ok(texts.map(of_text).min().unwrap_or(1))
}

/// `[B, S, T]` → `[B, S - n, T]`.
fn without_last(text: &Tensor, n: usize) -> Result<Tensor> {
    let [batch, tokens, width] = text.dims_of("context", "[B, S, T]")?;
    let mut cut = text.uninit_like([batch, tokens - n, width])?;
    let texts = text.as_slice().chunks_exact(tokens * width);
    for (cut, text) in cut.as_mut_slice().chunks_exact_mut((tokens - n) * width).zip(texts) {
        cut.copy_from_slice(&text[..cut.len()]);
    }
    Ok(cut)
}

/// One picture may steer all texts of a batch: guidance compares two texts about the same picture.
fn one_for_each_text(image: Tensor, [batch, ..]: [usize; 3]) -> Result<Tensor> {
    let [pictures, tokens, width] = image.dims_of("context", "[B, T, M]")?;
    if pictures == batch {
        return Ok(image);
    }
    if pictures != 1 {
        return Err(image
            .mismatch("context", format!("[1 or {batch}, T, {width}], as many as texts"))
            .into());
    }
    let mut all = image.uninit_like([batch, tokens, width])?;
    for copy in all.as_mut_slice().chunks_exact_mut(image.elements()) {
        copy.copy_from_slice(image.as_slice());
    }
    Ok(all)
}

fn refuse<T>(reason: &str, hint: &'static str) -> Result<T> {
    Err(Error::Refused {
        model: "wan transformer",
        reason: reason.into(),
        hint,
    })
}
