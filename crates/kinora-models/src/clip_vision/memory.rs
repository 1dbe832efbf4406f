//! What embedding pictures takes, before anything is read.

use kinora_kernels::Precision;

use super::config::Config;

const FLOAT: usize = size_of::<f32>();

/// The most that [`ClipVision`](super::ClipVision) holds while it embeds so many pictures together: the patch layer and
/// the positions, one packed layer, the part of the file that is being packed (as if it were f32: an upper bound), the
/// tokens, and what a layer makes of them. The frames themselves are the caller's.
pub fn embed_bytes(config: &Config, pictures: usize, precision: Precision) -> u64 {
    let (width, ffn, tokens) = (config.hidden_size, config.intermediate_size, config.tokens());
    let ends = FLOAT * width * (config.patch_values() + tokens + 6);
    let reading = FLOAT * width * width;
    let rows = pictures * tokens;
    // q, k, v and what attention makes of them, with keys and values packed for it; the inner tensor of the feed-forward.
    let working = FLOAT * rows * (6 * width + ffn);
    let patches = FLOAT * rows * config.patch_values();
    (ends + FLOAT * rows * width + (layer_bytes(config, precision) + reading.max(working)).max(patches)) as u64
}

/// One packed layer.
pub fn layer_bytes(config: &Config, precision: Precision) -> usize {
    let (width, ffn) = (config.hidden_size, config.intermediate_size);
    // A bias stands with every layer; int8 has a step and a surplus for each output.
    let (weight, output) = match precision {
        Precision::Int8 => (1, 3 * FLOAT),
        Precision::Bf16 => (2, FLOAT),
        _ => (FLOAT, FLOAT),
    };
    let layer = |out: usize, depth: usize| out * (depth * weight + output);
    4 * layer(width, width) + layer(ffn, width) + layer(width, ffn) + 4 * FLOAT * width
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoder_of_wan_takes_less_than_a_hundred_megabytes() {
        let config = Config {
            hidden_size: 1280,
            intermediate_size: 5120,
            num_hidden_layers: 32,
            num_attention_heads: 16,
            image_size: 224,
            patch_size: 14,
            hidden_act: "gelu".into(),
            layer_norm_eps: 1e-5,
        };
        let megabytes = |precision| embed_bytes(&config, 1, precision) / 1_000_000;
        assert_eq!(
            [Precision::F32, Precision::Bf16, Precision::Int8].map(megabytes),
            [97, 58, 38]
        );
    }
}
