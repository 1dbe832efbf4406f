//! The autoencoder against its reference, layer by layer; it needs the private layers, so it is a unit test.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a helper that fails fails its test

use kinora_kernels::{Precision, upsample_nearest_2x};
use kinora_tensor::Tensor;
use kinora_testkit::{Golden, assert_close};
use kinora_weights::Checkpoint;

use super::layers::{Layer, Memory};
use super::{Config, Taehv};

fn tiny() -> (Golden, Taehv) {
    named("taehv_tiny")
}

fn named(name: &str) -> (Golden, Taehv) {
    let golden = Golden::open(env!("CARGO_MANIFEST_DIR"), name);
    let checkpoint = Checkpoint::from_bytes(name, golden.checkpoint_bytes("weights.")).unwrap();
    let vae = Taehv::load(&checkpoint, golden.meta("config"), Precision::F32).unwrap();
    (golden, vae)
}

/// `[F, C, H, W]` → F frames `[H, W, C]`.
fn channels_last(frames: &Tensor) -> Vec<Tensor> {
    let [_, channels, height, width] = frames.dims_of("test", "[F, C, H, W]").unwrap();
    let area = height * width;
    let frame = |planes: &[f32]| {
        let values: Vec<f32> = (0..area * channels)
            .map(|i| planes[(i % channels) * area + i / channels])
            .collect();
        Tensor::from_slice(&values, [height, width, channels]).unwrap()
    };
    frames.as_slice().chunks_exact(channels * area).map(frame).collect()
}

/// `[F, C, h, w]` → `[1, C, F, h, w]`.
fn as_latents(frames: &Tensor) -> Tensor {
    let [count, channels, height, width] = frames.dims_of("test", "[F, C, h, w]").unwrap();
    let area = height * width;
    let values: Vec<f32> = (0..frames.elements())
        .map(|i| frames.as_slice()[((i / area % count) * channels + i / (area * count)) * area + i % area])
        .collect();
    Tensor::from_slice(&values, [1, channels, count, height, width]).unwrap()
}

/// The fixture holds latents as the network gives them; the product's are normalised.
fn normalised(latents: &Tensor, vae: &Taehv) -> Tensor {
    let [count, channels, height, width] = latents.dims_of("test", "[F, C, h, w]").unwrap();
    let config = vae.config();
    let channel = |i: usize| i / (height * width) % channels;
    let values: Vec<f32> = (0..latents.elements())
        .map(|i| (latents.as_slice()[i] - config.latents_mean[channel(i)]) / config.latents_std[channel(i)])
        .collect();
    Tensor::from_slice(&values, [count, channels, height, width]).unwrap()
}

fn flatten(frames: &[Tensor]) -> Vec<f32> {
    frames.iter().flat_map(Tensor::as_slice).copied().collect()
}

fn encode(vae: &Taehv, frames: &[Tensor]) -> Vec<Tensor> {
    let mut latents = Vec::new();
    let mut encoder = vae.encoder();
    for frame in frames {
        encoder
            .push(frame, &mut |latent| {
                latents.push(latent);
                Ok(())
            })
            .unwrap();
    }
    latents
}

fn decode(vae: &Taehv, latents: &Tensor) -> Vec<Tensor> {
    let mut frames = Vec::new();
    let mut decoder = vae.decoder();
    for index in 0..latents.dims()[2] {
        decoder
            .push(latents, index, &mut |frame| {
                frames.push(frame);
                Ok(())
            })
            .unwrap();
    }
    frames
}

#[test]
fn both_variants_for_wan_agree_with_the_reference_both_ways() {
    for (name, factor) in [("taehv_wan21_tiny", 8), ("taehv_wan22_tiny", 16)] {
        let (golden, vae) = named(name);
        assert_eq!(vae.config().spatial_factor(), factor);
        let latents = encode(&vae, &channels_last(&golden.tensor("frames")));
        // The published networks take latents as the transformer makes them: nothing is scaled.
        assert_close(
            &format!("{name}: latents"),
            &flatten(&latents),
            golden.tensor("latents").as_slice(),
            golden.tolerance(),
        );
        let frames = decode(&vae, &as_latents(&golden.tensor("decode_input")));
        let want: Vec<f32> = flatten(&channels_last(&golden.tensor("decoded")))
            .into_iter()
            .map(|v| v.clamp(0.0, 1.0))
            .collect();
        assert!(want.iter().any(|&v| v > 0.0 && v < 1.0));
        assert_close(
            &format!("{name}: decoded"),
            &flatten(&frames),
            &want,
            golden.tolerance(),
        );
    }
}

/// A file that holds the tensors of the decoder, and no others.
fn decoder_only(golden: &Golden) -> Vec<u8> {
    let (mut header, mut values) = (serde_json::Map::new(), Vec::new());
    for name in golden.names().iter().filter_map(|n| n.strip_prefix("weights.")) {
        if name.starts_with("decoder.") {
            let tensor = golden.tensor(&format!("weights.{name}"));
            let from = values.len();
            values.extend(tensor.as_slice().iter().flat_map(|v| v.to_le_bytes()));
            let entry =
                serde_json::json!({"dtype": "F32", "shape": tensor.dims(), "data_offsets": [from, values.len()]});
            header.insert(name.to_owned(), entry);
        }
    }
    let header = serde_json::to_vec(&header).unwrap();
    [&(header.len() as u64).to_le_bytes()[..], &header, &values].concat()
}

