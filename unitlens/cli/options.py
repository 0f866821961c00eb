"""Options that several commands share."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from unitlens.cli.shell.completion import CONTROLS, PRESETS, SCORES, layers_of_run, words
from unitlens.cli.shell.values import BandNumbers, Bytes, Numbers, Range, Shape, Size
from unitlens.errors import UnitlensError

Command = TypeVar("Command", bound=Callable[..., Any])

PRECISIONS = ("float32", "bfloat16")
"""Those of `unitlens.models.fast.precision.Fast`, which takes seconds to import."""

CLASS_WAYS = ("zero_shot", "centroids", "neighbours")
"""Options of which one may give an encoder classes: see `unitlens.cli.classes`."""


def given_value(text: str) -> float | Literal["mean"]:
    """What --value says that units are set to: a number, or their mean.

    Raises
    ------
    UnitlensError
        If it is neither.
    """
    if text == "mean":
        return "mean"
    try:
        return float(text)
    except ValueError:
        raise UnitlensError(f"--value is {text!r}; units are set to a number, or to mean.") from None


def options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Return several options as one decorator, in the order in which they are listed."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


band_options = options(
    click.option("--bands", type=BandNumbers(), help="Which of an image's bands the network takes, from 1. [all]"),
    click.option("--range", type=Range(), help="Values of images that become 0 and 1. [those of 8 and 16 bits]"),
    click.option("--show-bands", type=BandNumbers(), help="Which of the network's bands are shown: one, or R,G,B."),
    click.option("--show-range", type=Range(), help="What is shown black and white, in [0, 1]."),
    click.option(
        "--show-percentiles", type=Range(), help="The same by percentiles of each image. [1,99 beyond 8 bits]"
    ),
)
"""Of `unitlens.models.bands.settings.Bands`."""

network_options = options(
    click.option(
        "--weights",
        metavar="W",
        help="DEFAULT (published weights, downloaded), a .safetensors, .pt or .pth file, or none.",
    ),
    click.option("--image-size", type=Size(), help="The network's input size; images are squashed to it."),
    click.option("--resize", type=click.IntRange(1), help="Scale the shorter side to this, then crop the centre."),
    click.option("--mean", type=Numbers(), help="Mean of each band in [0, 1], which is subtracted."),
    click.option("--std", type=Numbers(), help="Standard deviation of each band, which is divided by."),
    band_options,
    click.option(
        "--latent-shape", type=Shape(), help="The network is a generator: the shape of one latent, such as 100,1,1."
    ),
    click.option(
        "--latent-classes", type=click.IntRange(1), metavar="K", help="The generator takes one of K classes too."
    ),
    click.option("--rescale", type=Range(), help="Outputs of the generator that are black and white. [recognised]"),
    click.option("--device", default="cpu", show_default=True, help="Where the network runs: cpu, cuda, cuda:1, mps."),
    click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Random seed."),
)

workers_option = click.option(
    "--workers",
    type=click.IntRange(0, 1024),
    help="Processes that decode images. [number of cores minus one, at most 4]",
)

process_options = options(
    workers_option,
    click.option("--threads", type=click.IntRange(1, 1024), help="CPU threads. [torch's own choice]"),
)

store_limit_option = click.option(
    "--store-limit", type=Bytes(), help="Disk space that may be used while it runs. [half of what is free]"
)

basis_option = options(
    click.option(
        "--basis", metavar="FILE", help="Use directions as units: the rows of a matrix (.npy, .safetensors, .pt)."
    ),
    click.option(
        "--features",
        metavar="FILE",
        help="Use the features of a dictionary as units: a sparse autoencoder, NMF, PCA (docs/features.md).",
    ),
    click.option(
        "--features-kind",
        metavar="KIND",
        help="Where FILE does not say it: relu, topk:K, batchtopk:THRESHOLD, jumprelu:THRESHOLD, linear, pca, nmf.",
    ),
)
"""Of `unitlens.cli.opening.take_basis`."""

image_options = options(
    click.option(
        "--data",
        metavar="DATA",
        shell_complete=words("bundled:scenes", files=True),
        help="Images: a folder (formats: docs/data.md), bundled:scenes or torchvision:NAME, e.g. torchvision:voc2012.",
    ),
    click.option(
        "--latents",
        metavar="N|FILE",
        help="For a generator: how many latents are drawn (by --seed), or a .npy or .safetensors file of them; with "
        "--data, the latents of its images. [1000]",
    ),
    click.option("--limit", type=click.IntRange(1), metavar="N", help="Only N images, spread evenly over the data."),
    click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Images at a time."),
    process_options,
    click.option("--strict", is_flag=True, help="Stop at an image that cannot be read."),
)

source_options = options(
    click.option("--data-format", help="folder, broden, coco, voc, ... [recognised by its layout]"),
    click.option("--split", help="Part of the data set: train, val2017, ..."),
    click.option(
        "--concepts",
        multiple=True,
        metavar="SOURCE",
        help="Where concepts come from; repeatable: masks (annotated), colors, folders, tags:FILE.csv, "
        "segmenter:NETWORK, bundled:scenes-segmenter. [masks]",
    ),
    click.option("--segmenter-weights", metavar="W", help="Weights of the segmenter, as for --weights."),
    click.option(
        "--segmenter-labels",
        metavar="FILE",
        help="Names of the segmenter's classes: .json, .csv, or one per line. [its own]",
    ),
    click.option(
        "--segmenter-ious",
        metavar="FILE",
        help="How good the segmenter is, where that was measured: .csv with the columns concept and iou. [not said]",
    ),
    click.option("--segmenter-category", metavar="NAME", help="Category of its concepts. [object]"),
    click.option(
        "--segmenter-size", type=click.IntRange(1), metavar="N", help="Shorter side of the segmenter's input. [its own]"
    ),
    click.option(
        "--segmenter-cache", metavar="FOLDER", help="Where the segmenter's maps are stored, or none. [user cache]"
    ),
    click.option(
        "--confidence",
        type=click.FloatRange(0, 1, max_open=True),
        help="Ignore pixels below this confidence. [0]",
    ),
    click.option("--data-root", metavar="FOLDER", help="Folder of torchvision:NAME. [the user's cache]"),
    click.option("--download", is_flag=True, help="Let torchvision download it; its size is shown first."),
)

trust_options = options(
    click.option(
        "--network", metavar="SPEC", help="The network of the run, named again where the run cannot be trusted with it."
    ),
    click.option(
        "--trust", is_flag=True, help="Run the code and download the files that the run names; they are listed first."
    ),
)
"""Of commands that open the network and images of a run again."""

opening_options = options(
    click.option("--data", metavar="DATA", help="Other images, or latents, than those of the run."),
    source_options,
    click.option("--weights", metavar="W", help="The network's weights, where the run's file is not there any more."),
    trust_options,
    click.option("--device", default="cpu", show_default=True, help="Where the network runs: cpu, cuda, cuda:1, mps."),
    click.option("--threads", type=click.IntRange(1, 1024), help="CPU threads. [torch's own choice]"),
)
"""Of commands that open a run with its images, and measure nothing."""

layer_option = click.option(
    "--layer",
    "layers",
    multiple=True,
    metavar="NAME",
    shell_complete=layers_of_run,
    help="A layer; repeatable. `unitlens layers MODEL` lists them. [the network's default]",
)


def _groups(default: str) -> Callable[[Command], Command]:
    return click.option(
        "--groups",
        metavar="GROUPS",
        help="Images that belong together (frames of a video, one patient) count as one: FILE.csv (image,group), "
        f"folder, re:PATTERN, sequence:K (K neighbours by name) or auto (copies). [{default}]",
    )


groups_option = _groups("column group of classes.csv")
run_groups_option = _groups("as in the run, or column group of classes.csv")
"""Of commands that take a run."""

source_measuring_options = options(
    image_options,
    source_options,
    click.option(
        "--out", type=click.Path(path_type=Path), metavar="RUN", help="Folder for the results. [the run itself, or run]"
    ),
    click.option("--overwrite", is_flag=True, help="Replace such results that are there."),
    network_options,
    trust_options,
)
"""Of commands that measure interventions on the network and images of a run."""

measuring_options = options(run_groups_option, source_measuring_options)
"""The same where images may be grouped, or a network and images be named in place of a run."""

fast_option = click.option(
    "--fast",
    type=click.Choice(PRECISIONS),
    help="Compute faster, with other rounding: batch norms folded, channels last. How far it is off is in the result. "
    "[float32 if no number type is named]",
)


def with_precisions(words: Sequence[str]) -> list[str]:
    """Write the number type behind each ``--fast`` that has none.

    Examples
    --------
    >>> with_precisions(["dissect", "--fast", "resnet18", "--fast", "bfloat16"])
    ['dissect', '--fast=float32', 'resnet18', '--fast', 'bfloat16']
    """
    return [
        "--fast=float32" if word == "--fast" and not set(words[place : place + 1]) & set(PRECISIONS) else word
        for place, word in enumerate(words, start=1)
    ]


dissection_options = options(
    click.option(
        "--preset",
        default="unitlens",
        show_default=True,
        shell_complete=words(*PRESETS),
        help="Definitions: unitlens, pnas2020 or netdissect2017.",
    ),
    click.option("--quantile", type=float, help="Share of positions above a unit's threshold. [0.01]"),
    click.option("--min-iou", type=float, help="Smallest IoU of a match. [0.04]"),
    click.option(
        "--detector-rule",
        type=click.Choice(["plain", "heldout", "lower"]),
        help="What passes it in a detector: IoU, held-out IoU, or its interval's lower end. [heldout; papers: plain]",
    ),
    click.option("--grid", type=Size(), help="Size of the label grid. [a quarter of the input]"),
    click.option("--upsampling", type=click.Choice(["edges", "zeros"]), help="What is beyond a map's border."),
    click.option(
        "--tap",
        type=click.Choice(["output", "after_inplace"]),
        help="Activation: before or after an in-place ReLU.",
    ),
    click.option("--layout", help="Layout of the layers' outputs (docs/layouts.md). [recognised]"),
    basis_option,
    click.option(
        "--score",
        default="iou",
        show_default=True,
        shell_complete=words(*SCORES),
        help="Score that chooses each unit's concept.",
    ),
    click.option(
        "--evidence/--no-evidence",
        default=True,
        show_default=True,
        help="Intervals, held-out checks, chance levels.",
    ),
    groups_option,
    click.option(
        "--within",
        metavar="COLUMN|FILE",
        help="Kinds of images, for the verdict context: a column of classes.csv, or a file (image,stratum). [classes, "
        "else sets of concepts]",
    ),
    click.option("--fdr", type=float, default=0.05, show_default=True, help="False discovery rate of the verdicts."),
    click.option(
        "--levels", is_flag=True, help="Also count at several activation levels, for AUPRC, AUROC and correlation."
    ),
    click.option(
        "--control",
        multiple=True,
        metavar="NAME",
        shell_complete=words(*CONTROLS),
        help="Also dissect a control; repeatable: untrained (fresh weights; untrained:8 for 8 copies), rotated "
        "(random basis); of features, random-dictionary and shuffled-dictionary.",
    ),
    click.option(
        "--exemplars",
        type=click.IntRange(0),
        default=8,
        show_default=True,
        metavar="K",
        help="Images shown for a unit.",
    ),
    click.option(
        "--exemplar-size",
        type=click.IntRange(16, 1024),
        metavar="PIXELS",
        help="Side of each of them, a multiple of 16. [up to 224, less for many units, so that the page stays small]",
    ),
    store_limit_option,
    fast_option,
)
"""The keywords of `unitlens.dissect` and `unitlens.plan`, beside those of network and images."""

output_options = options(
    click.option(
        "--out",
        type=click.Path(path_type=Path),
        default=Path("run"),
        show_default=True,
        metavar="RUN",
        help="Folder for the run.",
    ),
    click.option("--overwrite", is_flag=True, help="Replace an existing run."),
)

keep_activations_option = click.option(
    "--keep-activations",
    is_flag=True,
    help="Keep the activations in the run: `unitlens label` then needs neither network nor images.",
)

quiet_option = click.option("--quiet", is_flag=True, help="Print only warnings and errors.")
