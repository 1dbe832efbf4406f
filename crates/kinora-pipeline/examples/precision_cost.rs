//! What bf16 and int8 cost in quality: the same noise and prompts through each precision, compared with f32.
//!
//! `cargo run --release -p kinora-pipeline --example precision_cost -- bench/prompts-24.txt [latent frames] [steps]` prints
//! one line of CSV for each prompt and precision, then the means. Latents are compared by their cosine and relative error
//! after the last step, frames (before any codec) by PSNR and SSIM; the velocity of the first step, where all precisions
//! still read the same latents, shows the error of one evaluation before the steps multiply it.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a measurement that cannot be made fails

use kinora_kernels::Precision;
use kinora_models::minilm::{MiniLm, Tokenizer};
use kinora_models::taehv::Taehv;
use kinora_models::wan::{Context, Timesteps, Transformer};
use kinora_pipeline::{OpenOptions, Pipeline, PromptMode};
use kinora_sampling::{Sampler, SamplerRun, Schedule, Stream, guide, noise_in};
use kinora_tensor::{Arena, Tensor};
use kinora_weights::ModelFolder;

const GUIDANCE: f32 = 5.0;
const SHIFT: f64 = 3.0;
const SEED: u64 = 42;

/// The networks in one precision.
struct Model {
    transformer: Transformer,
    vae: Taehv,
}

/// What a prompt became.
struct Clip {
    first_velocity: Vec<f32>,
    latents: Vec<f32>,
    /// `[H,W,3]` in 0..1 each.
    frames: Vec<Tensor>,
}

fn main() {
    let mut args = std::env::args().skip(1);
    let prompts = std::fs::read_to_string(args.next().expect("a file with a prompt in each line")).unwrap();
    let mut number = |default: usize| args.next().map_or(default, |n| n.parse().expect("a number"));
    let (latent_frames, steps) = (number(3), number(8));

    let (folder, arena) = (ModelFolder::embedded_toybox().unwrap(), Arena::new());
    let parser = Pipeline::open("toybox", OpenOptions::EXACT).unwrap();
    let tokenizer = Tokenizer::from_json(&folder.tokenizer().unwrap()).unwrap();
    let config = |part: &str| folder.config(part).unwrap();
    let checkpoint = |part: &str| folder.checkpoint(part).unwrap();
    let text = MiniLm::load(&checkpoint("text_encoder"), &config("text_encoder")).unwrap();
    let models = Precision::ALL.map(|precision| Model {
        transformer: Transformer::load(&checkpoint("transformer"), &config("transformer"), precision).unwrap(),
        vae: Taehv::load(&checkpoint("vae"), &config("vae"), precision).unwrap(),
    });
    let embed = |words: &str| {
        let tokens = tokenizer.encode(&[words], Some(64)).unwrap();
        text.forward(&tokens, &arena).unwrap()
    };

    println!("prompt,precision,velocity_cosine,latents_cosine,latents_relative_error,frames_psnr_db,frames_ssim");
    let mut sums = [[0.0; 5]; Precision::ALL.len()];
    let prompts: Vec<&str> = prompts.lines().filter(|l| !l.is_empty()).collect();
    for (index, prompt) in prompts.iter().enumerate() {
        let caption = parser.parse(prompt, PromptMode::Auto).unwrap().model_prompt;
        let (cond, uncond) = (embed(&caption), embed(""));
        let clips = models.each_ref().map(|m| {
            let contexts = [&cond, &uncond].map(|t| m.transformer.embed_context(t, None).unwrap());
            make(m, &contexts, latent_frames, steps, &arena)
        });
        for (i, precision) in Precision::ALL.into_iter().enumerate().skip(1) {
            let name = precision.name();
            let row = compare(&clips[i], &clips[0]);
            let [v, c, e, p, s] = row;
            println!("{},{name},{v:.6},{c:.6},{e:.4},{p:.2},{s:.4}", index + 1);
            sums[i].iter_mut().zip(row).for_each(|(sum, v)| *sum += v);
        }
    }
    for (i, precision) in Precision::ALL.into_iter().enumerate().skip(1) {
        let name = precision.name();
        let [v, c, e, p, s] = sums[i].map(|sum| sum / prompts.len() as f64);
        println!("mean,{name},{v:.6},{c:.6},{e:.4},{p:.2},{s:.4}");
    }
}

