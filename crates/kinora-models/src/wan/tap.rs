//! Looking at tensors on their way through the model, for comparisons with the reference.

use std::fmt::Display;

use kinora_tensor::Tensor;

use crate::Result;

/// Shows tensors under the names that the goldens use. Without a viewer nothing is named, kept or computed.
pub(super) struct Taps<'a>(Option<&'a mut dyn FnMut(&str, &Tensor)>);

impl<'a> Taps<'a> {
    /// Nobody looks.
    pub(super) const fn none() -> Self {
        Self(None)
    }

    pub(super) const fn to(viewer: &'a mut dyn FnMut(&str, &Tensor)) -> Self {
        Self(Some(viewer))
    }

    /// A tensor that exists anyway.
    pub(super) fn show(&mut self, name: impl Display, tensor: &Tensor) {
        if let Some(viewer) = &mut self.0 {
            viewer(&name.to_string(), tensor);
        }
    }

    /// A tensor that a fused operation never writes: made for the viewer alone.
    pub(super) fn make(&mut self, name: impl Display, tensor: impl FnOnce() -> Result<Tensor>) -> Result<()> {
        if let Some(viewer) = &mut self.0 {
            viewer(&name.to_string(), &tensor()?);
        }
        Ok(())
    }
}
