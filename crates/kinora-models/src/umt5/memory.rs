//! What embedding texts takes, before anything is read.

use kinora_kernels::Precision;

use super::config::Config;
use super::model::precision_of_wo;

const FLOAT: usize = size_of::<f32>();

/// The most that [`Umt5::embed`](super::Umt5::embed) holds at one time for texts of so many `tokens` each: one packed
/// block, the part of the file that is being packed (as if it were f32: an upper bound), the context of all texts, and
/// what a block makes of the longest one. Linux counts the part of the file as memory of the process too.
pub fn embed_bytes(config: &Config, tokens: &[usize], precision: Precision) -> u64 {
    let all: usize = tokens.iter().sum();
    let longest = tokens.iter().copied().max().unwrap_or(0);
    let (width, inner) = (config.d_model, config.inner_width());
    let (packed, reading) = (block_bytes(config, precision), FLOAT * width * inner);
    let states = FLOAT * all * width;
    // While a block is packed only the states are there; while it works nothing is read.
    (packed + states + reading.max(working_bytes(config, longest))) as u64
}

/// One packed block.
pub fn block_bytes(config: &Config, precision: Precision) -> usize {
    let (width, inner) = (config.d_model, config.inner_width());
    let layer = |out: usize, depth: usize, precision| {
        // A bias of zeros stands with every layer; int8 has a step and a surplus for each output.
        let (weight, output) = match precision {
            Precision::Int8 => (1, 3 * FLOAT),
            Precision::Bf16 => (2, FLOAT),
            _ => (FLOAT, FLOAT),
        };
        out * (depth * weight + output)
    };
    let attention = 3 * layer(inner, width, precision) + layer(width, inner, precision);
    let ffn = 2 * layer(config.d_ff, width, precision) + layer(width, config.d_ff, precision_of_wo(precision));
    let bias = FLOAT * config.relative_attention_num_buckets * config.num_heads;
    attention + ffn + bias + 2 * FLOAT * width
}

/// What a block holds for a text beside its context. Buffers of different sizes do not stand in for each other.
fn working_bytes(config: &Config, tokens: usize) -> usize {
    let (width, inner) = (config.d_model, config.inner_width());
    // The norm and what a sub-layer gives; q, k, v and what attention makes of them, with keys and values packed for it;
    // the two inner tensors of the feed-forward.
    let floats = tokens * (2 * width + 6 * inner + 2 * config.d_ff) + 2 * tokens * config.num_heads;
    FLOAT * floats
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoder_of_wan_takes_half_a_gigabyte_in_bf16() {
        let config = Config::from_json(
            r#"{"vocab_size": 256384, "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64,
            "relative_attention_num_buckets": 32, "layer_norm_epsilon": 1e-6, "feed_forward_proj": "gated-gelu"}"#,
        )
        .unwrap();
        let megabytes = |precision| embed_bytes(&config, &[512, 126], precision) / 1_000_000;
        assert_eq!(
            [Precision::F32, Precision::Bf16, Precision::Int8].map(megabytes),
            [891, 505, 355]
        );
        assert_eq!(embed_bytes(&config, &[], Precision::Bf16) / 1_000_000, 453);
    }
}
