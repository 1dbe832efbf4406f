"""Random scenes of the toy world: parameters for the renderer, and a caption.

`sample(rng, orient)` gives G [24] (place, time, weather, ...), C [33, 4] (camera), A [33, 4, 10] (actors), the caption and
a dict of what is in the scene. `Mix` says of what there shall be more than chance gives. Plain numpy, because it runs in
worker processes.
"""

import math
import zlib
from dataclasses import dataclass, replace

import numpy as np

import concepts

CON = concepts.load()
NS = len(CON)
NF, FPS = 33, 12
ORIENT = {0: (512, 288), 1: (384, 384), 2: (288, 512)}
WEIGHTS = np.cumsum([c["weight"] for c in CON])
IDX = {c["label"]: i for i, c in enumerate(CON)}
NAMES = {n.lower(): i for i, c in enumerate(CON) for n in reversed(c["names"])}

COLORS = {
    "red": (0.86, 0.20, 0.20),
    "orange": (0.97, 0.56, 0.18),
    "yellow": (0.98, 0.84, 0.28),
    "green": (0.30, 0.70, 0.35),
    "teal": (0.16, 0.62, 0.62),
    "blue": (0.20, 0.42, 0.88),
    "light blue": (0.55, 0.78, 0.96),
    "purple": (0.52, 0.30, 0.78),
    "pink": (0.97, 0.60, 0.74),
    "white": (0.92, 0.92, 0.93),
    "gray": (0.52, 0.53, 0.56),
    "black": (0.08, 0.08, 0.09),
}
CN = list(COLORS)
# id: (name, phrases, horizon range, ground y range, type)
BGS = {
    0: (
        "meadow",
        ["in a green meadow", "on a meadow", "in a grassy field", "in a meadow with flowers", "on green hills"],
        (0.45, 0.56),
        (0.74, 0.93),
        "ground",
    ),
    1: (
        "beach",
        ["on a beach", "at the beach", "on a sandy beach by the sea", "on the beach"],
        (0.40, 0.50),
        (0.78, 0.94),
        "ground",
    ),
    2: ("ocean", ["on the ocean", "on the open sea", "at sea", "on the water"], (0.40, 0.52), (0.66, 0.84), "water"),
    3: ("desert", ["in the desert", "among sand dunes", "in a sandy desert"], (0.44, 0.54), (0.72, 0.92), "ground"),
    4: (
        "snowy mountains",
        ["in the snowy mountains", "in front of snowy mountains", "in a snowy landscape"],
        (0.52, 0.60),
        (0.76, 0.93),
        "ground",
    ),
    5: ("forest", ["in a forest", "in the woods", "in a pine forest"], (0.50, 0.58), (0.76, 0.93), "ground"),
    6: (
        "city",
        ["in a city", "in front of a city skyline", "on a city street", "downtown in a big city"],
        (0.52, 0.60),
        (0.78, 0.94),
        "ground",
    ),
    7: ("road", ["on a road", "on a country road", "on a highway"], (0.42, 0.50), (0.76, 0.93), "ground"),
    8: ("space", ["in outer space", "in space", "among stars and planets"], (0.50, 0.50), (0.5, 0.5), "free"),
    9: (
        "underwater",
        ["under water", "underwater", "at the bottom of the sea", "under the sea"],
        (0.58, 0.66),
        (0.85, 0.95),
        "free",
    ),
    10: ("farm", ["on a farm", "in a farm field", "next to a red barn"], (0.44, 0.52), (0.78, 0.94), "ground"),
    11: (
        "room",
        ["in a room", "in a living room", "indoors", "on the wooden floor of a room"],
        (0.58, 0.66),
        (0.78, 0.94),
        "ground",
    ),
    12: (
        "stage",
        ["on a theatre stage", "on stage in a spotlight", "on a stage with curtains"],
        (0.64, 0.70),
        (0.78, 0.90),
        "ground",
    ),
    13: (
        "studio",
        ["on a {c} background", "in front of a plain {c} backdrop", "{c} background"],
        (0.72, 0.80),
        (0.80, 0.90),
        "ground",
    ),
    14: ("moon", ["on the moon", "on the surface of the moon"], (0.52, 0.60), (0.74, 0.92), "ground"),
    15: (
        "clouds",
        ["above the clouds", "in the sky above the clouds", "over the clouds"],
        (0.55, 0.66),
        (0.5, 0.5),
        "free",
    ),
}
NB = 16
OUTDOOR = {0, 1, 2, 3, 4, 5, 6, 7, 10, 15}
TODS = ["sunrise", "day", "sunset", "night"]
TODP = [
    ["at sunrise", "in the early morning", "at dawn"],
    ["during the day", "in daylight", "at noon"],
    ["at sunset", "in the evening sun", "at dusk"],
    ["at night", "at night", "in the moonlight"],
]
WXS = ["clear", "cloudy", "rain", "snow", "fog"]
WXP = [
    ["on a clear day", "under a clear sky"],
    ["under a cloudy sky", "with many clouds"],
    ["in the rain", "on a rainy day", "while it rains"],
    ["in falling snow", "while it is snowing", "in the snow"],
    ["in the fog", "on a foggy day", "in thick fog"],
]
STYLES = [
    None,
    ["black and white", "in black and white"],
    ["sepia", "in sepia tones", "old sepia film"],
    ["warm colors", "in warm light"],
    ["neon", "in neon colors"],
    ["pixel art", "pixel art style"],
]
MOTIONS = [
    "stay",
    "right",
    "left",
    "rise",
    "fall",
    "bounce",
    "jump",
    "spin",
    "swing",
    "circle",
    "approach",
    "recede",
    "float",
    "zigzag",
    "shake",
]
# Motions in which an actor's pixels change most from frame to frame: what an autoencoder blurs.
FAST = ["right", "left", "bounce", "jump", "spin", "circle", "zigzag", "shake"]
MW = [4.0, 3.6, 3.6, 1.3, 1.2, 1.5, 1.5, 1.5, 1.0, 1.0, 1.3, 1.0, 1.0, 0.8, 0.8]
MOVE = {
    "land": ["walk", "run", "move", "run"],
    "person": ["walk", "run", "move"],
    "vehicle": ["drive", "drive", "roll", "move"],
    "air": ["fly", "fly", "move"],
    "flyer": ["fly", "fly", "move"],
    "sea": ["swim", "swim", "move"],
    "boat": ["sail", "sail", "move"],
    "face": ["roll", "move", "slide"],
}
COMPL = {
    "right": ["from left to right", "to the right", "from the left to the right", "rightwards"],
    "left": ["from right to left", "to the left", "from the right to the left", "leftwards"],
}
MV = {
    "stay": [("stand", "still"), ("stay", "in place"), ("be", ""), ("rest", "")],
    "rise": [("rise", ""), ("float", "up"), ("go", "up"), ("rise", "into the air")],
    "fall": [("fall", ""), ("fall", "down"), ("drop", "down"), ("sink", "down")],
    "bounce": [("bounce", ""), ("bounce", "up and down")],
    "jump": [("jump", ""), ("hop", ""), ("jump", "up and down")],
    "spin": [("spin", ""), ("rotate", ""), ("spin", "around")],
    "swing": [("swing", "from side to side"), ("rock", "back and forth"), ("sway", "")],
    "circle": [("move", "in a circle"), ("circle", "around"), ("go", "round and round")],
    "approach": [("come", "closer"), ("approach", "the camera"), ("grow", "bigger")],
    "recede": [("go", "away into the distance"), ("move", "away"), ("get", "smaller")],
    "float": [("float", "gently"), ("hover", ""), ("drift", "slowly")],
    "zigzag": [("zigzag", ""), ("move", "in a zigzag")],
    "shake": [("shake", ""), ("tremble", "")],
}
ING = {
    "run": "running",
    "swim": "swimming",
    "be": "being",
    "get": "getting",
    "hop": "hopping",
    "spin": "spinning",
    "drop": "dropping",
    "zigzag": "zigzagging",
    "sit": "sitting",
}
S3 = {"fly": "flies", "be": "is there", "go": "goes", "approach": "approaches"}


