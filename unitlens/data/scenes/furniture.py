"""What stands in rooms. Things stand with their foot at (x, y) and are ``s`` units high."""

from unitlens.data.scenes.canvas import Canvas
from unitlens.data.scenes.words import COLORS, PAINTS

WOODS = ("brown", "brown", "brown", "white", "black", "orange", "grey")


def sofa(c: Canvas, x: float, y: float, s: float, *, seats: int = 3) -> None:
    """A sofa with cushions; with one seat, an armchair."""
    name = "sofa" if seats > 1 else "armchair"
    half = (0.42 * seats + 0.2) * s
    c.shadow(x, y, half * 1.08, 0.08 * s, depth=0.25)
    cloth = c.mark(name, c.pick(*COLORS), material="fabric")
    for side in (-1, 1):
        c.box(
            c.mark(name, "brown", part="leg", material="wood"),
            x + side * half * 0.85 - 0.05 * s,
            y - 0.12 * s,
            x + side * half * 0.85 + 0.05 * s,
            y,
        )
    c.box(cloth.but(tone=0.88), x - half, y - s, x + half, y - 0.1 * s, radius=0.16 * s)
    pillow = c.mark(name, c.pick(*COLORS), part="pillow", material="fabric")
    for i in range(seats):
        at = x + (i - (seats - 1) / 2) * 0.8 * s
        c.box(cloth.but(part="cushion"), at - 0.39 * s, y - 0.46 * s, at + 0.39 * s, y - 0.22 * s, radius=0.06 * s)
        if c.chance(0.5):
            c.box(pillow, at - 0.22 * s, y - 0.78 * s, at + 0.22 * s, y - 0.44 * s, radius=0.08 * s)
    for side in (-1, 1):
        c.box(
            cloth.but(part="arm"),
            x + side * half - 0.13 * s,
            y - 0.62 * s,
            x + side * half + 0.13 * s,
            y - 0.08 * s,
            radius=0.1 * s,
        )


def armchair(c: Canvas, x: float, y: float, s: float) -> None:
    """A sofa for one."""
    sofa(c, x, y, s, seats=1)


def table(c: Canvas, x: float, y: float, s: float, *, half: float) -> None:
    """A table with four legs, and at times something on it."""
    c.shadow(x, y, half, 0.1 * s, depth=0.25)
    wood = c.mark("table", c.pick(*WOODS), material="wood")
    for at in (-0.85, -0.6, 0.6, 0.85):
        back = abs(at) < 0.7
        c.box(
            wood.but(part="leg", tone=0.8 if back else 0.9),
            x + at * half - 0.05 * s,
            y - s,
            x + at * half + 0.05 * s,
            y - 0.12 * s * back,
        )
    c.polygon(
        wood,
        (x - half, y - 0.92 * s),
        (x - 0.85 * half, y - 1.12 * s),
        (x + 0.85 * half, y - 1.12 * s),
        (x + half, y - 0.92 * s),
    )
    c.box(wood.but(tone=0.85), x - half, y - 0.92 * s, x + half, y - 0.82 * s)
    if c.chance(0.5):
        bottle(c, x + c.between(-0.5, 0.5) * half, y - s, 0.55 * s)
    if c.chance(0.35):
        vase(c, x + c.between(-0.5, 0.5) * half, y - s, 0.8 * s)


def chair(c: Canvas, x: float, y: float, s: float) -> None:
    """A wooden chair."""
    c.shadow(x, y, 0.35 * s, 0.06 * s)
    wood, way = c.mark("chair", c.pick(*WOODS, *PAINTS), material="wood"), c.pick(-1, 1)
    for at in (-0.24, 0.24):
        c.box(wood.but(part="leg", tone=0.9), x + at * s - 0.035 * s, y - 0.45 * s, x + at * s + 0.035 * s, y)
    c.box(wood, x - 0.28 * s, y - 0.52 * s, x + 0.28 * s, y - 0.43 * s)
    c.box(wood, x - way * 0.26 * s - 0.04 * s, y - s, x - way * 0.26 * s + 0.04 * s, y - 0.45 * s)
    c.box(wood.but(tone=0.86), x - 0.26 * s, y - s, x + 0.26 * s, y - 0.82 * s, radius=0.04 * s)


