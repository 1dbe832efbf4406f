//! Which instructions make the sums of a kind on a path.

use super::{Block, Kind, PANEL, Segment, Sums, TILE_ROWS, portable};
use crate::Path;

/// A kernel for one kind that this processor can run.
#[derive(Clone, Copy)]
pub(crate) struct Engine {
    kind: Kind,
    name: &'static str,
    /// Whether a product of this kind is one instruction that does more than an f32 one.
    is_native: bool,
    /// Runs on this processor: engines are only made after asking for its features.
    block: unsafe fn(Block),
}

impl Engine {
    /// The best engine that `path` may use here.
    pub(crate) fn of(path: Path, kind: Kind) -> Self {
        Self::candidates(path, kind)
            .into_iter()
            .flatten()
            .next()
            .unwrap_or_else(|| Self::portable(kind))
    }

    /// Every engine for `kind` that this processor can run.
    #[cfg(test)]
    pub(crate) fn all(kind: Kind) -> Vec<Self> {
        let paths = Path::available().into_iter();
        let mut engines: Vec<_> = paths.flat_map(|p| Self::candidates(p, kind)).flatten().collect();
        engines.push(Self::portable(kind));
        engines
    }

    /// What its instructions are called.
    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }

    /// Whether products of this kind run at more than the rate of f32.
    pub(crate) const fn is_native(&self) -> bool {
        self.is_native
    }

    /// What it multiplies.
    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    fn portable(kind: Kind) -> Self {
        Self::new(kind, "portable", false, portable::block(kind))
    }

    const fn new(kind: Kind, name: &'static str, is_native: bool, block: unsafe fn(Block)) -> Self {
        Self {
            kind,
            name,
            is_native,
            block,
        }
    }

    /// Best first.
    #[cfg(target_arch = "x86_64")]
    fn candidates(path: Path, kind: Kind) -> [Option<Self>; 2] {
        use super::{avx2, avx512};
        let engine = |available: bool, name, native, block| available.then(|| Self::new(kind, name, native, block));
        match path {
            Path::Avx512 => {
                let bf16 = is_x86_feature_detected!("avx512bf16");
                let vnni = is_x86_feature_detected!("avx512vnni");
                match kind {
                    Kind::F32 => [engine(true, "avx512", true, avx512::fp32::block), None],
                    Kind::Bf16 => [
                        engine(bf16, "avx512bf16", true, avx512::bf16::block),
                        engine(true, "avx512 widened", false, avx512::bf16_widened::block),
                    ],
                    Kind::Int8 => [
                        engine(vnni, "avx512vnni", true, avx512::int8::block),
                        engine(true, "avx512 widened", false, avx512::int8_widened::block),
                    ],
                }
            }
            Path::Avx2 => {
                let vnni = is_x86_feature_detected!("avxvnni");
                match kind {
                    Kind::F32 => [engine(true, "avx2", true, avx2::fp32::block), None],
                    Kind::Bf16 => [engine(true, "avx2 widened", false, avx2::bf16_widened::block), None],
                    Kind::Int8 => [
                        engine(vnni, "avxvnni", true, avx2::int8_vnni::block),
                        engine(true, "avx2 widened", false, avx2::int8_widened::block),
                    ],
                }
            }
            Path::Neon | Path::Portable | Path::Reference => [None, None],
        }
    }

    /// Best first.
    #[cfg(target_arch = "aarch64")]
    fn candidates(path: Path, kind: Kind) -> [Option<Self>; 3] {
        use std::arch::is_aarch64_feature_detected as has;

        use super::neon;
        if path != Path::Neon {
            return [None; 3];
        }
        let engine = |available: bool, name, native, block| available.then(|| Self::new(kind, name, native, block));
        match kind {
            Kind::F32 => [engine(true, "neon", true, neon::fp32::block), None, None],
            Kind::Bf16 => [
                engine(has!("bf16"), "neon bf16", true, neon::bf16::block),
                engine(true, "neon widened", false, neon::bf16_widened::block),
                None,
            ],
            // Four products an instruction, as many as of f32.
            Kind::Int8 => [
                engine(has!("i8mm"), "neon i8mm", true, neon::int8_i8mm::block),
                engine(has!("dotprod"), "neon dotprod", true, neon::int8_dotprod::block),
                engine(true, "neon widened", false, neon::int8_widened::block),
            ],
        }
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn candidates(_: Path, _: Kind) -> [Option<Self>; 2] {
        [None, None]
    }

    /// Sums of `rows` rows with one panel. `columns` (at most [`PANEL`]) says how many columns matter; up to the next
    /// multiple of 16 are written. `stride` words lie between rows of a segment.
    ///
    /// Panics if a slice is too short for that.
    pub(crate) fn tile(
        &self,
        (rows, columns): (usize, usize),
        segments: &[Segment],
        stride: usize,
        panel: &[u32],
        sums: Sums,
    ) {
        assert!((1..=TILE_ROWS).contains(&rows) && (1..=PANEL).contains(&columns));
        let width = columns.next_multiple_of(PANEL / 2);
        assert!(sums.stride >= width && sums.words.len() >= (rows - 1) * sums.stride + width);
        let (panel, _) = panel.as_chunks::<PANEL>();
        if segments.iter().all(|s| s.len == 0) && !sums.add {
            (0..rows).for_each(|i| sums.words[i * sums.stride..][..width].fill(0));
        }
        let (mut done, mut add) = (0, sums.add);
        for segment in segments.iter().filter(|s| s.len > 0) {
            let block = Block {
                rows,
                columns,
                a: segment.words,
                a_stride: stride,
                depth: segment.len,
                panel: &panel[done..],
                c: sums.words,
                c_stride: sums.stride,
                add,
            };
            // SAFETY: the engine was made for a processor with these features.
            unsafe { (self.block)(block) };
            done += segment.len;
            add = true;
        }
    }
}
