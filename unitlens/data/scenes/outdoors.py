"""Scenes on land. Each paints a whole image; what is in it, where, and in which colours is up to chance."""

from unitlens.data.scenes import life, nature, town, vehicles
from unitlens.data.scenes.canvas import WORLD, Canvas
from unitlens.data.scenes.staging import Kind, Thing, backdrop, crowd, draw_things, land, row


def ski_slope(c: Canvas) -> None:
    """Snow on a slope, skiers, a lift, firs."""
    horizon = c.between(38, 58)
    nature.sky(c, horizon=horizon)
    has = draw_things(c, 2, peaks=0.7, skiers=0.7, lift=0.55, firs=0.6, hut=0.35)
    if "peaks" in has:
        nature.mountains(c, horizon + 8, height=c.between(24, 46), snow=0.85)
    else:
        backdrop(c, horizon + 6)
    top = _slope(c, horizon)
    snowy = c.chance(0.7)
    crowd(
        c,
        top - 12,
        [
            (nature.conifer, 34, 6 * ("firs" in has), {"snowy": snowy}),
            (town.house, 30, "hut" in has, {"snowy": c.chance(0.7)}),
        ],
    )
    if "lift" in has:
        vehicles.chairlift(c, c.between(horizon + 2, top + 8), c.between(16, horizon))
    crowd(
        c,
        top,
        [
            (life.person, 30, 4 * ("skiers" in has), {"skis": True}),
            (nature.conifer, 44, "firs" in has, {"snowy": snowy}),
            (nature.rock, 7, c.whole(0, 2), {}),
            (life.dog, 10, c.pick(0, 0, 1), {}),
            (life.person, 28, c.pick(0, 0, 1), {}),
        ],
    )
    if c.chance(0.3):
        town.fence(c, c.between(-10, 40), c.between(60, 120), c.between(top, 108), c.between(5, 8))


def _slope(c: Canvas, horizon: float) -> float:
    """Snow that leans to one side, with tracks; how far down it covers the whole width."""
    lean = c.between(8, 22) * c.pick(-1, 1)
    snow = c.mark(None, "white", material="snow")
    for drop, tone in ((0.0, 0.9), (8.0, 1.0)):
        left, right = horizon + 6 - lean + drop, horizon + 6 + lean + drop
        middle = (left + right) / 2 - c.between(-5, 5)
        rim = ((0, left), (WORLD / 2, middle), (WORLD + 1, right))
        c.polygon(snow.but(tone=tone), (0, WORLD + 1), *rim, (WORLD + 1, WORLD + 1))
    top = horizon + 12 + abs(lean)
    for _ in range(c.whole(0, 4)):
        x, y = c.between(10, 102), c.between(top, WORLD)
        c.line(snow.but(tone=0.88), (x, y), (x - lean, y + 12), (x - 2.2 * lean, y + 34), width=0.8)
    return top


def forest(c: Canvas) -> None:
    """Trees behind trees, in any season."""
    horizon = c.between(42, 62)
    nature.sky(c, horizon=horizon)
    leaf = c.pick(None, None, "green", "green", "orange", "yellow", "red")
    for height, drop in ((40, 0.0), (48, 5.0)):
        row(c, horizon + drop, [lambda c, x, y, s: nature.tree(c, x, y, s, leaf=leaf)], height=height, step=13)
    winter = land(c, horizon + 3, grass=0.55)
    if c.chance(0.35):
        nature.path(c, horizon + 4)
    crowd(
        c,
        horizon + 4,
        [
            (nature.tree, 76, c.whole(1, 6), {"leaf": leaf}),
            (nature.conifer, 66, c.whole(0, 4), {"snowy": winter}),
            (nature.bush, 13, c.whole(0, 4), {}),
            (nature.rock, 8, c.whole(0, 3), {}),
            (nature.log, 9, c.whole(0, 2), {}),
            (life.person, 26, c.whole(0, 1), {}),
            (life.dog, 11, c.pick(0, 0, 1), {}),
            (town.bench, 9, c.pick(0, 0, 1), {}),
        ],
    )


