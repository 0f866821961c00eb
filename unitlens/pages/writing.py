"""Save results into a folder, and write the page that shows them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from unitlens.ablation.files import (
    SavedEffects,
    read_agreement,
    read_effects,
    write_agreement,
    write_effects,
)
from unitlens.ablation.outcomes.files import SavedOutcomes, read_outcomes, write_outcomes
from unitlens.ablation.outcomes.result import OutcomeEffects
from unitlens.ablation.result import Curve, SetEffects, UnitEffects
from unitlens.ablation.validation import check_agreement
from unitlens.comparison.audit_result import Audit
from unitlens.comparison.result import Comparison
from unitlens.data.findings import Check
from unitlens.dissection.files import REPORT, RUN, RunFiles, Strips, check_free, read_run, write_run
from unitlens.dissection.result import Dissection
from unitlens.editing.causal_result import CausalEffects
from unitlens.editing.concept_set_result import ConceptSet
from unitlens.editing.detector_result import DrawnDetectors
from unitlens.editing.insertion_result import InsertionMap
from unitlens.editing.saving.files import (
    SavedInterventions,
    read_interventions,
    write_interventions,
)
from unitlens.editing.set_result import SetAreas
from unitlens.errors import UnitlensError
from unitlens.explaining.confusions_result import Confusions
from unitlens.explaining.explanation import Explanations
from unitlens.explaining.pairs.attack_result import Attack
from unitlens.explaining.pairs.causal_labels_files import (
    check_no_causal_labels,
    read_causal_labels,
    write_causal_labels,
)
from unitlens.explaining.pairs.causal_labels_result import CausalLabels
from unitlens.explaining.pairs.image_changes import ImageChanges
from unitlens.explaining.subgroups.result import Shortcuts
from unitlens.files import another_or_overwrite
from unitlens.journal import changing
from unitlens.labels.files import check_no_labels, read_labels, write_labels
from unitlens.labels.people.ratings import Ratings
from unitlens.labels.result import Labels
from unitlens.pages.audit import render_audit
from unitlens.pages.causal_labels import causal_view
from unitlens.pages.changes import render_attack, render_changes
from unitlens.pages.check import render_check
from unitlens.pages.comparison import render_comparison
from unitlens.pages.confusions import render_confusions
from unitlens.pages.dissection import render_dissection
from unitlens.pages.effects import effects_view, render_effects
from unitlens.pages.explanations import render_explanations
from unitlens.pages.fitting import (
    check_effects_fit,
    check_interventions_fit,
    check_one_kind,
    check_outcomes_fit,
    check_prepared_alike,
    check_units,
)
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
OwnPage = Comparison | Audit | Check | Explained
Result = Dissection | Effects | OutcomeEffects | Interventions | CausalLabels | Labels | Ratings | OwnPage
Kind = TypeVar("Kind")


def report(
    folder: str | Path,
    *results: Result,
    agreement: "pd.DataFrame | None" = None,
    overwrite: bool = False,
) -> Path:
    """Save results into a folder, and write the page that shows them: all of it, or where there is an error nothing.

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
    folder = Path(folder)
    if not results:
        return write_page(folder)
    shown = [result for result in results if not isinstance(result, OwnPage)]
    with changing(folder):
        if shown:
            _save(folder, _gather(folder, shown, agreement), overwrite=overwrite)
        for result in results:
            page = folder / REPORT
            if isinstance(result, OwnPage):
                page = _write_own_page(folder, result, overwrite=overwrite)
    return page


class Contents(NamedTuple):
    """What a folder holds: a dissection, what was measured beside it, or both; None is what it does not hold.

    Attributes
    ----------
    run : RunFiles
    effects : SavedEffects
    agreement : DataFrame
        How well attributions agree with the effects.
    interventions : SavedInterventions
    outcomes : SavedOutcomes
    causal : DataFrame
        Whether the units of the dissection answer to what they are labelled as, on minimal pairs.
    labels : Labels
        Labels of the units by other methods.
    answers : Ratings
        What people answered about labels; in ``labels`` with those that were saved before.
    """

    run: RunFiles | None = None
    effects: SavedEffects | None = None
    agreement: "pd.DataFrame | None" = None
    interventions: SavedInterventions | None = None
    outcomes: SavedOutcomes | None = None
    causal: "pd.DataFrame | None" = None
    labels: Labels | None = None
    answers: Ratings | None = None

    def with_saved(self, folder: Path, *, overwrite: bool = False) -> "Contents":
        """These, and of what they are not the rest that is saved in a folder; a new dissection replaces all of it."""
        if self.run is not None:
            return self._replace(labels=self._joined_labels(None, overwrite=overwrite))
        run = read_run(folder) if (folder / RUN).is_file() else None
        effects, agreement, causal = self.effects, self.agreement, self.causal
        if effects is None:
            effects = read_effects(folder)
            agreement = None if effects is None else read_agreement(folder, effects)
        if causal is None and run is not None:
            causal = read_causal_labels(folder, run.units)
        interventions = read_interventions(folder) if self.interventions is None else self.interventions
        outcomes = read_outcomes(folder) if self.outcomes is None else self.outcomes
        saved = read_labels(
            folder,
            overwrite=overwrite and self.labels is not None,
            overwrite_answers=overwrite and self.answers is not None,
        )
        labels = self._joined_labels(saved, overwrite=overwrite)
        return Contents(run, effects, agreement, interventions, outcomes, causal, labels)

    @property
    def labelled(self) -> bool:
        """Whether there are labels, or answers about some."""
        return self.labels is not None or self.answers is not None

    def _joined_labels(self, saved: Labels | None, *, overwrite: bool) -> Labels | None:
        """Labels that are saved and these; answers add up, but where others are to take their place."""
        if saved is not None and self.answers is not None and overwrite:
            saved = replace(saved, answers=None)
        given = [self.labels, None if self.answers is None else Labels.answered(self.answers)]
        known = [labels for labels in (saved, *given) if labels is not None]
        return known[0].joined(*known[1:]) if known else None


