"""The 364 actors of the toy world, read from `concepts.txt`. Their order is the order of the sprites."""

from pathlib import Path

STAR_WEIGHT = 3.0
# Sprites whose picture looks to the right; all others look to the left or to the camera.
FACING_RIGHT = {"airplane", "small airplane", "rocket"}


FILE = Path(__file__).with_name("concepts.txt")


def load(path=FILE):
    """One dict an actor: label, names (the first is the preferred one), kind, weight of being drawn, star."""
    concepts, kind, weight = [], None, 1.0
    for line in path.read_text().splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("@"):
            kind, number = line[1:].split()[:2]
            weight = float(number)
            continue
        star = line.startswith("*")
        label, names = line.removeprefix("*").split("=", 1)
        concepts.append(
            {
                "label": label,
                "names": names.split("/"),
                "kind": kind,
                "weight": weight * (STAR_WEIGHT if star else 1.0),
                "star": star,
            }
        )
    return concepts
