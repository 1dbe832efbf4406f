//! The loop on the embedded model: its memory, and that both ways of guidance agree.

use kinora_kernels::Precision;
use kinora_weights::ModelFolder;

use super::*;
use crate::model::Model;
use crate::progress::Silent;

/// Notes how often the arena has asked the system for memory, after each step.
struct Allocations<'a>(&'a Arena, Vec<usize>);

impl Observer for Allocations<'_> {
    fn event(&mut self, event: &Event<'_>) {
        if let Event::Progress { .. } = event {
            self.1.push(self.0.stats().allocations);
        }
    }
}

/// Latents, and the arena's allocations after each step.
fn run(model: &Model, sampler: Sampler, mode: GuidanceMode, steps: usize) -> (Vec<f32>, Vec<usize>) {
    let arena = Arena::new();
    let mut observer = Allocations(&arena, Vec::new());
    let latents = run_in(&arena, model, [2, 4, 6], 16, (sampler, mode, steps), &mut observer);
    (latents.as_slice().to_vec(), observer.1)
}

fn open(precision: Precision) -> Model {
    Model::open(
        &ModelFolder::embedded_toybox().unwrap(),
        precision,
        &crate::OpenOptions::default(),
    )
    .unwrap()
}

/// One step with 64 text tokens, everything in `arena`.
pub(crate) fn one_step(model: &Model, arena: &Arena, grid: [usize; 3], mode: GuidanceMode) {
    let run = (Sampler::Euler, mode, 1);
    drop(run_in(arena, model, grid, 64, run, &mut Silent));
}

fn run_in(
    arena: &Arena,
    model: &Model,
    grid: [usize; 3],
    text_tokens: usize,
    (sampler, guidance_mode, steps): (Sampler, GuidanceMode, usize),
    observer: &mut dyn Observer,
) -> Tensor {
    let stream = Stream { variant: 0, part: 0 };
    let text = |seed| noise_in(arena, seed, stream, [1, text_tokens, 384]).unwrap();
    let (cond, uncond) = (text(1), text(2));
    let conditioning = Conditioning {
        cond: &cond,
        uncond: (guidance_mode != GuidanceMode::Off).then_some(&uncond),
        image: None,
        known: Known::Nothing,
        control: None,
        start: None,
        held: None,
    };
    let settings = Settings {
        grid,
        seed: 3,
        stream,
        schedule: Schedule::rectified_flow(steps, 3.0).unwrap(),
        sampler,
        guidance: Guidance::new(if guidance_mode == GuidanceMode::Off { 1.0 } else { 5.0 }).unwrap(),
        guidance_mode,
        switch: None,
        load: model.precision.into(),
        cache: None,
        keep_experts: true,
    };
    let cancel = CancelToken::new();
    diffuse(
        &model.experts,
        model.previewer(),
        model.vae_config.latent_channels(),
        arena,
        &conditioning,
        &settings,
        None,
        observer,
        &cancel,
        &mut |_, _| Ok(()),
    )
    .unwrap()
    .latents
}

#[test]
fn a_step_after_the_first_asks_the_system_for_no_memory() {
    for precision in [Precision::F32, Precision::Int8] {
        let model = open(precision);
        for mode in [GuidanceMode::Off, GuidanceMode::Batched, GuidanceMode::Sequential] {
            let (_, allocations) = run(&model, Sampler::Euler, mode, 4);
            assert_eq!(allocations.len(), 4);
            let after_first = allocations.iter().all(|&count| count == allocations[0]);
            assert!(after_first, "{precision:?}, {mode:?}: {allocations:?}");
        }
    }
}

#[test]
fn samplers_that_remember_steps_settle_too() {
    let model = open(Precision::F32);
    for sampler in Sampler::ALL {
        let (_, allocations) = run(&model, sampler, GuidanceMode::Sequential, 6);
        assert!(
            allocations[3..].iter().all(|&count| count == allocations[3]),
            "{sampler:?}: {allocations:?}"
        );
    }
}

#[test]
fn guidance_gives_the_same_numbers_either_way() {
    for precision in [Precision::F32, Precision::Int8] {
        let model = open(precision);
        let (batched, _) = run(&model, Sampler::Euler, GuidanceMode::Batched, 2);
        let (sequential, _) = run(&model, Sampler::Euler, GuidanceMode::Sequential, 2);
        assert!(batched == sequential, "{precision:?}");
        assert!(
            batched != run(&model, Sampler::Euler, GuidanceMode::Off, 2).0,
            "guidance does something"
        );
    }
}

#[test]
fn numbers_that_are_none_end_the_run_in_their_step() {
    let good = Tensor::from_slice(&[1.0, -2.0], [1, 1, 1, 1, 2]).unwrap();
    assert_eq!(finite(good, 0).unwrap().as_slice(), [1.0, -2.0]);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let bad = Tensor::from_slice(&[1.0, bad], [1, 1, 1, 1, 2]).unwrap();
        assert!(matches!(finite(bad, 3), Err(Error::NotFinite { step: 4 })));
    }
}
