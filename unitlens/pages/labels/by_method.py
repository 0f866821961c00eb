"""What the page shows of labels by several methods: how good each is on the same footing, and how far they agree."""

from typing import TYPE_CHECKING, NamedTuple

from unitlens.labels.columns import REFERENCES
from unitlens.pages.formats import Row, rows_of

if TYPE_CHECKING:
    from unitlens.labels.result import Agreement, Labels


class MethodRow(NamedTuple):
    """One method.

    Attributes
    ----------
    row : Row
        Of `Labels.summary`.
    reference : bool
        Whether it is one with which others are compared.
    """

    row: Row
    reference: bool


class AgreementRow(NamedTuple):
    """One method beside all others.

    Attributes
    ----------
    method : str
    cells : list of Agreement or None
        With each method, in their order; None of itself, and where they share no unit.
    """

    method: str
    cells: "list[Agreement | None]"


class LabelsView(NamedTuple):
    """All that is shown.

    Attributes
    ----------
    methods : list of MethodRow
    effects : bool
        Whether any method has effects.
    notes : list of (str, str)
        Method, and what the user should know of it.
    agreement : list of AgreementRow
        Empty where methods were not measured together.
    people : list of Row
        Of `Ratings.table`; empty where nobody answered a sheet.
    people_count : int
        How many answered.
    """

    methods: list[MethodRow]
    effects: bool
    notes: list[tuple[str, str]]
    agreement: list[AgreementRow]
    people: list[Row]
    people_count: int


def labels_view(labels: "Labels") -> LabelsView:
    """Gather what the page shows."""
    summary = labels.summary()
    rows = [MethodRow(row, row["method"] in REFERENCES) for row in rows_of(summary)]
    notes = [(method, note) for method, record in labels.methods.items() for note in record.notes]
    answers = labels.answers
    return LabelsView(
        methods=rows,
        effects=bool(summary["effect"].notna().any()),
        notes=notes,
        agreement=_agreement(labels),
        people=[] if answers is None else [row for row in rows_of(answers.table()) if row["answers"]],
        people_count=0 if answers is None else len(answers.raters),
    )


def _agreement(labels: "Labels") -> list[AgreementRow]:
    found: dict[tuple[str, str], Agreement] = {}
    for one in labels.agreement:
        found[one.first, one.second] = found[one.second, one.first] = one
    methods = [method for method in labels.methods if any(method in pair for pair in found)]
    return [AgreementRow(method, [found.get((method, other)) for other in methods]) for method in methods]
