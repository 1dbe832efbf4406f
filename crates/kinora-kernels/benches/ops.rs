//! Every hot operation at the shapes of real models: milliseconds, rate, share of the measured peak.
//!
//! `cargo bench -p kinora-kernels [-- FILTER]`; `KINORA_BENCH_ROUNDS=n` sets the rounds (default 7). The paths of an
//! operation run in turn within each round, so that a busy moment of the machine hits all of them; medians count.
//! Beside the wall clock's median stands the rate for the processor time that was really used (Linux), which other load
//! does not lower; the share of the peak compares that with a probe that ran in the same rounds.
//! Only the active path is timed unless `KINORA_BENCH_PATHS=all`. `KINORA_BENCH_LARGE=1` adds the shapes of Wan 1.3B at
//! 832x480 and 81 frames (32,760 tokens), which take minutes; of its attention, one head.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use kinora_kernels::{
    Activation, AttentionMode, Conv2d, Conv3d, KeyMask, Linear, Path, PerToken, Precision, attention_as, conv2d,
    conv3d_causal, layer_norm_modulate, linear, probe_f32, probe_int8, rms_norm_rope, set_threads, threads,
};
use kinora_tensor::{Arena, Tensor};

type Outcome<T> = Result<T, Box<dyn Error>>;
type Run<'a> = Box<dyn FnMut() -> kinora_kernels::Result<Tensor> + 'a>;

struct Bench {
    filter: String,
    rounds: usize,
    paths: Vec<Path>,
    arena: Arena,
    is_large: bool,
}

/// The yardstick of an operation.
#[derive(Clone, Copy)]
enum Peak {
    F32,
    Int8,
    None,
}

impl Peak {
    fn probe(self, steps: usize) -> kinora_kernels::Result<f64> {
        match self {
            Self::F32 => probe_f32(steps),
            Self::Int8 => Ok(probe_int8(steps)?.unwrap_or(0.0)),
            Self::None => Ok(0.0),
        }
    }
}

#[derive(Clone, Default)]
struct Times {
    /// Seconds of each round.
    wall: Vec<f64>,
    /// Processor seconds of all rounds and threads.
    cpu: f64,
    probe_work: f64,
    probe_cpu: f64,
}

/// Processor time of all threads of this process so far; the wall's where the system does not tell.
fn cpu_seconds() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanoseconds = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(path.join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    };
    let used: f64 = tasks.filter_map(|t| nanoseconds(t.path())).sum();
    if used > 0.0 {
        return used / 1e9;
    }
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64() * threads() as f64
}

fn main() -> Outcome<()> {
    let filter = std::env::args()
        .skip(1)
        .find(|a| !a.starts_with('-'))
        .unwrap_or_default();
    let rounds = std::env::var("KINORA_BENCH_ROUNDS")
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(7);
    if let Some(count) = std::env::var("KINORA_BENCH_THREADS").ok().and_then(|v| v.parse().ok()) {
        set_threads(count)?;
    }
    let all = std::env::var("KINORA_BENCH_PATHS").is_ok_and(|v| v == "all");
    let active = Path::active()?;
    let paths: Vec<_> = Path::available();
    let paths = paths
        .into_iter()
        .filter(|p| *p == active || all && *p != Path::Reference)
        .collect();
    println!("threads {}", threads());
    let bench = Bench {
        filter,
        rounds,
        paths,
        arena: Arena::new(),
        is_large: std::env::var_os("KINORA_BENCH_LARGE").is_some(),
    };
    println!(
        "{:40} {:10} {:>9} {:>9} {:>9} {:>6}",
        "op", "path", "ms", "G/s", "G/cpu-s", "peak"
    );
    bench.linears()?;
    bench.attentions()?;
    bench.convolutions()?;
    bench.clips()?;
    bench.chain()?;
    bench.packing()
}

impl Bench {
    /// A tensor of reproducible values in -1..1.
    fn tensor<const R: usize>(&self, dims: [usize; R]) -> Outcome<Tensor> {
        Ok(Tensor::from_slice_in(
            &self.arena,
            &values(dims.iter().product()),
            dims,
        )?)
    }