def ing(v):
    return ING.get(v) or (v[:-1] + "ing" if v.endswith("e") else v + "ing")


def third(v):
    return S3.get(v) or v + "s"


ADJ = ["cute", "happy", "cheerful", "funny", "toy", "colorful", "lovely"]
SMALL, BIG = ["small", "little", "tiny"], ["big", "large", "huge", "giant"]
PLURAL_NAMES = {
    "grapes",
    "cherries",
    "blueberries",
    "french fries",
    "fries",
    "pancakes",
    "glasses",
    "headphones",
    "fireworks",
    "stack of books",
    "books",
    "scissors",
    "dice",
    "popcorn",
    "bread",
    "cheese",
    "spaghetti",
    "pasta",
    "sushi",
    "chocolate",
    "fire",
    "money with wings",
    "flying money",
    "bowling",
    "soda",
    "coffee",
    "milk",
    "yarn",
    "corn",
    "pudding",
    "ramen",
    "stew",
    "salad",
    "poop",
    "face with tears of joy",
    "Santa Claus",
    "Mount Fuji",
    "Statue of Liberty",
    "planet Earth",
    "Saturn",
    "badminton",
}
IRR = {
    "mouse": "mice",
    "sheep": "sheep",
    "fish": "fish",
    "tropical fish": "tropical fish",
    "wolf": "wolves",
    "goose": "geese",
    "man": "men",
    "woman": "women",
    "bus": "buses",
    "octopus": "octopuses",
    "cactus": "cacti",
    "snowman": "snowmen",
    "policeman": "policemen",
    "puppy": "puppies",
    "bunny": "bunnies",
    "kitty": "kitties",
    "doggy": "doggies",
    "deer": "deer",
    "bison": "bison",
    "shrimp": "shrimps",
    "baby": "babies",
    "fox": "foxes",
    "ferry": "ferries",
    "cherry": "cherries",
    "butterfly": "butterflies",
    "smiley": "smileys",
}


