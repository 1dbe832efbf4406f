//! Reads the values of flags. Each reader refuses what the library would refuse, and names the range.

use std::str::FromStr;
use std::time::Duration;

use kinora_eval::{Kind, Task};
use kinora_media::{Format, Fps};
use kinora_pipeline::memory::MemorySize;
use kinora_pipeline::{CacheChoice, Error, LoraChoice, PrecisionChoice, Request, Size};
use kinora_sampling::{Expert, Sampler};
use kinora_weights::{FloatType, QuantKind};

use crate::args::KeptOr;

/// Most frames that may be asked for: the longest clip at the highest rate.
const MAX_FRAMES: u64 = (Request::MAX_SECONDS * Request::MAX_FPS) as u64;
/// Most prompts that may be asked for.
const MAX_PROMPTS: u64 = 1_000_000;
/// Largest strength of a LoRA, and smallest below zero.
const MAX_LORA_STRENGTH: f32 = 10.0;
/// Most threads that may be asked for.
const MAX_THREADS: u64 = 1024;
/// Longest time that a worker may be silent, in seconds: what a server grants to workers elsewhere.
const MAX_LEASE_S: u64 = 86_400;

fn whole(text: &str, least: u64, most: u64, example: &str) -> Result<u64, String> {
    match text.trim().parse::<u64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!(
            "not a whole number from {least} to {most}\nhint: for example {example}"
        )),
    }
}

fn whole_u32(text: &str, least: u64, most: u64, example: &str) -> Result<u32, String> {
    // `most` is far below the limit of u32 in every call.
    whole(text, least, most, example).map(|number| number as u32)
}

fn real(text: &str, fits: impl Fn(f64) -> bool, range: &str, example: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(number) if fits(number) => Ok(number),
        _ => Err(format!("not a number {range}\nhint: for example {example}")),
    }
}

fn by_library<T: FromStr>(text: &str) -> Result<T, String>
where
    T::Err: ToString,
{
    text.parse().map_err(|error: T::Err| error.to_string())
}

/// A point of `--curve`.
pub fn share(text: &str) -> Result<f32, String> {
    real(
        text,
        |number| (0.0..=1.0).contains(&number),
        "from 0 to 1",
        "--curve 0,0.5,1",
    )
    .map(|number| number as f32)
}

/// `--steps`.
pub fn steps(text: &str) -> Result<u32, String> {
    whole_u32(text, 1, u64::from(Request::MAX_STEPS), "--steps 24")
}

/// `--guided-steps`.
pub fn guided_steps(text: &str) -> Result<u32, String> {
    whole_u32(text, 0, u64::from(Request::MAX_STEPS), "--guided-steps 20")
}

/// `--strength`.
pub fn strength(text: &str) -> Result<f32, String> {
    real(
        text,
        |number| number > 0.0 && number <= 1.0,
        "above 0, up to 1",
        "--strength 0.6",
    )
    .map(|number| number as f32)
}

/// `--control-scale`.
pub fn control_scale(text: &str) -> Result<f32, String> {
    let most = Request::MAX_CONTROL_SCALE;
    let fits = |number| (0.0..=f64::from(most)).contains(&number);
    real(text, fits, &format!("from 0 to {most}"), "--control-scale 0.8").map(|number| number as f32)
}

/// `--shift`.
pub fn shift(text: &str) -> Result<f64, String> {
    let range = format!("from {} to {}", Request::SHIFTS.start(), Request::SHIFTS.end());
    real(text, |number| Request::SHIFTS.contains(&number), &range, "--shift 5")
}

/// `--cache`.
pub fn cache(text: &str) -> Result<CacheChoice, String> {
    by_pipeline(text)
}

