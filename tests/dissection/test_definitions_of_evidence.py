"""The last section of docs/evidence.md, implemented from the page alone, with loops, sets and fractions."""

import hashlib
import itertools
import math
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from scipy import stats

import unitlens as ul
from tests.worlds.planted import InMemory, lookup
from unitlens.stats.draws.partners import choose_partners

GRID, DRAWS, QUANTILE = (4, 4), 20, 0.05
OBJECTS = [ul.Concept("object", label, f"object {label}") for label in range(1, 5)]
PARTS = [ul.Concept("part", label, f"part {label}") for label in range(1, 4)]
SCENES = [ul.Concept("scene", label, f"scene {label}") for label in range(1, 4)]
HALVES = np.repeat([[1], [2]], 2, 0).repeat(4, 1)
"""A label map: 1 above, 2 below."""


class World(InMemory):
    """Annotated images, from files or in memory, and what each unit says of them, maps (N, U, 4, 4)."""

    def __init__(self, maps, planes, concepts, classes, *, names=None, groups=None, in_files=True):
        super().__init__(planes, concepts, classes=classes)
        self.maps, self.groups, self.in_files = maps, groups, in_files
        self.names = names or [f"photo {image}.jpg" for image in range(len(maps))]

    def __getitem__(self, image):
        item = super().__getitem__(image)
        digest = hashlib.sha256(b"a file").hexdigest() if self.in_files else None
        group = self.groups[image] if self.groups else None
        return ul.Example(item.image, item.planes, self.names[image], item.class_, digest, group)


# 1. Folds


def number(bytes_):
    return int.from_bytes(hashlib.sha256(bytes_).digest()[:8], "big")


def numbers(world):
    """Of each image: by its group's name, by its own, or by its pixels where it is no file."""
    if world.groups:
        return [number(group.encode()) for group in world.groups]
    if world.in_files:
        return [number(name.encode()) for name in world.names]
    return [number(world[image].image.tobytes()) for image in range(len(world))]


# 2 and 3. Masks and counts


def masks_of(world):
    """For each image and unit the positions that are active."""
    masks = [[set() for _ in image] for image in world.maps]
    for unit in range(world.maps.shape[1]):
        values = sorted(world.maps[:, unit].ravel(), reverse=True)
        threshold = values[int(Fraction(str(QUANTILE)) * len(values))]
        for image, map_ in enumerate(world.maps[:, unit]):
            masks[image][unit] = {place for place, value in np.ndenumerate(map_) if value > threshold}
    return masks


def labels_of(world):
    """For each image and concept the positions that are it, and those that are judged for its category."""
    labels = []
    for planes in world.planes:
        labels.append([])
        for concept in world.concepts:
            maps = planes.get(concept.category, [])
            judged = {place for place in np.ndindex(GRID) if maps and all(map_[place] >= 0 for map_ in maps)}
            labels[-1].append(({p for p in judged if any(map_[p] == concept.label for map_ in maps)}, judged))
    return labels


def count(masks, labels, folds):
    """I, A and G of units and concepts, {fold: (3, U, C)}, of the masks and labels that each image has."""
    counts = {fold: np.zeros((3, len(masks[0]), len(labels[0])), int) for fold in sorted(set(folds))}
    for fold, of_units, of_concepts in zip(folds, masks, labels, strict=True):
        for (unit, mask), (concept, (marked, judged)) in itertools.product(enumerate(of_units), enumerate(of_concepts)):
            counts[fold][:, unit, concept] += len(mask & marked), len(mask & judged), len(marked)
    return counts


def total(counts, folds):
    """I, A and G over some folds, (3, U, C); None over no folds."""
    return sum(counts[fold] for fold in folds) if folds else None


def iou(sums, unit, concept):
    i, a, g = (int(sum_) for sum_ in sums[:, unit, concept])
    return Fraction(i, a + g - i) if a + g - i else Fraction(0)


# 4 and 5. The concept, and the held-out IoU


def concept_of(sums, unit):
    """The concept of highest IoU among those with I > 0; of equals, or without any, the first."""
    fit = [concept for concept in range(sums.shape[2]) if sums[0, unit, concept] > 0]
    return max(fit, key=partial(iou, sums, unit), default=0)


def halves(counts):
    return [total(counts, [fold for fold in counts if fold % 2 == odd]) for odd in (0, 1)]


def heldout(even, odd, unit):
    if even is None or odd is None:
        return None
    return (iou(odd, unit, concept_of(even, unit)) + iou(even, unit, concept_of(odd, unit))) / 2


# 8. Standardising, exactly: what is compared are fractions


