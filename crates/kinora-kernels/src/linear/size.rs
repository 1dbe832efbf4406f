//! How large a packed layer is, before it is packed.

use super::{Linear, Precision};
use crate::product::{Kind, PANEL};

impl Linear {
    /// What [`Linear::bytes`] will say of a layer of these features in `precision`.
    pub const fn packed_bytes(out_features: usize, in_features: usize, precision: Precision) -> usize {
        let kind = precision.kind();
        let words = out_features
            .next_multiple_of(PANEL)
            .saturating_mul(kind.words(in_features));
        // A bias for each output; of integers the surplus and the worth of a step as well.
        let of_outputs = match kind {
            Kind::Int8 => 3,
            _ => 1,
        };
        words
            .saturating_add(of_outputs * out_features)
            .saturating_mul(size_of::<u32>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_known_beforehand() {
        for precision in Precision::ALL {
            for (outputs, inputs) in [(1, 1), (32, 7), (33, 64), (100, 129)] {
                let packed = Linear::pack_as(&vec![0.5; outputs * inputs], None, outputs, inputs, precision).unwrap();
                assert_eq!(Linear::packed_bytes(outputs, inputs, precision), packed.bytes());
            }
        }
    }
}
