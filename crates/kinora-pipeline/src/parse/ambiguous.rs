//! Words that are verbs in one place and nouns or adjectives in another: position, agreement and meaning decide.

use super::lexicon::verbs::Form;
use super::lexicon::{INDEX, NounClass, noun_class};
use super::morphology;
use super::tag::{CLOSED, Pos, Word, adjective, nominal, noun, text_at, verb};
use super::token::Token;

/// Verbs that may also be nouns or adjectives.
pub(super) fn open_class(
    tokens: &[Token],
    i: usize,
    before: &[Word],
    finite: bool,
    v: (String, Form),
    is_noun: bool,
    is_adj: bool,
) -> Word {
    let token = &tokens[i];
    let prev = before.iter().rev().find(|w| w.pos != Pos::Adv);
    let prev_pos = prev.map_or(Pos::Punct, |w| w.pos);
    let prev_text = prev.map_or("", |w| w.text.as_str());
    let opens = matches!(prev_pos, Pos::Det | Pos::Poss | Pos::Num | Pos::Adj);
    let nominal_next = nominal(tokens, i + 1);
    let form = v.1;
    if matches!(form, Form::Ing | Form::Participle) {
        return participle(tokens, i, prev_pos, prev_text, v, is_noun, is_adj);
    }
    if opens {
        return if is_adj && nominal_next {
            adjective(token)
        } else {
            noun(token)
        };
    }
    match prev_pos {
        Pos::Aux if form == Form::Base && is_adj && !is_verbal_aux(prev_text) => adjective(token),
        Pos::Aux if form == Form::Third || (is_noun && !is_verbal_aux(prev_text)) => noun(token),
        Pos::Aux | Pos::Pron | Pos::Rel => verb(token, v),
        Pos::Prep if prev_text == "to" && form == Form::Base && !nominal_only(&token.text, nominal_next) => {
            verb(token, v)
        }
        Pos::Prep => {
            if is_adj && nominal_next {
                adjective(token)
            } else {
                noun(token)
            }
        }
        Pos::Noun => after_noun(tokens, i, before, finite, v, is_noun, is_adj),
        _ if is_adj && nominal_next && form == Form::Base => adjective(token),
        Pos::Verb if is_noun || nominal_next => noun(token),
        Pos::Conj | Pos::Punct => after_break(tokens, i, before, finite, v, is_noun),
        _ if !is_noun => verb(token, v),
        Pos::Part | Pos::Sub => {
            if prev_text == "then" || form == Form::Third {
                verb(token, v)
            } else {
                noun(token)
            }
        }
        _ => noun(token),
    }
}

fn is_verbal_aux(text: &str) -> bool {
    matches!(
        text,
        "do" | "does"
            | "did"
            | "can"
            | "could"
            | "will"
            | "would"
            | "shall"
            | "should"
            | "may"
            | "might"
            | "must"
            | "'ll"
            | "'d"
    )
}

/// "to sea", "to work": a noun after "to" that is more often a place.
fn nominal_only(text: &str, nominal_next: bool) -> bool {
    INDEX.rarely_verbs.contains(text) && nominal_next
}

/// -ing and -ed forms: verb, or adjective before a noun.
fn participle(
    tokens: &[Token],
    i: usize,
    prev_pos: Pos,
    prev_text: &str,
    v: (String, Form),
    is_noun: bool,
    is_adj: bool,
) -> Word {
    let token = &tokens[i];
    let nominal_next = nominal(tokens, i + 1);
    let listed_noun = is_noun && noun_class(&token.text).is_some();
    let compound = noun_class(&format!(
        "{} {}",
        token.text,
        morphology::singular(text_at(tokens, i + 1)).0
    ))
    .is_some();
    let opens = matches!(prev_pos, Pos::Det | Pos::Poss | Pos::Num | Pos::Adj);
    let moves = INDEX
        .verbs
        .get(v.0.as_str())
        .is_none_or(|k| *k != super::lexicon::MotionKind::Act);
    match prev_pos {
        _ if compound => noun(token),
        _ if opens && nominal_next => adjective(token),
        _ if opens && listed_noun => noun(token),
        Pos::Det | Pos::Poss if v.1 == Form::Ing => noun(token),
        Pos::Noun if listed_noun && v.1 == Form::Ing && !nominal_next => verb(token, v),
        // "in falling snow", "among rolling hills" but "while riding bikes".
        Pos::Prep | Pos::Punct | Pos::Conj
            if nominal_next && (is_adj || (moves && prev_text != "while")) && v.1 == Form::Ing =>
        {
            adjective(token)
        }
        Pos::Prep | Pos::Punct | Pos::Conj if nominal_next && v.1 == Form::Participle => adjective(token),
        Pos::Prep if listed_noun => noun(token),
        Pos::Verb | Pos::Part if nominal_next && is_adj => adjective(token),
        Pos::Verb if nominal_next && v.1 == Form::Participle => adjective(token),
        _ => verb(token, v),
    }
}