/// `--lora`: `FILE[:STRENGTH][@high|@low]`.
pub fn lora(text: &str) -> Result<LoraChoice, String> {
    let (rest, expert) = match text.rsplit_once('@') {
        Some((rest, "high")) => (rest, Some(Expert::HighNoise)),
        Some((rest, "low")) => (rest, Some(Expert::LowNoise)),
        _ => (text, None),
    };
    // A colon may belong to the path (C:\\loras): what follows the last one is a strength only if it is a number.
    let strength = rest
        .rsplit_once(':')
        .and_then(|(path, number)| Some((path, number.parse::<f32>().ok()?)));
    let (path, strength) = strength.unwrap_or((rest, 1.0));
    let fits = strength.is_finite() && strength.abs() <= MAX_LORA_STRENGTH && !path.is_empty();
    match fits {
        true => Ok(LoraChoice {
            path: path.into(),
            strength,
            expert,
        }),
        false => Err(format!(
            "not FILE[:STRENGTH][@high|@low] with a strength from -{MAX_LORA_STRENGTH} to {MAX_LORA_STRENGTH}\nhint: for \
             example --lora style.safetensors:0.8"
        )),
    }
}

/// `--frames`.
pub fn frames(text: &str) -> Result<u32, String> {
    whole_u32(text, 1, MAX_FRAMES, "--frames 33, or --frames 1 for an image")
}

/// `--variants`.
pub fn variants(text: &str) -> Result<u32, String> {
    whole_u32(text, 1, u64::from(Request::MAX_VARIANTS), "--variants 4")
}

/// `--lease`.
pub fn lease(text: &str) -> Result<Duration, String> {
    whole(text, 1, MAX_LEASE_S, "--lease 30").map(Duration::from_secs)
}

/// `--threads`.
pub fn threads(text: &str) -> Result<u32, String> {
    whole_u32(text, 1, MAX_THREADS, "--threads 2")
}

/// `--limit` of `kinora jobs list`.
pub fn jobs(text: &str) -> Result<u32, String> {
    whole_u32(text, 1, 100, "--limit 50")
}

/// `--keep-days`.
pub fn days(text: &str) -> Result<u32, String> {
    whole_u32(text, 1, 36_500, "--keep-days 30")
}

/// `--max-priority`.
pub fn priority(text: &str) -> Result<u32, String> {
    whole_u32(text, 0, u64::from(kinora_api::LARGEST_PRIORITY), "--max-priority 10")
}

/// `--workers`.
pub fn workers(text: &str) -> Result<u32, String> {
    whole_u32(text, 0, 64, "--workers 1")
}

/// `--header-seconds` and `--body-seconds`.
pub fn wait(text: &str) -> Result<u32, String> {
    whole_u32(text, 1, 3600, "--body-seconds 30")
}

/// `--connections`, `--requests-per-minute`, `--jobs-per-key`.
pub fn connections(text: &str) -> Result<u32, String> {
    whole_u32(text, 1, 1_000_000, "--connections 4096")
}

/// `--limit`.
pub fn limit(text: &str) -> Result<u32, String> {
    whole_u32(text, 1, MAX_PROMPTS, "--limit 24")
}

/// `--kinds`, one of them.
pub fn kind(text: &str) -> Result<Kind, String> {
    by_library(text)
}

/// `--task` of `kinora eval`.
pub fn task(text: &str) -> Result<Task, String> {
    by_library(text)
}

/// `--seed`.
pub fn seed(text: &str) -> Result<u64, String> {
    whole(text, 0, u64::MAX, "--seed 42")
}

/// `--seconds`.
pub fn seconds(text: &str) -> Result<f64, String> {
    let most = Request::MAX_SECONDS;
    real(
        text,
        |s| s > 0.0 && s <= most,
        &format!("above 0 and at most {most}"),
        "--seconds 2.5",
    )
}

/// `--guidance`.
pub fn guidance(text: &str) -> Result<f32, String> {
    let most = Request::MAX_GUIDANCE;
    let fits = |scale| (0.0..=f64::from(most)).contains(&scale);
    real(text, fits, &format!("from 0 to {most}"), "--guidance 5; 1 turns it off").map(|scale| scale as f32)
}

