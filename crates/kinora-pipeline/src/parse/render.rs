//! A Scene for people: aligned lines, with what the model knows and what it took instead.

use super::ground::Role;
use super::scene::{Attribute, Camera, Count, Motion, Note, Phrase, Scene, Setting, Shot, Subject};
use std::fmt;

/// Width of the column of names.
const LABEL: usize = 11;

fn line(f: &mut fmt::Formatter<'_>, label: &str, text: &str) -> fmt::Result {
    if text.is_empty() {
        Ok(())
    } else {
        writeln!(f, "{label:<LABEL$}{text}")
    }
}

/// The lower-case name of a unit variant, with spaces: `SlowMotion` is "slow motion".
pub(super) fn name_of(value: &impl fmt::Debug) -> String {
    let mut out = String::new();
    for c in format!("{value:?}").chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push(' ');
        }
        out.extend(c.to_lowercase());
    }
    out
}

fn joined(list: &[Phrase]) -> String {
    list.iter().map(|p| p.text.as_str()).collect::<Vec<_>>().join(", ")
}

fn adjectives(list: &[Attribute]) -> String {
    list.iter().map(|a| a.text.as_str()).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One => f.write_str("1"),
            Self::Exact(n) => write!(f, "{n}"),
            Self::Few => f.write_str("a few"),
            Self::Many => f.write_str("many"),
            Self::Plural => f.write_str("some"),
        }
    }
}

impl fmt::Display for Motion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.verb)?;
        if let Some(o) = &self.object {
            write!(f, " {o}")?;
        }
        if let Some(d) = &self.direction {
            write!(f, " {}", name_of(d))?;
        }
        for m in &self.manner {
            write!(f, " {m}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count != Count::One {
            write!(f, "{} × ", self.count)?;
        }
        f.write_str(&self.noun)?;
        if !self.attributes.is_empty() {
            write!(f, " ({})", adjectives(&self.attributes))?;
        }
        for (i, m) in self.motion.iter().chain(&self.also).enumerate() {
            write!(f, "{}{m}", if i == 0 { ": " } else { "; " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.noun)?;
        if !self.attributes.is_empty() {
            write!(f, " ({})", adjectives(&self.attributes))?;
        }
        if !self.preposition.is_empty() {
            write!(f, ", {} it", self.preposition)?;
        }
        for d in &self.details {
            write!(f, "; {d}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Camera {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = self.moves.iter().map(name_of).collect();
        parts.extend(self.framing.iter().map(name_of));
        parts.extend(self.angle.iter().map(|a| format!("{} angle", name_of(a))));
        parts.extend(self.pace.iter().map(name_of));
        parts.extend(self.manner.iter().cloned());
        f.write_str(&parts.join(", "))
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, shot) in self.shots.iter().enumerate() {
            if self.shots.len() > 1 {
                writeln!(f, "{}shot {}", if n > 0 { "\n" } else { "" }, n + 1)?;
            }
            self.shot(f, n, shot)?;
        }
        line(f, "text", &joined(&self.quoted))?;
        for h in &self.hints {
            line(f, "file", &format!("{} {}", name_of(&h.kind), h.value))?;
        }
        for n in &self.notes {
            line(f, "note", &n.text)?;
        }
        for n in self.grounding.iter().flat_map(|g| g.notes("the model")) {
            line(f, "model", &n)?;
        }
        Ok(())
    }
}

impl Scene {
    fn shot(&self, f: &mut fmt::Formatter<'_>, n: usize, shot: &Shot) -> fmt::Result {
        let known = |role: Role| {
            let m = self.grounding.as_ref().and_then(|g| g.of(n, role));
            m.map(|m| format!("  → {}", m.phrase)).unwrap_or_default()
        };
        for (i, s) in shot.subjects.iter().enumerate() {
            line(f, "subject", &format!("{s}{}", known(Role::Subject(i))))?;
        }
        for r in &shot.relations {
            let noun = |i: usize| shot.subjects.get(i).map_or("?", |s| s.noun.as_str());
            line(
                f,
                "relation",
                &format!("{} — {} — {}", noun(r.from), r.words, noun(r.to)),
            )?;
        }
        if let Some(s) = &shot.setting {
            line(f, "setting", &format!("{s}{}", known(Role::Setting)))?;
        }
        if let Some(t) = &shot.time_of_day {
            line(
                f,
                "time",
                &format!("{} ({}){}", name_of(&t.kind), t.text, known(Role::TimeOfDay)),
            )?;
        }
        for (i, w) in shot.weather.iter().enumerate() {
            line(
                f,
                "weather",
                &format!("{} ({}){}", name_of(&w.kind), w.text, known(Role::Weather(i))),
            )?;
        }
        if let Some(s) = &shot.season {
            line(f, "season", &s.name)?;
        }
        if let Some(c) = &shot.camera {
            line(f, "camera", &format!("{c}{}", known(Role::Camera(0))))?;
        }
        line(f, "light", &joined(&shot.lighting))?;
        line(f, "mood", &joined(&shot.mood))?;
        line(f, "style", &joined(&shot.style))?;
        let without: Vec<&str> = shot.negations.iter().map(|n| n.what.as_str()).collect();
        line(f, "without", &without.join(", "))?;
        line(f, "left over", &joined(&shot.rest))
    }
}
