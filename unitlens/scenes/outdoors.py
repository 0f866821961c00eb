"""Scenes under the sky. Each paints a whole picture; what is in it, where, and in which colours is up to chance."""

from unitlens.scenes import life, nature, town, vehicles
from unitlens.scenes.canvas import WORLD, Canvas
from unitlens.scenes.staging import Kind, backdrop, crowd, row


def beach(c: Canvas) -> None:
    """Sand, the sea, parasols and people."""
    horizon = c.between(30, 52)
    nature.sky(c, horizon=horizon)
    if c.chance(0.4):
        backdrop(c, horizon)
    nature.sea(c, horizon)
    for _ in range(c.whole(0, 2)):
        vehicles.boat(c, c.between(8, 104), c.between(horizon + 3, horizon + 9), c.between(8, 18))
    shore = c.between(horizon + 12, 74)
    sway = c.between(-7, 7)
    foam = c.mark("sea", "white", material="water")
    rim = [(i * 14.0, shore + sway * (i / 4 - 1) + c.between(-1.2, 1.2)) for i in range(9)]
    sand = c.mark(None, c.pick("yellow", "yellow", "yellow", "brown", "orange", "white", "grey"), material="sand")
    c.polygon(foam, (0, WORLD + 1), *rim, (WORLD + 1, WORLD + 1))
    c.polygon(sand.but(tone=0.86), (0, WORLD + 1), *((x, y + 1.8) for x, y in rim), (WORLD + 1, WORLD + 1))
    c.polygon(sand, (0, WORLD + 1), *((x, y + 4.5) for x, y in rim), (WORLD + 1, WORLD + 1))
    palms = c.pick(0, 1, 3)
    crowd(
        c,
        shore + 8,
        [
            (nature.palm, 56, palms, {}),
            (town.umbrella, 30, 3, {}),
            (life.person, 30, 4, {"swims": True}),
            (town.ball, 7, 2, {}),
            (nature.rock, 8, 2, {}),
            (life.dog, 12, 1, {}),
            (nature.bush, 10, 1, {}),
            (town.bench, 10, c.pick(0, 0, 1), {}),
        ],
    )


def harbour(c: Canvas) -> None:
    """Boats at a quay, with cranes or a lighthouse."""
    horizon = c.between(38, 56)
    nature.sky(c, horizon=horizon)
    backdrop(c, horizon)
    far = c.pick("houses", "houses", "sea", "blocks")
    if far == "houses":
        row(c, horizon + 3, [town.house, town.house, nature.tree], height=17, step=15)
    elif far == "blocks":
        for _ in range(c.whole(3, 7)):
            town.skyscraper(c, c.between(0, WORLD), horizon + 2, c.between(14, 32), wide=c.between(4, 7))
    for _ in range(c.whole(0, 2)):
        vehicles.crane(c, c.between(8, 104), horizon + 4, c.between(30, 46))
    if c.chance(0.4):
        town.lighthouse(c, c.between(10, 102), horizon + 4, c.between(24, 40))
    nature.sea(c, horizon + 2)
    quay = c.between(92, 108)
    crowd(c, horizon + 6, [(vehicles.boat, 38, 5, {})])
    vehicles.boat(c, c.between(20, 92), c.between(horizon + 16, quay - 6), c.between(22, 40))
    if c.chance(0.75):
        nature.ground(c, quay, "quay", c.pick("grey", "brown", "grey"), c.pick("stone", "wood", "asphalt"), flat=True)
        crowd(
            c,
            quay - 2,
            [
                (life.person, 26, 2, {}),
                (town.street_lamp, 40, 1, {}),
                (vehicles.car, 14, 1, {}),
                (town.bench, 10, 1, {}),
            ],
        )


def ski_slope(c: Canvas) -> None:
    """Snow, firs, skiers and a lift."""
    horizon = c.between(38, 58)
    nature.sky(c, horizon=horizon)
    nature.mountains(c, horizon + 8, height=c.between(24, 46), snow=0.85)
    lean = c.between(8, 22) * c.pick(-1, 1)
    snow = c.mark(None, "white", material="snow")
    for drop, tone in ((0.0, 0.9), (8.0, 1.0)):
        left, right = horizon + 6 - lean + drop, horizon + 6 + lean + drop
        c.polygon(
            snow.but(tone=tone),
            (0, WORLD + 1),
            (0, left),
            (WORLD / 2, (left + right) / 2 - c.between(-5, 5)),
            (WORLD + 1, right),
            (WORLD + 1, WORLD + 1),
        )
    top = horizon + 12 + abs(lean)
    for _ in range(c.whole(1, 4)):
        x, y = c.between(10, 102), c.between(top, WORLD)
        c.line(snow.but(tone=0.88), (x, y), (x - lean, y + 12), (x - 2.2 * lean, y + 34), width=0.8)
    crowd(c, top - 12, [(nature.conifer, 34, 6, {"snowy": c.chance(0.7)}), (town.house, 30, 1, {"snowy": True})])
    if c.chance(0.6):
        vehicles.chairlift(c, c.between(horizon + 2, top + 8), c.between(16, horizon))
    crowd(
        c,
        top,
        [
            (life.person, 30, 4, {"skis": True}),
            (nature.rock, 7, 2, {}),
            (nature.conifer, 44, 1, {"snowy": True}),
            (life.dog, 10, c.pick(0, 0, 1), {}),
        ],
    )
    if c.chance(0.3):
        town.fence(c, c.between(-10, 40), c.between(60, 120), c.between(top, 108), c.between(5, 8))