#[test]
fn a_config_is_made_from_the_shapes_of_a_checkpoint() {
    for name in ["taehv_wan21_tiny", "taehv_wan22_tiny"] {
        let (golden, vae) = named(name);
        let checkpoint = Checkpoint::from_bytes(name, golden.checkpoint_bytes("weights.")).unwrap();
        assert_eq!(&Config::of_checkpoint(&checkpoint).unwrap(), vae.config());
        assert!(
            Taehv::load_as(&checkpoint, Config::wan21(), Precision::F32).is_err(),
            "other widths"
        );

        let decoder = Checkpoint::from_bytes(name, decoder_only(&golden)).unwrap();
        let half = Taehv::load_as(&decoder, Config::of_checkpoint(&decoder).unwrap(), Precision::F32).unwrap();
        let side = half.config().spatial_factor();
        let error = half
            .encoder()
            .push(&Tensor::zeros([side, side, 3]).unwrap(), &mut |_| Ok(()))
            .unwrap_err();
        assert!(matches!(error, crate::Error::NoEncoder));
    }
}

#[test]
fn frames_encode_to_the_reference_latents() {
    let (golden, vae) = tiny();
    let latents = encode(&vae, &channels_last(&golden.tensor("frames")));
    assert_eq!(latents.len(), 3);
    let want = normalised(&golden.tensor("latents"), &vae);
    assert_close("latents", &flatten(&latents), want.as_slice(), golden.tolerance());
}

#[test]
fn early_latents_do_not_wait_for_later_frames() {
    let (golden, vae) = tiny();
    let frames = channels_last(&golden.tensor("frames"));
    let want = normalised(&golden.tensor("causal.latents"), &vae);
    let latents = encode(&vae, &frames[..5]);
    assert_eq!(latents.len(), want.dims()[0]);
    assert_close(
        "causal.latents",
        &flatten(&latents),
        want.as_slice(),
        golden.tolerance(),
    );
}

#[test]
fn latents_decode_to_the_reference_frames() {
    let (golden, vae) = tiny();
    let frames = decode(&vae, &as_latents(&normalised(&golden.tensor("decode_input"), &vae)));
    assert_eq!(frames.len(), vae.frames_of(3));
    let want = channels_last(&golden.tensor("decoded"));
    // The reference leaves values outside 0..1 to its caller.
    let want: Vec<f32> = flatten(&want).into_iter().map(|v| v.clamp(0.0, 1.0)).collect();
    assert!(want.iter().any(|&v| v > 0.0 && v < 1.0));
    assert_close("decoded", &flatten(&frames), &want, golden.tolerance());
}

/// Runs the first `count` layers on frames `[F, C, H, W]` and gives what comes out in the same order.
fn through(layers: &[Layer], inputs: &[Tensor]) -> Vec<Tensor> {
    let mut memory = Memory::new(layers);
    let mut out = Vec::new();
    for input in inputs {
        let [height, width, channels] = input.dims_of("test", "[H, W, C]").unwrap();
        let frame = input
            .try_clone()
            .unwrap()
            .reshape([1, height, width, channels])
            .unwrap();
        memory
            .push(layers, frame, &mut |frame| {
                out.push(frame);
                Ok(())
            })
            .unwrap();
    }
    out
}

#[test]
fn every_decoder_layer_agrees_with_its_tap() {
    let (golden, vae) = tiny();
    let inputs = channels_last(&golden.tensor("decode_input"));
    let mut compared = 0;
    for count in 1..=vae.decoder_layers().len() {
        let layers = &vae.decoder_layers()[..count];
        // The reference enlarges before its 1x1 convolution, here it is done in the 3x3 one behind that.
        let enlarged = layers.iter().filter(|l| matches!(l, Layer::UpsampledConv(..))).count();
        let is_small = matches!(layers.last(), Some(Layer::TemporalGrow { .. }));
        // The activation of the first convolution has a place of its own in the reference.
        let place = if count == 1 {
            0
        } else {
            count + enlarged + usize::from(is_small)
        };
        let tap = format!("taps.decoder.{place}");
        if golden.has(&tap) {
            let mut got = through(layers, &inputs);
            if is_small {
                got = got.iter().map(|frame| upsample_nearest_2x(frame).unwrap()).collect();
            }
            let got = flatten(&got);
            assert_close(
                &tap,
                &got,
                &flatten(&channels_last(&golden.tensor(&tap))),
                golden.tolerance(),
            );
            compared += 1;
        }
    }
    assert!(compared >= 15, "only {compared} taps were compared");
}

#[test]
fn a_wrong_frame_is_refused() {
    let (_, vae) = tiny();
    let odd = Tensor::zeros([33, 32, 3]).unwrap();
    let error = vae.encoder().push(&odd, &mut |_| Ok(())).unwrap_err().to_string();
    assert!(error.contains("multiples of 16"), "{error}");
    let latents = Tensor::zeros([1, 5, 1, 2, 2]).unwrap();
    assert!(vae.decoder().push(&latents, 0, &mut |_| Ok(())).is_err());
}