def lamp(c: Canvas, x: float, y: float, s: float) -> None:
    """A standing lamp that glows."""
    c.shadow(x, y - 0.85 * s, 0.42 * s, 0.36 * s, depth=-0.08)
    steel = c.mark("lamp", c.pick("black", "grey", "brown"), part="pole", material="metal")
    c.disc(steel, x, y - 0.02 * s, 0.14 * s, 0.035 * s)
    c.line(steel, (x, y), (x, y - 0.8 * s), width=0.04 * s)
    cloth = c.mark(
        "lamp", c.pick("yellow", "yellow", "white", "orange", "red", "green", "pink"), part="shade", material="fabric"
    )
    c.polygon(
        cloth, (x - 0.2 * s, y - 0.7 * s), (x - 0.12 * s, y - s), (x + 0.12 * s, y - s), (x + 0.2 * s, y - 0.7 * s)
    )


def painting(c: Canvas, x: float, y: float, s: float) -> None:
    """A framed painting on the wall, of land and sky or of shapes."""
    wide = s * c.between(0.4, 0.75)
    c.box(
        c.mark("painting", c.pick("brown", "black", "yellow", "white"), part="frame", material="wood"),
        x - wide,
        y - s,
        x + wide,
        y,
    )
    left, top, right, bottom = x - wide + 0.1 * s, y - 0.9 * s, x + wide - 0.1 * s, y - 0.1 * s
    c.box(c.mark("painting", c.pick(*COLORS)), left, top, right, bottom)
    c.box(c.mark("painting", c.pick(*COLORS)), left, y - c.between(0.3, 0.5) * s, right, bottom)
    c.disc(c.mark("painting", c.pick(*COLORS)), x + c.between(-0.2, 0.2) * s, y - c.between(0.5, 0.65) * s, 0.13 * s)


def plant(c: Canvas, x: float, y: float, s: float) -> None:
    """A plant in a pot."""
    c.shadow(x, y, 0.3 * s, 0.06 * s)
    leaf = c.mark("plant", "green", part="crown", material="foliage")
    for i in range(7):
        dx = (i - 3) * 0.11 * s
        tip = (x + dx * 1.5, y - (1.0 - 0.06 * abs(i - 3) ** 1.5) * s)
        c.polygon(
            leaf.but(tone=0.84 if i % 2 else 1.05),
            (x - 0.05 * s, y - 0.35 * s),
            (x + dx - 0.07 * s, y - 0.65 * s),
            tip,
            (x + dx + 0.07 * s, y - 0.6 * s),
            (x + 0.05 * s, y - 0.35 * s),
        )
    clay = c.mark("plant", c.pick("orange", "brown", "white", "blue", "grey"))
    c.polygon(clay, (x - 0.2 * s, y - 0.38 * s), (x + 0.2 * s, y - 0.38 * s), (x + 0.13 * s, y), (x - 0.13 * s, y))


def vase(c: Canvas, x: float, y: float, s: float) -> None:
    """Cut flowers."""
    stem, petal = (
        c.mark("flower", "green"),
        c.mark("flower", c.pick("red", "yellow", "pink", "purple", "white", "orange")),
    )
    for dx in (-0.18, 0.0, 0.18):
        c.line(stem, (x, y - 0.3 * s), (x + dx * s, y - 0.75 * s), width=0.05 * s)
        c.disc(petal, x + dx * s, y - c.between(0.72, 0.9) * s, 0.12 * s)
    c.box(c.mark("pot", c.pick(*PAINTS)), x - 0.13 * s, y - 0.38 * s, x + 0.13 * s, y, radius=0.06 * s)


def bottle(c: Canvas, x: float, y: float, s: float) -> None:
    """A bottle with a neck."""
    glass = c.mark("bottle", c.pick("green", "brown", "blue", "red", "white", "purple"), material="glass")
    c.box(glass, x - 0.16 * s, y - 0.65 * s, x + 0.16 * s, y, radius=0.07 * s)
    c.box(glass, x - 0.07 * s, y - s, x + 0.07 * s, y - 0.55 * s)
    c.box(glass.but(tone=1.12), x - 0.1 * s, y - 0.58 * s, x - 0.04 * s, y - 0.1 * s)


def pot(c: Canvas, x: float, y: float, s: float) -> None:
    """A cooking pot with two handles and a lid."""
    steel = c.mark("pot", c.pick("grey", "red", "black", "blue", "orange", "white"), material="metal")
    c.box(steel.but(part="handle", tone=0.85), x - 0.75 * s, y - 0.62 * s, x + 0.75 * s, y - 0.45 * s)
    c.box(steel, x - 0.55 * s, y - 0.75 * s, x + 0.55 * s, y, radius=0.1 * s)
    c.box(steel.but(tone=0.86), x - 0.58 * s, y - 0.84 * s, x + 0.58 * s, y - 0.7 * s)
    c.disc(steel.but(part="handle", tone=0.9), x, y - 0.92 * s, 0.12 * s)