def forest(c: Canvas) -> None:
    """Trees behind trees, in any season."""
    horizon = c.between(42, 62)
    nature.sky(c, horizon=horizon)
    leaf = c.pick(None, None, "green", "green", "orange", "yellow", "red")
    winter = c.chance(0.15)
    for height, drop in ((40, 0.0), (48, 5.0)):
        row(c, horizon + drop, [lambda c, x, y, s: nature.tree(c, x, y, s, leaf=leaf)], height=height, step=12)
    if winter:
        nature.ground(c, horizon + 3, None, "white", "snow")
    elif c.chance(0.3):
        nature.ground(c, horizon + 3, "field", c.pick("brown", "orange", "red"), "foliage")
    else:
        nature.meadow(c, horizon + 3)
    if c.chance(0.35):
        x, turn = c.between(30, 82), c.between(-20, 20)
        path = c.mark("path", c.pick("brown", "yellow", "grey"), material="sand")
        c.polygon(path, (x - 1, horizon + 4), (x + 1, horizon + 4), (x + turn + 22, WORLD), (x + turn - 12, WORLD))
    crowd(
        c,
        horizon + 4,
        [
            (nature.tree, 76, 5, {"leaf": leaf}),
            (nature.conifer, 66, 4, {"snowy": winter}),
            (nature.bush, 13, 4, {}),
            (nature.rock, 8, 3, {}),
            (nature.log, 9, 2, {}),
            (life.person, 26, 1, {}),
            (life.dog, 11, c.pick(0, 0, 1), {}),
            (town.bench, 9, c.pick(0, 0, 1), {}),
        ],
    )


def campsite(c: Canvas) -> None:
    """Tents, a fire, and the woods or mountains behind."""
    horizon = c.between(36, 56)
    nature.sky(c, horizon=horizon)
    backdrop(c, horizon)
    if c.chance(0.65):
        row(c, horizon + 3, [nature.tree, nature.conifer], height=c.between(20, 40), step=13, share=0.65)
    if c.chance(0.25):
        nature.sea(c, horizon)
        nature.meadow(c, horizon + c.between(8, 14))
    elif c.chance(0.2):
        nature.ground(c, horizon, None, c.pick("yellow", "brown", "orange"), "sand")
    else:
        nature.meadow(c, horizon)
    crowd(
        c,
        horizon + 12,
        [
            (town.tent, 30, 3, {}),
            (town.campfire, 12, 1, {}),
            (nature.tree, 56, 2, {}),
            (life.person, 28, 3, {}),
            (nature.log, 7, 2, {}),
            (vehicles.car, 15, 1, {}),
            (nature.bush, 10, 2, {}),
            (nature.rock, 7, 2, {}),
            (life.dog, 11, 1, {}),
            (town.bench, 9, 1, {}),
        ],
    )
    town.tent(c, c.between(22, 90), c.between(horizon + 30, 106), c.between(20, 34))


def farm(c: Canvas) -> None:
    """Fields, a barn, animals and a tractor."""
    horizon = c.between(36, 54)
    nature.sky(c, horizon=horizon)
    backdrop(c, horizon)
    if c.chance(0.5):
        row(c, horizon + 2, [nature.tree, nature.bush, town.house], height=14, step=18, share=0.6)
    nature.meadow(c, horizon)
    if c.chance(0.5):
        _furrows(c, horizon)
    if c.chance(0.7):
        town.barn(c, c.between(16, 96), c.between(horizon + 6, horizon + 20), c.between(24, 38))
    if c.chance(0.5):
        town.fence(c, c.between(-10, 40), c.between(60, 122), c.between(horizon + 10, 90), c.between(6, 9))
    crowd(
        c,
        horizon + 8,
        [
            (life.cow, 18, 3, {}),
            (life.sheep, 14, 3, {}),
            (vehicles.tractor, 24, 1, {}),
            (nature.hay_bale, 12, 3, {}),
            (nature.tree, 50, 2, {}),
            (life.person, 26, 1, {}),
            (life.dog, 10, 1, {}),
            (nature.bush, 9, 1, {}),
            (vehicles.car, 14, c.pick(0, 0, 1), {}),
        ],
    )
    c.pick(life.cow, vehicles.tractor)(c, c.between(20, 92), c.between(80, 106), c.between(16, 22))


