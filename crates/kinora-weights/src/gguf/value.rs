//! What the metadata of a GGUF file can hold.

/// One value of the metadata.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// An integer of any width.
    Integer(i64),
    /// A float of either width.
    Float(f64),
    /// A string.
    Text(String),
    /// An array of booleans.
    Bools(Vec<bool>),
    /// An array of integers: `tokenizer.ggml.token_type`, `comfy.gguf.orig_shape.*`.
    Integers(Vec<i64>),
    /// An array of floats: `tokenizer.ggml.scores`.
    Floats(Vec<f64>),
    /// An array of strings: `tokenizer.ggml.tokens`.
    Texts(Vec<String>),
}

impl Value {
    /// A single value in words; `None` for an array.
    pub fn to_text(&self) -> Option<String> {
        match self {
            Self::Bool(value) => Some(value.to_string()),
            Self::Integer(value) => Some(value.to_string()),
            Self::Float(value) => Some(value.to_string()),
            Self::Text(value) => Some(value.clone()),
            Self::Bools(_) | Self::Integers(_) | Self::Floats(_) | Self::Texts(_) => None,
        }
    }

    /// The strings of an array of strings.
    pub fn texts(&self) -> Option<&[String]> {
        match self {
            Self::Texts(values) => Some(values),
            _ => None,
        }
    }

    /// The numbers of an array of floats.
    pub fn floats(&self) -> Option<&[f64]> {
        match self {
            Self::Floats(values) => Some(values),
            _ => None,
        }
    }

    /// The numbers of an array of integers.
    pub fn integers(&self) -> Option<&[i64]> {
        match self {
            Self::Integers(values) => Some(values),
            _ => None,
        }
    }
}

/// What the number of a value type stands for.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Integer { bytes: usize, signed: bool },
    Float(usize),
    Bool,
    Text,
    Array,
}

impl Kind {
    pub const fn of(number: u32) -> Option<Self> {
        const fn integer(bytes: usize, signed: bool) -> Option<Kind> {
            Some(Kind::Integer { bytes, signed })
        }
        match number {
            0 => integer(1, false),
            1 => integer(1, true),
            2 => integer(2, false),
            3 => integer(2, true),
            4 => integer(4, false),
            5 => integer(4, true),
            6 => Some(Self::Float(4)),
            7 => Some(Self::Bool),
            8 => Some(Self::Text),
            9 => Some(Self::Array),
            10 => integer(8, false),
            11 => integer(8, true),
            12 => Some(Self::Float(8)),
            _ => None,
        }
    }
}
