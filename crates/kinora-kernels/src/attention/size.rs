//! What attention takes from the arena beside its result.

use super::{AttentionMode, Extents, quantised};

/// The sizes of the buffers that [`attention_as`](super::attention_as) takes while it runs, in floats: the queries as bytes
/// (none in the exact mode) from the arena of `q`, and the packed keys and values from that of `k`.
///
/// **Shapes**: those of `q` `[B,L,N,D]`, and S.
pub const fn attention_buffers(q: [usize; 4], keys: usize, mode: AttentionMode) -> [usize; 2] {
    let [batch, queries, heads, width] = q;
    let extents = Extents {
        batch,
        queries,
        keys,
        heads,
        width,
    };
    let of_heads = batch * heads;
    match mode {
        AttentionMode::Fast if width <= quantised::MAX_WIDTH => {
            let [of_queries, of_head] = quantised::buffers(extents);
            [of_queries, of_heads * of_head]
        }
        _ => {
            let (of_keys, of_values) = extents.packed();
            [0, of_heads * (of_keys + of_values)]
        }
    }
}

#[cfg(test)]
mod tests {
    use kinora_tensor::{Arena, Tensor};

    use super::super::{KeyMask, attention_as};
    use super::*;
    use crate::Path;

    #[test]
    fn the_buffers_are_those_that_the_arena_gives() {
        if Path::active().unwrap() == Path::Reference {
            return; // packs nothing
        }
        for mode in [AttentionMode::Exact, AttentionMode::Fast] {
            for (dims @ [batch, _, heads, width], keys) in [([2, 40, 3, 16], 40), ([1, 7, 2, 36], 65)] {
                let arena = Arena::new();
                let q = Tensor::zeros_in(&arena, dims).unwrap();
                let k = Tensor::zeros_in(&arena, [batch, keys, heads, width]).unwrap();
                attention_as(&q, &k, &k, KeyMask::None, mode).unwrap();
                let line = |floats: usize| 4 * floats.next_multiple_of(16);
                let [queries, packed] = attention_buffers(dims, keys, mode);
                let expected = 2 * line(q.elements()) + line(k.elements()) + line(queries) + line(packed);
                assert_eq!(arena.stats().peak_bytes, expected, "{dims:?}, {mode:?}");
            }
        }
    }
}