/// Euler steps under guidance, then the decoder.
fn make(model: &Model, contexts: &[Context; 2], latent_frames: usize, steps: usize, arena: &Arena) -> Clip {
    let transformer = &model.transformer;
    let channels = transformer.config().in_channels;
    let noise = noise_in(arena, SEED, Stream::default(), [1, channels, latent_frames, 18, 32]).unwrap();
    let tokens = transformer.token_grid(&noise).unwrap().iter().product();
    let schedule = Schedule::rectified_flow(steps, SHIFT).unwrap();
    let mut run = SamplerRun::new(Sampler::Euler, &schedule, noise).unwrap();
    let mut first_velocity = Vec::new();
    while let Some(eval) = run.next_eval() {
        let timesteps = Timesteps::uniform(eval.timestep.0, tokens);
        let [cond, uncond] = contexts
            .each_ref()
            .map(|c| transformer.forward(eval.latents, &timesteps, c).unwrap());
        let velocity = guide(&cond, &uncond, GUIDANCE).unwrap();
        if first_velocity.is_empty() {
            first_velocity = velocity.as_slice().to_vec();
        }
        run.provide(velocity).unwrap();
    }
    let latents = run.into_latents();
    let (mut decoder, mut frames) = (model.vae.decoder(), Vec::new());
    for index in 0..latent_frames {
        decoder
            .push(&latents, index, &mut |frame| {
                frames.push(frame);
                Ok(())
            })
            .unwrap();
    }
    Clip {
        first_velocity,
        latents: latents.as_slice().to_vec(),
        frames,
    }
}

/// Cosine of the velocities, cosine and relative error of the latents, PSNR and SSIM of the frames.
fn compare(got: &Clip, want: &Clip) -> [f64; 5] {
    let pairs = || got.frames.iter().zip(&want.frames);
    let count = want.frames.len() as f64;
    let square: f64 = pairs().map(|(a, b)| mean_square(a.as_slice(), b.as_slice())).sum();
    let ssim: f64 = pairs().map(|(a, b)| ssim(a, b)).sum();
    [
        cosine(&got.first_velocity, &want.first_velocity),
        cosine(&got.latents, &want.latents),
        (mean_square(&got.latents, &want.latents) / mean_square(&want.latents, &vec![0.0; want.latents.len()])).sqrt(),
        -10.0 * (square / count).log10(),
        ssim / count,
    ]
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum() };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn mean_square(a: &[f32], b: &[f32]) -> f64 {
    let sum: f64 = a
        .iter()
        .zip(b)
        .map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2))
        .sum();
    sum / a.len() as f64
}

/// Structural similarity of the luma of two frames over windows of 8x8 that overlap by half (Wang et al., 2004).
fn ssim(a: &Tensor, b: &Tensor) -> f64 {
    const WINDOW: usize = 8;
    let [height, width, _] = a.dims_of("ssim", "[H,W,3]").unwrap();
    let luma = |frame: &Tensor, at: usize| -> f64 {
        let pixel = &frame.as_slice()[3 * at..][..3];
        0.299 * f64::from(pixel[0]) + 0.587 * f64::from(pixel[1]) + 0.114 * f64::from(pixel[2])
    };
    let (c1, c2) = (0.01f64.powi(2), 0.03f64.powi(2));
    let (mut sum, mut windows) = (0.0, 0.0);
    for y in (0..=height - WINDOW).step_by(WINDOW / 2) {
        for x in (0..=width - WINDOW).step_by(WINDOW / 2) {
            let places = (0..WINDOW * WINDOW).map(|i| (y + i / WINDOW) * width + x + i % WINDOW);
            let mut moments = [0.0; 5];
            for (a, b) in places.map(|at| (luma(a, at), luma(b, at))) {
                for (moment, v) in moments.iter_mut().zip([a, b, a * a, b * b, a * b]) {
                    *moment += v / (WINDOW * WINDOW) as f64;
                }
            }
            let [ma, mb, aa, bb, ab] = moments;
            let (va, vb, cov) = (aa - ma * ma, bb - mb * mb, ab - ma * mb);
            sum += (2.0 * ma * mb + c1) * (2.0 * cov + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2));
            windows += 1.0;
        }
    }
    sum / windows
}
