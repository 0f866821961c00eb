"""People and animals. They stand with their feet at (x, y) and are ``s`` units high."""

from unitlens.data.scenes.canvas import Canvas
from unitlens.data.scenes.words import COLORS

SKIN = (("pink", (238, 182, 160)), ("brown", (150, 104, 74)), ("brown", (104, 72, 52)), ("orange", (226, 160, 110)))


def person(c: Canvas, x: float, y: float, s: float, *, skis: bool = False, swims: bool = False) -> None:
    """Someone who stands, walks, or skis."""
    c.shadow(x + 0.1 * s, y, 0.26 * s, 0.045 * s, of="person")  # not of the skis, which are drawn first
    name, rgb = c.pick(*SKIN)
    skin = c.mark("person", name, rgb=rgb)
    shirt = c.mark("person", c.pick(*COLORS), part="torso", material="fabric")
    trousers = c.mark("person", c.pick(*COLORS), part="leg", material="fabric")
    legs = skin.but(part="leg") if swims else trousers
    if skis:
        _skis(c, x, y, s)
    stride = c.between(0.03, 0.12) * s
    for side in (-1, 1):
        c.line(legs, (x + side * 0.05 * s, y - 0.48 * s), (x + side * stride, y), width=0.1 * s)
        reach = c.between(0.12, 0.24) * s
        sleeve = skin.but(part="arm") if swims else shirt.but(part="arm", tone=0.86)
        c.line(sleeve, (x + side * 0.11 * s, y - 0.76 * s), (x + side * reach, y - 0.48 * s), width=0.075 * s)
    c.box(
        skin.but(part="torso") if swims and c.chance(0.5) else shirt,
        x - 0.13 * s,
        y - 0.82 * s,
        x + 0.13 * s,
        y - 0.46 * s,
        radius=0.05 * s,
    )
    if swims:
        c.box(trousers, x - 0.13 * s, y - 0.5 * s, x + 0.13 * s, y - 0.4 * s)
    hair = c.mark("person", c.pick("black", "brown", "yellow", "orange", "grey", "red"), part="head")
    c.disc(hair, x, y - 0.91 * s, 0.105 * s)
    c.disc(skin.but(part="head"), x + c.pick(-0.02, 0.02) * s, y - 0.885 * s, 0.085 * s)


def _skis(c: Canvas, x: float, y: float, s: float) -> None:
    boards = c.mark("skis", c.pick("red", "blue", "yellow", "green", "black", "orange"))
    slope = c.between(-0.12, 0.2) * s
    for drop in (0.0, 0.08):
        c.line(boards, (x - 0.5 * s, y - slope + drop * s), (x + 0.5 * s, y + slope + drop * s), width=0.06 * s)
    poles = c.mark("skis", "black", part="pole", material="metal")
    for side in (-1, 1):
        c.line(poles, (x + side * 0.2 * s, y - 0.5 * s), (x + side * 0.36 * s, y), width=0.03 * s)


def cow(c: Canvas, x: float, y: float, s: float) -> None:
    """A spotted cow, looking left or right."""
    c.shadow(x, y, 0.8 * s, 0.1 * s)
    hide = c.mark("cow", c.pick("white", "white", "brown", "black", "orange"))
    spots = c.mark("cow", "black" if hide.color != "black" else "white")
    way = c.pick(-1, 1)
    for at in (-0.5, -0.32, 0.3, 0.48):
        c.box(hide.but(part="leg", tone=0.86), x + (at - 0.06) * s, y - 0.4 * s, x + (at + 0.06) * s, y)
    c.box(hide.but(part="torso"), x - 0.62 * s, y - 0.88 * s, x + 0.62 * s, y - 0.32 * s, radius=0.18 * s)
    for _ in range(4):
        c.blob(spots.but(part="torso"), x + c.between(-0.42, 0.42) * s, y - c.between(0.5, 0.75) * s, 0.13 * s, 0.1 * s)
    c.line(hide.but(part="tail"), (x - way * 0.6 * s, y - 0.8 * s), (x - way * 0.72 * s, y - 0.4 * s), width=0.06 * s)
    c.box(
        hide.but(part="head"),
        x + way * 0.72 * s - 0.2 * s,
        y - 1.0 * s,
        x + way * 0.72 * s + 0.2 * s,
        y - 0.68 * s,
        radius=0.1 * s,
    )
    nose = c.mark("cow", "pink", part="head")
    c.disc(nose, x + way * 0.88 * s, y - 0.76 * s, 0.09 * s, 0.08 * s)


