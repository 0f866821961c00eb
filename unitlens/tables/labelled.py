"""Numbers of units and concepts with their names: frames of pandas, data sets of xarray."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from unitlens.errors import UnitlensError
from unitlens.stats.counts import Counts
from unitlens.stats.scores import Floats

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


def units_frame(values: Floats, columns: Sequence[str], *, of: str) -> "pd.DataFrame":
    """Label an array of units x concepts, or x classes.

    Parameters
    ----------
    values : float64 array, (U, C)
    columns : sequence of str, C
        Their names.
    of : str
        What the columns are: concept or class.

    Returns
    -------
    pandas.DataFrame
        The index, ``unit``, counts from 0.
    """
    import pandas as pd

    index = pd.RangeIndex(len(values), name="unit")
    return pd.DataFrame(values, index=index, columns=pd.Index(list(columns), dtype=object, name=of))


def counts_dataset(
    counts: Counts, concepts: Sequence[str], categories: Sequence[str], *, attributes: dict[str, Any]
) -> "xr.Dataset":
    """Label the counts of a layer: units x concepts x folds.

    Parameters
    ----------
    counts : Counts
    concepts, categories : sequence of str, C
        Names of the concepts, and the category of each.
    attributes : dict
        Of the data set.

    Returns
    -------
    xarray.Dataset
        Variables ``intersection`` and ``activated`` (unit, concept, fold), ``concept_positions`` and ``judged``
        (concept, fold), all int64, and ``iou`` (unit, concept) over all folds.

    Raises
    ------
    UnitlensError
        If xarray is not installed.
    """
    try:
        import xarray as xr
    except ImportError:
        raise UnitlensError(
            "Labelled arrays need xarray, which is not installed: pip install 'unitlens[xarray]'."
        ) from None
    units, folds, _ = counts.shape
    by_fold = ("unit", "concept", "fold")
    return xr.Dataset(
        {
            "intersection": (by_fold, counts.intersection_by_fold(slice(0, units)).transpose(0, 2, 1)),
            "activated": (by_fold, counts.activated_by_fold[:, :, counts.category_of].transpose(0, 2, 1)),
            "concept_positions": (by_fold[1:], counts.concept_by_fold.T),
            "judged": (by_fold[1:], counts.judged_by_fold[:, counts.category_of].T),
            "iou": (by_fold[:2], counts.iou),
        },
        coords={
            "unit": range(units),
            "concept": list(concepts),
            "fold": range(folds),
            "category": ("concept", list(categories)),
        },
        attrs=attributes,
    )
