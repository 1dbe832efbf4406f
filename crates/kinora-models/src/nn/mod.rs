//! What several families of models share bit for bit.

pub(crate) mod latents;
