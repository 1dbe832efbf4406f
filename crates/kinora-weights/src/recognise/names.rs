//! Names of tensors in the spellings that files have, to and from those of diffusers.

use std::ops::Range;

use super::rules;
use super::{Component, Dialect};

/// What becomes of one tensor of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picked {
    /// What diffusers calls it.
    pub name: String,
    /// Which of its rows are meant; all if `None`.
    pub rows: Option<Range<usize>>,
    /// Whether axes of extent 1 at the front are to go.
    pub squeeze: bool,
}

impl Picked {
    const fn whole(name: String) -> Self {
        Self {
            name,
            rows: None,
            squeeze: false,
        }
    }
}

/// The translation of one file.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    component: Component,
    prefix: String,
    rules: Vec<(String, String)>,
    /// Blocks of one stage of a Wan 2.1 decoder, which its file counts through; 0 where that does not occur.
    blocks_of_stage: usize,
}

/// How the file of a Wan autoencoder counts its blocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VaeBlocks {
    /// Stage by stage (2.2), not through (2.1).
    pub is_nested: bool,
    /// Which block of a stage of the decoder enlarges.
    pub last_up: usize,
    /// Which block of a stage of the encoder shrinks, where they are counted stage by stage.
    pub last_down: usize,
}

impl Names {
    pub fn new(component: Component, dialect: Dialect, prefix: &str, blocks: VaeBlocks) -> Self {
        let is_counted = component == Component::WanVae && dialect == Dialect::Original && !blocks.is_nested;
        Self {
            component,
            prefix: prefix.into(),
            rules: rules::of(component, dialect, blocks),
            blocks_of_stage: if is_counted { blocks.last_up + 1 } else { 0 },
        }
    }

    /// What a tensor of the file becomes: nothing if it belongs to another part of an all-in-one file or holds no weights. A name that is not
    /// known is kept, so that whoever reads the tensors notices it.
    pub fn to_diffusers(&self, own: &str, shape: &[usize]) -> Vec<Picked> {
        let Some(name) = own.strip_prefix(&self.prefix) else {
            return Vec::new();
        };
        if !rules::is_weight(self.component, name) {
            return Vec::new();
        }
        if let Some(parts) = self.fused(name, shape) {
            return parts;
        }
        let counted = self.count_by_stage(name);
        let name = counted.as_deref().unwrap_or(name);
        let renamed = self.rules.iter().find_map(|(from, to)| rename(name, from, to));
        vec![Picked {
            squeeze: rules::is_squeezed(self.component, name),
            ..Picked::whole(renamed.unwrap_or_else(|| name.to_owned()))
        }]
    }

    /// What the file would call a tensor of diffusers, for messages.
    pub fn to_own(&self, name: &str) -> Option<String> {
        let own = self.rules.iter().find_map(|(to, from)| rename(name, from, to));
        let own = own.unwrap_or_else(|| name.to_owned());
        let own = self.count_through(&own).unwrap_or(own);
        Some(format!("{}{own}", self.prefix))
    }

    /// Queries, keys and values in one matrix, of the original CLIP.
    fn fused(&self, name: &str, shape: &[usize]) -> Option<Vec<Picked>> {
        if self.component != Component::ClipVision {
            return None;
        }
        let (layer, end) = match (name.split_once(".attn.to_qkv."), name.split_once(".attn.in_proj_")) {
            (Some(found), _) | (_, Some(found)) => found,
            _ => return None,
        };
        let number = layer.rsplit('.').next()?;
        let third = shape.first().filter(|&&n| n % 3 == 0).map(|n| n / 3);
        let parts = ["q_proj", "k_proj", "v_proj"].into_iter().enumerate();
        Some(
            parts
                .map(|(i, part)| Picked {
                    rows: third.map(|third| i * third..(i + 1) * third),
                    ..Picked::whole(format!("vision_model.encoder.layers.{number}.self_attn.{part}.{end}"))
                })
                .collect(),
        )
    }

    /// `decoder.upsamples.5.x` -> `decoder.upsamples.1.upsamples.1.x`
    fn count_by_stage(&self, name: &str) -> Option<String> {
        let (number, rest) = self.upsample(name)?;
        let (stage, block) = (number / self.blocks_of_stage, number % self.blocks_of_stage);
        Some(format!("decoder.upsamples.{stage}.upsamples.{block}.{rest}"))
    }

    /// The way back.
    fn count_through(&self, name: &str) -> Option<String> {
        let (stage, rest) = self.upsample(name)?;
        let (block, rest) = rest.strip_prefix("upsamples.")?.split_once('.')?;
        let number = stage * self.blocks_of_stage + block.parse::<usize>().ok()?;
        Some(format!("decoder.upsamples.{number}.{rest}"))
    }

    fn upsample<'a>(&self, name: &'a str) -> Option<(usize, &'a str)> {
        if self.blocks_of_stage == 0 {
            return None;
        }
        let (number, rest) = name.strip_prefix("decoder.upsamples.")?.split_once('.')?;
        Some((number.parse().ok()?, rest))
    }
}

/// `name` with its beginning `from` replaced by `to`; `{}` stands for a number, the same ones on both sides in order. What
/// follows `from` is kept. Names are matched at whole words between dots.
fn rename(name: &str, from: &str, to: &str) -> Option<String> {
    let mut words = name.split('.');
    let mut numbers = Vec::new();
    for expected in from.split('.') {
        let word = words.next()?;
        if expected == "{}" {
            word.parse::<usize>().ok()?;
            numbers.push(word);
        } else if word != expected {
            return None;
        }
    }
    let mut numbers = numbers.into_iter();
    let start = to.split('.').map(|word| match word {
        "{}" => numbers.next(),
        word => Some(word),
    });
    let renamed: Option<Vec<&str>> = start.chain(words.map(Some)).collect();
    renamed.map(|words| words.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_words_are_renamed_and_what_follows_is_kept() {
        let rule = |name| rename(name, "blocks.{}.ffn.0", "b.{}.net");
        assert_eq!(
            rule("blocks.12.ffn.0.weight_scale").as_deref(),
            Some("b.12.net.weight_scale")
        );
        assert_eq!(rule("blocks.1.ffn.0").as_deref(), Some("b.1.net"));
        for other in [
            "blocks.x.ffn.0.weight",
            "blocks.1.ffn.01",
            "blocks.1.ffn",
            "vace_blocks.1.ffn.0",
        ] {
            assert_eq!(rule(other), None, "{other}");
        }
    }
}
