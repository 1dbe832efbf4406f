//! The curve of MagCache: how the size of the residual changes from one step to the next.

use kinora_tensor::Tensor;

use super::Branch;
use super::curves::PUBLISHED;
use crate::combine::combine;
use crate::{Error, Result};

/// For each step the mean size of the residual in that of the step before, for both branches; the first is 1.
///
/// A curve belongs to a model, and roughly to its shift; a run with another number of steps reads it stretched.
#[derive(Debug, Clone, PartialEq)]
pub struct MagCurve {
    /// With the prompt.
    cond: Vec<f64>,
    /// With the negative prompt.
    uncond: Vec<f64>,
}

impl MagCurve {
    /// A curve from its ratios, one for each step and branch.
    ///
    /// **Errors**: [`Error::Curve`] if the lists are empty, differ in length, or hold something else than positive numbers.
    pub fn new(cond: &[f64], uncond: &[f64]) -> Result<Self> {
        let steps = cond.len();
        if steps == 0 || uncond.len() != steps {
            return Err(Error::Curve {
                reason: "both branches need a ratio for each step",
            });
        }
        if !cond.iter().chain(uncond).all(|ratio| ratio.is_finite() && *ratio > 0.0) {
            return Err(Error::Curve {
                reason: "all ratios are numbers above 0",
            });
        }
        Ok(Self {
            cond: cond.to_vec(),
            uncond: uncond.to_vec(),
        })
    }

    /// The curve that the authors of MagCache measured for a model; the names are those of [`MagCurve::published_names`].
    pub fn published(name: &str) -> Option<Self> {
        let (_, ratios) = PUBLISHED.iter().find(|(known, _)| *known == name)?;
        let branch = |branch: usize| [1.0].into_iter().chain(ratios.iter().skip(branch).step_by(2).copied());
        Some(Self {
            cond: branch(0).collect(),
            uncond: branch(1).collect(),
        })
    }

    /// The models with a published curve.
    pub fn published_names() -> impl Iterator<Item = &'static str> {
        PUBLISHED.iter().map(|(name, _)| *name)
    }

    /// Starts to measure the curve of a run in which every evaluation is made.
    pub const fn calibrate() -> MagCalibration {
        MagCalibration {
            ratios: [Vec::new(), Vec::new()],
            residual: [None, None],
        }
    }

    /// How many steps it was measured with, or stretched to.
    pub const fn steps(&self) -> usize {
        self.cond.len()
    }

    /// The ratios of a branch.
    pub fn ratios(&self, branch: Branch) -> &[f64] {
        match branch {
            Branch::Cond => &self.cond,
            Branch::Uncond => &self.uncond,
        }
    }

    /// The curve for another number of steps: for each of them the nearest one of this curve, the ends kept.
    #[must_use]
    pub fn for_steps(&self, steps: usize) -> Self {
        if steps == self.steps() {
            return self.clone();
        }
        let stretched = |ratios: &[f64]| {
            let last = ratios.len().saturating_sub(1);
            let scale = last as f64 / steps.saturating_sub(1).max(1) as f64;
            // A single step has the ratio of the last one.
            let start = if steps == 1 { last } else { 0 };
            let nearest = |step: usize| start + (step as f64 * scale).round_ties_even() as usize;
            (0..steps).map(|step| ratios[nearest(step).min(last)]).collect()
        };
        Self {
            cond: stretched(&self.cond),
            uncond: stretched(&self.uncond),
        }
    }

    pub(super) fn ratio(&self, branch: Branch, step_index: usize) -> f64 {
        self.ratios(branch).get(step_index).copied().unwrap_or(1.0)
    }
}

/// Measures a [`MagCurve`] while a run is made in full.
#[derive(Debug)]
pub struct MagCalibration {
    ratios: [Vec<f64>; 2],
    /// The residual of the step before.
    residual: [Option<Tensor>; 2],
}

impl MagCalibration {
    /// Takes an evaluation of the model, step by step.
    ///
    /// The size of the residual is its norm over the channels (the second axis), and the ratio is the mean of that at all
    /// places. **Shapes**: both the same, `[B,C,...]`. **Errors**: shapes differ, no memory.
    pub fn observe(&mut self, branch: Branch, latents: &Tensor, velocity: &Tensor) -> Result<()> {
        let now = combine("magcache residual", [(1.0, velocity), (-1.0, latents)])?;
        let ratio = match &self.residual[branch as usize] {
            None => 1.0,
            Some(before) if before.shape() == now.shape() => mean_ratio(&now, before),
            Some(before) => return Err(now.mismatch("magcache residual", before.shape().to_string()).into()),
        };
        self.ratios[branch as usize].push(ratio);
        self.residual[branch as usize] = Some(now);
        Ok(())
    }

