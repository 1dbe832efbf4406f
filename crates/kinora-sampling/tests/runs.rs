//! How a run behaves: convergence, checkpoints, given latents, misuse.

// Helpers of tests fail like tests.
#![allow(clippy::unwrap_used)]

use kinora_sampling::{Clean, Error, Prediction, Sampler, SamplerRun, Schedule, ScheduleKind, Stream, noise};
use kinora_tensor::{Arena, Tensor};

const DIMS: [usize; 5] = [1, 2, 3, 2, 4];

fn start() -> Tensor {
    noise(11, Stream::default(), DIMS).unwrap()
}

/// A run that has noise for samplers that draw it.
fn new_run(sampler: Sampler, schedule: &Schedule, latents: Tensor) -> SamplerRun {
    let run = SamplerRun::new(sampler, schedule, latents).unwrap();
    run.with_fresh_noise(11, Stream::default())
}

fn schedule(steps: usize) -> Schedule {
    Schedule::rectified_flow(steps, 3.0).unwrap()
}

/// A model that depends on latents and time.
fn velocity(latents: &Tensor, sigma: f64) -> Tensor {
    let values: Vec<f32> = latents
        .as_slice()
        .iter()
        .map(|x| (f64::from(x.sin()) - 0.7 * sigma) as f32)
        .collect();
    Tensor::from_slice(&values, latents.dims()).unwrap()
}

fn step(run: &mut SamplerRun) {
    let eval = run.next_eval().unwrap();
    let predicted = velocity(eval.latents, eval.sigma.0);
    run.provide(predicted).unwrap();
}

fn finish(mut run: SamplerRun) -> Tensor {
    while run.next_eval().is_some() {
        step(&mut run);
    }
    run.into_latents()
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    tensor.as_slice().iter().map(|value| value.to_bits()).collect()
}

/// For noise and one clean point the flow is a straight line, which every rule must follow exactly.
#[test]
fn a_straight_flow_ends_at_the_clean_latents() {
    let (from, to) = (start(), noise(12, Stream::default(), DIMS).unwrap());
    for sampler in Sampler::ALL {
        for kind in ScheduleKind::ALL {
            for steps in [1, 2, 5, 30] {
                let schedule = Schedule::new(kind, steps, 3.0).unwrap();
                let mut run = new_run(sampler, &schedule, from.try_clone().unwrap());
                run = run.with_prediction(Prediction::Clean);
                while run.next_eval().is_some() {
                    run.provide(to.try_clone().unwrap()).unwrap();
                }
                for (got, want) in run.latents().as_slice().iter().zip(to.as_slice()) {
                    assert!((got - want).abs() < 1e-5, "{sampler:?} {kind:?} {steps}: {got} {want}");
                }
            }
        }
    }
}

/// Clean latents from the standard normal distribution times 0.5: the velocity field and its solution are known.
/// x_sigma has variance (1-s)^2 / 4 + s^2 =: V, v = x * V' / (2 V), so x_0 = x_1 * sqrt(V(0) / V(1)) = x_1 / 2.
#[test]
fn errors_shrink_with_the_order_of_the_sampler() {
    let error = |sampler: Sampler, steps: usize| {
        let mut run = new_run(sampler, &Schedule::rectified_flow(steps, 1.0).unwrap(), start());
        while let Some(eval) = run.next_eval() {
            let s = eval.sigma.0;
            let slope = (s - (1.0 - s) / 4.0) / ((1.0 - s).powi(2) / 4.0 + s * s);
            let values: Vec<f32> = eval
                .latents
                .as_slice()
                .iter()
                .map(|x| (f64::from(*x) * slope) as f32)
                .collect();
            let velocity = Tensor::from_slice(&values, DIMS).unwrap();
            run.provide(velocity).unwrap();
        }
        let pairs = run.latents().as_slice().iter().zip(start().as_slice().to_vec());
        pairs
            .map(|(got, noise)| (f64::from(*got) - 0.5 * f64::from(noise)).abs())
            .fold(0.0, f64::max)
    };
    // Renoise does not follow the flow; a_straight_flow_ends_at_the_clean_latents has it.
    for sampler in Sampler::ALL.into_iter().filter(|sampler| !sampler.needs_noise()) {
        let (coarse, fine) = (error(sampler, 20), error(sampler, 40));
        // Halving the step divides the error by 2 (first order) or 4. DPM++ 2M ends with a step of first order that
        // nothing corrects, so its error is small but shrinks with the last sigma.
        let least = match sampler {
            Sampler::Euler => 1.8,
            Sampler::DpmPp2m => 2.0,
            _ => 3.0,
        };
        assert!(coarse / fine > least, "{sampler:?}: {coarse} {fine}");
        if sampler.order() == 2 {
            let euler = error(Sampler::Euler, 20);
            assert!(coarse < 0.3 * euler, "{sampler:?}: {coarse}, Euler {euler}");
        }
    }
}

