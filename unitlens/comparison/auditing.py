"""Check how stable the concepts of a run's units are."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from unitlens.comparison.audit_checks import LayerCheck, check_halves, unit_rows
from unitlens.comparison.audit_passes import NOISE, run_passes
from unitlens.comparison.audit_result import Audit
from unitlens.comparison.columns import AUDIT_COLUMNS
from unitlens.comparison.entries import Entry, open_entries
from unitlens.data.concepts import Data
from unitlens.dissection.forward import Resources
from unitlens.dissection.reopening import Recipe, check_network, regrouped
from unitlens.dissection.result import Dissection, open_run
from unitlens.errors import UnitlensError, argument
from unitlens.models.network import Network

if TYPE_CHECKING:
    import pandas as pd

_COUNTS_ONLY = "Only the counts of the run were checked, without another pass over the images"


def audit(
    run: Dissection | str | Path,
    net: Network | None = None,
    data: Data | str | Path | None = None,
    *,
    trust: bool = False,
    noise: float = NOISE,
    batch_size: int = 32,
    workers: int = 0,
    seed: int = 0,
    store_limit: int | None = None,
    progress: bool = False,
) -> Audit:
    """Check how stable the concepts of a run's units are, and compare them with trivial ones.

    Halves of the data, baselines and collisions come from the counts of the run. Other quantiles and the other
    upsampling take one pass over its images, noise another. Where network or images are missing, or not those of the
    run, the passes are left out, and a note says why.

    Parameters
    ----------
    run : Dissection, str or Path
        A dissection, or the folder of a saved one.
    net : Network, optional
        The network that was dissected; by default it is loaded again as recorded in the run.
    data : Data, str or Path, optional
        The images of the run; by default they are opened again as recorded in the run.
    trust : bool
        Whether network and images may be opened again where that runs code that the run names, or downloads.
    noise : float
        Standard deviation of the noise, images being in [0, 1]; with 0 that pass is left out.
    batch_size, workers, store_limit, progress
        As for `unitlens.dissect`.
    seed : int
        Of the noise.

    Returns
    -------
    Audit

    Raises
    ------
    UnitlensError
        If there is no run, the network or data that were given are not those of the run, or opening them again would
        run code that the run names, or download, and ``trust`` is not set.

    Examples
    --------
    >>> import unitlens as ul
    >>> net, data = ul.load("bundled:scenes"), ul.Scenes(24)
    >>> run = ul.dissect(net, "relu6", data, exemplars=0)
    >>> ul.audit(run, net, data, noise=0).table()["check"].tolist()
    ['even folds', 'odd folds', 'half quantile', 'double quantile', 'other upsampling']
    """
    if noise < 0:
        raise UnitlensError(f"{argument('noise', noise)} must be a standard deviation, such as {NOISE}, or 0 for none.")
    run = run if isinstance(run, Dissection) else open_run(run)
    entries = {entry.layer: entry for entry in open_entries([run])}
    checks = [check for entry in entries.values() for check in check_halves(entry)]
    notes = []
    if not checks:
        notes.append("Halves of the data were not compared: one of them is empty, or the score needs several levels.")
    source = data if isinstance(data, str | Path) else None
    recipe = Recipe.of(run.info, source=source, groups=run.groups)

    def without_passes(reason: object) -> Audit:
        all_notes = (*notes, f"{_COUNTS_ONLY}: {reason}")
        return Audit(run, tuple(entries.values()), _unit_table(entries, checks), None, all_notes)

    if net is not None:
        check_network(net, run.info)
    if run.settings.basis is not None:
        return without_passes("its units are directions, which run.json does not contain.")
    recipe.check(trust=trust, network=net is None, data=data is source)
    try:
        net = recipe.open_network(trust=trust) if net is None else net
    except UnitlensError as error:
        return without_passes(error)
    try:
        if data is None or isinstance(data, str | Path):
            images = recipe.open_data(trust=trust)
        else:
            images = regrouped(data, run.groups)
        resources = Resources(workers=workers, store_limit=store_limit, show=progress)
        passes = run_passes(
            run, net, images, entries=entries, batch_size=batch_size, resources=resources, noise=noise, seed=seed
        )
    except UnitlensError as error:
        if data is not None:
            raise
        return without_passes(error)
    table = _unit_table(entries, [*checks, *passes.checks])
    return Audit(run, tuple(entries.values()), table, passes.overlaps, (*notes, *passes.notes))


def _unit_table(entries: Mapping[str, Entry], checks: Iterable[LayerCheck]) -> "pd.DataFrame":
    """The table of an audit, with the columns `AUDIT_COLUMNS`."""
    import pandas as pd

    parts = [unit_rows(entries[check.layer], check) for check in checks]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(AUDIT_COLUMNS))
