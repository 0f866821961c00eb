"""Check how stable the concepts of a run's units are."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from torch import nn

from unitlens.comparison.audit_checks import LayerCheck, check_halves, unit_rows
from unitlens.comparison.audit_passes import NOISE, check_noise, run_passes
from unitlens.comparison.audit_result import Audit
from unitlens.comparison.columns import AUDIT_COLUMNS
from unitlens.comparison.entries import Entry, open_entries
from unitlens.data.concepts import Data
from unitlens.data.groups import Groups, grouped
from unitlens.data.inmemory.dataset import as_data
from unitlens.dissection.forward import Resources
from unitlens.dissection.reopening import OtherImagesError, Reopening, check_network, regrouped
from unitlens.dissection.result import Dissection, open_run
from unitlens.errors import UnitlensError, argument
from unitlens.models.network import Network

if TYPE_CHECKING:
    import pandas as pd

_NO_HALVES = "Halves of the data were not compared: one of them is empty, or the score needs several levels."
_COUNTS_ONLY = "Only the counts of the run were checked, without another pass over the images"


def audit(
    run: Dissection | str | Path,
    net: Network | nn.Module | None = None,
    data: Data | str | Path | None = None,
    *,
    trust: bool = False,
    groups: Groups | None = None,
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
    net : Network or torch.nn.Module, optional
        The network that was dissected; by default it is loaded again as recorded in the run.
    data : Data, str or Path, optional
        The images of the run; by default they are opened again as recorded in the run.
    trust : bool
        Whether network and images may be opened again where that runs code that the run names, or downloads.
    groups : optional
        Images that belong together, as for `unitlens.dissect`, in place of the groups of the run: halves of the data
        are then those of these groups, for which network and images are needed.
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
        If noise is no standard deviation; if there is no run, the network or data that were given are not those of the
        run, or opening them again would run code that the run names, or download, and ``trust`` is not set; if groups
        are given, and network or images cannot be opened.

    Examples
    --------
    >>> import unitlens as ul
    >>> net, data = ul.load("bundled:scenes"), ul.Scenes(24)
    >>> run = ul.dissect(net, "relu6", data, exemplars=0)
    >>> ul.audit(run, net, data, noise=0).table()["check"].tolist()
    ['even folds', 'odd folds', 'half quantile', 'double quantile', 'other upsampling']
    """
    check_noise(noise)  # before network and images are opened
    run = run if isinstance(run, Dissection) else open_run(run)
    shown = ShownImages.open(run, net, data, trust=trust, other_groups=groups is not None)
    resources = Resources(workers=workers, store_limit=store_limit, show=progress)
    done = audit_opened(run, shown, groups=groups, noise=noise, batch_size=batch_size, seed=seed, resources=resources)
    return done.audit


@dataclass(frozen=True, eq=False, repr=False)
class ShownImages:
    """What an audit shows to which network, or why it shows nothing.

    Attributes
    ----------
    net : Network or None
        Of the run.
    images : Data or None
    missing : str or None
        Why there are none.
    named : bool
        Whether the images were named in place of those that the run names; then it is an error if they are others.
    """

    net: Network | None
    images: Data | None
    missing: str | None = None
    named: bool = False

    @classmethod
    def open(
        cls,
        run: Dissection,
        net: Network | nn.Module | None = None,
        data: Data | str | Path | None = None,
        *,
        trust: bool = False,
        other_groups: bool = False,
    ) -> Self:
        """Open what a run names, and was not given.

        Parameters
        ----------
        run : Dissection
        net, data, trust
            As for `audit`.
        other_groups : bool
            Whether images get other groups than those of the run.

        Raises
        ------
        UnitlensError
            As for `audit`.
        """
        source = data if isinstance(data, str | Path) else None
        reopening = Reopening.of(run.info, source=source, groups=None if other_groups else run.groups)
        if net is not None:
            net = check_network(net, run.info)
        if run.settings.basis is not None:
            return cls(None, None, f"its units are {run.settings.basis.noun}, which run.json does not contain.")
        reopening.check(trust=trust, network=net is None, data=data is source)
        try:
            net = reopening.open_network(trust=trust) if net is None else net
        except UnitlensError as error:
            return cls(None, None, str(error))
        try:
            images = reopening.open_data(trust=trust) if data is source else regrouped(as_data(data), reopening.groups)
        except UnitlensError as error:
            if data is not None or other_groups:
                raise
            return cls(None, None, str(error))
        return cls(net, images, named=data is not None)


class Audited(NamedTuple):
    """An audit.

    Attributes
    ----------
    audit : Audit
    lasting : bool
        Whether it is the same the next time: not where a pass, or a check, failed for what may be well then, such as a
        full disk.
    """

    audit: Audit
    lasting: bool


def audit_opened(
    run: Dissection,
    shown: ShownImages,
    *,
    groups: Groups | None,
    noise: float,
    batch_size: int,
    seed: int,
    resources: Resources,
) -> Audited:
    """Audit a run with what was opened for it, and noise that was checked; see `audit`."""
    entries = {entry.layer: entry for entry in open_entries([run])}
    checks = [check for entry in entries.values() for check in check_halves(entry)] if groups is None else []

    def finished(checks: list[LayerCheck], overlaps: list[dict[str, Any]] | None, notes: Sequence[str]) -> Audit:
        missing = [] if any(check.name == "odd folds" for check in checks) else [_NO_HALVES]
        return Audit(run, tuple(entries.values()), _unit_table(entries, checks), overlaps, (*missing, *notes))

    def without_passes(reason: str, *, lasting: bool) -> Audited:
        if groups is not None:
            raise UnitlensError(f"{argument('groups')} takes a pass over the images, which cannot be made: {reason}")
        return Audited(finished(checks, None, [f"{_COUNTS_ONLY}: {reason}"]), lasting)

    if shown.net is None or shown.images is None:
        return without_passes(str(shown.missing), lasting=True)
    try:
        passes = run_passes(
            run,
            shown.net,
            grouped(shown.images, groups, limit=run.settings.limit, seed=run.settings.seed),
            entries=entries,
            batch_size=batch_size,
            resources=resources,
            noise=noise,
            seed=seed,
            halves=groups is not None,
        )
    except UnitlensError as error:
        if shown.named or groups is not None:
            raise
        return without_passes(str(error), lasting=isinstance(error, OtherImagesError))
    return Audited(finished([*checks, *passes.checks], passes.overlaps, passes.notes), lasting=not passes.failed)


def _unit_table(entries: Mapping[str, Entry], checks: Iterable[LayerCheck]) -> "pd.DataFrame":
    """The table of an audit, with the columns `AUDIT_COLUMNS`."""
    import pandas as pd

    parts = [unit_rows(entries[check.layer], check) for check in checks]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(AUDIT_COLUMNS))
