"""Walls, floors and what is built into rooms. Things stand with their foot at (x, y) and are ``s`` units high."""

from unitlens.data.scenes.canvas import WORLD, Canvas, Mark
from unitlens.data.scenes.furniture import WOODS
from unitlens.data.scenes.words import COLORS, PAINTS


def room(c: Canvas, *, foot: float, tiled: float = 0.1) -> None:
    """A wall down to ``foot`` and a floor before it; ``tiled`` is how often each of them has tiles."""
    c.horizon = foot - 22
    material = "tile" if c.chance(tiled) else c.pick(None, None, None, None, "brick", "wood")
    paper = c.mark("wall", c.pick("white", "yellow", "grey", "pink", *COLORS[1:]), material=material, fade=-0.08)
    c.box(paper, 0, 0, WORLD, foot)
    if material is None and c.chance(0.3):
        for i in range(12):
            c.box(paper.but(tone=0.93), 10 * i + 2, 0, 10 * i + 5, foot)
    boards = c.pick("wood", "wood", "fabric", "tile") if not c.chance(tiled) else "tile"
    colors = {
        "wood": ("brown", "brown", "orange", "grey"),
        "tile": ("white", "grey", "blue", "brown", "black"),
        "fabric": ("grey", "blue", "green", "red", "purple", "yellow"),
    }
    floor = c.mark("floor", c.pick(*colors[boards]), material=boards, flat=True)
    c.box(floor, 0, foot, WORLD, WORLD)
    c.shade((0, foot), (WORLD, foot), (WORLD, foot + 2), (0, foot + 2), depth=0.15)
    c.box(c.mark("wall", c.pick("white", "brown"), material="wood"), 0, foot - 2.2, WORLD, foot)


def window(c: Canvas, x: float, y: float, s: float) -> None:
    """A window with the sky, at times hills, behind it, and at times curtains; y is its lower edge."""
    half = s * c.between(0.35, 0.5)
    c.box(
        c.mark("wall", c.pick("white", "white", "brown"), part="frame", material="wood"),
        x - half - 1.4,
        y - s - 1.4,
        x + half + 1.4,
        y + 1.4,
    )
    air = c.mark("sky", c.pick("blue", "blue", "grey", "orange", "black", "purple"), part="window", material="glass")
    c.box(air, x - half, y - s, x + half, y)
    if c.chance(0.5):
        land = c.mark("hill", c.pick("green", "green", "white", "yellow"), part="window", material="glass")
        c.polygon(
            land,
            (x - half, y),
            (x - half, y - 0.3 * s),
            (x - 0.2 * half, y - c.between(0.2, 0.5) * s),
            (x + half, y - 0.2 * s),
            (x + half, y),
        )
    bars = c.mark("wall", "white", part="frame", material="wood")
    c.box(bars, x - 0.5, y - s, x + 0.5, y)
    c.box(bars, x - half, y - 0.55 * s, x + half, y - 0.55 * s + 1)
    if c.chance(0.45):
        cloth = c.mark("curtain", c.pick(*COLORS), material="fabric")
        for side in (-1, 1):
            for i in range(4):
                at = x + side * (half + 2 - 0.14 * i * half)
                c.box(cloth.but(tone=(1.0, 0.86)[i % 2]), at - 0.09 * half, y - s - 3, at + 0.09 * half, y + 4)
        c.box(
            c.mark("curtain", c.pick("black", "brown", "yellow"), part="pole", material="metal"),
            x - half - 4,
            y - s - 4,
            x + half + 4,
            y - s - 3,
        )


def rug(c: Canvas, x: float, y: float, across: float, down: float) -> None:
    """A rug on the floor, with a border."""
    one, two = c.mark("rug", c.pick(*COLORS), material="fabric"), c.mark("rug", c.pick(*COLORS), material="fabric")
    if c.chance(0.5):
        for mark, share in ((one, 1.0), (two, 0.82), (one, 0.5)):
            c.disc(mark, x, y, across * share, down * share)
        return
    for mark, share in ((one, 1.0), (two, 0.8), (one, 0.6)):
        a, d = across * share, down * share
        c.polygon(mark, (x - a, y + d), (x - a * 0.8, y - d), (x + a * 0.8, y - d), (x + a, y + d))


def drawers(c: Canvas, body: Mark, box: tuple[float, float, float, float], *, count: int) -> None:
    """Drawers one below the other, each with a handle."""
    left, top, right, bottom = box
    knob = c.mark(body.object, c.pick("grey", "yellow", "black"), part="handle", material="metal")
    step = (bottom - top) / count
    for i in range(count):
        y = top + i * step
        c.box(body.but(part="drawer", tone=0.9), left + 0.6, y + 0.6, right - 0.6, y + step - 0.6)
        c.box(knob, (left + right) / 2 - 1.2, y + step / 2 - 0.5, (left + right) / 2 + 1.2, y + step / 2 + 0.5)


