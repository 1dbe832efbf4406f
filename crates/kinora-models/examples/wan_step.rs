//! One denoising step of a Wan transformer, timed: Kinora's side of `bench/peers/run wan`.
//!
//! ```text
//! wan_step FOLDER --inputs FILE [--output FILE] [--repeats 3] [--threads N] [--precision f32|bf16|int8]
//! ```
//!
//! FOLDER holds a transformer as diffusers writes it. The inputs are a safetensors file with `latents [1,C,F,h,w]`,
//! `text [1,S,T]` and `timestep [1]`. Prints one JSON object; the output file holds `velocity`.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use kinora_kernels::{Precision, set_threads, threads};
use kinora_models::wan::{Timesteps, Transformer};
use kinora_tensor::{Arena, Tensor};
use kinora_weights::Checkpoint;
use serde_json::json;

const USAGE: &str =
    "wan_step FOLDER --inputs FILE [--output FILE] [--repeats 3] [--threads N] [--precision f32|bf16|int8]";

struct Arguments {
    folder: PathBuf,
    inputs: PathBuf,
    output: Option<PathBuf>,
    repeats: usize,
    threads: Option<usize>,
    precision: Precision,
}

impl Arguments {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut folder = None;
        let (mut inputs, mut output) = (None, None);
        let (mut repeats, mut threads, mut precision) = (3, None, Precision::F32);
        while let Some(word) = words.next() {
            let Some(flag) = word.strip_prefix("--") else {
                folder = Some(PathBuf::from(word));
                continue;
            };
            let value = words
                .next()
                .ok_or_else(|| format!("--{flag} lacks a value\nhint: {USAGE}"))?;
            match flag {
                "inputs" => inputs = Some(PathBuf::from(value)),
                "output" => output = Some(PathBuf::from(value)),
                "repeats" => repeats = value.parse()?,
                "threads" => threads = Some(value.parse()?),
                "precision" => precision = precision_of(&value)?,
                _ => return Err(format!("unknown flag --{flag}\nhint: {USAGE}").into()),
            }
        }
        match (folder, inputs) {
            (Some(folder), Some(inputs)) if repeats > 0 => Ok(Self {
                folder,
                inputs,
                output,
                repeats,
                threads,
                precision,
            }),
            _ => Err(format!("a folder, inputs and at least one repeat are needed\nhint: {USAGE}").into()),
        }
    }
}

fn precision_of(word: &str) -> Result<Precision, Box<dyn Error>> {
    let found = Precision::ALL.into_iter().find(|precision| precision.name() == word);
    Ok(found.ok_or_else(|| format!("unknown precision {word}\nhint: f32, bf16 or int8"))?)
}

/// A tensor of the inputs, in `arena`.
fn input(file: &Checkpoint, arena: &Arena, name: &str) -> Result<Tensor, Box<dyn Error>> {
    let dims = file.require(name)?.shape.to_vec();
    let tensor = file.reader().tensor(name, &dims)?;
    Ok(Tensor::from_slice_in(arena, tensor.as_slice(), dims)?)
}

/// A safetensors file with the one tensor `velocity`.
fn write_velocity(path: &Path, velocity: &Tensor) -> Result<(), Box<dyn Error>> {
    let bytes: Vec<u8> = velocity.as_slice().iter().flat_map(|v| v.to_le_bytes()).collect();
    let entry = json!({"dtype": "F32", "shape": velocity.dims(), "data_offsets": [0, bytes.len()]});
    let mut header = json!({"velocity": entry}).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let mut file = fs::File::create(path)?;
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    Ok(file.write_all(&bytes)?)
}

/// The most memory that this process has held, in bytes; 0 where the system does not tell.
fn peak_memory_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::read(std::env::args().skip(1))?;
    if let Some(count) = arguments.threads {
        set_threads(count)?;
    }
    let begin = Instant::now();
    let config = fs::read_to_string(arguments.folder.join("config.json"))?;
    let weights = Checkpoint::open(&arguments.folder.join("diffusion_pytorch_model.safetensors"))?;
    let transformer = Transformer::load(&weights, &config, arguments.precision)?;
    drop(weights);
    let load_s = begin.elapsed().as_secs_f64();

    let (arena, file) = (Arena::new(), Checkpoint::open(&arguments.inputs)?);
    let (latents, text) = (input(&file, &arena, "latents")?, input(&file, &arena, "text")?);
    let timestep = input(&file, &arena, "timestep")?
        .as_slice()
        .first()
        .copied()
        .unwrap_or(0.0);

    // Once for a whole clip, whatever the number of steps.
    let begin = Instant::now();
    let context = transformer.embed_context(&text, None)?;
    let context_s = begin.elapsed().as_secs_f64();

    let timesteps = Timesteps::uniform(timestep, transformer.token_grid(&latents)?.iter().product());
    let (mut steps_s, mut velocity) = (Vec::new(), None);
    for _ in 0..arguments.repeats {
        let begin = Instant::now();
        velocity = Some(transformer.forward(&latents, &timesteps, &context)?);
        steps_s.push(begin.elapsed().as_secs_f64());
    }
    if let (Some(path), Some(velocity)) = (&arguments.output, &velocity) {
        write_velocity(path, velocity)?;
    }
    println!(
        "{}",
        json!({
            "load": load_s,
            "context": context_s,
            "steps": steps_s,
            "peak_memory_bytes": peak_memory_bytes(),
            "arena_peak_bytes": arena.stats().peak_bytes,
            "precision": arguments.precision.name(),
            "kernels": kinora_kernels::Path::active()?.name(),
            "threads": threads(),
        })
    );
    Ok(())
}
