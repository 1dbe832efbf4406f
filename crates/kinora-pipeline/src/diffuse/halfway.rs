//! A pass of the model between two steps: all that it takes to go on from there as if nothing had happened.

use kinora_sampling::{CacheKind, Expert, SamplerRun, StepCache};
use kinora_tensor::Arena;

use crate::Result;
use crate::progress::Observer;

/// What is remembered after a step, to look at.
pub(crate) struct Between<'a> {
    pub(crate) run: &'a SamplerRun,
    pub(crate) cache: Option<&'a StepCache>,
    /// The expert of the last evaluation: when the other one takes over, the cache forgets.
    pub(crate) last: Option<Expert>,
}

/// Is shown the run after each step; an error ends it.
pub(crate) type AfterStep<'a> = dyn FnMut(&Between<'_>, &mut dyn Observer) -> Result<()> + 'a;

/// The same, of an earlier attempt, to go on with.
#[derive(Debug)]
pub(crate) struct Halfway {
    pub(crate) run: SamplerRun,
    pub(crate) cache: Option<StepCache>,
    pub(crate) last: Option<Expert>,
}

impl Halfway {
    /// The run and its step cache from what [`SamplerRun::save`] and [`StepCache::save`] wrote, for a pass with that kind
    /// of cache.
    ///
    /// **Errors**: [`crate::Error::Sampling`] for bytes that are damaged or of other settings; no memory.
    pub(crate) fn restore(
        run: &[u8],
        cache: Option<&[u8]>,
        kind: Option<&CacheKind>,
        last: Option<Expert>,
        arena: &Arena,
    ) -> Result<Self> {
        let run = SamplerRun::restore(run, arena)?;
        let steps = run.schedule().steps();
        let cache = match (cache, kind) {
            (Some(bytes), Some(kind)) => Some(StepCache::restore(bytes, kind.clone(), steps, arena)?),
            (None, None) => None,
            _ => {
                return Err(kinora_sampling::Error::Checkpoint {
                    reason: "its step cache is of other settings",
                }
                .into());
            }
        };
        Ok(Self { run, cache, last })
    }
}
