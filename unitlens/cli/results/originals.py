"""Options of commands that can draw a run's exemplars again from the original images, and what they open."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from click.core import ParameterSource

from unitlens.cli.opening import set_threads, take_basis
from unitlens.cli.options import basis_option, options, source_options, trust_options
from unitlens.cli.targets import RunOptions
from unitlens.errors import UnitlensError

if TYPE_CHECKING:
    from unitlens.data.concepts import Data
    from unitlens.models.bases import Coding
    from unitlens.models.network import Network

full_size_options = options(
    click.option("--full-size", is_flag=True, help="Draw exemplars from the original images, which are opened again."),
    click.option("--data", metavar="DATA", help="Where the images of the run are now. [as in the run]"),
    source_options,
    click.option("--weights", metavar="W", help="Weights of the network, as for `unitlens dissect`. [as in the run]"),
    trust_options,
    basis_option,
    click.option("--device", default="cpu", show_default=True, help="Where the network runs: cpu, cuda, cuda:1, mps."),
    click.option("--threads", type=click.IntRange(1, 1024), help="CPU threads. [torch's own choice]"),
)


class Opened(NamedTuple):
    """What exemplars are drawn from again: keywords of `unitlens.redrawn`."""

    net: "Network"
    data: "Data"
    basis: "Coding | None"
    progress: bool = True


def opened_originals(run: Path, given: dict[str, Any]) -> Opened | None:
    """Take out these options, and open a run's network and images where --full-size is given.

    Raises
    ------
    UnitlensError
        If they cannot be opened or not without --trust, or options are given that only --full-size needs.
    """
    from unitlens.dissection.reopening import run_basis
    from unitlens.dissection.result import open_run

    full_size, asked = given.pop("full_size"), RunOptions.take(given)
    device, threads = given.pop("device"), given.pop("threads")
    basis = take_basis(given)
    if not full_size:
        _refuse_without_need()
        return None
    set_threads(threads)
    dissection = open_run(run)
    reopening = asked.reopening(run, dissection)
    return Opened(
        reopening.open_network(trust=asked.trust, device=device),
        reopening.open_data(trust=asked.trust),
        run_basis(dissection.settings, basis),
    )


def _refuse_without_need() -> None:
    """Refuse options that open network and images where nothing needs them."""
    context = click.get_current_context()
    opening = {param.name for param in full_size_options(click.Command("")).params}
    for param in context.command.params:
        given = context.get_parameter_source(param.name or "") is not ParameterSource.DEFAULT
        if param.name in opening and given:
            raise UnitlensError(
                f"{param.opts[0]} is for opening the original images, which --full-size asks for: add it, or leave "
                f"{param.opts[0]} out."
            )
