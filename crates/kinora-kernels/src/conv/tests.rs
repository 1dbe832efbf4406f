//! Hand-computed values and refusals.

use super::*;
use crate::testing::{assert_paths_agree, fast_paths, nmse, tensor, values};
use crate::{Activation, set_threads, upsample_nearest_2x};

fn image(values: &[f32], dims: [usize; 4]) -> Tensor {
    Tensor::from_slice(values, dims).unwrap()
}

/// 1..=9 as a 3x3 image of one channel.
fn nine() -> Tensor {
    image(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], [1, 3, 3, 1])
}

#[test]
fn a_box_filter_sums_neighbours_and_zeros_outside() {
    let w = Conv2d::pack(&[1.0; 9], Some(&[0.5]), 1, 1, 3, 1).unwrap();
    let y = conv2d(&nine(), &w, Activation::None).unwrap();
    assert_eq!(y.as_slice(), &[12.5, 21.5, 16.5, 27.5, 45.5, 33.5, 24.5, 39.5, 28.5]);
}

#[test]
fn taps_are_rows_then_columns_and_stride_two_takes_every_other_output() {
    // Only tap (ky, kx) = (0, 2): the pixel above and to the right.
    let mut tap = [0.0; 9];
    tap[2] = 1.0;
    let w = Conv2d::pack(&tap, None, 1, 1, 3, 1).unwrap();
    let y = conv2d(&nine(), &w, Activation::None).unwrap();
    assert_eq!(y.as_slice(), &[0.0, 0.0, 0.0, 2.0, 3.0, 0.0, 5.0, 6.0, 0.0]);
    let w = Conv2d::pack(&tap, None, 1, 1, 3, 2).unwrap();
    let y = conv2d(&nine(), &w, Activation::None).unwrap();
    assert_eq!(y.dims(), &[1, 2, 2, 1]);
    assert_eq!(y.as_slice(), &[0.0, 0.0, 5.0, 0.0]);
}

#[test]
fn padding_right_and_below_starts_at_the_first_pixel() {
    let w = Conv2d::pack(&[1.0; 9], None, 1, 1, 3, 2)
        .unwrap()
        .with_padding(Padding::RightBottom);
    let x: Vec<f32> = (1..=16).map(|v| v as f32).collect();
    // Windows at (0,0), (0,2), (2,0), (2,2), of which the fourth row and column of zeros are outside.
    let y = conv2d(&image(&x, [1, 4, 4, 1]), &w, Activation::None).unwrap();
    assert_eq!(y.dims(), &[1, 2, 2, 1]);
    assert_eq!(y.as_slice(), &[54.0, 45.0, 72.0, 54.0]);
    let y = conv2d(&nine(), &w, Activation::None).unwrap();
    assert_eq!((y.dims(), y.as_slice()), (&[1, 1, 1, 1][..], &[45.0][..]));
    let one = conv2d(&image(&[1.0], [1, 1, 1, 1]), &w, Activation::None).unwrap();
    assert_eq!(one.elements(), 0);
}

#[test]
fn every_path_pads_right_and_below_like_the_reference() {
    for (height, width, inner, outer, stride) in
        [(6, 14, 4, 33, 2), (7, 9, 5, 12, 2), (8, 26, 16, 40, 2), (5, 6, 3, 8, 1)]
    {
        let (weight, x) = (values(91, outer * inner * 9), tensor(92, [2, height, width, inner]));
        for precision in [Precision::F32, Precision::Bf16] {
            let case = format!("right and below, {height}x{width}x{inner} to {outer}, {precision:?}");
            assert_paths_agree(&case, || {
                let w = Conv2d::pack_as(&weight, None, [outer, inner], 3, stride, precision)?;
                conv2d(&x, &w.with_padding(Padding::RightBottom), Activation::None)
            });
        }
    }
}

#[test]
fn one_by_one_mixes_channels_and_concat_reads_a_then_b() {
    // Output 0: 1*c0 + 10*c1 + 100*c2; output 1: -c2.
    let w = Conv2d::pack(&[1.0, 10.0, 100.0, 0.0, 0.0, -1.0], None, 2, 3, 1, 1).unwrap();
    let x = image(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1, 1, 2, 3]);
    let y = conv2d(&x, &w, Activation::None).unwrap();
    assert_eq!(y.as_slice(), &[321.0, -3.0, 654.0, -6.0]);
    let (a, b) = (
        image(&[1.0, 4.0], [1, 1, 2, 1]),
        image(&[2.0, 3.0, 5.0, 6.0], [1, 1, 2, 2]),
    );
    assert_eq!(
        conv2d_concat(&a, &b, &w, Activation::None).unwrap().as_slice(),
        y.as_slice()
    );
    let y = conv2d_residual(&x, &w, image(&[0.0, 5.0, 0.0, 5.0], [1, 1, 2, 2]), Activation::Relu).unwrap();
    assert_eq!(y.as_slice(), &[321.0, 2.0, 654.0, 0.0]);
}