def plural(n):
    w = n.split(" ")
    if " of " in n or " with " in n or " on " in n or " in " in n or " doing " in n or " rowing " in n:
        for sep in (" of ", " with ", " on ", " in ", " doing ", " rowing "):
            if sep in n:
                a, b = n.split(sep, 1)
                return plural(a) + sep + b
    l = w[-1]
    if l.lower() in IRR:
        p = IRR[l.lower()]
    elif l.endswith(("s", "x", "ch", "sh")):
        p = l + "es"
    elif l.endswith("y") and l[-2] not in "aeiou":
        p = l[:-1] + "ies"
    elif l.endswith("man"):
        p = l[:-3] + "men"
    else:
        p = l + "s"
    return " ".join(w[:-1] + [p])


def article(n, r):
    if n in PLURAL_NAMES or n.lower() in PLURAL_NAMES:
        return n
    f = n[0].lower()
    an = (
        (f in "aeiou" and not n.lower().startswith(("uni", "ufo", "one", "eu")))
        or n.startswith("SUV")
        or n.startswith("hour")
    )
    if r.random() < 0.04:
        return "the " + n
    return ("an " if an else "a ") + n


def heldout(i, bg, mo):
    return zlib.crc32(f"{CON[i]['label']}|{BGS[bg][0]}|{mo}".encode()) % 20 == 7


def pick_actor(r):
    x = r.random() * WEIGHTS[-1]
    return int(np.searchsorted(WEIGHTS, x, side="right"))


BASEW = [1.0] * NB
BASEW[13] = 1.5
BASEW[0] = 1.3


def pick_bg(r, i):
    k = CON[i]["kind"]
    w = list(BASEW)
    if k == "sea":
        w[9] = 14
        w[2] = 4
        w[1] = 3
    elif k == "boat":
        w[2] = 16
        w[1] = 2
    elif k == "vehicle":
        w[7] = 7
        w[6] = 6
    elif k in ("air", "flyer"):
        w[15] = 3
    elif k == "sky":
        w[8] = 4
        w[15] = 2
    if CON[i]["label"] in ("astronaut", "rocket", "flying saucer", "alien", "robot"):
        w[8] = 6
        w[14] = 5
    if k == "person" or k == "land":
        w[2] = 0.5
        w[9] = 0.6
    return r.choices(range(NB), w)[0]


T01 = np.linspace(0, 1, NF, dtype=np.float32)


def smooth(t):
    t = np.minimum(t, 1)
    return t * t * (3 - 2 * t)


def settle(motion, turns):
    """Direction, phase and turns of settled motions. Where a caption leaves them open, a model that cannot know them yet, in
    the first steps, can only draw the mean of all, and the mean of all phases of a bounce is standing still in a blur."""
    if motion in ("left", "right"):
        return (1 if motion == "right" else -1), 0.0, turns
    return 1, 0.0, 1.5 if motion == "spin" else 1


def place_mode(r, kind, bg):
    ty = BGS[bg][4]
    if ty == "free":
        return "free"
    if ty == "water":
        return "air" if kind in ("air", "flyer", "sky") and r.random() < 0.8 else "water"
    if kind in ("air", "flyer"):
        return "air" if r.random() < 0.72 else "ground"
    if kind == "sky":
        return "air" if r.random() < 0.85 else "ground"
    if kind in ("object", "food", "face", "sea", "plant"):
        return "ground" if r.random() < 0.7 else "mid"
    return "ground"


