//! The operations as contracts: a plain reference of each and fast CPU versions chosen at run time.
//!
//! Every operation is a plain function on [`kinora_tensor::Tensor`]: it checks the shapes that its contract states,
//! takes its result from the arena of its input, and runs on the [`Path`] that fits this machine. In-place operations
//! take their tensor by value and give it back, so nobody can keep reading the old content. Weights are packed once,
//! when a model is loaded, into [`Linear`] and [`Conv2d`].
//!
//! Two choices trade a stated error for speed, and both are made by the caller: [`Precision::Int8`] when a linear layer is
//! packed and [`AttentionMode::Fast`] when attention is called. Everything else is f32.
//!
//! `KINORA_KERNELS=reference|portable|neon|avx2|avx512` forces a path. The reference ([`mod@reference`]) is the meaning of
//! each operation in a few plain loops; the fast paths are tested against it. In f32 the result does not depend on the
//! number of threads.
//!
//! ```
//! use kinora_kernels::{Activation, Linear, linear};
//! use kinora_tensor::Tensor;
//! let w = Linear::pack(&[1.0, 2.0, 3.0, 4.0], Some(&[0.5, -20.0]), 2, 2)?;
//! let x = Tensor::from_slice(&[1.0, 1.0], [1, 2])?;
//! let y = linear(&x, &w, Activation::Relu)?;
//! assert_eq!(y.as_slice(), &[3.5, 0.0]);
//! # Ok::<(), kinora_kernels::Error>(())
//! ```

// Inner loops count indices, for the reason that `simd` gives.
#![allow(clippy::needless_range_loop)]

mod activation;
mod attention;
mod check;
mod conv;
mod elementwise;
mod ending;
mod error;
mod linear;
mod math;
mod path;
mod peak;
mod per_token;
mod product;
pub mod reference;
mod simd;
#[cfg(test)]
mod testing;
mod threads;
pub mod trace;

pub use activation::Activation;
pub use attention::{AttentionMode, KeyMask, ScoreBias, attention, attention_as, attention_biased, attention_buffers};
pub use conv::{
    Conv2d, Conv3d, PaddedFrame, Padding, conv2d, conv2d_concat, conv2d_residual, conv2d_upsampled_2x, conv3d_causal,
    conv3d_frames, conv3d_frames_residual,
};
pub use elementwise::{
    activate, add, layer_norm, layer_norm_modulate, pixel_shuffle, pixel_unshuffle, rms_norm, rms_norm_rope,
    rope_interleaved, softmax, upsample_nearest_2x,
};
pub use error::{Error, Result};
pub use linear::{Input, Linear, Precision, linear, linear_gated_residual, linear_residual, linears};
pub use path::Path;
pub use peak::{peak_f32, probe_f32, probe_int8};
pub use per_token::PerToken;
pub use threads::{set_threads, threads};
