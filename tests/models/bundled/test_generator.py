import pytest
import torch
from torch import fx

import unitlens as ul
from benchmarks.training import generator as training
from unitlens.errors import UnitlensError
from unitlens.models.bundled.scenes import CLASSES
from unitlens.models.bundled.scenes_generator import LATENTS, WEIGHTS, ScenesGenerator, scene_of, scenes_generator


def latents(n, seed=0):
    return torch.randn(n, LATENTS, generator=torch.Generator().manual_seed(seed))


def test_the_bundled_generator_draws_images_from_latents():
    net = ul.load("bundled:scenes-generator")
    assert net.image == "output"
    assert net.latents.shape == (96,)
    assert net.preprocessing.image_size == (64, 64)
    with torch.no_grad():
        outputs = net.model(latents(3))
    images = net.images(latents(3), outputs)
    assert images.shape == (3, 3, 64, 64)
    assert images.dtype == torch.uint8
    assert len(set(map(bytes, images.numpy()))) == 3


def test_its_blocks_are_layers_of_units_from_8_to_64_pixels():
    shapes = {layer.name: layer.shape for layer in ul.load("bundled:scenes-generator", weights="none").layers()}
    units, rows = zip(
        *((shapes[f"block{size}"][-3], shapes[f"block{size}"][-1]) for size in (4, 8, 16, 32, 64)), strict=True
    )
    assert units == (256, 192, 96, 48, 24)
    assert rows == (4, 8, 16, 32, 64)


def test_it_is_traced_to_the_same_images():
    net = scenes_generator(weights="none")
    assert torch.equal(fx.symbolic_trace(net)(latents(2)), net(latents(2)))


def test_the_largest_of_the_first_numbers_decides_the_scene():
    drawn = latents(4000)
    scenes = scene_of(drawn)
    assert torch.equal(scenes.argmax(1), drawn[:, : len(CLASSES)].argmax(1))
    shares = scenes.mean(0)
    assert shares.min() > 0.06
    assert shares.max() < 0.11


def test_untrained_weights_follow_from_the_seed_alone():
    one, same, other = (scenes_generator(weights="none", seed=seed).draw8.weight for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_weights_are_small_and_other_files_are_refused(tmp_path):
    assert WEIGHTS.stat().st_size < 8e6
    with pytest.raises(UnitlensError, match=r"none\.safetensors.*benchmarks\.training\.generator"):
        scenes_generator(weights=str(tmp_path / "none.safetensors"))
    with pytest.raises(UnitlensError, match="bundled:scenes-generator"):
        ul.load("bundled:scenes-generators")


def test_batch_norms_are_folded_into_the_same_function():
    torch.manual_seed(0)
    net = training.with_norms(ScenesGenerator())
    measured = training.measured(net, batches=1)
    with torch.no_grad():
        torch.testing.assert_close(training.folded(measured)(latents(4)), measured(latents(4)), atol=1e-4, rtol=1e-3)


def test_augmentation_of_no_image_changes_nothing():
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(training.augmented(images, 0.0, torch.Generator()), images)
    changed = training.augmented(images, 1.0, torch.Generator().manual_seed(0))
    assert (changed - images).abs().flatten(1).mean(1).min() > 0.01


@pytest.mark.slow
def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path):
    images = torch.randint(0, 256, (24, 3, 64, 64), generator=torch.Generator().manual_seed(0)).byte()
    through = training.Training(images, training.Settings(), seed=0)
    through.step(10)
    through.save(tmp_path / "checkpoint.pt")
    again = training.Training(images, training.Settings(), seed=5)
    again.read(tmp_path / "checkpoint.pt")
    assert again.iteration == 1
    for one in (through, again):
        one.step(10)
    for name in ("generator", "average", "critics", "pixels"):
        one, other = getattr(through, name).state_dict(), getattr(again, name).state_dict()
        assert all(torch.equal(one[key], other[key]) for key in one), name
