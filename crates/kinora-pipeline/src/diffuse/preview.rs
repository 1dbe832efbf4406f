//! What the clip is going to look like, guessed from the latents of a step at the price of one small product.

use kinora_media::Frame;
use kinora_sampling::Sigma;
use kinora_tensor::Tensor;

use crate::model::VaeConfig;
use crate::{Error, Result};

/// One small frame a latent frame, one pixel a latent position, of the clean latents that `velocity` points to; none if
/// the autoencoder's config has no `latent_rgb` projection.
///
/// **Shapes**: latents and velocity `[1, C, F, h, w]` → F frames of w×h pixels.
pub(super) fn frames(latents: &Tensor, velocity: &Tensor, sigma: Sigma, vae: &VaeConfig) -> Result<Vec<Frame>> {
    let [_, channels, frames, height, width] = latents.dims_of("preview", "[1, C, F, h, w]")?;
    let Some(projection) = vae.latent_rgb() else {
        return Ok(Vec::new());
    };
    let area = height * width;
    let mut previews = Vec::with_capacity(frames);
    for frame in 0..frames {
        let mut colours = vec![projection.bias; area];
        for (channel, weight) in projection.weight.iter().enumerate().take(channels) {
            let start = (channel * frames + frame) * area;
            let (noisy, slope) = (
                &latents.as_slice()[start..][..area],
                &velocity.as_slice()[start..][..area],
            );
            for (colour, (noisy, slope)) in colours.iter_mut().zip(noisy.iter().zip(slope)) {
                let clean = noisy - sigma.0 as f32 * slope;
                colour.iter_mut().zip(weight).for_each(|(sum, w)| *sum += clean * w);
            }
        }
        let rgb = colours
            .iter()
            .flatten()
            .map(|v| (v.clamp(0.0, 1.0) * 255.0).round() as u8)
            .collect();
        previews.push(Frame::new(width as u32, height as u32, rgb).map_err(Error::Media)?);
    }
    Ok(previews)
}