def bookcase(c: Canvas, x: float, y: float, s: float) -> None:
    """A bookcase full of books."""
    half = s * c.between(0.28, 0.42)
    wood = c.mark("bookcase", c.pick(*WOODS), material="wood")
    c.box(wood, x - half, y - s, x + half, y)
    inks = [c.mark("bookcase", c.pick(*COLORS)) for _ in range(6)]
    for row in range(4):
        foot, at = y - (0.04 + 0.24 * row) * s, x - half + 0.04 * s
        c.box(wood.but(part="shelf", tone=0.8), x - half + 0.03 * s, foot - 0.2 * s, x + half - 0.03 * s, foot)
        while at < x + half - 0.1 * s:
            thick = c.between(0.03, 0.07) * s
            if c.chance(0.88):
                c.box(c.pick(*inks), at, foot - c.between(0.12, 0.19) * s, at + thick, foot)
            at += thick


def television(c: Canvas, x: float, y: float, s: float) -> None:
    """A television on a low stand."""
    c.shadow(x, y, 0.9 * s, 0.07 * s)
    stand = c.mark("television", c.pick(*WOODS), material="wood")
    c.box(stand, x - 0.85 * s, y - 0.3 * s, x + 0.85 * s, y)
    c.box(stand.but(part="drawer", tone=0.88), x - 0.78 * s, y - 0.25 * s, x - 0.04 * s, y - 0.05 * s)
    c.box(stand.but(part="drawer", tone=0.88), x + 0.04 * s, y - 0.25 * s, x + 0.78 * s, y - 0.05 * s)
    c.box(c.mark("television", "black", part="frame"), x - 0.65 * s, y - s, x + 0.65 * s, y - 0.33 * s, radius=0.03 * s)
    screen = c.mark(
        "television", c.pick("blue", "black", "green", "grey", "purple", "pink"), part="screen", material="glass"
    )
    c.box(screen, x - 0.59 * s, y - 0.95 * s, x + 0.59 * s, y - 0.4 * s)
    c.polygon(
        screen.but(tone=1.12),
        (x - 0.59 * s, y - 0.95 * s),
        (x + 0.1 * s, y - 0.95 * s),
        (x - 0.35 * s, y - 0.4 * s),
        (x - 0.59 * s, y - 0.4 * s),
    )


def bed(c: Canvas, x: float, y: float, s: float) -> None:
    """A bed from the side, its head on the left or right."""
    way, half = c.pick(-1, 1), s * c.between(1.0, 1.25)
    c.shadow(x, y, half * 1.05, 0.1 * s, depth=0.28)
    wood, sheet = (
        c.mark("bed", c.pick(*WOODS), material="wood"),
        c.mark("bed", c.pick("white", "white", "pink", "blue"), part="cushion", material="fabric"),
    )
    for side in (-1, 1):
        c.box(
            wood.but(part="leg"), x + side * half * 0.94 - 0.06 * s, y - 0.3 * s, x + side * half * 0.94 + 0.06 * s, y
        )
    c.box(wood, x - half, y - 0.38 * s, x + half, y - 0.18 * s)
    c.box(sheet, x - 0.96 * half, y - 0.56 * s, x + 0.96 * half, y - 0.36 * s, radius=0.06 * s)
    cover = c.mark("bed", c.pick(*COLORS), material="fabric")
    ends = sorted((x - way * 0.97 * half, x + way * 0.4 * half))
    c.box(cover, ends[0], y - 0.62 * s, ends[1], y - 0.24 * s, radius=0.08 * s)
    for i in range(3):
        at = ends[0] + (i + 0.6) * (ends[1] - ends[0]) / 3.4
        c.box(cover.but(tone=0.88), at, y - 0.6 * s, at + 0.06 * s, y - 0.26 * s)
    head = x + way * half
    c.box(
        wood.but(tone=0.92),
        min(head, head - way * 0.12 * s),
        y - s,
        max(head, head - way * 0.12 * s),
        y - 0.1 * s,
        radius=0.04 * s,
    )
    at = x + way * 0.7 * half
    c.box(
        c.mark("bed", c.pick("white", *PAINTS), part="pillow", material="fabric"),
        at - 0.26 * s,
        y - 0.76 * s,
        at + 0.26 * s,
        y - 0.52 * s,
        radius=0.1 * s,
    )
