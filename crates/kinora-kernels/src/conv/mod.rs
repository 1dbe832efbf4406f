//! Two-dimensional convolutions over channels-last images, with fused endings.

mod fast;
#[cfg(test)]
mod tests;

use kinora_tensor::Tensor;

use crate::ending::Ending;
use crate::gemm::Panels;
use crate::reference::ConvShape;
use crate::{Activation, Error, Path, Result, check, reference, threads, upsample_nearest_2x};

/// The weights of a square convolution with zero padding `kernel / 2`, packed once.
pub struct Conv2d {
    out_channels: usize,
    in_channels: usize,
    kernel: usize,
    stride: usize,
    weights: Weights,
    /// Zeros where there is none.
    bias: Vec<f32>,
}

enum Weights {
    /// `[O,C,k,k]`, for [`Path::Reference`].
    Plain(Vec<f32>),
    /// For the fast paths; rows are (ky, kx, c), columns are output channels.
    Panels(Panels),
}

impl Conv2d {
    /// Packs f32 weights.
    ///
    /// **Shapes**: `weight` `[O,C,kernel,kernel]`, `bias` `[O]`.
    ///
    /// **Errors**: other lengths; no channels; a kernel that is not 1 or 3; a stride that is not 1 or 2.
    pub fn pack(
        weight: &[f32],
        bias: Option<&[f32]>,
        out_channels: usize,
        in_channels: usize,
        kernel: usize,
        stride: usize,
    ) -> Result<Self> {
        check::at_least_one("conv2d", "out_channels", out_channels)?;
        check::at_least_one("conv2d", "in_channels", in_channels)?;
        one_of("kernel", kernel, [1, 3], "1 or 3")?;
        one_of("stride", stride, [1, 2], "1 or 2")?;
        let size = check::elements(
            "conv2d",
            "the size of the weight",
            &[out_channels, in_channels, kernel * kernel],
        )?;
        check::length("conv2d", "weight", weight.len(), size)?;
        if let Some(bias) = bias {
            check::length("conv2d", "bias", bias.len(), out_channels)?;
        }
        let weights = match Path::active()? {
            Path::Reference => Weights::Plain(weight.to_vec()),
            _ => Weights::Panels(Panels::pack(in_channels * kernel * kernel, out_channels, |o, out| {
                fast::column(weight, o, in_channels, kernel, out);
            })?),
        };
        Ok(Self {
            out_channels,
            in_channels,
            kernel,
            stride,
            weights,
            bias: bias.map_or_else(|| vec![0.0; out_channels], <[f32]>::to_vec),
        })
    }

    /// O.
    pub const fn out_channels(&self) -> usize {
        self.out_channels
    }

    /// C.
    pub const fn in_channels(&self) -> usize {
        self.in_channels
    }

    /// Memory held by the packed weights and the bias.
    pub fn bytes(&self) -> usize {
        let weights = match &self.weights {
            Weights::Plain(plain) => size_of_val(plain.as_slice()),
            Weights::Panels(panels) => panels.bytes(),
        };
        weights + size_of_val(self.bias.as_slice())
    }
}

fn one_of(what: &'static str, got: usize, allowed: [usize; 2], expected: &'static str) -> Result<()> {
    if allowed.contains(&got) {
        return Ok(());
    }
    Err(Error::Value {
        op: "conv2d",
        what,
        expected,
        got: got.to_string(),
    })
}

/// The input images: one tensor, or two whose channels are read as if they were joined.
#[derive(Clone, Copy)]
struct Images<'a> {
    first: &'a Tensor,
    second: Option<&'a Tensor>,
    /// 2 where every pixel is read as if it stood twice on both axes, else 1.
    enlarge: usize,
}

impl<'a> Images<'a> {
    const fn one(x: &'a Tensor) -> Self {
        Self {
            first: x,
            second: None,
            enlarge: 1,
        }
    }
}

/// act(conv(x)).
///
/// **Shapes**: `x` `[N,H,W,C]` -> `[N,H',W',O]`, H' = ceil(H / stride).
///
/// **Errors**: another rank or number of channels.
pub fn conv2d(x: &Tensor, w: &Conv2d, act: Activation) -> Result<Tensor> {
    let images = Images::one(x);
    let (shape, out_dims) = check_input("conv2d", images, w)?;
    let mut out = x.uninit_like(out_dims)?;
    run(images, w, shape, Ending::Activation(act), &mut out)?;
    Ok(out)
}

/// act(conv(upsample_nearest_2x(x))); the enlarged image is never made.
///
/// A 1x1 convolution commutes with the enlargement: do it before, at a quarter of the work.
///
/// **Shapes**: `x` `[N,H,W,C]` -> `[N,H',W',O]`, H' = ceil(2 H / stride).
///
/// **Errors**: another rank or number of channels.
pub fn conv2d_upsampled_2x(x: &Tensor, w: &Conv2d, act: Activation) -> Result<Tensor> {
    let images = Images {
        enlarge: 2,
        ..Images::one(x)
    };
    let (shape, out_dims) = check_input("conv2d_upsampled_2x", images, w)?;
    let mut out = x.uninit_like(out_dims)?;
    run(images, w, shape, Ending::Activation(act), &mut out)?;
    Ok(out)
}

/// act(conv(the channels of `a`, then those of `b`)); the joined image is never made.
///
/// **Shapes**: `a` `[N,H,W,A]`, `b` `[N,H,W,C-A]` -> `[N,H',W',O]`.
///
/// **Errors**: another rank, different images, another sum of channels.
pub fn conv2d_concat(a: &Tensor, b: &Tensor, w: &Conv2d, act: Activation) -> Result<Tensor> {
    let images = Images {
        first: a,
        second: Some(b),
        enlarge: 1,
    };
    let (shape, out_dims) = check_input("conv2d_concat", images, w)?;
    let mut out = a.uninit_like(out_dims)?;
    run(images, w, shape, Ending::Activation(act), &mut out)?;
    Ok(out)
}

