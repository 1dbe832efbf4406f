//! Schedules of distilled models: three or four steps, at the levels that the model was distilled for.
//!
//! Each family names its levels in its own way, and taking one for another is visible in the clip:
//!
//! | Kind | Entry of the published list | Sigma | Timestep |
//! |---|---|---|---|
//! | `dmd` (Self-Forcing, lightx2v) | a level **before** the shift, in thousandths: 750 | `shifted(0.75)`, 0.9375 at shift 5 | 1000 x sigma |
//! | `fastwan` (FastVideo) | a timestep **after** the shift: 757 | of the nearest of the 1000 shifted levels | the entry |
//! | `lcm` (LCM-like LoRAs) | none: evenly spaced, shifted twice | as `FlowMatchLCMScheduler` | 1000 x sigma |
//! | `rcm` (TurboWan) | an angle of TrigFlow: 1.5 | `sin t / (sin t + cos t)`, see [`Schedule::rcm`] | 1000 x sigma |
//!
//! Between the steps most of them add fresh noise ([`crate::Sampler::Renoise`]); lightx2v for Wan 2.2 goes straight on
//! ([`crate::Sampler::Euler`]).
//!
//! **Source**: guandeh17/Self-Forcing `pipeline/causal_inference.py`; ModelTC/LightX2V
//! `schedulers/wan/step_distill/scheduler.py`; hao-ai-lab/FastVideo `pipelines/stages/denoising.py`; diffusers 0.42
//! `FlowMatchLCMScheduler`; thu-ml/TurboDiffusion `inference/wan2.1_t2v_infer.py`. Parity by `tests/wan_schedules.rs`.

use crate::schedule::{TRAIN_TIMESTEPS, shifted};
use crate::{Error, Result, Schedule, ScheduleKind, Sigma, Timestep};

/// Self-Forcing, lightx2v for Wan 2.1 and 2.2: four levels before the shift, in thousandths.
pub const DMD_LIST: [u32; 4] = [1000, 750, 500, 250];
/// FastWan 2.1 and 2.2: three timesteps after the shift.
pub const FASTWAN_LIST: [u32; 3] = [1000, 757, 522];
/// TurboWan: the TrigFlow angles after the first, which follows from the largest ratio of noise to signal.
const RCM_ANGLES: [f64; 3] = [1.5, 1.4, 1.0];

impl Schedule {
    /// The largest number of steps of [`Schedule::rcm`].
    pub const MAX_RCM_STEPS: usize = RCM_ANGLES.len() + 1;
    /// The ratio of noise to signal at which TurboWan 2.1 starts; TurboWan 2.2 starts at 200.
    pub const RCM_SIGMA_MAX: f64 = 80.0;

    /// The levels `list`, in thousandths before the shift, as Self-Forcing and lightx2v publish them ([`DMD_LIST`]).
    ///
    /// **Range**: entries fall from at most 1000 and stay above 0; `shift` finite and above 0.
    /// **Errors**: [`Error::ListEntry`], [`Error::Shift`], [`Error::Steps`].
    pub fn dmd(list: &[u32], shift: f64) -> Result<Self> {
        check_shift(shift)?;
        check_list(list)?;
        let levels = list.iter().map(|&entry| f64::from(entry) / TRAIN_TIMESTEPS);
        Self::from_levels(ScheduleKind::Dmd, levels.map(|level| shifted(level, shift)).collect())
    }

    /// The timesteps `list`, after the shift, as FastVideo publishes them ([`FASTWAN_LIST`]). The model is fed the entry
    /// itself; the sigma is the one of the nearest of the 1000 shifted levels.
    ///
    /// **Range** and **Errors**: as [`Schedule::dmd`]; [`Error::Sigmas`] if two entries are nearest to the same level.
    pub fn fastwan(list: &[u32], shift: f64) -> Result<Self> {
        check_shift(shift)?;
        check_list(list)?;
        let nearest = |entry: u32| {
            let wanted = f64::from(entry) / TRAIN_TIMESTEPS;
            (1..=1000)
                .rev()
                .map(|level| shifted(f64::from(level) / TRAIN_TIMESTEPS, shift))
                // The first of equally near ones, so the noisier.
                .min_by(|a, b| (a - wanted).abs().total_cmp(&(b - wanted).abs()))
                .unwrap_or(wanted)
        };
        let sigmas = list.iter().map(|&entry| Sigma(nearest(entry))).chain([Sigma(0.0)]);
        let timesteps = list.iter().map(|&entry| Timestep(entry as f32)).collect();
        Self::from_parts(ScheduleKind::FastWan, sigmas.collect(), timesteps)
    }

