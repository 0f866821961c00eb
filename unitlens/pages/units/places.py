"""Where units, concepts and classes stand on a page: the fragments of links to them."""

from unitlens.pages.formats import slug


def unit_id(layer: str, unit: int) -> str:
    """Return the place of a unit on the page, for a link: ``report.html#unit-layer4-17``.

    Parameters
    ----------
    layer : str
        Any layer name; whatever is not a letter, digit, ``.``, ``_`` or ``-`` becomes ``~`` and its hexadecimal code.
    unit : int
        The unit's number.

    Returns
    -------
    str
        Different for different units.
    """
    return f"unit-{slug(layer)}-{unit}"


def concept_id(category: str, concept: str) -> str:
    """Return the place of a concept's section on the page: ``concept-object/tree``."""
    return f"concept-{slug(category)}/{slug(concept)}"


def class_id(name: str) -> str:
    """Return the place of a class's section on the page: ``class-ski_slope``."""
    return f"class-{slug(name)}"
