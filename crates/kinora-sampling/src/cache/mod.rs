//! Step caches: some evaluations of the model are replaced by an estimate from the last real one.
//!
//! Late in a run of many steps a model changes the latents almost as it did the step before. A [`StepCache`] keeps what
//! the model last added to its input, `velocity - latents`, and adds it to the latents of the following steps instead
//! of asking the model, until the error that it expects would exceed a threshold. It knows no model: it is asked before
//! each evaluation and shown what came of it.
//!
//! | | [`CacheKind::EasyCache`] | [`CacheKind::MagCache`] |
//! |---|---|---|
//! | watches | how much the latents changed since the last step | nothing: a curve measured once for the model |
//! | expects | that the velocity changes in the ratio to the latents that it had between the last two evaluations | that the residual grows or shrinks as on the curve |
//! | decides | for the prompt; the other branch follows | for each branch |
//!
//! It holds two tensors like the latents for each branch, and EasyCache one more.
//!
//! The first steps are always computed, and so is the last: it ends at the clip. This is for runs of 20 steps and more;
//! models distilled to a few steps have nothing to spare.
//!
//! **Source**: Zhou et al. 2025, "Less is enough" (EasyCache, arXiv:2507.02860), H-EmbodVis/EasyCache
//! `EasyCache4Wan2.2/easycache_generate.py`; Ma et al. 2025, "MagCache" (arXiv:2506.09045), Zehong-Ma/MagCache
//! `MagCache4Wan2.1/magcache_generate.py`. Parity by `tests/step_caches.rs` with `tools/reference/step_caches.py`.
//! **Differences**: MagCache's source keeps the residual of the tokens between the first and the last block; here it is
//! that of the whole model. Its last step may be skipped there, not here.

mod curve;
mod curves;
mod report;
mod state;

use kinora_tensor::Tensor;

use crate::combine::combine;
use crate::{Error, Result};

pub use curve::{MagCalibration, MagCurve};
pub use report::CacheReport;

use report::Tally;

/// Which of the two predictions of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Branch {
    /// With the prompt.
    Cond,
    /// With the negative or empty prompt.
    Uncond,
}

/// By which rule evaluations are replaced.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum CacheKind {
    /// Predicts the change of the velocity from that of the latents.
    EasyCache {
        /// Expected relative error, added up since the last evaluation, from which on the model is asked again.
        threshold: f64,
        /// How many first steps are always computed.
        first_steps: usize,
    },
    /// Reads the change of the residual from a curve.
    MagCache {
        /// How the residual's size changes from step to step.
        curve: MagCurve,
        /// Expected relative error, added up since the last evaluation, from which on the model is asked again.
        threshold: f64,
        /// How many evaluations in a row may be replaced.
        max_skips: usize,
        /// The share of first steps that are always computed.
        retention: f64,
    },
}

impl CacheKind {
    /// EasyCache with 7 first steps, as its source runs Wan 2.2. Its thresholds: 0.05, for A14B text to video 0.06.
    pub const fn easy_cache(threshold: f64) -> Self {
        Self::EasyCache {
            threshold,
            first_steps: 7,
        }
    }

    /// MagCache with at most 2 replaced evaluations in a row after a fifth of the steps, as its source runs Wan 2.1. Its
    /// threshold: 0.12.
    pub const fn mag_cache(curve: MagCurve, threshold: f64) -> Self {
        Self::MagCache {
            curve,
            threshold,
            max_skips: 2,
            retention: 0.2,
        }
    }

    /// The word that users type and run reports hold.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::EasyCache { .. } => "easycache",
            Self::MagCache { .. } => "magcache",
        }
    }

    const fn threshold(&self) -> f64 {
        match self {
            Self::EasyCache { threshold, .. } | Self::MagCache { threshold, .. } => *threshold,
        }
    }
}

/// What to do about an evaluation that is due.
#[derive(Debug)]
pub enum Decision {
    /// Ask the model, and show the result to [`StepCache::observe`].
    Compute,
    /// Go on with this velocity.
    Reuse(Tensor),
}