    /// Times `run` on every path; `work` is in 10^9 operations, or in GB where there is no peak.
    fn time(&self, name: &str, work: f64, peak: Peak, mut run: Run) -> Outcome<()> {
        if !name.contains(&self.filter) {
            return Ok(());
        }
        let mut results = vec![Times::default(); self.paths.len()];
        for round in 0..=self.rounds {
            for (path, times) in self.paths.iter().zip(&mut results) {
                let (cpu, start) = (cpu_seconds(), Instant::now());
                black_box(path.with(&mut run)??);
                let (wall, used) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
                if round > 0 {
                    times.wall.push(wall);
                    times.cpu += used;
                    let cpu = cpu_seconds();
                    times.probe_work += path.with(|| peak.probe(1_000_000))?? / 1e9;
                    times.probe_cpu += cpu_seconds() - cpu;
                }
            }
        }
        for (path, mut times) in self.paths.iter().zip(results) {
            times.wall.sort_by(f64::total_cmp);
            let median = times.wall[times.wall.len() / 2];
            let rate = work * self.rounds as f64 / times.cpu * threads() as f64;
            let peak = times.probe_work / times.probe_cpu * threads() as f64;
            let share = if peak > 0.0 {
                format!("{:5.0}%", 100.0 * rate / peak)
            } else {
                String::new()
            };
            let path = path.name();
            println!(
                "{name:40} {path:10} {:9.2} {:9.1} {rate:9.1} {share}",
                median * 1e3,
                work / median
            );
        }
        Ok(())
    }

    fn linears(&self) -> Outcome<()> {
        let mut shapes = vec![
            (2592, 512, 512),
            (2592, 512, 2048),
            (2592, 2048, 512),
            (128, 384, 512),
            (2, 512, 3072),
            (2160, 1536, 1536),
            (2160, 1536, 8960),
            (2160, 8960, 1536),
        ];
        if self.is_large {
            shapes.extend([(32_760, 1536, 1536), (32_760, 1536, 8960), (32_760, 8960, 1536)]);
        }
        for (tokens, inner, outer) in shapes {
            let x = self.tensor([tokens, inner])?;
            let (weight, bias) = (values(outer * inner), values(outer));
            let work = 2.0 * (tokens * inner * outer) as f64 / 1e9;
            for (precision, word, peak) in [
                (Precision::F32, "f32", Peak::F32),
                (Precision::Bf16, "bf16", Peak::F32),
                (Precision::Int8, "int8", Peak::Int8),
            ] {
                let w = Linear::pack_as(&weight, Some(&bias), outer, inner, precision)?;
                let name = format!("linear {word} gelu {tokens}x{inner}x{outer}");
                self.time(&name, work, peak, Box::new(|| linear(&x, &w, Activation::GeluTanh)))?;
            }
        }
        Ok(())
    }

    fn attentions(&self) -> Outcome<()> {
        let mut shapes = vec![
            (2, 1296, 1296, 8, 64),
            (2, 1296, 64, 8, 64),
            (1, 2160, 2160, 12, 128),
            (1, 2160, 512, 12, 128),
        ];
        if self.is_large {
            shapes.push((1, 32_760, 32_760, 1, 128));
        }
        for (batch, queries, keys, heads, width) in shapes {
            let q = self.tensor([batch, queries, heads, width])?;
            let k = self.tensor([batch, keys, heads, width])?;
            let v = self.tensor([batch, keys, heads, width])?;
            let name = format!("attention B{batch} L{queries} S{keys} N{heads} D{width}");
            let work = 4.0 * (batch * queries * keys * heads * width) as f64 / 1e9;
            for (mode, word) in [(AttentionMode::Exact, ""), (AttentionMode::Fast, " fast")] {
                let run = Box::new(|| attention_as(&q, &k, &v, KeyMask::None, mode));
                self.time(&format!("{name}{word}"), work, Peak::F32, run)?;
            }
        }
        Ok(())
    }

