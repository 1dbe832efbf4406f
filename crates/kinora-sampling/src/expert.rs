//! Two networks for one clip: which of them a step belongs to (Wan 2.2 A14B).
//!
//! Source: Wan-Video/Wan2.2 `wan/text2video.py` and diffusers 0.42 `WanPipeline.__call__` compare the timestep that the
//! model is fed with `boundary * 1000`; with UniPC and DPM++ this is the timestep already cut to a whole number, which
//! decides when a step lies within one unit of the boundary. ModelTC/LightX2V counts steps instead
//! (`boundary_step_index`), because a list of four levels is distilled for a fixed split.

use crate::Timestep;
use crate::schedule::TRAIN_TIMESTEPS;

/// One of two networks that share the way from noise to a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Expert {
    /// From pure noise to the boundary: composition and motion.
    HighNoise,
    /// From the boundary to the clean latents: detail.
    LowNoise,
}

/// When the second network takes over.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum ExpertSwitch {
    /// The expert for high noise has all timesteps from this one up, itself included.
    Timestep(f64),
    /// The expert for high noise has this many steps.
    Step(usize),
}

impl ExpertSwitch {
    /// The boundary as models publish it, a share of the 1000 timesteps: 0.875 for Wan 2.2 T2V, 0.9 for I2V.
    pub fn ratio(boundary: f64) -> Self {
        Self::Timestep(boundary * TRAIN_TIMESTEPS)
    }

    /// The network for a step, by what it is fed as time or by its number.
    pub fn expert(&self, step_index: usize, timestep: Timestep) -> Expert {
        let high = match self {
            Self::Timestep(boundary) => f64::from(timestep.0) >= *boundary,
            Self::Step(first) => step_index < *first,
        };
        if high { Expert::HighNoise } else { Expert::LowNoise }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DMD_LIST, Schedule, ScheduleKind};

    fn high_steps(switch: ExpertSwitch, schedule: &Schedule) -> usize {
        let timesteps = schedule.timesteps().iter().enumerate();
        timesteps
            .take_while(|(step, timestep)| switch.expert(*step, **timestep) == Expert::HighNoise)
            .count()
    }

    #[test]
    fn the_boundary_belongs_to_high_noise() {
        let switch = ExpertSwitch::ratio(0.875);
        assert_eq!(switch, ExpertSwitch::Timestep(875.0));
        assert_eq!(switch.expert(0, Timestep(875.0)), Expert::HighNoise);
        assert_eq!(switch.expert(0, Timestep(874.0)), Expert::LowNoise);
    }

    /// A boundary between the whole number that is fed and the level itself: the whole number decides.
    #[test]
    fn timesteps_are_compared_as_the_model_is_fed() {
        let schedule = Schedule::new(ScheduleKind::DiffusersUniPc, 40, 12.0).unwrap();
        let (step, timestep) = schedule
            .timesteps()
            .iter()
            .enumerate()
            .find(|(step, timestep)| schedule.sigmas()[*step].0 * 1e3 - f64::from(timestep.0) > 0.5)
            .unwrap();
        let between = f64::from(timestep.0) + 0.25;
        assert!(
            schedule.sigmas()[step].0 * 1e3 > between,
            "the level itself is above the boundary"
        );
        let switch = ExpertSwitch::Timestep(between);
        assert_eq!(switch.expert(step, *timestep), Expert::LowNoise, "what is fed is below");
    }

    #[test]
    fn lists_of_few_steps_switch_by_step() {
        let schedule = Schedule::dmd(&DMD_LIST, 5.0).unwrap(); // 1000, 937.5, 833.3, 625
        assert_eq!(high_steps(ExpertSwitch::Step(2), &schedule), 2);
        assert_eq!(high_steps(ExpertSwitch::Step(0), &schedule), 0);
        assert_eq!(high_steps(ExpertSwitch::ratio(0.9), &schedule), 2);
        assert_eq!(high_steps(ExpertSwitch::ratio(0.8), &schedule), 3);
    }
}
