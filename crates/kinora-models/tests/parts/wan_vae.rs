//! The autoencoders of Wan against diffusers' `AutoencoderKLWan` in tiny configurations, tap by tap, both ways.

use std::collections::BTreeMap;

use kinora_kernels::Precision;
use kinora_models::Error;
use kinora_models::wan_vae::{Decoder, Tiling, WanVae};
use kinora_tensor::Tensor;
use kinora_testkit::{Golden, assert_close};
use kinora_weights::Checkpoint;

const BOTH: [&str; 2] = ["wan_vae21_tiny", "wan_vae22_tiny"];

fn tiny(name: &str) -> (Golden, WanVae) {
    let golden = Golden::open(env!("CARGO_MANIFEST_DIR"), name);
    let checkpoint = Checkpoint::from_bytes(name, golden.checkpoint_bytes("weights.")).unwrap();
    let vae = WanVae::load(&checkpoint, golden.meta("config"), Precision::F32).unwrap();
    (golden, vae)
}

/// `[1, C, F, H, W]` → F frames `[H, W, C]`.
fn frames_of(clip: &Tensor) -> Vec<Tensor> {
    let [_, channels, count, height, width] = clip.dims_of("test", "[1, C, F, H, W]").unwrap();
    let area = height * width;
    let frame = |f: usize| {
        let values: Vec<f32> = (0..area * channels)
            .map(|i| clip.as_slice()[((i % channels) * count + f) * area + i / channels])
            .collect();
        Tensor::from_slice(&values, [height, width, channels]).unwrap()
    };
    (0..count).map(frame).collect()
}

fn flatten(frames: &[Tensor]) -> Vec<f32> {
    frames.iter().flat_map(Tensor::as_slice).copied().collect()
}

/// -1..1 → 0..1.
fn as_colours(frames: Vec<Tensor>) -> Vec<Tensor> {
    let map = |frame: Tensor| {
        let values: Vec<f32> = frame.as_slice().iter().map(|v| (v + 1.0) / 2.0).collect();
        Tensor::from_slice(&values, frame.dims()).unwrap()
    };
    frames.into_iter().map(map).collect()
}

/// What each part gave, frame after frame.
type Taps = BTreeMap<String, Vec<f32>>;

/// Compares every tap that the fixture has below `prefix`.
fn compare(golden: &Golden, prefix: &str, taps: &Taps, at_least: usize) {
    let mut compared = 0;
    for (name, got) in taps {
        let name = format!("{prefix}{name}");
        if golden.has(&name) {
            assert_close(
                &name,
                got,
                &flatten(&frames_of(&golden.tensor(&name))),
                golden.tolerance(),
            );
            compared += 1;
        }
    }
    assert!(
        compared >= at_least,
        "only {compared} taps were compared: {:?}",
        taps.keys()
    );
}

fn decode(decoder: &mut Decoder, latents: &Tensor, frames: std::ops::Range<usize>) -> (Vec<Tensor>, Taps) {
    let (mut out, mut taps) = (Vec::new(), Taps::new());
    for index in frames {
        let mut tap = |name: &str, got: &Tensor| {
            taps.entry(name.into()).or_default().extend_from_slice(got.as_slice());
        };
        let mut emit = |frame| {
            out.push(frame);
            Ok(())
        };
        decoder.push_tapped(latents, index, &mut tap, &mut emit).unwrap();
    }
    (out, taps)
}

fn encode(vae: &WanVae, frames: &[Tensor]) -> (Vec<Tensor>, Taps) {
    let (mut out, mut taps) = (Vec::new(), Taps::new());
    let mut encoder = vae.encoder();
    for frame in frames {
        let mut tap = |name: &str, got: &Tensor| {
            taps.entry(name.into()).or_default().extend_from_slice(got.as_slice());
        };
        let mut emit = |latent| {
            out.push(latent);
            Ok(())
        };
        encoder.push_tapped(frame, &mut tap, &mut emit).unwrap();
    }
    encoder.finish().unwrap();
    (out, taps)
}

#[test]
fn latents_decode_to_the_reference_frames_tap_by_tap() {
    for name in BOTH {
        let (golden, vae) = tiny(name);
        let latents = golden.tensor("decode_input");
        let (frames, taps) = decode(&mut vae.decoder(), &latents, 0..3);
        assert_eq!((frames.len(), vae.frames_of(3)), (9, 9));
        compare(&golden, "decode.", &taps, 9);
        let want = as_colours(frames_of(&golden.tensor("decoded")));
        assert_eq!(frames[0].dims(), want[0].dims());
        assert_close("decoded", &flatten(&frames), &flatten(&want), golden.tolerance());
    }
}

