//! Estimates beside what an arena has really held.

use kinora_tensor::{Arena, Tensor};
use kinora_weights::Checkpoint;

use super::*;
use crate::wan_vae::WanVae;

/// As many bytes of zeros as the config needs: memory does not depend on values.
fn blank(config: &str) -> (Config, Checkpoint) {
    let config = Config::from_json(config).unwrap();
    let (mut header, mut at) = (serde_json::Map::new(), 0);
    for (name, shape) in tensors(&config) {
        let end = at + FLOAT * shape.iter().product::<usize>();
        header.insert(
            name,
            serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [at, end]}),
        );
        at = end;
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.resize(bytes.len() + at, 0);
    (config, Checkpoint::from_bytes("blank", bytes).unwrap())
}

/// Narrow, but with the proportions of the published ones.
const NARROW: [&str; 2] = [
    r#"{"base_dim": 12}"#,
    r#"{"base_dim": 10, "decoder_base_dim": 16, "is_residual": true, "in_channels": 12, "out_channels": 12,
        "patch_size": 2}"#,
];

fn held(arena: &Arena) -> usize {
    let stats = arena.stats();
    stats.live_bytes + stats.free_bytes
}

fn assert_near(what: &str, estimate: u64, measured: usize) {
    let ratio = estimate as f64 / measured as f64;
    println!("{what}: {estimate} estimated, {measured} measured, {ratio:.3}");
    assert!(
        (0.95..1.05).contains(&ratio),
        "{what}: {estimate} estimated, {measured} measured"
    );
}

#[test]
fn estimates_of_decoding_are_what_it_takes_whatever_the_length() {
    for (json, precision) in NARROW
        .into_iter()
        .flat_map(|c| [Precision::F32, Precision::Bf16].map(|p| (c, p)))
    {
        let (config, checkpoint) = blank(json);
        let text = format!("{json} {precision:?}");
        let vae = WanVae::load_decoder(&checkpoint, json, precision).unwrap();
        let halo = |latents: usize| Tiling::Halo {
            tile_px: latents * config.spatial_factor(),
        };
        let blend = |tile: usize, stride: usize| Tiling::Blend {
            tile_px: tile * config.spatial_factor(),
            stride_px: stride * config.spatial_factor(),
        };
        for (size, tiling) in [
            ([6, 10], Tiling::Whole),
            ([13, 7], Tiling::Whole),
            ([13, 9], halo(5)),
            ([7, 16], halo(8)),
            ([9, 10], blend(4, 3)),
            ([3, 4], blend(4, 3)),
        ] {
            let arena = Arena::new();
            let dims = [1, config.z_dim, 8, size[0], size[1]];
            let latents = Tensor::zeros_in(&arena, dims).unwrap();
            let given = held(&arena);
            let mut decoder = vae.decoder_in_tiles(tiling).unwrap();
            let mut after = Vec::new();
            for index in 0..8 {
                decoder.push(&latents, index, &mut |_| Ok(())).unwrap();
                after.push(held(&arena) - given);
            }
            let estimate = decode_bytes(&config, size, tiling, precision).unwrap();
            assert_near(&format!("{text} {size:?} {tiling:?}"), estimate, after[7]);
            assert!(
                after[7] <= after[2] + after[2] / 50,
                "a longer clip takes no more: {after:?}"
            );
        }
    }
}

#[test]
fn estimates_of_encoding_are_what_it_takes_whatever_the_length() {
    for (json, precision) in NARROW
        .into_iter()
        .flat_map(|c| [Precision::F32, Precision::Bf16].map(|p| (c, p)))
    {
        let (config, checkpoint) = blank(json);
        let vae = WanVae::load(&checkpoint, json, precision).unwrap();
        for size in [[6, 10], [13, 7]] {
            let arena = Arena::new();
            let [height, width] = size.map(|v| v * config.spatial_factor());
            let mut encoder = vae.encoder();
            let mut after = Vec::new();
            for _ in 0..29 {
                let pixels = Tensor::zeros_in(&arena, [height, width, COLOURS]).unwrap();
                encoder.push(&pixels, &mut |_| Ok(())).unwrap();
                drop(pixels);
                after.push(held(&arena));
            }
            let estimate = encode_bytes(&config, size, precision).unwrap();
            assert_near(&format!("{json} {precision:?} {size:?}"), estimate, after[28]);
            assert!(
                after[28] <= after[8] + after[8] / 50,
                "a longer clip takes no more: {after:?}"
            );
        }
    }
}

#[test]
fn weights_take_half_in_bf16_and_the_encoder_is_a_part() {
    let config = Config::default();
    let of = |precision, both| weights_bytes(&config, precision, both).unwrap();
    let (f32, bf16) = (of(Precision::F32, true), of(Precision::Bf16, true));
    // Wan 2.1 has 126.9 million values.
    assert!((500_000_000..520_000_000).contains(&f32), "{f32}");
    assert!((1.9..2.0).contains(&(f32 as f64 / bf16 as f64)));
    assert!((0.5..0.65).contains(&(of(Precision::F32, false) as f64 / f32 as f64)));
}

#[test]
fn a_clip_of_480p_decodes_inside_4_gib_with_the_published_sizes() {
    let config = Config::default();
    let bytes = decode_bytes(&config, [60, 104], Tiling::Whole, Precision::Bf16).unwrap();
    let weights = weights_bytes(&config, Precision::Bf16, false).unwrap();
    println!("{bytes} and {weights}");
    assert!(bytes + weights < 4 << 30, "{bytes} and {weights}");
}
