//! Which blocks a transformer has, in which order a call visits them, and what each is made of.

use std::fmt;

use super::config::Config;

/// One block, by the name that checkpoints and goldens give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Of the main list.
    Main(usize),
    /// Of the control branch.
    Control(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Main(i) => write!(f, "blocks.{i}"),
            Self::Control(i) => write!(f, "vace_blocks.{i}"),
        }
    }
}

impl Place {
    /// All blocks, the main list first.
    pub(super) fn all(config: &Config) -> impl Iterator<Item = Self> {
        let control = config.control_layers().len();
        (0..config.num_layers)
            .map(Self::Main)
            .chain((0..control).map(Self::Control))
    }

    /// Where this block stands in [`Place::all`].
    pub(super) const fn index(self, config: &Config) -> usize {
        match self {
            Self::Main(i) => i,
            Self::Control(i) => config.num_layers + i,
        }
    }

    /// The blocks as a call visits them: a control block right after the main block that waits for its hint, so that one
    /// hint is alive at a time.
    pub(super) fn visited(config: &Config, controlled: bool) -> Vec<Self> {
        let mut order = Vec::new();
        for i in 0..config.num_layers {
            order.push(Self::Main(i));
            if let Some(control) = config
                .control_layers()
                .iter()
                .position(|&layer| controlled && layer == i)
            {
                order.push(Self::Control(control));
            }
        }
        order
    }
}

/// One part of a block: what a checkpoint calls it, and its extents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// A linear layer with a bias: outputs, inputs.
    Linear(&'static str, usize, usize),
    /// Floats as they are.
    Floats(&'static str, Vec<usize>),
}

/// Everything that the block at `place` reads. [`super::block::Block::load`] is what counts; a test compares the two.
pub(super) fn parts(config: &Config, place: Place) -> Vec<Part> {
    let (width, ffn) = (config.width(), config.ffn_dim);
    let mut parts = vec![Part::Floats("scale_shift_table", vec![1, 6, width])];
    for (names, norms) in [
        (
            ["attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0"],
            ["attn1.norm_q.weight", "attn1.norm_k.weight"],
        ),
        (
            ["attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0"],
            ["attn2.norm_q.weight", "attn2.norm_k.weight"],
        ),
    ] {
        parts.extend(names.map(|name| Part::Linear(name, width, width)));
        parts.extend(norms.map(|name| Part::Floats(name, vec![width])));
    }
    if let Some(inputs) = config.added_kv_proj_dim {
        parts.extend(["attn2.add_k_proj", "attn2.add_v_proj"].map(|name| Part::Linear(name, width, inputs)));
        parts.push(Part::Floats("attn2.norm_added_k.weight", vec![width]));
    }
    if config.cross_attn_norm {
        parts.extend(["norm2.weight", "norm2.bias"].map(|name| Part::Floats(name, vec![width])));
    }
    parts.push(Part::Linear("ffn.net.0.proj", ffn, width));
    parts.push(Part::Linear("ffn.net.2", width, ffn));
    if let Place::Control(_) = place {
        parts.push(Part::Linear("proj_out", width, width));
    }
    parts
}

/// What some files hold beside the parts of a block: a norm of queries for the picture, which no implementation reads.
pub(super) const UNREAD: &str = "attn2.norm_added_q.weight";
