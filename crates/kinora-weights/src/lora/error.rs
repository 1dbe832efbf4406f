//! What can be wrong with a LoRA.

use crate::error::suggestion;

/// Why a LoRA cannot be read or does not fit a model.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LoraError {
    /// No tensor of the file is called like one of a LoRA.
    #[error(
        "{file} is no LoRA: its first tensor is `{first}`\nhint: a LoRA has pairs such as `x.lora_A.weight` and `x.lora_B.weight`; give whole models to --model"
    )]
    NotALora {
        /// The file.
        file: String,
        /// A name from it.
        first: String,
    },
    /// Some tensors are of a LoRA and this one is not.
    #[error("tensor `{key}` of {file} is of no kind that a LoRA has{}", suggestion(similar))]
    UnknownKey {
        /// The file.
        file: String,
        /// The tensor.
        key: String,
        /// The closest ending that exists.
        similar: Option<String>,
    },
    /// The file holds another kind of adapter.
    #[error(
        "tensor `{key}` of {file} belongs to a {kind}, which Kinora cannot apply\nhint: merge it into the model with the tool that made it"
    )]
    OtherAdapter {
        /// The file.
        file: String,
        /// The tensor.
        key: String,
        /// Its kind: `LoKr`, `LoHa`, `DoRA`.
        kind: &'static str,
    },
    /// Half of a pair is missing, or there twice.
    #[error("{file} has `{key}` {problem}\nhint: the file is damaged or was made from parts of several")]
    Unpaired {
        /// The file.
        file: String,
        /// The tensor that is there.
        key: String,
        /// What is the matter, behind the name.
        problem: String,
    },
    /// A value is infinite or not a number.
    #[error(
        "tensor `{key}` of {file} holds values that are infinite or not a number\nhint: the training of this LoRA went wrong; use another"
    )]
    NotFinite {
        /// The file.
        file: String,
        /// The tensor.
        key: String,
    },
    /// The model has no such layer.
    #[error(
        "`{key}` of {file} fits no tensor of {model}{}\nhint: this LoRA was made for another model",
        suggestion(similar)
    )]
    NoSuchLayer {
        /// The file.
        file: String,
        /// The tensor of the LoRA.
        key: String,
        /// The checkpoint.
        model: String,
        /// The closest name that exists there, in the spelling of the LoRA.
        similar: Option<String>,
    },
    /// The layer exists and has another size.
    #[error(
        "`{key}` of {file} has shape {got:?}, but `{tensor}` of {model} has {expected:?}\nhint: this LoRA was made for a model of another size"
    )]
    Misfit {
        /// The file.
        file: String,
        /// The tensor of the LoRA.
        key: String,
        /// Its shape.
        got: Vec<usize>,
        /// The tensor of the model.
        tensor: String,
        /// The shape of that.
        expected: Vec<usize>,
        /// The checkpoint.
        model: String,
    },
    /// A strength that is no number.
    #[error("the strength of {file} is {strength}\nhint: a number such as 1, 0.8 or -0.5")]
    BadStrength {
        /// The file.
        file: String,
        /// What was given.
        strength: f32,
    },
}