# What a caption of nothing but the subject stands for: the places where one expects it, by kind of actor.
USUAL_PLACES = {
    "sea": [9],
    "boat": [2],
    "vehicle": [7, 7, 6],
    "air": [15],
    "flyer": [15, 0],
    "sky": [8, 15],
    "land": [0, 0, 10, 5],
    "person": [6, 0, 11],
    "plant": [0, 10],
}


def usual(r, i):
    bg = (
        8
        if CON[i]["label"] in ("astronaut", "rocket", "flying saucer", "alien")
        else r.choice(USUAL_PLACES.get(CON[i]["kind"], [13, 11]))
    )
    return dict(
        actor=i,
        bg=bg,
        motion=r.choice(["stay", "stay", "right", "left", "jump"]),
        tod=1,
        wx=0,
        style=0,
        cam="static",
        size=r.choice(["medium", "large"]),
        pos="centre",
    )


@dataclass(frozen=True)
class Mix:
    """Shares that a training can choose. The defaults are the scenes of Toybox 0.2."""

    motion_said: float = 0.78  # captions that say the motion, if it is not to stay
    stay_said: float = 0.25
    camera_said: float = 0.75  # captions that say what a moving camera does
    lessons: float = (
        0.0  # scenes that teach the words of motions: one actor, still camera, each motion as often, always said
    )
    fast: float = 0.0  # scenes whose actors move fast
    pairs: float = 0.0  # scenes of two different actors
    settled: float = 0.0  # scenes whose motions begin at one phase and turn in one direction: see `settle`
    later: float = 0.0  # scenes that begin in the middle of their motion, for clips that go on from given frames


MIX = Mix()


def lesson(r):
    return dict(motion=r.choice(MOTIONS), n=(1, None), cam="static")


def pair(r):
    return dict(n=(2, r.choice(["beside", "leftof", "and"])))


# Motions that go on for ever; the others arrive somewhere.
ENDLESS = ["stay", "bounce", "jump", "spin", "swing", "circle", "float", "shake"]


def starting(r, motion):
    """Where in its motion a later scene begins, in lengths of a clip."""
    return r.uniform(0.0, 0.75 if motion in ENDLESS else 0.35)


