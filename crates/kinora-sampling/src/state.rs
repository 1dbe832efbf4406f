//! Checkpoints: a run as bytes, so that a job can stop and go on later with the same result to the bit.
//!
//! Layout, little endian: `KNRSMPL2`; sampler, prediction, schedule kind (one byte each); step index (u64), midway
//! (u8); number of steps (u64), sigmas (f64), timesteps (f32); given latents (one byte: 0 none, 1 prefix, 2 elements,
//! then their tensors); fresh noise (one byte, then seed u64, variant and part
//! u32); latents; four optional tensors of history. Tensors and the sum at the end: `bytes.rs`.

use kinora_tensor::Arena;

use crate::bytes::{Reader, code, refuse, sealed, write_slot, write_tensor};
use crate::samplers::History;
use crate::{Clean, Prediction, Result, Sampler, SamplerRun, Schedule, ScheduleKind, Sigma, Stream, Timestep};

const MAGIC: &[u8; 8] = b"KNRSMPL2";
/// The position of a value in its list is its code; new ones go to the end.
const SAMPLERS: [Sampler; 5] = Sampler::ALL;
const PREDICTIONS: [Prediction; 3] = [Prediction::Velocity, Prediction::Epsilon, Prediction::Clean];
const KINDS: [ScheduleKind; 9] = [
    ScheduleKind::RectifiedFlow,
    ScheduleKind::DiffusersFlowMatch,
    ScheduleKind::DiffusersUniPc,
    ScheduleKind::DiffusersDpm,
    ScheduleKind::Custom,
    ScheduleKind::Dmd,
    ScheduleKind::FastWan,
    ScheduleKind::Lcm,
    ScheduleKind::Rcm,
];

impl SamplerRun {
    /// The whole run as bytes: schedule, position, latents and what the sampler remembers.
    pub fn save(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.push(code(&SAMPLERS, &self.sampler));
        out.push(code(&PREDICTIONS, &self.prediction));
        out.push(code(&KINDS, &self.schedule.kind()));
        out.extend((self.step_index as u64).to_le_bytes());
        out.push(u8::from(self.midway));
        out.extend((self.schedule.steps() as u64).to_le_bytes());
        out.extend(self.schedule.sigmas().iter().flat_map(|sigma| sigma.0.to_le_bytes()));
        out.extend(
            self.schedule
                .timesteps()
                .iter()
                .flat_map(|timestep| timestep.0.to_le_bytes()),
        );
        match &self.clean {
            None => out.push(0),
            Some(Clean::Prefix(values)) => {
                out.push(1);
                write_tensor(&mut out, values);
            }
            Some(Clean::Elements { mask, values }) => {
                out.push(2);
                write_tensor(&mut out, mask);
                write_tensor(&mut out, values);
            }
        }
        out.push(u8::from(self.fresh.is_some()));
        if let Some((seed, stream)) = self.fresh {
            out.extend(seed.to_le_bytes());
            out.extend(stream.variant.to_le_bytes());
            out.extend(stream.part.to_le_bytes());
        }
        write_tensor(&mut out, &self.latents);
        for slot in self.history.slots() {
            write_slot(&mut out, slot.as_ref());
        }
        sealed(out)
    }

    /// The run that [`SamplerRun::save`] wrote, with its tensors in `arena`.
    ///
    /// **Errors**: [`crate::Error::Checkpoint`] if the bytes are cut off, changed, or of another version; no memory.
    pub fn restore(bytes: &[u8], arena: &Arena) -> Result<Self> {
        let mut read = Reader::open(bytes, MAGIC, arena)?;
        let sampler = read.one_of(&SAMPLERS)?;
        let prediction = read.one_of(&PREDICTIONS)?;
        let kind = read.one_of(&KINDS)?;
        let step_index = read.count()?;
        let midway = read.one_of(&[false, true])?;
        let schedule = schedule(&mut read, kind)?;
        let clean = match read.one_of(&[0, 1, 2])? {
            0 => None,
            1 => Some(Clean::Prefix(read.tensor()?)),
            _ => Some(Clean::Elements {
                mask: read.tensor()?,
                values: read.tensor()?,
            }),
        };
        let fresh = if read.one_of(&[false, true])? {
            let seed = u64::from_le_bytes(read.take()?);
            let variant = u32::from_le_bytes(read.take()?);
            let part = u32::from_le_bytes(read.take()?);
            Some((seed, Stream { variant, part }))
        } else {
            None
        };
        let latents = read.tensor()?;
        let history = History::from_slots([read.slot()?, read.slot()?, read.slot()?, read.slot()?]);
        let run = Self {
            sampler,
            prediction,
            schedule,
            clean,
            fresh,
            step_index,
            midway,
            latents,
            history,
        };
        if !read.is_empty() || !run.is_consistent() {
            return refuse("its parts do not fit together");
        }
        Ok(run)
    }

    /// Whether this run is a later state of `start`: same rule, schedule and given latents, same noise between the steps,
    /// latents of the same shape. Says nothing of the latents themselves, nor of the noise that they came from.
    pub fn continues(&self, start: &Self) -> bool {
        let clean = match (&self.clean, &start.clean) {
            (None, None) => true,
            (Some(ours), Some(theirs)) => ours.is_same_as(theirs),
            _ => false,
        };
        clean
            && self.sampler == start.sampler
            && self.prediction == start.prediction
            && self.schedule == start.schedule
            && self.fresh == start.fresh
            && self.latents.shape() == start.latents.shape()
            && self.step_index >= start.step_index
    }

