"""What people build and drive. Things stand with their foot at (x, y) and are ``s`` units high."""

from unitlens.data.scenes.canvas import Canvas, Mark
from unitlens.data.scenes.words import COLORS, PAINTS


def wall(c: Canvas, object_: str) -> Mark:
    """The outer wall of a building: brick, boards, stone or plaster."""
    material = c.pick("brick", "brick", "wood", "stone", None)
    colors = {
        "brick": ("red", "brown", "orange", "grey"),
        "wood": ("brown", "red", "blue", "white", "green"),
        "stone": ("grey", "brown"),
    }
    return c.mark(object_, c.pick(*colors.get(material or "", PAINTS)), material=material)


def windows(c: Canvas, object_: str, box: tuple[float, float, float, float], *, rows: int, columns: int) -> None:
    """A grid of windows inside (left, top, right, bottom), dark by day or lit."""
    left, top, right, bottom = box
    glass = c.mark(object_, c.pick("blue", "blue", "black", "grey", "yellow"), part="window", material="glass")
    frame = c.mark(object_, c.pick("white", "white", "brown", "black"), part="frame")
    across, down = (right - left) / columns, (bottom - top) / rows
    for i in range(rows * columns):
        x, y = left + (i % columns + 0.5) * across, top + (i // columns + 0.5) * down
        w, h = 0.3 * across, 0.3 * down
        if w > 1.4:
            c.box(frame, x - w - 0.6, y - h - 0.6, x + w + 0.6, y + h + 0.6)
        c.box(glass, x - w, y - h, x + w, y + h)
        c.polygon(glass.but(tone=1.14), (x - w, y + h * 0.2), (x - w, y - h), (x + w * 0.3, y - h))


def door(c: Canvas, object_: str, x: float, y: float, s: float) -> None:
    """A door with a handle."""
    leaf = c.mark(object_, c.pick("brown", "red", "green", "blue", "white"), part="door", material="wood")
    c.box(leaf, x - 0.24 * s, y - s, x + 0.24 * s, y)
    c.disc(c.mark(object_, "yellow", part="handle", material="metal"), x + 0.14 * s, y - 0.48 * s, 0.06 * s)


def house(c: Canvas, x: float, y: float, s: float, *, snowy: bool = False) -> None:
    """A house with a pitched roof, windows, a door and at times a chimney."""
    half, eaves = s * c.between(0.45, 0.6), y - 0.58 * s
    c.shadow(x + 0.25 * s, y, half * 1.15, 0.05 * s)
    roof = c.mark("house", c.pick("red", "brown", "grey", "orange", "black", "blue"), part="roof", material="tile")
    if snowy:
        roof = c.mark("house", "white", part="roof", material="snow")
    if c.chance(0.6):
        stack = c.mark("house", c.pick("red", "grey", "brown"), part="chimney", material="brick")
        c.box(stack, x + 0.18 * s, y - 1.08 * s, x + 0.3 * s, y - 0.6 * s)
    c.box(wall(c, "house"), x - half, eaves, x + half, y)
    c.shade((x - half, eaves), (x + half, eaves), (x + half, eaves + 0.05 * s), (x - half, eaves + 0.05 * s), depth=0.2)
    peak = c.between(0.25, 0.75) * half
    c.polygon(roof, (x - half * 1.15, eaves), (x - peak, y - s), (x + peak, y - s), (x + half * 1.15, eaves))
    windows(c, "house", (x - half, eaves + 0.05 * s, x + half, y - 0.12 * s), rows=1, columns=3)
    door(c, "house", x + c.pick(-0.33, 0.0, 0.33) * 2 * half, y, 0.36 * s)


def barn(c: Canvas, x: float, y: float, s: float) -> None:
    """A barn of boards with a big door and a bent roof."""
    half, eaves = 0.6 * s, y - 0.55 * s
    c.shadow(x + 0.2 * s, y, half * 1.2, 0.06 * s)
    boards = c.mark("barn", c.pick("red", "red", "brown", "white", "green", "grey", "blue"), material="wood")
    c.polygon(
        boards,
        (x - half, y),
        (x - half, eaves),
        (x - 0.4 * s, y - 0.85 * s),
        (x, y - s),
        (x + 0.4 * s, y - 0.85 * s),
        (x + half, eaves),
        (x + half, y),
    )
    roof = c.mark("barn", c.pick("grey", "black", "brown", "white"), part="roof", material="tile")
    c.line(
        roof,
        (x - half * 1.08, eaves + 0.02 * s),
        (x - 0.4 * s, y - 0.86 * s),
        (x, y - 1.01 * s),
        (x + 0.4 * s, y - 0.86 * s),
        (x + half * 1.08, eaves + 0.02 * s),
        width=0.09 * s,
    )
    leaf = c.mark("barn", c.pick("white", "brown", "yellow"), part="door", material="wood")
    c.box(leaf, x - 0.26 * s, y - 0.45 * s, x + 0.26 * s, y)
    beam = boards.but(part="door", tone=0.9)
    c.line(beam, (x - 0.24 * s, y), (x + 0.24 * s, y - 0.44 * s), width=0.05 * s)
    c.line(beam, (x + 0.24 * s, y), (x - 0.24 * s, y - 0.44 * s), width=0.05 * s)
    c.disc(c.mark("barn", "black", part="window"), x, y - 0.7 * s, 0.1 * s)


def skyscraper(c: Canvas, x: float, y: float, s: float, *, wide: float) -> None:
    """A tall block with many windows."""
    face = c.mark(
        "skyscraper",
        c.pick("grey", "blue", "brown", "white", "red", "pink", "yellow"),
        material=c.pick("brick", "stone", None, None),
    )
    c.box(face, x - wide, y - s, x + wide, y)
    c.box(face.but(tone=0.84), x + 0.6 * wide, y - s, x + wide, y)
    windows(
        c,
        "skyscraper",
        (x - wide * 0.95, y - s * 0.97, x + wide * 0.6, y - 0.1 * s),
        rows=max(2, int(s / 8)),
        columns=3,
    )


def lighthouse(c: Canvas, x: float, y: float, s: float) -> None:
    """A striped tower with a lantern."""
    bands = c.mark("lighthouse", c.pick("red", "red", "black", "blue", "green")), c.mark("lighthouse", "white")
    for i in range(6):
        low, high = y - i * 0.13 * s, y - (i + 1) * 0.13 * s
        w0, w1 = (0.15 - 0.011 * i) * s, (0.15 - 0.011 * (i + 1)) * s
        c.polygon(bands[i % 2], (x - w0, low), (x - w1, high), (x + w1, high), (x + w0, low))
        c.polygon(bands[i % 2].but(tone=0.86), (x + 0.3 * w0, low), (x + 0.3 * w1, high), (x + w1, high), (x + w0, low))
    c.box(
        c.mark("lighthouse", "yellow", part="window", material="glass"),
        x - 0.06 * s,
        y - 0.9 * s,
        x + 0.06 * s,
        y - 0.78 * s,
    )
    c.polygon(bands[0].but(part="roof"), (x - 0.1 * s, y - 0.89 * s), (x, y - s), (x + 0.1 * s, y - 0.89 * s))
    door(c, "lighthouse", x, y, 0.16 * s)


def street_lamp(c: Canvas, x: float, y: float, s: float) -> None:
    """A lamp on a pole."""
    steel, side = c.mark("street lamp", c.pick("black", "grey", "green"), part="pole", material="metal"), c.pick(-1, 1)
    c.line(steel, (x, y), (x, y - 0.95 * s), (x + side * 0.2 * s, y - s), width=0.05 * s)
    c.disc(
        c.mark("street lamp", c.pick("yellow", "white"), part="shade"),
        x + side * 0.24 * s,
        y - 0.97 * s,
        0.09 * s,
        0.06 * s,
    )


def fence(c: Canvas, left: float, right: float, y: float, s: float) -> None:
    """A fence of boards from left to right."""
    boards = c.mark("fence", c.pick("brown", "brown", "white", "grey"), material="wood")
    for height in (0.35, 0.75):
        c.box(boards.but(tone=0.9), left, y - (height + 0.1) * s, right, y - height * s)
    at = left
    while at < right:
        c.box(boards, at, y - s, at + 0.22 * s, y)
        at += 0.75 * s


def bench(c: Canvas, x: float, y: float, s: float) -> None:
    """A bench to sit on."""
    c.shadow(x, y, 1.1 * s, 0.12 * s)
    seat = c.mark("bench", c.pick("brown", "green", "red", "blue", "white"), material="wood")
    iron = c.mark("bench", "black", part="leg", material="metal")
    for side in (-0.8, 0.8):
        c.box(iron, x + side * s - 0.08 * s, y - 0.5 * s, x + side * s + 0.08 * s, y)
    c.box(seat, x - s, y - 0.55 * s, x + s, y - 0.42 * s)
    for height in (0.7, 0.9):
        c.box(seat.but(tone=0.9), x - s, y - (height + 0.1) * s, x + s, y - (height - 0.02) * s)


def tent(c: Canvas, x: float, y: float, s: float) -> None:
    """A ridge tent, open in front."""
    c.shadow(x, y, 1.2 * s, 0.12 * s)
    cloth = c.mark("tent", c.pick(*PAINTS), material="fabric")
    deep = c.between(0.5, 0.9) * c.pick(-1, 1)
    c.polygon(
        cloth.but(part="roof", tone=0.86),
        (x, y - s),
        (x + deep * s, y - 0.92 * s),
        (x + (deep + 0.7 * (1 if deep > 0 else -1)) * s, y - 0.06 * s),
        (x + (0.75 if deep > 0 else -0.75) * s, y),
    )
    c.polygon(cloth, (x - 0.75 * s, y), (x, y - s), (x + 0.75 * s, y))
    c.polygon(c.mark("tent", "black", part="door"), (x - 0.26 * s, y), (x, y - 0.72 * s), (x + 0.26 * s, y))


def campfire(c: Canvas, x: float, y: float, s: float) -> None:
    """Flames over crossed logs, with a glow on the ground."""
    c.shadow(x, y, 1.6 * s, 0.4 * s, depth=-0.12)
    for points, color in (((0.5, 1.0), "red"), ((0.38, 0.8), "orange"), ((0.22, 0.5), "yellow")):
        w, h = points
        c.polygon(
            c.mark("campfire", color),
            (x - w * s, y - 0.1 * s),
            (x - w * 0.7 * s, y - h * 0.6 * s),
            (x - 0.3 * w * s, y - h * 0.5 * s),
            (x, y - h * s),
            (x + 0.4 * w * s, y - h * 0.55 * s),
            (x + w * s, y - 0.1 * s),
        )
    bark = c.mark("campfire", "brown", material="wood")
    c.line(bark, (x - 0.7 * s, y), (x + 0.6 * s, y - 0.2 * s), width=0.16 * s)
    c.line(bark.but(tone=0.86), (x + 0.7 * s, y), (x - 0.6 * s, y - 0.2 * s), width=0.16 * s)


def umbrella(c: Canvas, x: float, y: float, s: float) -> None:
    """A parasol in two colours."""
    c.shadow(x + 0.15 * s, y, 0.45 * s, 0.07 * s)
    c.line(c.mark("umbrella", "white", part="pole", material="wood"), (x, y), (x, y - s), width=0.05 * s)
    one, two = (
        c.mark("umbrella", c.pick(*PAINTS), material="fabric"),
        c.mark("umbrella", c.pick("white", *PAINTS), material="fabric"),
    )
    rim = [x + (i / 3 - 1) * 0.6 * s for i in range(7)]
    for i in range(6):
        c.polygon(
            (one, two)[i % 2],
            (rim[i], y - 0.66 * s),
            (x + (rim[i] - x) * 0.62, y - 0.9 * s),
            (x, y - s),
            (x + (rim[i + 1] - x) * 0.62, y - 0.9 * s),
            (rim[i + 1], y - 0.66 * s),
        )


def slide(c: Canvas, x: float, y: float, s: float) -> None:
    """A playground slide with its ladder."""
    c.shadow(x, y, s, 0.08 * s)
    steel, way = c.mark("slide", c.pick("red", "yellow", "blue", "green"), part="leg", material="metal"), c.pick(-1, 1)
    chute = c.mark("slide", c.pick(*PAINTS), material="metal")
    foot, top = x - way * 0.55 * s, x - way * 0.3 * s
    for shift in (0.0, 0.2):
        c.line(steel, (foot + way * shift * s, y), (top + way * shift * s, y - s), width=0.06 * s)
    for i in range(1, 5):
        at = foot + way * 0.05 * i * s
        c.line(steel.but(tone=0.85), (at, y - 0.2 * i * s), (at + way * 0.2 * s, y - 0.2 * i * s), width=0.05 * s)
    c.line(
        chute,
        (top, y - 0.76 * s),
        (top + way * 0.22 * s, y - 0.76 * s),
        (x + way * 0.55 * s, y - 0.12 * s),
        (x + way * 0.8 * s, y - 0.06 * s),
        width=0.17 * s,
    )
    c.line(chute.but(tone=0.84), (top + way * 0.2 * s, y - 0.84 * s), (x + way * 0.57 * s, y - 0.2 * s), width=0.05 * s)


def swing(c: Canvas, x: float, y: float, s: float) -> None:
    """A frame with two swings."""
    c.shadow(x, y, 0.9 * s, 0.06 * s)
    bars = c.mark("swing", c.pick("red", "blue", "green", "yellow", "brown", "purple"), part="leg", material="metal")
    for side in (-1, 1):
        for splay in (-0.14, 0.14):
            c.line(bars, (x + (side * 0.75 + splay) * s, y), (x + side * 0.75 * s, y - s), width=0.06 * s)
    c.line(bars.but(part=None), (x - 0.8 * s, y - s), (x + 0.8 * s, y - s), width=0.07 * s)
    rope, seat = c.mark("swing", "black"), c.mark("swing", c.pick("brown", "red", "black", "yellow"), material="wood")
    for at in (-0.35, 0.35):
        sway = c.between(-0.12, 0.12) * s
        for hold in (at - 0.11, at + 0.11):
            c.line(rope, (x + hold * s, y - s), (x + hold * s + sway, y - 0.3 * s), width=0.02 * s)
        c.box(seat, x + (at - 0.16) * s + sway, y - 0.32 * s, x + (at + 0.16) * s + sway, y - 0.24 * s)


def ball(c: Canvas, x: float, y: float, s: float) -> None:
    """A ball in two colours."""
    c.shadow(x + 0.1 * s, y, 0.6 * s, 0.14 * s)
    c.disc(c.mark("ball", c.pick(*PAINTS)), x, y - 0.5 * s, 0.5 * s)
    c.disc(c.mark("ball", c.pick(*PAINTS)), x, y - 0.5 * s, 0.2 * s, 0.5 * s)


def towel_on_sand(c: Canvas, x: float, y: float, s: float) -> None:
    """A striped towel, lying."""
    one, two = (c.mark("towel", c.pick(*COLORS), material="fabric") for _ in range(2))
    for i in range(5):
        left, right = x + (i / 5 - 0.5) * 1.9 * s, x + ((i + 1) / 5 - 0.5) * 1.9 * s
        c.polygon(
            (one, two)[i % 2], (left, y), (left + 0.35 * s, y - 0.5 * s), (right + 0.35 * s, y - 0.5 * s), (right, y)
        )