/// A possible verb right after a noun: agreement and meaning decide.
fn after_noun(
    tokens: &[Token],
    i: usize,
    before: &[Word],
    finite: bool,
    v: (String, Form),
    is_noun: bool,
    is_adj: bool,
) -> Word {
    let token = &tokens[i];
    let Some(subject) = before.iter().rev().find(|w| w.pos == Pos::Noun) else {
        return noun(token);
    };
    let compound = format!("{} {}", subject.lemma, morphology::singular(&token.text).0);
    if noun_class(&compound).is_some() || noun_class(&format!("{} {}", subject.text, token.text)).is_some() {
        return noun(token);
    }
    if v.1 == Form::Past {
        return verb(token, v);
    }
    let seen = before
        .iter()
        .any(|w| matches!(w.lemma.as_str(), "see" | "watch" | "let" | "make" | "hear"));
    let coordinated = before.iter().rev().take(6).any(|w| w.pos == Pos::Conj);
    let agrees = match v.1 {
        Form::Third => !subject.plural,
        _ => {
            subject.plural
                || coordinated
                || (seen && v.1 == Form::Base)
                || subject.class() == NounClass::Unknown
                || subject.lemma == "people"
                || subject.lemma == "couple"
        }
    };
    if !is_noun {
        return if is_adj && !agrees {
            adjective(token)
        } else {
            verb(token, v)
        };
    }
    let adverb_between = before.last().is_some_and(|w| w.pos == Pos::Adv);
    let moves_itself = matches!(
        subject.class(),
        NounClass::Person
            | NounClass::Animal
            | NounClass::Bird
            | NounClass::SeaAnimal
            | NounClass::Vehicle
            | NounClass::Boat
            | NounClass::Aircraft
    );
    let next = text_at(tokens, i + 1);
    let next_tells = matches!(
        CLOSED.get(next),
        Some(Pos::Part | Pos::Adv | Pos::Det | Pos::Poss | Pos::Pron)
    ) || [
        "across", "down", "up", "along", "towards", "toward", "into", "through", "over", "past", "around", "off",
        "away", "out", "from", "by", "like", "above", "on", "under",
    ]
    .contains(&next)
        || (next.len() > 3 && next.ends_with("ly"));
    let insist = moves_itself || next_tells || adverb_between || !INDEX.rarely_verbs.contains(v.0.as_str());
    let free = !finite
        || (subject.plural && v.1 == Form::Base && !INDEX.rarely_verbs.contains(v.0.as_str()))
        || adverb_between
        || (seen && v.1 == Form::Base);
    if agrees && insist && free {
        verb(token, v)
    } else {
        noun(token)
    }
}

/// A possible verb after a comma, "and" or at the start.
fn after_break(tokens: &[Token], i: usize, before: &[Word], finite: bool, v: (String, Form), is_noun: bool) -> Word {
    let token = &tokens[i];
    let adverb = before.last().is_some_and(|w| w.pos == Pos::Adv);
    if before.iter().all(|w| w.pos == Pos::Punct) || (!finite && before.last().is_some_and(|w| w.pos == Pos::Punct)) {
        // Imperatives take an object; everything else at the start is a noun.
        let object = CLOSED
            .get(text_at(tokens, i + 1))
            .is_some_and(|p| matches!(p, Pos::Det | Pos::Poss | Pos::Pron | Pos::Part));
        return if v.1 == Form::Past || (v.1 == Form::Base && object) || !is_noun {
            verb(token, v)
        } else {
            noun(token)
        };
    }
    let parallel = before
        .iter()
        .rev()
        .find(|w| !matches!(w.pos, Pos::Conj | Pos::Adv | Pos::Punct));
    let after_verb = parallel.is_some_and(|w| matches!(w.pos, Pos::Verb | Pos::Part | Pos::Pron));
    let next = text_at(tokens, i + 1);
    let next_tells = matches!(
        CLOSED.get(next),
        Some(Pos::Part | Pos::Det | Pos::Poss | Pos::Prep | Pos::Adv)
    ) && next != "of"
        || (next.len() > 3 && next.ends_with("ly"));
    let object_next =
        matches!(CLOSED.get(next), Some(Pos::Det | Pos::Poss | Pos::Pron)) && v.1 == Form::Third && finite;
    let strong = object_next
        || !is_noun
        || after_verb
        || adverb
        || (next_tells && finite && !INDEX.rarely_verbs.contains(v.0.as_str()));
    if strong { verb(token, v) } else { noun(token) }
}
