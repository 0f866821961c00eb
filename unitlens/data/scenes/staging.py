"""How things are set up under the sky: in a crowd, in a row, far away."""

from collections.abc import Callable, Sequence
from typing import Any

from unitlens.data.scenes import life, nature
from unitlens.data.scenes.canvas import WORLD, Canvas

Thing = Callable[..., None]
Kind = tuple[Thing, float, int, dict[str, Any]]


def draw_things(c: Canvas, least: int, /, **shares: float) -> frozenset[str]:
    """Draw which of the named things an image has, each with its share, until there are enough of them.

    No thing is in every image of a scene, so that a scene cannot be told by one thing alone.
    """
    while True:
        chosen = frozenset([name for name, share in shares.items() if c.chance(share)])
        if len(chosen) >= least:
            return chosen


def crowd(c: Canvas, top: float, things: Sequence[Kind]) -> None:
    """Stand things on the ground between ``top`` and the lower edge, the far ones first and smaller.

    ``things`` holds (what, its height in the foreground, at most how many, further settings): one at least, unless
    the most is 0.
    """
    places = []
    for thing, height, most, settings in things:
        for _ in range(c.whole(min(1, most), most)):
            near = c.between(0.0, 1.0)
            scale = (0.42 + 0.58 * near) * c.between(0.85, 1.15)
            places.append((top + 2 + near * (WORLD - top - 6), c.between(4, 108), thing, height * scale, settings))
    for y, x, thing, height, settings in sorted(places, key=lambda spot: spot[0]):
        thing(c, x, y, height, **settings)


def row(c: Canvas, y: float, things: Sequence[Thing], *, height: float, step: float, share: float = 0.8) -> None:
    """Things side by side along a line, some left out."""
    x = c.between(-step / 2, step / 2)
    while x < WORLD + step / 2:
        if c.chance(share):
            c.pick(*things)(c, x, y + c.between(0, 2), height * c.between(0.75, 1.2))
        x += step * c.between(0.7, 1.3)


def land(c: Canvas, top: float, *, grass: float = 0.6) -> bool:
    """Grass, or else sand, snow, fallen leaves or tarmac, from ``top`` down; true where there is snow."""
    kind = "grass" if c.chance(grass) else c.pick("sand", "sand", "snow", "snow", "foliage", "asphalt")
    if kind == "grass":
        nature.meadow(c, top)
    elif kind == "sand":
        nature.ground(c, top, None, c.pick("yellow", "brown", "orange"), "sand")
    elif kind == "snow":
        nature.ground(c, top, None, "white", "snow")
    elif kind == "foliage":
        nature.ground(c, top, "field", c.pick("brown", "orange", "red"), "foliage")
    else:
        nature.ground(c, top, "path", "grey", "asphalt")
    return kind == "snow"


def backdrop(c: Canvas, horizon: float) -> None:
    """What stands far away: mountains, hills, or nothing."""
    kind = c.pick("mountains", "hills", "hills", "none")
    if kind == "mountains":
        nature.mountains(c, horizon + 1, height=c.between(16, 34))
    elif kind == "hills":
        nature.hills(c, horizon + 2, height=c.between(6, 18))
    if c.chance(0.35):
        life.birds(c, 8, horizon - 6)
