//! Decoding or encoding with a Wan autoencoder of the real size and random weights: time, memory, where the time goes.
//!
//! ```text
//! wan_vae 2.1|2.2 [--size 832x480] [--latent-frames 3] [--precision f32|bf16] [--tile PX] [--blend] [--encode] [--compare]
//!     [--threads N]
//! ```
//!
//! The weights are written once, as bf16, into the system's temporary folder. Prints one JSON object; with `--compare`, only
//! how near the frames in this precision are to those in f32. No latent frames: only the estimates.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use kinora_kernels::{Precision, set_threads, threads, trace};
use kinora_models::wan_vae::{Config, Tiling, WanVae, memory, tensors};
use kinora_tensor::{Arena, Tensor};
use kinora_weights::Checkpoint;
use serde_json::json;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The published sizes of Wan 2.2; the scale of its latents does not matter here.
fn config_json(version: &str) -> Outcome<String> {
    let numbers = |v: f32| vec![v; 48];
    match version {
        "2.1" => Ok("{}".into()),
        "2.2" => Ok(json!({
            "base_dim": 160, "decoder_base_dim": 256, "z_dim": 48, "is_residual": true, "in_channels": 12,
            "out_channels": 12, "patch_size": 2, "latents_mean": numbers(0.0), "latents_std": numbers(1.0),
        })
        .to_string()),
        _ => Err(format!("unknown version {version}\nhint: 2.1 or 2.2").into()),
    }
}

