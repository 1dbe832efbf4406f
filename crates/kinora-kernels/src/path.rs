//! Which version of the kernels runs: forced by `KINORA_KERNELS` or the best that the processor has.

use std::cell::Cell;
use std::sync::OnceLock;

use crate::{Error, Result};

/// A version of all kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Path {
    /// The plain loops of [`mod@crate::reference`], with f64 sums. Slow; the meaning of every operation.
    Reference,
    /// Blocked plain Rust that compilers vectorise for any processor.
    Portable,
    /// NEON (64-bit Arm), with its dot products where the processor has them.
    Neon,
    /// AVX2 with FMA (x86-64, from about 2013).
    Avx2,
    /// AVX-512 F, BW, DQ and VL (x86-64 servers, Zen 4 and later).
    Avx512,
}

thread_local! {
    static FORCED: Cell<Option<Path>> = const { Cell::new(None) };
    static LAST: Cell<Option<Path>> = const { Cell::new(None) };
}

impl Path {
    /// Every path, slowest first.
    pub const ALL: [Self; 5] = [Self::Reference, Self::Portable, Self::Neon, Self::Avx2, Self::Avx512];

    /// The word for this path in `KINORA_KERNELS`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Portable => "portable",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// Whether this processor can run it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Reference | Self::Portable => true,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[cfg(not(target_arch = "aarch64"))]
            Self::Neon => false,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                Self::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 => false,
        }
    }

    /// The paths that this processor can run, slowest first.
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|p| p.is_available()).collect()
    }

    /// The path that operations called on this thread take: that of an enclosing [`Path::with`], else the one named by
    /// `KINORA_KERNELS` (read once), else the fastest available.
    ///
    /// **Errors**: [`Error::UnknownPath`] or [`Error::PathUnavailable`] for the content of `KINORA_KERNELS`.
    pub fn active() -> Result<Self> {
        static CHOSEN: OnceLock<Result<Path>> = OnceLock::new();
        match FORCED.get() {
            Some(path) => Ok(path),
            None => CHOSEN
                .get_or_init(|| Self::choose(std::env::var("KINORA_KERNELS").ok().as_deref()))
                .clone(),
        }
    }

    /// Runs `work` with all operations that it calls on this thread forced onto this path.
    ///
    /// **Errors**: [`Error::PathUnavailable`].
    pub fn with<T>(self, work: impl FnOnce() -> T) -> Result<T> {
        struct Restore(Option<Path>);
        impl Drop for Restore {
            fn drop(&mut self) {
                FORCED.set(self.0);
            }
        }
        let path = self.checked()?;
        let _restore = Restore(FORCED.replace(Some(path)));
        Ok(work())
    }

    /// The path that the last operation called on this thread took; tests assert it.
    pub fn last_ran() -> Option<Self> {
        LAST.get()
    }

    /// The active path, noted as the one that runs now.
    pub(crate) fn enter() -> Result<Self> {
        let path = Self::active()?;
        Self::note(path);
        Ok(path)
    }

    /// Notes what runs where that is not the active path.
    pub(crate) fn note(path: Self) {
        LAST.set(Some(path));
    }

    fn choose(variable: Option<&str>) -> Result<Self> {
        match variable.map(str::trim).filter(|v| !v.is_empty()) {
            Some(value) => Self::ALL
                .into_iter()
                .find(|p| p.name().eq_ignore_ascii_case(value))
                .ok_or_else(|| Error::UnknownPath {
                    value: value.to_owned(),
                })?
                .checked(),
            None if Self::Avx512.is_available() => Ok(Self::Avx512),
            None if Self::Avx2.is_available() => Ok(Self::Avx2),
            None if Self::Neon.is_available() => Ok(Self::Neon),
            None => Ok(Self::Portable),
        }
    }

    fn checked(self) -> Result<Self> {
        if self.is_available() {
            return Ok(self);
        }
        let names: Vec<_> = Self::available().into_iter().map(Self::name).collect();
        Err(Error::PathUnavailable {
            path: self.name(),
            available: names.join(", "),
        })
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_chooses_and_unknown_words_are_refused_with_a_hint() {
        assert_eq!(Path::choose(Some("reference")), Ok(Path::Reference));
        assert_eq!(Path::choose(Some(" Portable ")), Ok(Path::Portable));
        assert!(Path::choose(None).unwrap().is_available());
        assert_eq!(Path::choose(Some("")), Path::choose(None));
        let text = Path::choose(Some("fastest")).unwrap_err().to_string();
        assert!(
            text.contains("fastest") && text.contains("hint: one of reference"),
            "{text}"
        );
    }

    #[test]
    fn a_forced_path_ends_with_its_closure() {
        let outside = Path::active().unwrap();
        Path::Reference
            .with(|| {
                assert_eq!(Path::active(), Ok(Path::Reference));
                Path::Portable
                    .with(|| assert_eq!(Path::enter(), Ok(Path::Portable)))
                    .unwrap();
                assert_eq!(Path::active(), Ok(Path::Reference));
            })
            .unwrap();
        assert_eq!(Path::active(), Ok(outside));
        assert_eq!(Path::last_ran(), Some(Path::Portable));
    }
}
