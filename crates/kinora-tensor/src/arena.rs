//! A free list of aligned buffers that activations are taken from and given back to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Error, Result};

/// One cache line of `f32`; buffers are made of these so that vector loads never straddle a line.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Line([f32; Line::FLOATS]);

impl Line {
    pub(crate) const FLOATS: usize = 16;
}

/// What an [`Arena`] holds and has handed out so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ArenaStats {
    /// Buffers in use by live tensors.
    pub live_bytes: usize,
    /// The largest value that `live_bytes` has had.
    pub peak_bytes: usize,
    /// Buffers waiting to be used again.
    pub free_buffers: usize,
    /// Bytes of those buffers.
    pub free_bytes: usize,
    /// How often the system was asked for memory.
    pub allocations: usize,
}

#[derive(Default)]
struct Pool {
    free: Vec<Vec<Line>>,
    stats: ArenaStats,
}

/// A shared pool of activation buffers. Cloning is cheap and gives another handle to the same pool.
#[derive(Clone, Default)]
pub struct Arena {
    pool: Arc<Mutex<Pool>>,
}

impl Arena {
    /// An empty arena.
    pub fn new() -> Self {
        Self::default()
    }

    /// Current and peak use.
    pub fn stats(&self) -> ArenaStats {
        self.lock().stats
    }

    /// Gives all free buffers back to the system, for example between the denoising loop and the decoder.
    pub fn trim(&self) {
        let mut pool = self.lock();
        pool.free = Vec::new();
        pool.stats.free_buffers = 0;
        pool.stats.free_bytes = 0;
    }

    /// A buffer of at least `floats` elements with unspecified, initialised content.
    pub(crate) fn take(&self, floats: usize) -> Result<Vec<Line>> {
        let lines = floats.div_ceil(Line::FLOATS);
        let mut pool = self.lock();
        // The smallest buffer that fits and wastes little; the sizes of a denoising loop repeat, so this hits exactly. A
        // tensor that took a much larger one and lived on would leave the next step without it.
        let best = (0..pool.free.len())
            .filter(|&i| (lines..=lines.saturating_add(lines / 4)).contains(&pool.free[i].len()))
            .min_by_key(|&i| pool.free[i].len());
        let buffer = match best {
            Some(i) => {
                let buffer = pool.free.swap_remove(i);
                pool.stats.free_buffers -= 1;
                pool.stats.free_bytes -= size_of_val(buffer.as_slice());
                buffer
            }
            None => {
                pool.stats.allocations += 1;
                allocate(lines)?
            }
        };
        pool.stats.live_bytes += size_of_val(buffer.as_slice());
        pool.stats.peak_bytes = pool.stats.peak_bytes.max(pool.stats.live_bytes);
        Ok(buffer)
    }

    pub(crate) fn give_back(&self, buffer: Vec<Line>) {
        let bytes = size_of_val(buffer.as_slice());
        let mut pool = self.lock();
        pool.stats.live_bytes -= bytes;
        pool.stats.free_bytes += bytes;
        pool.stats.free_buffers += 1;
        pool.free.push(buffer);
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        // The pool is consistent at every step, so a panic elsewhere does not spoil it.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Zeroed memory straight from the system; an error instead of an abort if there is none.
pub(crate) fn allocate(lines: usize) -> Result<Vec<Line>> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(lines).map_err(|_| Error::OutOfMemory {
        bytes: lines * size_of::<Line>(),
    })?;
    buffer.resize(lines, bytemuck::Zeroable::zeroed());
    Ok(buffer)
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Arena").field(&self.stats()).finish()
    }
}