def _gather(folder: Path, results: Sequence[Result], agreement: "pd.DataFrame | None") -> Contents:
    """Sort results that are shown on the page of a run."""
    dissection, causal = _only(results, Dissection), _only(results, CausalLabels)
    labels = [result for result in results if isinstance(result, Labels)]
    answers = [result for result in results if isinstance(result, Ratings)]
    effects = tuple(result for result in results if isinstance(result, Effects))
    outcomes = tuple(result for result in results if isinstance(result, OutcomeEffects))
    interventions = [result for result in results if isinstance(result, Interventions)]
    saved = None
    if interventions:
        there = dissection
        if there is None and (folder / RUN).is_file():
            there = Dissection.of(read_run(folder))
        saved = SavedInterventions.of(interventions, dissection=there)
    return Contents(
        run=None if dissection is None else dissection.files(),
        effects=SavedEffects(effects) if effects else None,
        agreement=agreement if effects else None,
        interventions=saved,
        outcomes=SavedOutcomes(outcomes) if outcomes else None,
        causal=None if causal is None else causal.rows,
        labels=labels[0].joined(*labels[1:]) if labels else None,
        answers=answers[0].joined(*answers[1:]) if answers else None,
    )


def _only(results: Sequence[Result], kind: type[Kind]) -> Kind | None:
    """The result of a kind of which a folder holds one."""
    found = [result for result in results if isinstance(result, kind)]
    if len(found) > 1:
        raise UnitlensError(f"A folder holds one {kind.__name__}, not {len(found)}: save each into one of its own.")
    return found[0] if found else None


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
    return _save(folder, Contents(effects=saved, agreement=agreement), overwrite=overwrite)


def add_interventions(folder: Path, saved: SavedInterventions, *, overwrite: bool = False) -> Path:
    """Save interventions into a run, or into a folder of their own, and write the page; its path.

    Raises
    ------
    UnitlensError
        If there are some already, or a run of another network, or other files.
    """
    return _save(folder, Contents(interventions=saved), overwrite=overwrite)


def add_outcomes(folder: Path, saved: SavedOutcomes, *, overwrite: bool = False) -> Path:
    """Save outcomes into a run, or into a folder of their own, and write the page; its path.

    Raises
    ------
    UnitlensError
        If there are some already, or a run of another network, or other files.
    """
    return _save(folder, Contents(outcomes=saved), overwrite=overwrite)


def _save(folder: Path, new: Contents, *, overwrite: bool) -> Path:
    """Write what is new, and the page that shows it beside what is saved in the folder already; the page's path."""
    with changing(folder) as change:
        _check_fit(folder, new, overwrite=overwrite)
        all_of_it = new.with_saved(folder, overwrite=overwrite)
        page = _page(folder, all_of_it)  # first: then nothing is written that cannot be shown
        if new.run is not None:
            write_run(folder, new.run, overwrite=overwrite)
        if new.effects is not None:
            write_effects(folder, new.effects, overwrite=overwrite)
        if new.agreement is not None:
            write_agreement(folder, new.agreement)
        if new.interventions is not None:
            write_interventions(folder, new.interventions, overwrite=overwrite)
        if new.outcomes is not None:
            write_outcomes(folder, new.outcomes, overwrite=overwrite)
        if new.causal is not None and all_of_it.run is not None:
            write_causal_labels(folder, new.causal, all_of_it.run.units)
        if new.labelled and all_of_it.run is not None and all_of_it.labels is not None:
            write_labels(folder, all_of_it.labels, all_of_it.run.info, all_of_it.run.units)
        change.write(REPORT, page)
    return folder / REPORT


