//! Noise levels, what the model is told about them, and the lists of both.
//!
//! Four published ways turn "20 steps, shift 3" into a list, and they differ in the third digit, which is visible in
//! a clip. They are separate [`ScheduleKind`]s, so that a run can repeat what its reference did. The short lists of
//! distilled models are in `few_steps.rs`.
//!
//! All of them bend a straight list by the shift of Stable Diffusion 3 (Esser et al. 2024, arXiv:2403.03206, eq. 23):
//! `sigma' = shift * sigma / (1 + (shift - 1) * sigma)`.

use std::str::FromStr;

use crate::few_steps::{FASTWAN_LIST, check_shift};
use crate::{Error, Result};

/// Noise level of latents: 1 is pure noise, 0 is clean.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Sigma(pub f64);

/// What the model is fed as time: 1000 x sigma, rounded in some schedules as their source does.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Timestep(pub f32);

/// Where a list of sigmas comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ScheduleKind {
    /// `linspace(1, 0, steps + 1)`, shifted; timesteps not rounded. Toybox, Wan's own code, Stable Diffusion 3.
    RectifiedFlow,
    /// diffusers 0.42 `FlowMatchEulerDiscreteScheduler` and `FlowMatchHeunDiscreteScheduler` (`set_timesteps` with a
    /// number of steps): evenly spaced from 1 to the shifted 1/1000, then shifted again, so the end is shifted twice.
    DiffusersFlowMatch,
    /// diffusers 0.42 `UniPCMultistepScheduler` with `use_flow_sigmas` and `flow_shift`, the default of its Wan
    /// pipelines: `linspace(1, 1/1000, steps + 1)` without its last, shifted, 1e-6 taken from the first; timesteps cut
    /// to whole numbers.
    DiffusersUniPc,
    /// diffusers 0.42 `DPMSolverMultistepScheduler` with `use_flow_sigmas` and `flow_shift`:
    /// `1 - linspace(1/1000, 1, steps + 1)` without its last, shifted; timesteps cut to whole numbers.
    DiffusersDpm,
    /// The levels of Self-Forcing and lightx2v, named before the shift; see [`Schedule::dmd`]. Made from a number of steps,
    /// the levels are evenly spaced: 1000, 750, 500, 250 for four steps.
    Dmd,
    /// The three timesteps of FastWan; see [`Schedule::fastwan`].
    FastWan,
    /// diffusers 0.42 `FlowMatchLCMScheduler`: the numbers of [`ScheduleKind::DiffusersFlowMatch`].
    Lcm,
    /// The one to four levels of TurboWan; see [`Schedule::rcm`].
    Rcm,
    /// A list given by hand, as distilled models publish it.
    Custom,
}

impl ScheduleKind {
    /// All kinds that are made from any number of steps and a shift.
    pub const ALL: [Self; 6] = [
        Self::RectifiedFlow,
        Self::DiffusersFlowMatch,
        Self::DiffusersUniPc,
        Self::DiffusersDpm,
        Self::Dmd,
        Self::Lcm,
    ];

    /// All kinds that have a name to type: those of [`ScheduleKind::ALL`], and those for a few steps only.
    pub const NAMED: [Self; 8] = [
        Self::RectifiedFlow,
        Self::DiffusersFlowMatch,
        Self::DiffusersUniPc,
        Self::DiffusersDpm,
        Self::Dmd,
        Self::Lcm,
        Self::FastWan,
        Self::Rcm,
    ];

    /// The word that users type and run reports hold.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RectifiedFlow => "rectified-flow",
            Self::DiffusersFlowMatch => "diffusers-flow-match",
            Self::DiffusersUniPc => "diffusers-unipc",
            Self::DiffusersDpm => "diffusers-dpm",
            Self::Dmd => "dmd",
            Self::FastWan => "fastwan",
            Self::Lcm => "lcm",
            Self::Rcm => "rcm",
            Self::Custom => "custom",
        }
    }
}

impl FromStr for ScheduleKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::NAMED
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| unknown(name))
    }
}

fn unknown(name: &str) -> Error {
    Error::UnknownName {
        what: "schedule",
        name: name.chars().take(40).collect(),
        known: ScheduleKind::NAMED.map(ScheduleKind::name).join(", "),
    }
}

