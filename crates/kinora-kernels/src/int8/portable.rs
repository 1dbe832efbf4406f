//! The integer block in plain Rust.

use super::{Block, GROUP};

const COLUMNS: usize = 8;

pub(super) fn block(block: Block) {
    let groups = block.panel.len();
    for row in 0..block.rows {
        let a: &[[u8; GROUP]] = &block.a[row * block.a_stride..].as_chunks().0[..groups];
        for column in (0..block.columns).step_by(COLUMNS) {
            let mut sums = [0i32; COLUMNS];
            for (a, panel) in a.iter().zip(block.panel) {
                let a = a.map(i32::from);
                for (sum, b) in sums.iter_mut().zip(panel.as_chunks::<COLUMNS>().0[column / COLUMNS]) {
                    let b = b.map(i32::from);
                    // Wrapping, because checks would keep this scalar in builds with assertions; it cannot overflow.
                    for (a, b) in a.into_iter().zip(b) {
                        *sum = sum.wrapping_add(a.wrapping_mul(b));
                    }
                }
            }
            block.c[row * block.c_stride + column..][..COLUMNS].copy_from_slice(&sums);
        }
    }
}
