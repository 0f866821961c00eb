"""What drives, floats and lifts. Things stand with their foot at (x, y) and are ``s`` units high."""

from unitlens.data.scenes.canvas import WORLD, Canvas
from unitlens.data.scenes.town import windows
from unitlens.data.scenes.words import COLORS, PAINTS


def wheel(c: Canvas, object_: str, x: float, y: float, r: float) -> None:
    """A tyre and its rim, standing at y."""
    c.disc(c.mark(object_, "black", part="wheel"), x, y - r, r)
    c.disc(c.mark(object_, "grey", part="wheel", material="metal"), x, y - r, 0.5 * r)


def car(c: Canvas, x: float, y: float, s: float) -> None:
    """A car from the side."""
    c.shadow(x, y, 1.3 * s, 0.14 * s, depth=0.3)
    paint, way = c.mark("car", c.pick(*COLORS), material="metal"), c.pick(-1, 1)
    c.polygon(
        paint, (x - 0.75 * s, y - 0.55 * s), (x - 0.45 * s, y - s), (x + 0.45 * s, y - s), (x + 0.8 * s, y - 0.55 * s)
    )
    glass = c.mark("car", c.pick("blue", "black", "grey"), part="window", material="glass")
    c.polygon(
        glass,
        (x - 0.6 * s, y - 0.57 * s),
        (x - 0.4 * s, y - 0.9 * s),
        (x - 0.05 * s, y - 0.9 * s),
        (x - 0.05 * s, y - 0.57 * s),
    )
    c.polygon(
        glass.but(tone=1.1),
        (x + 0.05 * s, y - 0.57 * s),
        (x + 0.05 * s, y - 0.9 * s),
        (x + 0.4 * s, y - 0.9 * s),
        (x + 0.64 * s, y - 0.57 * s),
    )
    c.box(paint, x - 1.25 * s, y - 0.6 * s, x + 1.25 * s, y - 0.2 * s, radius=0.14 * s)
    c.box(paint.but(tone=0.86), x - 1.22 * s, y - 0.32 * s, x + 1.22 * s, y - 0.2 * s)
    c.box(paint.but(part="door", tone=0.93), x - 0.5 * s, y - 0.56 * s, x + 0.02 * s, y - 0.26 * s)
    c.disc(c.mark("car", "yellow", part="headlight", material="glass"), x + way * 1.16 * s, y - 0.44 * s, 0.1 * s)
    c.disc(c.mark("car", "red", part="headlight", material="glass"), x - way * 1.18 * s, y - 0.44 * s, 0.07 * s)
    for side in (-0.75, 0.75):
        wheel(c, "car", x + side * s, y, 0.25 * s)


def bus(c: Canvas, x: float, y: float, s: float) -> None:
    """A bus from the side."""
    c.shadow(x, y, 1.5 * s, 0.12 * s, depth=0.3)
    paint = c.mark("bus", c.pick("red", "yellow", "blue", "green", "orange", "white", "purple"), material="metal")
    c.box(paint, x - 1.4 * s, y - s, x + 1.4 * s, y - 0.14 * s, radius=0.1 * s)
    c.box(paint.but(tone=0.85), x - 1.4 * s, y - 0.36 * s, x + 1.4 * s, y - 0.2 * s)
    windows(c, "bus", (x - 1.35 * s, y - 0.98 * s, x + 0.9 * s, y - 0.42 * s), rows=1, columns=4)
    c.box(c.mark("bus", "grey", part="door", material="glass"), x + 1.0 * s, y - 0.84 * s, x + 1.28 * s, y - 0.16 * s)
    c.disc(c.mark("bus", "yellow", part="headlight", material="glass"), x + 1.34 * s, y - 0.3 * s, 0.07 * s)
    for side in (-0.85, 0.75):
        wheel(c, "bus", x + side * s, y, 0.21 * s)


def tractor(c: Canvas, x: float, y: float, s: float) -> None:
    """A tractor with one big and one small wheel."""
    c.shadow(x, y, 1.0 * s, 0.1 * s, depth=0.3)
    paint, way = c.mark("tractor", c.pick("green", "red", "blue", "yellow", "orange"), material="metal"), c.pick(-1, 1)
    back, front = x - way * 0.45 * s, x + way * 0.7 * s
    c.line(
        c.mark("tractor", "black", part="chimney", material="metal"),
        (x + way * 0.4 * s, y - 0.5 * s),
        (x + way * 0.4 * s, y - 0.95 * s),
        width=0.07 * s,
    )
    c.box(paint, min(back, front), y - 0.66 * s, max(back, front), y - 0.26 * s, radius=0.06 * s)
    glass = c.mark("tractor", c.pick("blue", "grey", "black"), part="window", material="glass")
    c.box(
        glass,
        min(back - way * 0.12 * s, back + way * 0.45 * s),
        y - 0.98 * s,
        max(back - way * 0.12 * s, back + way * 0.45 * s),
        y - 0.6 * s,
    )
    c.box(
        paint.but(part="roof", tone=0.9),
        back + way * 0.16 * s - 0.38 * s,
        y - 1.05 * s,
        back + way * 0.16 * s + 0.38 * s,
        y - 0.95 * s,
    )
    wheel(c, "tractor", back, y, 0.36 * s)
    wheel(c, "tractor", front - way * 0.1 * s, y, 0.2 * s)