#[test]
fn an_image_enlarged_on_the_way_in_gives_the_same_bits() {
    let w = Conv2d::pack(&values(1, 5 * 4 * 9), None, 5, 4, 3, 1).unwrap();
    let x = tensor(2, [2, 3, 7, 4]);
    let fused = conv2d_upsampled_2x(&x, &w, Activation::Silu).unwrap();
    let plain = conv2d(&upsample_nearest_2x(&x).unwrap(), &w, Activation::Silu).unwrap();
    assert_eq!(fused.dims(), &[2, 6, 14, 5]);
    assert_eq!(fused.as_slice(), plain.as_slice());
    assert!(conv2d_upsampled_2x(&Tensor::zeros([1, 4, 4, 3]).unwrap(), &w, Activation::None).is_err());
}

#[test]
fn wrong_shapes_are_refused() {
    assert!(Conv2d::pack(&[], None, 0, 1, 3, 1).is_err());
    assert!(Conv2d::pack(&[], None, 1, 0, 3, 1).is_err());
    assert!(Conv2d::pack(&[0.0; 25], None, 1, 1, 5, 1).is_err());
    assert!(Conv2d::pack(&[0.0; 9], None, 1, 1, 3, 3).is_err());
    assert!(Conv2d::pack(&[0.0; 8], None, 1, 1, 3, 1).is_err());
    assert!(Conv2d::pack(&[0.0; 9], Some(&[0.0; 2]), 1, 1, 3, 1).is_err());
    let w = Conv2d::pack(&[0.0; 18], None, 1, 2, 3, 1).unwrap();
    let one = Tensor::zeros([1, 4, 4, 1]).unwrap();
    assert!(conv2d(&one, &w, Activation::None).is_err());
    assert!(conv2d(&Tensor::zeros([4, 4, 2]).unwrap(), &w, Activation::None).is_err());
    assert!(conv2d_concat(&one, &Tensor::zeros([1, 4, 3, 1]).unwrap(), &w, Activation::None).is_err());
    let x = Tensor::zeros([1, 4, 4, 2]).unwrap();
    assert!(conv2d_residual(&x, &w, Tensor::zeros([1, 4, 4, 2]).unwrap(), Activation::None).is_err());
    assert_eq!(
        conv2d(&Tensor::zeros([0, 4, 4, 2]).unwrap(), &w, Activation::None)
            .unwrap()
            .elements(),
        0
    );
}

/// (images, height, width, in, out, kernel, stride).
const SHAPES: [(usize, usize, usize, usize, usize, usize, usize); 12] = [
    (1, 1, 1, 1, 1, 3, 1),
    (2, 5, 7, 3, 5, 3, 1),
    (1, 6, 13, 4, 33, 3, 2),
    (1, 7, 9, 5, 12, 3, 2),
    (2, 9, 32, 16, 64, 3, 1),
    (1, 4, 25, 48, 70, 3, 1),
    (3, 3, 12, 64, 12, 3, 1),
    (1, 5, 11, 7, 40, 1, 1),
    (2, 6, 10, 9, 3, 1, 2),
    (1, 18, 32, 32, 32, 3, 1),
    (0, 4, 4, 2, 3, 3, 1),
    (1, 0, 4, 2, 3, 3, 1),
];

