//! A free list of aligned buffers that activations are taken from and given back to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Error, Result};

/// Floats of a cache line.
const LINE: usize = 16;

/// Whole cache lines of `f32`, so that vector loads never straddle a line.
#[derive(Default)]
pub(crate) struct Buffer {
    floats: Vec<f32>,
    /// The first one on a cache line.
    start: usize,
    len: usize,
}

impl Buffer {
    /// At least `floats` zeros (no more than a `Shape` can have) straight from the system, which makes the pages of a large
    /// buffer when they are first written: in the threads that fill it, not here.
    ///
    /// **Errors**: an error instead of an abort if there is no memory.
    pub(crate) fn zeros(floats: usize) -> Result<Self> {
        let len = floats.next_multiple_of(LINE);
        let floats: Vec<f32> = bytemuck::try_zeroed_vec(len + LINE).map_err(|()| Error::OutOfMemory {
            bytes: len * size_of::<f32>(),
        })?;
        let start = floats.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        Ok(Self { floats, start, len })
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        &self.floats[self.start..][..self.len]
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        &mut self.floats[self.start..][..self.len]
    }

    fn bytes(&self) -> usize {
        self.len * size_of::<f32>()
    }
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
    free: Vec<Buffer>,
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
    pub(crate) fn take(&self, floats: usize) -> Result<Buffer> {
        let floats = floats.next_multiple_of(LINE);
        let mut pool = self.lock();
        // The smallest buffer that fits and wastes little; the sizes of a denoising loop repeat, so this hits exactly. A
        // tensor that took a much larger one and lived on would leave the next step without it.
        let best = (0..pool.free.len())
            .filter(|&i| (floats..=floats.saturating_add(floats / 4)).contains(&pool.free[i].len))
            .min_by_key(|&i| pool.free[i].len);
        let buffer = match best {
            Some(i) => {
                let buffer = pool.free.swap_remove(i);
                pool.stats.free_buffers -= 1;
                pool.stats.free_bytes -= buffer.bytes();
                buffer
            }
            None => {
                pool.stats.allocations += 1;
                Buffer::zeros(floats)?
            }
        };
        pool.stats.live_bytes += buffer.bytes();
        pool.stats.peak_bytes = pool.stats.peak_bytes.max(pool.stats.live_bytes);
        Ok(buffer)
    }

    pub(crate) fn give_back(&self, buffer: Buffer) {
        let bytes = buffer.bytes();
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

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Arena").field(&self.stats()).finish()
    }
}
