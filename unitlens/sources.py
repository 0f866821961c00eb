"""What ``--data`` takes: annotated pictures, by a path or a name."""

from pathlib import Path

from unitlens.concepts import Data
from unitlens.errors import UnitlensError, did_you_mean
from unitlens.folder import annotated

BUNDLED = ("bundled:scenes",)


def open_data(source: str | Path, *, pictures: int | None = None, seed: int = 0) -> Data:
    """Open annotated pictures.

    Parameters
    ----------
    source : str or Path
        An annotated folder, or ``bundled:scenes``.
    pictures : int, optional
        How many bundled scenes; 1,000.
    seed : int
        Of bundled scenes.

    Returns
    -------
    Data

    Raises
    ------
    UnitlensError
        If there is no such folder or bundled data set.
    """
    if str(source).startswith("bundled:"):
        if source not in BUNDLED:
            raise UnitlensError(
                f"There is no {source}{did_you_mean(str(source), BUNDLED)}; there is {', '.join(BUNDLED)}."
            )
        from unitlens.scenes import Scenes

        return Scenes(1000 if pictures is None else pictures, seed=seed)
    return annotated(source)