    /// The list of diffusers' `FlowMatchLCMScheduler` for a number of steps. See [`Schedule::new`] for range and errors.
    pub fn lcm(steps: usize, shift: f64) -> Result<Self> {
        Self::new(ScheduleKind::Lcm, steps, shift)
    }

    /// The list of TurboWan (rCM) for 1 to 4 steps, from `sigma_max`, the ratio of noise to signal at the start.
    ///
    /// rCM counts time as the angle t of TrigFlow: `x_t = cos(t) clean + sin(t) noise`. Divided by `sin t + cos t` this is
    /// `(1 - sigma) clean + sigma noise` with `sigma = sin t / (sin t + cos t)`: the same latents up to a factor, which the
    /// published model takes out before it is asked, so nothing is lost in the change. The first angle is
    /// `atan(sigma_max)`, hence the first sigma `sigma_max / (1 + sigma_max)`, below 1: the noise is scaled by it
    /// ([`Schedule::start_scale`]).
    ///
    /// **Range**: `steps` 1 to [`Schedule::MAX_RCM_STEPS`]; `sigma_max` finite and above tan 1.5, about 14.1.
    /// **Errors**: [`Error::StepsOfKind`], [`Error::SigmaMax`].
    pub fn rcm(steps: usize, sigma_max: f64) -> Result<Self> {
        Self::rcm_shifted(steps, sigma_max, 1.0)
    }

    /// A shift multiplies the ratio of noise to signal, so it is well defined here too; published models need none.
    ///
    /// **Errors**: as [`Schedule::rcm`], [`Error::Shift`].
    pub(crate) fn rcm_shifted(steps: usize, sigma_max: f64, shift: f64) -> Result<Self> {
        check_shift(shift)?;
        if !(1..=Self::MAX_RCM_STEPS).contains(&steps) {
            return Err(Error::StepsOfKind {
                kind: ScheduleKind::Rcm.name(),
                steps,
                possible: format!("1 to {}", Self::MAX_RCM_STEPS),
            });
        }
        // The next angle is 1.5, and the list has to fall.
        if !(sigma_max.is_finite() && sigma_max > libm::tan(RCM_ANGLES[0])) {
            return Err(Error::SigmaMax { sigma_max });
        }
        let first = sigma_max / (1.0 + sigma_max);
        let later = RCM_ANGLES[..steps - 1].iter().map(|&angle| {
            let (sin, cos) = (libm::sin(angle), libm::cos(angle));
            sin / (cos + sin)
        });
        let levels = std::iter::once(first).chain(later);
        Self::from_levels(ScheduleKind::Rcm, levels.map(|level| shifted(level, shift)).collect())
    }

    /// The factor between normal noise and the latents that a run of this schedule starts from.
    ///
    /// It is 1 for all kinds whose source starts from the noise itself, also where the first sigma is a little below 1;
    /// only rCM scales the noise to its first level.
    pub fn start_scale(&self) -> f64 {
        match self.kind() {
            ScheduleKind::Rcm => self.sigmas().first().map_or(1.0, |sigma| sigma.0),
            _ => 1.0,
        }
    }

    /// Sigmas before the final 0; the timestep is 1000 x sigma.
    pub(crate) fn from_levels(kind: ScheduleKind, levels: Vec<f64>) -> Result<Self> {
        let timesteps = levels.iter().map(|level| Timestep((level * TRAIN_TIMESTEPS) as f32));
        let timesteps = timesteps.collect();
        let sigmas = levels.into_iter().chain([0.0]).map(Sigma).collect();
        Self::from_parts(kind, sigmas, timesteps)
    }
}

/// **Errors**: [`Error::Shift`] unless finite and above 0.
pub(crate) fn check_shift(shift: f64) -> Result<()> {
    if shift.is_finite() && shift > 0.0 {
        Ok(())
    } else {
        Err(Error::Shift { shift })
    }
}

