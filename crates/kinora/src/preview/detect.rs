//! Finds out what a terminal can show: first from the environment, then by asking it.

use super::Protocol;
use super::blocks::Colours;

/// The best way; `ask` gives the terminal's answer to a device attributes request, if it answers.
pub fn protocol(variable: impl Fn(&str) -> Option<String>, ask: impl FnOnce() -> Option<String>) -> Protocol {
    let value = |name: &str| variable(name).unwrap_or_default().to_ascii_lowercase();
    let set = |name: &str| !value(name).is_empty();
    let (term, program) = (value("TERM"), value("TERM_PROGRAM"));
    // A multiplexer passes the outer terminal's variables on but not its pictures; its own answer counts.
    let multiplexed = set("TMUX") || set("STY") || term.starts_with("tmux") || term.starts_with("screen");
    let kitty = set("KITTY_WINDOW_ID")
        || set("WEZTERM_PANE")
        || set("GHOSTTY_RESOURCES_DIR")
        || ["xterm-kitty", "xterm-ghostty"].contains(&term.as_str())
        || ["wezterm", "ghostty"].contains(&program.as_str());
    if set("NO_COLOR") {
        return Protocol::Blocks(Colours::None);
    }
    if kitty && !multiplexed {
        return Protocol::Kitty;
    }
    if ask().is_some_and(|answer| has_sixel(&answer)) {
        return Protocol::Sixel;
    }
    let true_colour = ["truecolor", "24bit"].contains(&value("COLORTERM").as_str()) || term.ends_with("-direct");
    Protocol::Blocks(match true_colour {
        true => Colours::True,
        false if term.contains("256color") || set("COLORTERM") || multiplexed => Colours::Indexed,
        false => Colours::None,
    })
}

/// Whether `ESC [ ? 62 ; 4 ; 22 c` lists extension 4.
fn has_sixel(answer: &str) -> bool {
    let list = answer.split_once("\x1b[?").and_then(|(_, after)| after.split_once('c'));
    list.is_some_and(|(list, _)| list.split(';').skip(1).any(|extension| extension == "4"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_way_is_found() {
        let sixel = Some("\x1b[?62;4;22c");
        let cases: [(&[(&str, &str)], Option<&str>, Protocol); 11] = [
            (&[("TERM", "xterm-kitty")], None, Protocol::Kitty),
            (&[("TERM_PROGRAM", "WezTerm")], sixel, Protocol::Kitty),
            (
                &[("KITTY_WINDOW_ID", "1"), ("TMUX", "/tmp/x"), ("TERM", "tmux-256color")],
                None,
                Protocol::Blocks(Colours::Indexed),
            ),
            (&[("TMUX", "/tmp/x")], sixel, Protocol::Sixel),
            (&[("TERM", "foot")], sixel, Protocol::Sixel),
            (
                &[("TERM", "xterm-256color"), ("COLORTERM", "truecolor")],
                Some("\x1b[?64;1;2c"),
                Protocol::Blocks(Colours::True),
            ),
            (
                &[("TERM", "xterm-256color")],
                Some("\x1b[?4;6c"),
                Protocol::Blocks(Colours::Indexed),
            ),
            (
                &[("TERM", "xterm-256color")],
                Some("garbage 4"),
                Protocol::Blocks(Colours::Indexed),
            ),
            (&[("TERM", "vt100")], None, Protocol::Blocks(Colours::None)),
            (
                &[("TERM", "xterm-kitty"), ("NO_COLOR", "1")],
                sixel,
                Protocol::Blocks(Colours::None),
            ),
            (&[], None, Protocol::Blocks(Colours::None)),
        ];
        for (variables, answer, expected) in cases {
            let variable = |name: &str| {
                variables
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(
                protocol(variable, || answer.map(str::to_owned)),
                expected,
                "{variables:?} {answer:?}"
            );
        }
    }

    #[test]
    fn a_terminal_that_is_known_is_not_asked() {
        let variable = |name: &str| (name == "TERM").then(|| "xterm-kitty".to_owned());
        assert_eq!(protocol(variable, || panic!("asked")), Protocol::Kitty);
    }
}