def doors(c: Canvas, body: Mark, box: tuple[float, float, float, float], *, count: int) -> None:
    """Doors side by side, each with a handle."""
    left, top, right, bottom = box
    knob = c.mark(body.object, c.pick("grey", "yellow", "black"), part="handle", material="metal")
    step = (right - left) / count
    for i in range(count):
        x, mid = left + i * step, (top + bottom) / 2
        c.box(body.but(part="door", tone=0.9), x + 0.6, top + 0.6, x + step - 0.6, bottom - 0.6)
        at = x + step - 2.2 if i % 2 == 0 else x + 1.4
        c.box(knob, at, mid - 1.6, at + 0.9, mid + 1.6)


def wardrobe(c: Canvas, x: float, y: float, s: float) -> None:
    """A wardrobe with two doors and a drawer."""
    half = 0.32 * s
    c.shadow(x, y, half * 1.15, 0.05 * s)
    wood = c.mark("wardrobe", c.pick(*WOODS, "green", "blue"), material="wood")
    c.box(wood, x - half, y - s, x + half, y)
    doors(c, wood, (x - half, y - 0.97 * s, x + half, y - 0.25 * s), count=2)
    drawers(c, wood, (x - half, y - 0.25 * s, x + half, y - 0.04 * s), count=1)


def cupboards(c: Canvas, left: float, right: float, y: float, s: float, *, wood: Mark) -> None:
    """A row of floor cupboards under a worktop."""
    c.box(wood, left, y - s, right, y)
    at, step = left, 13.0
    while at + step <= right + 0.5:
        box = (at, y - 0.88 * s, min(right, at + step), y - 0.04 * s)
        if c.chance(0.35):
            drawers(c, wood, box, count=3)
        else:
            doors(c, wood, box, count=1)
        at += step
    top = c.mark("cupboard", c.pick("grey", "white", "black", "brown"), material=c.pick("stone", "wood"))
    c.box(top, left - 0.5, y - s - 1, right + 0.5, y - 0.88 * s)


def oven(c: Canvas, x: float, y: float, s: float) -> None:
    """A cooker: hot plates, knobs and an oven door."""
    half = 0.5 * s
    steel = c.mark("oven", c.pick("white", "grey", "black", "red"), material="metal")
    c.box(steel, x - half, y - s, x + half, y)
    c.box(c.mark("oven", "black"), x - half, y - 1.05 * s, x + half, y - 0.97 * s)
    for i in range(4):
        c.disc(
            c.mark("oven", "black" if steel.color != "black" else "white", part="handle"),
            x + (i - 1.5) * 0.2 * s,
            y - 0.87 * s,
            0.055 * s,
        )
    c.box(steel.but(part="door", tone=0.9), x - 0.42 * s, y - 0.75 * s, x + 0.42 * s, y - 0.1 * s)
    c.box(
        c.mark("oven", c.pick("black", "black", "orange"), part="window", material="glass"),
        x - 0.32 * s,
        y - 0.58 * s,
        x + 0.32 * s,
        y - 0.2 * s,
    )
    c.box(
        c.mark("oven", "grey", part="handle", material="metal"), x - 0.34 * s, y - 0.7 * s, x + 0.34 * s, y - 0.65 * s
    )


def fridge(c: Canvas, x: float, y: float, s: float) -> None:
    """A fridge with two doors."""
    half = 0.26 * s
    body = c.mark("fridge", c.pick("white", "white", "grey", "red", "blue", "pink"), material="metal")
    c.box(body.but(tone=0.84), x - half, y - s, x + half, y, radius=0.03 * s)
    for top, bottom in ((0.97, 0.66), (0.64, 0.05)):
        c.box(body.but(part="door"), x - half + 0.6, y - top * s, x + half - 0.6, y - bottom * s, radius=0.03 * s)
        c.box(
            c.mark("fridge", "black", part="handle", material="metal"),
            x + half * 0.55,
            y - (top - 0.05) * s,
            x + half * 0.55 + 0.9,
            y - (top - 0.2) * s,
        )


def tap(c: Canvas, object_: str, x: float, y: float, s: float) -> None:
    """A bent tap."""
    steel = c.mark(object_, "grey", part="tap", material="metal")
    c.line(steel, (x, y), (x, y - s), (x + 0.6 * s, y - s), (x + 0.6 * s, y - 0.7 * s), width=max(0.9, 0.16 * s))


def sink(c: Canvas, x: float, y: float, s: float) -> None:
    """A wash basin on a foot."""
    white = c.mark("sink", c.pick("white", "white", "white", "pink", "blue", "green"))
    tap(c, "sink", x - 0.05 * s, y - 0.95 * s, 0.2 * s)
    c.polygon(
        white.but(part="leg", tone=0.86),
        (x - 0.12 * s, y - 0.7 * s),
        (x + 0.12 * s, y - 0.7 * s),
        (x + 0.16 * s, y),
        (x - 0.16 * s, y),
    )
    c.polygon(
        white,
        (x - 0.46 * s, y - 0.97 * s),
        (x + 0.46 * s, y - 0.97 * s),
        (x + 0.28 * s, y - 0.62 * s),
        (x - 0.28 * s, y - 0.62 * s),
    )
    c.disc(white.but(tone=0.88), x, y - 0.96 * s, 0.4 * s, 0.06 * s)


