"""`unitlens intervene --recipe`: the image of a recipe, drawn again."""

from io import BytesIO
from typing import Any

from unitlens.cli.opening import set_threads
from unitlens.cli.targets import network_of
from unitlens.cli.text import echo
from unitlens.errors import UnitlensError
from unitlens.files import another_or_overwrite, make_folder, write_whole


def draw_recipe(target: str, options: dict[str, Any]) -> None:
    """Draw the image of a recipe again, and write it beside the file, or into the folder that is named."""
    from PIL import Image

    from unitlens.editing.painting.recipe import open_recipe

    chosen = [option for option, given in _ways(options).items() if given]
    if chosen:
        raise UnitlensError(f"--recipe says itself what is done to which units: leave {' and '.join(chosen)} out.")
    recipe, file = open_recipe(options["recipe"]), options["recipe"]
    folder = file.parent if options["out"] is None else make_folder(options["out"])
    images = {name: folder / f"{file.stem}.{name}.png" for name in ("before", "after")}
    there = next((path for path in images.values() if path.exists()), None)
    if there is not None and not options["overwrite"]:
        raise UnitlensError(f"{there} is there already: give {another_or_overwrite()}.")
    set_threads(options["threads"])
    edited = recipe.draw(network_of(target, options))
    for name, image in (("before", edited.before[0]), ("after", edited.after[0])):
        buffer = BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        write_whole(images[name], buffer.getvalue())
    if not options["quiet"]:
        echo(f"{len(recipe.edits)} edits; the numbers of the image moved by {edited.distance[0]:.1%} of their range")
        echo(f"wrote {images['before']} and {images['after']}")


def _ways(options: dict[str, Any]) -> dict[str, bool]:
    """The options that say what is done to which units, and whether they were given."""
    names = ("layers", "units", "concepts_of", "remove", "insert", "at", "everywhere", "every_place", "level", "sweep")
    spelled = {"layers": "--layer", "concepts_of": "--concept", "every_place": "--map", "methods": "--set"}
    return {
        spelled.get(name, f"--{name}"): options[name] not in (None, (), False)
        for name in (*names, "methods", "detectors")
    }
