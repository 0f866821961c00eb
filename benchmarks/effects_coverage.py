"""How often do the 95 % intervals of effects cover the truth? A simulated classifier, untouched and with units ablated.

    python benchmarks/effects_coverage.py --samples 400

Four interventions, paired by image: `zero` draws a part of the noise anew, so that every true effect is 0; `small` is a
unit active in a tenth of the images, which changes 1 prediction in 200; `medium` one that belongs to a class; `large`
one that is active in most images. Of each sample the share of classes is taken whose interval covers the effect in a
large population; the simulation error is that of its mean over samples.
"""

import argparse
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.ablation.estimates import estimate
from unitlens.ablation.tallies import Tally
from unitlens.stats.scores import Floats

MEASURES = ("recall", "precision", "accuracy", "balanced_accuracy", "logit")
INTERVENTIONS = ("zero", "small", "medium", "large")

Numbers = npt.NDArray[Any]


class Sample(NamedTuple):
    """Images with the outputs for them: of the untouched network, and under each intervention."""

    truth: Numbers
    before: Floats
    after: Floats

    def tally(self) -> Tally:
        """Count them as `unitlens.ablation.measuring` does."""
        tally = Tally.start(len(self.after), self.before.shape[1], ["logit"])
        odd, image = np.zeros(len(self.truth), bool), np.arange(len(self.truth))
        called = self.before.argmax(1)
        tally.add_untouched(self.truth, called, odd)
        tally.add_changes(0, self.truth, called, self.after.argmax(2), odd)
        tally.sums["logit"].add(0, self.truth, self.before[image, self.truth], self.after[:, image, self.truth], odd)
        return tally


def draw(images: int, classes: int, rng: np.random.Generator) -> Sample:
    """Draw images and outputs."""
    truth = rng.integers(0, classes, images)
    shared = rng.normal(size=(images, classes))
    shared[np.arange(images), truth] += 2.6
    before, noise = (shared + 0.15 * rng.normal(size=shared.shape) for _ in range(2))
    weight = np.linspace(1, -0.4, classes)

    def without(strength: float, active: npt.ArrayLike) -> Floats:
        activation = np.where(rng.random(images) < active, rng.exponential(size=images), 0)
        return np.asarray(before - strength * activation[:, None] * weight)

    small, medium = without(0.12, 0.1), without(0.8, np.where(truth == 0, 0.4, 0.1))
    return Sample(truth, before, np.stack([noise, small, medium, without(1.5, np.where(truth < 2, 0.7, 0.4))]))


def true_effects(classes: int, *, images: int = 200_000, parts: int = 3, seed: int = 0) -> dict[str, Floats]:
    """The effects in a large population, (interventions, classes)."""
    rng = np.random.default_rng(seed)
    tally = draw(images, classes, rng).tally()
    for _ in range(parts - 1):
        tally = tally + draw(images, classes, rng).tally()
    found = {name: estimate(tally.half("all"), name).effect.copy() for name in MEASURES}
    for effect in found.values():
        effect[0] = 0  # by construction
    return found


class Coverage(NamedTuple):
    """Of one measure and intervention: coverage, its simulation error, and the mean width of intervals."""

    covered: float
    error: float
    width: float


def coverage(
    truth: Mapping[str, Floats], samples: int, *, images: int, seed: int = 0
) -> dict[tuple[str, str], Coverage]:
    """Coverage of each measure and intervention in samples of some images."""
    classes = truth["recall"].shape[1]
    shares: dict[tuple[str, str], list[float]] = {}
    widths: dict[tuple[str, str], list[float]] = {}
    for sample in range(samples):
        counted = draw(images, classes, np.random.default_rng([seed, images, sample])).tally().half("all")
        for measure in MEASURES:
            found = estimate(counted, measure)
            known = ~np.isnan(found.effect)
            covered = (found.low <= truth[measure]) & (truth[measure] <= found.high)
            for row, name in enumerate(INTERVENTIONS):
                if known[row].any():
                    shares.setdefault((measure, name), []).append(covered[row, known[row]].mean())
                    widths.setdefault((measure, name), []).append((found.high - found.low)[row, known[row]].mean())
    return {
        key: Coverage(float(np.mean(own)), float(np.std(own) / len(own) ** 0.5), float(np.mean(widths[key])))
        for key, own in shares.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--classes", type=int, default=5)
    parser.add_argument("--images", type=int, nargs="+", default=[100, 200, 400, 1000])
    options = parser.parse_args()
    truth = true_effects(options.classes)
    for images in options.images:
        found = coverage(truth, options.samples, images=images)
        for measure in MEASURES:
            cells = [
                f"{name} {100 * one.covered:5.1f} ({100 * one.error:.1f}) width {one.width:.3f}"
                for name, one in ((name, found[measure, name]) for name in INTERVENTIONS)
            ]
            print(f"{images:5} images, {measure:17} {'; '.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