#[test]
fn every_path_and_ending_agrees_with_the_reference() {
    for (i, (images, height, width, inner, outer, kernel, stride)) in SHAPES.into_iter().enumerate() {
        let seed = i as u32 * 10 + 1;
        let (weight, bias) = (values(seed, outer * inner * kernel * kernel), values(seed + 1, outer));
        let bias = (i % 3 != 0).then_some(bias.as_slice());
        let pack = || Conv2d::pack(&weight, bias, outer, inner, kernel, stride);
        let x = tensor(seed + 2, [images, height, width, inner]);
        let case = format!("{images}x{height}x{width}x{inner} to {outer}, {kernel}/{stride}");
        let acts = [
            Activation::Relu,
            Activation::None,
            Activation::Silu,
            Activation::SoftClamp3,
        ];
        let act = acts[i % acts.len()];
        assert_paths_agree(&case, || conv2d(&x, &pack()?, act));
        let (out_height, out_width) = (height.div_ceil(stride), width.div_ceil(stride));
        let residual = tensor(seed + 3, [images, out_height, out_width, outer]);
        assert_paths_agree(&format!("{case} residual"), || {
            conv2d_residual(&x, &pack()?, residual.try_clone()?, act)
        });
        let first = inner / 3;
        let a = tensor(seed + 4, [images, height, width, first]);
        let b = tensor(seed + 5, [images, height, width, inner - first]);
        assert_paths_agree(&format!("{case} enlarged"), || conv2d_upsampled_2x(&x, &pack()?, act));
        assert_paths_agree(&format!("{case} concat"), || conv2d_concat(&a, &b, &pack()?, act));
    }
}

#[test]
fn one_two_and_three_threads_give_the_same_bits() {
    let (weight, x) = (values(1, 40 * 24 * 9), tensor(2, [2, 13, 30, 24]));
    for path in fast_paths() {
        let run = |count| {
            set_threads(count).unwrap();
            conv2d(&x, &Conv2d::pack(&weight, None, 40, 24, 3, 1)?, Activation::Silu)
        };
        let [one, two, three] = [1, 2, 3].map(|count| path.with(|| run(count)).unwrap().unwrap());
        assert_eq!(one.as_slice(), two.as_slice(), "{path}");
        assert_eq!(one.as_slice(), three.as_slice(), "{path}");
    }
}

#[test]
fn weights_packed_for_one_path_work_on_every_other() {
    let (weight, x) = (values(1, 5 * 4 * 9), tensor(2, [1, 6, 7, 4]));
    let packed = |path: Path| path.with(|| Conv2d::pack(&weight, None, 5, 4, 3, 1)).unwrap().unwrap();
    let run = |path: Path, w: &Conv2d| path.with(|| conv2d(&x, w, Activation::None)).unwrap().unwrap();
    for path in Path::available() {
        let [own, other] = [path, Path::Reference].map(|p| run(path, &packed(p)));
        assert_eq!(own.as_slice(), other.as_slice(), "{path}");
        assert_eq!(Path::last_ran(), Some(path));
    }
}

#[test]
fn bf16_agrees_on_every_path_and_stays_near_f32() {
    for (inner, outer, kernel, stride) in [(3, 5, 3, 1), (16, 40, 3, 2), (7, 33, 1, 1)] {
        let weight = values(3, outer * inner * kernel * kernel);
        let x = tensor(4, [2, 9, 14, inner]);
        let run = |precision| {
            let w = Conv2d::pack_as(&weight, None, [outer, inner], kernel, stride, precision)?;
            conv2d(&x, &w, Activation::Silu)
        };
        assert_paths_agree(&format!("bf16 {inner} to {outer}"), || run(Precision::Bf16));
        let (a, b) = (tensor(5, [2, 9, 14, 1]), tensor(6, [2, 9, 14, inner - 1]));
        assert_paths_agree(&format!("bf16 {inner} to {outer} concat"), || {
            let w = Conv2d::pack_as(&weight, None, [outer, inner], kernel, stride, Precision::Bf16)?;
            conv2d_concat(&a, &b, &w, Activation::Silu)
        });
        let [exact, near] = [Precision::F32, Precision::Bf16].map(|p| run(p).unwrap());
        let error = nmse(near.as_slice(), exact.as_slice());
        assert!((1e-8..3e-5).contains(&error), "{error:e}");
    }
}

/// (frames, past frames or none, height, width, in, out, kernels, strides).
type Clip = (usize, Option<usize>, usize, usize, usize, usize, [usize; 2], [usize; 2]);
const CLIPS: [Clip; 7] = [
    (1, None, 1, 1, 1, 1, [3, 3], [1, 1]),
    (4, None, 5, 7, 3, 5, [3, 3], [1, 1]),
    (2, Some(2), 6, 13, 4, 33, [3, 3], [1, 1]),
    (5, Some(0), 4, 9, 8, 12, [3, 1], [2, 1]),
    (4, Some(1), 4, 9, 8, 12, [3, 1], [2, 1]),
    (2, None, 7, 9, 5, 12, [1, 3], [1, 2]),
    (3, None, 6, 25, 32, 32, [3, 3], [1, 1]),
];