def bathtub(c: Canvas, x: float, y: float, s: float) -> None:
    """A bathtub on feet, with a tap, full of water at times."""
    half = s * c.between(1.05, 1.35)
    c.shadow(x, y, half, 0.12 * s, depth=0.25)
    white, way = c.mark("bathtub", c.pick("white", "white", "white", "pink", "green", "blue")), c.pick(-1, 1)
    tap(c, "bathtub", x + way * 0.8 * half, y - 0.85 * s, 0.4 * s)
    for side in (-1, 1):
        c.disc(
            c.mark("bathtub", c.pick("yellow", "grey"), part="leg", material="metal"),
            x + side * 0.65 * half,
            y - 0.1 * s,
            0.1 * s,
        )
    c.polygon(
        white,
        (x - half, y - 0.85 * s),
        (x + half, y - 0.85 * s),
        (x + 0.8 * half, y - 0.12 * s),
        (x - 0.8 * half, y - 0.12 * s),
    )
    c.polygon(
        white.but(tone=0.88),
        (x - 0.88 * half, y - 0.4 * s),
        (x + 0.88 * half, y - 0.4 * s),
        (x + 0.8 * half, y - 0.12 * s),
        (x - 0.8 * half, y - 0.12 * s),
    )
    inside = c.mark("bathtub", "blue", material="water") if c.chance(0.6) else white.but(tone=0.8)
    c.disc(white, x, y - 0.85 * s, half * 1.05, 0.12 * s)
    c.disc(inside, x, y - 0.85 * s, half * 0.95, 0.08 * s)


def toilet(c: Canvas, x: float, y: float, s: float) -> None:
    """A toilet from the side, its cistern behind."""
    white, way = c.mark("toilet", c.pick("white", "white", "white", "pink", "green")), c.pick(-1, 1)
    c.shadow(x, y, 0.45 * s, 0.06 * s)
    back = x - way * 0.3 * s
    c.box(white.but(tone=0.92), back - 0.16 * s, y - s, back + 0.16 * s, y - 0.5 * s, radius=0.04 * s)
    c.box(
        c.mark("toilet", "grey", part="handle", material="metal"),
        back - 0.03 * s,
        y - 0.95 * s,
        back + 0.1 * s,
        y - 0.89 * s,
    )
    c.polygon(
        white,
        (x - 0.4 * s, y - 0.52 * s),
        (x + 0.42 * s, y - 0.52 * s),
        (x + 0.2 * s, y - 0.18 * s),
        (x + 0.18 * s, y),
        (x - 0.22 * s, y),
        (x - 0.25 * s, y - 0.2 * s),
    )
    lid = c.mark("toilet", c.pick("white", "brown", "black", *PAINTS))
    c.box(lid.but(tone=0.9), x - 0.4 * s, y - 0.56 * s, x + 0.44 * s, y - 0.49 * s, radius=0.02 * s)


def mirror(c: Canvas, x: float, y: float, s: float) -> None:
    """A mirror in a frame, round or square."""
    rim = c.mark("mirror", c.pick("brown", "yellow", "white", "black"), part="frame", material="wood")
    glass = c.mark("mirror", c.pick("blue", "grey", "white"), material="glass")
    if c.chance(0.5):
        c.disc(rim, x, y - 0.5 * s, 0.42 * s, 0.5 * s)
        c.disc(glass, x, y - 0.5 * s, 0.35 * s, 0.43 * s)
    else:
        c.box(rim, x - 0.42 * s, y - s, x + 0.42 * s, y)
        c.box(glass, x - 0.35 * s, y - 0.93 * s, x + 0.35 * s, y - 0.07 * s)
    for shift in (-0.12, 0.08):
        c.line(
            glass.but(tone=1.1),
            (x + (shift - 0.1) * s, y - 0.35 * s),
            (x + (shift + 0.1) * s, y - 0.65 * s),
            width=0.05 * s,
        )


def towel(c: Canvas, x: float, y: float, s: float) -> None:
    """A striped towel on a rail."""
    cloth = c.mark("towel", c.pick(*COLORS), material="fabric")
    c.box(c.mark("towel", "grey", part="pole", material="metal"), x - 0.5 * s, y - s, x + 0.5 * s, y - 0.95 * s)
    c.box(cloth, x - 0.32 * s, y - 0.98 * s, x + 0.32 * s, y)
    stripe = c.mark("towel", c.pick(*COLORS), material="fabric")
    for low in (0.12, 0.28):
        c.box(stripe, x - 0.32 * s, y - (low + 0.07) * s, x + 0.32 * s, y - low * s)
