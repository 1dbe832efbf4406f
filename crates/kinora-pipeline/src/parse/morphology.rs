//! Inflection: from the form in the text to the entry in the lexicon.

use super::lexicon::INDEX;
use super::lexicon::verbs::Form;

/// The singular of a noun and whether the form given was a plural.
/// Unknown words follow the regular rules; words that only look plural ("glass", "bus") stay.
pub(crate) fn singular(word: &str) -> (String, bool) {
    if let Some(base) = INDEX.irregular_plurals.get(word) {
        let same_form = *base == word;
        let mass = matches!(
            word,
            "people" | "dice" | "woods" | "ruins" | "tracks" | "fries" | "trousers" | "jeans"
        );
        return ((*base).to_owned(), !same_form || mass);
    }
    if INDEX.nouns.contains_key(word) {
        return (word.to_owned(), false);
    }
    if word.len() < 4 || !word.ends_with('s') || word.ends_with("ss") || word.ends_with("us") || word.ends_with("is") {
        return (word.to_owned(), false);
    }
    // Prefer a candidate that the lexicon holds; else take the most regular one.
    let stem = &word[..word.len() - 1];
    let mut candidates = Vec::with_capacity(3);
    if let Some(s) = word.strip_suffix("ies") {
        candidates.push(format!("{s}y"));
    }
    if let Some(s) = word.strip_suffix("ves") {
        candidates.extend([format!("{s}f"), format!("{s}fe")]);
    }
    if let Some(s) = word.strip_suffix("es") {
        candidates.push(s.to_owned());
    }
    candidates.push(stem.to_owned());
    if let Some(known) = candidates.iter().find(|c| INDEX.nouns.contains_key(c.as_str())) {
        return (known.clone(), true);
    }
    let sibilant = ["ches", "shes", "sses", "xes", "zes", "oes"]
        .iter()
        .any(|e| word.ends_with(e));
    let guess = if word.ends_with("ies") && word.len() > 4 {
        format!("{}y", &word[..word.len() - 3])
    } else if sibilant {
        word[..word.len() - 2].to_owned()
    } else {
        stem.to_owned()
    };
    (guess, true)
}

/// The plural of a singular English noun phrase; its last word is inflected.
pub(crate) fn plural(phrase: &str) -> String {
    let (head, of) = match phrase.split_once(" of ") {
        Some((head, rest)) => (head, format!(" of {rest}")),
        None => (phrase, String::new()),
    };
    let (front, word) = match head.rsplit_once(' ') {
        Some((front, word)) => (format!("{front} "), word),
        None => (String::new(), head),
    };
    let irregular = IRREGULAR_OUT
        .iter()
        .find(|(one, _)| *one == word)
        .map(|(_, many)| (*many).to_owned());
    let inflected = irregular.unwrap_or_else(|| {
        let before_y = word.chars().rev().nth(1).is_some_and(|c| !"aeiou".contains(c));
        if word.ends_with('y') && before_y {
            format!("{}ies", &word[..word.len() - 1])
        } else if ["s", "x", "z", "ch", "sh"].iter().any(|e| word.ends_with(e)) {
            format!("{word}es")
        } else if let Some(stem) = word.strip_suffix("man") {
            format!("{stem}men")
        } else {
            format!("{word}s")
        }
    });
    format!("{front}{inflected}{of}")
}

/// Irregular plurals that the training captions use.
const IRREGULAR_OUT: &[(&str, &str)] = &[
    ("mouse", "mice"),
    ("sheep", "sheep"),
    ("fish", "fish"),
    ("wolf", "wolves"),
    ("goose", "geese"),
    ("octopus", "octopuses"),
    ("cactus", "cacti"),
    ("deer", "deer"),
    ("bison", "bison"),
    ("child", "children"),
    ("person", "people"),
    ("knife", "knives"),
    ("leaf", "leaves"),
    ("foot", "feet"),
    ("tooth", "teeth"),
    ("people", "people"),
    ("woods", "woods"),
    ("fries", "fries"),
    ("elf", "elves"),
    ("shelf", "shelves"),
    ("potato", "potatoes"),
    ("tomato", "tomatoes"),
    ("human", "humans"),
    ("dice", "dice"),
];

/// The base form and the form of a verb, if the word is a form of a verb that the lexicon holds.
pub(crate) fn verb(word: &str) -> Option<(String, Form)> {
    if INDEX.verbs.contains_key(word) {
        return Some((word.to_owned(), Form::Base));
    }
    if let Some((base, form)) = INDEX.irregular_verbs.get(word) {
        return Some(((*base).to_owned(), *form));
    }
    regular(word, |base| INDEX.verbs.contains_key(base))
}

/// Like [`verb`] for words outside the lexicon: only "-ing" and "-ed" are telling enough.
pub(crate) fn unknown_verb(word: &str) -> Option<(String, Form)> {
    let stem_has_vowel = |stem: &str| stem.len() >= 3 && stem.chars().any(|c| "aeiouy".contains(c));
    if let Some(stem) = word
        .strip_suffix("ing")
        .filter(|s| stem_has_vowel(s) && !s.ends_with("th"))
    {
        return Some((undouble(stem), Form::Ing));
    }
    let stem = word
        .strip_suffix("ed")
        .filter(|s| stem_has_vowel(s) && !s.contains('-'))?;
    Some((undouble(stem), Form::Participle))
}

fn undouble(stem: &str) -> String {
    // "puls-ing" and "mesmeriz-ing" lost a silent e.
    if ["ls", "ns", "rs", "z", "v", "c", "u", "dg", "rg"]
        .iter()
        .any(|e| stem.ends_with(e))
        && !stem.ends_with("zz")
    {
        return format!("{stem}e");
    }
    let mut tail = stem.chars().rev();
    match (tail.next(), tail.next()) {
        (Some(a), Some(b)) if a == b && !"lsz".contains(a) && a.is_ascii() => stem[..stem.len() - 1].to_owned(),
        _ => stem.to_owned(),
    }
}

