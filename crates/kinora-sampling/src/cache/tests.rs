//! How caches behave: what is protected, what a threshold bounds, what goes on after a restore, misuse.

use kinora_tensor::Arena;

use super::*;
use crate::{Stream, noise};

const DIMS: [usize; 5] = [1, 2, 2, 3, 3];
const STEPS: usize = 24;

fn kinds(threshold: f64) -> [CacheKind; 2] {
    let curve = MagCurve::published("wan2.1-t2v-1.3b").unwrap();
    [CacheKind::easy_cache(threshold), CacheKind::mag_cache(curve, threshold)]
}

fn latents(step: usize) -> Tensor {
    let mut latents = noise(3, Stream::default(), DIMS).unwrap();
    latents
        .as_mut_slice()
        .iter_mut()
        .for_each(|x| *x *= 1.0 - 0.03 * step as f32);
    latents
}

fn velocity(latents: &Tensor, step: usize) -> Tensor {
    let values: Vec<f32> = latents
        .as_slice()
        .iter()
        .map(|x| 2.0 - x + 0.001 * step as f32)
        .collect();
    Tensor::from_slice(&values, DIMS).unwrap()
}

/// Runs some steps of both branches; what was replaced, and all velocities.
fn run(cache: &mut StepCache, steps: std::ops::Range<usize>) -> (Vec<(usize, Branch)>, Vec<f32>) {
    let (mut replaced, mut velocities) = (Vec::new(), Vec::new());
    for step in steps {
        for branch in [Branch::Cond, Branch::Uncond] {
            let x = latents(step);
            let v = match cache.decide(branch, &x, step).unwrap() {
                Decision::Reuse(v) => {
                    replaced.push((step, branch));
                    v
                }
                Decision::Compute => {
                    let v = velocity(&x, step);
                    cache.observe(branch, &x, &v).unwrap();
                    v
                }
            };
            velocities.extend_from_slice(v.as_slice());
        }
    }
    (replaced, velocities)
}

#[test]
fn first_and_last_steps_are_always_computed() {
    for (kind, first) in kinds(1e9).into_iter().zip([7, 5]) {
        let name = kind.name();
        let mut cache = StepCache::new(kind, STEPS).unwrap();
        let (replaced, _) = run(&mut cache, 0..STEPS);
        assert!(!replaced.is_empty(), "{name}");
        // 2 * 24 * 0.2 = 9.6: MagCache's list begins with the negative prompt of step 4.
        let earliest = replaced.iter().find(|(_, branch)| *branch == Branch::Cond).unwrap();
        assert_eq!(earliest.0, first, "{name}");
        assert!(replaced.iter().all(|(step, _)| *step + 1 < STEPS), "{name}");
    }
}

#[test]
fn a_threshold_of_zero_replaces_nothing_and_bounds_what_is_replaced() {
    for kind in kinds(0.0) {
        let mut cache = StepCache::new(kind, STEPS).unwrap();
        assert_eq!(run(&mut cache, 0..STEPS).0, []);
        let report = cache.report();
        assert_eq!((report.computed, report.reused), (2 * STEPS, 0));
        assert_eq!(
            (report.estimated_error, report.measured_error, report.speed_up()),
            (0.0, None, 1.0)
        );
    }
    for kind in kinds(0.08) {
        let mut cache = StepCache::new(kind, STEPS).unwrap();
        let (replaced, _) = run(&mut cache, 0..STEPS);
        let report = cache.report();
        assert_eq!(
            (report.reused, report.computed),
            (replaced.len(), 2 * STEPS - replaced.len())
        );
        assert!(report.reused > 0 && report.speed_up() > 1.0);
        assert!(report.largest_error < 0.08 && report.estimated_error <= report.largest_error);
        assert!(report.measured_error.unwrap() > 0.0);
    }
}

#[test]
fn the_negative_prompt_follows_the_prompt_in_easycache() {
    let mut cache = StepCache::new(CacheKind::easy_cache(0.08), STEPS).unwrap();
    let (replaced, _) = run(&mut cache, 0..STEPS);
    for pair in replaced.chunks(2) {
        assert_eq!(pair.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [pair[0].0; 2]);
    }
    // A negative prompt that was never computed (guidance began late) has nothing to go on with.
    let mut cache = StepCache::new(CacheKind::easy_cache(0.08), STEPS).unwrap();
    for step in 0..STEPS {
        let x = latents(step);
        match cache.decide(Branch::Cond, &x, step).unwrap() {
            Decision::Compute => cache.observe(Branch::Cond, &x, &velocity(&x, step)).unwrap(),
            Decision::Reuse(_) => {
                let other = cache.decide(Branch::Uncond, &x, step).unwrap();
                assert!(matches!(other, Decision::Compute));
                return;
            }
        }
    }
    panic!("nothing was replaced");
}

