"""`unitlens open`."""

import sys
import warnings
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unitlens.cli.classes import GivenClasses, class_options
from unitlens.cli.opening import set_threads
from unitlens.cli.options import basis_option, opening_options, quiet_option
from unitlens.cli.shell.command import command
from unitlens.cli.targets import Source, run_source
from unitlens.cli.text import echo
from unitlens.errors import UnitlensError, UnitlensWarning

if TYPE_CHECKING:
    from unitlens.app.finding import UnitSearch
    from unitlens.app.site import Page


@command("open", first=("data", "concepts", "weights", "port"))
@click.argument("target", metavar="RUN")
@click.option("--layer", "layers", multiple=True, metavar="NAME", help="The layer; repeatable. [the run's]")
@click.option("--port", type=click.IntRange(1, 65535), metavar="N", help="Of the address. [a free one]")
@click.option(
    "--encoder",
    metavar="ENCODER",
    help="Search units by any words and by images, with the encoder whose words have named them. "
    "[bundled:scenes-words, where it was that]",
)
@click.option(
    "--encoder-weights", metavar="W", help="DEFAULT allows a download; a file, or none. [those on this machine]"
)
@click.option("--no-browser", is_flag=True, help="Print the address, and open no browser.")
@basis_option
@class_options
@opening_options
@quiet_option
def open_(target: str, **options: Any) -> None:
    """Open a page in the browser to paint with units, or to switch them off and watch the answer.

    RUN is the folder of a run. Of a generator: paint concepts into and out of what it draws. Of a classifier: choose an
    image, see which units its answer rests on, and switch them off. Where words have named the units (unitlens label
    RUN --words), search them by words and by the image. The page is served to this machine alone, until Ctrl-C.
    """
    try:
        from unitlens.app.serving import serve
    except ModuleNotFoundError as error:
        raise UnitlensError(
            f"The page needs {error.name}, which is not installed: pip install 'unitlens[app]'."
        ) from None
    source = run_source(Path(target), options)
    source = source._replace(net=GivenClasses.of(options).given_to(source.net, quiet=options["quiet"]))
    set_threads(options["threads"])
    page = _painting(target, source, options) if source.net.image == "output" else _exploring(target, source, options)

    def there(address: str) -> None:
        echo(f"open {address}")
        if not options["quiet"]:
            echo("Ctrl-C ends it.")
        sys.stdout.flush()
        if not options["no_browser"]:
            webbrowser.open(address)

    try:
        serve(page, port=options["port"], there=there)
    except KeyboardInterrupt:
        echo("closed")


def _painting(target: str, source: Source, options: dict[str, Any]) -> "Page":
    if source.basis is not None:
        raise UnitlensError(
            f"The units of the run {target} are {source.dissection.settings.basis.noun}, and what a generator draws is "
            "painted with a layer's own units: dissect the layer without them."
        )
    from unitlens.app.painting import PaintingPage
    from unitlens.editing.causal_result import CausalEffects
    from unitlens.editing.saving.files import read_interventions

    try:
        saved = read_interventions(Path(target))
    except UnitlensError as error:  # what units do is shown beside them where it is known; it is painted without
        warnings.warn(f"{error} The page shows no causal effects.", UnitlensWarning, stacklevel=2)
        saved = None
    sweeps = [result for result in saved.results if isinstance(result, CausalEffects)] if saved else []
    return PaintingPage.of(
        Path(target).resolve().name,
        source.net,
        source.dissection,
        source.layers,
        source.data,
        source=str(options["data"] or source.dissection.info["data"]["source"]),
        effects=sweeps,
        search=_search(target, source, encoder=options["encoder"], weights=options["encoder_weights"]),
        progress=not options["quiet"],
    )


def _exploring(target: str, source: Source, options: dict[str, Any]) -> "Page":
    from unitlens.app.exploring import ExploringPage

    return ExploringPage(
        Path(target).resolve().name,
        source.net,
        source.dissection,
        source.data,
        source.layers,
        basis=source.basis,
        search=_search(target, source, encoder=options["encoder"], weights=options["encoder_weights"]),
    )


def _search(target: str, source: Source, *, encoder: str | None, weights: str | None) -> "UnitSearch | None":
    """The units among words, with the encoder if that may be opened; None where words have not named them."""
    from unitlens.app.finding import UnitSearch
    from unitlens.dissection.searching.unit_vectors import read_vectors
    from unitlens.models.words.opening import BUNDLED
    from unitlens.models.words.opening import encoder as opened_encoder

    path = source.dissection.vectors
    if encoder is None and weights is not None:
        raise UnitlensError(f"--encoder-weights {weights} are of an encoder: name it with --encoder.")
    if path is None:
        if encoder is not None:
            raise UnitlensError(
                f"Words have not named the units of {target}, so that they cannot be searched by them: unitlens label "
                f"{target} --words concepts --encoder {encoder} does so."
            )
        return None
    vectors = read_vectors(path)
    if encoder is None and vectors.encoder != BUNDLED:
        return UnitSearch(vectors, None)
    given = None if encoder is None else opened_encoder(encoder, weights=weights)
    return UnitSearch(vectors, vectors.open_encoder(given))