    /// Whether the parts of a restored run can belong together; what follows relies on it.
    fn is_consistent(&self) -> bool {
        let position = self.step_index + usize::from(self.midway) <= self.schedule.steps();
        let shapes = self
            .history
            .slots()
            .into_iter()
            .flatten()
            .all(|kept| kept.shape() == self.latents.shape());
        let clean = self
            .clean
            .as_ref()
            .is_none_or(|clean| clean.check(&self.latents).is_ok());
        let [start, velocity, newest, older] = self.history.slots().map(Option::is_some);
        let done = self.step_index;
        let expected = match self.sampler {
            Sampler::Euler | Sampler::Renoise => [false; 4],
            Sampler::Heun => [self.midway, self.midway, false, false],
            Sampler::UniPc => [done > 0, false, done > 0, done > 1],
            Sampler::DpmPp2m => [false, false, done > 0, false],
        };
        let midway = !self.midway || (self.sampler == Sampler::Heun && done + 1 < self.schedule.steps());
        position && shapes && clean && midway && [start, velocity, newest, older] == expected
    }
}

fn schedule(read: &mut Reader<'_>, kind: ScheduleKind) -> Result<Schedule> {
    let steps = read.count()?;
    if steps > Schedule::MAX_STEPS {
        return refuse("its parts do not fit together");
    }
    let sigmas = (0..=steps).map(|_| read.number().map(Sigma)).collect::<Result<_>>()?;
    let timesteps = (0..steps)
        .map(|_| read.take().map(f32::from_le_bytes).map(Timestep))
        .collect::<Result<_>>()?;
    Schedule::from_parts(kind, sigmas, timesteps)
}

#[cfg(test)]
mod tests {
    use kinora_tensor::Tensor;

    use super::*;
    use crate::{Error, noise};

    fn halfway(sampler: Sampler) -> SamplerRun {
        let schedule = Schedule::rectified_flow(5, 3.0).unwrap();
        let mut run = SamplerRun::new(
            sampler,
            &schedule,
            noise(1, Stream::default(), [1, 2, 3, 2, 2]).unwrap(),
        )
        .unwrap()
        .with_clean(Clean::Prefix(Tensor::zeros([1, 2, 1, 2, 2]).unwrap()))
        .unwrap()
        .with_fresh_noise(1, Stream { variant: 3, part: 4 });
        for _ in 0..3 {
            let velocity = run.latents().try_clone().unwrap();
            run.provide(velocity).unwrap();
        }
        run
    }

    #[test]
    fn a_run_continues_its_own_beginning_and_no_other() {
        let shape = [1, 2, 3, 2, 2];
        let start = |sampler, steps, given: f32, part| {
            let schedule = Schedule::rectified_flow(steps, 3.0).unwrap();
            let mut prefix = Tensor::zeros([1, 2, 1, 2, 2]).unwrap();
            prefix.as_mut_slice().fill(given);
            SamplerRun::new(sampler, &schedule, noise(1, Stream::default(), shape).unwrap())
                .unwrap()
                .with_clean(Clean::Prefix(prefix))
                .unwrap()
                .with_fresh_noise(1, Stream { variant: 3, part })
        };
        let later = halfway(Sampler::UniPc);
        assert!(later.continues(&start(Sampler::UniPc, 5, 0.0, 4)));
        assert!(!start(Sampler::UniPc, 5, 0.0, 4).continues(&later), "it was before");
        for other in [
            start(Sampler::DpmPp2m, 5, 0.0, 4),
            start(Sampler::UniPc, 6, 0.0, 4),
            start(Sampler::UniPc, 5, 0.5, 4),
            start(Sampler::UniPc, 5, 0.0, 5),
        ] {
            assert!(!later.continues(&other), "{other:?}");
        }
    }

    #[test]
    fn any_cut_and_any_changed_byte_is_noticed() {
        let bytes = halfway(Sampler::UniPc).save();
        let arena = Arena::new();
        assert_eq!(SamplerRun::restore(&bytes, &arena).unwrap().save(), bytes);
        for end in 0..bytes.len() {
            assert!(
                matches!(
                    SamplerRun::restore(&bytes[..end], &arena),
                    Err(Error::Checkpoint { .. })
                ),
                "{end}"
            );
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x40;
            assert!(SamplerRun::restore(&changed, &arena).is_err(), "byte {at}");
        }
    }

    /// With a valid sum, as somebody who means harm would write it: an error or a usable run, never a panic.
    #[test]
    fn forged_checkpoints_do_no_harm() {
        let arena = Arena::new();
        for sampler in Sampler::ALL {
            let bytes = halfway(sampler).save();
            let body = &bytes[..bytes.len() - 8];
            for at in MAGIC.len()..body.len() {
                for value in [0, 1, 3, 0x7f, 0xff] {
                    let mut forged = body.to_vec();
                    forged[at] = value;
                    let Ok(mut run) = SamplerRun::restore(&sealed(forged), &arena) else {
                        continue;
                    };
                    while run.next_eval().is_some() {
                        let velocity = run.latents().try_clone().unwrap();
                        if run.provide(velocity).is_err() {
                            break;
                        }
                    }
                }
            }
        }
    }
}