def campsite(c: Canvas) -> None:
    """Tents or a fire, and the woods, a lake or mountains behind."""
    horizon = c.between(36, 56)
    nature.sky(c, horizon=horizon)
    backdrop(c, horizon)
    has = draw_things(c, 1, tents=0.7, fire=0.6)
    if c.chance(0.65):
        row(c, horizon + 3, [nature.tree, nature.conifer], height=c.between(20, 46), step=13, share=0.65)
    lake = c.chance(0.25)
    if lake:
        nature.sea(c, horizon)
    winter = land(c, horizon + lake * c.between(8, 14))
    if c.chance(0.2):
        nature.path(c, horizon + 6)
    crowd(
        c,
        horizon + 12,
        [
            (town.tent, 30, 3 * ("tents" in has), {}),
            (nature.tree, 56, c.whole(0, 3), {}),
            (nature.conifer, 50, c.whole(0, 1), {"snowy": winter}),
            (life.person, 28, c.whole(0, 3), {}),
            (nature.log, 8, c.whole(0, 2), {}),
            (vehicles.car, 15, c.whole(0, 1), {}),
            (nature.bush, 10, c.whole(0, 2), {}),
            (nature.rock, 7, c.whole(0, 2), {}),
            (life.dog, 11, c.whole(0, 1), {}),
            (town.bench, 9, c.whole(0, 1), {}),
        ],
    )
    if "fire" in has:
        town.campfire(c, c.between(16, 96), c.between(horizon + 26, 106), c.between(13, 22))
    elif c.chance(0.5):
        town.tent(c, c.between(22, 90), c.between(horizon + 30, 106), c.between(20, 34))


def farm(c: Canvas) -> None:
    """A barn, animals, a tractor, hay, ploughed fields."""
    horizon = c.between(36, 54)
    nature.sky(c, horizon=horizon)
    backdrop(c, horizon)
    has = draw_things(c, 2, barn=0.5, cows=0.5, sheep=0.4, tractor=0.5, hay=0.4, furrows=0.4)
    if c.chance(0.5):
        row(c, horizon + 2, [nature.tree, nature.bush, town.house], height=14, step=18, share=0.6)
    land(c, horizon, grass=0.75)
    if "furrows" in has:
        _furrows(c, horizon)
    if "barn" in has:
        town.barn(c, c.between(16, 96), c.between(horizon + 6, horizon + 20), c.between(24, 38))
    if c.chance(0.4):
        town.fence(c, c.between(-10, 40), c.between(60, 122), c.between(horizon + 10, 90), c.between(6, 9))
    crowd(
        c,
        horizon + 10,
        [
            (life.cow, 20, 3 * ("cows" in has), {}),
            (life.sheep, 16, 4 * ("sheep" in has), {}),
            (nature.hay_bale, 14, 4 * ("hay" in has), {}),
            (nature.tree, 50, c.whole(0, 2), {}),
            (life.person, 26, c.whole(0, 1), {}),
            (life.dog, 10, c.whole(0, 1), {}),
            (nature.bush, 9, c.whole(0, 1), {}),
            (vehicles.car, 14, c.pick(0, 0, 1), {}),
        ],
    )
    if "tractor" in has:
        vehicles.tractor(c, c.between(20, 92), c.between(horizon + 24, 106), c.between(16, 26))


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
    """Buildings, a road, cars, a bus, lamps, people."""
    horizon = c.between(44, 62)
    nature.sky(c, horizon=horizon)
    has = draw_things(c, 3, towers=0.6, houses=0.6, road=0.75, traffic=0.7, lamps=0.5)
    if "towers" in has:
        for _ in range(c.whole(3, 8)):
            town.skyscraper(c, c.between(0, WORLD), horizon + 4, c.between(26, 58), wide=c.between(6, 11))
    kinds: list[Thing] = [town.house, town.house, nature.tree] if "houses" in has else [nature.tree, nature.bush]
    row(c, horizon + 5, kinds, height=32 if "houses" in has else 22, step=26, share=0.75)
    paved = c.mark("pavement", c.pick("grey", "brown", "pink", "yellow"), material=c.pick("tile", "stone"), flat=True)
    c.box(paved, 0, horizon + 5, WORLD, WORLD)
    kerb, near = horizon + c.between(9, 16), c.between(96, 108)
    if "road" in has:
        _road(c, kerb, near)
    lamps, traffic = "lamps" in has, "traffic" in has
    kerbside: list[Kind] = [(nature.tree, 50, c.whole(0, 2), {}), (life.person, 28, c.whole(0, 2), {})]
    crowd(c, horizon + 4, [(town.street_lamp, 60, 3 * lamps, {}), *kerbside])
    crowd(c, kerb + 4, [(vehicles.car, 17, 4 * traffic, {}), (vehicles.bus, 28, traffic, {}), (life.person, 26, 1, {})])
    crowd(
        c,
        near - 3,
        [
            (life.person, 34, c.whole(0, 3), {}),
            (town.street_lamp, 72, lamps, {}),
            (town.bench, 10, c.whole(0, 1), {}),
            (life.dog, 11, c.whole(0, 1), {}),
            (nature.tree, 60, c.pick(0, 0, 1), {}),
        ],
    )


