"""Scenes by the sea. Each paints a whole image; what is in it, where, and in which colours is up to chance."""

from unitlens.data.scenes import life, nature, town, vehicles
from unitlens.data.scenes.canvas import WORLD, Canvas
from unitlens.data.scenes.staging import backdrop, crowd, draw_things, row


def beach(c: Canvas) -> None:
    """Sand, mostly the sea, parasols, palms and bathers."""
    horizon = c.between(30, 52)
    nature.sky(c, horizon=horizon)
    backdrop(c, horizon)
    has = draw_things(c, 2, sea=0.8, parasols=0.55, palms=0.5, bathers=0.65, towels=0.45)
    if "sea" in has:
        _shore(c, horizon, c.between(horizon + 10, 74))
        top = 72.0
    else:
        nature.ground(c, horizon, None, c.pick(*SANDS), "sand")
        top = horizon + 10
    crowd(
        c,
        top,
        [
            (nature.palm, 56, 3 * ("palms" in has), {}),
            (town.umbrella, 30, 3 * ("parasols" in has), {}),
            (life.person, 30, 4 * ("bathers" in has), {"swims": True}),
            (town.towel_on_sand, 12, 3 * ("towels" in has), {}),
            (town.ball, 7, c.whole(0, 2), {}),
            (nature.rock, 8, c.whole(0, 2), {}),
            (life.dog, 12, c.whole(0, 1), {}),
            (nature.bush, 10, c.whole(0, 1), {}),
            (town.bench, 10, c.pick(0, 0, 1), {}),
            (life.person, 30, c.pick(0, 0, 1), {}),
        ],
    )


SANDS = ("yellow", "yellow", "yellow", "brown", "orange", "white", "grey")


def _shore(c: Canvas, horizon: float, shore: float) -> None:
    """The sea down to a line of foam, and sand, wet at first."""
    nature.sea(c, horizon)
    for _ in range(c.whole(0, 2)):
        vehicles.boat(c, c.between(8, 104), c.between(horizon + 3, horizon + 9), c.between(8, 18))
    sway = c.between(-7, 7)
    foam, sand = c.mark("sea", "white", material="water"), c.mark(None, c.pick(*SANDS), material="sand")
    rim = [(i * 14.0, shore + sway * (i / 4 - 1) + c.between(-1.2, 1.2)) for i in range(9)]
    for mark, drop in ((foam, 0.0), (sand.but(tone=0.86), 1.8), (sand, 4.5)):
        c.polygon(mark, (0, WORLD + 1), *((x, y + drop) for x, y in rim), (WORLD + 1, WORLD + 1))


def harbour(c: Canvas) -> None:
    """The sea with boats and a quay, cranes or a lighthouse."""
    horizon = c.between(38, 56)
    nature.sky(c, horizon=horizon)
    backdrop(c, horizon)
    has = draw_things(c, 2, boats=0.75, cranes=0.5, lighthouse=0.4, quay=0.7)
    _far_shore(c, horizon)
    if "cranes" in has:
        for _ in range(c.whole(1, 2)):
            vehicles.crane(c, c.between(8, 104), horizon + 4, c.between(30, 46))
    if "lighthouse" in has:
        town.lighthouse(c, c.between(10, 102), horizon + 4, c.between(24, 40))
    nature.sea(c, horizon + 2)
    quay = c.between(84, 106)
    if "boats" in has:
        crowd(c, horizon + 6, [(vehicles.boat, 38, c.whole(1, 5), {})])
    if "quay" in has:
        nature.ground(c, quay, "quay", c.pick("grey", "brown", "grey"), c.pick("stone", "wood", "asphalt"), flat=True)
        crowd(
            c,
            quay - 2,
            [
                (life.person, 26, c.whole(0, 2), {}),
                (town.street_lamp, 40, c.whole(0, 1), {}),
                (vehicles.car, 14, c.whole(0, 1), {}),
                (town.bench, 10, c.whole(0, 1), {}),
            ],
        )


def _far_shore(c: Canvas, horizon: float) -> None:
    """Houses or blocks on the other side of the water, or none."""
    far = c.pick("houses", "houses", "sea", "blocks")
    if far == "houses":
        row(c, horizon + 3, [town.house, town.house, nature.tree], height=17, step=15)
    elif far == "blocks":
        for _ in range(c.whole(3, 7)):
            town.skyscraper(c, c.between(0, WORLD), horizon + 2, c.between(14, 32), wide=c.between(4, 7))
