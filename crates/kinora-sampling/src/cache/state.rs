//! Step caches as bytes, beside the checkpoint of the sampler: a job that goes on makes the same decisions.
//!
//! Layout: `KNRCACH1`; fingerprint of rule and parameters (u64), steps (u64); tally (two u64, two f64, an optional f64);
//! the last decision (byte, step u64, optional f64); for each branch: optional latents and velocity of the last
//! evaluation, optional latents of the last step, optional gain, error, ratio (f64), skips (u64).

use kinora_tensor::Arena;

use super::report::Tally;
use super::{Branch, CacheKind, Memory, StepCache};
use crate::Result;
use crate::bytes::{Reader, fnv1a, refuse, sealed, write_slot};

const MAGIC: &[u8; 8] = b"KNRCACH1";

impl StepCache {
    /// All that the cache remembers, as bytes.
    pub fn save(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(fingerprint(&self.kind).to_le_bytes());
        write_count(&mut out, self.steps);
        write_count(&mut out, self.tally.computed);
        write_count(&mut out, self.tally.reused);
        out.extend(self.tally.error_sum.to_le_bytes());
        out.extend(self.tally.largest_error.to_le_bytes());
        write_number(&mut out, self.tally.measured_error);
        out.push(u8::from(self.decided.is_some()));
        if let Some((step_index, error)) = self.decided {
            write_count(&mut out, step_index);
            write_number(&mut out, error);
        }
        for memory in &self.memory {
            write_slot(&mut out, memory.computed.as_ref().map(|(latents, _)| latents));
            write_slot(&mut out, memory.computed.as_ref().map(|(_, velocity)| velocity));
            write_slot(&mut out, memory.seen.as_ref());
            write_number(&mut out, memory.gain);
            out.extend(memory.error.to_le_bytes());
            out.extend(memory.ratio.to_le_bytes());
            write_count(&mut out, memory.skips);
        }
        sealed(out)
    }

    /// The cache that [`StepCache::save`] wrote, for a run with the same rule and steps, with its tensors in `arena`.
    ///
    /// **Errors**: as [`StepCache::new`]; [`crate::Error::Checkpoint`] if the bytes are cut off, changed, or of a cache with
    /// another rule or number of steps; no memory.
    pub fn restore(bytes: &[u8], kind: CacheKind, steps: usize, arena: &Arena) -> Result<Self> {
        let mut cache = Self::new(kind, steps)?;
        let mut read = Reader::open(bytes, MAGIC, arena)?;
        let same_kind = u64::from_le_bytes(read.take()?) == fingerprint(&cache.kind);
        if !same_kind || read.count()? != steps {
            return refuse("it is of a step cache with other settings");
        }
        cache.tally = Tally {
            computed: read.count()?,
            reused: read.count()?,
            error_sum: read.number()?,
            largest_error: read.number()?,
            measured_error: number(&mut read)?,
        };
        if read.one_of(&[false, true])? {
            cache.decided = Some((read.count()?, number(&mut read)?));
        }
        for memory in &mut cache.memory {
            *memory = self::memory(&mut read)?;
        }
        if !read.is_empty() {
            return refuse("its parts do not fit together");
        }
        Ok(cache)
    }
}

fn memory(read: &mut Reader<'_>) -> Result<Memory> {
    let (latents, velocity, seen) = (read.slot()?, read.slot()?, read.slot()?);
    let computed = match (latents, velocity) {
        (Some(latents), Some(velocity)) if latents.shape() == velocity.shape() => Some((latents, velocity)),
        (None, None) => None,
        _ => return refuse("its parts do not fit together"),
    };
    Ok(Memory {
        computed,
        seen,
        gain: number(read)?,
        error: read.number()?,
        ratio: read.number()?,
        skips: read.count()?,
    })
}

/// A sum over the rule and its parameters, to tell caches apart that would decide differently.
fn fingerprint(kind: &CacheKind) -> u64 {
    let mut out = kind.name().as_bytes().to_vec();
    match kind {
        CacheKind::EasyCache { threshold, first_steps } => {
            out.extend(threshold.to_le_bytes());
            write_count(&mut out, *first_steps);
        }
        CacheKind::MagCache {
            curve,
            threshold,
            max_skips,
            retention,
        } => {
            out.extend(threshold.to_le_bytes());
            out.extend(retention.to_le_bytes());
            write_count(&mut out, *max_skips);
            for branch in [Branch::Cond, Branch::Uncond] {
                out.extend(curve.ratios(branch).iter().flat_map(|ratio| ratio.to_le_bytes()));
            }
        }
    }
    fnv1a(&out)
}

fn write_count(out: &mut Vec<u8>, count: usize) {
    out.extend((count as u64).to_le_bytes());
}

fn write_number(out: &mut Vec<u8>, number: Option<f64>) {
    out.push(u8::from(number.is_some()));
    out.extend(number.unwrap_or(0.0).to_le_bytes());
}

fn number(read: &mut Reader<'_>) -> Result<Option<f64>> {
    let is_some = read.one_of(&[false, true])?;
    let number = read.number()?;
    Ok(is_some.then_some(number))
}
