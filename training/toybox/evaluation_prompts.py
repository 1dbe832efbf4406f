"""Writes bench/prompts-240.json, the fixed evaluation set: 80 prompts each of combinations of actor, background and
motion that training showed, of combinations that it held out, and of the wordings that people use
(evaluation_people.txt).

    python training/toybox/evaluation_prompts.py bench/prompts-240.json

The same words come out each time. A label that is null is not said in its prompt, and so not scored.
"""

import argparse
import json
import random
from pathlib import Path

import scenes

HERE = Path(__file__).resolve().parent
SEED = 20261123
EACH, GROUPS, PAIRS, STARS = 80, 12, 8, 54
TIMED, WEATHERED = 28, 20
CAMERAS = {
    "static": ["static camera", "static shot"],
    "panl": ["the camera pans left", "the camera moves to the left", "slow pan left"],
    "panr": ["the camera pans right", "the camera moves to the right", "slow pan right"],
    "in": ["the camera zooms in", "slow zoom in"],
    "out": ["the camera zooms out", "slow zoom out"],
    "follow": ["the camera follows", "tracking shot"],
}
NUMBERS = {2: "two", 3: "three", 4: "four"}
# Actors whose name says a time, a weather or a motion, or that a background shows as well
AMBIGUOUS = {
    "umbrella with rain drops", "cloud", "cloud with rain", "cloud with lightning", "snowflake", "sun", "sun with face",
    "full moon", "crescent moon", "full moon face", "star", "glowing star", "shooting star", "ringed planet",
    "rolling on the floor laughing", "person walking", "woman running", "oncoming police car", "oncoming automobile",
    "Statue of Liberty", "mount fuji", "mountain", "parachute", "person in lotus position", "dragon face", "dog face",
    "cat face", "tiger face", "camera", "movie camera", "small airplane", "money with wings", "person cartwheeling",
    "fire", "seedling",
}  # fmt: skip
GROUNDED = {"land", "person", "vehicle", "static"}


def verb_phrases(kind, motion):
    """The (verb, complement) pairs that name `motion` well for an actor of `kind`."""
    if motion in ("left", "right"):
        verbs = dict.fromkeys(scenes.MOVE.get(kind, ["move", "slide"]))
        return [(verb, rest) for verb in verbs for rest in scenes.COMPL[motion][:3]]
    if motion == "stay":
        stands = kind in ("land", "person", "static", "plant", "air")
        return [("stand", "still"), ("stay", "in place")] if stands else [("stay", "in place"), ("rest", "")]
    if motion == "rise" and kind in ("air", "flyer"):
        return [("fly", "up"), ("rise", "into the air")]
    phrases = [p for p in scenes.MV[motion] if p != ("grow", "bigger")]
    if motion == "jump" and kind not in ("land", "person", "air"):
        phrases = [("jump", ""), ("jump", "up and down")]
    return phrases


def fits(actor, background, motion):
    """Whether a prompt with these is clear and not against all sense."""
    kind, label = actor["kind"], actor["label"]
    if label in AMBIGUOUS:
        return False
    if kind in GROUNDED and background in ("ocean", "clouds"):
        return False
    dry = kind in ("land", "vehicle", "static", "plant") and label not in ("turtle", "frog")
    if dry and background == "underwater":
        return False
    if kind == "boat" and background not in ("ocean", "studio", "space", "stage", "moon", "room", "clouds"):
        return False
    if kind == "sea" and background in ("road", "desert", "farm"):
        return False
    return not (label in ("man running", "horse racing") and motion == "stay")