def _road(c: Canvas, kerb: float, near: float) -> None:
    """Tarmac between two kerbs, with a dashed line."""
    tar = c.mark("road", c.pick("grey", "grey", "black"), material="asphalt")
    c.box(c.mark("pavement", "white", material="stone"), 0, kerb - 1, WORLD, near + 1)
    c.box(tar, 0, kerb, WORLD, near)
    dash, mid = c.mark("road", c.pick("white", "yellow")), (kerb + near) / 2
    for i in range(6):
        c.polygon(dash, (20 * i, mid + 1), (20 * i + 2, mid - 0.6), (20 * i + 11, mid - 0.6), (20 * i + 10, mid + 1))


def playground(c: Canvas) -> None:
    """Slides, swings, a sand pit and children, between houses and trees."""
    horizon = c.between(36, 56)
    nature.sky(c, horizon=horizon)
    backdrop(c, horizon)
    has = draw_things(c, 2, slides=0.6, swings=0.6, pit=0.45, balls=0.5)
    far: list[Thing] = [town.house, nature.tree, nature.tree, nature.bush]
    row(c, horizon + 3, far, height=c.between(18, 34), step=20, share=0.75)
    land(c, horizon)
    if "pit" in has:
        sand = c.mark(None, c.pick("yellow", "orange", "brown"), material="sand")
        wide, deep, y = c.between(24, 48), c.between(8, 14), c.between(80, 100)
        x = c.between(20, 92)
        c.disc(c.mark(None, "brown", material="wood"), x, y, wide + 1.5, deep + 1.5)
        c.disc(sand, x, y, wide, deep)
    if c.chance(0.4):
        town.fence(c, -4, 120, horizon + c.between(4, 10), c.between(5, 8))
    crowd(
        c,
        horizon + 18,
        [
            (town.slide, 40, 2 * ("slides" in has), {}),
            (town.swing, 42, 2 * ("swings" in has), {}),
            (town.ball, 9, 3 * ("balls" in has), {}),
            (life.person, 22, c.whole(0, 5), {}),
            (town.bench, 10, c.whole(0, 2), {}),
            (nature.tree, 56, c.whole(0, 2), {}),
            (life.dog, 10, c.whole(0, 1), {}),
            (nature.bush, 10, c.whole(0, 1), {}),
            (town.street_lamp, 50, c.whole(0, 1), {}),
        ],
    )
    if not {"slides", "swings"} & has:
        c.pick(town.slide, town.swing)(c, c.between(26, 86), c.between(78, 104), c.between(28, 42))