def sample(r, orient=0, force=None, mix=MIX):
    force = force or {}
    terse = not force and r.random() < 0.10
    if terse:
        for _ in range(20):
            force = usual(r, pick_actor(r))
            if not heldout(force["actor"], force["bg"], force["motion"]):
                break
    # A share of nothing draws no number, so that seeds keep their scenes.
    teaches = not force and mix.lessons > 0 and r.random() < mix.lessons
    settled = mix.settled > 0 and r.random() < mix.settled
    later = mix.later > 0 and r.random() < mix.later
    if teaches:
        force, mix = lesson(r), replace(mix, motion_said=1.0, stay_said=1.0)
    elif not force and mix.pairs > 0 and r.random() < mix.pairs:
        force = pair(r)
    elif not force and mix.fast > 0 and r.random() < mix.fast:
        force = dict(motion=r.choice(FAST))
    W, H = ORIENT[orient]
    asp = W / H
    unit = 384.0 / H
    for _ in range(20):
        i = force.get("actor", None)
        if i is None:
            i = pick_actor(r)
        bg = force.get("bg")
        bg = pick_bg(r, i) if bg is None else bg
        mo = force.get("motion") or r.choices(MOTIONS, MW)[0]
        if "actor" in force or not heldout(i, bg, mo):
            break
    kind = CON[i]["kind"]
    bname, bph, hr, gr, bty = BGS[bg]
    # ---- number of actors
    q = r.random()
    rel = None
    n = 1
    if "n" in force:
        n, rel = force["n"]
    elif q < 0.17:
        rel = r.choices(["beside", "chase", "leftof", "and"], [3, 2, 2, 2])[0]
        n = 2
    elif q < 0.29 and CON[i]["names"][0] not in PLURAL_NAMES and kind != "sky":
        rel = "group"
        n = r.choices([2, 3, 4], [4, 4, 1])[0]
    ids = [i] * n
    if rel in ("beside", "chase", "leftof", "and"):
        for _ in range(9):
            j = pick_actor(r)
            if j != i:
                break
        ids = [i, force.get("actor2", j)]
    if rel == "chase":
        mo = r.choice(["right", "left"])
    # ---- environment
    tod = 1
    wx = 0
    if bg in OUTDOOR:
        tod = force["tod"] if "tod" in force else r.choices([0, 1, 2, 3], [0.11, 0.52, 0.19, 0.18])[0]
        if bg != 15:
            wx = force["wx"] if "wx" in force else r.choices(range(5), [0.66, 0.09, 0.09, 0.09, 0.07])[0]
    elif bg in (9, 11):
        tod = force["tod"] if "tod" in force else r.choices([1, 2, 3], [0.68, 0.12, 0.20])[0]
    sty = force["style"] if "style" in force else (r.choices(range(6), [0.93, 0.018, 0.012, 0.014, 0.013, 0.013])[0])
    cam = force.get("cam") or r.choices(["static", "panl", "panr", "in", "out"], [0.60, 0.09, 0.09, 0.12, 0.10])[0]
    G = np.zeros(24, np.float32)
    hor = r.uniform(*hr)
    gy0, gy1 = gr
    cname = r.choice(CN)
    col = [min(1, max(0, v + r.uniform(-0.04, 0.04))) for v in COLORS[cname]]
    G[0] = bg
    G[1] = tod
    G[2] = wx
    G[3] = r.randrange(1, 4000)
    G[4] = hor
    G[5] = sty
    G[6:9] = col
    G[9] = n
    G[10] = r.random()
    # ---- size
    szc = force.get("size") or r.choices(["small", "medium", "large"], [0.16, 0.50, 0.34])[0]
    lo, hi = dict(small=(0.19, 0.25), medium=(0.31, 0.42), large=(0.46, 0.58))[szc]
    if n == 2:
        lo, hi = lo * 0.86, hi * 0.86
    if n >= 3:
        lo, hi = lo * 0.70, hi * 0.70
    mode = place_mode(r, kind, bg)
    A = np.zeros((NF, 4, 10), np.float32)
    t = T01 + starting(r, mo) if later else T01
    base_size = r.uniform(lo, hi) * unit
    dirn = 1 if mo == "right" else -1 if mo == "left" else (1 if r.random() < 0.5 else -1)
    follow = (
        (
            mo in ("left", "right")
            and rel != "chase"
            and cam == "static"
            and r.random() < 0.15
            and bg not in (8, 12, 13, 11)
        )
        if "cam" not in force
        else cam == "follow"
    )
    if "pos" in force:
        pos = force["pos"]
    else:
        pos = r.choices(["centre", "left", "right"], [0.6, 0.2, 0.2])[0]
    if n > 1:
        pos = "centre"
    x0 = {"centre": r.uniform(-0.07, 0.07), "left": r.uniform(-0.32, -0.22), "right": r.uniform(0.22, 0.32)}[pos] * asp
    per = asp / (n + 0.35)
    if n > 1:
        base_size = min(base_size, per * 1.15)
    if orient == 2:
        base_size = min(base_size, 0.62 * asp if n == 1 else per * 1.1)
    span = r.uniform(0.24, 0.44) * asp
    phase = r.random()
    kk = r.choice([1, 1.5, 2])
    amp = r.uniform(0.8, 1.2)
    dirn, start, kk = settle(mo, kk) if settled else (dirn, phase, kk)
    gfeet = r.uniform(gy0, gy1)
    cy_air = r.uniform(0.26, 0.50)
    cy_free = r.uniform(0.40, 0.60)
    for a in range(n):
        ci = ids[a]
        k2 = CON[ci]["kind"]
        m2 = mode if (rel == "group" or a == 0) else place_mode(r, k2, bg)
        s = base_size * (1 if rel == "group" else r.uniform(0.9, 1.1)) if a else base_size
        off = 0.0 if n == 1 else (a - (n - 1) / 2) * per * (0.95 if rel != "chase" else 1.0)
        if rel == "chase":
            off = (per * 0.95) * (-0.5 if a == 0 else 0.5) * dirn  # first actor is behind
        feet = min(0.985, gfeet + (r.uniform(-0.03, 0.03) if n > 1 else 0))
        if m2 == "ground" or m2 == "water":
            cy = feet - s * 0.5
        elif m2 == "air":
            cy = cy_air + (r.uniform(-0.06, 0.06) if n > 1 else 0)
        else:
            cy = cy_free + (r.uniform(-0.06, 0.06) if n > 1 else 0)
        if m2 != "ground":
            cy = min(max(cy, s * 0.45), 1 - s * 0.42)
        x = np.full(NF, x0 * (mo not in ("left", "right")) + off, np.float32)
        y = np.full(NF, cy, np.float32)
        sz = np.full(NF, s, np.float32)
        an = np.zeros(NF, np.float32)
        ph = start + (0.23 * a if rel == "group" else 0)
        if mo in ("left", "right"):
            sp = span if n == 1 else min(span, 0.30 * asp)
            if follow:
                x = (
                    x + dirn * (t - 0.5) * r.uniform(1.0, 1.6) * asp
                    if a == 0
                    else x + (A[:, 0, 0] - A[0, 0, 0] + dirn * -0.5 * 0)
                )
            else:
                x = x + dirn * (2 * t - 1) * sp
            if m2 == "ground" and k2 in ("land", "person", "object", "food", "face", "plant"):
                y = y - 0.018 * np.abs(np.sin(2 * np.pi * (3.0 * t + ph)))
            elif m2 in ("air", "free", "mid"):
                y = y + 0.02 * np.sin(2 * np.pi * (1.3 * t + ph))
            if k2 == "face" or CON[ci]["label"] in ("soccer ball", "basketball", "tennis", "baseball"):
                an = dirn * 2 * np.pi * sp * 2 * t / (math.pi * s) * 0.9
        elif mo == "rise":
            y = (
                np.float32(min(0.80, 1.02 - s * 0.4))
                + (np.float32(max(0.22, s * 0.45)) - np.float32(min(0.80, 1.02 - s * 0.4))) * t
            )
            x = x + 0.015 * np.sin(2 * np.pi * (t + ph))
        elif mo == "fall":
            b = cy if m2 == "ground" else min(0.82, 1 - s * 0.4)
            y = (
                -s * 0.2 + (b + s * 0.2) * np.minimum(1, (t / 0.85) ** 1.6)
                if m2 == "ground"
                else s * 0.3 + (b - s * 0.3) * t
            )
        elif mo == "bounce":
            f = 3 + kk
            u = np.mod(f * t + ph, 1)
            y = y - (0.16 * amp) * 4 * u * (1 - u)
            sz = sz * 1.0
        elif mo == "jump":
            f = 2
            u = np.mod(f * t + ph, 1)
            u2 = np.clip(u / 0.65, 0, 1)
            y = y - 0.24 * amp * 4 * u2 * (1 - u2)
        elif mo == "spin":
            an = dirn * 2 * np.pi * kk * t
            y = y - (0.04 if m2 == "ground" else 0)
        elif mo == "swing":
            an = 0.42 * amp * np.sin(2 * np.pi * (2 * t + ph))
            x = x - 0.09 * amp * np.sin(2 * np.pi * (2 * t + ph))  # hung up above itself, like a pendulum
        elif mo == "circle":
            R = 0.15 * amp
            th = 2 * np.pi * (1.25 * t * dirn + ph)
            x = x + R * np.cos(th) * min(1.2, asp)
            y = np.clip(y - (R * 0.6 if m2 == "ground" else 0) + R * 0.7 * np.sin(th), s * 0.3, 1 - s * 0.3)
        elif mo == "approach":
            g = 0.45 + 0.85 * smooth(t)
            sz = sz * g
            if m2 in ("ground", "water"):
                f0 = hor + 0.10
                fy = f0 + (min(0.97, feet + 0.04) - f0) * smooth(t)
                y = fy - sz * 0.5
        elif mo == "recede":
            g = 1.3 - 0.85 * smooth(t)
            sz = sz * g
            if m2 in ("ground", "water"):
                f0 = hor + 0.10
                fy = min(0.97, feet + 0.04) + (f0 - min(0.97, feet + 0.04)) * smooth(t)
                y = fy - sz * 0.5
        elif mo == "float":
            y = y - (0.08 if m2 == "ground" else 0) + 0.06 * np.sin(2 * np.pi * (1.0 * t + ph))
            x = x + 0.07 * np.sin(2 * np.pi * (0.6 * t + ph))
            an = 0.08 * np.sin(2 * np.pi * (0.8 * t + ph))
        elif mo == "zigzag":
            u = np.abs(np.mod(3 * t + ph, 1) * 2 - 1) * 2 - 1
            if m2 == "ground":
                x = x + dirn * (2 * t - 1) * 0.26 * asp
                y = y - 0.07 + 0.07 * u
            else:
                x = x + dirn * (2 * t - 1) * 0.28 * asp
                y = y + 0.13 * u
        elif mo == "shake":
            x = x + 0.03 * np.sin(2 * np.pi * 9.3 * t)
            an = 0.13 * np.sin(2 * np.pi * 8.1 * t + 1)
        # facing
        fl = 1.0
        d = (
            dirn
            if (mo in ("left", "right", "zigzag"))
            else (
                r.choice([-1, 1])
                if kind in ("land", "air", "sea", "vehicle", "boat", "flyer", "person") and rel != "chase"
                else 0
            )
        )
        if rel == "chase":
            d = dirn
        if mo in ("left", "right") and k2 in ("object", "static", "face", "sky", "plant", "food"):
            d = 0
        if d:
            face = 1 if CON[ci]["label"] in concepts.FACING_RIGHT else -1
            fl = 1.0 if face == d else -1.0
        fr = (int(phase * 36) + 7 * a + np.arange(NF)) % 36
        A[:, a, 0] = x
        A[:, a, 1] = y
        A[:, a, 2] = sz
        A[:, a, 3] = an
        A[:, a, 4] = fl
        A[:, a, 5] = ci * 36 + fr
        A[:, a, 6] = 1
        A[:, a, 7] = feet - 0.008
        A[:, a, 8] = 1.0 if (m2 in ("ground", "mid") and bty == "ground") else 0
        if mo in ("approach", "recede") and m2 == "ground":
            A[:, a, 7] = y + sz * 0.5 - 0.008
        if m2 == "mid":
            A[:, a, 7] = max(gfeet, cy + s * 0.55)
        A[:, a, 9] = 99
        if m2 == "water" and mo not in ("rise", "fall", "circle", "spin"):
            A[:, a, 9] = (
                (y + sz * 0.5 - sz * (0.10 if k2 == "boat" else 0.30))
                if mo in ("approach", "recede")
                else feet - s * (0.10 if k2 == "boat" else 0.30)
            )
            A[:, a, 1] += 0.008 * np.sin(2 * np.pi * (1.1 * t + ph))
    # draw far (higher feet) first
    if n > 1:
        o = np.argsort([A[NF // 2, a, 7] for a in range(n)])
        A[:, :n] = A[:, o]
    # ---- camera
    C = np.zeros((NF, 4), np.float32)
    C[:, 2] = 1
    a = r.uniform(0.10, 0.20) * asp
    if follow:
        C[:, 0] = A[:, 0, 0] - A[NF // 2, 0, 0] if n == 1 else A[:, :n, 0].mean(1)
        cam = "follow"
    elif cam == "panr":
        C[:, 0] = (2 * t - 1) * a
    elif cam == "panl":
        C[:, 0] = -(2 * t - 1) * a
    elif cam in ("in", "out"):
        z1 = r.uniform(1.35, 1.75)
        z = 1 + (z1 - 1) * t if cam == "in" else z1 - (z1 - 1) * t
        ax, ay = A[:, :n, 0].mean(), A[:, :n, 1].mean()
        C[:, 2] = z
        C[:, 0] = ax * (1 - 1 / z) * 0.9
        C[:, 1] = (ay - 0.5) * (1 - 1 / z) * 0.9
    # ---- caption
    names = [r.choice(CON[j]["names"]) if r.random() < 0.35 else CON[j]["names"][0] for j in ids]
    cap, unmoved = caption(r, names, ids, n, rel, mo, bg, cname, tod, wx, cam, sty, szc, pos, kind, mode, terse, mix)
    meta = dict(actor=ids, bg=bg, motion=mo, tod=tod, wx=wx, cam=cam, size=szc, n=n, rel=rel, style=sty)
    return G, C, A, cap, meta | dict(later=later, unmoved=unmoved)


NUM = {2: "two", 3: "three", 4: "four"}


def caption(r, names, ids, n, rel, mo, bg, cname, tod, wx, cam, sty, szc, pos, kind, mode, only_subject=False, mix=MIX):
    """The caption, and the same without the words of the motion."""
    u = r.random
    adj = ""
    if szc == "small" and u() < 0.6:
        adj = r.choice(SMALL) + " "
    elif szc == "large" and u() < 0.4:
        adj = r.choice(BIG) + " "
    if u() < 0.10:
        adj += r.choice(ADJ) + " "
    pl = n > 1
    if n == 1:
        nm = names[0]
        special = nm in PLURAL_NAMES and nm[0].isupper()
        subj = nm if special else article(adj + nm, r) if nm not in PLURAL_NAMES else (adj + nm)
        terse = nm
        pl = False
    elif rel == "group":
        num = NUM[n] if u() < 0.85 else ("a group of" if n > 2 else "a pair of")
        subj = f"{num} {adj}{plural(names[0])}"
        terse = f"{NUM[n]} {plural(names[0])}"
    else:
        a, b = article(names[0], r), article(names[1], r)
        if rel == "chase":
            subj = f"{a} chasing {b}"
        elif rel == "leftof":
            subj = f"{a} to the left of {b}" if u() < 0.5 else f"{b} to the right of {a}"
        elif rel == "beside":
            subj = f"{a} {r.choice(['next to', 'beside', 'side by side with'])} {b}"
        else:
            subj = f"{a} and {b}"
        terse = subj
        pl = rel == "and"
    if only_subject:
        said = finishing(r)(terse)
        return said, said
    # motion phrase
    use_m = u() < (mix.motion_said if mo != "stay" else mix.stay_said)
    prefix = r.choice(["", "", "", "", "", "a video of ", "a clip of ", "3D animation of ", "cartoon of "])
    form = "ing" if (prefix or rel in ("chase", "leftof", "beside")) else ("fin" if u() < 0.6 else "ing")
    mtxt = ""
    if use_m:
        if mo in ("left", "right"):
            v = r.choice(MOVE.get(kind, ["move", "move", "slide"]))
            cpl = r.choice(COMPL[mo])
        else:
            always = mix.stay_said == 1.0  # then "is there" is no way to say it
            v, cpl = r.choice([p for p in MV[mo] if not (always and p[0] == "be")])
        if mo == "rise" and kind in ("air", "flyer") and u() < 0.5:
            v, cpl = "fly", "up"
        if rel == "chase":
            mtxt = cpl if mo in COMPL else ""
        elif v == "be":
            mtxt = ""
        elif form == "ing":
            mtxt = f"{ing(v)} {cpl}".strip()
        else:
            mtxt = f"{v if pl else third(v)} {cpl}".strip()
    if n == 1 and pos != "centre" and mo not in ("left", "right") and u() < 0.5:
        mtxt += f" on the {pos}"
    parts = []
    if u() < 0.76:
        parts.append(r.choice(BGS[bg][1]).format(c=cname))
    outdoor = bg in OUTDOOR or bg in (9, 11)
    if outdoor and u() < (0.86 if tod != 1 else 0.18):
        parts.append(r.choice(TODP[tod]))
    if bg in OUTDOOR and bg != 15 and u() < (0.86 if wx else 0.08):
        parts.append(r.choice(WXP[wx]))
    cp = ""
    pc = {
        "panl": ["the camera pans left", "camera moves to the left", "slow pan left"],
        "panr": ["the camera pans right", "camera moves to the right", "slow pan right"],
        "in": ["the camera zooms in", "slow zoom in", "zooming in"],
        "out": ["the camera zooms out", "slow zoom out", "zooming out"],
        "follow": ["the camera follows", "tracking shot"],
        "static": ["static camera", "static shot"],
    }[cam]
    if u() < (mix.camera_said if cam != "static" else 0.06):
        cp = r.choice(pc)
    st = r.choice(STYLES[sty]) if sty and u() < 0.92 else ""
    body, lead, tail = f"{prefix}{subj} {mtxt}".strip(), "", ""
    if parts:
        if u() < 0.15 and parts[0][0] != cname[0]:
            k = r.randrange(len(parts))
            lead = parts.pop(k) + ", "
        tail = (" " if u() < 0.8 else ", ") + " ".join(parts) if parts else ""
    behind = ""
    if cp:
        behind = r.choice([", ", ", ", " while "]) + cp if cp.startswith(("the camera", "camera")) else ", " + cp
    before, style = "", ""
    if st:
        before, style = ("", ", " + st) if u() < 0.7 else (st + ", ", "")
    finish = finishing(r)
    said = (before + lead + text + tail + behind + style for text in (body, f"{prefix}{subj}"))
    return tuple(map(finish, said))


def finishing(r):
    """Draws how a caption is written: as it is, or as a sentence."""
    sentence = r.random() < 0.3

    def finish(s):
        s = " ".join(s.split())
        return s[0].upper() + s[1:] + "." if sentence else s

    return finish