#[test]
fn a_run_that_was_saved_and_restored_at_any_point_gives_the_same_bytes() {
    for sampler in Sampler::ALL {
        let schedule = schedule(6);
        let fresh = || {
            new_run(sampler, &schedule, start())
                .with_clean(Clean::Prefix(Tensor::from_slice(&[0.25; 16], [1, 2, 1, 2, 4]).unwrap()))
                .unwrap()
        };
        let whole = finish(fresh());
        for calls in 0..=sampler.evaluations(6) {
            let mut run = fresh();
            for _ in 0..calls {
                step(&mut run);
            }
            let saved = run.save();
            drop(run);
            let run = SamplerRun::restore(&saved, &Arena::new()).unwrap();
            assert_eq!(run.schedule(), &schedule);
            assert_eq!(bits(&finish(run)), bits(&whole), "{sampler:?} after {calls}");
        }
    }
}

#[test]
fn given_frames_stay_clean_and_the_model_is_told() {
    let given = noise(5, Stream::default(), [1, 2, 1, 2, 4]).unwrap();
    for sampler in Sampler::ALL {
        let clean = Clean::Prefix(given.try_clone().unwrap());
        let mut run = new_run(sampler, &schedule(4), start()).with_clean(clean).unwrap();
        while let Some(eval) = run.next_eval() {
            for (channel, kept) in eval.latents.as_slice().chunks(24).zip(given.as_slice().chunks(8)) {
                assert_eq!(&channel[..8], kept, "{sampler:?}");
            }
            assert_eq!(eval.clean_frames, 1);
            let times: Vec<f32> = eval.frame_timesteps(3).iter().map(|t| t.0).collect();
            assert_eq!(times, [0.0, eval.timestep.0, eval.timestep.0]);
            step(&mut run);
        }
        assert_eq!(&run.latents().as_slice()[..8], &given.as_slice()[..8]);
    }
}

/// Elements do not influence each other in an update, so what is not given must not notice what is.
#[test]
fn given_elements_do_not_disturb_the_others() {
    for sampler in Sampler::ALL {
        let free = finish(new_run(sampler, &schedule(5), start()));
        let mut mask = Tensor::zeros(DIMS).unwrap();
        mask.as_mut_slice().iter_mut().step_by(3).for_each(|m| *m = 1.0);
        let values = Tensor::from_slice(&[9.0; 48], DIMS).unwrap();
        let run = new_run(sampler, &schedule(5), start());
        let held = finish(run.with_clean(Clean::Elements { mask, values }).unwrap());
        for (i, (held, free)) in held.as_slice().iter().zip(free.as_slice()).enumerate() {
            assert_eq!(*held, if i % 3 == 0 { 9.0 } else { *free }, "{sampler:?} {i}");
        }
    }
}