/// The noise levels of a run: one before each step, and the final 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    kind: ScheduleKind,
    /// Steps + 1 values, falling, the last is 0.
    sigmas: Vec<Sigma>,
    /// One for each step.
    timesteps: Vec<Timestep>,
}

/// Timesteps count in thousandths of the way from clean to noise, as in training.
pub(crate) const TRAIN_TIMESTEPS: f64 = 1000.0;

impl Schedule {
    /// The largest number of steps: that of the timesteps that models are trained with.
    pub const MAX_STEPS: usize = 1000;

    /// The list of `kind` for a number of steps and a shift.
    ///
    /// **Range**: `steps` 1 to [`Schedule::MAX_STEPS`], `shift` finite and above 0.
    /// **Errors**: [`Error::Steps`], [`Error::Shift`]; [`Error::Sigmas`] for shifts so extreme that two levels become
    /// one; [`Error::StepsOfKind`] for kinds with a few steps only; [`Error::UnknownName`] for [`ScheduleKind::Custom`],
    /// which needs a list ([`Schedule::from_sigmas`]).
    pub fn new(kind: ScheduleKind, steps: usize, shift: f64) -> Result<Self> {
        if !(1..=Self::MAX_STEPS).contains(&steps) {
            return Err(Error::Steps {
                steps,
                max: Self::MAX_STEPS,
            });
        }
        check_shift(shift)?;
        let smallest = 1.0 / TRAIN_TIMESTEPS;
        let mut levels: Vec<f64> = match kind {
            ScheduleKind::RectifiedFlow => line(1.0, 0.0, steps + 1),
            // The source shifts the ends of its table of 1000 levels, spaces the steps evenly between them, and shifts.
            ScheduleKind::DiffusersFlowMatch | ScheduleKind::Lcm => {
                line(1.0, f64::from(shifted(smallest, shift) as f32), steps)
            }
            ScheduleKind::DiffusersUniPc => line(1.0, smallest, steps + 1),
            ScheduleKind::DiffusersDpm => line(1.0, smallest, steps + 1)
                .iter()
                .rev()
                .map(|alpha| 1.0 - alpha)
                .collect(),
            ScheduleKind::Dmd => {
                let levels = line(1.0, 0.0, steps + 1).into_iter().take(steps);
                return Self::from_levels(kind, levels.map(|level| shifted(level, shift)).collect());
            }
            ScheduleKind::FastWan if steps == FASTWAN_LIST.len() => return Self::fastwan(&FASTWAN_LIST, shift),
            ScheduleKind::FastWan => {
                return Err(Error::StepsOfKind {
                    kind: kind.name(),
                    steps,
                    possible: FASTWAN_LIST.len().to_string(),
                });
            }
            ScheduleKind::Rcm => return Self::rcm_shifted(steps, Self::RCM_SIGMA_MAX, shift),
            ScheduleKind::Custom => return Err(unknown(kind.name())),
        };
        levels.truncate(steps);
        for level in &mut levels {
            *level = shifted(*level, shift);
        }
        if kind == ScheduleKind::DiffusersUniPc {
            // The source keeps away from pure noise, where the logarithm of the signal is infinite.
            if let Some(first) = levels.first_mut().filter(|first| (**first - 1.0).abs() < 1e-6) {
                *first -= 1e-6;
            }
        }
        let whole = matches!(kind, ScheduleKind::DiffusersUniPc | ScheduleKind::DiffusersDpm);
        let timesteps = levels
            .iter()
            .map(|level| level * TRAIN_TIMESTEPS)
            .map(|time| Timestep(if whole { time.trunc() } else { time } as f32))
            .collect();
        if kind != ScheduleKind::RectifiedFlow {
            // The source keeps its sigmas in f32, and near pure noise (1 - sigma) depends on that rounding.
            for level in &mut levels {
                *level = f64::from(*level as f32);
            }
        }
        levels.push(0.0);
        Self::checked(kind, levels.into_iter().map(Sigma).collect(), timesteps)
    }

