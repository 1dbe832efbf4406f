//! When and how it looks: time of day, season, weather, light, mood and style, from noun phrases and adjectives.

use super::chunk::{Item, Np};
use super::clause::{Clause, Last};
use super::lexicon::{AttributeKind, NounClass, phrases};
use super::scene::{Attribute, Phrase, Season, Setting, TimeKind, TimeOfDay, Weather, WeatherKind};
use super::tag::Word;
use super::token::Span;

impl Clause<'_> {
    /// Takes a noun phrase that tells a circumstance; false where it is something else.
    pub(super) fn circumstance(&mut self, prep: &str, np: &Np) -> bool {
        let span = np.span;
        match np.class {
            NounClass::Time if matches!(prep, "of" | "to") => return false,
            NounClass::Time => {
                self.facts_of(&np.attributes, span);
                self.time(&np.noun, &np.text(), span);
                if np.noun == "moonlight" {
                    self.shot.lighting.push(Phrase { text: np.text(), span });
                }
            }
            NounClass::Season => {
                self.facts_of(&np.attributes, span);
                self.season(&np.noun, span);
            }
            NounClass::Weather => {
                self.weather(&np.noun, &np.text(), span);
                self.facts_of(&np.attributes, span);
            }
            NounClass::Light if matches!(prep, "" | "in" | "by" | "with" | "under" | "through" | "at") => {
                let described = prep.is_empty() && np.noun == "spotlight"
                    || !np.attributes.is_empty()
                    || np.noun.contains(' ')
                    || !prep.is_empty()
                    || matches!(
                        np.noun.as_str(),
                        "sunlight" | "candlelight" | "firelight" | "moonlight" | "backlight"
                    );
                if !described {
                    return false;
                }
                self.facts_of(&np.attributes, span);
                self.shot.lighting.push(Phrase { text: np.text(), span });
            }
            NounClass::MoodHead if !(prep.is_empty() && np.attributes.is_empty() && !np.noun.contains(' ')) => {
                let words = np.text();
                let text = words.rsplit_once(' ').map_or(words.clone(), |w| w.0.to_owned());
                self.shot.mood.push(Phrase { text, span });
            }
            NounClass::StyleHead => {
                let words = np.text();
                let alone = words
                    .rsplit_once(' ')
                    .filter(|w| matches!(w.1, "style" | "aesthetic" | "look"));
                let text = alone.map_or(words.clone(), |w| w.0.to_owned());
                self.shot.style.push(Phrase { text, span });
            }
            NounClass::Abstract
                if matches!(prep, "in" | "with")
                    && matches!(
                        np.noun.as_str(),
                        "silence" | "peace" | "joy" | "wonder" | "fear" | "love" | "sadness" | "anger" | "chaos"
                    ) =>
            {
                self.shot.mood.push(Phrase {
                    text: np.noun.clone(),
                    span,
                });
            }
            // "under a starry sky", "the night sky": the sky is scenery, what it looks like is a fact.
            NounClass::Place if matches!(np.noun.as_str(), "sky" | "night sky") => return self.sky(prep, np),
            NounClass::Sky if np.noun == "star" && np.plural() && prep == "under" => {
                self.time("starlit", "under the stars", span);
            }
            NounClass::Sky
                if np.noun == "cloud" && np.plural() && matches!(prep, "with" | "under") && self.subj.is_empty() =>
            {
                self.shot.weather.push(Weather {
                    kind: WeatherKind::Cloudy,
                    text: np.text(),
                    span,
                });
            }
            NounClass::Sky
                if np.noun == "sun" && np.count == super::scene::Count::One && matches!(prep, "in" | "under") =>
            {
                self.facts_of(&np.attributes, span);
                self.weather("sunny", &format!("{prep} the {}", np.text()), span);
            }
            _ => return false,
        }
        self.last = if matches!(self.last, Last::Verb) {
            Last::Nothing
        } else {
            self.last
        };
        true
    }

    fn sky(&mut self, prep: &str, np: &Np) -> bool {
        self.facts_of(&np.attributes, np.span);
        let weatherlike = np.attributes.iter().any(|a| {
            matches!(a.kind, AttributeKind::Weather | AttributeKind::Time)
                || a.text == "clear"
                || a.text == "grey"
                || a.text == "gray"
        });
        if prep == "under" && weatherlike && self.shot.setting.is_some() {
            return true;
        }
        if np.noun == "night sky" {
            self.time("night", "night", np.span);
        }
        if prep == "under" && weatherlike {
            return true;
        }
        false
    }

    pub(super) fn time(&mut self, word: &str, text: &str, span: Span) {
        if self.shot.time_of_day.is_some() {
            return;
        }
        let early = text.contains("early morning").then_some(TimeKind::Sunrise);
        if let Some(kind) = early.or_else(|| phrases::time_kind(word)) {
            self.shot.time_of_day = Some(TimeOfDay {
                kind,
                text: text.to_owned(),
                span,
            });
        }
    }

    pub(super) fn season(&mut self, word: &str, span: Span) {
        if let (Some(name), None) = (phrases::season(word), &self.shot.season) {
            self.shot.season = Some(Season {
                name: name.to_owned(),
                span,
            });
        }
    }

    pub(super) fn weather(&mut self, word: &str, text: &str, span: Span) {
        let kind = phrases::weather_kind(word).or_else(|| word.split(' ').find_map(phrases::weather_kind));
        if let Some(kind) = kind.filter(|k| self.shot.weather.iter().all(|w| w.kind != *k)) {
            self.shot.weather.push(Weather {
                kind,
                text: text.to_owned(),
                span,
            });
        }
    }

    /// Facts in the adjectives of a circumstance: "a rainy winter night".
    fn facts_of(&mut self, attributes: &[Attribute], span: Span) {
        for a in attributes {
            self.adjective_fact(&a.text, span);
            if a.kind == AttributeKind::Mood {
                self.shot.mood.push(Phrase {
                    text: a.text.clone(),
                    span,
                });
            }
        }
    }

    /// What one adjective tells about weather, time or season.
    pub(super) fn adjective_fact(&mut self, text: &str, span: Span) {
        self.weather(text, text, span);
        self.season(text, span);
        if phrases::time_kind(text).is_some() {
            self.time(text, text, span);
        }
    }

    /// Adjectives that stand alone: mood, weather, time; the rest is kept as it is.
    pub(super) fn loose(&mut self, list: &[Attribute], span: Span) {
        for a in list {
            if self.place_adverb(&a.text, span) {
                continue;
            }
            let phrase = Phrase {
                text: a.text.clone(),
                span,
            };
            match a.kind {
                AttributeKind::Mood => self.shot.mood.push(phrase),
                AttributeKind::Weather | AttributeKind::Time | AttributeKind::Season => {
                    self.adjective_fact(&a.text, span)
                }
                _ if phrases::weather_kind(&a.text).is_some() => self.adjective_fact(&a.text, span),
                _ => self.shot.rest.push(phrase),
            }
        }
    }

    /// "as the sun sets over the sea".
    pub(super) fn sun_moves(&mut self, np: &Np, rest: &[Item]) -> bool {
        let verb = rest.iter().find_map(|i| match i {
            Item::Adv(..) => None,
            Item::Verb(v) => Some(v.lemma.as_str()),
            _ => Some(""),
        });
        let word = match (np.noun.as_str(), verb) {
            ("sun", Some("set" | "sink" | "go" | "dip" | "fade")) => "sunset",
            ("sun", Some("rise" | "come" | "climb")) => "sunrise",
            ("sun", Some("shine" | "blaze" | "beat")) => {
                self.weather("sunny", "the sun shines", np.span);
                return true;
            }
            ("night", Some("fall")) => "night",
            _ => return false,
        };
        let text = format!("{} {}", np.text(), verb.unwrap_or_default());
        self.time(word, &text, np.span);
        true
    }

    /// Adverbs that name a place.
    pub(super) fn place_adverb(&mut self, text: &str, span: Span) -> bool {
        if !matches!(
            text,
            "underwater" | "indoors" | "outdoors" | "downtown" | "outside" | "inside" | "offshore" | "onstage"
        ) {
            return false;
        }
        if self.shot.setting.is_none() {
            self.shot.setting = Some(Setting {
                noun: text.to_owned(),
                attributes: Vec::new(),
                preposition: String::new(),
                details: Vec::new(),
                plural: false,
                span,
            });
        }
        true
    }
}

