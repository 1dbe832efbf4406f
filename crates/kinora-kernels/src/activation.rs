//! The pointwise functions that layers end with.

/// A pointwise function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Activation {
    /// x.
    #[default]
    None,
    /// 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), PyTorch's `gelu(approximate="tanh")`.
    GeluTanh,
    /// 0.5 x (1 + erf(x / sqrt 2)), PyTorch's `gelu`.
    GeluErf,
    /// x / (1 + exp(-x)).
    Silu,
    /// max(x, 0).
    Relu,
    /// 3 tanh(x / 3): the clamp at the entry of the TAEHV decoder.
    SoftClamp3,
}
