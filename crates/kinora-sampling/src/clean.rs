//! Latents that are known and stay as they are while the rest is made: the first frame of a picture that is to move,
//! the end of a clip that is to go on.

use kinora_tensor::Tensor;

use crate::{Error, Result};

/// Which latents of a run are given. They are put back before every evaluation, so the model always sees them clean.
#[derive(Debug)]
pub enum Clean {
    /// The leading latent frames `[B,C,P,H,W]` of latents `[B,C,F,H,W]`, with P below F.
    Prefix(Tensor),
    /// Any elements: `values` where `mask` is not 0. Both have the shape of the latents.
    Elements {
        /// Not 0 where an element is given.
        mask: Tensor,
        /// The given elements; the others are not read.
        values: Tensor,
    },
}

impl Clean {
    /// How many leading latent frames are given.
    pub fn prefix_frames(&self) -> usize {
        match self {
            Self::Prefix(values) => values.dims().get(2).copied().unwrap_or(0),
            Self::Elements { .. } => 0,
        }
    }

    /// Whether the same elements are given, bit for bit.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        let same = |a: &Tensor, b: &Tensor| {
            let bits = |tensor: &Tensor| {
                tensor
                    .as_slice()
                    .iter()
                    .map(|value| value.to_bits())
                    .collect::<Vec<_>>()
            };
            a.shape() == b.shape() && bits(a) == bits(b)
        };
        match (self, other) {
            (Self::Prefix(a), Self::Prefix(b)) => same(a, b),
            (Self::Elements { mask, values }, Self::Elements { mask: m, values: v }) => {
                same(mask, m) && same(values, v)
            }
            _ => false,
        }
    }

    /// **Errors**: [`Error::CleanShape`] if this does not fit `latents`.
    pub(crate) fn check(&self, latents: &Tensor) -> Result<()> {
        let refuse = |clean: &Tensor, expected| {
            Err(Error::CleanShape {
                clean: clean.dims().to_vec(),
                latents: latents.dims().to_vec(),
                expected,
            })
        };
        match self {
            Self::Prefix(values) => match (values.dims(), latents.dims()) {
                (&[b, c, p, h, w], &[lb, lc, f, lh, lw]) if [b, c, h, w] == [lb, lc, lh, lw] && p < f => Ok(()),
                _ => refuse(values, "the same batch, channels, height and width, and fewer frames"),
            },
            Self::Elements { mask, values } => [mask, values]
                .into_iter()
                .find(|tensor| tensor.shape() != latents.shape())
                .map_or(Ok(()), |tensor| refuse(tensor, "the same shape")),
        }
    }

    /// Writes the given elements into `latents`, whose shape has been checked.
    pub(crate) fn impose(&self, latents: &mut Tensor) {
        match self {
            Self::Prefix(values) => {
                let (&[.., f, h, w], &[_, _, p, ..]) = (latents.dims(), values.dims()) else {
                    return;
                };
                let (whole, given) = (f * h * w, p * h * w);
                if given == 0 {
                    return;
                }
                let channels = latents.as_mut_slice().chunks_exact_mut(whole);
                for (channel, kept) in channels.zip(values.as_slice().chunks_exact(given)) {
                    channel[..given].copy_from_slice(kept);
                }
            }
            Self::Elements { mask, values } => {
                let given = mask.as_slice().iter().zip(values.as_slice());
                for (latent, (&mask, &value)) in latents.as_mut_slice().iter_mut().zip(given) {
                    if mask != 0.0 {
                        *latent = value;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_covers_the_leading_frames_of_every_channel() {
        let mut latents = Tensor::zeros([2, 3, 4, 1, 2]).unwrap();
        let clean = Clean::Prefix(Tensor::from_slice(&[1.0; 12], [2, 3, 1, 1, 2]).unwrap());
        clean.check(&latents).unwrap();
        clean.impose(&mut latents);
        assert_eq!(clean.prefix_frames(), 1);
        for channel in latents.as_slice().chunks(8) {
            assert_eq!(channel, [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        }
    }

    #[test]
    fn other_shapes_are_refused() {
        let latents = Tensor::zeros([1, 3, 4, 2, 2]).unwrap();
        for bad in [
            vec![1, 3, 4, 2, 2], // nothing left to make
            vec![1, 3, 1, 2, 3],
            vec![2, 3, 1, 2, 2],
            vec![3, 1, 2, 2],
        ] {
            let clean = Clean::Prefix(Tensor::zeros(&bad).unwrap());
            assert!(
                matches!(clean.check(&latents), Err(Error::CleanShape { .. })),
                "{bad:?}"
            );
        }
        let clean = Clean::Elements {
            mask: Tensor::zeros([1, 3, 4, 2, 2]).unwrap(),
            values: Tensor::zeros([48]).unwrap(),
        };
        assert!(matches!(clean.check(&latents), Err(Error::CleanShape { .. })));
    }
}
