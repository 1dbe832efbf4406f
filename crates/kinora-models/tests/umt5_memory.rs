//! What the plan says that embedding takes, against what the system counts. A program of its own: it is about the whole
//! process.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a helper that fails fails its test

use std::io::Write;

use kinora_kernels::Precision;
use kinora_models::umt5::{Config, Umt5, memory};
use kinora_weights::Checkpoint;

const CONFIG: &str = r#"{"vocab_size": 1000, "d_model": 1024, "d_kv": 64, "d_ff": 2560, "num_layers": 5,
    "num_heads": 16, "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
    "layer_norm_epsilon": 1e-6, "feed_forward_proj": "gated-gelu"}"#;

/// Names and extents of the whole model.
fn tensors(config: &Config) -> Vec<(String, Vec<usize>)> {
    let (width, inner, ffn) = (config.d_model, config.inner_width(), config.d_ff);
    let mut all = vec![
        ("shared.weight".to_owned(), vec![config.vocab_size, width]),
        ("encoder.final_layer_norm.weight".to_owned(), vec![width]),
    ];
    for i in 0..config.num_layers {
        let mut add =
            |name: &str, dims: &[usize]| all.push((format!("encoder.block.{i}.layer.{name}.weight"), dims.to_vec()));
        for name in ["q", "k", "v"] {
            add(&format!("0.SelfAttention.{name}"), &[inner, width]);
        }
        add("0.SelfAttention.o", &[width, inner]);
        add("0.SelfAttention.relative_attention_bias", &[32, config.num_heads]);
        add("0.layer_norm", &[width]);
        add("1.DenseReluDense.wi_0", &[ffn, width]);
        add("1.DenseReluDense.wi_1", &[ffn, width]);
        add("1.DenseReluDense.wo", &[width, ffn]);
        add("1.layer_norm", &[width]);
    }
    all
}

/// A bf16 checkpoint of noise on disk.
fn write(config: &Config, path: &std::path::Path) {
    let (mut header, mut at) = (serde_json::Map::new(), 0);
    let tensors = tensors(config);
    for (name, dims) in &tensors {
        let bytes = 2 * dims.iter().product::<usize>();
        header.insert(
            name.clone(),
            serde_json::json!({"dtype": "BF16", "shape": dims, "data_offsets": [at, at + bytes]}),
        );
        at += bytes;
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(&header).unwrap();
    let mut state = 1u32;
    let mut row = vec![0u8; 2];
    for (_, dims) in &tensors {
        // About 1 / sqrt(1024) in size, so that activations stay in range.
        for _ in 0..dims.iter().product::<usize>() {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let value = ((state >> 8) as f32 / (1 << 23) as f32 - 1.0) / 16.0;
            row.copy_from_slice(&value.to_bits().to_be_bytes()[..2]);
            row.reverse();
            file.write_all(&row).unwrap();
        }
    }
    file.flush().unwrap();
}

fn status(field: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}

#[test]
fn embedding_takes_what_the_plan_says() {
    let config = Config::from_json(CONFIG).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    write(&config, &path);
    let checkpoint = Checkpoint::open(&path).unwrap();
    let texts: Vec<Vec<u32>> = [400, 60].map(|tokens| (0..tokens).map(|i| i % 1000).collect()).into();
    let run = |precision| {
        let model = Umt5::open(&checkpoint, CONFIG, precision).unwrap();
        let context = model.embed(&texts).unwrap();
        assert!(context[0].as_slice().iter().all(|v| v.is_finite()));
    };
    // Each thread has buffers of its own, which the plan leaves out.
    kinora_kernels::set_threads(2).unwrap();
    let before = status("VmRSS:");
    // From small to large: what the allocator keeps of one run is part of the next.
    for precision in [Precision::Int8, Precision::Bf16, Precision::F32] {
        // Sets the peak to what is held now.
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        run(precision);
        let took = status("VmHWM:") - before;
        let planned = memory::embed_bytes(&config, &[400, 60], precision);
        println!("{}: planned {planned}, took {took}", precision.name());
        let ratio = took as f64 / planned as f64;
        assert!(
            (0.9..1.1).contains(&ratio),
            "{}: planned {planned}, took {took}",
            precision.name()
        );
    }
}