#[test]
fn step_and_call_numbers_follow_the_schedule() {
    let mut run = SamplerRun::new(Sampler::Heun, &schedule(3), start()).unwrap();
    let mut seen = Vec::new();
    while let Some(eval) = run.next_eval() {
        seen.push((eval.step_index, eval.call, eval.timestep.0.round()));
        step(&mut run);
    }
    let expected = [
        (0, 0, 1000.0),
        (0, 1, 857.0),
        (1, 0, 857.0),
        (1, 1, 600.0),
        (2, 0, 600.0),
    ];
    assert_eq!(seen, expected);
    assert_eq!(run.steps_done(), 3);
}

#[test]
fn misuse_is_an_error_and_leaves_the_run_as_it_was() {
    for sampler in Sampler::ALL {
        let mut run = new_run(sampler, &schedule(3), start());
        step(&mut run);
        let before = run.save();
        let mut spoiled = start();
        spoiled.as_mut_slice()[7] = f32::NAN;
        let refused = run.provide(spoiled).unwrap_err();
        assert!(matches!(refused, Error::NotFinite { element: 7, .. }), "{refused}");
        let refused = run.provide(Tensor::zeros([48]).unwrap()).unwrap_err();
        assert!(matches!(refused, Error::Tensor(_)), "{refused}");
        assert_eq!(run.save(), before);
        while run.next_eval().is_some() {
            step(&mut run);
        }
        assert_eq!(run.provide(start()), Err(Error::Finished { steps: 3 }));
    }
    let mut endless = start();
    endless.as_mut_slice()[0] = f32::INFINITY;
    assert!(matches!(
        SamplerRun::new(Sampler::Euler, &schedule(3), endless),
        Err(Error::NotFinite { .. })
    ));
    let mut run = SamplerRun::new(Sampler::Euler, &schedule(3), start())
        .unwrap()
        .with_prediction(Prediction::Epsilon);
    assert_eq!(run.provide(start()), Err(Error::EpsilonAtPureNoise { sigma: 1.0 }));
}

/// The same seed draws the same noise, another seed or stream another, and no step repeats the noise of one before.
#[test]
fn fresh_noise_follows_from_seed_stream_and_step() {
    let after = |seed, part, steps: usize| {
        let run = SamplerRun::new(Sampler::Renoise, &schedule(4), start()).unwrap();
        let mut run = run.with_fresh_noise(seed, Stream { variant: 0, part });
        // A model that predicts clean latents of 0: what is left is the fresh noise times the level.
        run = run.with_prediction(Prediction::Clean);
        for _ in 0..steps {
            run.provide(Tensor::zeros(DIMS).unwrap()).unwrap();
        }
        let level = run.schedule().sigmas()[steps].0;
        let noise: Vec<f64> = run.latents().as_slice().iter().map(|x| f64::from(*x) / level).collect();
        noise
    };
    let spread = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let first = after(7, 0, 1);
    assert_eq!(first, after(7, 0, 1));
    for other in [after(8, 0, 1), after(7, 1, 1), after(7, 0, 2), after(7, 0, 3)] {
        assert!(spread(&first, &other) > 0.5);
    }
    let variance = first.iter().map(|x| x * x).sum::<f64>() / first.len() as f64;
    assert!((0.5..2.0).contains(&variance), "{variance}");
}

#[test]
fn without_a_seed_there_is_no_fresh_noise() {
    let mut run = SamplerRun::new(Sampler::Renoise, &schedule(2), start()).unwrap();
    let before = run.save();
    assert_eq!(run.provide(start()), Err(Error::NoiseMissing { step_index: 0 }));
    assert_eq!(run.save(), before);
    let mut spoiled = start();
    spoiled.as_mut_slice()[3] = f32::NAN;
    assert!(matches!(
        run.provide_with_noise(start(), &spoiled),
        Err(Error::NotFinite { element: 3, .. })
    ));
    let other = Tensor::zeros([48]).unwrap();
    assert!(matches!(run.provide_with_noise(start(), &other), Err(Error::Tensor(_))));
    assert_eq!(run.save(), before);
    run.provide_with_noise(start(), &start()).unwrap();
    // The last step draws none.
    run.provide(start()).unwrap();
    assert!(run.next_eval().is_none());
}