def _check_fit(folder: Path, new: Contents, *, overwrite: bool) -> None:
    """Make sure that what is new may be written into a folder, and that its parts are of one network."""
    if new.run is not None:
        check_free(folder, overwrite=overwrite)
    sha256 = None if new.run is None else new.run.info["network"]["sha256"]
    if new.effects is not None:
        check_effects_fit(folder, new.effects.first.info["network"]["sha256"], of_run=sha256, overwrite=overwrite)
        check_prepared_alike(folder, new.effects.first.info["network"], new.run)
        check_one_kind(result.measured.settings.basis for result in new.effects.results)
        check_units(folder, new.effects.first.settings.basis, new.run)
    if new.agreement is not None and new.effects is not None:
        check_agreement(new.agreement, new.effects.units)
    if new.interventions is not None:
        given = new.interventions.info["network"]["sha256"]
        check_interventions_fit(folder, given, of_run=sha256, overwrite=overwrite)
        check_one_kind(result.settings.basis for result in new.interventions.results)
        check_units(folder, new.interventions.results[0].settings.basis, new.run)
    if new.outcomes is not None:
        check_outcomes_fit(folder, new.outcomes.info["network"]["sha256"], of_run=sha256, overwrite=overwrite)
        check_prepared_alike(folder, new.outcomes.info["network"], new.run)
        check_one_kind(result.settings.basis for result in new.outcomes.results)
        check_units(folder, new.outcomes.results[0].settings.basis, new.run)
    if new.causal is not None:
        check_no_causal_labels(folder, overwrite=overwrite)
        if new.run is None and not (folder / RUN).is_file():
            raise UnitlensError(f"{folder} holds no run that causal labels are of: save the dissection with them.")
    if new.labelled and new.run is None:
        methods = () if new.labels is None else new.labels.methods
        answered = new.answers is not None
        check_no_labels(folder, methods, overwrite=overwrite, overwrite_answers=overwrite and answered)
        if not (folder / RUN).is_file():
            raise UnitlensError(f"{folder} holds no run that the labels are of: save the dissection with them.")


def write_page(folder: str | Path, *, strips: Strips | None = None) -> Path:
    """Write report.html of what is saved in a folder, with these strips of a dissection or its own; its path."""
    folder = Path(folder)
    if not folder.is_dir():
        read_run(folder)  # there is none, and the error says so
    with changing(folder) as change:
        saved = Contents().with_saved(folder)
        if saved.run is not None and strips is not None:
            saved = saved._replace(run=replace(saved.run, strips=strips))
        change.write(REPORT, _page(folder, saved))
    return folder / REPORT


def _page(folder: Path, contents: Contents) -> str:
    """The page of what a folder holds."""
    if contents.run is not None:
        return render_page(contents.run, contents)
    if contents.effects is not None:
        outcomes = None if contents.outcomes is None else outcomes_view(contents.outcomes)
        return render_effects(effects_view(contents.effects, agreement=contents.agreement), outcomes)
    if contents.interventions is not None:
        return render_interventions(interventions_view(contents.interventions))
    if contents.outcomes is not None:
        return render_outcomes(outcomes_view(contents.outcomes))
    return render_page(read_run(folder))  # there is none, and the error says so


def render_page(files: RunFiles, beside: Contents | None = None) -> str:
    """The page of a run as text, with what was measured beside it."""
    _, effects, agreement, interventions, outcomes, causal, labels, _ = beside or Contents()
    return render_dissection(
        info=files.info,
        units=files.units,
        exemplars=files.exemplars,
        strips=files.strips,
        effects=None if effects is None else effects_view(effects, Dissection.of(files), agreement),
        interventions=None if interventions is None else interventions_view(interventions),
        causal=None if causal is None else causal_view(causal),
        outcomes=None if outcomes is None else outcomes_view(outcomes),
        labels=labels,
    )


def _write_own_page(folder: Path, result: OwnPage, *, overwrite: bool) -> Path:
    """Save a result that has a page of its own, whose path is returned. An older audit is replaced."""
    match result:
        case Comparison():
            result.save(folder, overwrite=overwrite)
            return _write(folder / COMPARISON, render_comparison(result))
        case Audit():
            result.save(folder)
            return _write(folder / AUDIT, render_audit(result))
        case Check():
            return _write_check(folder, result, overwrite=overwrite)
        case _:
            return _write_explanation(folder, result, overwrite=overwrite)


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
    return _write(folder / CHECK, render_check(check))


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
            name, page, images = ATTACK, render_attack(result), result.image_files()
    check_no_explanation(folder, name, overwrite=overwrite)
    with changing(folder) as change:
        for table, text in result.files().items():
            change.write(table, text)
        if isinstance(result, Attack):
            change.remove([ATTACKED])
        for image, content in images.items():
            change.write(f"{ATTACKED}/{image}", content)
        change.write(name, page)
    return folder / name


def _write(page: Path, text: str) -> Path:
    with changing(page.parent) as change:
        change.write(page.name, text)
    return page
