//! From a verb with its direction to one of the motions that a model has been trained on.

use super::lexicon::MotionKind;
use super::scene::{Direction, Motion, Setting};

/// The motion concept of a verb with its direction; the flag says that the model's captions would put it so.
pub(super) fn motion_concept(m: &Motion) -> Option<(&'static str, bool)> {
    let by_direction = match m.direction {
        Some(Direction::Left) => Some("left"),
        Some(Direction::Right) => Some("right"),
        Some(Direction::Up) => Some("rise"),
        Some(Direction::Down) => Some("fall"),
        Some(Direction::Toward | Direction::Forward) => Some("approach"),
        Some(Direction::Away | Direction::Backward) => Some("recede"),
        Some(Direction::Around) => Some("circle"),
        _ => None,
    };
    let side_to_side = m.manner.iter().any(|x| x.contains("side to side"));
    Some(match m.kind {
        MotionKind::Stay => ("stay", matches!(m.verb.as_str(), "stand" | "rest" | "stay")),
        MotionKind::Travel if side_to_side => ("swing", true),
        MotionKind::Travel => match by_direction {
            Some(d) => (d, true),
            None => ("right", false),
        },
        MotionKind::Rise => ("rise", true),
        MotionKind::Fall => ("fall", true),
        MotionKind::Jump => ("jump", true),
        MotionKind::Bounce => ("bounce", true),
        MotionKind::Spin => ("spin", true),
        MotionKind::Swing if m.verb == "wave" || m.verb == "dance" || m.verb == "nod" => ("swing", false),
        MotionKind::Swing => ("swing", true),
        MotionKind::Circle => ("circle", true),
        MotionKind::Approach => ("approach", true),
        MotionKind::Recede => ("recede", true),
        MotionKind::Float => match by_direction {
            Some(d @ ("left" | "right" | "rise" | "fall" | "recede")) => (d, true),
            _ => ("float", true),
        },
        MotionKind::Zigzag => ("zigzag", true),
        MotionKind::Shake => ("shake", true),
        MotionKind::Chase | MotionKind::Act | MotionKind::Unknown => return None,
    })
}

/// "Down the street" and "up the road" lead along a way, not to the ground or into the sky.
pub(super) fn follows_a_way(motion: &Motion, setting: Option<&Setting>) -> bool {
    const WAYS: [&str; 16] = [
        "street",
        "road",
        "lane",
        "highway",
        "motorway",
        "avenue",
        "boulevard",
        "alley",
        "track",
        "path",
        "trail",
        "river",
        "corridor",
        "hallway",
        "runway",
        "aisle",
    ];
    let vertical = matches!(motion.direction, Some(Direction::Up | Direction::Down));
    vertical
        && setting.is_some_and(|setting| {
            let head = setting.noun.rsplit(' ').next().unwrap_or(&setting.noun);
            matches!(setting.preposition.as_str(), "down" | "up") && WAYS.contains(&head)
        })
}

/// "move/walk/run from left to right" with the user's verb where the captions know it.
pub(super) fn travel_phrase(phrase: &str, verb: &str) -> String {
    let (verbs, rest) = phrase.split_once(' ').unwrap_or((phrase, ""));
    let known = verbs
        .split('/')
        .find(|v| *v == verb)
        .or_else(|| travel_like(verb).and_then(|l| verbs.split('/').find(|v| *v == l)));
    format!("{} {rest}", known.or(verbs.split('/').next()).unwrap_or(verb))
        .trim()
        .to_owned()
}

/// The plain verb of a travelling one: "gallop" is run.
fn travel_like(verb: &str) -> Option<&'static str> {
    const PLAIN: &[(&str, &str)] = &[
        (
            "run",
            "gallop trot sprint jog dash race scurry scamper hurry rush charge bolt flee",
        ),
        (
            "walk",
            "stroll wander roam march hike stagger limp prowl pace tiptoe waddle trudge wade saunter amble strut stride sneak creep crawl",
        ),
        ("drive", "speed cruise ride cycle pedal taxi steer trundle chug"),
        ("fly", "glide soar zoom hurtle streak"),
        ("swim", "paddle"),
        ("sail", "row navigate"),
    ];
    PLAIN
        .iter()
        .find(|(_, list)| list.split(' ').any(|v| v == verb))
        .map(|p| p.0)
}