    /// `linspace(1, 0, steps + 1)` shifted; timestep = 1000 x sigma. See [`Schedule::new`] for range and errors.
    pub fn rectified_flow(steps: usize, shift: f64) -> Result<Self> {
        Self::new(ScheduleKind::RectifiedFlow, steps, shift)
    }

    /// A list given by hand, as distilled models publish it; timestep = 1000 x sigma.
    ///
    /// **Errors**: [`Error::Sigmas`] if the list does not fall from at most 1 to a final 0; [`Error::Steps`].
    pub fn from_sigmas(sigmas: &[Sigma]) -> Result<Self> {
        let steps = sigmas.len().saturating_sub(1);
        let timesteps = sigmas
            .iter()
            .take(steps)
            .map(|s| Timestep((s.0 * TRAIN_TIMESTEPS) as f32))
            .collect();
        Self::from_parts(ScheduleKind::Custom, sigmas.to_vec(), timesteps)
    }

    /// Sigmas with timesteps of their own.
    ///
    /// **Errors**: as [`Schedule::from_sigmas`], and [`Error::Timesteps`] if there is not one for each step.
    pub(crate) fn from_parts(kind: ScheduleKind, sigmas: Vec<Sigma>, timesteps: Vec<Timestep>) -> Result<Self> {
        let steps = sigmas.len().saturating_sub(1);
        if !(1..=Self::MAX_STEPS).contains(&steps) {
            return Err(Error::Steps {
                steps,
                max: Self::MAX_STEPS,
            });
        }
        Self::checked(kind, sigmas, timesteps)
    }

    fn checked(kind: ScheduleKind, sigmas: Vec<Sigma>, timesteps: Vec<Timestep>) -> Result<Self> {
        if timesteps.len() + 1 != sigmas.len() {
            return Err(Error::Timesteps {
                sigmas: sigmas.len(),
                timesteps: timesteps.len(),
            });
        }
        let mut before = f64::INFINITY;
        for (index, &Sigma(sigma)) in sigmas.iter().enumerate() {
            let last = index + 1 == sigmas.len();
            let fits = sigma < before
                && if last {
                    sigma == 0.0
                } else {
                    sigma > 0.0 && sigma <= 1.0
                };
            if !fits {
                return Err(Error::Sigmas { index, sigma });
            }
            before = sigma;
        }
        Ok(Self {
            kind,
            sigmas,
            timesteps,
        })
    }

    /// The end of this list, from a step on: for latents that are as noisy as that step begins. Step 0 gives the whole.
    ///
    /// **Errors**: [`Error::Steps`] if no step is left.
    pub fn from_step(&self, step_index: usize) -> Result<Self> {
        if step_index == 0 {
            return Ok(self.clone());
        }
        let (sigmas, timesteps) = (self.sigmas.get(step_index..), self.timesteps.get(step_index..));
        Self::from_parts(
            ScheduleKind::Custom,
            sigmas.unwrap_or_default().to_vec(),
            timesteps.unwrap_or_default().to_vec(),
        )
    }

    /// Where the list comes from.
    pub const fn kind(&self) -> ScheduleKind {
        self.kind
    }

    /// Number of steps, one less than of sigmas.
    pub fn steps(&self) -> usize {
        self.timesteps.len()
    }

    /// The noise level before each step, and the final 0.
    pub fn sigmas(&self) -> &[Sigma] {
        &self.sigmas
    }

    /// What the model is fed at each step.
    pub fn timesteps(&self) -> &[Timestep] {
        &self.timesteps
    }

    /// Noise levels before and after a step.
    pub(crate) fn around(&self, step_index: usize) -> (f64, f64) {
        (self.sigmas[step_index].0, self.sigmas[step_index + 1].0)
    }
}

/// The shift of the module's page.
pub(crate) fn shifted(sigma: f64, shift: f64) -> f64 {
    // Never above 1, except by the rounding of a division.
    (shift * sigma / (1.0 + (shift - 1.0) * sigma)).min(1.0)
}

