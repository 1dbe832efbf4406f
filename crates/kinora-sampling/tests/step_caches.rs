//! Parity of the step caches with a small implementation of their rules in NumPy: the same decisions, the same run.
//! The fixture is written by `tools/reference/step_caches.py`, which documents its names and the model.

// Helpers of tests fail like tests.
#![allow(clippy::unwrap_used)]

use kinora_sampling::{Branch, CacheKind, Decision, MagCurve, Sampler, SamplerRun, Schedule, StepCache, guide};
use kinora_tensor::{Arena, Tensor};
use kinora_testkit::{Golden, Json, assert_close};

const BRANCHES: [Branch; 2] = [Branch::Cond, Branch::Uncond];

fn golden() -> Golden {
    Golden::open(env!("CARGO_MANIFEST_DIR"), "step_caches")
}

/// The analytic stand-in of the script.
fn model(latents: &Tensor, sigma: f64, branch: Branch) -> Tensor {
    let x = latents.as_slice();
    let phase = if branch == Branch::Cond { 0.0 } else { 0.4 };
    let velocity: Vec<f32> = (0..x.len())
        .map(|i| {
            let wave = (0.7 * i as f64 + phase).sin();
            let (here, there) = (f64::from(x[i]), f64::from(x[(i + 3) % x.len()]));
            ((0.3 + 0.5 * sigma) * here - 0.2 * sigma * there + (1.5 - sigma) * wave) as f32
        })
        .collect();
    Tensor::from_slice(&velocity, latents.dims()).unwrap()
}

fn curve(golden: &Golden) -> MagCurve {
    let ratios = golden.tensor("ratios");
    let ratios: Vec<f64> = ratios.as_slice().iter().map(|&ratio| f64::from(ratio)).collect();
    let (cond, uncond) = ratios.split_at(ratios.len() / 2);
    MagCurve::new(cond, uncond).unwrap()
}

fn kind(case: &Json, golden: &Golden) -> CacheKind {
    let number = |key: &str| case[key].as_f64().unwrap();
    match case["rule"].as_str().unwrap() {
        "easycache" => CacheKind::EasyCache {
            threshold: number("threshold"),
            first_steps: number("first_steps") as usize,
        },
        _ => CacheKind::MagCache {
            curve: curve(golden),
            threshold: number("threshold"),
            max_skips: number("max_skips") as usize,
            retention: number("retention"),
        },
    }
}

#[test]
fn decisions_velocities_and_errors_are_those_of_the_reference() {
    let golden = golden();
    let cases: Json = golden.meta("cases").parse().unwrap();
    let cases = cases.as_object().unwrap();
    assert_eq!(cases.len(), 4);
    for (name, case) in cases {
        let steps = case["steps"].as_u64().unwrap() as usize;
        let schedule = Schedule::rectified_flow(steps, 5.0).unwrap();
        let mut run = SamplerRun::new(Sampler::Euler, &schedule, golden.tensor("noise")).unwrap();
        let mut cache = StepCache::new(kind(case, &golden), steps).unwrap();
        let (mut decisions, mut velocities, mut after) = (Vec::new(), Vec::new(), Vec::new());
        for step in 0..steps {
            // A job that is stopped and goes on between any two steps.
            cache = StepCache::restore(&cache.save(), kind(case, &golden), steps, &Arena::new()).unwrap();
            let eval = run.next_eval().unwrap();
            let [cond, uncond] = BRANCHES.map(|branch| {
                let velocity = match cache.decide(branch, eval.latents, step).unwrap() {
                    Decision::Reuse(velocity) => {
                        decisions.push(1);
                        velocity
                    }
                    Decision::Compute => {
                        decisions.push(0);
                        let velocity = model(eval.latents, eval.sigma.0, branch);
                        cache.observe(branch, eval.latents, &velocity).unwrap();
                        velocity
                    }
                };
                velocities.extend_from_slice(velocity.as_slice());
                velocity
            });
            run.provide(guide(&cond, &uncond, 3.0).unwrap()).unwrap();
            after.extend_from_slice(run.latents().as_slice());
        }
        assert_eq!(decisions, golden.ints(&format!("{name}.decisions")), "{name}");
        let close = |tap: &str, got: &[f32]| {
            let tap = format!("{name}.{tap}");
            assert_close(&tap, got, golden.tensor(&tap).as_slice(), golden.tolerance());
        };
        close("velocity", &velocities);
        close("latents", &after);
        let report = cache.report();
        assert_eq!(report.reused as i64, decisions.iter().sum::<i64>());
        assert_eq!(report.computed + report.reused, 2 * steps);
        let measured = report.measured_error.unwrap_or(0.0);
        let errors = [report.estimated_error, report.largest_error, measured].map(|error| error as f32);
        close("errors", &errors);
    }
}

#[test]
fn a_calibrated_curve_is_that_of_the_reference() {
    let golden = golden();
    let want = golden.tensor("calibrated.ratios");
    let schedule = Schedule::rectified_flow(want.dims()[1], 5.0).unwrap();
    let mut run = SamplerRun::new(Sampler::Euler, &schedule, golden.tensor("noise")).unwrap();
    let mut calibration = MagCurve::calibrate();
    while let Some(eval) = run.next_eval() {
        let [cond, uncond] = BRANCHES.map(|branch| {
            let velocity = model(eval.latents, eval.sigma.0, branch);
            calibration.observe(branch, eval.latents, &velocity).unwrap();
            velocity
        });
        run.provide(guide(&cond, &uncond, 3.0).unwrap()).unwrap();
    }
    let curve = calibration.finish().unwrap();
    let got: Vec<f32> = BRANCHES
        .iter()
        .flat_map(|branch| curve.ratios(*branch))
        .map(|&ratio| ratio as f32)
        .collect();
    assert_close("calibrated.ratios", &got, want.as_slice(), golden.tolerance());
}
