//! What several families of models share bit for bit.

pub(crate) mod latents;
mod layer_norm;

pub(crate) use layer_norm::LayerNorm;
