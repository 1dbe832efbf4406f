//! What must not be in the picture: said outright ("no people") or implied ("an empty street").

use super::scene::Negation;
use super::token::Span;

/// An outright negation.
pub(super) fn of(what: &str, span: Span) -> Negation {
    let what = match what {
        "people" | "human" | "anyone" | "anybody" => "person",
        other => other,
    };
    Negation {
        what: what.to_owned(),
        implied: false,
        span,
    }
}

/// What an adjective of a place rules out.
pub(super) fn implied(adjective: &str, span: Span) -> Option<Negation> {
    let what = match adjective {
        "empty" | "deserted" | "abandoned" | "uninhabited" => "person",
        "cloudless" => "cloud",
        _ => return None,
    };
    Some(Negation {
        what: what.to_owned(),
        implied: true,
        span,
    })
}