/// What is remembered of one branch.
#[derive(Debug)]
struct Memory {
    /// Latents and velocity of the last real evaluation.
    computed: Option<(Tensor, Tensor)>,
    /// Latents of the last step, computed or not (EasyCache).
    seen: Option<Tensor>,
    /// Change of the velocity by that of the latents, between the last two evaluations (EasyCache).
    gain: Option<f64>,
    /// Expected error, added up since the last evaluation.
    error: f64,
    /// Expected size of the residual, in that of the last evaluation (MagCache).
    ratio: f64,
    /// Replaced evaluations since the last real one.
    skips: usize,
}

impl Memory {
    const fn new() -> Self {
        Self {
            computed: None,
            seen: None,
            gain: None,
            error: 0.0,
            ratio: 1.0,
            skips: 0,
        }
    }

    /// The error that EasyCache expects if it replaces this evaluation; `None` if it should be made.
    fn easy_cache(&mut self, latents: &Tensor, threshold: f64, protected: bool) -> Result<Option<f64>> {
        let expected = match (&self.seen, &self.computed, self.gain) {
            (Some(seen), Some((_, velocity)), Some(gain)) if !protected => {
                let change = gain * mean_change(latents, seen)? / mean_size(velocity);
                Some(self.error + change).filter(|error| *error < threshold)
            }
            _ => None,
        };
        self.seen = Some(latents.try_clone()?);
        self.error = expected.unwrap_or(0.0);
        Ok(expected)
    }

    /// The same for MagCache, whose curve says that the residual changes by `growth` in this step.
    fn mag_cache(&mut self, growth: f64, threshold: f64, max_skips: usize) -> Option<f64> {
        let ratio = self.ratio * growth;
        let error = self.error + (1.0 - ratio).abs();
        let replaced = error < threshold && self.skips < max_skips;
        (self.ratio, self.error) = if replaced { (ratio, error) } else { (1.0, 0.0) };
        replaced.then_some(error)
    }
}

/// The cache of one run. The page of the module tells how it works.
#[derive(Debug)]
pub struct StepCache {
    kind: CacheKind,
    steps: usize,
    /// Prompt, negative prompt.
    memory: [Memory; 2],
    /// The last step whose prompt was decided, and the expected error if it was replaced.
    decided: Option<(usize, Option<f64>)>,
    tally: Tally,
}

impl StepCache {
    /// A cache for a run of so many steps.
    ///
    /// **Range**: threshold at least 0 (which replaces nothing) and finite; retention 0 to 1. A curve measured with
    /// another number of steps is stretched. **Errors**: [`Error::CacheNumber`].
    pub fn new(mut kind: CacheKind, steps: usize) -> Result<Self> {
        let threshold = kind.threshold();
        if !(threshold.is_finite() && threshold >= 0.0) {
            return Err(Error::CacheNumber {
                what: "threshold",
                value: threshold,
                possible: "0 or more; 0.05 suits easycache, 0.12 magcache",
            });
        }
        if let CacheKind::MagCache { curve, retention, .. } = &mut kind {
            if !(0.0..=1.0).contains(retention) {
                return Err(Error::CacheNumber {
                    what: "share of first steps",
                    value: *retention,
                    possible: "0 to 1; 0.2 suits most models",
                });
            }
            *curve = curve.for_steps(steps);
        }
        Ok(Self {
            kind,
            steps,
            memory: [Memory::new(), Memory::new()],
            decided: None,
            tally: Tally::default(),
        })
    }

    /// By which rule this cache works.
    pub const fn kind(&self) -> &CacheKind {
        &self.kind
    }

    /// What was replaced so far, and at which expected error.
    pub fn report(&self) -> CacheReport {
        self.tally.report()
    }

    /// Forgets all evaluations, but not what was counted: when another network takes over, the residual of the one before
    /// says nothing about it.
    pub fn forget(&mut self) {
        self.memory = [Memory::new(), Memory::new()];
        self.decided = None;
    }

