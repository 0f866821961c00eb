"""The files that interventions add to a run: tables, interventions.json, the counts, and images to look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unitlens.ablation.validation import check_table, read_table
from unitlens.editing.causal_result import CausalEffects
from unitlens.editing.concept_set_result import ConceptSet
from unitlens.editing.detector_result import DrawnDetectors
from unitlens.editing.insertion_result import InsertionMap
from unitlens.editing.saving.record import SCHEMA, CausalRecord, InterventionsRecord, MapRecord, ResultRecord, SetRecord
from unitlens.editing.saving.rows import changed_rows, detector_rows, insertion_rows, set_rows
from unitlens.editing.saving.storing import Result, arrays_of, describe_concepts, describe_result, restore_result
from unitlens.editing.set_result import SetAreas
from unitlens.editing.tables import (
    CAUSAL_COLUMNS,
    CHANGED_COLUMNS,
    DETECTOR_COLUMNS,
    INSERTION_COLUMNS,
    INTERVENTION_COLUMNS,
    RANKING_COLUMNS,
    SET_COLUMNS,
)
from unitlens.errors import UnitlensError
from unitlens.files import (
    another_or_overwrite,
    check_readable,
    json_text,
    parts_file,
    read_json,
    read_parts,
)
from unitlens.journal import changing, settle
from unitlens.records import write_record

if TYPE_CHECKING:
    import pandas as pd

    from unitlens.dissection.result import Dissection

INFO, COUNTS, IMAGES = "interventions.json", "interventions.safetensors", "interventions"
SETS, CHANGED, CAUSAL, RANKINGS = (
    "interventions.csv",
    "interventions.what_changed.csv",
    "causal_effects.csv",
    "causal_effects.rankings.csv",
)
INSERTIONS, CONCEPT_SETS, DETECTORS = "insertions.csv", "concept_sets.csv", "drawn_detectors.csv"
TABLES: Mapping[str, Mapping[str, str]] = {
    SETS: INTERVENTION_COLUMNS,
    CHANGED: CHANGED_COLUMNS,
    CAUSAL: CAUSAL_COLUMNS,
    RANKINGS: RANKING_COLUMNS,
    INSERTIONS: INSERTION_COLUMNS,
    CONCEPT_SETS: SET_COLUMNS,
    DETECTORS: DETECTOR_COLUMNS,
}
"""The tables and their columns."""

FILES = (INFO, COUNTS, *TABLES)

ACROSS = 4
"""Images that stand side by side in a sheet, each with what it became and the difference."""

_TEXT_OF_RANKINGS = ("layer", "concept", "category", "by_effect", "by_iou")


@dataclass(frozen=True, eq=False)
class SavedInterventions:
    """Results that are saved together.

    Attributes
    ----------
    results : tuple of Result
        Of one network.
    images : mapping of int to bytes
        PNG files, sheets of examples and figures, by the number of their result.
    rankings : DataFrame or None
        Rankings by effect beside those by IoU, where there is a dissection.
    command : str, optional
        The command line that made them.
    """

    results: tuple[Result, ...]
    images: Mapping[int, bytes]
    rankings: "pd.DataFrame | None" = None
    command: str | None = None

    @classmethod
    def of(
        cls, results: Sequence[Result], *, dissection: "Dissection | None" = None, command: str | None = None
    ) -> "SavedInterventions":
        """Gather results of one network.

        Parameters
        ----------
        results : sequence of Result
        dissection : Dissection, optional
            Of the same network: effects stand beside its IoUs.
        command : str, optional
            The command line that made them.

        Raises
        ------
        UnitlensError
            If they are of different networks.
        """
        import pandas as pd

        check_one_network(results)
        images: dict[int, bytes] = {}
        for number, result in enumerate(results):
            if isinstance(result, SetAreas) and result.examples is not None:
                images[number] = result.examples.sheet(across=ACROSS)
            elif isinstance(result, InsertionMap):
                images[number] = result.figure()._repr_png_()  # type: ignore[attr-defined]
        rankings = [
            sweep.beside_iou(dissection)
            for sweep in results
            if isinstance(sweep, CausalEffects) and dissection is not None and sweep.settings.layer in dissection.layers
        ]
        joined = pd.concat(rankings, ignore_index=True) if rankings else None
        return cls(tuple(results), images, joined, command)

    @property
    def info(self) -> Mapping[str, Any]:
        """Where the first result comes from; its network is that of all."""
        return self.results[0].info

    def named(self, part: str) -> tuple[str, ...]:
        """The concept sources ("concepts"), or the warnings ("warnings"), of all results, each once."""
        return tuple(dict.fromkeys(name for result in self.results for name in result.info[part]))

    def ranked(self, result: Result) -> bool:
        """Whether it is a sweep whose ranking stands beside one by IoU."""
        known = () if self.rankings is None else set(self.rankings["layer"])
        return isinstance(result, CausalEffects) and result.settings.layer in known

    def tables(self) -> dict[str, "pd.DataFrame"]:
        """The tables, by the names of their files."""
        import pandas as pd

        parts: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
        for result in self.results:
            match result:
                case SetAreas():
                    parts[SETS].append(result.table())
                    parts[CHANGED].append(changed_rows(result))
                case CausalEffects():
                    parts[CAUSAL].append(result.table())
                case InsertionMap():
                    parts[INSERTIONS].append(insertion_rows(result))
                case ConceptSet():
                    parts[CONCEPT_SETS].append(set_rows(result))
                case DrawnDetectors():
                    parts[DETECTORS].append(detector_rows(result))
        parts[RANKINGS] = [] if self.rankings is None else [self.rankings]
        return {name: pd.concat(tables, ignore_index=True) for name, tables in parts.items() if tables}


def check_one_network(results: Sequence[Result]) -> None:
    """Make sure that results are of one network.

    Raises
    ------
    UnitlensError
        If they are not.
    """
    if len({result.info["network"]["sha256"] for result in results}) != 1:
        raise UnitlensError("These interventions are of different networks: save them into a folder each.")


def check_no_interventions(folder: Path, *, overwrite: bool) -> None:
    """Make sure that interventions may be written into a folder.

    Raises
    ------
    UnitlensError
        If there are some already, and they may not be replaced.
    """
    settle(folder)
    if (folder / INFO).exists() and not overwrite:
        raise UnitlensError(f"{folder} holds interventions already ({INFO}): {another_or_overwrite()}.")


def write_interventions(folder: Path, saved: SavedInterventions, *, overwrite: bool = False) -> None:
    """Write the files of interventions into a folder.

    Raises
    ------
    UnitlensError
        If there are some already, or nothing can be written.
    """
    check_no_interventions(folder, overwrite=overwrite)
    names = {number: f"{type(saved.results[number]).__name__}_{number + 1}.png" for number in saved.images}
    parts = list(map(arrays_of, saved.results))
    each = list(map(describe_concepts, saved.results))
    concepts = tuple(dict.fromkeys(each))
    records = [
        describe_result(
            result, concepts=concepts.index(each[number]), image=names.get(number), ranked=saved.ranked(result)
        )
        for number, result in enumerate(saved.results)
    ]
    record = InterventionsRecord(SCHEMA, saved.command, concepts, tuple(records))
    with changing(folder) as change:
        change.remove((*TABLES, IMAGES))
        change.write(COUNTS, parts_file(parts))
        for name, table in saved.tables().items():
            change.write(name, table.to_csv(index=False))
        for number, content in saved.images.items():
            change.write(f"{IMAGES}/{names[number]}", content)
        change.write(INFO, json_text(write_record(record)))


def read_interventions(folder: Path) -> SavedInterventions | None:
    """Read the interventions of a folder, and make sure that their files belong together; None where there are none.

    Raises
    ------
    UnitlensError
        If their files are incomplete, damaged, or of another version, or say what the counts rule out.
    """
    settle(folder)
    if not (folder / INFO).exists():
        return None
    try:
        return _read(folder)
    except UnitlensError as error:
        raise UnitlensError(
            f"The interventions in {folder} are incomplete or damaged ({str(error).rstrip('.')}): measure them again."
        ) from None


def _read(folder: Path) -> SavedInterventions:
    from pandas.api.types import is_numeric_dtype

    record = InterventionsRecord.from_json(read_json(folder / INFO))
    parts = read_parts(folder / COUNTS, len(record.results))
    results = tuple(
        restore_result(one, record.concepts[one.concepts], own) for one, own in zip(record.results, parts, strict=True)
    )
    check_one_network(results)
    names = {number: _image_of(one) for number, one in enumerate(record.results)}
    images = {number: _read_png(folder / IMAGES / name) for number, name in names.items() if name is not None}
    ranked = any(isinstance(one, CausalRecord) and one.ranked for one in record.results)
    rankings = read_table(folder / RANKINGS, list(RANKING_COLUMNS), text=_TEXT_OF_RANKINGS) if ranked else None
    saved = SavedInterventions(results, images, rankings, record.command)
    for name, expected in saved.tables().items():
        if name != RANKINGS:
            text = [str(column) for column in expected if not is_numeric_dtype(expected[column])]
            check_table(name, read_table(folder / name, list(TABLES[name]), text=text), expected)
    return saved


def _image_of(record: ResultRecord) -> str | None:
    """The file of a result's sheet or figure."""
    match record:
        case SetRecord():
            return record.sheet
        case MapRecord():
            return record.figure
        case _:
            return None


def _read_png(path: Path) -> bytes:
    # A link may lead to an image of the reader's, which the page would show to others.
    if path.is_symlink() or path.parent.is_symlink():
        raise UnitlensError(f"{path.name} is a link")
    check_readable(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UnitlensError(f"{path.name} cannot be read ({error.strerror})") from None
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        raise UnitlensError(f"{path.name} is not a PNG file")
    return content
