//! One pool of worker threads for all operations.

use std::cell::RefCell;
use std::collections::HashSet;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::{Error, Result};

/// Floats of a cache line.
const LINE: usize = 16;
/// Outputs below this many elements are not worth waking the workers for.
const SMALL: usize = 4096;

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
    match pool().filter(|p| p.current_num_threads() > 1 && out.len() > SMALL.max(chunk)) {
        Some(pool) => pool.install(|| out.par_chunks_mut(chunk).enumerate().for_each(|(i, c)| work(i, c))),
        None => out.chunks_mut(chunk).enumerate().for_each(|(i, c)| work(i, c)),
    }
}

/// Calls `work` for every item, in parallel.
pub(crate) fn for_each<T: Send>(items: Vec<T>, work: impl Fn(T) + Sync + Send) {
    match pool().filter(|p| p.current_num_threads() > 1 && items.len() > 1) {
        Some(pool) => pool.install(|| items.into_par_iter().with_max_len(1).for_each(work)),
        None => items.into_iter().for_each(work),
    }
}

/// A rectangle of a row-major matrix that one worker may write.
pub(crate) struct TileMut<'a> {
    start: *mut f32,
    stride: usize,
    /// The rows of the matrix in this rectangle.
    pub(crate) rows: Range<usize>,
    /// The columns of the matrix in this rectangle.
    pub(crate) columns: Range<usize>,
    matrix: PhantomData<&'a mut [f32]>,
}

// SAFETY: a rectangle is an exclusive borrow of its elements, like `&mut [f32]`.
unsafe impl Send for TileMut<'_> {}

impl TileMut<'_> {
    /// Row `row` of the matrix, the columns of this rectangle.
    pub(crate) fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(self.rows.contains(&row));
        // SAFETY: `tiles` gives out rectangles within the matrix that do not overlap, and the row is in this one.
        unsafe {
            let start = self.start.add(row * self.stride + self.columns.start);
            std::slice::from_raw_parts_mut(start, self.columns.len())
        }
    }
}

/// Cuts the matrix `[.., columns]` into rectangles of at most `row_block` x `column_block`, down the rows first.
/// Rectangles do not cross multiples of `group` rows.
pub(crate) fn tiles(
    matrix: &mut [f32],
    columns: usize,
    group: usize,
    row_block: usize,
    column_block: usize,
) -> Vec<TileMut<'_>> {
    let rows = matrix.len().checked_div(columns).unwrap_or(0);
    fn blocks(from: usize, to: usize, step: usize) -> impl Iterator<Item = Range<usize>> {
        (from..to).step_by(step).map(move |at| at..to.min(at + step))
    }
    let start = matrix.as_mut_ptr();
    let mut tiles = Vec::new();
    for columns_of_tile in blocks(0, columns, column_block) {
        for group in blocks(0, rows, group.max(1)) {
            for rows in blocks(group.start, group.end, row_block) {
                tiles.push(TileMut {
                    start,
                    stride: columns,
                    rows,
                    columns: columns_of_tile.clone(),
                    matrix: PhantomData,
                });
            }
        }
    }
    tiles
}

thread_local! {
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Lends `work` a buffer of this thread, aligned to a cache line, with unspecified content. Must not be nested.
pub(crate) fn with_scratch<T>(floats: usize, work: impl FnOnce(&mut [f32]) -> T) -> T {
    SCRATCH.with_borrow_mut(|buffer| {
        if buffer.len() < floats + LINE {
            buffer.resize(floats + LINE, 0.0);
        }
        let start = buffer.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        work(&mut buffer[start..start + floats])
    })
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
    fn tiles_cover_a_matrix_once_and_do_not_cross_groups() {
        let (rows, columns) = (23, 70);
        let mut matrix = vec![0.0; rows * columns];
        let tiles = tiles(&mut matrix, columns, 10, 4, 32);
        assert!(
            tiles
                .iter()
                .all(|t| t.rows.start / 10 == (t.rows.end - 1) / 10 && t.columns.len() <= 32)
        );
        for_each(tiles, |mut tile| {
            for row in tile.rows.clone() {
                let first = tile.columns.start;
                for (j, v) in tile.row(row).iter_mut().enumerate() {
                    *v += (row * columns + first + j) as f32;
                }
            }
        });
        assert!(matrix.iter().enumerate().all(|(i, &v)| v == i as f32));
    }

    #[test]
    fn scratch_is_aligned_and_as_long_as_asked() {
        for floats in [1, 100, 33, 5000] {
            with_scratch(floats, |s| assert_eq!((s.len(), s.as_ptr() as usize % 64), (floats, 0)));
        }
    }

    #[test]
    fn no_threads_is_an_error() {
        assert!(matches!(set_threads(0), Err(Error::Value { .. })));
        assert!(matches!(set_threads(1 << 20), Err(Error::Value { .. })));
    }
}
