"""Bundled networks, by name."""

from unitlens.errors import UnitlensError, did_you_mean
from unitlens.models.latents import LatentInput
from unitlens.models.opened import OpenedModel
from unitlens.models.preprocessing import Declared
from unitlens.models.weights import put_weights, read_weights

BUNDLED = (
    *("bundled:scenes", "bundled:scenes-shortcut", "bundled:scenes-infrared"),
    *("bundled:scenes-segmenter", "bundled:scenes-generator"),
)
"""Their names."""


def open_bundled(spec: str, weights: str | None, seed: int) -> OpenedModel:
    """Open a bundled network; its weights are its own, none, or those of a file."""
    from unitlens.models.bundled import scenes

    if spec not in BUNDLED:
        there = ", ".join(BUNDLED)
        raise UnitlensError(f"There is no network {spec!r}{did_you_mean(spec, BUNDLED)}; there are {there}.")
    of_own = None if weights in (None, "DEFAULT") else "none"
    opened: OpenedModel
    side = scenes.IMAGE_SIZE
    if spec in ("bundled:scenes", "bundled:scenes-shortcut"):
        make = scenes.scene_net if spec == "bundled:scenes" else scenes.shortcut_net
        opened = OpenedModel(
            make(weights=of_own, seed=seed),
            spec,
            Declared((side, side), None, scenes.MEAN, scenes.STD),
            tuple(scenes.CLASSES),
            scenes.DEFAULT_LAYER,
        )
    elif spec == "bundled:scenes-infrared":
        opened = OpenedModel(
            scenes.infrared_net(weights=of_own, seed=seed),
            spec,
            Declared((side, side), None, scenes.INFRARED_MEAN, scenes.INFRARED_STD),
            tuple(scenes.CLASSES),
            scenes.DEFAULT_LAYER,
        )
    elif spec == "bundled:scenes-segmenter":
        from unitlens.models.bundled import scenes_segmenter

        opened = OpenedModel(
            scenes_segmenter.scene_objects(weights=of_own, seed=seed),
            spec,
            Declared((side, side), None, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
            scenes_segmenter.object_names(),
            "down8",
        )
    else:
        from unitlens.models.bundled import scenes_generator

        opened = OpenedModel(
            scenes_generator.scenes_generator(weights=of_own, seed=seed),
            spec,
            Declared(),
            default_layer=scenes_generator.DEFAULT_LAYER,
            latents=LatentInput((scenes_generator.LATENTS,), (-1.0, 1.0)),
        )
    if weights not in (None, "DEFAULT", "none"):
        put_weights(opened.model, read_weights(str(weights)), str(weights))
    return opened
