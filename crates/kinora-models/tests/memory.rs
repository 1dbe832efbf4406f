//! What is said that embedding texts and pictures takes, against what the system counts. That is about a whole process,
//! so each measurement runs in one of its own: this program again, with the case in a variable.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a helper that fails fails its test

use std::io::Write;
use std::path::Path;
use std::process::Command;

use kinora_kernels::Precision;
use kinora_models::{clip_vision, umt5};
use kinora_tensor::Tensor;
use kinora_weights::Checkpoint;

const TEXT: &str = r#"{"vocab_size": 1000, "d_model": 1024, "d_kv": 64, "d_ff": 2560, "num_layers": 5,
    "num_heads": 16, "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
    "layer_norm_epsilon": 1e-6, "feed_forward_proj": "gated-gelu"}"#;

const PICTURE: &str = r#"{"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 4,
    "num_attention_heads": 16, "image_size": 224, "patch_size": 14, "hidden_act": "gelu"}"#;

type Tensors = Vec<(String, Vec<usize>)>;

/// Names and extents of a whole text encoder.
fn text_tensors(config: &umt5::Config) -> Tensors {
    let (width, inner, ffn) = (config.d_model, config.inner_width(), config.d_ff);
    let mut all = vec![
        ("shared.weight".to_owned(), vec![config.vocab_size, width]),
        ("encoder.final_layer_norm.weight".to_owned(), vec![width]),
    ];
    for i in 0..config.num_layers {
        let mut add = |name: &str, dims: &[usize]| {
            all.push((format!("encoder.block.{i}.layer.{name}.weight"), dims.to_vec()));
        };
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

/// Names and extents of a whole picture encoder.
fn picture_tensors(config: &clip_vision::Config) -> Tensors {
    let (width, ffn, side) = (config.hidden_size, config.intermediate_size, config.patch_size);
    let mut all: Tensors = Vec::new();
    let mut add = |name: String, dims: &[usize]| all.push((format!("vision_model.{name}"), dims.to_vec()));
    add("embeddings.class_embedding".into(), &[width]);
    add("embeddings.patch_embedding.weight".into(), &[width, 3, side, side]);
    add("embeddings.position_embedding.weight".into(), &[config.tokens(), width]);
    let mut norm = |name: String| {
        add(format!("{name}.weight"), &[width]);
        add(format!("{name}.bias"), &[width]);
    };
    norm("pre_layrnorm".into());
    norm("post_layernorm".into());
    for i in 0..config.num_hidden_layers {
        norm(format!("encoder.layers.{i}.layer_norm1"));
        norm(format!("encoder.layers.{i}.layer_norm2"));
    }
    for i in 0..config.num_hidden_layers {
        let mut linear = |name: &str, out: usize, depth: usize| {
            add(format!("encoder.layers.{i}.{name}.weight"), &[out, depth]);
            add(format!("encoder.layers.{i}.{name}.bias"), &[out]);
        };
        for name in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            linear(&format!("self_attn.{name}"), width, width);
        }
        linear("mlp.fc1", ffn, width);
        linear("mlp.fc2", width, ffn);
    }
    all
}

/// A bf16 checkpoint of noise on disk.
fn write(tensors: &Tensors, path: &Path) {
    let (mut header, mut at) = (serde_json::Map::new(), 0);
    for (name, dims) in tensors {
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
    for (_, dims) in tensors {
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

/// The most that `work` makes this process hold above what it holds now.
fn peak_of(work: impl FnOnce()) -> u64 {
    let before = status("VmRSS:");
    // Sets the peak to what is held now.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    work();
    status("VmHWM:") - before
}

const TOKENS: [usize; 2] = [400, 60];

/// Embeds texts or a picture with a checkpoint in `folder`; gives (what is said, what it took).
fn measure(what: &str, precision: Precision, folder: &Path) -> (u64, u64) {
    let checkpoint = Checkpoint::open(&folder.join(what)).unwrap();
    // Each thread has buffers of its own, which are not counted in what is said.
    kinora_kernels::set_threads(2).unwrap();
    if what == "texts" {
        let texts: Vec<Vec<u32>> = TOKENS
            .map(|tokens| (0..tokens as u32).map(|i| i % 1000).collect())
            .into();
        let took = peak_of(|| {
            let model = umt5::Umt5::open(&checkpoint, TEXT, precision).unwrap();
            let context = model.embed(&texts).unwrap();
            assert!(context[0].as_slice().iter().all(|v| v.is_finite()));
        });
        let config = umt5::Config::from_json(TEXT).unwrap();
        (umt5::memory::embed_bytes(&config, &TOKENS, precision), took)
    } else {
        let frame = Tensor::zeros([60, 90, 3]).unwrap();
        let took = peak_of(|| {
            let model = clip_vision::ClipVision::load(&checkpoint, PICTURE, precision).unwrap();
            let tokens = model.embed(&frame).unwrap();
            assert!(tokens.as_slice().iter().all(|v| v.is_finite()));
        });
        let config = clip_vision::Config::from_json(PICTURE).unwrap();
        (clip_vision::memory::embed_bytes(&config, 1, precision), took)
    }
}

/// Names the folder, what to embed, and the precision.
const CASE: &str = "KINORA_TEST_MEMORY_CASE";

#[test]
fn embedding_takes_what_is_said() {
    if let Ok(case) = std::env::var(CASE) {
        let (folder, rest) = case.rsplit_once(':').unwrap();
        let (what, name) = rest.split_once(' ').unwrap();
        let precision = Precision::ALL.into_iter().find(|p| p.name() == name).unwrap();
        let (said, took) = measure(what, precision, Path::new(folder));
        println!("{what} in {name}: said {said}, took {took}");
        let ratio = took as f64 / said as f64;
        assert!(
            (0.9..1.1).contains(&ratio),
            "{what} in {name}: said {said}, took {took}"
        );
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    write(
        &text_tensors(&umt5::Config::from_json(TEXT).unwrap()),
        &folder.path().join("texts"),
    );
    write(
        &picture_tensors(&clip_vision::Config::from_json(PICTURE).unwrap()),
        &folder.path().join("picture"),
    );
    for (what, precision) in ["texts", "picture"]
        .into_iter()
        .flat_map(|w| Precision::ALL.map(|p| (w, p)))
    {
        let case = format!("{}:{what} {}", folder.path().display(), precision.name());
        let run = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "embedding_takes_what_is_said", "--nocapture"])
            .env(CASE, case)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{text}");
        let line = text.lines().find_map(|line| line.find(" in ").map(|_| line));
        println!("{}", line.expect("a line with the numbers"));
    }
}
