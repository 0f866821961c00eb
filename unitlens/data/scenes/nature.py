"""Sky, land and what grows on it. Things stand with their foot at (x, y) and are ``s`` units high."""

import math

from unitlens.data.scenes.canvas import WORLD, Canvas, Mark

SKIES = (*["blue"] * 9, "grey", "grey", "white", "white", "orange", "orange", "pink", "pink", "purple", "yellow")
LEAVES = ("green", "green", "green", "green", "green", "orange", "yellow", "red", "brown", "pink")


def sky(c: Canvas, *, horizon: float) -> None:
    """A sky of any weather down to the horizon and behind it, with sun and clouds at times."""
    c.horizon = horizon
    color = c.pick(*SKIES)
    c.box(c.mark("sky", color, fade=c.between(0.1, 0.45)), 0, 0, WORLD, WORLD)
    if c.chance(0.3):
        sun(c, c.between(12, 100), c.between(8, max(12, horizon - 12)), c.between(4, 7))
    tint = c.pick("white", "white", "white", "grey", "pink" if color != "pink" else "white")
    mark = c.mark("cloud", tint)
    for _ in range(c.whole(0, 4)):
        cloud(c, mark, c.between(-5, 117), c.between(3, max(8, horizon * 0.7)), c.between(5, 11))


def sun(c: Canvas, x: float, y: float, s: float) -> None:
    """A sun in its glow."""
    c.shadow(x, y, 2.4 * s, 2.4 * s, depth=-0.05)
    c.shadow(x, y, 1.6 * s, 1.6 * s, depth=-0.1)
    c.disc(c.mark("sun", c.pick("yellow", "yellow", "orange", "red", "white")), x, y, s)


def cloud(c: Canvas, mark: Mark, x: float, y: float, s: float) -> None:
    """A bank of round puffs on a flat base."""
    for _ in range(c.whole(3, 5)):
        at, rise = x + c.between(-1.5, 1.5) * s, c.between(0, 0.4) * s
        c.disc(mark, at, y - rise, s * c.between(0.5, 0.8), s * c.between(0.3, 0.5))
    c.disc(mark, x, y + 0.1 * s, 2.0 * s, 0.3 * s)


def mountains(c: Canvas, foot: float, *, height: float, snow: float = 0.5) -> None:
    """A range of mountains, each with a side in the shade and, often, a cap of snow."""
    color = c.pick("grey", "purple", "blue", "brown", "green", "grey")
    capped = c.chance(snow)
    for _ in range(c.whole(2, 4)):
        x, tall, wide = c.between(0, WORLD), height * c.between(0.55, 1.0), height * c.between(0.9, 1.6)
        mark, lean = c.mark("mountain", color, material="stone"), c.between(-4, 4)
        peak = (x, foot - tall)
        c.polygon(mark, (x - wide, foot), peak, (x + wide, foot))
        c.polygon(mark.but(tone=0.84), peak, (x + wide, foot), (x + lean, foot))
        if capped:
            white, deep = c.mark("mountain", "white", material="snow"), c.between(0.25, 0.45)
            left, right, low = x - wide * deep, x + wide * deep, foot - tall * (1 - deep)
            tooth = tall * 0.08
            c.polygon(
                white,
                (left, low),
                peak,
                (right, low),
                (x + wide * deep * 0.4, low - tooth),
                (x, low + tooth),
                (x - wide * deep * 0.5, low - tooth),
            )
            c.polygon(white.but(tone=0.88), peak, (right, low), (x + wide * deep * 0.4, low - tooth), (x, low))


def hills(c: Canvas, foot: float, *, height: float, color: str | None = None, material: str | None = "grass") -> None:
    """Rounded hills behind everything."""
    shade = color or c.pick("green", "green", "green", "yellow", "brown", "blue", "purple")
    for tone in (0.9, 1.0):
        x, wide = c.between(0, WORLD), c.between(45, 90)
        c.disc(c.mark("hill", shade, material=material, tone=tone), x, foot, wide, height * c.between(0.6, 1.0))


def ground(c: Canvas, top: float, object_: str | None, color: str, material: str, *, flat: bool = False) -> None:
    """Land from ``top`` to the lower edge of the image, with an uneven rim."""
    mark = c.mark(object_, color, material=material, flat=flat, fade=-0.12)
    rim = [(i * WORLD / 8, top + c.between(-0.7, 0.7)) for i in range(9)]
    c.polygon(mark, (0, WORLD + 1), (0, top), *rim, (WORLD + 1, top), (WORLD + 1, WORLD + 1))


