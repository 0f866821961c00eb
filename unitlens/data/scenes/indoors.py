"""Scenes in rooms. Walls, floors and much of the furniture are common to all; what makes a room a kitchen is not."""

from collections.abc import Callable
from functools import partial

from unitlens.data.scenes import fittings, furniture, life
from unitlens.data.scenes.canvas import WORLD, Canvas, Mark
from unitlens.data.scenes.furniture import WOODS
from unitlens.data.scenes.staging import draw_things


def on_the_wall(c: Canvas, foot: float, *, slots: int) -> None:
    """Windows, paintings and mirrors, side by side on the wall."""
    for i in range(slots):
        x, y = WORLD * (i + 0.5) / slots + c.between(-5, 5), foot - c.between(26, 34)
        kind = c.pick("window", "window", "painting", "painting", "mirror", "none")
        if kind == "window":
            fittings.window(c, x, y, c.between(24, 34))
        elif kind == "painting":
            furniture.painting(c, x, y, c.between(13, 22))
        elif kind == "mirror":
            fittings.mirror(c, x, y, c.between(16, 24))


def stand(c: Canvas, foot: float, things: list[tuple[Callable[..., None], float, float]], *, slots: int) -> None:
    """Stand things along the wall, at most one in each slot.

    ``things`` holds (what, its height, the share of images that have it).
    """
    places = [WORLD * (i + 0.5) / slots for i in range(slots)]
    for thing, height, share in things:
        if places and c.chance(share):
            x = places.pop(c.whole(0, len(places) - 1))
            thing(c, x + c.between(-4, 4), foot + c.between(0, 5), height * c.between(0.85, 1.15))


def in_front(c: Canvas, foot: float, things: list[tuple[Callable[..., None], float, float]]) -> None:
    """Stand things in the room, the far ones first."""
    chosen = [(c.between(foot + 14, 108), thing, height) for thing, height, share in things if c.chance(share)]
    for y, thing, height in sorted(chosen, key=lambda spot: spot[0]):
        thing(c, c.between(10, 102), y, height * c.between(0.85, 1.15))


ANYWHERE = [
    (life.person, 58.0, 0.25),
    (life.cat, 14.0, 0.15),
    (life.dog, 18.0, 0.1),
    (furniture.plant, 26.0, 0.25),
    (furniture.chair, 32.0, 0.25),
]


def _rug(c: Canvas, foot: float, share: float) -> None:
    if c.chance(share):
        fittings.rug(c, c.between(30, 82), c.between(foot + 14, 102), c.between(24, 44), c.between(6, 10))


def living_room(c: Canvas) -> None:
    """Sofas and armchairs, a television, books."""
    foot = c.between(62, 76)
    fittings.room(c, foot=foot)
    on_the_wall(c, foot, slots=c.whole(2, 3))
    has = draw_things(c, 2, sofa=0.6, armchair=0.5, television=0.5, books=0.5, table=0.5)
    stand(
        c,
        foot + 2,
        [
            (furniture.bookcase, 52, "books" in has),
            (furniture.television, 34, "television" in has),
            (furniture.lamp, 48, 0.45),
            (furniture.plant, 30, 0.35),
            (fittings.wardrobe, 52, 0.1),
        ],
        slots=4,
    )
    _rug(c, foot, 0.5)
    if "sofa" in has:
        furniture.sofa(c, c.between(32, 80), c.between(foot + 8, 100), c.between(23, 30), seats=c.pick(2, 3, 3))
    in_front(
        c,
        foot,
        [
            (furniture.armchair, 26, "armchair" in has),
            (partial(furniture.table, half=17), 15, "table" in has),
            *ANYWHERE,
        ],
    )


def kitchen(c: Canvas) -> None:
    """Cupboards, a cooker, a fridge, pots and a table."""
    foot = c.between(68, 86)
    fittings.room(c, foot=foot, tiled=0.35)
    on_the_wall(c, foot - 8, slots=c.whole(1, 3))
    has = draw_things(c, 2, worktop=0.65, hanging=0.4, oven=0.6, fridge=0.55, table=0.5)
    wood = c.mark("cupboard", c.pick(*WOODS, "blue", "green", "red", "yellow"), material="wood")
    if "hanging" in has:
        left, right = c.pick((0.0, 40.0), (72.0, 112.0), (0.0, 52.0))
        box = (left, foot - 66, right, foot - 46)
        c.box(wood, *box)
        fittings.doors(c, wood, box, count=3)
    height = c.between(24, 30)
    if "worktop" in has:
        _worktop(c, foot, height, wood)
    if "oven" in has:
        x = c.between(24, 88)
        fittings.oven(c, x, foot + 4, height * 1.02)
        if c.chance(0.6):
            furniture.pot(c, x + c.between(-6, 6), foot + 4 - height * 1.06, c.between(6, 9))
    if "fridge" in has:
        fittings.fridge(c, c.between(8, 104), foot + 5, c.between(46, 60))
    in_front(c, foot, [(partial(furniture.table, half=22), 22, "table" in has), (furniture.chair, 32, 0.3), *ANYWHERE])