def sheep(c: Canvas, x: float, y: float, s: float) -> None:
    """A woolly sheep."""
    c.shadow(x, y, 0.7 * s, 0.1 * s)
    wool, dark = c.mark("sheep", c.pick("white", "white", "grey")), c.mark("sheep", "black")
    way = c.pick(-1, 1)
    for at in (-0.36, -0.2, 0.2, 0.36):
        c.box(dark.but(part="leg"), x + (at - 0.05) * s, y - 0.4 * s, x + (at + 0.05) * s, y)
    for dx, dy, r in ((-0.36, 0.55, 0.26), (0.36, 0.55, 0.26), (0, 0.64, 0.32), (0, 0.45, 0.26)):
        c.disc(wool.but(part="torso"), x + dx * s, y - dy * s, r * s * 1.1, r * s)
    c.disc(dark.but(part="head"), x + way * 0.62 * s, y - 0.72 * s, 0.16 * s, 0.2 * s)


def dog(c: Canvas, x: float, y: float, s: float) -> None:
    """A dog with its tail up."""
    c.shadow(x, y, 0.7 * s, 0.1 * s)
    coat, way = c.mark("dog", c.pick("brown", "black", "white", "orange", "grey")), c.pick(-1, 1)
    for at in (-0.4, -0.26, 0.26, 0.4):
        c.box(coat.but(part="leg", tone=0.86), x + (at - 0.06) * s, y - 0.4 * s, x + (at + 0.06) * s, y)
    c.box(coat.but(part="torso"), x - 0.5 * s, y - 0.68 * s, x + 0.5 * s, y - 0.32 * s, radius=0.14 * s)
    c.line(coat.but(part="tail"), (x - way * 0.46 * s, y - 0.6 * s), (x - way * 0.72 * s, y - 0.95 * s), width=0.1 * s)
    c.disc(coat.but(part="head"), x + way * 0.58 * s, y - 0.82 * s, 0.22 * s, 0.18 * s)
    c.disc(coat.but(part="head", tone=0.8), x + way * 0.46 * s, y - 0.82 * s, 0.08 * s, 0.18 * s)


def cat(c: Canvas, x: float, y: float, s: float) -> None:
    """A cat that sits."""
    coat = c.mark("cat", c.pick("black", "orange", "grey", "white", "brown"))
    c.shadow(x, y, 0.45 * s, 0.08 * s)
    c.line(
        coat.but(part="tail"),
        (x + 0.2 * s, y - 0.08 * s),
        (x + 0.5 * s, y - 0.1 * s),
        (x + 0.55 * s, y - 0.4 * s),
        width=0.1 * s,
    )
    c.disc(coat.but(part="torso"), x, y - 0.32 * s, 0.28 * s, 0.33 * s)
    head = coat.but(part="head", tone=0.95)
    for side in (-1, 1):
        c.polygon(
            head,
            (x + side * 0.22 * s, y - 1.02 * s),
            (x + side * 0.02 * s, y - 0.85 * s),
            (x + side * 0.22 * s, y - 0.72 * s),
        )
    c.disc(head, x, y - 0.72 * s, 0.23 * s, 0.2 * s)


def birds(c: Canvas, low: float, high: float) -> None:
    """A few birds in the air."""
    mark = c.mark("bird", c.pick("black", "white", "grey"))
    for _ in range(c.whole(1, 4)):
        x, y, s = c.between(8, 104), c.between(low, high), c.between(2.0, 4.0)
        c.line(mark, (x - s, y - 0.5 * s), (x - 0.4 * s, y - 0.6 * s), (x, y), width=0.9)
        c.line(mark, (x, y), (x + 0.4 * s, y - 0.6 * s), (x + s, y - 0.5 * s), width=0.9)
