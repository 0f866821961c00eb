"""Labels of the units of a run by one or several methods: the values that were measured."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Self

from unitlens.dissection.provenance import versions
from unitlens.dissection.searching.unit_vectors import UnitVectors
from unitlens.drawing.notebooks import table_html
from unitlens.errors import UnitlensError, did_you_mean
from unitlens.labels.columns import ABOVE_CHANCE, COLUMNS, DISSECTION, TEXT, VERDICTS, WHOLE, is_unicode, one_line
from unitlens.labels.people.ratings import Ratings
from unitlens.plurals import counted
from unitlens.records import check_types
from unitlens.stats.intervals import wilson

_RIGHT = 0.5
"""A label is right where its IoU is at least this share of that of the unit's concept."""

if TYPE_CHECKING:
    import pandas as pd

    from unitlens.dissection.result import Dissection


@dataclass(frozen=True, kw_only=True)
class MethodRecord:
    """How the labels of one method were made.

    Attributes
    ----------
    settings : mapping
        Everything that was chosen.
    unitlens : str
        Version.
    seconds : float
        It took.
    notes : tuple of str
        What the user should know.
    """

    settings: Mapping[str, Any]
    unitlens: str
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far two methods agree.

    Attributes
    ----------
    first, second : str
        The methods.
    units : int
        How many units both name.
    equal, equal_low, equal_high : float
        The share of these to which both give the same label, and its 95 % interval (Wilson's).
    compared : int
        The units of which both labels mean something in the images of the run.
    overlap, overlap_low, overlap_high : float, optional
        Mean over these of Jaccard's index of where the two labels are, and its 95 % interval over units.
    """

    first: str
    second: str
    units: int
    equal: float
    equal_low: float
    equal_high: float
    compared: int
    overlap: float | None = None
    overlap_low: float | None = None
    overlap_high: float | None = None

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True, eq=False, repr=False)
class Labels:
    """Labels of the units of a run, by one or several methods.

    Attributes
    ----------
    rows : DataFrame
        With the columns of `unitlens.labels.columns.COLUMNS`.
    methods : mapping of str to MethodRecord
        How each was made.
    network, data : str
        SHA-256 of the network's weights and of the images, as run.json says them.
    vectors : UnitVectors or None
        The units in the space of words, where words named them: `Dissection.search` finds them by it.
    agreement : tuple of Agreement
        Of every two methods, where `unitlens.measure_labels` looked at them together.
    answers : Ratings or None
        What people answered to sheets about these labels, and those of the dissection.
    """

    rows: "pd.DataFrame"
    methods: Mapping[str, MethodRecord] = field(default_factory=dict)
    network: str = ""
    data: str = ""
    vectors: UnitVectors | None = None
    agreement: tuple[Agreement, ...] = ()
    answers: Ratings | None = None

    @classmethod
    def of(
        cls,
        run: "Dissection",
        method: str,
        rows: "Sequence[Mapping[str, Any]] | pd.DataFrame",
        *,
        settings: Mapping[str, Any],
        seconds: float = 0.0,
        notes: Sequence[str] = (),
    ) -> Self:
        """The labels of one method.

        Parameters
        ----------
        run : Dissection
            Whose units they are of.
        method : str
        rows : sequence of mapping, or DataFrame
            A label each: what it lacks of `COLUMNS` is missing in the table. Line ends in labels become blanks.
        settings : mapping
            What was chosen, as JSON takes it.
        seconds : float
            It took.
        notes : sequence of str
            What the user should know.
        """
        record = MethodRecord(
            settings=settings, unitlens=versions()["unitlens"], seconds=round(seconds, 3), notes=tuple(notes)
        )
        return cls(
            labels_table(rows, method), {method: record}, run.info["network"]["sha256"], run.info["data"]["sha256"]
        )

    @classmethod
    def answered(cls, answers: Ratings) -> Self:
        """No labels, but what people answered about those of a run."""
        return cls(labels_table([], method=""), network=answers.network, data=answers.data, answers=answers)

    def table(self) -> "pd.DataFrame":
        """A row a label, with the columns of `unitlens.labels.columns.COLUMNS`."""
        return self.rows.copy()

    def supported(self) -> "pd.DataFrame":
        """The rows whose verdict is supported, highest held-out score first."""
        rows = self.rows[self.rows["verdict"] == next(iter(VERDICTS))]
        return rows.sort_values("heldout_score", ascending=False, kind="stable")

    def of_unit(self, unit: int, *, layer: str | None = None) -> "pd.DataFrame":
        """The labels of one unit, side by side.

        Raises
        ------
        UnitlensError
            If the labels are of several layers, and none is named.
        """
        layers = list(dict.fromkeys(self.rows["layer"]))
        if layer is None and len(layers) > 1:
            raise UnitlensError(f"The labels are of several layers: say layer=, one of {', '.join(layers)}.")
        named = self.rows["layer"] == (layer or "".join(layers))
        return self.rows[named & (self.rows["unit"] == unit)].reset_index(drop=True)

    def __getitem__(self, method: str) -> Self:
        """The labels of one method."""
        if method not in self.methods:
            raise UnitlensError(
                f"There are no labels by {method!r}{did_you_mean(method, self.methods)}; there are some by "
                f"{', '.join(self.methods) or 'no method'}."
            )
        rows = self.rows[self.rows["method"] == method].reset_index(drop=True)
        return replace(self, rows=rows, methods={method: self.methods[method]}, agreement=(), answers=None)

    def joined(self, *others: "Labels") -> Self:
        """These and others; of a method that both have, the later.

        Raises
        ------
        UnitlensError
            If they are of another network or of other images, or somebody answers a question in two ways.
        """
        import pandas as pd

        together = self
        for other in others:
            if together.network and (together.network, together.data) != (other.network, other.data):
                raise UnitlensError("These labels are of another network, or of other images, than those beside them.")
            kept = together.rows[~together.rows["method"].isin(list(other.methods))]
            parts = [rows for rows in (kept, other.rows) if len(rows)]
            rows = pd.concat(parts, ignore_index=True) if parts else together.rows
            methods = {**together.methods, **other.methods}
            vectors = together.vectors if other.vectors is None else other.vectors
            known = [one for one in together.agreement if not {one.first, one.second} & set(other.methods)]
            together = replace(
                together,
                rows=rows,
                methods=methods,
                network=other.network,
                data=other.data,
                vectors=vectors,
                agreement=(*known, *other.agreement),
                answers=_joined_answers(together.answers, other.answers),
            )
        return together

    def made_with(self, method: str, settings: Mapping[str, Any], *, layers: Sequence[str]) -> bool:
        """Whether labels by a method are there that this version made with these settings, in all of some layers."""
        record = self.methods.get(method)
        if record is None or (record.settings, record.unitlens) != (settings, versions()["unitlens"]):
            return False
        return set(layers) <= set(self.rows.loc[self.rows["method"] == method, "layer"])

    def side_by_side(self) -> "pd.DataFrame":
        """A row a unit, a column a method: the best label of each; empty where a method has none."""
        rows = best_of_mask(self.rows)
        wide = rows.pivot(index=["layer", "unit"], columns="method", values="label")
        order = [method for method in self.methods if method in wide]
        return wide.reindex(columns=order).fillna("").rename_axis(columns=None).reset_index()

    def summary(self) -> "pd.DataFrame":
        """A row a method, over the best label of each unit; methods that label ranges alone have none.

        Returns
        -------
        DataFrame
            With the columns ``method``, ``units`` (that it names), ``different`` (labels), ``measured`` (units whose
            label is a concept of the run, or a condition on several), the means of ``iou``, ``auprc``,
            ``correlation``, ``simulation`` and ``effect`` over the units that have them, ``tested`` (units),
            ``above_chance``, the share of these whose label is more than chance (supported or no gain), and
            ``supported``, ``supported_low`` and ``supported_high``: which share of them is supported, and its 95 %
            interval (Wilson's). Masks judge labels that they know, of the units whose concept in the dissection is
            supported: of ``judged`` units, the share ``right`` has a label whose IoU is at least half of that of
            the concept; ``right_low`` and ``right_high`` are its 95 % interval (Wilson's).
        """
        import pandas as pd

        rows = best_of_mask(self.rows)
        named = [method for method in self.methods if (rows["method"] == method).any()]
        by_masks = rows[(rows["method"] == DISSECTION) & (rows["verdict"] == next(iter(VERDICTS)))]
        known = by_masks.set_index(["layer", "unit"])["iou"]
        summaries = [_summary(method, rows[rows["method"] == method], known) for method in named]
        return pd.DataFrame(summaries, columns=list(_summary("", rows[:0], known)))  # of methods of ranges alone, too

    def agreement_table(self) -> "pd.DataFrame":
        """A row for every two methods: the fields of `Agreement`; empty before `unitlens.measure_labels`."""
        import pandas as pd

        return pd.DataFrame([asdict(one) for one in self.agreement], columns=[one.name for one in fields(Agreement)])

    def __repr__(self) -> str:
        units = len(self.rows[["layer", "unit"]].drop_duplicates())
        supported = int((self.rows["verdict"] == next(iter(VERDICTS))).sum())
        return (
            f"<Labels by {', '.join(self.methods) or 'no method'}: {counted(len(self.rows), 'label')} of "
            f"{counted(units, 'unit')}, {supported} supported>"
        )

    def _repr_html_(self) -> str:
        columns = ["layer", "unit", "method", "label", "score", "heldout_score", "chance_score", "q_value", "verdict"]
        return table_html(repr(self), self.rows.sort_values(["layer", "unit", "method", "rank"])[columns])


def _joined_answers(one: Ratings | None, other: Ratings | None) -> Ratings | None:
    return other if one is None else one if other is None else one.joined(other)


def best_of_mask(rows: "pd.DataFrame") -> "pd.DataFrame":
    """The best label that each method has for each unit's mask: no labels of ranges of its activation."""
    of_mask = rows[rows["range_low"].isna() & rows["range_high"].isna()]
    return of_mask.sort_values("rank", kind="stable").drop_duplicates(["layer", "unit", "method"]).sort_index()


def _summary(method: str, rows: "pd.DataFrame", known: "pd.Series[float]") -> dict[str, Any]:
    tested = int((rows["verdict"] != "untested").sum())
    supported = int((rows["verdict"] == next(iter(VERDICTS))).sum())
    above_chance = int(rows["verdict"].isin(ABOVE_CHANCE).sum())
    low, high = wilson(supported, tested)
    judged, right = (0, 0) if method == DISSECTION else _judged(rows, known)
    right_low, right_high = wilson(right, judged)
    means = {name: rows[name].mean() for name in ("iou", "auprc", "correlation", "simulation", "effect")}
    return {
        "method": method,
        "units": len(rows),
        "different": rows["label"].nunique(),
        "measured": int(rows["iou"].notna().sum()),
        **means,
        "tested": tested,
        "above_chance": above_chance / tested if tested else float("nan"),
        "supported": supported / tested if tested else float("nan"),
        "supported_low": low,
        "supported_high": high,
        "judged": judged,
        "right": right / judged if judged else float("nan"),
        "right_low": right_low,
        "right_high": right_high,
    }


def _judged(rows: "pd.DataFrame", known: "pd.Series[float]") -> tuple[int, int]:
    """How many labels masks judge, by the IoU of each unit's concept, and how many of these they find right."""
    iou = rows.set_index(["layer", "unit"])["iou"].dropna()
    best = known.reindex(iou.index).dropna()
    return len(best), int((iou.loc[best.index] >= _RIGHT * best).sum())


def labels_table(rows: "Sequence[Mapping[str, Any]] | pd.DataFrame", method: str) -> "pd.DataFrame":
    """Rows of a method as a table with all columns, in their order and types; a label is one line of text.

    Raises
    ------
    UnitlensError
        If a label is no text that a file can hold.
    """
    import pandas as pd

    given = pd.DataFrame(rows).reset_index(drop=True) if len(rows) else pd.DataFrame(columns=list(COLUMNS))
    table = with_all_columns(given.assign(method=pd.Series([method] * len(given), dtype=object)))
    texts = [str(text) for text in table["label"]]
    strange = next((text for text in (method, *texts) if not is_unicode(text)), None)
    if strange is not None:
        raise UnitlensError(f"The label {strange!r:.60} has half a character (a surrogate): give it as Unicode text.")
    return table.assign(label=pd.Series([one_line(text) for text in texts], dtype=object))


def with_all_columns(given: "pd.DataFrame") -> "pd.DataFrame":
    """The same rows with all columns, in their order and types; those that are not there are empty."""
    import numpy as np
    import pandas as pd

    missing = {"rank": 1, **dict.fromkeys(TEXT, "")}
    columns = {}
    for name in COLUMNS:
        values = (
            given[name] if name in given else pd.Series([missing.get(name, np.nan)] * len(given), index=given.index)
        )
        if name in TEXT:
            columns[name] = values.fillna("").astype(object)
        else:
            columns[name] = values.astype(np.int64 if name in WHOLE else np.float64)
    return pd.DataFrame(columns).reset_index(drop=True)
