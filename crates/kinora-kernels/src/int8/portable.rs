//! The integer block in plain Rust.

use super::{Block, GROUP};
use crate::gemm::PANEL;

const COLUMNS: usize = 8;

/// # Safety
/// The pointers of `block` must be valid for its extents.
pub(super) unsafe fn block(block: &Block) {
    for row in 0..block.rows {
        for column in (0..block.columns).step_by(COLUMNS) {
            let mut sums = [0i32; COLUMNS];
            // SAFETY: the caller vouches for the extents; columns are rounded up within the panel and within `c`.
            unsafe {
                let a = block.a.add(row * block.a_stride).cast::<[u8; GROUP]>();
                let panel = block.panel.add(column * GROUP).cast::<[[i8; GROUP]; COLUMNS]>();
                for group in 0..block.groups {
                    let a = a.add(group).read().map(i32::from);
                    let b = panel.byte_add(group * PANEL * GROUP).read();
                    for (sum, b) in sums.iter_mut().zip(b) {
                        let b = b.map(i32::from);
                        *sum += a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3];
                    }
                }
                let c = block.c.add(row * block.c_stride + column);
                c.cast::<[i32; COLUMNS]>().write(sums);
            }
        }
    }
}
