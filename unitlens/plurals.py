"""Numbers with their nouns and verbs: 1 unit is, 2 units are."""


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Write a number with its noun.

    Parameters
    ----------
    count : int
    noun : str
        Of one.
    plural : str, optional
        Of several, where it is not the noun with an s.

    Examples
    --------
    >>> counted(1, "unit"), counted(64, "unit"), counted(1204, "class", "classes")
    ('1 unit', '64 units', '1,204 classes')
    """
    return f"{count:,} {agreeing(count, noun, plural or f'{noun}s')}"


def agreeing(count: float, one: str, several: str) -> str:
    """Choose the word that goes with a number.

    Examples
    --------
    >>> agreeing(1, "is", "are"), agreeing(0, "is", "are"), agreeing(1.5, "is", "are")
    ('is', 'are', 'are')
    """
    return one if count == 1 else several


def detectors_of(detectors: int, units: int, concepts: int) -> str:
    """Say how many of the units are detectors, and of how many concepts.

    Examples
    --------
    >>> detectors_of(1, 64, 1)
    '1 of 64 units is a detector, of 1 concept'
    >>> detectors_of(0, 1, 0)
    '0 of 1 unit are detectors'
    """
    found = f"{detectors:,} of {counted(units, 'unit')} {agreeing(detectors, 'is a detector', 'are detectors')}"
    return f"{found}, of {counted(concepts, 'concept')}" if concepts else found
