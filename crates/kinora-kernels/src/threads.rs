//! One pool of worker threads for all operations.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::{Error, Result};

static POOL: RwLock<Option<Arc<ThreadPool>>> = RwLock::new(None);

/// Uses `count` threads from now on; operations that are already running finish on the old pool.
///
/// **Errors**: [`Error::Value`] for 0 or more than 1024; [`Error::Threads`] if the system refuses.
pub fn set_threads(count: usize) -> Result<()> {
    if !(1..=1024).contains(&count) {
        return Err(Error::Value {
            op: "set_threads",
            what: "count",
            expected: "between 1 and 1024",
            got: count.to_string(),
        });
    }
    let pool = build(count)?;
    *POOL.write().unwrap_or_else(PoisonError::into_inner) = Some(pool);
    Ok(())
}

/// The number of threads that operations use. Starts the pool if nothing has used it yet.
pub fn threads() -> usize {
    pool().map_or(1, |p| p.current_num_threads())
}

/// Calls `work(i, chunk)` for every chunk of `chunk` elements of `out` (the last may be shorter), in parallel.
pub(crate) fn for_chunks(out: &mut [f32], chunk: usize, work: impl Fn(usize, &mut [f32]) + Sync + Send) {
    if out.is_empty() || chunk == 0 {
        return;
    }
    if out.len() <= chunk {
        return work(0, out);
    }
    match pool().filter(|p| p.current_num_threads() > 1) {
        Some(pool) => pool.install(|| out.par_chunks_mut(chunk).enumerate().for_each(|(i, c)| work(i, c))),
        None => out.chunks_mut(chunk).enumerate().for_each(|(i, c)| work(i, c)),
    }
}

/// The pool, started on first use; `None` (work on the calling thread) if the system refuses any thread.
fn pool() -> Option<Arc<ThreadPool>> {
    if let Some(pool) = POOL.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
        return Some(pool.clone());
    }
    let mut slot = POOL.write().unwrap_or_else(PoisonError::into_inner);
    if slot.is_none() {
        *slot = build(default_threads()).ok();
    }
    slot.clone()
}

fn build(count: usize) -> Result<Arc<ThreadPool>> {
    ThreadPoolBuilder::new()
        .num_threads(count)
        .thread_name(|i| format!("kinora-kernel-{i}"))
        .build()
        .map(Arc::new)
        .map_err(|e| Error::Threads {
            threads: count,
            reason: e.to_string(),
        })
}

/// Physical cores, but not more than the affinity mask and the cgroup quota allow: a second hardware thread on a core
/// adds nothing to kernels that keep its multipliers busy.
fn default_threads() -> usize {
    // `available_parallelism` already minds the affinity mask and cgroup quotas (v1 and v2) on Linux.
    let allowed = std::thread::available_parallelism().map_or(1, usize::from);
    physical_cores().map_or(allowed, |cores| cores.min(allowed)).max(1)
}

/// Distinct (package, core) pairs in Linux's description of the processors; `None` elsewhere or where it is silent.
fn physical_cores() -> Option<usize> {
    count_cores(&std::fs::read_to_string("/proc/cpuinfo").ok()?)
}

fn count_cores(cpuinfo: &str) -> Option<usize> {
    let field = |block: &str, name: &str| {
        block
            .lines()
            .find(|l| l.split(':').next().is_some_and(|key| key.trim() == name))
            .and_then(|l| l.split(':').nth(1))
            .and_then(|v| v.trim().parse::<u32>().ok())
    };
    let cores: HashSet<_> = cpuinfo
        .split("\n\n")
        .filter_map(|block| Some((field(block, "physical id")?, field(block, "core id")?)))
        .collect();
    (!cores.is_empty()).then_some(cores.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_threads_of_one_core_count_once() {
        let text = "processor\t: 0\nphysical id\t: 0\ncore id\t\t: 0\n\nprocessor\t: 1\nphysical id\t: 0\ncore id\t\t: 0\n\n\
                    processor\t: 2\nphysical id\t: 0\ncore id\t\t: 1\n\nprocessor\t: 3\nphysical id\t: 1\ncore id\t\t: 0\n";
        assert_eq!(count_cores(text), Some(3));
        assert_eq!(count_cores("processor : 0\nBogoMIPS : 50\n"), None);
        assert!(default_threads() >= 1);
    }

    #[test]
    fn chunks_cover_the_whole_output_once() {
        let mut out = vec![0.0; 1003];
        for_chunks(&mut out, 10, |i, chunk| {
            for (j, v) in chunk.iter_mut().enumerate() {
                *v += (i * 10 + j) as f32;
            }
        });
        assert!(out.iter().enumerate().all(|(i, &v)| v == i as f32));
        for_chunks(&mut [], 10, |_, _| unreachable!());
    }

    #[test]
    fn no_threads_is_an_error() {
        assert!(matches!(set_threads(0), Err(Error::Value { .. })));
        assert!(matches!(set_threads(1 << 20), Err(Error::Value { .. })));
    }
}