    /// The curve. A run without guidance has one branch; its curve stands for both.
    ///
    /// **Errors**: [`Error::Curve`] if the branches have different numbers of steps, or a residual vanished.
    pub fn finish(self) -> Result<MagCurve> {
        let [cond, uncond] = self.ratios;
        if uncond.is_empty() {
            return MagCurve::new(&cond, &cond);
        }
        MagCurve::new(&cond, &uncond)
    }
}

/// Mean over all places of the norms over channels, one by the other.
fn mean_ratio(now: &Tensor, before: &Tensor) -> f64 {
    let (batch, channels) = match now.dims() {
        [batch, channels, ..] => (*batch, *channels),
        _ => (1, now.elements()),
    };
    let places = now.elements() / (batch * channels).max(1);
    let mut sum = 0.0;
    let of_batch = (channels * places).max(1);
    for (now, before) in now.as_slice().chunks(of_batch).zip(before.as_slice().chunks(of_batch)) {
        let norm = |values: &[f32], place: usize| {
            let along = values.iter().skip(place).step_by(places.max(1));
            along.map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
        };
        for place in 0..places {
            sum += norm(now, place) / norm(before, place);
        }
    }
    sum / (batch * places) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_curves_are_whole_and_fall_towards_the_end() {
        let expected = [
            ("wan2.1-t2v-1.3b", 50),
            ("wan2.1-t2v-14b", 50),
            ("wan2.1-i2v-14b-480p", 40),
            ("wan2.1-i2v-14b-720p", 40),
        ];
        assert!(MagCurve::published_names().eq(expected.map(|(name, _)| name)));
        for (name, steps) in expected {
            let curve = MagCurve::published(name).unwrap();
            assert_eq!(curve.steps(), steps, "{name}");
            for branch in [Branch::Cond, Branch::Uncond] {
                let ratios = curve.ratios(branch);
                assert_eq!((ratios.len(), ratios[0]), (steps, 1.0));
                assert!(ratios.iter().all(|ratio| (0.8..1.05).contains(ratio)), "{name}");
                assert!(ratios[steps - 2] < 0.95, "{name}");
            }
            assert!(MagCurve::new(curve.ratios(Branch::Cond), curve.ratios(Branch::Uncond)).is_ok());
        }
        assert!(MagCurve::published("wan9").is_none());
    }

    #[test]
    fn a_stretched_curve_keeps_its_ends() {
        let curve = MagCurve::new(&[1.0, 0.9, 0.8, 0.7, 0.6], &[1.0; 5]).unwrap();
        assert_eq!(curve.for_steps(3).ratios(Branch::Cond), [1.0, 0.8, 0.6]);
        assert_eq!(
            curve.for_steps(9).ratios(Branch::Cond)[7..],
            [0.6, 0.6],
            "3.5 rounds to the even 4"
        );
        assert_eq!(curve.for_steps(1).ratios(Branch::Cond), [0.6]);
        assert_eq!(curve.for_steps(0).steps(), 0);
        assert_eq!(curve.for_steps(5), curve);
    }

    #[test]
    fn curves_that_are_none_are_refused() {
        for (cond, uncond) in [
            (&[][..], &[][..]),
            (&[1.0], &[]),
            (&[1.0, f64::NAN], &[1.0, 1.0]),
            (&[1.0, 0.0], &[1.0, 1.0]),
        ] {
            assert!(matches!(MagCurve::new(cond, uncond), Err(Error::Curve { .. })));
        }
    }

    #[test]
    fn calibration_takes_norms_over_channels() {
        // Two places, two channels, no latents: residuals (3,4) and (0,1), then twice and three times as long.
        let zeros = Tensor::zeros([1, 2, 1, 1, 2]).unwrap();
        let first = Tensor::from_slice(&[3.0, 0.0, 4.0, 1.0], [1, 2, 1, 1, 2]).unwrap();
        let second = Tensor::from_slice(&[6.0, 0.0, 8.0, 3.0], [1, 2, 1, 1, 2]).unwrap();
        let mut run = MagCurve::calibrate();
        run.observe(Branch::Cond, &zeros, &first).unwrap();
        run.observe(Branch::Cond, &zeros, &second).unwrap();
        let other = Tensor::zeros([4]).unwrap();
        assert!(run.observe(Branch::Cond, &other, &other).is_err());
        let curve = run.finish().unwrap();
        assert_eq!(curve.ratios(Branch::Cond), [1.0, 2.5]);
        assert_eq!(curve.ratios(Branch::Uncond), [1.0, 2.5]);
    }
}
