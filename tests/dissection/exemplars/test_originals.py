"""Exemplars that are drawn again from the original images."""

import io
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import unitlens as ul
from tests.worlds.coloured import write_world
from tests.worlds.generators import painted, painter
from unitlens.drawing.strips import draw_tiles, enlarged
from unitlens.errors import UnitlensError

UNIT = 57


@pytest.fixture(scope="module")
def net():
    return ul.load("bundled:scenes")


@pytest.fixture(scope="module")
def scenes():
    """Drawn three times as large as the network takes them."""
    return [ul.Scenes(16, size=336)[index] for index in range(16)]


class Listed:
    """Examples as a data set, some of them in place of others."""

    concepts = ul.Scenes(1).concepts

    def __init__(self, examples):
        self.examples = examples

    def __len__(self):
        return len(self.examples)

    def __getitem__(self, index):
        return self.examples[index]


def dissected(net, scenes, layer="relu6", **options):
    given = {"evidence": False, "exemplars": 3, "exemplar_size": 112, "quantile": 0.05}
    return ul.dissect(net, layer, Listed(scenes), **given | options)


def tiles(strip):
    """The images of a strip, (K, size, size, 3)."""
    image = np.asarray(Image.open(io.BytesIO(strip)))
    return np.stack(np.split(image, image.shape[1] // image.shape[0], axis=1)).astype(float)


def shrunk(images, size):
    return np.stack(
        [
            np.asarray(Image.fromarray(np.uint8(image)).resize((size, size), Image.Resampling.BILINEAR))
            for image in images
        ]
    )


def naive_strip(d, net, scenes, unit, *, size):
    """From the definitions: the whole image, squashed, and where the unit's map is above its threshold."""
    images = [next(one.image for one in scenes if one.name == top.image) for top in d.top_images(unit)]
    inputs = torch.stack([torch.from_numpy(shrunk([one], 112)[0]) for one in images])
    with ul.record(net.model, ["relu6"]) as recorded, torch.no_grad():
        net.model(net.prepare(inputs.permute(0, 3, 1, 2)))
    threshold = d.table()["threshold"][unit]
    masks = enlarged(recorded["relu6"][:, unit].numpy(), (size, size)) > threshold
    return draw_tiles(shrunk(images, size), masks, size=size)


def test_the_original_is_drawn_with_the_mask_of_the_network(net, scenes):
    d = dissected(net, scenes)
    redrawn = ul.redrawn(d, [UNIT], net=net, data=Listed(scenes), size=336)
    found, expected = tiles(redrawn.strip(UNIT)), naive_strip(d, net, scenes, UNIT, size=336)
    assert found.shape == (3, 336, 336, 3)
    assert np.abs(found - expected).mean() < 5  # what the JPEG loses
    blurred = shrunk(shrunk(expected, 112), 336)
    assert np.abs(found - expected).mean() < np.abs(blurred - expected).mean() / 2  # sharper than what the run keeps
    assert redrawn.strip(0) == d.strip(0)
    assert d.strip(UNIT) == dissected(net, scenes).strip(UNIT)


@pytest.mark.parametrize(
    ("layer", "options"),
    [
        ("relu6", {"basis": np.eye(128, dtype=np.float32)[::-1].copy()}),
        ("relu6", {"tap": "after_inplace"}),
        ("relu2", {"grid": (8, 8)}),
        ("classify", {"quantile": 0.2}),
    ],
    ids=["directions", "tap", "finer than the grid", "without a grid"],
)
def test_at_the_size_of_the_run_tiles_are_those_of_the_run(net, scenes, layer, options):
    d = dissected(net, scenes, layer, **options)
    basis = options.get("basis")
    redrawn = ul.redrawn(d, [0, 7], net=net, data=Listed(scenes), size=112, basis=basis)
    for unit in (0, 7):
        assert np.abs(tiles(redrawn.strip(unit)) - tiles(d.strip(unit))).mean() < 6  # what two JPEGs lose


def test_what_is_cropped_is_cropped_at_full_size(net, scenes):
    cropping = ul.classifier(net.model, image_size=96, resize=128, mean=[0.5] * 3, std=[0.25] * 3)
    wide = [one._replace(image=one.image[:300], planes={}) for one in scenes]
    d = dissected(cropping, wide, exemplar_size=96)
    redrawn = ul.redrawn(d, [UNIT], net=cropping, data=Listed(wide), size=288)
    found, kept = tiles(redrawn.strip(UNIT)), shrunk(tiles(d.strip(UNIT)), 288)
    off = {moved: np.abs(np.roll(found, moved, axis=(1, 2)) - kept).mean() for moved in ((0, 0), (6, 0), (0, 6))}
    assert off[0, 0] < min(off[6, 0], off[0, 6]) * 0.75


def test_figures_show_so_many_of_them_as_large(net, scenes):
    d = dissected(net, scenes)
    sharp = ul.redrawn(d, [UNIT], net=net, data=Listed(scenes)).show(UNIT, images=2).axes[0].images[0].get_array()
    assert sharp.shape == (512, 1024, 3)
    assert d.show(UNIT, images=2).axes[0].images[0].get_array().shape == (112, 224, 3)
    assert ul.redrawn(d, [UNIT], net=net, data=Listed(scenes), images=1).show(UNIT).axes[0].images[0].get_size() == (
        512,
        512,
    )


def test_other_images_and_networks_are_refused(net, scenes):
    d = dissected(net, scenes)
    first = d.top_images(UNIT)[0].image
    other = [one._replace(image=255 - one.image) if one.name == first else one for one in scenes]
    with pytest.raises(UnitlensError, match=rf"{first} is not what it was .* unit {UNIT} of relu6 .* data="):
        ul.redrawn(d, [UNIT], net=net, data=Listed(other))
    with pytest.raises(UnitlensError, match=f"no image {first}"):
        ul.redrawn(d, [UNIT], net=net, data=Listed([one for one in scenes if one.name != first]))
    with pytest.raises(UnitlensError, match=r"weights of .* are not those of the run"):
        ul.redrawn(d, [UNIT], net=ul.load("bundled:scenes", weights="none"), data=Listed(scenes))


def test_a_module_gets_the_images_as_the_network_of_the_run_does(net, scenes):
    d, data = dissected(net, scenes), Listed(scenes)
    assert ul.redrawn(d, [UNIT], net=net.model, data=data).strip(UNIT) == ul.redrawn(
        d, [UNIT], net=net, data=data
    ).strip(UNIT)
    with ul.activations(d, net.model, data) as stored:
        assert stored.images == len(scenes)
    given = ul.given_labels(d, {UNIT: "sea"})
    of_module, of_net = (
        ul.measure_labels(d, given, one, data, effects=True, references=False) for one in (net.model, net)
    )
    assert of_module.rows.equals(of_net.rows)
    assert ul.audit(d, net.model, data, noise=0).table().equals(ul.audit(d, net, data, noise=0).table())
    with pytest.raises(
        UnitlensError, match=r"net= is a network or a torch\.nn\.Module, not a str; ul\.load takes a name"
    ):
        ul.redrawn(d, [UNIT], net="resnet18", data=data)
    with pytest.raises(UnitlensError, match=r"weights of .* are not those of the run"):
        ul.redrawn(d, [UNIT], net=ul.load("bundled:scenes", weights="none").model, data=data)


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        ({"size": 8}, "size=8 .* 16 to 2048"),
        ({"images": 0}, "images=0 must be 1 or more"),
        ({"units": [3, 128]}, "no unit 128; .* 0 to 127"),
    ],
    ids=["size", "images", "units"],
)
def test_what_cannot_be_drawn_is_refused(net, scenes, options, facts):
    with pytest.raises(UnitlensError, match=facts):
        ul.redrawn(dissected(net, scenes), **{"units": [UNIT], **options}, net=net, data=Listed(scenes))


