//! The 16-bit block in plain Rust.

use super::{Block, PAIR};

const COLUMNS: usize = 8;

pub(super) fn block(block: Block) {
    let pairs = block.panel.len();
    for row in 0..block.rows {
        let a: &[[i16; PAIR]] = &block.a[row * block.a_stride..].as_chunks().0[..pairs];
        for column in (0..block.columns).step_by(COLUMNS) {
            let mut sums = [0i32; COLUMNS];
            for (a, panel) in a.iter().zip(block.panel) {
                let a = a.map(i32::from);
                for (sum, b) in sums.iter_mut().zip(panel.as_chunks::<COLUMNS>().0[column / COLUMNS]) {
                    // Wrapping, because checks would keep this scalar in builds with assertions; it cannot overflow.
                    let b = b.map(i32::from);
                    *sum = sum
                        .wrapping_add(a[0].wrapping_mul(b[0]))
                        .wrapping_add(a[1].wrapping_mul(b[1]));
                }
            }
            block.c[row * block.c_stride + column..][..COLUMNS].copy_from_slice(&sums);
        }
    }
}