def meadow(c: Canvas, top: float, *, color: str | None = None) -> None:
    """A field of grass with tufts and flowers."""
    shade = color or c.pick("green", "green", "green", "green", "yellow", "brown")
    ground(c, top, "field", shade, "grass")
    tuft = c.mark("field", shade, material="grass", tone=0.86)
    for _ in range(c.whole(5, 14)):
        x, y = c.between(0, WORLD), c.between(top + 4, WORLD)
        reach = 1 + 3.5 * (y - top) / (WORLD - top)
        for lean in (-0.5, 0, 0.5):
            c.line(tuft, (x + lean * reach * 0.4, y), (x + lean * reach * 1.6, y - reach * 1.3), width=0.5)
    if c.chance(0.5):
        petals = c.mark("flower", c.pick("red", "yellow", "white", "pink", "purple", "blue", "orange"))
        for _ in range(c.whole(6, 26)):
            y = c.between(top + 5, WORLD)
            c.disc(petals, c.between(0, WORLD), y, 0.5 + 0.8 * (y - top) / (WORLD - top))


def sea(c: Canvas, top: float, *, color: str | None = None) -> None:
    """Water with waves towards the horizon."""
    ground(c, top, "sea", color or c.pick(*["blue"] * 7, "green", "grey", "grey", "purple"), "water", flat=True)


def tree(c: Canvas, x: float, y: float, s: float, *, leaf: str | None = None) -> None:
    """A tree with a round, uneven crown, or a conifer."""
    if c.chance(0.35):
        return conifer(c, x, y, s, leaf=leaf)
    c.shadow(x + 0.12 * s, y, 0.34 * s, 0.06 * s)
    bark = c.mark("tree", c.pick("brown", "brown", "brown", "grey", "white"), part="trunk", material="wood")
    w = s * c.between(0.04, 0.07)
    c.polygon(bark, (x - w, y), (x - w * 0.6, y - s * 0.6), (x + w * 0.6, y - s * 0.6), (x + w, y))
    crown = c.mark("tree", leaf or c.pick(*LEAVES), part="crown", material="foliage")
    c.blob(crown.but(tone=0.82), x + 0.04 * s, y - 0.58 * s, 0.32 * s, 0.26 * s)
    for _ in range(3):
        c.blob(crown, x + c.between(-0.14, 0.12) * s, y - c.between(0.6, 0.8) * s, 0.22 * s, 0.2 * s)
    c.blob(crown.but(tone=1.1), x - 0.09 * s, y - 0.78 * s, 0.12 * s, 0.1 * s)


def conifer(c: Canvas, x: float, y: float, s: float, *, leaf: str | None = None, snowy: bool = False) -> None:
    """A fir of three tiers, with snow on them in winter."""
    c.shadow(x + 0.1 * s, y, 0.28 * s, 0.05 * s)
    c.box(c.mark("tree", "brown", part="trunk", material="wood"), x - 0.04 * s, y - 0.2 * s, x + 0.04 * s, y)
    crown = c.mark("tree", leaf or "green", part="crown", material="foliage")
    snow = c.mark("tree", "white", part="crown", material="snow")
    for low, high, half in ((0.12, 0.55, 0.27), (0.36, 0.78, 0.21), (0.6, 1.0, 0.15)):
        c.polygon(crown, (x - half * s, y - low * s), (x, y - high * s), (x + half * s, y - low * s))
        c.polygon(crown.but(tone=0.84), (x, y - high * s), (x + half * s, y - low * s), (x, y - low * s))
        if snowy:
            mid = (low + 2 * high) / 3
            c.polygon(
                snow,
                (x - half * s * 0.62, y - (low + 0.13) * s),
                (x, y - high * s),
                (x + half * s * 0.4, y - mid * s),
                (x - half * s * 0.1, y - (mid - 0.03) * s),
            )


