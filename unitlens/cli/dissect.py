"""`unitlens dissect`."""

import time
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from unitlens.cli.opening import (
    load_network,
    open_images,
    set_threads,
    take_basis,
    take_data_options,
    worker_count,
)
from unitlens.cli.options import (
    dissection_options,
    image_options,
    keep_activations_option,
    layer_option,
    network_options,
    output_options,
    quiet_option,
    source_options,
)
from unitlens.cli.shell.command import command
from unitlens.cli.shell.completion import BUNDLED, words
from unitlens.cli.shell.values import Shard
from unitlens.cli.text import echo, size_of, summarize, tell_activations
from unitlens.errors import UnitlensError, UnitlensWarning
from unitlens.processes import launched


@command(first=("layers", "data", "weights", "out", "limit", "concepts", "control", "groups", "device", "preset"))
@click.argument("model", shell_complete=words(*BUNDLED, files=True))
@layer_option
@image_options
@source_options
@output_options
@dissection_options
@network_options
@click.option(
    "--pairs",
    type=click.IntRange(0),
    metavar="N",
    help="Test labels on N pairs of drawn scenes with and without each concept; 0: do not. "
    "[24 beside 640 or more of bundled:scenes, else 0]",
)
@click.option(
    "--shard",
    type=Shard(),
    help="Look at part I of N of the images alone and keep it in RUN; `unitlens merge` puts the parts together.",
)
@keep_activations_option
@click.option("--again", is_flag=True, help="Compute it though the same was computed before.")
@quiet_option
def dissect(
    model: str,
    layers: tuple[str, ...],
    data: str | None,
    out: Path,
    overwrite: bool,
    pairs: int | None,
    shard: Any,
    keep_activations: bool,
    again: bool,
    **options: Any,
) -> None:
    """Match every unit of a network's layers with the concepts marked in images.

    MODEL is resnet18, torchvision.models:resnet18, timm:NAME, hf:NAME_OR_FOLDER, package.module:callable,
    path/to/file.py:callable, bundled:scenes, bundled:scenes-generator or bundled:scenes-segmenter. With --latent-shape
    it is a generator, and its units are matched with what it draws. A file or package that is named is run: name none
    that you do not trust. Weights are read as numbers alone, and nothing in them runs.
    """
    from unitlens.dissection.files import check_free
    from unitlens.dissection.repeating.answers import Question
    from unitlens.dissection.run import keep_part, task_of
    from unitlens.dissection.work.activations import keep_activations as keep
    from unitlens.dissection.work.folders import FOLDER
    from unitlens.dissection.work.task import Checkpoint
    from unitlens.dissection.work.together import dissect_kept
    from unitlens.dissection.work.works import finishing, holding_run
    from unitlens.pages.writing import report

    began, question = time.time(), None
    with launched() as processes, ExitStack() as held:
        with processes.in_step():
            if processes.first:
                check_free(out, overwrite=overwrite)
                held.enter_context(holding_run(out))
            set_threads(options.pop("threads"))
            quiet, workers = options.pop("quiet") or not processes.first, worker_count(options.pop("workers"))
            opened, basis = take_data_options(options), take_basis(options)
            net = load_network(model, options)
            latents = options.pop("latents")
            images = open_images(model, data, options["limit"], options["seed"], net=net, latents=latents, **opened)
        names, checkpoint = list(layers) or None, Checkpoint(out / FOLDER, replace=overwrite)
        options |= {"workers": workers, "progress": not quiet, "basis": basis}
        if shard is not None and processes.count > 1:
            raise UnitlensError("--shard is of processes that are started one by one: leave it out under torchrun.")
        if shard is not None:
            keep_part(task_of(net, names, images.data, options), shard, checkpoint, recorded=images.recorded)
            _tell_kept(out, shard, quiet=quiet)
            return
        with processes.in_step():
            task = task_of(net, names, images.data, options)
        known = None
        if processes.count == 1:
            question = Question.of(task, recorded=images.recorded, began=began)
            fresh = again or keep_activations or (out / FOLDER).exists()  # passes that are kept there go on
            known = None if question is None or fresh else question.answering_run()
        if known is None:
            result = dissect_kept(task, checkpoint, processes)
            if result is None:
                return
        else:
            result = known[1]
            _tell_answered(*known)
        with finishing(out / FOLDER):
            result.info["command"] = click.get_current_context().obj
            result.info["data"] |= images.recorded
            how = {"basis": options["basis"], "workers": workers, "progress": not quiet}
            labels = _tested_labels(net, result, pairs, **how)
            page = report(out, result, *labels, overwrite=overwrite)
            if question is not None:
                question.remember(out, skipped=result.info["data"]["skipped"])
            if keep_activations:
                keep(out / FOLDER, out)
    if not quiet:
        _tell_written(out, page, result, labels)
        tell_activations(out, kept=keep_activations)


def _tested_labels(net: Any, result: Any, pairs: int | None, **how: Any) -> list[Any]:
    """Whether units answer to what they are labelled as, on so many minimal pairs; nothing where there are none."""
    from unitlens.data.scenes.pairs import ScenePairs
    from unitlens.explaining.pairs.minimal_pairs import causal_labels, usual_pairs

    pairs = usual_pairs(result) if pairs is None else pairs
    return [causal_labels(net, result, ScenePairs(pairs), **how)] if pairs else []


def _tell_written(out: Path, page: Path, result: Any, labels: list[Any]) -> None:
    """Sum up what was found, and say where it lies."""
    from unitlens.explaining.pairs.causal_labels_result import describe_shares

    echo(summarize(result))
    for tested in labels:
        echo(f"minimal pairs: {describe_shares(tested.rows)}")
    echo(f"wrote {out}/: {page.name} ({size_of(page)}) to look at, units.csv to compute with")


def _tell_answered(folder: Path, result: Any) -> None:
    """Say from where and when a result is that was not computed again, and what it warns of."""
    info = result.info
    machine = info["machine"].get("processor", "a processor that is not recorded")
    echo(
        f"unitlens: the same was computed already ({folder}, {info['created']}, {machine}), and is taken from there; "
        "--again computes it anew.",
        err=True,
    )
    for warning in info["warnings"]:
        warnings.warn(warning, UnitlensWarning, stacklevel=2)


def _tell_kept(out: Path, shard: Any, *, quiet: bool) -> None:
    if not quiet:
        echo(
            f"kept part {shard.number + 1} of {shard.parts} in {out}/: `unitlens merge` puts the parts together when "
            "all are there"
        )
