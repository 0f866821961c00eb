"""How often do the 95 % intervals of effects cover the truth? A simulated classifier, untouched and with units ablated.

    python -m benchmarks.evidence.effects --samples 400
    python -m benchmarks.evidence.effects --samples 400 --group 5

Four interventions, paired by image: `zero` draws a part of the noise anew, so that every true effect is 0; `small` is a
unit active in a tenth of the images, which changes 1 prediction in 200; `medium` one that belongs to a class; `large`
one that is active in most images. With `--group` images come in groups of so many that are much alike (frames of a
video), in one fold each.

Of each sample the share of classes is taken whose interval covers the effect in a large population; the simulation
error is that of its mean over samples. Shares move in steps of one image: where hardly any prediction changes, an
interval that covers effects at all covers them nearly always. So the classes in which 5 or more of the predictions that
a measure rests on are expected to change are shown for themselves, as `many`: those of the class's own images, for
precision those of other images (its own are nearly all right), for accuracy both.
"""

import argparse
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.ablation.estimates import estimate
from unitlens.ablation.responses.counting import PredictionTally
from unitlens.ablation.tallies import HALVES, Tally, row_count
from unitlens.stats.scores import Floats

MEASURES = ("recall", "precision", "accuracy", "balanced_accuracy", "logit")
INTERVENTIONS = ("zero", "small", "medium", "large")
ALIKE = 0.9
"""Share of the images of a group that have its outputs, but for a little noise."""

MANY = 5
"""Changed predictions, from which on a share moves in small steps."""

Numbers = npt.NDArray[Any]


class Sample(NamedTuple):
    """Images with the outputs for them, of the untouched network and under each intervention; and their groups."""

    truth: Numbers
    before: Floats
    after: Floats
    groups: Numbers

    def tally(self, *, rows: int = HALVES, seed: int = 0) -> Tally:
        """Count them as `unitlens.ablation.measuring` does."""
        tally = PredictionTally(len(self.after), self.before.shape[1], ["logit"], rows=rows)
        self.count(tally, seed=seed)
        return tally.tally()

    def count(self, tally: PredictionTally, *, seed: int = 0) -> None:
        """Add them to counts."""
        folds = np.random.default_rng(seed).integers(0, 32, self.groups.max() + 1)[self.groups]
        image, called = np.arange(len(self.truth)), self.before.argmax(1)
        tally.add_untouched(self.truth, called, folds)
        tally.add_changes(0, self.truth, called, self.after.argmax(2), folds)
        before, after = self.before[image, self.truth], self.after[:, image, self.truth]
        tally.add_outcome("logit", 0, self.truth, before, after, folds)


def draw(images: int, classes: int, rng: np.random.Generator, *, group: int = 1) -> Sample:
    """Draw images and outputs, ``group`` images of each group one after the other."""
    groups = np.arange(images) // group
    count = int(groups[-1]) + 1

    def grouped(draw_numbers: Callable[[int], Floats]) -> Floats:
        """Numbers that most images have from their group, and the others drawn for themselves."""
        own, common = draw_numbers(images), draw_numbers(count)[groups]
        alike = rng.random(images) < (ALIKE if group > 1 else 0)
        return np.where(alike.reshape(-1, *[1] * (own.ndim - 1)), common, own)

    truth = rng.integers(0, classes, count)[groups]
    shared = grouped(lambda n: rng.normal(size=(n, classes)))
    shared[np.arange(images), truth] += 2.6
    before, noise = (shared + 0.15 * grouped(lambda n: rng.normal(size=(n, classes))) for _ in range(2))
    weight = np.linspace(1, -0.4, classes)

    def without(strength: float, active: npt.ArrayLike) -> Floats:
        drawn, size = grouped(rng.random), grouped(lambda n: rng.exponential(size=n))
        return np.asarray(before - strength * np.where(drawn < active, size, 0)[:, None] * weight)

    small, medium = without(0.12, 0.1), without(0.8, np.where(truth == 0, 0.4, 0.1))
    after = np.stack([noise, small, medium, without(1.5, np.where(truth < 2, 0.7, 0.4))])
    return Sample(truth, before, after, groups)


class Truth(NamedTuple):
    """Effects in a large population, and the share of its images whose change moves them; (interventions, classes)."""

    effects: Mapping[str, Floats]
    changing: Mapping[str, Floats]


def population(classes: int, *, images: int = 200_000, parts: int = 3, seed: int = 0) -> Truth:
    """Draw a large population, and take its effects for the truth."""
    rng = np.random.default_rng(seed)
    tally = PredictionTally(len(INTERVENTIONS), classes, ["logit"])
    for _ in range(parts):
        draw(images, classes, rng).count(tally)
    counted = tally.tally().half("all")
    effects = {name: estimate(counted, name).effect.copy() for name in MEASURES}
    for effect in effects.values():
        effect[0] = 0  # by construction
    own, others = counted.gained + counted.lost, counted.false_gained + counted.false_lost
    moving = dict.fromkeys(MEASURES, own) | {"precision": others, "accuracy": own + others}
    return Truth(effects, {name: changed / counted.images.sum() for name, changed in moving.items()})


class Coverage(NamedTuple):
    """Of one measure and intervention: coverage, its simulation error, and the mean width of intervals."""

    covered: float
    error: float
    width: float

    @classmethod
    def of(cls, shares: Floats) -> "Coverage":
        """From coverage and width in each sample, (samples, 2)."""
        covered, width = shares.mean(0).tolist()
        return cls(covered, float(shares[:, 0].std() / len(shares) ** 0.5), width)


def coverage(
    truth: Truth, samples: int, *, images: int, group: int = 1, rows: int | None = None, seed: int = 0
) -> dict[tuple[str, str], Coverage]:
    """Coverage of each measure and intervention in samples of some images; "many" where many predictions change."""
    classes = truth.changing["recall"].shape[1]
    rows = rows or row_count(len(INTERVENTIONS), classes, 1, grouped=group > 1)
    parts = {name: np.arange(len(INTERVENTIONS))[:, None] == row for row, name in enumerate(INTERVENTIONS)}
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for sample in range(samples):
        drawn = draw(images, classes, np.random.default_rng([seed, images, sample]), group=group)
        counted = drawn.tally(rows=rows, seed=sample).half("all")
        for measure in MEASURES:
            one, effect = estimate(counted, measure), truth.effects[measure]
            covered, width = (one.low <= effect) & (effect <= one.high), one.high - one.low
            for name, part in {**parts, "many": truth.changing[measure] * images >= MANY}.items():
                chosen = part & ~np.isnan(one.effect)
                if chosen.any():
                    found.setdefault((measure, name), []).append((covered[chosen].mean(), np.nanmean(width[chosen])))
    return {key: Coverage.of(np.array(own)) for key, own in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--classes", type=int, default=5)
    parser.add_argument("--images", type=int, nargs="+", default=[100, 200, 400, 1000])
    parser.add_argument("--group", type=int, default=1)
    options = parser.parse_args()
    truth = population(options.classes)
    for images in options.images:
        found = coverage(truth, options.samples, images=images, group=options.group)
        for measure in MEASURES:
            cells = [
                f"{name} {100 * one.covered:5.1f} ({100 * one.error:.1f}) width {one.width:.3f}"
                for name in (*INTERVENTIONS, "many")
                if (one := found.get((measure, name)))
            ]
            print(f"{images:5} images, {measure:17} {'; '.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
