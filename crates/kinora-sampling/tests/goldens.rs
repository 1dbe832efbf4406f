//! Parity with diffusers: tables of sigmas and timesteps, and whole trajectories of every sampler.
//! The fixtures are written by `tools/reference/sampling.py`, which documents their names.

// Helpers of tests fail like tests.
#![allow(clippy::unwrap_used)]

use kinora_sampling::{Sampler, SamplerRun, Schedule, ScheduleKind};
use kinora_tensor::Tensor;
use kinora_testkit::{Golden, assert_close};

/// The names of the tables in the fixtures.
const KINDS: [(&str, ScheduleKind); 4] = [
    ("rectified_flow", ScheduleKind::RectifiedFlow),
    ("flow_match", ScheduleKind::DiffusersFlowMatch),
    ("uni_pc_flow", ScheduleKind::DiffusersUniPc),
    ("dpm_flow", ScheduleKind::DiffusersDpm),
];

/// The analytic stand-in of the script: a smooth velocity that couples distant elements and the timestep.
fn model(latents: &Tensor, timestep: f32) -> Tensor {
    let x = latents.as_slice();
    let n = x.len();
    let velocity: Vec<f32> = (0..n)
        .map(|i| {
            let wave = (0.01 * f64::from(timestep) + 0.1 * i as f64).sin();
            (0.8 * f64::from(x[i]) - 0.5 * f64::from(x[(i + 7) % n]) + wave) as f32
        })
        .collect();
    Tensor::from_slice(&velocity, latents.dims()).unwrap()
}

#[test]
fn sigmas_and_timesteps_are_those_of_the_reference() {
    let golden = Golden::open(env!("CARGO_MANIFEST_DIR"), "schedules");
    let mut tables = 0;
    for (name, kind) in KINDS {
        for steps in [3, 4, 20, 28, 50] {
            for shift in [1, 3, 5, 8, 12] {
                let key = format!("{name}.steps{steps}.shift{shift}");
                let schedule = Schedule::new(kind, steps, f64::from(shift)).unwrap();
                let sigmas: Vec<f32> = schedule.sigmas().iter().map(|s| s.0 as f32).collect();
                let want = golden.tensor(&format!("{key}.sigmas"));
                assert_close(&key, &sigmas, want.as_slice(), golden.tolerance());
                // Timesteps are a thousand times larger, and so is one unit in their last place.
                let timesteps: Vec<f32> = schedule.timesteps().iter().map(|t| t.0 / 1e3).collect();
                let want = golden.tensor(&format!("{key}.timesteps"));
                let want: Vec<f32> = want.as_slice().iter().map(|t| t / 1e3).collect();
                assert_close(&format!("{key} timesteps"), &timesteps, &want, golden.tolerance());
                tables += 2;
            }
        }
    }
    assert_eq!(
        tables,
        golden.names().len(),
        "every table of the file has been compared"
    );
}

#[test]
fn trajectories_are_those_of_the_reference() {
    let golden = Golden::open(env!("CARGO_MANIFEST_DIR"), "trajectories");
    let mut runs = 0;
    for name in golden.names().iter().filter_map(|name| name.strip_suffix(".noise")) {
        let [sampler, kind, steps, shift] = name.split('.').collect::<Vec<_>>()[..] else {
            panic!("{name} is not sampler.schedule.steps.shift");
        };
        let sampler: Sampler = sampler.parse().unwrap();
        let kind = KINDS.iter().find(|(known, _)| *known == kind).unwrap().1;
        let steps: usize = steps.strip_prefix("steps").unwrap().parse().unwrap();
        let shift: f64 = shift.strip_prefix("shift").unwrap().parse().unwrap();
        let schedule = Schedule::new(kind, steps, shift).unwrap();

        let want = golden.tensor(&format!("{name}.latents"));
        let elements = want.elements() / want.dims()[0];
        let mut run = SamplerRun::new(sampler, &schedule, golden.tensor(&format!("{name}.noise"))).unwrap();
        for (call, want) in want.as_slice().chunks(elements).enumerate() {
            let eval = run.next_eval().unwrap();
            let velocity = model(eval.latents, eval.timestep.0);
            run.provide(velocity).unwrap();
            assert_close(
                &format!("{name} after call {call}"),
                run.latents().as_slice(),
                want,
                golden.tolerance(),
            );
        }
        assert!(
            run.next_eval().is_none(),
            "{name}: as many evaluations as the reference"
        );
        assert_eq!(want.dims()[0], sampler.evaluations(steps));
        runs += 1;
    }
    assert_eq!(runs, 30);
}