    fn convolutions(&self) -> Outcome<()> {
        for (height, width, inner, outer, kernel, stride) in [
            (18, 32, 256, 256, 3, 1),
            (18, 32, 512, 256, 3, 1),
            (36, 64, 128, 128, 3, 1),
            (72, 128, 64, 64, 3, 1),
            (144, 256, 64, 64, 3, 1),
            (144, 256, 64, 12, 3, 1),
            (144, 256, 64, 64, 3, 2),
            (72, 128, 128, 64, 1, 1),
        ] {
            let x = self.tensor([1, height, width, inner])?;
            let weight = values(outer * inner * kernel * kernel);
            let taps = inner * outer * kernel * kernel;
            let work = 2.0 * (height / stride * (width / stride) * taps) as f64 / 1e9;
            for (precision, word) in [(Precision::F32, "f32"), (Precision::Bf16, "bf16")] {
                let w = Conv2d::pack_as(&weight, Some(&values(outer)), [outer, inner], kernel, stride, precision)?;
                let name = format!("conv2d {word} {kernel}x{kernel}/{stride} {height}x{width} {inner}->{outer}");
                self.time(&name, work, Peak::F32, Box::new(|| conv2d(&x, &w, Activation::Relu)))?;
            }
        }
        Ok(())
    }

    /// The causal convolutions of the Wan 2.1 autoencoder where it decodes 320x192: four frames of each stage.
    fn clips(&self) -> Outcome<()> {
        for (height, width, channels) in [(24, 40, 384), (96, 160, 192), (192, 320, 96)] {
            let x = self.tensor([4, height, width, channels])?;
            let weight = values(channels * channels * 27);
            let work = 2.0 * (4 * height * width * channels * channels * 27) as f64 / 1e9;
            for (precision, word) in [(Precision::F32, "f32"), (Precision::Bf16, "bf16")] {
                let w = Conv3d::pack_as(&weight, None, [channels, channels], [3, 3], [1, 1], precision)?;
                let name = format!("conv3d {word} 3x3x3 4x{height}x{width} {channels}->{channels}");
                let run = Box::new(|| conv3d_causal(&x, None, &w, Activation::Silu));
                self.time(&name, work, Peak::F32, run)?;
            }
        }
        Ok(())
    }

    fn chain(&self) -> Outcome<()> {
        let (tokens, model) = (2592, 512);
        let gigabytes = (2 * tokens * model * size_of::<f32>()) as f64 / 1e9;
        let x = self.tensor([tokens, model])?;
        let rows = self.tensor([2, model])?;
        let row_of_token: Vec<u32> = (0..tokens).map(|t| u32::from(t >= tokens / 2)).collect();
        let modulation = PerToken::new(&rows, &row_of_token)?;
        self.time(
            "layer_norm_modulate 2592x512 (GB/s)",
            gigabytes,
            Peak::None,
            Box::new(|| layer_norm_modulate(&x, modulation, modulation, 1e-6)),
        )?;
        let mut q = Some(self.tensor([2, tokens / 2, 8, 64])?);
        let (weight, angles) = (values(model), values(tokens / 2 * 32));
        self.time(
            "rms_norm_rope 2x1296x8x64 (GB/s)",
            gigabytes,
            Peak::None,
            Box::new(|| {
                let x = q.take().map_or_else(|| Tensor::zeros([2, tokens / 2, 8, 64]), Ok)?;
                q = Some(rms_norm_rope(x, &weight, 1e-6, &angles, &angles)?);
                Ok(Tensor::zeros([0])?)
            }),
        )
    }

    /// What loading a model costs: int8 weights of a file to panels of either precision.
    fn packing(&self) -> Outcome<()> {
        let (outer, inner) = (2048, 512);
        let weight: Vec<i8> = values(outer * inner).into_iter().map(|v| (v * 127.0) as i8).collect();
        let scales = values(outer);
        let gigabytes = (outer * inner) as f64 / 1e9;
        for (precision, word) in [(Precision::F32, "f32"), (Precision::Int8, "int8")] {
            let name = format!("pack int8 file to {word} {outer}x{inner} (GB/s)");
            let run = Box::new(|| {
                black_box(Linear::pack_int8_as(&weight, &scales, None, outer, inner, precision)?);
                Ok(Tensor::zeros([0])?)
            });
            self.time(&name, gigabytes, Peak::None, run)?;
        }
        Ok(())
    }
}

/// A fixed sequence in -1..1 (a linear congruential generator).
fn values(count: usize) -> Vec<f32> {
    let mut state = 12345u32;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}
