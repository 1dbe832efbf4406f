//! How published models of the Wan family are sampled: steps, levels, shift, guidance, experts, and the clip they make.
//!
//! A preset is what a user gets who gives a model file and a prompt and nothing else. It is found by name, or by what was
//! recognised in the files ([`Preset::detect`]). Distilled models differ from their base in how they are sampled, not in
//! what they are, so they are presets of their own.

mod detect;
mod table;

use crate::{Error, ExpertSwitch, Guidance, Result, Sampler, Schedule, ScheduleKind, Sigma};

pub use detect::{ModelFacts, NameHints, Variant};
pub use table::{NEGATIVE_PROMPT, NEGATIVE_PROMPT_ONE_SHOT, PRESETS};

/// Which noise levels a preset goes through.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Levels {
    /// Any number of steps of this kind.
    Kind(ScheduleKind),
    /// A list of levels before the shift; see [`Schedule::dmd`].
    Dmd(&'static [u32]),
    /// A list of timesteps after the shift; see [`Schedule::fastwan`].
    FastWan(&'static [u32]),
    /// A list of timesteps that are the noise levels themselves, in thousandths, so already shifted.
    Timesteps(&'static [u32]),
    /// rCM from this ratio of noise to signal; see [`Schedule::rcm`].
    Rcm {
        /// Where it starts.
        sigma_max: f64,
    },
}

/// One row of the table: the defaults of a published model.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Preset {
    /// The word that users type.
    pub name: &'static str,
    /// Denoising steps.
    pub steps: usize,
    /// Update rule.
    pub sampler: Sampler,
    /// Noise levels.
    pub levels: Levels,
    /// Shift for clips of about 832x480.
    pub shift_480p: f64,
    /// Shift for clips of about 1280x720.
    pub shift_720p: f64,
    /// Guidance scale of the expert for high noise, or of the only network; then of the one for low noise.
    pub guidance_scale: [f64; 2],
    /// Whether guidance is part of the weights: the model is asked once a step, and a negative prompt has no effect.
    pub guidance_distilled: bool,
    /// Where the second expert takes over, in models that have one.
    pub switch: Option<ExpertSwitch>,
    /// Latent frames of a block, in causal models: these make a clip block by block, each seeing those before it.
    pub block_frames: Option<usize>,
    /// Frames a second.
    pub fps: u32,
    /// Width and height of clips that the model was made for; the first is the default. Each also upright.
    pub sizes: &'static [[usize; 2]],
    /// Frames of a clip.
    pub frames: usize,
    /// What its authors tell the model to avoid.
    pub negative_prompt: &'static str,
    /// Name of the published curve for MagCache; see [`crate::MagCurve::published`].
    pub mag_curve: Option<&'static str>,
}

impl Preset {
    /// From this area on a clip has the shift of 720p: about half-way between 832x480 and 1280x720.
    pub const AREA_720P: usize = 600_000;

    /// The preset of that name.
    ///
    /// **Errors**: [`Error::UnknownName`], which lists all.
    pub fn named(name: &str) -> Result<&'static Self> {
        PRESETS
            .iter()
            .find(|preset| preset.name == name)
            .ok_or_else(|| Error::UnknownName {
                what: "preset",
                name: name.chars().take(40).collect(),
                known: PRESETS.map(|preset| preset.name).join(", "),
            })
    }

    /// The shift for a clip of that width and height.
    pub const fn shift(&self, width: usize, height: usize) -> f64 {
        if width.saturating_mul(height) >= Self::AREA_720P {
            self.shift_720p
        } else {
            self.shift_480p
        }
    }

    /// The schedule for a number of steps and a shift, by default [`Preset::steps`] and [`Preset::shift`].
    ///
    /// **Errors**: [`Error::StepsOfKind`] if the list of a distilled model has another length and cannot be made anew;
    /// otherwise as [`Schedule::new`].
    pub fn schedule(&self, steps: usize, shift: f64) -> Result<Schedule> {
        let fixed = |list: &[u32]| {
            if list.len() == steps {
                return Ok(());
            }
            Err(Error::StepsOfKind {
                kind: self.name,
                steps,
                possible: list.len().to_string(),
            })
        };
        match self.levels {
            Levels::Kind(kind) => Schedule::new(kind, steps, shift),
            Levels::Dmd(list) if list.len() == steps => Schedule::dmd(list, shift),
            Levels::Dmd(_) => Schedule::new(ScheduleKind::Dmd, steps, shift),
            Levels::FastWan(list) => {
                fixed(list)?;
                Schedule::fastwan(list, shift)
            }
            Levels::Timesteps(list) => {
                fixed(list)?;
                let levels = list.iter().map(|&entry| f64::from(entry) / 1000.0).chain([0.0]);
                Schedule::from_sigmas(&levels.map(Sigma).collect::<Vec<_>>())
            }
            Levels::Rcm { sigma_max } => Schedule::rcm_shifted(steps, sigma_max, shift),
        }
    }

    /// The guidance of this preset: none where it is part of the weights.
    ///
    /// **Errors**: none for the rows of the table.
    pub fn guidance(&self) -> Result<Guidance> {
        let [high_noise, low_noise] = self.guidance_scale;
        Guidance::per_expert(high_noise, low_noise)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Expert, MagCurve};

    #[test]
    fn every_row_makes_a_run() {
        for preset in &PRESETS {
            assert_eq!(Preset::named(preset.name).unwrap(), preset);
            for [width, height] in preset.sizes {
                let schedule = preset.schedule(preset.steps, preset.shift(*width, *height)).unwrap();
                assert_eq!(schedule.steps(), preset.steps, "{}", preset.name);
                assert_eq!((width % 32, height % 16), (0, 0), "{}", preset.name);
                let guidance = preset.guidance().unwrap();
                let guided = guidance.is_on(&schedule, preset.switch.as_ref());
                assert_eq!(guided, !preset.guidance_distilled, "{}", preset.name);
                if let Some(switch) = &preset.switch {
                    let experts = schedule
                        .timesteps()
                        .iter()
                        .enumerate()
                        .map(|(i, t)| switch.expert(i, *t));
                    let high = experts.filter(|expert| *expert == Expert::HighNoise).count();
                    assert!(
                        0 < high && high < preset.steps,
                        "{}: {high} of {}",
                        preset.name,
                        preset.steps
                    );
                }
            }
            assert_eq!(preset.frames % 4, 1, "{}", preset.name);
            if let Some(name) = preset.mag_curve {
                assert_eq!(MagCurve::published(name).unwrap().steps(), preset.steps);
            }
            assert_eq!(
                preset.guidance_distilled,
                preset.guidance_scale == [1.0, 1.0],
                "{}",
                preset.name
            );
        }
    }

    #[test]
    fn names_differ_and_unknown_ones_are_refused() {
        for (i, preset) in PRESETS.iter().enumerate() {
            assert!(
                PRESETS[..i].iter().all(|other| other.name != preset.name),
                "{}",
                preset.name
            );
        }
        let text = Preset::named("wan3").unwrap_err().to_string();
        assert!(text.contains("preset") && text.contains("wan2.1-t2v-1.3b"), "{text}");
    }

    #[test]
    fn the_shift_follows_the_size() {
        let preset = Preset::named("wan2.1-i2v-14b-480p").unwrap();
        assert_eq!((preset.shift(832, 480), preset.shift(480, 832)), (3.0, 3.0));
        assert_eq!((preset.shift(1280, 720), preset.shift(720, 1280)), (5.0, 5.0));
        assert_eq!(preset.shift(usize::MAX, 2), 5.0);
    }

    #[test]
    fn lists_have_their_length_unless_they_can_be_made_anew() {
        let steps = |name: &str, steps| Preset::named(name).unwrap().schedule(steps, 5.0).map(|s| s.steps());
        assert_eq!(steps("lightx2v-4step", 6), Ok(6));
        assert_eq!(steps("turbowan", 2), Ok(2));
        assert!(matches!(steps("turbowan", 5), Err(Error::StepsOfKind { .. })));
        for (name, possible) in [("fastwan2.1-1.3b", "3 steps"), ("causvid", "9 steps")] {
            let text = steps(name, 4).unwrap_err().to_string();
            assert!(text.contains(name) && text.contains(possible), "{text}");
        }
        assert_eq!(steps("wan2.1-t2v-14b", 20), Ok(20));
    }
}