#[test]
fn causal_clips_agree_with_the_reference_on_every_path() {
    for (i, (frames, past, height, width, inner, outer, kernel, stride)) in CLIPS.into_iter().enumerate() {
        let seed = i as u32 * 10 + 500;
        let weight = values(seed, outer * inner * kernel[0] * kernel[1] * kernel[1]);
        let bias = values(seed + 1, outer);
        let x = tensor(seed + 2, [frames, height, width, inner]);
        let past = past.map(|frames| tensor(seed + 3, [frames, height, width, inner]));
        for precision in [Precision::F32, Precision::Bf16] {
            assert_paths_agree(&format!("clip {i} {precision:?}"), || {
                let w = Conv3d::pack_as(&weight, Some(&bias), [outer, inner], kernel, stride, precision)?;
                conv3d_causal(&x, past.as_ref(), &w, Activation::Silu)
            });
        }
    }
}

#[test]
fn a_clip_convolved_in_pieces_is_the_clip_convolved_at_once() {
    let weight = values(1, 6 * 4 * 27);
    let w = Conv3d::pack_as(&weight, None, [6, 4], [3, 3], [1, 1], Precision::F32).unwrap();
    let frame = 5 * 8;
    let clip = tensor(2, [7, 5, 8, 4]);
    let part = |from: usize, to: usize| {
        Tensor::from_slice(&clip.as_slice()[from * frame * 4..to * frame * 4], [to - from, 5, 8, 4]).unwrap()
    };
    let whole = conv3d_causal(&clip, None, &w, Activation::None).unwrap();
    assert_eq!(whole.dims(), &[7, 5, 8, 6]);
    let first = conv3d_causal(&part(0, 3), None, &w, Activation::None).unwrap();
    let second = conv3d_causal(&part(3, 7), Some(&part(1, 3)), &w, Activation::None).unwrap();
    assert_eq!(&whole.as_slice()[..3 * frame * 6], first.as_slice());
    assert_eq!(&whole.as_slice()[3 * frame * 6..], second.as_slice());
    // One pixel, one channel: the sum of the frame and the two before it, each with its own weight.
    let w = Conv3d::pack_as(&[100.0, 10.0, 1.0], None, [1, 1], [3, 1], [1, 1], Precision::F32).unwrap();
    let clip = Tensor::from_slice(&[1.0, 2.0, 3.0], [3, 1, 1, 1]).unwrap();
    let y = conv3d_causal(&clip, None, &w, Activation::None).unwrap();
    assert_eq!(y.as_slice(), &[1.0, 12.0, 123.0]);
}

#[test]
fn clips_of_other_shapes_are_refused() {
    let pack = |kernel, stride| Conv3d::pack_as(&[0.0; 54], None, [1, 2], kernel, stride, Precision::F32);
    assert!(pack([3, 1], [1, 1]).is_err() && pack([3, 3], [3, 1]).is_err() && pack([5, 3], [1, 1]).is_err());
    let w = pack([3, 3], [1, 1]).unwrap();
    let zeros = |dims: [usize; 4]| Tensor::zeros(dims).unwrap();
    assert!(conv3d_causal(&zeros([2, 4, 4, 1]), None, &w, Activation::None).is_err());
    let past = zeros([1, 4, 5, 2]);
    assert!(conv3d_causal(&zeros([2, 4, 4, 2]), Some(&past), &w, Activation::None).is_err());
    let (one, none) = (zeros([1, 4, 4, 2]), zeros([0, 4, 4, 2]));
    assert!(conv3d_causal(&one, Some(&none), &w, Activation::None).is_err());
    assert!(conv3d_causal(&none, None, &w, Activation::None).is_err());
}

/// Frame `index` of a clip `[F,H,W,C]` alone.
fn frame_of(clip: &Tensor, index: usize) -> Tensor {
    let [_, height, width, channels] = clip.dims_of("test", "[F,H,W,C]").unwrap();
    let frame = height * width * channels;
    Tensor::from_slice(&clip.as_slice()[index * frame..][..frame], [1, height, width, channels]).unwrap()
}