def _furrows(c: Canvas, horizon: float) -> None:
    """A ploughed or sown field, its furrows running to the horizon."""
    bare = c.mark("field", c.pick("brown", "brown", "yellow", "green"))
    start, far = c.between(-40, 60), c.between(30, 80)
    for i in range(7):
        near = start + i * 20
        tone = (1.0, 0.86)[i % 2]
        c.polygon(
            bare.but(tone=tone), (far + i * 4, horizon), (far + i * 4 + 4, horizon), (near + 20, WORLD), (near, WORLD)
        )


def city_street(c: Canvas) -> None:
    """Buildings, a road, cars and people."""
    horizon = c.between(44, 62)
    nature.sky(c, horizon=horizon)
    for _ in range(c.whole(0, 8)):
        town.skyscraper(c, c.between(0, WORLD), horizon + 4, c.between(26, 58), wide=c.between(6, 11))
    row(c, horizon + 5, [town.house, town.house, nature.tree], height=32, step=26, share=0.8)
    paved = c.mark("pavement", c.pick("grey", "brown", "pink", "yellow"), material=c.pick("tile", "stone"), flat=True)
    c.box(paved, 0, horizon + 5, WORLD, WORLD)
    kerb, near = horizon + c.between(9, 16), c.between(96, 108)
    tar = c.mark("road", c.pick("grey", "grey", "black"), material="asphalt")
    c.box(c.mark("pavement", "white", material="stone"), 0, kerb - 1, WORLD, near + 1)
    c.box(tar, 0, kerb, WORLD, near)
    dash, mid = c.mark("road", c.pick("white", "yellow")), (kerb + near) / 2
    for i in range(6):
        c.polygon(dash, (20 * i, mid + 1), (20 * i + 2, mid - 0.6), (20 * i + 11, mid - 0.6), (20 * i + 10, mid + 1))
    kerbside: list[Kind] = [(town.street_lamp, 60, 2, {}), (nature.tree, 50, 2, {}), (life.person, 28, 2, {})]
    crowd(c, horizon + 4, kerbside)
    crowd(c, kerb + 4, [(vehicles.car, 17, 4, {}), (vehicles.bus, 28, 1, {}), (life.person, 26, 1, {})])
    crowd(
        c,
        near - 3,
        [
            (life.person, 34, 3, {}),
            (town.street_lamp, 72, 1, {}),
            (town.bench, 10, 1, {}),
            (life.dog, 11, 1, {}),
            (nature.tree, 60, 1, {}),
        ],
    )


def playground(c: Canvas) -> None:
    """Slides, swings and children, between houses and trees."""
    horizon = c.between(36, 56)
    nature.sky(c, horizon=horizon)
    backdrop(c, horizon)
    row(
        c,
        horizon + 3,
        [town.house, nature.tree, nature.tree, nature.bush],
        height=c.between(18, 34),
        step=20,
        share=0.75,
    )
    if c.chance(0.65):
        nature.meadow(c, horizon)
    else:
        nature.ground(
            c,
            horizon,
            c.pick("path", None),
            c.pick("yellow", "brown", "orange", "grey"),
            c.pick("sand", "sand", "asphalt"),
        )
    if c.chance(0.5):
        sand = c.mark(None, c.pick("yellow", "orange", "brown"), material="sand")
        c.disc(sand, c.between(20, 92), c.between(80, 100), c.between(24, 48), c.between(8, 14))
    if c.chance(0.4):
        town.fence(c, -4, 120, horizon + c.between(4, 10), c.between(5, 8))
    crowd(
        c,
        horizon + 16,
        [
            (town.slide, 36, 1, {}),
            (town.swing, 40, 1, {}),
            (life.person, 22, 5, {}),
            (town.ball, 7, 2, {}),
            (town.bench, 10, 2, {}),
            (nature.tree, 56, 2, {}),
            (life.dog, 10, 1, {}),
            (nature.bush, 10, 1, {}),
            (town.street_lamp, 50, 1, {}),
        ],
    )
    c.pick(town.slide, town.swing)(c, c.between(26, 86), c.between(78, 104), c.between(28, 42))