#[test]
fn magcache_skips_no_more_in_a_row_than_it_may() {
    for (max_skips, retention) in [(1, 0.1), (3, 0.1)] {
        let kind = CacheKind::MagCache {
            curve: MagCurve::new(&[1.0; STEPS], &[1.0; STEPS]).unwrap(),
            threshold: 0.1,
            max_skips,
            retention,
        };
        let (replaced, _) = run(&mut StepCache::new(kind, STEPS).unwrap(), 0..STEPS);
        let steps: Vec<usize> = replaced
            .iter()
            .filter(|(_, b)| *b == Branch::Cond)
            .map(|(s, _)| *s)
            .collect();
        let period = max_skips + 1;
        let expected: Vec<usize> = (2..STEPS - 1).filter(|step| (step - 2) % period != max_skips).collect();
        assert_eq!(steps, expected);
    }
}

#[test]
fn a_restored_cache_goes_on_to_the_same_bytes() {
    for kind in kinds(0.08) {
        let mut whole = StepCache::new(kind.clone(), STEPS).unwrap();
        let (_, expected) = run(&mut whole, 0..STEPS);
        for at in 0..=STEPS {
            let mut cache = StepCache::new(kind.clone(), STEPS).unwrap();
            let (_, mut got) = run(&mut cache, 0..at);
            let bytes = cache.save();
            let mut cache = StepCache::restore(&bytes, kind.clone(), STEPS, &Arena::new()).unwrap();
            assert_eq!(cache.save(), bytes);
            got.extend(run(&mut cache, at..STEPS).1);
            assert_eq!(got, expected, "{} restored at {at}", kind.name());
            assert_eq!(cache.report(), whole.report());
        }
    }
}

#[test]
fn after_another_network_took_over_the_model_is_asked_first() {
    for kind in kinds(1e9) {
        let mut cache = StepCache::new(kind, STEPS).unwrap();
        run(&mut cache, 0..12);
        let before = cache.report();
        assert!(before.reused > 0);
        cache.forget();
        assert_eq!(cache.report(), before);
        for branch in [Branch::Cond, Branch::Uncond] {
            let decision = cache.decide(branch, &latents(12), 12).unwrap();
            assert!(matches!(decision, Decision::Compute));
        }
    }
}

#[test]
fn bytes_of_another_cache_and_damaged_ones_are_refused() {
    let arena = Arena::new();
    let [easy, mag] = kinds(0.08);
    let mut cache = StepCache::new(easy.clone(), STEPS).unwrap();
    run(&mut cache, 0..12);
    let bytes = cache.save();
    for (kind, steps) in [
        (mag, STEPS),
        (CacheKind::easy_cache(0.09), STEPS),
        (easy.clone(), STEPS + 1),
    ] {
        let refused = StepCache::restore(&bytes, kind, steps, &arena);
        assert!(matches!(refused, Err(Error::Checkpoint { .. })));
    }
    for end in 0..bytes.len() {
        let refused = StepCache::restore(&bytes[..end], easy.clone(), STEPS, &arena);
        assert!(matches!(refused, Err(Error::Checkpoint { .. })), "{end}");
    }
    // With a valid sum, as somebody who means harm would write it: an error or a usable cache, never a panic.
    for at in 8..bytes.len() - 8 {
        let mut forged = bytes[..bytes.len() - 8].to_vec();
        forged[at] ^= 0xff;
        let forged = crate::bytes::sealed(forged);
        if let Ok(mut cache) = StepCache::restore(&forged, easy.clone(), STEPS, &arena) {
            let x = latents(12);
            let _ = cache
                .decide(Branch::Cond, &x, 12)
                .map(|_| cache.observe(Branch::Cond, &x, &x));
            let _ = cache.decide(Branch::Uncond, &x, 12);
            cache.report();
        }
    }
}

#[test]
fn impossible_numbers_and_other_shapes_are_refused() {
    for threshold in [-0.1, f64::NAN, f64::INFINITY] {
        for kind in kinds(threshold) {
            assert!(matches!(StepCache::new(kind, STEPS), Err(Error::CacheNumber { .. })));
        }
    }
    let curve = MagCurve::published("wan2.1-t2v-14b").unwrap();
    let kind = CacheKind::MagCache {
        curve,
        threshold: 0.1,
        max_skips: 2,
        retention: 1.5,
    };
    assert!(matches!(StepCache::new(kind, STEPS), Err(Error::CacheNumber { .. })));
    let mut cache = StepCache::new(CacheKind::easy_cache(1.0), STEPS).unwrap();
    let other = Tensor::zeros([36]).unwrap();
    assert!(cache.observe(Branch::Cond, &latents(0), &other).is_err());
    run(&mut cache, 0..3);
    assert!(cache.observe(Branch::Cond, &other, &other).is_err());
}