#[test]
fn frames_encode_to_the_reference_latents_tap_by_tap() {
    for name in BOTH {
        let (golden, vae) = tiny(name);
        let frames = as_colours(frames_of(&golden.tensor("frames")));
        let (latents, taps) = encode(&vae, &frames);
        compare(&golden, "encode.", &taps, 6);
        let moments = frames_of(&golden.tensor("moments"));
        assert_close("moments", &taps["moments"], &flatten(&moments), golden.tolerance());
        // `[C, h, w]` of each latent frame, from `[1, C, F, h, w]`.
        let want = golden.tensor("normalised");
        let [_, channels, count, height, width] = want.dims_of("test", "[1, C, F, h, w]").unwrap();
        let area = height * width;
        assert_eq!(latents.len(), count);
        for (f, latent) in latents.iter().enumerate() {
            assert_eq!(latent.dims(), &[channels, height, width]);
            let planes: Vec<f32> = (0..channels)
                .flat_map(|c| &want.as_slice()[(c * count + f) * area..][..area])
                .copied()
                .collect();
            assert_close("normalised", latent.as_slice(), &planes, golden.tolerance());
        }
    }
}

#[test]
fn int8_has_no_convolutions_and_takes_what_they_have() {
    for name in BOTH {
        let (golden, exact) = tiny(name);
        let checkpoint = Checkpoint::from_bytes(name, golden.checkpoint_bytes("weights.")).unwrap();
        let of = |precision| {
            let vae = WanVae::load(&checkpoint, golden.meta("config"), precision).unwrap();
            flatten(&decode(&mut vae.decoder(), &golden.tensor("decode_input"), 0..3).0)
        };
        assert_eq!(of(Precision::Int8), of(Precision::Int8.of_convolutions().unwrap()));
        let whole = flatten(&decode(&mut exact.decoder(), &golden.tensor("decode_input"), 0..3).0);
        let rounded = of(Precision::Bf16);
        let square: f32 = rounded.iter().zip(&whole).map(|(a, b)| (a - b).powi(2)).sum();
        let psnr = -10.0 * (square / whole.len() as f32).log10();
        // Three channels carry rounding further than the published widths, which give 56 dB.
        assert!(rounded != whole && psnr > 30.0, "{name}: {psnr} dB");
        println!("{name}: bf16 {psnr:.1} dB");
    }
}

#[test]
fn a_shorter_clip_is_the_beginning_of_a_longer_one() {
    let (golden, vae) = tiny("wan_vae22_tiny");
    let frames = as_colours(frames_of(&golden.tensor("frames")));
    let (all, few) = (encode(&vae, &frames).0, encode(&vae, &frames[..5]).0);
    assert_eq!((all.len(), few.len()), (3, 2));
    assert_eq!(flatten(&all[..2]), flatten(&few));
}

#[test]
fn a_clip_that_ends_inside_a_latent_frame_is_an_error_that_names_what_fits() {
    let (golden, vae) = tiny("wan_vae21_tiny");
    let frames = as_colours(frames_of(&golden.tensor("frames")));
    let mut encoder = vae.encoder();
    let mut latents = 0;
    for frame in &frames[..8] {
        encoder
            .push(frame, &mut |_| {
                latents += 1;
                Ok(())
            })
            .unwrap();
    }
    assert_eq!(latents, 2);
    let error = encoder.finish().unwrap_err();
    assert!(
        matches!(
            error,
            Error::UnfinishedClip {
                frames: 8,
                group: 4,
                fits: 5
            }
        ),
        "{error}"
    );
    assert!(vae.encoder().finish().is_ok(), "nothing was begun");
}

#[test]
fn tiles_with_a_halo_give_the_whole_frame() {
    for name in BOTH {
        let (_, vae) = tiny(name);
        let factor = vae.config().spatial_factor();
        // Large enough for tiles that do not reach the border of the frame with their halo.
        let latents = random_latents(&vae, [2, 9, 8]);
        let (whole, _) = decode(&mut vae.decoder(), &latents, 0..2);
        for tile_px in [factor, 2 * factor, 3 * factor, 100 * factor] {
            let mut decoder = vae.decoder_in_tiles(Tiling::Halo { tile_px }).unwrap();
            let (frames, _) = decode(&mut decoder, &latents, 0..2);
            assert_eq!(frames.len(), whole.len());
            assert_close(
                &format!("{name} in {tile_px}"),
                &flatten(&frames),
                &flatten(&whole),
                1e-6,
            );
        }
    }
}