def mean(values):
    return sum(values) / Fraction(len(values)) if values else Fraction(0)


def squares(values):
    middle = mean(values)
    return sum((value - middle) ** 2 for value in values)


def median(values):
    values = sorted(values)
    return (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2


def standardised(value, draws, v):
    """The square of (value - m) / sqrt((S + v) / D) with the quotient's sign, which orders as the quotient does."""
    difference, variance = value - mean(draws), v if v is None else (squares(draws) + v) / len(draws)
    if difference == 0 or variance is None:
        return difference
    return difference * abs(difference) / variance if variance else math.copysign(math.inf, difference)


# 9 and 10. p and q


def p_values(statistic, drawn):
    """p of the units that take part, {unit: p}, from {unit: T} and {unit: [T(1), ...]}."""
    v = None
    if drawn and min(map(len, drawn.values())) < 2:
        return dict.fromkeys(drawn, Fraction(1))
    if drawn and min(map(len, drawn.values())) > 2:
        variances = [squares(draws) / (len(draws) - 1) for draws in drawn.values()]
        v = median(variances) or mean(variances)
    null = [
        standardised(value, draws[:d] + draws[d + 1 :], v) for draws in drawn.values() for d, value in enumerate(draws)
    ]
    z = {unit: standardised(statistic[unit], draws, v) for unit, draws in drawn.items()}
    return {unit: Fraction(1 + sum(other >= own for other in null), 1 + len(null)) for unit, own in z.items()}


def q_values(p):
    ranked = sorted(p, key=p.get)
    n, q = len(p), {}
    for k, unit in enumerate(ranked, 1):
        q[unit] = min(Fraction(1), *(n * p[ranked[j - 1]] / j for j in range(k, n + 1)))
    return q


# 11. The interval


def interval(counts, unit, concept, judged):
    """From the folds in which the concept's category is judged."""
    value, n = float(iou(total(counts, counts), unit, concept)), len(judged)
    if n < 8 or value in (0, 1):
        return (None, None) if n < 8 else (value, value)
    x = [iou(total(counts, [fold for fold in counts if fold != without]), unit, concept) for without in judged]
    d = [share - mean(x) for share in x]
    s2 = Fraction(n - 1, n) * sum(share**2 for share in d)
    e = min(n, 3 * sum(share**2 for share in d) ** 2 / sum(share**4 for share in d)) if s2 else n
    half = stats.t.ppf(0.975, float(max(e, 2) - 1)) * math.sqrt(s2) / (value * (1 - value))
    logit = math.log(value / (1 - value))
    return tuple(1 / (1 + math.exp(-end)) for end in (logit - half, logit + half))


# 6. Draws


def draws_of(world):
    """The partners of the images, of any kind and of their own class."""
    categories = list(dict.fromkeys(concept.category for concept in world.concepts))
    annotated = [sum(1 << k for k, name in enumerate(categories) if name in planes) for planes in world.planes]
    hashes, groups = numbers(world), None
    if world.groups:
        hashes, groups = [number(name.encode()) for name in world.names], numbered(world.groups)
    draw = partial(choose_partners, hashes, annotated, draws=DRAWS, groups=groups)
    return draw(), draw(strata=numbered(world.classes)) if len(set(world.classes)) > 1 else []


def determined(world, marked):
    """Whether the classes determine a concept: it fills the images that hold it, all those of a class or none."""
    fills = all(not places or places == set(np.ndindex(GRID)) for places in marked)
    holding = {(class_, bool(places)) for class_, places in zip(world.classes, marked, strict=True)}
    return fills and len(holding) == len(set(world.classes))


def numbered(names):
    kinds = list(dict.fromkeys(names))
    return np.array([kinds.index(name) for name in names])


def evidence(world):
    """The columns, {unit: {column: value}}, None or absent for what is empty. 7: the statistics."""
    masks, labels, concepts = masks_of(world), labels_of(world), world.concepts
    folds = [number_ % 32 for number_ in numbers(world)]
    own = count(masks, labels, folds)
    everything, (even, odd) = total(own, own), halves(own)
    plain, context = (
        [count(masks, [labels[image] for image in draw], folds) for draw in draws] for draws in draws_of(world)
    )
    totals, totals_within = ([total(draw, draw) for draw in draws] for draws in (plain, context))
    plain_halves = [halves(draw) for draw in plain]
    rows, best, held, drawn = {}, {}, {}, {"": {}, "concept": {}, "context": {}}
    for unit in range(world.maps.shape[1]):
        if np.isnan(world.maps[:, unit]).any() or not any(mask[unit] for mask in masks):
            continue  # nonfinite or silent
        concept = concept_of(everything, unit)
        best[unit], held[unit] = iou(everything, unit, concept), heldout(even, odd, unit)
        drawn[""][unit], within = (
            [iou(of_draw, unit, concept_of(of_draw, unit)) for of_draw in draws] for draws in (totals, totals_within)
        )
        row = rows[unit] = {"iou": best[unit], "heldout_iou": held[unit], "concept": None}
        if best[unit] > 0:
            judged = sorted({fold for fold, of_image in zip(folds, labels, strict=True) if of_image[concept][1]})
            row["concept"] = concepts[concept].name
            row["iou_low"], row["iou_high"] = interval(own, unit, concept, judged)
        row["chance_iou"] = mean(drawn[""][unit]) if plain else None
        if len(plain) > 1:
            row["chance_sd"] = math.sqrt(squares(drawn[""][unit]) / (len(plain) - 1))
        if held[unit] is not None:
            drawn["concept"][unit] = [heldout(even, odd, unit) for even, odd in plain_halves]
        constant = best[unit] > 0 and all(value == best[unit] for value in within)
        if within and not constant and not determined(world, [of_image[concept][0] for of_image in labels]):
            drawn["context"][unit] = within
            row["context_iou"] = mean(within)
    for kind, (p, q) in {
        "": ("p_value", "q_value"),
        "concept": ("concept_p_value", "concept_q_value"),
        "context": ("context_p", "context_q"),
    }.items():
        of_units = p_values(held if kind == "concept" else best, drawn[kind])
        for unit, value in q_values(of_units).items():
            rows[unit] |= {p: of_units[unit], q: value}
    return rows


# Worlds, all of multiples of 1/16


def random_maps(rng, images, units=10):
    return rng.integers(0, 160, (images, units, *GRID)) / 16


def random_map(rng, labels):
    """Labels 1 to this many, 0 and -1, not judged."""
    return rng.integers(-1, labels + 1, GRID)


def world_of_two_categories(*, images=60, seed=0, **where):
    """Every third image is not annotated for parts."""
    rng = np.random.default_rng(seed)
    maps, planes = random_maps(rng, images), []
    for image in range(images):
        planes.append({"object": [random_map(rng, 4)]} | ({"part": [random_map(rng, 3)]} if image % 3 else {}))
        maps[image, 0] += 4 * (planes[image]["object"][0] == 2)
        maps[image, 1] += 4 * (planes[image].get("part", [0])[0] == 3)
        maps[image, 2] *= planes[image]["object"][0] == 1
        maps[image, 2] *= image % 2
        maps[image, 6] *= np.all([plane <= 0 for (plane,) in planes[image].values()], 0)
    maps[:, 3], maps[:, 5] = 2.5, maps[:, 4]  # silent; two units that are the same
    return World(maps, planes, OBJECTS + PARTS, [f"class {image % 4 % 3}" for image in range(images)], **where)


def world_in_memory():
    """Scenes that are the class; objects in two planes; parts in five images: their folds are too few."""
    rng = np.random.default_rng(1)
    maps, planes, kinds = random_maps(rng, 60), [], rng.integers(0, 3, 60)
    for image, kind in enumerate(kinds):
        planes.append({"scene": [np.full(GRID, kind + 1)], "object": [random_map(rng, 4), random_map(rng, 4)]})
        maps[image, kind] += 9
        if image % 12 == 0:
            planes[image]["part"] = [random_map(rng, 2)]
            maps[image, 3] += 9 * (planes[image]["part"][0] == 2)
        maps[image, 4] *= (planes[image]["object"][0] < 0) & (kind == 0)
    maps[7, 5, 0, 0] = np.nan
    maps[:, 6] = maps[:, 6].clip(0, 8)  # silent: saturated
    return World(maps, planes, OBJECTS + PARTS[:2] + SCENES, [int(kind) for kind in kinds], in_files=False)


def small_world(images, *, classes=1, seed=0, **where):
    """All images hold the same concepts: with one class, none is tested for context."""
    rng = np.random.default_rng(seed)
    maps, planes = random_maps(rng, images), [{"object": [random_map(rng, 4)]} for _ in range(images)]
    for of_image in planes:
        of_image["object"][0][0] = 1, 2, 3, 4
    return World(maps, planes, OBJECTS, [f"class {image % classes}" for image in range(images)], **where)


def world_of_perfect_units():
    """Every image has its concept, and the units their mask, at a place of its own: all draws are 0."""
    maps, planes = np.zeros((16, 2, *GRID)), []
    for image, place in enumerate(np.ndindex(GRID)):
        planes.append({"object": [np.zeros(GRID, int)]})
        planes[image]["object"][0][place] = 1
        maps[image, 0][place], maps[image, 1][place] = image % 2, image % 4 > 0
    return World(maps, planes, OBJECTS[:1], ["a"] * 16)


def world_of_categories_apart():
    """No two images are annotated for the same: there are no draws."""
    rng = np.random.default_rng(3)
    maps = random_maps(rng, 4)
    planes = [{name: [random_map(rng, 3)] for name in names} for names in ("a", "b", "ab", "c")]
    return World(maps, planes, [ul.Concept(name, k, f"{name}{k}") for name in "abc" for k in (1, 2, 3)], ["a"] * 4)


def world_of_places():
    """Parts are in the same place in all images, and most units look there, of each image."""
    rng = np.random.default_rng(7)
    maps = random_maps(rng, 60)
    maps[:, :6, :2] += 3
    planes = [{"object": [random_map(rng, 4)], "part": [HALVES]} for _ in range(60)]
    return World(maps, planes, OBJECTS + PARTS[:2], [f"class {image % 3}" for image in range(60)])


def names_of_half(odd, images):
    names = (f"photo {image}.jpg" for image in itertools.count())
    return list(itertools.islice((name for name in names if number(name.encode()) % 2 == odd), images))


EXACT = ("concept", "iou", "heldout_iou", "iou_low", "iou_high", "chance_iou", "chance_sd", "context_iou")
P = ("p_value", "concept_p_value", "context_p")
Q = ("q_value", "concept_q_value", "context_q")


def table_of(world):
    net = lookup(np.asarray(world.maps))
    return ul.dissect(net, "layer", world, quantile=QUANTILE, exemplars=0).table().set_index("unit")


def compare(world):
    table, expected = table_of(world), evidence(world)
    for unit, row in table.iterrows():
        for column in (*EXACT, *P, *Q):
            own, value = expected.get(unit, {}).get(column), row[column]
            if own is None or column == "concept":
                assert value == own or (own is None and value != value), (unit, column, value, own)
            elif column in P:
                assert value == float(own), (unit, column, value, own)
            else:
                assert value == pytest.approx(float(own), rel=1e-12, abs=1e-12), (unit, column, value, own)
    return table


def test_the_page_says_all_that_is_computed_for_images_from_files():
    table = compare(world_of_two_categories())
    assert table.silent.sum() == 1
    assert table.concept[0] == "object 2"
    assert table.concept[1] == "part 3"
    assert (table.iou[6], table.p_value[6]) == (0, 1)  # it meets no concept


@pytest.mark.filterwarnings("ignore:layer has NaN:unitlens.UnitlensWarning")
def test_the_page_says_all_that_is_computed_for_images_in_memory():
    table = compare(world_in_memory())
    assert table.silent.sum() == 1
    assert table.nonfinite[5] > 0
    assert table.concept[:3].tolist() == ["scene 1", "scene 2", "scene 3"]
    assert table.context_p[:3].isna().all()  # the class determines them
    assert table.concept[3] == "part 2"
    assert math.isnan(table.iou_low[3])


@pytest.mark.parametrize("in_files", [True, False])
def test_the_page_says_all_that_is_computed_for_groups(in_files):
    groups = [f"video {image // 4}" for image in range(60)]
    compare(world_of_two_categories(seed=2, groups=groups, in_files=in_files))


@pytest.mark.parametrize(
    "world",
    [
        pytest.param(partial(small_world, 2), id="one draw"),
        pytest.param(partial(small_world, 3), id="two draws"),
        pytest.param(partial(small_world, 4, classes=2), id="three draws"),
        pytest.param(partial(small_world, 12, classes=3), id="few draws"),
        pytest.param(world_of_categories_apart, id="no draws"),
        pytest.param(lambda: small_world(30, names=names_of_half(0, 30)), id="no odd folds"),
        pytest.param(world_of_perfect_units, id="draws that are all 0"),
    ],
)
def test_the_page_says_what_becomes_of_worlds_that_are_too_small(world):
    compare(world())


def test_labels_that_are_the_same_in_all_images_prove_nothing():
    rng = np.random.default_rng(2)
    classes = [f"class {image % 3}" for image in range(60)]
    world = World(random_maps(rng, 60), [{"part": [HALVES]}] * 60, PARTS[:2], classes)
    assert {(p, p_c) for p, p_c in table_of(world)[["p_value", "concept_p_value"]].to_numpy()} == {(1.0, 1.0)}


def test_units_whose_concept_is_in_the_same_place_everywhere_tie_with_their_draws():
    compare(world_of_places())
