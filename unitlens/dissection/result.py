"""The result of a dissection, to compute with and to look at."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from unitlens.data.concepts import told_apart
from unitlens.dissection.exemplars.pictured import describe_no_strip
from unitlens.dissection.files import RunFiles, Strips, read_run, write_run
from unitlens.dissection.searching.unit_vectors import UnitVectors, given_or_read, kept_vectors
from unitlens.dissection.sentences.headline import (
    RANDOM_WEIGHTS,
    describe_comparison,
    describe_context,
    has_random_weights,
)
from unitlens.dissection.sentences.methods import methods_bibtex, methods_text
from unitlens.dissection.settings import Settings
from unitlens.dissection.work.kept import kept_activations
from unitlens.drawing.notebooks import table_html
from unitlens.errors import UnitlensError, argument, did_you_mean, spelled
from unitlens.plurals import counted, detectors_of
from unitlens.stats.counts import Counts
from unitlens.stats.folds import Folds, iou_in
from unitlens.stats.scores import LEVEL_SCORES, Floats, matches, score_function
from unitlens.tables.labelled import counts_dataset, units_frame
from unitlens.tables.latex import latex_table

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Exemplar(NamedTuple):
    """An image that excites a unit.

    Attributes
    ----------
    image : str
        Its name.
    value : float
        The unit's largest activation on it.
    peak_y, peak_x : float
        Where, as a share of the height and width of the network's input.
    """

    image: str
    value: float
    peak_y: float
    peak_x: float


@dataclass(frozen=True, eq=False, repr=False)
class Dissection:
    """What the units of one or several layers match. ``d["layer4"]`` is the part of one layer.

    Attributes
    ----------
    info : dict
        Where it comes from: settings, network, data, versions, timings and warnings, as in run.json.
    groups : mapping of str to str or None
        The group of each image, by its name, as in groups.csv; None where every image is a group of its own.
    activations : Path or None
        Where the activations of its units were kept, for `unitlens.activations`.
    vectors : Path or None
        The file that has its units in the space of words, for `search`, where words named them.
    """

    info: dict[str, Any]
    _units: "pd.DataFrame"
    _counts: Mapping[str, Counts]
    _exemplars: "pd.DataFrame"
    _strips: Strips
    _at_levels: Mapping[str, Floats] = field(default_factory=dict)
    _controls: "pd.DataFrame | None" = None
    _settings: Settings | None = None
    groups: Mapping[str, str] | None = None
    activations: Path | None = None
    vectors: Path | None = None

    @cached_property
    def settings(self) -> Settings:
        """Everything that was chosen: quantile, label grid, score, ...; as in run.json."""
        return Settings.from_json(self.info["settings"]) if self._settings is None else self._settings

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers."""
        return tuple(self._counts)

    @property
    def concepts(self) -> list[str]:
        """Concepts in the order of the columns of scores and counts; category/name where a name stands twice."""
        return told_apart([(concept["category"], concept["name"]) for concept in self.info["data"]["concepts"]])

    def __getitem__(self, layer: str) -> Self:
        """The part of one layer."""
        if layer not in self._counts:
            raise UnitlensError(
                f"The layer {layer} was not dissected{did_you_mean(layer, self.layers)}, but {', '.join(self.layers)}."
            )
        settings = replace(self.settings, layers=(layer,))
        return type(self)(
            {
                **self.info,
                "settings": settings.to_json(),
                "layers": {layer: self.info["layers"][layer]},
                "comparison": [row for row in self.info["comparison"] if row["layer"] == layer],
            },
            self._units[self._units["layer"] == layer].reset_index(drop=True),
            {layer: self._counts[layer]},
            self._exemplars[self._exemplars["layer"] == layer].reset_index(drop=True),
            {key: strip for key, strip in self._strips.items() if key[0] == layer},
            {key: score for key, score in self._at_levels.items() if key.rpartition("/")[0] == layer},
            None if self._controls is None else self._controls[self._controls["layer"] == layer].reset_index(drop=True),
            settings,
            self.groups,
            self.activations,
            self.vectors,
        )

    def table(self) -> "pd.DataFrame":
        """One row a unit, with the columns of `unitlens.dissection.table.COLUMNS`."""
        return self._units.copy()

    def detectors(self) -> "pd.DataFrame":
        """The rows whose verdict is detector, highest IoU first."""
        return self._units[self._units["detector"]].sort_values("iou", ascending=False, kind="stable")

    def unique_concepts(self, *, unique: str | None = None, detectors: bool = True) -> list[str]:
        """The concepts that units match.

        Parameters
        ----------
        unique : {"unit", "category"}, optional
            Whether a unit matches its concept alone, or the best one of every category; the run's own choice.
        detectors : bool
            Whether the units are those whose verdict is detector; else the papers' rule alone decides.

        Returns
        -------
        list of str
            In the order of `concepts`.
        """
        matched = np.zeros(len(self.concepts), bool)
        for layer, counts in self._counts.items():
            rows = self._units[self._units["layer"] == layer]
            taken = rows["detector"] if detectors else ~rows["silent"] & (rows["nonfinite"] == 0)
            matched |= matches(
                counts.iou[taken.to_numpy(bool)],
                counts.category_of,
                min_iou=self.settings.min_iou,
                unique=unique or self.settings.unique,
            ).any(0)
        return [name for name, there in zip(self.concepts, matched, strict=True) if there]

    def controls(self) -> "pd.DataFrame":
        """The rows of the controls and, where ``control`` is none, of the network itself, as in controls.csv.

        Raises
        ------
        UnitlensError
            If the run had no control.
        """
        if self._controls is None:
            raise UnitlensError(
                "This dissection was made without a control: make it with "
                f"{argument('control', 'untrained')} or {argument('control', 'rotated')}."
            )
        return self._controls.copy()

    def comparison(self) -> "pd.DataFrame":
        """What was found in the network, its controls, and with the labels of other images: a row each and layer."""
        import pandas as pd

        rows = self.info.get("comparison", [])
        return pd.DataFrame([row for row in rows if row["layer"] in self.layers])

    def methods(self, *, bibtex: bool = False) -> str:
        """How this was measured, as a paragraph for the methods section of a paper, true to the run's settings.

        Parameters
        ----------
        bibtex : bool
            Whether the BibTeX entries of what it cites are returned in its place.

        Examples
        --------
        >>> import unitlens as ul
        >>> d = ul.dissect(ul.load("bundled:scenes"), None, "bundled:scenes", limit=48, evidence=False, exemplars=0)
        >>> d.methods().split(". ")[-2]
        'A unit is called a detector where its IoU is above 0.04; chance was not tested'
        """
        write = methods_bibtex if bibtex else methods_text
        return write(self.info, self.settings)

    @property
    def counts(self) -> Counts:
        """Counts of the layer: ``intersection`` and ``activated`` are units x concepts, ``concept`` is concepts."""
        return self._counts[self._only_layer()]

    def scores(self, name: str = "iou") -> "pd.DataFrame":
        """A score of every unit with every concept.

        Parameters
        ----------
        name : str
            A key of `unitlens.stats.scores.SCORES` or, where the run counted at several levels, of
            `unitlens.stats.scores.LEVEL_SCORES`.

        Returns
        -------
        pandas.DataFrame, (U, C)
            Rows are units, counted from 0, and columns the names of `concepts`, in their order; ``to_numpy()`` is the
            array.

        Raises
        ------
        UnitlensError
            If there is no such score, the run did not count what it needs, or several layers were dissected.
        """
        return units_frame(self._score_values(name), self.concepts, of="concept")

    def _score_values(self, name: str) -> Floats:
        """A score of every unit with every concept, (U, C)."""
        if name not in LEVEL_SCORES:
            return score_function(name)(self.counts.overlap)
        key = f"{self._only_layer()}/{name}"
        if key not in self._at_levels:
            raise UnitlensError(
                f"{name} needs counts at several levels, which this dissection did not make: make it with "
                f"{argument('levels', True)}."
            )
        return self._at_levels[key]

    def to_xarray(self) -> "xr.Dataset":
        """The counts of the layer by unit, concept and fold, and the IoU, as labelled arrays of xarray.

        See `unitlens.tables.labelled.counts_dataset` for its variables; the coordinate ``category`` is that of each
        concept.

        Raises
        ------
        UnitlensError
            If xarray is not installed (``pip install 'unitlens[xarray]'``), or several layers were dissected.
        """
        categories = [concept["category"] for concept in self.info["data"]["concepts"]]
        attributes = {"network": self.info["network"]["name"], "layer": self._only_layer()}
        return counts_dataset(self.counts, self.concepts, categories, attributes=attributes)

    def to_latex(self, *, rows: int | None = 10, digits: int = 3, width: str = r"\columnwidth") -> str:
        """The detectors of highest IoU as a table for a paper; see `unitlens.latex_table`.

        Parameters
        ----------
        rows : int, optional
            How many detectors; None: all.
        digits : int
            Behind the point.
        width : str
            A length of LaTeX.
        """
        columns = [*(["layer"] if len(self.layers) > 1 else []), "unit", "concept", "iou"]
        columns += ["iou_low", "iou_high", "heldout_iou"] if self.settings.evidence else []
        return latex_table(self.detectors(), columns=columns, rows=rows, digits=digits, width=width)

    def units_for(self, concept: str, n: int | None = None, *, folds: Folds = "all") -> list[int]:
        """Units of highest IoU with a concept, whether or not they are matched to it.

        Nothing of what they do to predictions goes into this choice, so that `unitlens.ablate` may measure them on the
        same images; only a choice by effect (`Effects.most_important`) has to be measured on others.

        Parameters
        ----------
        concept : str
            Its name, or category/name.
        n : int, optional
            How many; all units that meet it at all.
        folds : {"all", "even", "odd"}
            The images that rank them.

        Raises
        ------
        UnitlensError
            If there is no such concept, or the name stands in several categories.
        """
        score = iou_in(self.counts, folds)[:, self.column(concept)]
        order = np.argsort(-score, kind="stable")
        return [int(unit) for unit in (order[score[order] > 0] if n is None else order[:n])]

    def search(
        self, query: Any, vectors: UnitVectors | None = None, *, n: int = 10, encoder: Any = None
    ) -> "pd.DataFrame":
        """The units whose peaks go most with words or an image: layer, unit, score, concept and iou.

        As `unitlens.dissection.searching.unit_vectors.UnitVectors.search` of ``vectors``: those of what
        `unitlens.words` returns or, unless given, of the saved run. It is an error if words did not name the units.
        """
        known = given_or_read(vectors, self.vectors)
        found = known.of_layers(self.layers).search(query, n=n, encoder=encoder)
        return found.merge(self._units[["layer", "unit", "concept", "iou"]], how="left", on=["layer", "unit"])

    def top_images(self, unit: int) -> list[Exemplar]:
        """The images that excite a unit most, highest peak first."""
        self._check_unit(unit)
        rows = self._exemplars[self._exemplars["unit"] == unit].sort_values("rank")
        return [Exemplar(*row) for row in rows[["image", "value", "peak_y", "peak_x"]].itertuples(index=False)]

    def strip(self, unit: int) -> bytes | None:
        """The unit's exemplars, with its mask drawn on them, as one image file; None if there is none of it."""
        self._check_unit(unit)
        return self._strips.get((self._only_layer(), unit))

    def with_strips(self, strips: Strips) -> Self:
        """The same, with other images of the exemplars of some units; see `unitlens.redrawn`."""
        return replace(self, _strips={**self._strips, **strips})

    def show(self, unit: int, *, images: int | None = None, ax: "Axes | None" = None) -> "Figure":
        """A figure of the unit: its exemplars with the mask drawn on them, its concept and IoU; in axes or alone.

        Parameters
        ----------
        unit : int
        images : int, optional
            So many exemplars, the first ones; all. `unitlens.redrawn` draws them from the original images.
        ax : matplotlib.axes.Axes, optional
            Where it is drawn; by default in a new figure.
        """
        from unitlens.drawing.figures import strip_figure

        if (strip := self.strip(unit)) is None:
            raise UnitlensError(describe_no_strip(unit, any_strip=bool(self._strips)))
        row = self._units[self._units["unit"] == unit].iloc[0]
        return strip_figure(strip, row, images=images, ax=ax)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write run.json, units.csv, counts.safetensors and the exemplars into a folder; see `open_run`.

        Raises
        ------
        UnitlensError
            If a run is there already and ``overwrite`` is not set.
        """
        return write_run(folder, self.files(), overwrite=overwrite)

    def files(self) -> RunFiles:
        """What its files hold."""
        counts = {f"{layer}/{name}": array for layer, c in self._counts.items() for name, array in c.arrays().items()}
        counts |= self._at_levels
        return RunFiles(
            self.info, self._units, self._exemplars, counts, self._strips, self._controls, groups=self.groups
        )

    @classmethod
    def of(cls, files: RunFiles) -> Self:
        """The reverse of `files`."""
        counts = {
            layer: Counts.from_arrays(
                {
                    name.rpartition("/")[2]: array
                    for name, array in files.counts.items()
                    if name.rpartition("/")[0] == layer
                }
            )
            for layer in files.info["layers"]
        }
        at_levels = {name: array for name, array in files.counts.items() if name.rpartition("/")[2] in LEVEL_SCORES}
        return cls(
            files.info,
            files.units,
            counts,
            files.exemplars,
            files.strips,
            at_levels,
            files.controls,
            files.settings,
            files.groups,
        )

    def _only_layer(self) -> str:
        if len(self._counts) > 1:
            raise UnitlensError(
                f"Several layers were dissected: choose one of {', '.join(self.layers)}, as in "
                f"{spelled(python=f'd[{self.layers[0]!r}]', shell=f'--layer {self.layers[0]}')}."
            )
        return self.layers[0]

    def _check_unit(self, unit: int) -> None:
        units = len(self.counts.active)
        if not 0 <= unit < units:
            raise UnitlensError(f"There is no unit {unit}; {self._only_layer()} has units 0 to {units - 1}.")

    def column(self, concept: str) -> int:
        """Column of a concept, given as its name or category/name."""
        pairs = [f"{c['category']}/{c['name']}" for c in self.info["data"]["concepts"]]
        known = [concept in (written, pair) for written, pair in zip(self.concepts, pairs, strict=True)]
        if not any(known):
            several = [pair for pair in pairs if pair.partition("/")[2] == concept]
            if several:
                raise UnitlensError(f"{concept} stands in several categories: say {' or '.join(several)}.")
            near, names = did_you_mean(concept, self.concepts), sorted(self.concepts)
            more = f" and {len(names) - 12} more" if len(names) > 12 else ""
            raise UnitlensError(
                f"There is no concept {concept!r} in the data{near}; there are {', '.join(names[:12])}{more}."
            )
        return known.index(True)

    def __repr__(self) -> str:
        detectors = self.detectors()
        unique = len(detectors[["category", "concept"]].drop_duplicates())
        random = f"{RANDOM_WEIGHTS}: " if has_random_weights(self.info) else ""
        compared = describe_comparison(
            self.info, evidence=self.settings.evidence, hint=argument("control", "untrained")
        )
        found = random + detectors_of(len(detectors), len(self._units), unique)
        headline = "; ".join(filter(None, [found, describe_context(self._units), compared]))
        return (
            f"<Dissection of {', '.join(self.layers)} of {self.info['network']['name']}: {headline}; "
            f"{counted(self.info['data']['images'], 'image')} of {self.info['data']['source']}>"
        )

    def _repr_html_(self) -> str:
        columns = ["layer", "unit", "concept", "category", "iou", "heldout_iou", "chance_iou"]
        return table_html(repr(self), self.detectors()[columns], numbers="{:.3f}")


def open_run(folder: str | Path) -> Dissection:
    """Open a saved dissection, without its images or network.

    Parameters
    ----------
    folder : str or Path
        As written by ``Dissection.save`` or ``unitlens dissect``.

    Raises
    ------
    UnitlensError
        If there is no run, or it is damaged.
    """
    run, path = Dissection.of(read_run(folder)), Path(folder)
    return replace(run, activations=kept_activations(path), vectors=kept_vectors(path))
