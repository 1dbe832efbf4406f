//! Parity with diffusers for Wan: sigmas, timesteps and the coefficients of every sampler.
//! The fixture is written by `tools/reference/wan_schedules.py`, which documents its names.

// Helpers of tests fail like tests.
#![allow(clippy::unwrap_used)]

use kinora_sampling::{DMD_LIST, FASTWAN_LIST, Sampler, SamplerRun, Schedule, ScheduleKind};
use kinora_tensor::Tensor;
use kinora_testkit::{Golden, assert_close};

const STEPS: [usize; 4] = [3, 4, 20, 50];
const SHIFTS: [u32; 4] = [1, 3, 5, 8];
/// The names of the tables in the fixture, and the sampler that their coefficients belong to.
const KINDS: [(&str, ScheduleKind, Sampler); 4] = [
    ("uni_pc_flow", ScheduleKind::DiffusersUniPc, Sampler::UniPc),
    ("flow_match", ScheduleKind::DiffusersFlowMatch, Sampler::Euler),
    ("rectified_flow", ScheduleKind::RectifiedFlow, Sampler::Euler),
    ("dpm_flow", ScheduleKind::DiffusersDpm, Sampler::DpmPp2m),
];

fn golden() -> Golden {
    Golden::open(env!("CARGO_MANIFEST_DIR"), "wan_schedules")
}

/// Sigmas and timesteps of one list; timesteps are a thousand times larger, and so is a unit in their last place.
fn compare_list(golden: &Golden, key: &str, schedule: &Schedule) {
    let sigmas: Vec<f32> = schedule.sigmas().iter().map(|sigma| sigma.0 as f32).collect();
    let name = format!("{key}.sigmas");
    assert_close(&name, &sigmas, golden.tensor(&name).as_slice(), golden.tolerance());
    let name = format!("{key}.timesteps");
    if golden.has(&name) {
        let timesteps: Vec<f32> = schedule.timesteps().iter().map(|timestep| timestep.0 / 1e3).collect();
        let want: Vec<f32> = golden.tensor(&name).as_slice().iter().map(|t| t / 1e3).collect();
        assert_close(&name, &timesteps, &want, golden.tolerance());
    }
}

/// Row i: what the noise and the velocity of every step contribute to the latents after step i.
///
/// A sampler is linear in both, so a run on unit vectors shows its coefficients: the noise is e0, the velocity of step
/// j is e(j+1).
fn coefficients(sampler: Sampler, schedule: &Schedule) -> Vec<f32> {
    let width = schedule.steps() + 1;
    let unit = |at: usize| {
        let mut tensor = Tensor::zeros([1, width, 1, 1, 1]).unwrap();
        tensor.as_mut_slice()[at] = 1.0;
        tensor
    };
    let mut run = SamplerRun::new(sampler, schedule, unit(0)).unwrap();
    let mut rows = Vec::with_capacity(schedule.steps() * width);
    for step in 0..schedule.steps() {
        run.provide(unit(step + 1)).unwrap();
        rows.extend_from_slice(run.latents().as_slice());
    }
    assert!(run.next_eval().is_none());
    rows
}

#[test]
fn sigmas_and_timesteps_are_those_of_the_reference() {
    let golden = golden();
    for (name, kind, _) in KINDS {
        for steps in STEPS {
            for shift in SHIFTS {
                let schedule = Schedule::new(kind, steps, f64::from(shift)).unwrap();
                compare_list(&golden, &format!("{name}.steps{steps}.shift{shift}"), &schedule);
            }
        }
    }
}

#[test]
fn every_sampler_has_the_coefficients_of_the_reference() {
    let golden = golden();
    let mut tables = 0;
    for (name, kind, sampler) in KINDS {
        for steps in STEPS {
            for shift in SHIFTS {
                let schedule = Schedule::new(kind, steps, f64::from(shift)).unwrap();
                let key = format!("{name}.steps{steps}.shift{shift}.coefficients");
                let want = golden.tensor(&key);
                assert_eq!(want.dims(), [steps, steps + 1], "{key}");
                assert_close(
                    &key,
                    &coefficients(sampler, &schedule),
                    want.as_slice(),
                    golden.tolerance(),
                );
                tables += 1;
            }
        }
    }
    let in_file = golden
        .names()
        .iter()
        .filter(|name| name.ends_with(".coefficients"))
        .count();
    assert_eq!(tables, in_file, "every table of the file has been compared");
}

#[test]
fn few_step_lists_are_those_of_their_sources() {
    let golden = golden();
    let mut compared = 0;
    let mut compare = |key: &str, schedule: Schedule| {
        compare_list(&golden, key, &schedule);
        compared += 1;
    };
    for shift in SHIFTS {
        let s = f64::from(shift);
        compare(&format!("few.dmd.shift{shift}"), Schedule::dmd(&DMD_LIST, s).unwrap());
        let fastwan = Schedule::fastwan(&FASTWAN_LIST, s).unwrap();
        compare(&format!("few.fastwan.shift{shift}"), fastwan);
        for steps in [3, 4, 8] {
            let key = format!("few.lcm.shift{shift}.steps{steps}");
            compare(&key, Schedule::lcm(steps, s).unwrap());
        }
    }
    for sigma_max in [80, 200] {
        for steps in 1..=4 {
            let key = format!("few.rcm.sigma{sigma_max}.steps{steps}");
            compare(&key, Schedule::rcm(steps, f64::from(sigma_max)).unwrap());
        }
    }
    let is_list = |name: &&String| name.starts_with("few.") && name.ends_with("sigmas") && !name.contains("renoise");
    let in_file = golden.names().iter().filter(is_list).count();
    assert_eq!(compared, in_file, "every list of the file has been compared");
}

#[test]
fn renoising_with_given_noise_is_that_of_the_reference() {
    let golden = golden();
    let (velocity, noise) = (
        golden.tensor("few.renoise.velocity"),
        golden.tensor("few.renoise.noise"),
    );
    let after = golden.tensor("few.renoise.after");
    let schedule = Schedule::lcm(velocity.dims()[0], 5.0).unwrap();
    let sigmas: Vec<f32> = schedule.sigmas().iter().map(|sigma| sigma.0 as f32).collect();
    let want = golden.tensor("few.renoise.sigmas");
    assert_close("few.renoise.sigmas", &sigmas, want.as_slice(), golden.tolerance());

    let latents = golden.tensor("few.renoise.latents");
    let row = |of: &Tensor, at: usize| {
        let values = of.as_slice().chunks(latents.elements()).nth(at).unwrap();
        Tensor::from_slice(values, latents.dims()).unwrap()
    };
    let mut run = SamplerRun::new(Sampler::Renoise, &schedule, latents.try_clone().unwrap()).unwrap();
    for step in 0..schedule.steps() {
        if step + 1 < schedule.steps() {
            run.provide_with_noise(row(&velocity, step), &row(&noise, step))
                .unwrap();
        } else {
            run.provide(row(&velocity, step)).unwrap();
        }
        let key = format!("few.renoise.after[{step}]");
        assert_close(
            &key,
            run.latents().as_slice(),
            row(&after, step).as_slice(),
            golden.tolerance(),
        );
    }
    assert!(run.next_eval().is_none());
}
