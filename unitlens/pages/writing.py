"""Save results into a folder, and write the page that shows them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from unitlens.ablation.files import (
    SavedEffects,
    check_no_effects,
    read_agreement,
    read_effects,
    write_agreement,
    write_effects,
)
from unitlens.ablation.outcomes.files import SavedOutcomes, check_no_outcomes, read_outcomes, write_outcomes
from unitlens.ablation.outcomes.result import OutcomeEffects
from unitlens.ablation.result import Curve, SetEffects, UnitEffects
from unitlens.ablation.validation import check_agreement
from unitlens.comparison.audit_result import Audit
from unitlens.comparison.result import Comparison
from unitlens.data.findings import Check
from unitlens.dissection.files import REPORT, RUN, RunFiles, check_free, read_run, write_run
from unitlens.dissection.result import Dissection
from unitlens.editing.causal_result import CausalEffects
from unitlens.editing.concept_set_result import ConceptSet
from unitlens.editing.detector_result import DrawnDetectors
from unitlens.editing.insertion_result import InsertionMap
from unitlens.editing.saving.files import (
    SavedInterventions,
    check_no_interventions,
    read_interventions,
    write_interventions,
)
from unitlens.editing.set_result import SetAreas
from unitlens.errors import UnitlensError
from unitlens.explaining.confusions_result import Confusions
from unitlens.explaining.explanation import Explanations
from unitlens.explaining.pairs.attack_result import Attack
from unitlens.explaining.pairs.causal_labels_files import read_causal_labels, write_causal_labels
from unitlens.explaining.pairs.causal_labels_result import CausalLabels
from unitlens.explaining.pairs.image_changes import ImageChanges
from unitlens.explaining.subgroups.result import Shortcuts
from unitlens.files import another_folder, another_or_overwrite, make_folder, uninterrupted, write_whole
from unitlens.pages.audit import render_audit
from unitlens.pages.causal_labels import causal_view
from unitlens.pages.changes import render_attack, render_changes
from unitlens.pages.check import render_check
from unitlens.pages.comparison import render_comparison
from unitlens.pages.confusions import render_confusions
from unitlens.pages.dissection import render_dissection
from unitlens.pages.effects import effects_view, render_effects
from unitlens.pages.explanations import render_explanations
from unitlens.pages.interventions import interventions_view, render_interventions
from unitlens.pages.outcomes import outcomes_view, render_outcomes
from unitlens.pages.shortcuts import render_shortcuts

if TYPE_CHECKING:
    import pandas as pd

COMPARISON, AUDIT, CHECK = "compare.html", "audit.html", "check.html"
EXPLANATION, CONFUSIONS, SHORTCUTS = "explanation.html", "confusions.html", "shortcuts.html"
PAIRS, ATTACK = "pairs.html", "attack.html"
"""Pages of their own; a dissection, effects and interventions are shown on that of the run."""

ATTACKED = "attack.images"
"""The folder of attacked images."""

Effects = UnitEffects | SetEffects | Curve
Interventions = SetAreas | CausalEffects | InsertionMap | ConceptSet | DrawnDetectors
Explained = Explanations | Confusions | Shortcuts | ImageChanges | Attack
Explaining = Explained | CausalLabels
Result = Dissection | Effects | OutcomeEffects | Interventions | Comparison | Audit | Check | Explaining


def report(
    folder: str | Path,
    *results: Result,
    agreement: "pd.DataFrame | None" = None,
    overwrite: bool = False,
) -> Path:
    """Save results into a folder, and write the page that shows them.

    Parameters
    ----------
    folder : str or Path
        A run; made if it is not there. Effects without a dissection are added to the run that is there.
    *results : Dissection, UnitEffects, SetEffects, Curve, OutcomeEffects, SetAreas, CausalEffects, ...
        What to save into it first; each kind has its page. Without any, the page of the run is made again from what is
        saved.
    agreement : DataFrame, optional
        Beside effects: what `unitlens.ablation.agreement.agreement_by_class` returned.
    overwrite : bool
        Whether a run, or effects, that are there may be replaced.

    Returns
    -------
    Path
        The page, of several the last: one HTML file, opened by double click.

    Raises
    ------
    UnitlensError
        If the folder holds another run, effects of another network than the run's, or, without results, nothing.
    """
    with uninterrupted():  # so that no part is missing of what belongs together
        return _report(Path(folder), results, agreement=agreement, overwrite=overwrite)


def _report(
    folder: Path,
    results: Sequence[Result],
    *,
    agreement: "pd.DataFrame | None",
    overwrite: bool,
) -> Path:
    effects: list[Effects] = []
    interventions: list[Interventions] = []
    causal: list[CausalLabels] = []
    outcomes: list[OutcomeEffects] = []
    page = None if results else write_page(folder)
    for result in results:
        if isinstance(result, Dissection):
            page = folder / REPORT
            write_run(folder, result.files(), page=render_page(result.files()), overwrite=overwrite)
        elif isinstance(result, Comparison):
            page = _write_comparison(folder, result, overwrite=overwrite)
        elif isinstance(result, Audit):
            page = _write_audit(folder, result)
        elif isinstance(result, Check):
            page = _write_check(folder, result, overwrite=overwrite)
        elif isinstance(result, Explained):
            page = _write_explanation(folder, result, overwrite=overwrite)
        elif isinstance(result, CausalLabels):
            causal.append(result)
        elif isinstance(result, Interventions):
            interventions.append(result)
        elif isinstance(result, OutcomeEffects):
            outcomes.append(result)
        else:
            effects.append(result)
    if effects:
        page = add_effects(folder, SavedEffects(tuple(effects)), agreement=agreement, overwrite=overwrite)
    if interventions:
        there = Dissection.of(read_run(folder)) if (folder / RUN).is_file() else None
        saved = SavedInterventions.of(interventions, dissection=there)
        page = add_interventions(folder, saved, overwrite=overwrite)
    for labels in causal:
        write_causal_labels(folder, labels, overwrite=overwrite)
        page = write_page(folder)
    if outcomes:
        page = add_outcomes(folder, SavedOutcomes(tuple(outcomes)), overwrite=overwrite)
    assert page is not None
    return page


def add_interventions(folder: Path, saved: SavedInterventions, *, overwrite: bool = False) -> Path:
    """Save interventions into a run, or into a folder of their own, and write the page; its path.

    Raises
    ------
    UnitlensError
        If there are some already, or a run of another network, or other files.
    """
    check_interventions_fit(folder, saved.info["network"]["sha256"], overwrite=overwrite)
    added = Added.read(folder)._replace(interventions=saved)
    return _write_added(folder, added, lambda: write_interventions(folder, saved, overwrite=overwrite))


def add_outcomes(folder: Path, saved: SavedOutcomes, *, overwrite: bool = False) -> Path:
    """Save outcomes into a run, or into a folder of their own, and write the page; its path.

    Raises
    ------
    UnitlensError
        If there are some already, or a run of another network, or other files.
    """
    check_outcomes_fit(folder, saved.info["network"]["sha256"], overwrite=overwrite)
    added = Added.read(folder)._replace(outcomes=saved)
    return _write_added(folder, added, lambda: write_outcomes(folder, saved, overwrite=overwrite))


def check_outcomes_fit(folder: Path, sha256: str, *, overwrite: bool) -> None:
    """Make sure that outcomes of a network may be written into a folder; as `check_effects_fit`."""
    check_no_outcomes(folder, overwrite=overwrite)
    _check_network(folder, sha256)


def check_interventions_fit(folder: Path, sha256: str, *, overwrite: bool) -> None:
    """Make sure that interventions in a network may be written into a folder; as `check_effects_fit`."""
    check_no_interventions(folder, overwrite=overwrite)
    _check_network(folder, sha256)


def add_effects(
    folder: Path, saved: SavedEffects, *, agreement: "pd.DataFrame | None" = None, overwrite: bool = False
) -> Path:
    """Save effects into a run, or into a folder of their own, and write the page; its path.

    Parameters
    ----------
    folder : Path
    saved : SavedEffects
    agreement : DataFrame, optional
        How well attributions agree with them: what `unitlens.ablation.attribution.measure_agreement` returned.
    overwrite : bool
        Whether effects that are there may be replaced.

    Raises
    ------
    UnitlensError
        As for `check_effects_fit`.
    """
    check_effects_fit(folder, saved.first.info["network"]["sha256"], overwrite=overwrite)
    if agreement is not None:
        check_agreement(agreement, saved.units)
    added = Added.read(folder, effects=False)._replace(effects=saved, agreement=agreement)

    def write() -> None:
        write_effects(folder, saved, overwrite=overwrite)
        write_agreement(folder, agreement)

    return _write_added(folder, added, write)


def _write_added(folder: Path, added: "Added", write: Callable[[], None]) -> Path:
    """Write what was added to a folder and the page that shows it, whose path is returned; the page is made first."""
    page = _page(folder, added)
    with uninterrupted():  # so that the page is that of what was added
        write()
        write_whole(folder / REPORT, page)
    return folder / REPORT


def check_effects_fit(folder: Path, sha256: str, *, overwrite: bool) -> None:
    """Make sure that effects of a network may be written into a folder.

    Raises
    ------
    UnitlensError
        If there are effects already, or a run of another network, or other files.
    """
    check_no_effects(folder, overwrite=overwrite)
    _check_network(folder, sha256)


def _check_network(folder: Path, sha256: str) -> None:
    """Make sure that a folder holds no other files, and no run of another network."""
    check_free(folder, overwrite=True)
    if (folder / RUN).is_file() and read_run(folder).info["network"]["sha256"] != sha256:
        raise UnitlensError(
            f"{folder} holds a run of another network, or of other weights, than these effects: {another_folder()}."
        )


def write_page(folder: str | Path) -> Path:
    """Write report.html of what is saved in a folder: a dissection, what was added to it, or both; its path."""
    folder = Path(folder)
    write_whole(folder / REPORT, _page(folder, Added.read(folder)))
    return folder / REPORT


class Added(NamedTuple):
    """What was measured beside a dissection; None where it was not.

    Attributes
    ----------
    effects : SavedEffects
    agreement : DataFrame
        How well attributions agree with the effects.
    interventions : SavedInterventions
    outcomes : SavedOutcomes
    causal : DataFrame
        Of a dissection: whether its units answer to what they are labelled as, on minimal pairs.
    """

    effects: SavedEffects | None = None
    agreement: "pd.DataFrame | None" = None
    interventions: SavedInterventions | None = None
    outcomes: SavedOutcomes | None = None
    causal: "pd.DataFrame | None" = None

    @classmethod
    def read(cls, folder: Path, *, effects: bool = True) -> "Added":
        """What is saved in a folder; the effects may be left out, where others take their place."""
        saved = read_effects(folder) if effects else None
        agreement = None if saved is None else read_agreement(folder, saved)
        return cls(saved, agreement, read_interventions(folder), read_outcomes(folder))


def _page(folder: Path, added: Added) -> str:
    """The page of what was added, with the dissection that is saved in its folder, if there is one."""
    if (folder / RUN).is_file():
        files = read_run(folder)
        return render_page(files, added._replace(causal=read_causal_labels(folder, files.units)))
    if added.effects is not None:
        outcomes = None if added.outcomes is None else outcomes_view(added.outcomes)
        return render_effects(effects_view(added.effects, agreement=added.agreement), outcomes)
    if added.interventions is not None:
        return render_interventions(interventions_view(added.interventions))
    if added.outcomes is not None:
        return render_outcomes(outcomes_view(added.outcomes))
    return render_page(read_run(folder))  # there is none, and the error says so


def render_page(files: RunFiles, added: Added | None = None) -> str:
    """The page of a run as text."""
    effects, agreement, interventions, outcomes, causal = added or Added()
    return render_dissection(
        info=files.info,
        units=files.units,
        exemplars=files.exemplars,
        strips=files.strips,
        effects=None if effects is None else effects_view(effects, Dissection.of(files), agreement),
        interventions=None if interventions is None else interventions_view(interventions),
        causal=None if causal is None else causal_view(causal),
        outcomes=None if outcomes is None else outcomes_view(outcomes),
    )


def _write_comparison(folder: Path, comparison: Comparison, *, overwrite: bool) -> Path:
    """Save the tables of a comparison and write its page, whose path is returned."""
    comparison.save(folder, overwrite=overwrite)
    return _write(folder / COMPARISON, render_comparison(comparison))


def _write_audit(folder: Path, audit: Audit) -> Path:
    """Save the tables of an audit and write its page, whose path is returned. An older audit is replaced."""
    audit.save(folder)
    return _write(folder / AUDIT, render_audit(audit))


def _write_check(folder: Path, check: Check, *, overwrite: bool) -> Path:
    """Write the page of a check, whose path is returned.

    Raises
    ------
    UnitlensError
        If there is such a page already, or nothing can be written there.
    """
    page = folder / CHECK
    if page.exists() and not overwrite:
        raise UnitlensError(f"{page} is there already: {another_or_overwrite()}.")
    return _write(make_folder(folder) / CHECK, render_check(check))


def check_no_explanation(folder: Path, page: str, *, overwrite: bool) -> None:
    """Make sure that a page of explanations may be written into a folder: a run, or one that holds no other files.

    Raises
    ------
    UnitlensError
        If there is such a page already, or other files.
    """
    check_free(folder, overwrite=True)
    if (folder / page).exists() and not overwrite:
        raise UnitlensError(f"{folder / page} is there already: {another_or_overwrite()}.")


def _write_explanation(folder: Path, result: Explained, *, overwrite: bool) -> Path:
    """Save the tables of explanations, errors, shortcuts, pairs or an attack, and write their page: its path."""
    images: dict[str, bytes] = {}
    match result:
        case Explanations():
            name, page = EXPLANATION, render_explanations(result)
        case Confusions():
            name, page = CONFUSIONS, render_confusions(result)
        case Shortcuts():
            name, page = SHORTCUTS, render_shortcuts(result)
        case ImageChanges():
            name, page = PAIRS, render_changes(result)
        case Attack():
            name, page, images = ATTACK, render_attack(result), result.png_files()
    check_no_explanation(folder, name, overwrite=overwrite)
    make_folder(folder)
    for table, text in result.files().items():
        write_whole(folder / table, text)
    for image, content in images.items():
        write_whole(make_folder(folder / ATTACKED) / image, content)
    return _write(folder / name, page)


def _write(page: Path, text: str) -> Path:
    write_whole(page, text)
    return page
