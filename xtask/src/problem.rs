//! A complaint with its place.

/// One thing that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Path from the root of the repository, with `/`; or the name of a package.
    pub place: String,
    /// Line from 1; 0 if the whole file is meant.
    pub line: usize,
    /// What is wrong, and where it helps, what to do.
    pub text: String,
}

impl Problem {
    /// About a whole file or package.
    pub(crate) fn new(place: impl Into<String>, text: impl Into<String>) -> Self {
        Self::at(place, 0, text)
    }

    /// About a line, counted from 1.
    pub(crate) fn at(place: impl Into<String>, line: usize, text: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            line,
            text: text.into(),
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.place, self.text),
            line => write!(f, "{}:{line}: {}", self.place, self.text),
        }
    }
}