#[test]
fn padded_frames_give_the_bits_of_the_whole_clip() {
    for (kernel, inner, outer) in [
        ([3, 3], 5, 33),
        ([3, 3], 32, 40),
        ([3, 1], 6, 12),
        ([1, 3], 4, 3),
        ([1, 1], 7, 70),
    ] {
        let weight = values(1, outer * inner * kernel[0] * kernel[1] * kernel[1]);
        let (bias, clip) = (values(2, outer), tensor(3, [4, 6, 25, inner]));
        let residual = tensor(4, [1, 6, 25, outer]);
        for (precision, path) in [Precision::F32, Precision::Bf16]
            .into_iter()
            .flat_map(|p| Path::available().into_iter().map(move |path| (p, path)))
        {
            let run = || -> Result<()> {
                let w = Conv3d::pack_as(&weight, Some(&bias), [outer, inner], kernel, [1, 1], precision)?;
                let whole = conv3d_causal(&clip, None, &w, Activation::Silu)?;
                let frames = [0, 1, 2, 3].map(|i| PaddedFrame::new(&frame_of(&clip, i), &w).unwrap());
                for newest in 0..4 {
                    let window: Vec<_> = (0..kernel[0])
                        .map(|t| (newest + 1 + t).checked_sub(kernel[0]).map(|i| &frames[i]))
                        .collect();
                    let one = conv3d_frames(&window, &w, Activation::Silu)?;
                    assert_eq!(
                        one.as_slice(),
                        frame_of(&whole, newest).as_slice(),
                        "{kernel:?} {precision:?} {path}"
                    );
                    let plain = conv3d_frames(&window, &w, Activation::None)?;
                    let added = conv3d_frames_residual(&window, &w, residual.try_clone()?)?;
                    let sums = plain.as_slice().iter().zip(residual.as_slice()).map(|(a, b)| a + b);
                    assert!(
                        sums.zip(added.as_slice())
                            .all(|(a, b)| (a - b).abs() <= 1e-6 * a.abs().max(1.0))
                    );
                }
                Ok(())
            };
            path.with(run).unwrap().unwrap();
        }
    }
}

#[test]
fn a_normed_frame_is_normed_then_activated_on_every_path() {
    let x = tensor(5, [1, 5, 9, 20]);
    let (gamma, weight) = (values(6, 20), values(7, 20 * 8 * 9));
    assert_paths_agree("normed frame", || {
        let w = Conv3d::pack_as(&weight, None, [8, 20], [1, 3], [1, 1], Precision::F32)?;
        let frame = PaddedFrame::normed(&x, &gamma, 1e-24 / 20.0, Activation::Silu, &w)?;
        conv3d_frames(&[Some(&frame)], &w, Activation::None)
    });
    let w = Conv3d::pack_as(&weight, None, [8, 20], [1, 3], [1, 1], Precision::F32).unwrap();
    let normed = crate::rms_norm(x.try_clone().unwrap(), &gamma, 1e-24 / 20.0).unwrap();
    let normed = crate::activate(normed, Activation::Silu).unwrap();
    let want = conv3d_causal(&normed, None, &w, Activation::None).unwrap();
    let frame = PaddedFrame::normed(&x, &gamma, 1e-24 / 20.0, Activation::Silu, &w).unwrap();
    let got = conv3d_frames(&[Some(&frame)], &w, Activation::None).unwrap();
    assert_eq!(got.as_slice(), want.as_slice());
    assert_eq!(frame.bytes(), 7 * 11 * 20 * 4);
}

#[test]
fn padded_frames_that_do_not_fit_are_refused() {
    let pack = |kernel, precision| Conv3d::pack_as(&[0.5; 54], None, [1, 2], kernel, [1, 1], precision).unwrap();
    let w = pack([3, 3], Precision::F32);
    let frame = |height, w: &Conv3d| PaddedFrame::new(&Tensor::zeros([1, height, 4, 2]).unwrap(), w).unwrap();
    let (one, other) = (frame(4, &w), frame(5, &w));
    let act = Activation::None;
    assert!(conv3d_frames(&[None, None, Some(&one)], &w, act).is_ok());
    assert!(conv3d_frames(&[Some(&one)], &w, act).is_err());
    assert!(conv3d_frames(&[None, None, None], &w, act).is_err());
    assert!(conv3d_frames(&[Some(&one), None, Some(&one)], &w, act).is_err());
    assert!(conv3d_frames(&[None, Some(&other), Some(&one)], &w, act).is_err());
    let bf16 = pack([3, 3], Precision::Bf16);
    assert!(conv3d_frames(&[None, None, Some(&one)], &bf16, act).is_err());
    let residual = Tensor::zeros([1, 4, 5, 1]).unwrap();
    assert!(conv3d_frames_residual(&[None, None, Some(&one)], &w, residual).is_err());
    assert!(PaddedFrame::new(&Tensor::zeros([2, 4, 4, 2]).unwrap(), &w).is_err());
    assert!(PaddedFrame::normed(&Tensor::zeros([1, 4, 4, 2]).unwrap(), &[1.0], 0.0, act, &w).is_err());
}
