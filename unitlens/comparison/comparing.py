"""Compare several layers, networks or checkpoints."""

import warnings
from collections.abc import Sequence

from unitlens.comparison.entries import Run, describe_differences, open_entries
from unitlens.comparison.measured import Result, find_measured, measured_elsewhere
from unitlens.comparison.result import Comparison
from unitlens.errors import UnitlensError, UnitlensWarning


def compare(
    *runs: Run | Sequence[Run],
    names: Sequence[str] | None = None,
    against: str | None = None,
    measured: Sequence[Result] = (),
) -> Comparison:
    """Compare what the units of several layers detect, and what else was measured of them.

    What `Reconstruction.save` and `ConceptEffects.save` added to a run's folder stands in the same table: how much of
    the layer directions or features hold, and what the network uses the units for that fit concepts best.

    Parameters
    ----------
    *runs : Dissection, str, Path or sequence of them
        Dissections or folders of saved ones: layers of one network, several networks, checkpoints of one training.
        Every layer of every run becomes an entry. A sequence of runs is one network that was trained several times
        (seeds, neighbouring checkpoints): the entry's numbers are means over them, and its intervals and differences
        include how much trainings vary, which a single run cannot show.
    names : sequence of str, optional
        One for each run; by default the folder's or the network's name, and the layer's where runs have several.
    against : str, optional
        The entry that the others are compared with; by default the first.
    measured : sequence of Reconstruction or ConceptEffects, optional
        Those of dissections that are not saved, in place of those that are; each is added to the runs of its layer,
        units and network, `ConceptEffects` to the run that chose the units.

    Returns
    -------
    Comparison

    Raises
    ------
    UnitlensError
        If there are fewer than two layers, two of them have no concept in common, the trainings of one network have
        other layers or concepts, something was measured of none of the runs, or several results may be that of one.

    Warns
    -----
    UnitlensWarning
        If the runs are of other images, concepts or settings; the text says which.

    Examples
    --------
    >>> import unitlens as ul
    >>> run = ul.dissect(ul.load("bundled:scenes"), ["conv1", "relu6"], ul.Scenes(24), exemplars=0)
    >>> comparison = ul.compare(run)
    >>> comparison.names, comparison.against
    (['conv1', 'relu6'], 'conv1')
    >>> comparison.table().query("category == 'all'")["units"].tolist()
    [32, 128]
    """
    entries = open_entries(runs, names)
    if len(entries) < 2:
        raise UnitlensError(
            f"A comparison takes at least two layers, not {len(entries)}: give several runs, or a run of several "
            "layers."
        )
    first = entries[0]
    for entry in entries[1:]:
        if not set(first.concepts) & set(entry.concepts):
            raise UnitlensError(
                f"{first.name} and {entry.name} have no concept in common ({first.first_concepts()}; "
                f"{entry.first_concepts()}): compare runs on the same annotations."
            )
    known = find_measured(entries, measured)
    differences = describe_differences(entries, measured_elsewhere(entries, known))
    if differences:
        warnings.warn(differences, UnitlensWarning, stacklevel=2)
    comparison = Comparison(entries, against or first.name, differences, known)
    comparison[comparison.against]  # raises where there is no such entry
    return comparison