fn check_list(list: &[u32]) -> Result<()> {
    let mut before = 1001;
    for (index, &entry) in list.iter().enumerate() {
        if entry == 0 || entry >= before {
            return Err(Error::ListEntry { index, entry });
        }
        before = entry;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_dmd_are_levels_before_the_shift() {
        let schedule = Schedule::dmd(&DMD_LIST, 5.0).unwrap();
        let sigmas: Vec<f64> = schedule.sigmas().iter().map(|sigma| sigma.0).collect();
        // 5s / (1 + 4s) by hand.
        for (got, want) in sigmas.iter().zip([1.0, 0.9375, 5.0 / 6.0, 0.625, 0.0]) {
            assert!((got - want).abs() < 1e-15, "{got} {want}");
        }
        assert_eq!(schedule.timesteps()[1], Timestep(937.5));
        assert_eq!(schedule, Schedule::new(ScheduleKind::Dmd, 4, 5.0).unwrap());
    }

    #[test]
    fn entries_of_fastwan_are_fed_to_the_model_as_they_are() {
        let schedule = Schedule::fastwan(&FASTWAN_LIST, 8.0).unwrap();
        let timesteps: Vec<f32> = schedule.timesteps().iter().map(|timestep| timestep.0).collect();
        assert_eq!(timesteps, [1000.0, 757.0, 522.0]);
        // Level 280 of 1000: 8 * 0.28 / (1 + 7 * 0.28); its neighbours are 0.0010 away.
        assert!((schedule.sigmas()[1].0 - 2.24 / 2.96).abs() < 1e-15);
        assert_eq!(schedule, Schedule::new(ScheduleKind::FastWan, 3, 8.0).unwrap());
    }

    #[test]
    fn rcm_starts_below_pure_noise_and_scales_the_noise() {
        let schedule = Schedule::rcm(4, 80.0).unwrap();
        assert!((schedule.sigmas()[0].0 - 80.0 / 81.0).abs() < 1e-15);
        assert_eq!(schedule.start_scale(), schedule.sigmas()[0].0);
        // An angle of 1 means noise and signal as sin 1 to cos 1.
        let ratio = schedule.sigmas()[3].0 / (1.0 - schedule.sigmas()[3].0);
        assert!((ratio - 1.0_f64.tan()).abs() < 1e-14);
        assert_eq!(Schedule::dmd(&DMD_LIST, 5.0).unwrap().start_scale(), 1.0);
        for steps in 1..=4 {
            assert_eq!(Schedule::rcm(steps, 200.0).unwrap().steps(), steps);
        }
    }

    #[test]
    fn lists_that_do_not_fall_and_impossible_numbers_are_refused() {
        for (list, index, entry) in [
            (&[1001, 500][..], 0, 1001),
            (&[1000, 0], 1, 0),
            (&[1000, 500, 500], 2, 500),
        ] {
            let refused = Error::ListEntry { index, entry };
            assert_eq!(Schedule::dmd(list, 5.0), Err(refused.clone()));
            assert_eq!(Schedule::fastwan(list, 5.0), Err(refused));
        }
        for shift in [0.0, -3.0, f64::NAN] {
            assert!(matches!(Schedule::dmd(&DMD_LIST, shift), Err(Error::Shift { .. })));
            assert!(matches!(Schedule::fastwan(&DMD_LIST, shift), Err(Error::Shift { .. })));
        }
        assert!(matches!(Schedule::dmd(&[], 5.0), Err(Error::Steps { steps: 0, .. })));
        for steps in [0, 5] {
            assert!(matches!(Schedule::rcm(steps, 80.0), Err(Error::StepsOfKind { .. })));
        }
        for sigma_max in [0.0, 14.0, -80.0, f64::NAN, f64::INFINITY] {
            assert!(
                matches!(Schedule::rcm(1, sigma_max), Err(Error::SigmaMax { .. })),
                "{sigma_max}"
            );
        }
        let text = Schedule::new(ScheduleKind::FastWan, 4, 8.0).unwrap_err().to_string();
        assert!(text.contains("fastwan") && text.contains('3'), "{text}");
    }
}
