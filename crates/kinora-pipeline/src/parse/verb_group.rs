//! Verb groups: a verb with its auxiliaries, negation and adverbs, and verbs that hand the action on.

use super::chunk::Vg;
use super::lexicon::verbs::Form;
use super::tag::{Pos, Word};

/// Verbs that hand the action on: "starts to run", "goes swimming".
const CATENATIVE: &str = "start begin try continue keep stop want like love need attempt learn prepare go come finish enjoy help get use pretend manage";

/// A verb group at `from`, with the index after it.
pub(super) fn verb_group(words: &[Word], from: usize) -> Option<(Vg, usize)> {
    let mut i = from;
    let (mut aux, mut negated) = (None, false);
    let mut manner = Vec::new();
    while let Some(w) = words.get(i).filter(|w| !w.used) {
        match w.pos {
            Pos::Aux => aux = Some(w.text.as_str()),
            Pos::Neg if aux.is_some() && matches!(w.text.as_str(), "not" | "n't" | "never") => negated = true,
            Pos::Adv if aux.is_some() || i > from || verb_after_adverb(words, i) => manner.push(w.text.clone()),
            Pos::Prep if w.text == "about" && aux.is_some() => {}
            Pos::Prep if w.text == "to" && aux.is_some() => {}
            _ => break,
        }
        i += 1;
    }
    let main = words.get(i).filter(|w| w.pos == Pos::Verb && !w.used);
    let Some(main) = main else {
        let aux = aux?;
        let lemma = if matches!(aux, "has" | "have" | "had") {
            "have"
        } else {
            "be"
        };
        let end = words
            .iter()
            .enumerate()
            .take(i)
            .skip(from)
            .rev()
            .find(|(_, w)| matches!(w.pos, Pos::Aux | Pos::Neg))
            .map_or(from, |w| w.0)
            + 1;
        manner.clear();
        return Some((
            Vg {
                lemma: lemma.into(),
                form: Form::Base,
                finite: true,
                passive: false,
                negated,
                manner,
                span: words[from].span.to(words[end - 1].span),
            },
            end,
        ));
    };
    let mut lemma = main.lemma.clone();
    let mut form = main.form.unwrap_or(Form::Base);
    let be = aux.is_some_and(|a| {
        matches!(
            a,
            "is" | "are" | "was" | "were" | "be" | "been" | "being" | "'s" | "'re" | "get" | "gets" | "got" | "getting"
        )
    });
    let finite = aux.is_some_and(|a| a != "being" && a != "be")
        || matches!(form, Form::Third | Form::Base | Form::Past | Form::Participle);
    let passive = form == Form::Participle && be;
    i += 1;
    while CATENATIVE.split(' ').any(|c| c == lemma) {
        let to = usize::from(words.get(i).is_some_and(|w| w.text == "to" && !w.used));
        let Some(next) = words
            .get(i + to)
            .filter(|w| w.pos == Pos::Verb && !w.used && w.form != Some(Form::Third))
        else {
            break;
        };
        if to == 0 && next.form != Some(Form::Ing) {
            break;
        }
        lemma = next.lemma.clone();
        if form == Form::Participle {
            form = Form::Past;
        }
        i += to + 1;
    }
    let span = words[from].span.to(words[i - 1].span);
    Some((
        Vg {
            lemma,
            form,
            finite,
            passive,
            negated,
            manner,
            span,
        },
        i,
    ))
}

/// An adverb that opens a verb group ("slowly walks").
fn verb_after_adverb(words: &[Word], i: usize) -> bool {
    words[i..]
        .iter()
        .find(|w| w.pos != Pos::Adv)
        .is_some_and(|w| matches!(w.pos, Pos::Verb) && !w.used)
}