def choose(rng, held_out):
    """80 triples (actor, background number, motion) spread over all of them, `STARS` of them with popular actors."""
    stars = [c["star"] for c in scenes.CON]
    while True:
        backgrounds = [b for b in range(scenes.NB) for _ in range(EACH // scenes.NB)]
        motions = [m for m in scenes.MOTIONS for _ in range(EACH // len(scenes.MOTIONS))]
        motions += rng.sample(scenes.MOTIONS, EACH - len(motions))
        star = [True] * STARS + [False] * (EACH - STARS)
        for each in (backgrounds, motions, star):
            rng.shuffle(each)
        used, chosen = {}, []
        for background, motion, popular in zip(backgrounds, motions, star):
            name = scenes.BGS[background][0]
            able = [
                i
                for i, actor in enumerate(scenes.CON)
                if stars[i] == popular
                and scenes.heldout(i, background, motion) == held_out
                and fits(actor, name, motion)
                and (actor["names"][0] not in scenes.PLURAL_NAMES or actor["label"] == "Santa Claus")
                and used.get(i, 0) < (2 if popular else 1)
            ]
            if not able:
                break
            fewest = min(used.get(i, 0) for i in able)
            able = [i for i in able if used.get(i, 0) == fewest]
            i = rng.choices(able, [max(0.2, scenes.CON[i]["weight"]) for i in able])[0]
            used[i] = used.get(i, 0) + 1
            chosen.append((i, background, motion))
        if len(chosen) == EACH:
            return chosen


def spread(rng, places, values, n):
    """{place: value} for `n` of `places`, each value about equally often."""
    picked = rng.sample(places, n)
    return {place: values[k % len(values)] for k, place in enumerate(picked)}


def cameras(rng, chosen):
    """{place: camera} for 24 of the 80; `follow` only where the actor travels and training followed it."""
    bare = ("space", "stage", "studio", "room")
    travels = [k for k, (_, b, m) in enumerate(chosen) if m in ("left", "right") and scenes.BGS[b][0] not in bare]
    out = {k: "follow" for k in rng.sample(travels, min(4, len(travels)))}
    rest = [k for k in range(len(chosen)) if k not in out]
    return out | spread(rng, rest, ["static", "panl", "panr", "in", "out"], 24 - len(out))


def sentence(rng, actors, count, background, motion, time, weather, camera):
    """One prompt of words that training used."""
    first = scenes.CON[actors[0]]
    plural = count > 1
    name = rng.choice(spoken(first)) if rng.random() < 0.3 else spoken(first)[0]
    if len(actors) == 2:
        other = spoken(scenes.CON[actors[1]])[0]
        subject = f"{article(name)} and {article(other)}"
    elif plural:
        subject = f"{NUMBERS[count]} {scenes.plural(name)}"
    else:
        subject = article(name)
    verb, rest = rng.choice(verb_phrases(first["kind"], motion))
    does = f"{verb if plural else scenes.third(verb)} {rest}".strip()
    colour = rng.choice(scenes.CN)
    places = scenes.BGS[background][1]
    where = rng.choice(places[:2] if scenes.BGS[background][0] == "studio" else places).format(c=colour)
    where = where.replace("a orange", "an orange")
    parts = [where]
    if time is not None:
        parts.append(rng.choice(scenes.TODP[scenes.TODS.index(time)]))
    if weather is not None:
        phrases = [p for p in scenes.WXP[scenes.WXS.index(weather)] if p not in ("in the snow", "with many clouds")]
        parts.append(rng.choice([p for p in phrases if time is None or not p.endswith("day")]))
    if time is not None and rng.random() < 0.3:
        lead = parts.pop(1)
        words = f"{lead}, {subject} {does} {' '.join(parts)}"
    else:
        words = f"{subject} {does} {' '.join(parts)}"
    if camera is not None:
        words += f", {rng.choice(CAMERAS[camera])}"
    return words[0].upper() + words[1:] + "." if rng.random() < 0.3 else words


def spoken(actor):
    """The names of an actor that people say: "lion" rather than "lion face" where it has both."""
    whole = [n for n in actor["names"] if not n.endswith(" face")]
    return whole or actor["names"]


def article(name):
    """`name` with its indefinite article, which `scenes` sometimes makes definite."""
    never = random.Random()
    never.random = lambda: 1.0
    return scenes.article(name, never)


def labels(actors, count, background, time, weather, motion, camera):
    return {
        "actors": actors, "count": count, "background": background, "time": time, "weather": weather, "motion": motion,
        "camera": camera,
    }  # fmt: skip


def made(rng, kind):
    """The 80 prompts of kind `seen` or `held_out`."""
    chosen = choose(rng, kind == "held_out")
    names = [scenes.BGS[b][0] for _, b, _ in chosen]
    outdoor = [k for k, (_, b, _) in enumerate(chosen) if b in scenes.OUTDOOR]
    times = spread(rng, outdoor, scenes.TODS, TIMED)
    weathers = spread(rng, [k for k in outdoor if names[k] != "clouds"], scenes.WXS, WEATHERED)
    moves = cameras(rng, chosen)
    actor = [scenes.CON[i] for i, _, _ in chosen]
    plain = [k for k in range(EACH) if actor[k]["kind"] not in ("sky", "static") and k not in moves]
    plain = [k for k in plain if actor[k]["label"] != "Santa Claus"]
    several = rng.sample(plain, GROUPS + PAIRS)
    counts = {k: (2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 4, 4)[n] for n, k in enumerate(several[:GROUPS])}
    stars = [i for i, c in enumerate(scenes.CON) if c["star"]]
    for k, (i, background, motion) in enumerate(chosen):
        actors, count = [i], counts.get(k, 1)
        if k in several[GROUPS:]:
            kin = [j for j in stars if j != i and scenes.CON[j]["kind"] == scenes.CON[i]["kind"]] or stars
            kin = [j for j in kin if j != i and not similar(scenes.CON[i]["label"], scenes.CON[j]["label"])]
            kin = [j for j in kin if scenes.heldout(j, background, motion) == (kind == "held_out")] or kin
            actors, count = [i, rng.choice(kin)], 2
        said = times.get(k), weathers.get(k)
        prompt = sentence(rng, actors, count, background, motion, *said, moves.get(k))
        what = labels([scenes.CON[a]["label"] for a in actors], count, names[k], *said, motion, moves.get(k))
        yield {"kind": kind, "prompt": prompt, "labels": what}


def similar(one, other):
    """Whether two labels share a word (`fish`, `tropical fish`): too close for a fair pair."""
    return bool(set(one.lower().split()) & set(other.lower().split()))


def people():
    """The 80 prompts of evaluation_people.txt, each label checked against those that there are."""
    backgrounds = {b[0] for b in scenes.BGS.values()}
    known = [backgrounds, set(scenes.TODS), set(scenes.WXS), set(scenes.MOTIONS), set(CAMERAS)]
    for line in (HERE / "evaluation_people.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        prompt, actors, count, *rest = (part.strip() for part in line.split(" | "))
        actors, rest = actors.split("+"), [None if part == "-" else part for part in rest]
        assert all(a in scenes.IDX for a in actors), line
        assert len(rest) == 5 and all(v is None or v in names for v, names in zip(rest, known)), line
        yield {"kind": "people", "prompt": prompt, "labels": labels(actors, int(count), *rest)}


def prompts():
    """All 240, numbered."""
    rng = random.Random(SEED)
    entries = [*made(rng, "seen"), *made(rng, "held_out"), *people()]
    return [{"id": i, **entry} for i, entry in enumerate(entries)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    entries = prompts()
    text = ",\n".join(json.dumps(e, ensure_ascii=False) for e in entries)
    options.out.write_text(f"[\n{text}\n]\n")


if __name__ == "__main__":
    main()