def palm(c: Canvas, x: float, y: float, s: float) -> None:
    """A palm that leans, with a star of leaves."""
    c.shadow(x + 0.1 * s, y, 0.3 * s, 0.05 * s)
    lean, w = c.between(-0.25, 0.25) * s, 0.035 * s
    bark = c.mark("palm", "brown", part="trunk", material="wood")
    top = (x + lean, y - 0.8 * s)
    c.polygon(
        bark,
        (x - w * 1.5, y),
        (x + lean * 0.35 - w, y - 0.4 * s),
        (top[0] - w, top[1]),
        (top[0] + w, top[1]),
        (x + lean * 0.35 + w, y - 0.4 * s),
        (x + w * 1.5, y),
    )
    leaf = c.mark("palm", "green", part="crown", material="foliage")
    for turn in range(7):
        angle = math.pi * (turn / 6) + c.between(-0.15, 0.15)
        dx, dy = math.cos(angle) * 0.36 * s, -math.sin(angle) * 0.2 * s
        tip = (top[0] + dx, top[1] + dy + 0.12 * s)
        c.polygon(
            leaf.but(tone=0.86 if turn % 2 else 1.0),
            top,
            (top[0] + dx * 0.6, top[1] + dy * 1.1 - 0.06 * s),
            tip,
            (top[0] + dx * 0.55, top[1] + dy * 0.8 + 0.03 * s),
        )


def bush(c: Canvas, x: float, y: float, s: float, *, leaf: str | None = None) -> None:
    """A low bush, in flower at times."""
    c.shadow(x + 0.2 * s, y, 0.9 * s, 0.14 * s)
    mark = c.mark("bush", leaf or c.pick("green", "green", "green", *LEAVES), material="foliage")
    for dx, wide, tone in ((0.35, 0.5, 0.84), (-0.35, 0.5, 0.93), (0, 0.6, 1.0)):
        c.blob(mark.but(tone=tone), x + dx * s, y - 0.42 * s, wide * s, 0.45 * s)
    if c.chance(0.3):
        petals = c.mark("flower", c.pick("red", "pink", "white", "yellow", "purple"))
        for _ in range(7):
            c.disc(petals, x + c.between(-0.6, 0.6) * s, y - c.between(0.2, 0.8) * s, 0.07 * s)


def rock(c: Canvas, x: float, y: float, s: float) -> None:
    """A boulder with a side in the shade."""
    c.shadow(x + 0.3 * s, y, 1.1 * s, 0.16 * s)
    mark = c.mark("rock", c.pick("grey", "grey", "brown", "black"), material="stone")
    c.polygon(
        mark, (x - s, y), (x - 0.75 * s, y - 0.6 * s), (x - 0.1 * s, y - s), (x + 0.6 * s, y - 0.7 * s), (x + s, y)
    )
    c.polygon(mark.but(tone=0.8), (x - 0.1 * s, y - s), (x + 0.6 * s, y - 0.7 * s), (x + s, y), (x + 0.2 * s, y))


def log(c: Canvas, x: float, y: float, s: float) -> None:
    """A felled trunk, lying, with its rings to the left."""
    c.shadow(x, y, 1.6 * s, 0.2 * s)
    bark = c.mark("log", "brown", material="wood")
    c.box(bark.but(tone=0.9), x - 1.4 * s, y - 0.7 * s, x + 1.5 * s, y, radius=0.3 * s)
    ring = c.mark("log", "orange", material="wood")
    c.disc(ring, x - 1.35 * s, y - 0.35 * s, 0.25 * s, 0.35 * s)
    c.disc(bark, x - 1.35 * s, y - 0.35 * s, 0.1 * s, 0.15 * s)


def hay_bale(c: Canvas, x: float, y: float, s: float) -> None:
    """A round bale of hay."""
    c.shadow(x + 0.1 * s, y, 0.8 * s, 0.1 * s)
    straw = c.mark("hay bale", c.pick("yellow", "yellow", "orange"), material="grass")
    c.box(straw.but(tone=0.88), x, y - s, x + 0.6 * s, y, radius=0.4 * s)
    c.disc(straw, x, y - 0.5 * s, 0.5 * s)
    c.disc(straw.but(tone=0.86), x, y - 0.5 * s, 0.3 * s)
    c.disc(straw, x, y - 0.5 * s, 0.16 * s)


def path(c: Canvas, top: float) -> None:
    """A path of sand that winds from ``top`` to the lower edge."""
    x, turn = c.between(30, 82), c.between(-20, 20)
    mark = c.mark("path", c.pick("brown", "yellow", "grey"), material="sand")
    c.polygon(mark, (x - 1, top), (x + 1, top), (x + turn + 22, WORLD), (x + turn - 12, WORLD))
