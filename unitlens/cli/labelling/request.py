"""What `unitlens label` is asked for, and what of it there is left to do in a run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from unitlens.cli.labelling.formulas import AskedFormulas, take_formula_options
from unitlens.cli.labelling.people import AskedPeople, take_people_options
from unitlens.cli.labelling.words import EncoderOptions, take_word_options
from unitlens.cli.text import echo
from unitlens.errors import UnitlensError


class LabelWork(NamedTuple):
    """Labels that are to be made and measured.

    Attributes
    ----------
    given : tuple of Labels
        From elsewhere.
    formulas : SearchSettings or None
    ranges : RangeSettings or None
    words : AskedWords or None
    encoder : Encoder or None
        Chooses the words, and weighs labels from elsewhere that are no concept.
    again : bool
        Whether labels that are there are measured once more, and none is made.
    measured, effects : bool
        Whether all labels are measured on one footing, and what the removal of units does.
    """

    given: tuple[Any, ...]
    formulas: Any
    ranges: Any
    words: Any
    encoder: Any
    again: bool
    measured: bool
    effects: bool

    @property
    def uses_methods(self) -> bool:
        """Whether any method names units by their activations."""
        return any(one is not None for one in (self.formulas, self.ranges, self.words))

    @property
    def makes_labels(self) -> bool:
        """Whether any label is made, or taken from elsewhere."""
        return bool(self.given) or self.uses_methods

    @property
    def needs_activations(self) -> bool:
        """Whether anything is computed from activations."""
        return self.measured or self.uses_methods


class Request(NamedTuple):
    """What was asked for on the command line.

    Attributes
    ----------
    given : tuple of Path
        Files with labels from elsewhere.
    formulas : AskedFormulas
    words : EncoderOptions
    people : AskedPeople
    effects : bool
        Whether the removal of units is measured.
    unmeasured : bool
        Whether labels are left unmeasured.
    overwrite : bool
        Whether labels and answers that are there are replaced.
    """

    given: tuple[Path, ...]
    formulas: AskedFormulas
    words: EncoderOptions
    people: AskedPeople
    effects: bool
    unmeasured: bool
    overwrite: bool

    @classmethod
    def take(
        cls, options: dict[str, Any], *, given: tuple[Path, ...], effects: bool, unmeasured: bool, overwrite: bool
    ) -> "Request":
        """Take what is asked for out of the options of the command.

        Raises
        ------
        UnitlensError
            If nothing was asked for, or what was excludes itself.
        """
        request = cls(
            given=given,
            formulas=take_formula_options(options),
            words=take_word_options(options),
            people=take_people_options(options),
            effects=effects,
            unmeasured=unmeasured,
            overwrite=overwrite,
        )
        encoder, people = request.words.encoder is not None, request.people
        _check_measured(unmeasured, effects=effects, encoder=request.words.words is None and encoder)
        if not (request.names_units or effects or encoder or people.sheet or people.answers):
            raise UnitlensError(
                "Nothing was asked for: add --formulas 3, --ranges 5, --words LIST, --from FILE for labels from "
                "elsewhere, --sheet PAGE for people to answer, --answers FILE, or --effects or --encoder ENCODER to "
                "measure labels that are there."
            )
        return request

    @property
    def names_units(self) -> bool:
        """Whether units get labels, from elsewhere or by a method."""
        return bool(self.given or self.formulas.methods or self.words.methods)

    @property
    def replaced(self) -> dict[str, bool]:
        """Which of what is there is replaced, as functions that read and check labels take it."""
        return {
            "overwrite": self.overwrite and self.names_units,
            "overwrite_answers": self.overwrite and bool(self.people.answers),
        }

    def planned(self, run: Path, dissection: Any, before: Any) -> LabelWork:
        """Find what there is to do in a run that is open, where some labels are there before.

        Raises
        ------
        UnitlensError
            If labels would be replaced unasked, or there is nothing to be measured.
        """
        from unitlens.labels.files import check_no_labels

        kept = self._kept_in(before, dissection)
        if kept:
            _tell_kept(run, kept)
        left = self._without(kept, weighing=bool(self.given) or have_waiting(dissection, before)) if kept else self
        waiting = not self.unmeasured and _are_unmeasured(kept, before)
        weighed = left.words.encoder is not None
        again = not left.names_units and (self.effects or weighed or waiting)
        labels = tuple(_given_by(dissection, self.given))
        methods = [method for one in labels for method in one.methods]
        check_no_labels(run, [*methods, *left.formulas.methods, *left.words.methods], **self.replaced)
        encoder = left.words.open_encoder()
        work = LabelWork(
            given=labels,
            formulas=left.formulas.formulas,
            ranges=left.formulas.ranges,
            words=left.words.asked_words(dissection, encoder),
            encoder=encoder,
            again=again,
            measured=(left.names_units or again) and not self.unmeasured,
            effects=self.effects,
        )
        _check_there(run, dissection, work, before, weighed=weighed)
        return work

    def _kept_in(self, labels: Any, dissection: Any) -> list[str]:
        """Methods by which labels with the same settings are there already, and stay."""
        if labels is None or self.overwrite:
            return []
        return [*self.formulas.kept_in(labels, dissection.layers), *self.words.kept_in(labels, dissection)]

    def _without(self, methods: list[str], *, weighing: bool) -> "Request":
        """The same without what is asked for by some methods; the encoder stays where it weighs other labels."""
        return self._replace(
            formulas=self.formulas.without(methods), words=self.words.without(methods, weighing=weighing)
        )


def _check_measured(unmeasured: bool, *, effects: bool, encoder: bool) -> None:
    """Make sure that labels that are not measured are not to be measured by something."""
    asked = "--effects" if effects else "--encoder" if encoder else ""
    if unmeasured and asked:
        raise UnitlensError(
            f"{asked} measures labels, and --unmeasured leaves that out: give one of them (labels that were not "
            f"measured can be measured later: `unitlens label RUN {asked}{' ENCODER' if encoder else ''}`)."
        )


def _tell_kept(run: Path, methods: list[str]) -> None:
    echo(
        f"unitlens: {run} has labels by {', '.join(methods)} with these settings already, and keeps them; --overwrite "
        "makes them anew.",
        err=True,
    )


def have_waiting(dissection: Any, labels: Any) -> bool:
    """Whether there are labels that an encoder can weigh."""
    from unitlens.labels.footing.by_encoder import waiting
    from unitlens.labels.footing.meanings import ConceptNames

    return labels is not None and bool(labels.methods) and bool(waiting(labels, ConceptNames.of(dissection)))


def _are_unmeasured(methods: list[str], labels: Any) -> bool:
    """Whether labels of units by some methods were not measured yet; those of ranges alone never are."""
    measured = set() if labels is None else {method for one in labels.agreement for method in (one.first, one.second)}
    return bool(set(methods) - measured - {"ranges"})


def _check_there(run: Path, dissection: Any, work: LabelWork, before: Any, *, weighed: bool) -> None:
    """Make sure that there are labels to be measured again, and to be weighed by an encoder that was named."""
    from unitlens.labels.footing.by_encoder import check_texts
    from unitlens.labels.footing.meanings import ConceptNames

    there = [one for one in (before, *work.given) if one is not None and one.methods]
    if work.again and not there:
        raise UnitlensError(f"{run} has no labels to measure: name its units too, such as with --formulas 3.")
    if weighed and there and work.measured:
        labels = there[0].joined(*there[1:])
        if work.again and not work.effects and not have_waiting(dissection, labels):
            raise UnitlensError(
                f"No label in {run} waits for an encoder: all are concepts, or have evidence. --words names units by "
                "it, and --from FILE --overwrite weighs labels from elsewhere once more."
            )
        check_texts(labels, ConceptNames.of(dissection), work.encoder)


def _given_by(dissection: Any, files: tuple[Path, ...]) -> Iterator[Any]:
    """Labels from elsewhere, each file a method."""
    from unitlens.labels.given.reading import given_labels

    methods = set[str]()
    for file in files:
        labels = given_labels(dissection, file)
        twice = next((method for method in labels.methods if method in methods), None)
        if twice is not None:
            raise UnitlensError(f"Two files have labels by {twice!r}, as files name their method: rename one of them.")
        methods |= set(labels.methods)
        yield labels