def _worktop(c: Canvas, foot: float, height: float, wood: Mark) -> None:
    """A row of cupboards with pots and bottles on it, and at times a sink in it."""
    left, right = c.pick(-2.0, 18.0, 50.0), c.pick(114.0, 92.0, 70.0)
    fittings.cupboards(c, left, right, foot + 3, height, wood=wood)
    top = foot + 2 - height
    if c.chance(0.5) and right - left > 40:
        x, steel = c.between(left + 12, right - 12), c.mark("sink", c.pick("grey", "white"), material="metal")
        c.box(steel, x - 9, top - 0.5, x + 9, top + 2.5)
        fittings.tap(c, "sink", x, top, 7)
    pots, bottles, vases = (furniture.pot, 8, 0.7), (furniture.bottle, 11, 0.6), (furniture.vase, 13, 0.3)
    for thing, size, share in (pots, bottles, vases, bottles):
        if c.chance(share):
            thing(c, c.between(left + 6, right - 6), top, size * c.between(0.85, 1.15))


def bedroom(c: Canvas) -> None:
    """A bed, a wardrobe, a cupboard and a lamp beside it."""
    foot = c.between(62, 78)
    fittings.room(c, foot=foot)
    on_the_wall(c, foot, slots=c.whole(2, 3))
    has = draw_things(c, 2, bed=0.75, wardrobe=0.6, bedside=0.6)
    stand(
        c,
        foot + 2,
        [
            (fittings.wardrobe, 56, "wardrobe" in has),
            (_bedside, 20, "bedside" in has),
            (furniture.lamp, 46, 0.4),
            (furniture.bookcase, 50, 0.15),
            (furniture.plant, 28, 0.2),
            (furniture.television, 28, 0.08),
        ],
        slots=4,
    )
    _rug(c, foot, 0.5)
    if "bed" in has:
        furniture.bed(c, c.between(34, 78), c.between(foot + 12, 104), c.between(26, 36))
    in_front(c, foot, [(furniture.armchair, 24, 0.12), *ANYWHERE])


def _bedside(c: Canvas, x: float, y: float, s: float) -> None:
    """A small cupboard with drawers, and a lamp on it at times."""
    wood = c.mark("cupboard", c.pick(*WOODS), material="wood")
    c.box(wood, x - 0.45 * s, y - s, x + 0.45 * s, y)
    fittings.drawers(c, wood, (x - 0.45 * s, y - 0.95 * s, x + 0.45 * s, y - 0.05 * s), count=2)
    if c.chance(0.6):
        furniture.lamp(c, x, y - s, 0.9 * s)


def bathroom(c: Canvas) -> None:
    """A bathtub, a wash basin, a toilet, a towel, often tiles."""
    foot = c.between(64, 80)
    fittings.room(c, foot=foot, tiled=0.5)
    on_the_wall(c, foot, slots=c.whole(1, 3))
    has = draw_things(c, 2, tub=0.55, basin=0.6, toilet=0.55, towel=0.55)
    if "towel" in has:
        fittings.towel(c, c.between(12, 100), foot - c.between(8, 20), c.between(18, 28))
    stand(
        c,
        foot + 3,
        [
            (fittings.sink, 32, "basin" in has),
            (fittings.toilet, 30, "toilet" in has),
            (furniture.plant, 26, 0.25),
            (_bedside, 20, 0.12),
            (fittings.wardrobe, 50, 0.08),
        ],
        slots=4,
    )
    _rug(c, foot, 0.4)
    if "tub" in has:
        fittings.bathtub(c, c.between(32, 80), c.between(foot + 12, 104), c.between(22, 30))
    in_front(c, foot, [(furniture.bottle, 11, 0.3), *ANYWHERE])