/// act(conv(x) + residual), written over `residual`.
///
/// **Shapes**: `x` `[N,H,W,C]`, `residual` `[N,H',W',O]` -> `[N,H',W',O]`.
///
/// **Errors**: other shapes.
pub fn conv2d_residual(x: &Tensor, w: &Conv2d, mut residual: Tensor, act: Activation) -> Result<Tensor> {
    let images = Images::one(x);
    let (shape, out_dims) = check_input("conv2d_residual", images, w)?;
    if residual.dims() != out_dims {
        return Err(residual.mismatch("conv2d_residual", format!("{out_dims:?}")).into());
    }
    run(images, w, shape, Ending::Residual(act), &mut residual)?;
    Ok(residual)
}

fn check_input(op: &'static str, images: Images, w: &Conv2d) -> Result<(ConvShape, [usize; 4])> {
    let [count, height, width, first] = images.first.dims_of(op, "[N,H,W,C]")?;
    let second = match images.second {
        None => 0,
        Some(b) => {
            let [.., channels] = b.dims_of::<4>(op, "[N,H,W,C]")?;
            if b.dims() != [count, height, width, channels] {
                return Err(b.mismatch(op, format!("[{count},{height},{width},C]")).into());
            }
            channels
        }
    };
    if first + second != w.in_channels {
        let joined = if second > 0 {
            format!("{} channels with the second input's {second}", w.in_channels)
        } else {
            format!("[N,H,W,{}]", w.in_channels)
        };
        return Err(images.first.mismatch(op, joined).into());
    }
    let shape = ConvShape {
        height: height * images.enlarge,
        width: width * images.enlarge,
        in_channels: w.in_channels,
        out_channels: w.out_channels,
        kernel: w.kernel,
        stride: w.stride,
    };
    let (out_height, out_width) = shape.out_size();
    Ok((shape, [count, out_height, out_width, w.out_channels]))
}

fn run(images: Images, w: &Conv2d, shape: ConvShape, ending: Ending, out: &mut Tensor) -> Result<()> {
    let path = Path::enter()?;
    match (&w.weights, path) {
        (Weights::Panels(panels), Path::Reference) => {
            // The rows of a column are (ky, kx, c); the plain weight wants (c, ky, kx).
            let (packed, taps) = (panels.to_rows(), w.kernel * w.kernel);
            let at = |i: usize| i / taps % w.in_channels + (i % taps + i / taps / w.in_channels * taps) * w.in_channels;
            let plain: Vec<f32> = (0..packed.len()).map(|i| packed[at(i)]).collect();
            run_reference(images, w, &plain, shape, ending, out)?;
        }
        (Weights::Panels(panels), _) => {
            let block = |x: &'_ Tensor| x.dims().last().copied().unwrap_or(0);
            let second = images.second.map_or((&[][..], 0), |b| (b.as_slice(), block(b)));
            let blocks = [(images.first.as_slice(), block(images.first)), second];
            let source = fast::Source {
                blocks,
                enlarge: images.enlarge,
            };
            fast::conv2d(path, source, panels, &w.bias, shape, ending, out.as_mut_slice());
        }
        (Weights::Plain(plain), _) => {
            run_reference(images, w, plain, shape, ending, out)?;
            Path::note(Path::Reference);
        }
    }
    Ok(())
}

fn run_reference(
    images: Images,
    w: &Conv2d,
    weight: &[f32],
    shape: ConvShape,
    ending: Ending,
    out: &mut Tensor,
) -> Result<()> {
    let joined = match images.second {
        None => None,
        Some(b) => Some(join_channels(images.first, b)?),
    };
    let enlarged = match images.enlarge {
        1 => None,
        _ => Some(upsample_nearest_2x(images.first)?),
    };
    let x = joined.as_ref().or(enlarged.as_ref()).unwrap_or(images.first).as_slice();
    let (height, width) = shape.out_size();
    let (image_in, image_out) = (
        shape.height * shape.width * shape.in_channels,
        height * width * shape.out_channels,
    );
    let (act, add) = match ending {
        Ending::Activation(act) => (act, 0.0),
        Ending::Residual(act) => (act, 1.0),
        Ending::Gated(_) => (Activation::None, 0.0),
    };
    threads::for_chunks(out.as_mut_slice(), image_out, |n, out| {
        let mut sums = vec![0.0; out.len()];
        reference::conv2d(&x[n * image_in..][..image_in], weight, Some(&w.bias), shape, &mut sums);
        for (out, sum) in out.iter_mut().zip(sums) {
            let before = if add > 0.0 { f64::from(*out) } else { 0.0 };
            *out = reference::activation(f64::from(sum) + before, act) as f32;
        }
    });
    Ok(())
}

fn join_channels(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let [count, height, width, first] = a.dims_of("conv2d_concat", "[N,H,W,C]")?;
    let [.., second] = b.dims_of::<4>("conv2d_concat", "[N,H,W,C]")?;
    let mut joined = a.uninit_like([count, height, width, first + second])?;
    let pixels = joined.as_mut_slice().chunks_exact_mut((first + second).max(1));
    for (i, pixel) in pixels.enumerate() {
        pixel[..first].copy_from_slice(&a.as_slice()[i * first..][..first]);
        pixel[first..].copy_from_slice(&b.as_slice()[i * second..][..second]);
    }
    Ok(joined)
}
