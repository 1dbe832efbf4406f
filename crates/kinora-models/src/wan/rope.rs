//! Rotary position code over three axes.
//!
//! **Source**: `WanRotaryPosEmbed`, diffusers 0.42.1 (Apache-2.0). A head of width D is split into (t, h, w) parts of
//! D − 4⌊D/6⌋, 2⌊D/6⌋ and 2⌊D/6⌋; inside a part, pair i of position p turns by p / 10000^(2i/part). Pairs are
//! neighbours (2i, 2i+1). Angles are computed in f64 and their sines and cosines rounded to f32.

const THETA: f64 = 10_000.0;

/// Cosines and sines for a grid of tokens, each `[L, D/2]` with L = frames · height · width, in token order.
pub(super) struct Rope {
    pub(super) cos: Vec<f32>,
    pub(super) sin: Vec<f32>,
}

impl Rope {
    /// `first_frame` is where the grid begins in the clip.
    pub(super) fn for_grid(first_frame: usize, [frames, height, width]: [usize; 3], head_dim: usize) -> Self {
        let side = 2 * (head_dim / 6);
        let parts = [head_dim - 2 * side, side, side];
        let mut rope = Self {
            cos: Vec::new(),
            sin: Vec::new(),
        };
        for f in first_frame..first_frame + frames {
            for y in 0..height {
                for x in 0..width {
                    for (part, position) in parts.into_iter().zip([f, y, x]) {
                        for i in 0..part / 2 {
                            let angle = position as f64 * THETA.powf(-(2.0 * i as f64) / part as f64);
                            rope.cos.push(angle.cos() as f32);
                            rope.sin.push(angle.sin() as f32);
                        }
                    }
                }
            }
        }
        rope
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_token_does_not_turn_and_each_axis_turns_its_own_part() {
        let rope = Rope::for_grid(0, [2, 1, 2], 64); // parts 24, 20, 20 -> 12, 10, 10 pairs
        assert_eq!(rope.cos.len(), 4 * 32);
        assert!(rope.sin[..32].iter().all(|&s| s == 0.0));
        let next_column = &rope.sin[32..64];
        assert!(next_column[..22].iter().all(|&s| s == 0.0) && next_column[22] == (1f64.sin() as f32));
        let next_frame = &rope.sin[64..96];
        assert!(next_frame[0] == (1f64.sin() as f32) && next_frame[12..].iter().all(|&s| s == 0.0));
    }

    #[test]
    fn a_later_part_of_a_clip_turns_as_it_does_in_the_whole() {
        let (whole, later) = (Rope::for_grid(0, [5, 2, 3], 16), Rope::for_grid(3, [2, 2, 3], 16));
        assert!(whole.cos[3 * 6 * 8..] == later.cos && whole.sin[3 * 6 * 8..] == later.sin);
    }
}