/// "it is raining", "snow falls": marks weather clauses as used and returns the weather.
pub(super) fn weather_clauses(words: &mut [Word], shot: &mut super::scene::Shot) {
    for i in 0..words.len() {
        let text = words[i].text.as_str();
        let kind = match text {
            "raining" | "rains" | "drizzling" | "pouring" => WeatherKind::Rain,
            "snowing" | "snows" => WeatherKind::Snow,
            "storming" | "thundering" => WeatherKind::Storm,
            _ => continue,
        };
        let mut from = i;
        while from > 0
            && matches!(
                words[from - 1].text.as_str(),
                "it" | "is" | "'s" | "was" | "heavily" | "while" | "as" | "when" | "lightly"
            )
        {
            from -= 1;
        }
        let it = words[from..i].iter().any(|w| w.text == "it");
        if words[i].used || !it {
            continue;
        }
        let end = if words
            .get(i + 1)
            .is_some_and(|w| matches!(w.text.as_str(), "heavily" | "lightly" | "hard" | "softly"))
        {
            i + 2
        } else {
            i + 1
        };
        let span = words[from].span.to(words[end - 1].span);
        shot.weather.push(Weather {
            kind,
            text: text.to_owned(),
            span,
        });
        words[from..end].iter_mut().for_each(|w| w.used = true);
    }
}
