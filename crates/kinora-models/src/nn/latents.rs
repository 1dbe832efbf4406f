//! Latents between the layout of the pipeline and the frames of an autoencoder.
//!
//! Outside, latents are `[1, C, F, h, w]` and normalised, each channel to mean 0 and deviation 1; inside, one latent frame
//! at a time is channels last and as the network was trained on it.

use kinora_tensor::Tensor;

use crate::Result;

/// The mean and the standard deviation of each channel.
#[derive(Clone, Copy)]
pub(crate) struct Scale<'a> {
    pub(crate) mean: &'a [f32],
    pub(crate) std: &'a [f32],
}

impl Scale<'_> {
    /// Frame `index` of `[1, C, F, h, w]`, scaled back to what the decoder was trained on: `[1, h, w, C]`.
    pub(crate) fn denormalise(self, op: &'static str, latents: &Tensor, index: usize) -> Result<Tensor> {
        let [batch, channels, frames, height, width] = latents.dims_of(op, "[1, C, F, h, w]")?;
        if batch != 1 || channels != self.mean.len() || index >= frames {
            let expected = format!("[1, {}, more than {index}, h, w]", self.mean.len());
            return Err(latents.mismatch(op, expected).into());
        }
        let area = height * width;
        let mut out = latents.uninit_like([1, height, width, channels])?;
        for (c, (mean, std)) in self.mean.iter().zip(self.std).enumerate() {
            let plane = &latents.as_slice()[(c * frames + index) * area..][..area];
            for (pixel, value) in out.as_mut_slice().chunks_exact_mut(channels).zip(plane) {
                pixel[c] = value * std + mean;
            }
        }
        Ok(out)
    }

    /// The reverse for one frame: the first channels of `[1, h, w, at least C]` → `[C, h, w]`.
    pub(crate) fn normalise(self, op: &'static str, latent: &Tensor) -> Result<Tensor> {
        let [_, height, width, stride] = latent.dims_of(op, "[1, h, w, C]")?;
        let (area, channels) = (height * width, self.mean.len());
        if stride < channels {
            return Err(latent.mismatch(op, format!("[1, h, w, {channels}]")).into());
        }
        let mut out = latent.uninit_like([channels, height, width])?;
        for (c, plane) in out.as_mut_slice().chunks_exact_mut(area.max(1)).enumerate() {
            let (mean, std) = (self.mean[c], self.std[c]);
            for (value, pixel) in plane.iter_mut().zip(latent.as_slice().chunks_exact(stride)) {
                *value = (pixel[c] - mean) / std;
            }
        }
        Ok(out)
    }
}
