"""A command whose help comes in sections, and whose options may be given in a file."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from unitlens.cli.shell.config import config_option, refuse_risks
from unitlens.errors import UnitlensError
from unitlens.processes import is_launched

SECTIONS = {
    "Network": (
        "weights", "image_size", "resize", "mean", "std", "bands", "range", "show_bands", "show_range",
        "show_percentiles", "latent_shape", "latent_classes", "rescale", "network", "trust",
        "zero_shot", "centroids", "neighbours", "nearest",
    ),
    "Images": (
        "data", "latents", "limit", "strict", "data_format", "split", "concepts", "data_root", "download",
        "segmenter_weights", "segmenter_labels", "segmenter_ious", "segmenter_category", "segmenter_size",
        "segmenter_cache", "confidence",
    ),
    "Units": (
        "layers", "layout", "tap", "basis", "features", "features_kind", "preset", "quantile", "min_iou",
        "detector_rule", "score", "levels", "grid", "upsampling",
    ),
    "Evidence": ("evidence", "control", "groups", "within", "fdr", "pairs"),
    "Output": ("out", "overwrite", "exemplars", "exemplar_size", "keep_activations", "quiet", "config", "help"),
    "Machine": (
        "device", "batch_size", "workers", "threads", "fast", "seed", "store_limit", "shard", "again",
    ),
}  # fmt: skip
"""Names of the options that several commands share, by what they are about. All others are a command's own."""

SHARED = ("dissect", "ablate", "intervene")
"""The commands whose work `torchrun` can distribute over processes."""

FEW = 12
"""A command of no more options lists them without sections."""


class Command(click.Command):
    """A command of unitlens.

    Parameters
    ----------
    first : sequence of str
        Names of the options that matter first, in their order; about ten.
    """

    def __init__(self, *args: Any, first: Sequence[str] = (), **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.first = tuple(first)
        self.params.append(config_option())

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the options by sections."""
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        listed = {_name(option): record for option in options if (record := option.get_help_record(ctx))}
        for title, names in self._sections(listed):
            if rows := [listed[name] for name in names if name in listed]:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def _sections(self, listed: Iterable[str]) -> list[tuple[str, Sequence[str]]]:
        """Titles of the sections of this command's help, and the options in each."""
        names = list(listed)
        if len(names) <= FEW:
            return [("Options", names)]
        shared = {name for section in SECTIONS.values() for name in section}
        own = [name for name in names if name not in shared and name not in self.first]
        rest = [(title, [name for name in section if name not in self.first]) for title, section in SECTIONS.items()]
        return [("What matters first", self.first), (f"Of {self.name} alone", own), *rest]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words of the command line; what a file asks for is refused where it would run or fetch something."""
        left = super().parse_args(ctx, args)
        refuse_risks(ctx)
        return left

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; under `torchrun` only where its processes share the work, instead of all doing all of it."""
        if is_launched() and self.name not in SHARED:
            raise UnitlensError(
                f"torchrun shares the work of {', '.join(SHARED[:-1])} and {SHARED[-1]}: run `unitlens {self.name}` by "
                "itself."
            )
        return super().invoke(ctx)


def _name(option: click.Option) -> str:
    """The name of an option; click's own --help is without one."""
    return "help" if "--help" in option.opts else str(option.name)


def command(name: str | None = None, *, first: Sequence[str] = ()) -> Callable[[Callable[..., Any]], Command]:
    """Make a function a command, as `click.command` does.

    Parameters
    ----------
    name : str, optional
        The function's, if it is another.
    first : sequence of str
        As for `Command`.
    """
    return click.command(name, cls=Command, first=first)