    /// Whether the evaluation of this step has to be made. Asked once for each evaluation, the prompt first.
    ///
    /// **Shapes**: `latents` as the sampler hands them out, the same in all steps. **Errors**: another shape than before,
    /// no memory.
    pub fn decide(&mut self, branch: Branch, latents: &Tensor, step_index: usize) -> Result<Decision> {
        let protected = step_index == 0 || step_index + 1 >= self.steps;
        let memory = &mut self.memory[branch as usize];
        let expected = match (&self.kind, branch) {
            (CacheKind::EasyCache { threshold, first_steps }, Branch::Cond) => {
                memory.easy_cache(latents, *threshold, protected || step_index < *first_steps)?
            }
            (CacheKind::EasyCache { .. }, Branch::Uncond) => self
                .decided
                .and_then(|(step, error)| error.filter(|_| step == step_index)),
            (
                CacheKind::MagCache {
                    curve,
                    threshold,
                    max_skips,
                    retention,
                },
                _,
            ) => {
                // The source counts both branches in one list: prompt, negative prompt, prompt, ...
                let first = (2.0 * self.steps as f64 * retention).floor();
                let position = (2 * step_index + branch as usize) as f64;
                if protected || position < first {
                    None
                } else {
                    memory.mag_cache(curve.ratio(branch, step_index), *threshold, *max_skips)
                }
            }
        };
        let reused = match (expected, &memory.computed) {
            (Some(error), Some((before, velocity))) => {
                let terms = [(1.0, latents), (1.0, velocity), (-1.0, before)];
                let reused = combine("step cache", terms)?;
                memory.skips += 1;
                self.tally.reused(error);
                Some(reused)
            }
            _ => None,
        };
        if branch == Branch::Cond {
            self.decided = Some((step_index, expected.filter(|_| reused.is_some())));
        }
        Ok(reused.map_or(Decision::Compute, Decision::Reuse))
    }

    /// Takes what the model returned for `latents` after [`Decision::Compute`].
    ///
    /// **Shapes**: both as in [`StepCache::decide`]. **Errors**: another shape, no memory.
    pub fn observe(&mut self, branch: Branch, latents: &Tensor, velocity: &Tensor) -> Result<()> {
        if velocity.shape() != latents.shape() {
            return Err(velocity.mismatch("step cache", latents.shape().to_string()).into());
        }
        let memory = &mut self.memory[branch as usize];
        let mut measured = None;
        if let Some((latents_before, velocity_before)) = &memory.computed {
            let moved = mean_change(latents, latents_before)?;
            let changed = mean_change(velocity, velocity_before)?;
            memory.gain = Some(changed / moved).filter(|gain| gain.is_finite());
            if memory.skips > 0 {
                let kept = [latents, latents_before, velocity_before].map(Tensor::as_slice);
                measured = Some(staleness(kept, velocity.as_slice()));
            }
        }
        memory.computed = Some((latents.try_clone()?, velocity.try_clone()?));
        (memory.error, memory.ratio, memory.skips) = (0.0, 1.0, 0);
        self.tally.computed(measured);
        Ok(())
    }
}

/// Mean of `|a - b|`.
fn mean_change(a: &Tensor, b: &Tensor) -> Result<f64> {
    if a.shape() != b.shape() {
        return Err(a.mismatch("step cache", b.shape().to_string()).into());
    }
    let pairs = a.as_slice().iter().zip(b.as_slice());
    let sum: f64 = pairs.map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs()).sum();
    Ok(sum / a.elements() as f64)
}

/// Mean of `|a|`.
fn mean_size(a: &Tensor) -> f64 {
    let sum: f64 = a.as_slice().iter().map(|&a| f64::from(a).abs()).sum();
    sum / a.elements() as f64
}

/// How far one more estimate from `kept` (latents now, latents and velocity then) would have been from the velocity that
/// the model gave, relative to that velocity.
fn staleness([latents, before, old]: [&[f32]; 3], velocity: &[f32]) -> f64 {
    let (mut error, mut size) = (0.0, 0.0);
    for (((&x, &x_before), &v_old), &v) in latents.iter().zip(before).zip(old).zip(velocity) {
        let estimate = f64::from(x) + f64::from(v_old) - f64::from(x_before);
        error += (estimate - f64::from(v)).abs();
        size += f64::from(v).abs();
    }
    error / size
}

#[cfg(test)]
mod tests;