/// Latents that are reproducible and of about the right size.
fn random_latents(vae: &WanVae, [count, height, width]: [usize; 3]) -> Tensor {
    let dims = [1, vae.config().latent_channels(), count, height, width];
    let mut state = 7u32;
    let values: Vec<f32> = (0..dims.iter().product())
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 22) as f32 - 2.0
        })
        .collect();
    Tensor::from_slice(&values, dims).unwrap()
}

#[test]
fn blended_tiles_are_those_of_the_reference() {
    let (golden, vae) = tiny("wan_vae21_tiny");
    let tiling = Tiling::Blend {
        tile_px: 16,
        stride_px: 8,
    };
    // The fixture holds latents as the decoder gets them.
    let raw = golden.tensor("tiled.decode_raw");
    let [_, channels, count, height, width] = raw.dims_of("test", "[1, C, F, h, w]").unwrap();
    let config = vae.config();
    let channel = |i: usize| i / (count * height * width) % channels;
    let values: Vec<f32> = (0..raw.elements())
        .map(|i| (raw.as_slice()[i] - config.latents_mean[channel(i)]) / config.latents_std[channel(i)])
        .collect();
    let latents = Tensor::from_slice(&values, raw.dims()).unwrap();
    let (frames, _) = decode(&mut vae.decoder_in_tiles(tiling).unwrap(), &latents, 0..count);
    let want = as_colours(frames_of(&golden.tensor("tiled.decoded")));
    assert_close("tiled.decoded", &flatten(&frames), &flatten(&want), golden.tolerance());
    // A frame that is not larger than a tile is not cut up.
    let (small, _) = decode(&mut vae.decoder_in_tiles(Tiling::BLEND).unwrap(), &latents, 0..count);
    assert_eq!(
        flatten(&small),
        flatten(&decode(&mut vae.decoder(), &latents, 0..count).0)
    );
}

#[test]
fn blended_tiles_of_patches_are_blended_before_they_are_pixels() {
    // Two latents high and one wide, in tiles of one latent that do not overlap: nothing to blend, each for itself.
    let (golden, vae) = tiny("wan_vae22_tiny");
    let latents = golden.tensor("decode_input");
    let tiling = Tiling::Blend {
        tile_px: 16,
        stride_px: 16,
    };
    let (frames, _) = decode(&mut vae.decoder_in_tiles(tiling).unwrap(), &latents, 0..2);
    let upper = {
        let [_, channels, count, _, _] = latents.dims_of("test", "[1, C, F, h, w]").unwrap();
        let values: Vec<f32> = latents.as_slice().iter().step_by(2).copied().collect();
        Tensor::from_slice(&values, [1, channels, count, 1, 1]).unwrap()
    };
    let (alone, _) = decode(&mut vae.decoder(), &upper, 0..2);
    for (frame, alone) in frames.iter().zip(&alone) {
        assert_eq!(&frame.as_slice()[..alone.elements()], alone.as_slice());
    }
}

#[test]
fn wrong_frames_and_tilings_are_refused() {
    let (golden, vae) = tiny("wan_vae22_tiny");
    let odd = Tensor::zeros([24, 32, 3]).unwrap();
    let text = vae.encoder().push(&odd, &mut |_| Ok(())).unwrap_err().to_string();
    assert!(text.contains("multiples of 16"), "{text}");
    let latents = Tensor::zeros([1, 5, 1, 2, 2]).unwrap();
    assert!(vae.decoder().push(&latents, 0, &mut |_| Ok(())).is_err());
    assert!(vae.decoder_in_tiles(Tiling::Halo { tile_px: 8 }).is_err());
    let thin = Tiling::Blend {
        tile_px: 16,
        stride_px: 0,
    };
    assert!(vae.decoder_in_tiles(thin).is_err());

    let checkpoint = Checkpoint::from_bytes("wan_vae22_tiny", golden.checkpoint_bytes("weights.")).unwrap();
    let half = WanVae::load_decoder(&checkpoint, golden.meta("config"), Precision::F32).unwrap();
    let even = Tensor::zeros([32, 32, 3]).unwrap();
    let error = half.encoder().push(&even, &mut |_| Ok(())).unwrap_err();
    assert!(matches!(error, Error::NoEncoder));
    let decoded = |vae: &WanVae| flatten(&decode(&mut vae.decoder(), &golden.tensor("decode_input"), 0..1).0);
    assert_eq!(decoded(&half), decoded(&vae));
}