def test_what_a_generator_draws_is_as_large_as_it_is():
    net, latents = painter(), painted()
    d = ul.dissect(net, "layer", latents, evidence=False, exemplars=2)
    with pytest.raises(UnitlensError, match="draws the images of the run itself, at 32 x 32"):
        ul.redrawn(d, [0], net=net, data=latents)
    with pytest.raises(
        UnitlensError, match=r"draws the images of the run: net= is what ul\.generator or ul\.load made"
    ):
        ul.redrawn(d, [0], net=net.model, data=latents)


def test_the_shell_opens_the_originals_again_and_changes_nothing_but_the_page(shell, run_folder, net_file, tmp_path):
    run = shutil.copytree(run_folder, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    refused = shell("figures", run, "--full-size")
    assert refused.code == 2
    assert f"import and call {net_file}:build" in refused.err
    assert "--trust" in refused.err
    said = shell("figures", run, "--full-size", "--network", f"{net_file}:build", "--format", "png", "--images", 2)
    assert said.code == 0, said.err
    assert (tmp_path / "run-figures" / "units-0.png").is_file()
    assert shell("report", run, "--full-size", "--trust", "--size", 64).code == 0
    after = {path.name: path.read_bytes() for path in run.iterdir()}
    assert {name for name in after if after[name] != before[name]} == {"report.html"}
    assert shell("report", run).code == 0
    assert (run / "report.html").read_bytes() == before["report.html"]


def test_options_that_open_images_are_refused_where_none_are_opened(shell, run_folder, tmp_path):
    said = shell("figures", run_folder, "--data", write_world(tmp_path / "world"))
    assert said.code == 2
    assert "--data" in said.err
    assert "--full-size" in said.err
    assert "--size" in shell("report", run_folder, "--size", 64).err