/// `points` evenly spaced values from `from` to `to`, both included; a single point is `from`.
///
/// Multiplied out in the order of numpy's `linspace`: timesteps are cut to whole numbers, so the last bit can decide.
fn line(from: f64, to: f64, points: usize) -> Vec<f64> {
    let last = points.saturating_sub(1).max(1);
    let step = (to - from) / last as f64;
    (0..points)
        .map(|i| if i == last { to } else { from + i as f64 * step })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_toybox_schedule_is_the_one_of_its_configuration() {
        // linspace(1, 0, 5) with s = 3s / (1 + 2s), worked out by hand.
        let schedule = Schedule::rectified_flow(4, 3.0).unwrap();
        let expected = [1.0, 0.9, 0.75, 0.5, 0.0];
        for (got, want) in schedule.sigmas().iter().zip(expected) {
            assert!((got.0 - want).abs() < 1e-15, "{got:?} {want}");
        }
        assert_eq!(schedule.timesteps()[1], Timestep(900.0));
        assert_eq!(schedule.steps(), 4);
    }

    #[test]
    fn every_kind_falls_from_noise_to_zero_at_every_length() {
        for kind in ScheduleKind::ALL {
            for steps in [1, 2, 3, 7, 50, 999, 1000] {
                for shift in [0.1, 1.0, 3.0, 12.0, 100.0] {
                    let schedule =
                        Schedule::new(kind, steps, shift).unwrap_or_else(|e| panic!("{kind:?} {steps}: {e}"));
                    assert_eq!(schedule.sigmas().len(), steps + 1);
                    assert!(schedule.sigmas()[0].0 > 0.98);
                }
            }
        }
    }

    #[test]
    fn impossible_numbers_are_refused() {
        for steps in [0, 1001, usize::MAX] {
            let refused = Schedule::rectified_flow(steps, 3.0);
            assert_eq!(refused, Err(Error::Steps { steps, max: 1000 }));
        }
        for shift in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(
                matches!(Schedule::rectified_flow(4, shift), Err(Error::Shift { .. })),
                "{shift}"
            );
        }
        assert!(matches!(
            Schedule::new(ScheduleKind::Custom, 4, 1.0),
            Err(Error::UnknownName { .. })
        ));
        assert!(Schedule::rectified_flow(1000, 1e300).is_err(), "all levels become 1");
    }

    #[test]
    fn lists_by_hand_must_fall_to_zero() {
        let list = |values: &[f64]| Schedule::from_sigmas(&values.iter().copied().map(Sigma).collect::<Vec<_>>());
        assert_eq!(list(&[1.0, 0.757, 0.522, 0.0]).unwrap().timesteps()[1], Timestep(757.0));
        for (bad, index) in [
            (vec![1.2, 0.5, 0.0], 0),
            (vec![1.0, 0.5, 0.5, 0.0], 2),
            (vec![1.0, 0.5, 0.1], 2),
            (vec![1.0, f64::NAN, 0.0], 1),
            (vec![1.0, 0.0, 0.0], 1),
        ] {
            match list(&bad) {
                Err(Error::Sigmas { index: got, .. }) => assert_eq!(got, index, "{bad:?}"),
                other => panic!("{bad:?}: {other:?}"),
            }
        }
        assert!(matches!(list(&[0.0]), Err(Error::Steps { steps: 0, .. })));
        assert!(matches!(list(&[]), Err(Error::Steps { steps: 0, .. })));
    }

    #[test]
    fn the_end_of_a_list_keeps_its_levels_and_timesteps() {
        let whole = Schedule::new(ScheduleKind::DiffusersUniPc, 5, 3.0).unwrap();
        let end = whole.from_step(2).unwrap();
        assert_eq!(
            (end.sigmas(), end.timesteps()),
            (&whole.sigmas()[2..], &whole.timesteps()[2..])
        );
        assert_eq!(whole.from_step(0).unwrap(), whole);
        assert!(whole.from_step(5).is_err() && whole.from_step(99).is_err());
    }

    #[test]
    fn names_lead_back_to_their_kind() {
        for kind in ScheduleKind::NAMED {
            assert_eq!(kind.name().parse::<ScheduleKind>().unwrap(), kind);
        }
        let text = "karras".parse::<ScheduleKind>().unwrap_err().to_string();
        assert!(text.contains("karras") && text.contains("rectified-flow"), "{text}");
    }
}
