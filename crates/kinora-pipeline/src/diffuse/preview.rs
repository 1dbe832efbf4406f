//! What the clip is going to look like, guessed from the latents of a step.

use kinora_kernels::trace;
use kinora_media::{Frame, resize};
use kinora_models::taehv::LatentRgb;
use kinora_sampling::Sigma;
use kinora_tensor::Tensor;

use crate::model::{Slot, Vae, VaeHalf};
use crate::render::tensor_to_frame;
use crate::{Error, Result};

/// Frames of a clip that are decoded for a preview.
const DECODED_FRAMES: usize = 4;
/// Width of a decoded preview.
const DECODED_WIDTH_PX: u32 = 160;

/// How latents are made visible between two steps.
#[derive(Clone, Copy)]
pub(crate) enum Previewer<'a> {
    /// One pixel a latent position, at the price of a small product; nothing for a model without a projection.
    Colours(Option<&'a LatentRgb>),
    /// A few frames through a tiny decoder.
    Decoder(&'a Slot<Vae, VaeHalf>),
}

impl Previewer<'_> {
    /// Small frames of the clean latents that `velocity` points to: one for each latent frame, or of some of them.
    ///
    /// **Shapes**: latents and velocity `[1, C, F, h, w]`.
    pub(super) fn frames(&self, latents: &Tensor, velocity: &Tensor, sigma: Sigma) -> Result<Vec<Frame>> {
        match self {
            Self::Colours(None) => Ok(Vec::new()),
            Self::Colours(Some(projection)) => coloured(latents, velocity, sigma, projection),
            Self::Decoder(slot) => decoded(latents, velocity, sigma, &*slot.get(VaeHalf::Decoder)?),
        }
    }
}

fn coloured(latents: &Tensor, velocity: &Tensor, sigma: Sigma, projection: &LatentRgb) -> Result<Vec<Frame>> {
    let [_, channels, frames, height, width] = latents.dims_of("preview", "[1, C, F, h, w]")?;
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

/// Some latent frames, each decoded as if a clip began with it.
fn decoded(latents: &Tensor, velocity: &Tensor, sigma: Sigma, vae: &Vae) -> Result<Vec<Frame>> {
    let _span = trace::span("preview", 0.0);
    let [_, channels, frames, height, width] = latents.dims_of("preview", "[1, C, F, h, w]")?;
    let area = height * width;
    let shown = frames.min(DECODED_FRAMES);
    let mut previews = Vec::with_capacity(shown);
    for index in 0..shown {
        let frame = index * frames / shown;
        let mut clean = Tensor::zeros([1, channels, 1, height, width])?;
        for (channel, plane) in clean.as_mut_slice().chunks_exact_mut(area.max(1)).enumerate() {
            let start = (channel * frames + frame) * area;
            let noisy = latents.as_slice()[start..].iter().zip(&velocity.as_slice()[start..]);
            for (value, (noisy, slope)) in plane.iter_mut().zip(noisy) {
                *value = noisy - sigma.0 as f32 * slope;
            }
        }
        for picture in vae.decoder(None)?.push(&clean, 0)? {
            previews.push(small(&tensor_to_frame(&picture)?)?);
        }
    }
    Ok(previews)
}

fn small(frame: &Frame) -> Result<Frame> {
    let width_px = DECODED_WIDTH_PX.min(frame.width_px);
    let height_px = (frame.height_px * width_px).div_ceil(frame.width_px.max(1)).max(1);
    resize(frame, width_px, height_px).map_err(Error::Media)
}
