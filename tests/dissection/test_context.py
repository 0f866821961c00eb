"""Units that know a thing and units that know the kind of image, and what they are told apart by."""

import numpy as np
import pytest

import unitlens as ul
from benchmarks.evidence import context as contexts
from benchmarks.evidence import planted as planted_world
from tests.worlds.coloured import write_world
from tests.worlds.planted import InMemory, colour_net, lookup
from unitlens.data.preparing import image_hash
from unitlens.dissection.settings import Settings
from unitlens.errors import UnitlensError
from unitlens.stats.draws.partners import choose_partners

SIDE = 14
CONCEPTS = tuple(("object", 1 + c, f"thing {c}") for c in range(contexts.CONCEPTS))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(planted_world, "SIDE", SIDE)
    monkeypatch.setattr(planted_world, "COARSE", 5)


def dissected(drawn, *, classes=True, scene=False, **options):
    """A network that has these masks, shown the images with what is marked in them."""
    images, units = drawn.masks.shape[:2]
    maps = drawn.masks.reshape(images, units, SIDE, SIDE)
    concepts, planes = CONCEPTS, [{"object": [labels.reshape(SIDE, SIDE)]} for labels in drawn.labels]
    if scene:
        concepts = (*CONCEPTS, *(("scene", 1 + kind, f"place {kind}") for kind in range(4)))
        planes = [
            own | {"scene": [np.full((SIDE, SIDE), 1 + kind)]} for own, kind in zip(planes, drawn.kinds, strict=True)
        ]
    names = [f"kind {kind}" for kind in drawn.kinds] if classes else None
    data = InMemory(planes, concepts, size=SIDE, classes=names)
    net = lookup(maps, image_size=SIDE)
    return ul.dissect(net, "layer", data, grid=SIDE, exemplars=0, **options)


def planted(seed=0, **numbers):
    numbers = {"kinds": 4, "things": 12, "scenes": 12, "nulls": 8, "by": 2.0} | numbers
    return contexts.world(250, seed=seed, **numbers)


@pytest.mark.parametrize("classes", [True, False])
def test_units_of_a_thing_and_units_of_a_kind_of_image_are_told_apart(classes):
    found = dissected(planted(), classes=classes, min_iou=0.01)
    verdict, context = found.table()["verdict"], found.table()["context_q"]
    assert (verdict[:12] == "detector").all()
    assert (verdict[12:24] == "context").mean() > 0.7
    assert (verdict[12:24] == "detector").mean() < 0.1
    assert (verdict[24:] == "detector").sum() <= 1
    assert (context[:12] <= 0.05).all()
    kinds = "4 classes" if classes else "sets of images"
    assert any(kinds in note for note in found.info["warnings"])


def test_context_iou_is_the_mean_best_iou_with_labels_of_the_same_kind():
    drawn = planted(things=3, scenes=3, nulls=2)
    table = dissected(drawn, fdr=0.1).table()
    hashes = [
        image_hash(ul.Example(np.full((SIDE, SIDE, 3), image, np.uint8), {}, f"image {image}")) for image in range(250)
    ]
    _, kinds = np.unique(drawn.kinds, return_inverse=True)
    first = np.array([np.flatnonzero(drawn.kinds == kind)[0] for kind in range(4)])
    order = np.argsort(np.argsort(first))[kinds]  # numbered as they come
    draws = choose_partners(
        hashes, [1] * 250, draws=Settings(layers=("layer",), grid=(1, 1), fdr=0.1).draws, strata=order
    )
    active = np.nonzero(drawn.masks.transpose(1, 0, 2))
    values = [contexts.whole(active, 8, drawn.labels[partner]) for partner in draws]
    assert table["context_iou"].to_numpy() == pytest.approx(np.mean(values, 0))


def test_a_concept_that_the_kind_of_image_determines_has_no_context():
    drawn = planted(things=2, scenes=6, nulls=0)
    table = dissected(drawn, scene=True).table()
    places = table["category"] == "scene"
    assert places[2:].any()
    assert table.loc[places, ["context_iou", "context_p", "context_q"]].isna().all(axis=None)
    assert (table.loc[places, "verdict"] != "context").all()


def test_kinds_of_images_are_named_by_a_file_a_column_or_a_mapping(tmp_path):
    drawn = planted(things=2, scenes=2, nulls=0)
    names = {f"image {image}": str(kind) for image, kind in enumerate(drawn.kinds)}
    file = tmp_path / "places.csv"
    file.write_text("image,stratum\n" + "".join(f"{image},{kind}\n" for image, kind in names.items()))
    by_class = dissected(drawn)
    for within in (names, file, str(file)):
        found = dissected(drawn, classes=False, within=within)
        assert found.table()["context_p"].equals(by_class.table()["context_p"])
        assert found.settings.within.startswith("given:" if within is names else str(file))
    some = dissected(drawn, within={name: kind for name, kind in names.items() if kind == "0"})
    part = sum(kind == "0" for kind in names.values())
    assert any(f"{part} of 250 images take part" in note for note in some.info["warnings"])


def test_kinds_of_images_are_a_column_of_classes_csv(tmp_path, shell):
    world = write_world(tmp_path / "world", images=40)
    lights = {f"{image:02}.png": "day" if image % 2 else "night" for image in range(40)}
    rows = [f"{image},photo,{light}" for image, light in lights.items()]
    (world / "classes.csv").write_text("image,class,light\n" + "\n".join(rows) + "\n")
    net = colour_net()
    options = {"quantile": 0.1, "exemplars": 0, "batch_size": 8}
    run = ul.dissect(net, "pool", world, within="light", **options)
    assert run.settings.within == "light"
    assert run.table()["context_p"].notna().any()
    assert run.table()["context_p"].equals(
        ul.dissect(net, "pool", world, within=lights, **options).table()["context_p"]
    )
    assert any("2 strata; 40 of 40 images" in note for note in run.info["warnings"])
    assert ul.plan(net, "pool", world, within="light", groups="sequence:2", **options).images == 40
    with pytest.raises(UnitlensError, match="did you mean light"):
        ul.plan(net, "pool", world, within="lihgt", **options)
    checked = ul.audit(run, net, ul.open_data(world), noise=0)
    assert set(checked.table()["check"]) >= {"even folds", "half quantile"}
    planned = shell("plan", "bundled:scenes", "--data", world, "--within", "light", "--groups", "sequence:2")
    assert planned.code == 0, planned.err
    assert "lihgt" in shell("plan", "bundled:scenes", "--data", world, "--within", "lihgt").err


def test_kinds_that_do_not_exist_are_an_error(tmp_path):
    drawn = planted(things=1, scenes=1, nulls=0)
    with pytest.raises(UnitlensError, match=r"classes\.csv"):
        dissected(drawn, within="place")
    file = tmp_path / "places.csv"
    file.write_text("image,place\nimage 0,1\n")
    with pytest.raises(UnitlensError, match=r"no column stratum; its first line names image, place"):
        dissected(drawn, within=file)
    file.write_text("image,stratum\nimage 0,1\nimage 1,2\nimage 0,2\n")
    with pytest.raises(UnitlensError, match=r"line 4: the stratum of image 0 is 2, before it was 1"):
        dissected(drawn, within=file)