/// `--fps`.
pub fn fps(text: &str) -> Result<Fps, String> {
    let hint = format!(
        "\nhint: from 1 to {}, for example --fps 24, 23.976 or 30000/1001",
        Request::MAX_FPS
    );
    let fps: Fps = text.parse().map_err(|error| match error {
        kinora_media::Error::InvalidFps { reason, .. } => reason.to_owned() + &hint,
        other => other.to_string(),
    })?;
    match (1.0..=Request::MAX_FPS).contains(&fps.as_f64()) {
        true => Ok(fps),
        false => Err("out of range".to_owned() + &hint),
    }
}

/// A value of the pipeline: it names field and value in its errors, and so does the sentence that this becomes a part of.
fn by_pipeline<T: FromStr<Err = Error>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error| match error {
        Error::Invalid { reason, hint, .. } => format!("{reason}\nhint: {hint}"),
        other => other.to_string(),
    })
}

/// `--size`.
pub fn size(text: &str) -> Result<Size, String> {
    by_pipeline(text)
}

/// `--precision`.
pub fn precision(text: &str) -> Result<PrecisionChoice, String> {
    by_pipeline(text)
}

/// `--max-memory`, in bytes.
pub fn memory(text: &str) -> Result<u64, String> {
    by_pipeline::<MemorySize>(text).map(|size| size.bytes)
}

/// `--dtype`.
pub fn float_type(text: &str) -> Result<KeptOr, String> {
    match text.to_ascii_lowercase().as_str() {
        "keep" => Ok(KeptOr(None)),
        "f32" | "fp32" => Ok(KeptOr(Some(FloatType::F32))),
        "f16" | "fp16" => Ok(KeptOr(Some(FloatType::F16))),
        "bf16" => Ok(KeptOr(Some(FloatType::Bf16))),
        _ => Err("not keep, f32, f16 or bf16\nhint: for example --dtype bf16".into()),
    }
}

/// `--kind`.
pub fn quant_kind(text: &str) -> Result<QuantKind, String> {
    match text.to_ascii_lowercase().as_str() {
        "int8" => Ok(QuantKind::Int8),
        "fp8" | "f8" | "f8_e4m3" | "fp8_e4m3" => Ok(QuantKind::F8E4M3),
        _ => Err("not int8 or fp8\nhint: for example --kind int8".into()),
    }
}

/// `--format`.
pub fn format(text: &str) -> Result<Format, String> {
    by_library(text)
}

/// `--sampler`; takes the other usual names of DPM++ 2M and of renoise too.
pub fn sampler(text: &str) -> Result<Sampler, String> {
    match text.to_ascii_lowercase().as_str() {
        "dpm++2m" | "dpm++-2m" | "dpmpp2m" | "dpmpp_2m" => Ok(Sampler::DpmPp2m),
        "lcm" | "dmd" => Ok(Sampler::Renoise),
        name => by_library(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_inside() {
        assert_eq!(steps("1"), Ok(1));
        assert_eq!(steps(" 200 "), Ok(200));
        assert_eq!(frames("7200"), Ok(7200));
        assert_eq!(seed("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(seconds("60"), Ok(60.0));
        assert_eq!(guidance("0"), Ok(0.0));
        assert_eq!(fps("30000/1001"), Ok(Fps::new(30000, 1001).unwrap()));
        assert_eq!(sampler("DPM++2M"), Ok(Sampler::DpmPp2m));
        assert_eq!(sampler("LCM"), Ok(Sampler::Renoise));
    }

    #[test]
    fn what_is_outside_is_refused_with_the_range() {
        for text in ["0", "-1", "201", "1.5", "1e2", "NaN", "", "99999999999999999999"] {
            assert!(steps(text).unwrap_err().contains("from 1 to 200"), "{text}");
        }
        for text in ["0", "-0.0", "-2", "60.1", "inf", "NaN", "1e400", "two"] {
            assert!(seconds(text).unwrap_err().contains("at most 60"), "{text}");
        }
        for text in ["-1", "30.5", "NaN", "-inf", ""] {
            assert!(guidance(text).unwrap_err().contains("from 0 to 30"), "{text}");
        }
        for text in ["0", "-24", "121", "0.5", "NaN", "1/0"] {
            assert!(fps(text).unwrap_err().contains("from 1 to 120"), "{text}");
        }
        assert!(seed("-1").is_err());
    }
}