/// Numbers in -1..1 that look random.
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// Weights that keep the size of what they multiply, as bf16.
fn write_weights(path: &Path, config: &Config) -> Outcome<()> {
    let tensors = tensors(config);
    let (mut header, mut at) = (serde_json::Map::new(), 0);
    for (name, shape) in &tensors {
        let bytes = 2 * shape.iter().product::<usize>();
        header.insert(
            name.clone(),
            json!({"dtype": "BF16", "shape": shape, "data_offsets": [at, at + bytes]}),
        );
        at += bytes;
    }
    let mut header = serde_json::to_string(&header)?;
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let part = path.with_extension("part");
    let mut file = BufWriter::new(fs::File::create(&part)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    let mut noise = Noise(1);
    for (name, shape) in &tensors {
        let fan_in: usize = shape.iter().skip(1).product();
        for _ in 0..shape.iter().product() {
            let value = match name.rsplit('.').next() {
                Some("gamma") => 1.0 + 0.2 * noise.next(),
                Some("bias") => 0.1 * noise.next(),
                _ => noise.next() * (3.0 / fan_in as f32).sqrt(),
            };
            file.write_all(&((value.to_bits() >> 16) as u16).to_le_bytes())?;
        }
    }
    file.flush()?;
    Ok(fs::rename(part, path)?)
}

struct Arguments {
    version: String,
    width: usize,
    height: usize,
    latent_frames: usize,
    precision: Precision,
    tiling: Tiling,
    encodes: bool,
    compares: bool,
}

impl Arguments {
    fn read() -> Outcome<Self> {
        let mut words = std::env::args().skip(1);
        let version = words.next().ok_or("which autoencoder?\nhint: 2.1 or 2.2")?;
        let mut read = Self {
            version,
            width: 832,
            height: 480,
            latent_frames: 3,
            precision: Precision::Bf16,
            tiling: Tiling::Whole,
            encodes: false,
            compares: false,
        };
        while let Some(flag) = words.next() {
            match flag.as_str() {
                "--encode" => read.encodes = true,
                "--compare" => read.compares = true,
                "--blend" => read.tiling = Tiling::BLEND,
                _ => {
                    let value = words.next().ok_or_else(|| format!("{flag} lacks a value"))?;
                    read.set(&flag, &value)?;
                }
            }
        }
        Ok(read)
    }

    fn set(&mut self, flag: &str, value: &str) -> Outcome<()> {
        match flag {
            "--size" => {
                let (width, height) = value.split_once('x').ok_or("a size is 832x480")?;
                (self.width, self.height) = (width.parse()?, height.parse()?);
            }
            "--latent-frames" => self.latent_frames = value.parse()?,
            "--tile" => {
                self.tiling = Tiling::Halo {
                    tile_px: value.parse()?,
                };
            }
            "--threads" => set_threads(value.parse()?)?,
            "--precision" => {
                let found = Precision::ALL.into_iter().find(|p| p.name() == value);
                self.precision = found.ok_or("unknown precision")?;
            }
            _ => return Err(format!("unknown flag {flag}").into()),
        }
        Ok(())
    }
}

/// The most memory that this process has held, in bytes; 0 where the system does not tell.
fn peak_memory_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

fn weights(version: &str, config: &Config) -> Outcome<PathBuf> {
    let path = std::env::temp_dir().join(format!("kinora-random-wan-vae-{version}.safetensors"));
    if !path.exists() {
        write_weights(&path, config)?;
    }
    Ok(path)
}

/// All frames of a clip, one after the other.
fn decoded(vae: &WanVae, latents: &Tensor, tiling: Tiling) -> Outcome<Vec<f32>> {
    let (mut decoder, mut values) = (vae.decoder_in_tiles(tiling)?, Vec::new());
    for index in 0..latents.dims()[2] {
        decoder.push(latents, index, &mut |frame| {
            values.extend_from_slice(frame.as_slice());
            Ok(())
        })?;
    }
    Ok(values)
}

/// Peak signal-to-noise ratio against f32, whole frames, in dB.
fn compare(arguments: &Arguments, checkpoint: &Checkpoint, json: &str, latents: &Tensor) -> Outcome<f64> {
    let of = |precision, tiling| decoded(&WanVae::load_decoder(checkpoint, json, precision)?, latents, tiling);
    let exact = of(Precision::F32, Tiling::Whole)?;
    let near = of(arguments.precision, arguments.tiling)?;
    let square: f64 = exact.iter().zip(&near).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    Ok(-10.0 * (square / exact.len() as f64).log10())
}

fn main() -> Outcome<()> {
    let arguments = Arguments::read()?;
    let json = config_json(&arguments.version)?;
    let config = Config::from_json(&json)?;
    let checkpoint = Checkpoint::open(&weights(&arguments.version, &config)?)?;
    let (arena, factor) = (Arena::new(), config.spatial_factor());
    let [rows, columns] = [arguments.height / factor, arguments.width / factor];
    let mut noise = Noise(7);
    let dims = [1, config.latent_channels(), arguments.latent_frames, rows, columns];
    let values: Vec<f32> = (0..dims.iter().product()).map(|_| 1.7 * noise.next()).collect();
    let latents = Tensor::from_slice_in(&arena, &values, dims)?;
    if arguments.compares {
        println!(
            "{}",
            json!({"psnr_db": compare(&arguments, &checkpoint, &json, &latents)?})
        );
        return Ok(());
    }
    let begin = Instant::now();
    let vae = match arguments.encodes {
        true => WanVae::load(&checkpoint, &json, arguments.precision)?,
        false => WanVae::load_decoder(&checkpoint, &json, arguments.precision)?,
    };
    drop(checkpoint);
    let load_s = begin.elapsed().as_secs_f64();
    let loaded_bytes = peak_memory_bytes();

    let (mut seconds, mut frames, mut sum) = (Vec::new(), 0, 0.0);
    trace::start();
    if arguments.encodes {
        let mut encoder = vae.encoder();
        let dims = [rows * factor, columns * factor, 3];
        for _ in 0..arguments.latent_frames {
            let begin = Instant::now();
            for _ in 0..if frames == 0 { 1 } else { config.temporal_factor() } {
                let values: Vec<f32> = (0..dims.iter().product()).map(|_| (noise.next() + 1.0) / 2.0).collect();
                encoder.push(&Tensor::from_slice_in(&arena, &values, dims)?, &mut |latent| {
                    sum += f64::from(latent.as_slice()[0]);
                    Ok(())
                })?;
                frames += 1;
            }
            seconds.push(begin.elapsed().as_secs_f64());
        }
    } else {
        let mut decoder = vae.decoder_in_tiles(arguments.tiling)?;
        for index in 0..arguments.latent_frames {
            let begin = Instant::now();
            decoder.push(&latents, index, &mut |frame| {
                frames += 1;
                sum += f64::from(frame.as_slice()[0]);
                Ok(())
            })?;
            seconds.push(begin.elapsed().as_secs_f64());
        }
    }
    let mut spans: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for span in trace::stop().spans {
        let entry = spans.entry(span.name).or_default();
        entry.0 += span.duration.as_secs_f64();
        entry.1 += span.ops / 1e9;
    }
    let spans: serde_json::Map<_, _> = spans
        .into_iter()
        .map(|(name, (seconds, giga))| (name.to_owned(), json!({"seconds": seconds, "giga_ops": giga})))
        .collect();
    let stats = arena.stats();
    let estimate = match arguments.encodes {
        true => memory::encode_bytes(&config, [rows, columns], arguments.precision)?,
        false => memory::decode_bytes(&config, [rows, columns], arguments.tiling, arguments.precision)?,
    };
    let report = json!({
        "load_s": load_s,
        "seconds": seconds,
        "frames": frames,
        "checksum": sum,
        "loaded_bytes": loaded_bytes,
        "peak_memory_bytes": peak_memory_bytes(),
        "arena_held_bytes": stats.live_bytes + stats.free_bytes,
        "arena_peak_bytes": stats.peak_bytes,
        "estimate_bytes": estimate,
        "estimated_weights_bytes": memory::weights_bytes(&config, arguments.precision, arguments.encodes)?,
        "precision": arguments.precision.name(),
        "threads": threads(),
        "spans": spans,
    });
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}
