"""Made-up effects for the tests of the report: every unit of a layer and every class, with nothing measured."""

import dataclasses

import numpy as np

from unitlens.ablation.agreement import AGREEMENT_COLUMNS
from unitlens.ablation.attribution import METHODS
from unitlens.ablation.files import SavedEffects
from unitlens.ablation.measurement import EffectSettings, Measurement
from unitlens.ablation.result import Curve, Member, UnitEffects
from unitlens.ablation.tallies import Sums, Tally
from unitlens.data.classes import Classes
from unitlens.dissection.result import Dissection
from unitlens.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

OWN = 40
"""Images of each class, in each half of the folds."""


def measurement_of(sets, names, strength, *, layer="layer4", units=None, sha256="5c10" * 16, seed=0):
    """Counts of sets whose change of logit is ``-strength`` (S, K), and which cost a class predictions above 1."""
    random = np.random.default_rng(seed)
    count, k = strength.shape
    half = (2, 1, 1)
    lost = np.tile(np.where(strength > 1, random.binomial(OWN, 0.3, strength.shape), 0), half)
    fall = np.tile(strength * OWN, half)
    squares = np.tile((strength**2 + 0.05) * OWN, half)
    untouched = np.full((2, k), OWN)
    none = np.zeros((2, count, k), np.int64)
    sums = Sums(untouched * 6.0, 0 * fall, fall, 0 * fall, np.minimum(squares, fall**2))
    tally = Tally(untouched, untouched - 2, untouched, none, lost, lost, none, {"logit": sums})
    info = {
        "unitlens": "0.1.0",
        "network": {
            "name": "torchvision.models:resnet18",
            "weights": "DEFAULT",
            "image": "input",
            "sha256": sha256,
            "preprocessing": dataclasses.asdict(Preprocessing((224, 224), None, IMAGENET_MEAN, IMAGENET_STD)),
            "classes": None,
            "latents": None,
        },
        "data": {
            "source": "photos/street",
            "opened": {},
            "images": 2 * OWN * k,
            "measured": 2 * OWN * k,
            "sha256": "da7a" * 16,
            "skipped": [],
            "groups": None,
        },
        "replay": {"replays": True, "reason": None, "fast": None},
        "timings": {"seconds": 1.0},
        "warnings": [],
        "versions": {"unitlens": "0.1.0"},
    }
    settings = EffectSettings(
        layers=tuple(layer.split(";")),
        ablation="set to 0",
        where_sha256=None,
        measures=("recall",),
        folds="all",
        ranked=None,
        limit=None,
        batch_size=32,
        strict=False,
        seed=0,
    )
    outputs = Classes(tuple(names), {name: place for place, name in enumerate(names)})
    peaks = np.linspace(0, 1, count if units is None else units)
    return Measurement(settings, info, tuple(sets), tally, outputs, peaks)


def sweep_of(units, names, *, layer="layer4", seed=0):
    """Of every unit alone; a few of them matter to each class."""
    random = np.random.default_rng(seed)
    strength = random.gamma(0.3, 0.05, (units, len(names)))
    for column in range(len(names)):
        strength[random.integers(0, units, 5), column] += random.gamma(2, 0.6, 5)
    sets = [(unit,) for unit in range(units)]
    return UnitEffects(measurement_of(sets, names, strength, layer=layer, seed=seed))


def curve_of(sweep, class_):
    """A curve of three sizes, with draws."""
    sizes = [(kind, k, draw) for k in (1, 2, 4) for kind in ("most", "least", "kept") for draw in (0,)]
    sizes += [(kind, k, draw) for k in (1, 2, 4) for kind in ("random", "matched") for draw in range(3)]
    members = tuple(Member(*one) for one in sizes)
    strength = np.full((len(members), len(sweep.classes)), 0.2)
    strength[:, sweep.classes.index(class_)] = [1.0 + m.k if m.kind == "most" else 0.1 * m.draw for m in members]
    sets = [_units_of(member, sweep.units) for member in members]
    return Curve(class_, members, measurement_of(sets, sweep.classes, strength, units=sweep.units), sweep)


def _units_of(member, units):
    """Units of a set, as if the first ones were the most important."""
    most, others = range(member.k), range(member.k, units)
    rotated = [(place + member.draw) % units for place in range(member.k)]
    matched = [others[(place + member.draw) % len(others)] for place in range(member.k)]
    by_kind = {"most": most, "kept": others, "random": rotated, "matched": matched}
    return tuple(by_kind.get(member.kind, range(units - member.k, units)))


def agreement_of(names, layer="layer4", *, units=48):
    """The rows of effects.attributions.csv."""
    import pandas as pd

    rows = [
        [layer, method, name, 3, 0.9 - 0.2 * place, 0.75, 4, 4 / units]
        for place, method in enumerate(METHODS)
        for name in names
    ]
    return pd.DataFrame(rows, columns=list(AGREEMENT_COLUMNS))


def dissection_of(run):
    """The dissection of what `tests.made_up.runs.made_up_run` returned, without its counts."""
    layers = dict.fromkeys(run["info"]["settings"]["layers"])
    return Dissection(run["info"], run["units"], layers, run["exemplars"], run["strips"])


def saved_of(sweep, *curves):
    """What the files of effects hold."""
    return SavedEffects((sweep, *(curve.chosen("most", 4) for curve in curves), *curves))