def boat(c: Canvas, x: float, y: float, s: float) -> None:
    """A sailing boat, or a small ship with a cabin; (x, y) is its middle at the water line."""
    c.shadow(x, y + 0.06 * s, 0.55 * s, 0.07 * s)
    body = c.mark("boat", c.pick(*COLORS), part="hull", material=c.pick("wood", "wood", "metal"))
    if c.chance(0.6):
        c.line(
            c.mark("boat", c.pick("brown", "white"), part="mast", material="wood"),
            (x, y - 0.15 * s),
            (x, y - s),
            width=0.04 * s,
        )
        cloth = c.mark("boat", c.pick("white", "white", "white", *PAINTS), part="sail", material="fabric")
        c.polygon(cloth, (x + 0.04 * s, y - 0.95 * s), (x + 0.4 * s, y - 0.24 * s), (x + 0.04 * s, y - 0.24 * s))
        c.polygon(
            cloth.but(tone=0.88),
            (x - 0.04 * s, y - 0.85 * s),
            (x - 0.3 * s, y - 0.24 * s),
            (x - 0.04 * s, y - 0.24 * s),
        )
        c.polygon(
            c.mark("boat", c.pick(*PAINTS), part="flag"), (x, y - s), (x + 0.16 * s, y - 0.95 * s), (x, y - 0.9 * s)
        )
    else:
        cabin = c.mark("boat", c.pick("white", *PAINTS))
        c.box(cabin, x - 0.24 * s, y - 0.5 * s, x + 0.2 * s, y - 0.15 * s)
        windows(c, "boat", (x - 0.24 * s, y - 0.48 * s, x + 0.2 * s, y - 0.22 * s), rows=1, columns=3)
        c.box(
            c.mark("boat", c.pick("red", "black", "blue"), part="chimney", material="metal"),
            x - 0.1 * s,
            y - 0.7 * s,
            x + 0.02 * s,
            y - 0.5 * s,
        )
    c.polygon(
        body,
        (x - 0.5 * s, y - 0.18 * s),
        (x + 0.56 * s, y - 0.22 * s),
        (x + 0.38 * s, y + 0.04 * s),
        (x - 0.38 * s, y + 0.04 * s),
    )
    c.polygon(
        body.but(tone=0.84),
        (x - 0.42 * s, y - 0.04 * s),
        (x + 0.44 * s, y - 0.05 * s),
        (x + 0.38 * s, y + 0.04 * s),
        (x - 0.38 * s, y + 0.04 * s),
    )


def crane(c: Canvas, x: float, y: float, s: float) -> None:
    """A harbour crane with its jib over the water."""
    steel, way = c.mark("crane", c.pick("red", "yellow", "orange", "blue", "green"), material="metal"), c.pick(-1, 1)
    legs = steel.but(part="leg")
    c.line(legs, (x - 0.14 * s, y), (x - 0.05 * s, y - 0.62 * s), width=0.045 * s)
    c.line(legs, (x + 0.14 * s, y), (x + 0.05 * s, y - 0.62 * s), width=0.045 * s)
    for i in range(4):
        at = y - (0.06 + 0.15 * i) * s
        c.line(legs.but(tone=0.85), (x - 0.12 * s, at), (x + 0.09 * s, at - 0.14 * s), width=0.025 * s)
    c.box(steel, x - 0.1 * s, y - 0.74 * s, x + 0.1 * s, y - 0.6 * s)
    c.line(steel, (x - way * 0.2 * s, y - 0.68 * s), (x + way * 0.52 * s, y - 0.98 * s), width=0.055 * s)
    c.line(
        c.mark("crane", "black"), (x + way * 0.5 * s, y - 0.97 * s), (x + way * 0.5 * s, y - 0.5 * s), width=0.02 * s
    )
    crate = c.mark("crane", c.pick("brown", "blue", "red"), material=c.pick("wood", "metal"))
    c.box(crate, x + way * 0.5 * s - 0.08 * s, y - 0.5 * s, x + way * 0.5 * s + 0.08 * s, y - 0.38 * s)


def chairlift(c: Canvas, low: float, high: float) -> None:
    """A cable across the image, on pylons, with seats that hang from it."""
    steel, seat = (
        c.mark("chairlift", c.pick("grey", "black", "green"), part="pole", material="metal"),
        c.mark("chairlift", c.pick("red", "yellow", "blue", "orange", "black")),
    )
    way = c.pick(-1, 1)
    ends = (0.0, WORLD) if way > 0 else (WORLD, 0.0)

    def cable(x: float) -> float:
        return low + (high - low) * abs(x - ends[0]) / WORLD

    for x in (c.between(10, 45), c.between(65, 100)):
        c.line(steel, (x, cable(x) + 30), (x, cable(x) - 1), width=1.6)
        c.line(steel, (x - 3.5, cable(x)), (x + 3.5, cable(x)), width=1.2)
    c.line(c.mark("chairlift", "black"), (ends[0], low), (ends[1], high), width=0.5)
    for i in range(c.whole(2, 4)):
        x = 8 + 26 * i + c.between(0, 14)
        c.line(steel.but(part=None), (x, cable(x)), (x, cable(x) + 6), width=0.6)
        c.box(seat, x - 3, cable(x) + 5.4, x + 3, cable(x) + 7, radius=0.5)
        c.box(seat.but(tone=0.86), x - 3, cable(x) + 2.6, x - 2.1, cable(x) + 6)
