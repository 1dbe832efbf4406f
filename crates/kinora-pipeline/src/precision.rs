//! What the model computes with: what a caller may ask for, and what `auto` means on this machine.

use std::str::FromStr;

use kinora_kernels::Precision;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What a caller asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrecisionChoice {
    /// What this machine does best; see [`PrecisionChoice::resolve`].
    #[default]
    Auto,
    /// f32 throughout: the numbers of the reference implementations.
    F32,
    /// Weights and activations of the large layers in 16 bits.
    Bf16,
    /// Weights and activations of the large layers in 8 bits, with a scale for each row.
    Int8,
}

impl PrecisionChoice {
    /// Every choice, the default first.
    pub const ALL: [Self; 4] = [Self::Auto, Self::F32, Self::Bf16, Self::Int8];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::F32 => Precision::F32.name(),
            Self::Bf16 => Precision::Bf16.name(),
            Self::Int8 => Precision::Int8.name(),
        }
    }

    /// The precision that this choice means on this machine.
    ///
    /// `auto` is int8 where the processor multiplies and sums bytes in one instruction: there it is the fastest by far,
    /// and the clip looks the same (`docs/performance.md` has the comparison). Elsewhere it is f32, because emulated
    /// bytes gain little.
    ///
    /// **Errors**: [`Error::Model`] if `KINORA_KERNELS` names no path of this machine.
    pub fn resolve(self) -> Result<ResolvedPrecision> {
        let resolved = |precision, reason: &str| ResolvedPrecision {
            precision,
            reason: reason.to_owned(),
        };
        Ok(match self {
            Self::F32 => resolved(Precision::F32, "asked for"),
            Self::Bf16 => resolved(Precision::Bf16, "asked for"),
            Self::Int8 => resolved(Precision::Int8, "asked for"),
            Self::Auto if has_int8_products()? => {
                resolved(Precision::Int8, "auto: the processor has int8 dot products")
            }
            Self::Auto => resolved(Precision::F32, "auto: the processor has no int8 dot products"),
        })
    }
}

impl FromStr for PrecisionChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|choice| choice.name() == text);
        found.ok_or_else(|| Error::Invalid {
            what: "precision",
            got: text.chars().take(40).collect(),
            reason: "there is no such precision".into(),
            hint: format!("one of {}", Self::ALL.map(Self::name).join(", ")),
        })
    }
}

/// What a model is loaded with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedPrecision {
    /// The precision of the large layers.
    pub precision: Precision,
    /// Why this one, in words.
    pub reason: String,
}

impl ResolvedPrecision {
    /// The word that asks for it.
    pub const fn name(&self) -> &'static str {
        self.precision.name()
    }
}

fn has_int8_products() -> Result<bool> {
    Precision::Int8
        .is_native()
        .map_err(|error| Error::Model(kinora_models::Error::Kernel(error)))
}

#[cfg(test)]
mod tests {
    use kinora_kernels::Path;

    use super::*;

    #[test]
    fn words_are_read_and_others_refused_with_the_list() {
        for choice in PrecisionChoice::ALL {
            assert_eq!(choice.name().parse::<PrecisionChoice>().unwrap(), choice);
        }
        let error = "int4".parse::<PrecisionChoice>().unwrap_err().to_string();
        assert!(
            error.contains("int4") && error.contains("hint: one of auto, f32, bf16, int8"),
            "{error}"
        );
    }

    #[test]
    fn what_is_asked_for_is_given_and_auto_has_a_reason() {
        for (choice, name) in [
            (PrecisionChoice::F32, "f32"),
            (PrecisionChoice::Bf16, "bf16"),
            (PrecisionChoice::Int8, "int8"),
        ] {
            let resolved = choice.resolve().unwrap();
            assert_eq!((resolved.name(), resolved.reason.as_str()), (name, "asked for"));
        }
        // Plain loops have no instruction for bytes on any machine.
        let plain = Path::Reference
            .with(|| PrecisionChoice::Auto.resolve())
            .unwrap()
            .unwrap();
        assert_eq!(plain.precision, Precision::F32);
        assert!(plain.reason.starts_with("auto: "), "{}", plain.reason);
        let here = PrecisionChoice::Auto.resolve().unwrap();
        let expected = if has_int8_products().unwrap() {
            Precision::Int8
        } else {
            Precision::F32
        };
        assert_eq!(here.precision, expected);
    }
}