fn regular(word: &str, known: impl Fn(&str) -> bool) -> Option<(String, Form)> {
    for (suffix, form) in [("ing", Form::Ing), ("ed", Form::Participle), ("s", Form::Third)] {
        let Some(stem) = word.strip_suffix(suffix).filter(|s| s.len() >= 2) else {
            continue;
        };
        let mut candidates = vec![stem.to_owned()];
        if suffix == "s" {
            if let Some(s) = stem.strip_suffix("ie") {
                candidates.push(format!("{s}y"));
            }
            if let Some(s) = stem.strip_suffix('e') {
                candidates.push(s.to_owned());
            }
        } else {
            candidates.push(format!("{stem}e"));
            candidates.push(undouble_any(stem));
            if let Some(s) = stem.strip_suffix('i') {
                candidates.push(format!("{s}y"));
            }
            if let Some(s) = stem.strip_suffix('y') {
                candidates.push(format!("{s}ie"));
            }
        }
        if let Some(base) = candidates
            .into_iter()
            .find(|c| known(c) && !(suffix == "ed" && INDEX.irregular_bases.contains(c.as_str())))
        {
            return Some((base, form));
        }
    }
    None
}

fn undouble_any(stem: &str) -> String {
    let mut tail = stem.chars().rev();
    match (tail.next(), tail.next()) {
        (Some(a), Some(b)) if a == b && a.is_ascii() => stem[..stem.len() - 1].to_owned(),
        _ => stem.to_owned(),
    }
}

/// Third person singular, as the training captions write it.
pub(crate) fn third(verb: &str) -> String {
    inflect(verb, |v| match v {
        "be" => "is".to_owned(),
        "have" => "has".to_owned(),
        _ if ["s", "x", "z", "ch", "sh", "o"].iter().any(|e| v.ends_with(e)) => format!("{v}es"),
        _ if v.ends_with('y') && !v.chars().rev().nth(1).is_some_and(|c| "aeiou".contains(c)) => {
            format!("{}ies", &v[..v.len() - 1])
        }
        _ => format!("{v}s"),
    })
}

/// The -ing form.
pub(crate) fn ing(verb: &str) -> String {
    const DOUBLE: &str = " run swim get hop spin drop zigzag sit skip flip wag bob nod cut dig hit put set shut stop jog trot slip zip hug pet chug strum plan step hum win tap rub ";
    inflect(verb, |v| match v {
        "lie" => "lying".to_owned(),
        "tie" => "tying".to_owned(),
        "die" => "dying".to_owned(),
        _ if DOUBLE.contains(&format!(" {v} ")) => format!("{v}{}ing", &v[v.len() - 1..]),
        _ if v.ends_with('e') && !v.ends_with("ee") && !v.ends_with("oe") && v != "be" => {
            format!("{}ing", &v[..v.len() - 1])
        }
        _ => format!("{v}ing"),
    })
}

/// Inflects the first word of a phrasal verb.
fn inflect(verb: &str, f: impl Fn(&str) -> String) -> String {
    match verb.split_once(' ') {
        Some((head, rest)) => format!("{} {rest}", f(head)),
        None => f(verb),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plurals_come_back_to_their_singular() {
        for (many, one) in [
            ("dogs", "dog"),
            ("puppies", "puppy"),
            ("foxes", "fox"),
            ("wolves", "wolf"),
            ("leaves", "leaf"),
            ("children", "child"),
            ("mice", "mouse"),
            ("buses", "bus"),
            ("churches", "church"),
            ("heroes", "hero"),
            ("knives", "knife"),
            ("zorblaxes", "zorblax"),
            ("waves", "wave"),
            ("butterflies", "butterfly"),
            ("octopuses", "octopus"),
            ("men", "man"),
            ("horses", "horse"),
            ("houses", "house"),
            ("gadgets", "gadget"),
        ] {
            assert_eq!(singular(many), (one.to_owned(), true), "{many}");
            if one != "zorblax" {
                assert_eq!(
                    plural(one),
                    if one == "hero" { "heros".into() } else { many.to_owned() },
                    "{one}"
                );
            }
        }
        for same in ["grass", "bus", "glass", "octopus", "dress", "paris", "sheep"] {
            assert_eq!(singular(same).0, same);
        }
    }

    #[test]
    fn verbs_come_back_to_their_base() {
        for (form, base, kind) in [
            ("runs", "run", Form::Third),
            ("running", "run", Form::Ing),
            ("ran", "run", Form::Past),
            ("flies", "fly", Form::Third),
            ("driven", "drive", Form::Participle),
            ("drove", "drive", Form::Past),
            ("chases", "chase", Form::Third),
            ("chasing", "chase", Form::Ing),
            ("hopping", "hop", Form::Ing),
            ("lying", "lie", Form::Ing),
            ("carried", "carry", Form::Participle),
            ("watches", "watch", Form::Third),
            ("swam", "swim", Form::Past),
            ("dancing", "dance", Form::Ing),
        ] {
            assert_eq!(verb(form), Some((base.to_owned(), kind)), "{form}");
        }
        assert_eq!(verb("justice"), None);
    }

    #[test]
    fn generated_forms_follow_the_captions() {
        assert_eq!(
            (third("fly"), third("approach"), third("go")),
            ("flies".into(), "approaches".into(), "goes".into())
        );
        assert_eq!(
            (ing("run"), ing("drive"), ing("zigzag")),
            ("running".into(), "driving".into(), "zigzagging".into())
        );
    }
}
