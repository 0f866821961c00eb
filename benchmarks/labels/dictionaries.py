"""Is a dictionary better than the units? One table of units, directions, features, and what nothing was learnt of.

    python -m benchmarks.labels.dictionaries --images 320 --out dictionaries

Layer relu6 of the bundled network on drawn scenes. PCA, NMF and a sparse autoencoder are fitted to other scenes, and
each is dissected with an untrained copy of the network as a control; so are random and shuffled dictionaries of their
shapes, and the units of an untrained copy. Every number has the 95 % interval of `unitlens compare`, whose table and
page are written to OUT/compared. Each kind of units has a run in OUT, and is measured once: after a stop, the same
command goes on. NMF takes the most of the time, as its activations are those of least squares.
"""

import argparse
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import pandas as pd

import unitlens as ul
from unitlens.dissection.controls import control_dictionary, rotation, untrained_copy
from unitlens.models.bases import BasisLike

LAYER = "relu6"

KINDS = (
    *("units", "rotated units", "PCA", "NMF", "autoencoder"),
    *("autoencoder, random", "autoencoder, shuffled", "autoencoder, untrained network", "untrained units"),
    *("NMF, random", "NMF, shuffled"),
)

COLUMNS = {
    "units": ("units", "", 1),
    "detectors": ("detectors", "detectors", 1),
    "unique concepts": ("unique_concepts", "unique", 1),
    "held-out IoU": ("heldout_iou", "heldout", 1),
    "effect": ("concept_effect", "concept_effect", 1),
    "random": ("concept_effect_random", "", 1),
    "beyond random": ("concept_effect_beyond", "concept_effect_beyond", 1),
    "accuracy beyond random, points": ("concept_accuracy_beyond", "concept_accuracy_beyond", 100),
    "explained, %": ("explained", "explained", 100),
    "accuracy kept, %": ("accuracy_kept", "", 100),
    "change, points": ("accuracy_effect", "accuracy_effect", 100),
}
"""What is printed: the column of compare.csv, the beginning of those of its interval, and a factor."""

DIFFERENCES = ("detectors_difference", "unique_difference", "heldout_difference", "concept_effect_difference")


class Kind(NamedTuple):
    """A network and the directions or features that are its units."""

    net: ul.Network
    basis: BasisLike | None


def dictionary(net: ul.Network, name: str, out: Path, options: argparse.Namespace) -> ul.Dictionary:
    """A dictionary that is fitted to other scenes; kept, so that it is fitted once."""
    file = out / f"{name}.safetensors"
    if not file.exists():
        method, count = {"PCA": ("pca", 128), "NMF": ("nmf", 128), "autoencoder": ("topk:8", options.features)}[name]
        train = ul.Scenes(options.fitted_to, split="train")
        ul.fit_features(net, LAYER, train, method=method, count=count, steps=options.steps).save(file)
    return ul.features(file)


def kind_of(name: str, net: ul.Network, data: ul.Data, out: Path, options: argparse.Namespace) -> Kind:
    """The network and the units of a name of `KINDS`."""
    if name == "rotated units":
        return Kind(net, rotation(128))
    if name == "untrained units":
        return Kind(untrained_copy(net, seed=1)[0], None)
    if name == "units":
        return Kind(net, None)
    of, _, control = name.partition(", ")
    fitted = dictionary(net, of, out, options)
    if not control:
        return Kind(net, fitted)
    if control == "untrained network":
        return Kind(untrained_copy(net, seed=1)[0], fitted)
    settings = ul.dissect(net, LAYER, data, limit=32, evidence=False, exemplars=0).settings
    return Kind(net, control_dictionary(f"{control}-dictionary", fitted, net, data, settings, seed=1))


def measure(kind: Kind, data: ul.Data, folder: Path, *, draws: int) -> None:
    """Dissect one kind of units, measure what is compared beside it, and save all of it."""
    net, basis = kind
    run = ul.dissect(net, LAYER, data, basis=basis, exemplars=0, control="untrained")
    run.save(folder)
    ul.concept_effects(run, net, data, basis=basis, draws=draws).save(folder)
    if basis is not None:
        ul.reconstruction(net, LAYER, data, basis=basis).save(folder)


def text(row: "pd.Series[float]", column: str, ends: str, factor: float) -> str:
    """A number with its interval; nothing where there is none."""
    if pd.isna(row[column]):
        return ""
    value = f"{factor * row[column]:.3g}"
    if not ends or pd.isna(row[f"{ends}_low"]):
        return value
    return f"{value} ({factor * row[f'{ends}_low']:.3g} to {factor * row[f'{ends}_high']:.3g})"


def main() -> None:
    """Measure, and print a row for each kind of units."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=640)
    parser.add_argument("--fitted-to", type=int, default=400, help="Scenes that dictionaries are fitted to.")
    parser.add_argument("--features", type=int, default=512, help="Of the autoencoder.")
    parser.add_argument("--steps", type=int, default=2000, help="Of its training.")
    parser.add_argument("--draws", type=int, default=199, help="Random units that effects are compared with.")
    parser.add_argument("--only", choices=KINDS, action="append", help="Leave out the others; repeatable.")
    parser.add_argument("--out", type=Path, default=Path("dictionaries"), help="A folder for runs and the table.")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ul.UnitlensWarning)
    net, data = ul.load("bundled:scenes"), ul.Scenes(options.images)
    options.out.mkdir(exist_ok=True)
    for name in options.only or KINDS:
        start, folder = time.perf_counter(), options.out / name
        if not (folder / "run.json").exists():
            measure(kind_of(name, net, data, options.out, options), data, folder, draws=options.draws)
            print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    there = [name for name in KINDS if (options.out / name / "concept_effects.json").exists()]
    compared = ul.compare(*(options.out / name for name in there), names=there)
    ul.report(options.out / "compared", compared, overwrite=True)
    rows = compared.table().query("category == 'all'").set_index("entry")
    print(f"\n| | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}")
    for name, row in rows.iterrows():
        print(f"| {name} | {' | '.join(text(row, *how) for how in COLUMNS.values())} |")
    print(f"\n| compared with units | {' | '.join(DIFFERENCES)} |\n|---|{'---|' * len(DIFFERENCES)}")
    for name, row in rows.iloc[1:].iterrows():
        print(f"| {name} | {' | '.join(text(row, one, one, 1) for one in DIFFERENCES)} |")


if __name__ == "__main__":
    main()
