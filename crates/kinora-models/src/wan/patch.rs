//! Latents to patches and back: pure moves, with the two orders inside a patch that the reference has.

use kinora_tensor::Tensor;

use crate::Result;

/// `[B,C,F,H,W]` → `[B,L,C·P]`; a token's features are ordered (channel, frame, row, column of the patch), as the
/// weight of the reference's strided convolution is.
pub(super) fn patchify(latents: &Tensor, [pf, ph, pw]: [usize; 3]) -> Result<Tensor> {
    let [batch, channels, frames, height, width] = latents.dims_of("patchify", "[B, C, F, H, W]")?;
    let tokens = (frames / pf) * (height / ph) * (width / pw);
    let mut out = latents.uninit_like([batch, tokens, channels * pf * ph * pw])?;
    let source = latents.as_slice();
    let mut values = out.as_mut_slice().iter_mut();
    for b in 0..batch {
        for_each_patch([frames / pf, height / ph, width / pw], |f, y, x| {
            for c in 0..channels {
                for_each_patch([pf, ph, pw], |df, dy, dx| {
                    let (f, y, x) = (f * pf + df, y * ph + dy, x * pw + dx);
                    let at = (((b * channels + c) * frames + f) * height + y) * width + x;
                    if let Some(value) = values.next() {
                        *value = source[at];
                    }
                });
            }
        });
    }
    Ok(out)
}

/// `[B,L,P·C]` → `[B,C,F,H,W]`; here a token's features are ordered (frame, row, column of the patch, channel).
pub(super) fn unpatchify(tokens: &Tensor, [gf, gh, gw]: [usize; 3], [pf, ph, pw]: [usize; 3]) -> Result<Tensor> {
    let [batch, _, features] = tokens.dims_of("unpatchify", "[B, L, P·C]")?;
    let channels = features / (pf * ph * pw);
    let [frames, height, width] = [gf * pf, gh * ph, gw * pw];
    let mut out = tokens.uninit_like([batch, channels, frames, height, width])?;
    let target = out.as_mut_slice();
    let mut values = tokens.as_slice().iter();
    for b in 0..batch {
        for_each_patch([gf, gh, gw], |f, y, x| {
            for_each_patch([pf, ph, pw], |df, dy, dx| {
                let (f, y, x) = (f * pf + df, y * ph + dy, x * pw + dx);
                for (c, value) in (0..channels).zip(&mut values) {
                    target[(((b * channels + c) * frames + f) * height + y) * width + x] = *value;
                }
            });
        });
    }
    Ok(out)
}

fn for_each_patch([frames, height, width]: [usize; 3], mut visit: impl FnMut(usize, usize, usize)) {
    for f in 0..frames {
        for y in 0..height {
            for x in 0..width {
                visit(f, y, x);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_keep_every_value_and_know_their_place() {
        let values: Vec<f32> = (0..2 * 3 * 2 * 4 * 4).map(|v| v as f32).collect();
        let latents = Tensor::from_slice(&values, [2, 3, 2, 4, 4]).unwrap();
        let patches = patchify(&latents, [1, 2, 2]).unwrap();
        assert_eq!(patches.dims(), &[2, 8, 12]);
        // Second token of the first frame: columns 2 and 3 of rows 0 and 1, channel by channel.
        assert_eq!(&patches.as_slice()[12..18], &[2.0, 3.0, 6.0, 7.0, 34.0, 35.0]);
    }

    #[test]
    fn unpatchify_reads_channels_last() {
        let tokens = Tensor::from_slice(&[0.0, 10.0, 1.0, 11.0, 2.0, 12.0, 3.0, 13.0], [1, 1, 8]).unwrap();
        let latents = unpatchify(&tokens, [1, 1, 1], [1, 2, 2]).unwrap();
        assert_eq!(latents.dims(), &[1, 2, 1, 2, 2]);
        assert_eq!(latents.as_slice(), &[0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 12.0, 13.0]);
    }
}
