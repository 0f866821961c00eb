"""What `unitlens intervene` measures, by its options."""

from typing import Any, NamedTuple

from unitlens.cli.targets import Source
from unitlens.cli.text import whole_numbers
from unitlens.errors import UnitlensError, is_number

DEFAULT_UNITS = 20
"""Of a concept, where no number is given."""


class Selection(NamedTuple):
    """What is measured."""

    units: tuple[int, ...] | None
    concepts: tuple[str, ...]
    remove: int | None
    insert: int | None
    at: tuple[tuple[int, int], ...]
    every_place: bool
    place: int
    level: str | None
    sweep: bool
    methods: tuple[str, ...]
    most: int | None
    target: float | None
    detectors: bool
    draws: int | None
    examples: int

    @classmethod
    def of(cls, options: dict[str, Any]) -> "Selection":
        """Read the options."""
        units, concepts, remove, insert = (options[name] for name in ("units", "concepts_of", "remove", "insert"))
        every_place, methods, detectors = options["every_place"], options["methods"], options["detectors"]
        _check_options(options)
        if (units or concepts) and not (remove or insert or every_place or methods or detectors):
            remove = DEFAULT_UNITS
        return cls(
            units=None if units is None else whole_numbers(units),
            concepts=tuple(dict.fromkeys(concepts)),
            remove=remove,
            insert=insert,
            at=tuple(map(_position, options["at"])),
            every_place=every_place,
            place=options["place"] or 1,
            level=options["level"],
            sweep=options["sweep"],
            methods=tuple(dict.fromkeys(methods)),
            most=options["most"],
            target=options["share"],
            detectors=detectors,
            draws=options["draws"],
            examples=options["examples"],
        )

    @property
    def ranked_by_iou(self) -> bool:
        """Whether units are chosen by their IoU in a run."""
        by_iou = self.remove or self.insert or self.every_place or "iou" in self.methods
        return bool(self.concepts) and bool(by_iou)

    @property
    def where(self) -> list[tuple[int, int]] | None:
        """The positions (row, column) at which units are replaced; None: everywhere."""
        return [(row, column) for column, row in self.at] or None

    def chosen(self, source: Source, layer: str, count: int | None) -> list[tuple[str | None, Any]]:
        """The units that are given, or for each concept its first ones."""
        if self.units is not None:
            return [(None, self.units)]
        of_layer = source.dissection[layer]
        return [(concept, of_layer.units_for(concept, count or DEFAULT_UNITS)) for concept in self.concepts]


def _check_options(options: dict[str, Any]) -> None:
    """Make sure that options go together."""
    ways = "--concept NAME --remove N, --concept NAME --insert N, --units 3,17 --remove, or --sweep"
    units, concepts = options["units"], options["concepts_of"]
    if units is not None and concepts:
        raise UnitlensError(f"--units and --concept both choose units: give one of {ways}.")
    if units is None and not concepts and not options["sweep"]:
        raise UnitlensError(f"No units were chosen: give {ways}.")
    if (options["remove"] or options["insert"] or options["every_place"]) and units is None and not concepts:
        raise UnitlensError("--remove, --insert and --map need units: add --concept NAME or --units 3,17.")
    for option, given in (
        ("--map", options["every_place"]),
        ("--set", options["methods"]),
        ("--detectors", options["detectors"]),
    ):
        if given and not concepts:
            raise UnitlensError(f"{option} is about a concept: name it with --concept NAME.")
    if options["at"] and options["everywhere"]:
        raise UnitlensError("--at names positions, and --everywhere means all of them: give one of the two.")
    if options["place"] is not None and not options["every_place"]:
        raise UnitlensError("--place is the size of the places of --map: add it.")
    inserted = options["insert"] or options["every_place"] or options["sweep"] or options["methods"]
    if options["level"] is not None and not inserted:
        raise UnitlensError("--level is what inserted units are set to: add --insert, --map or --sweep.")
    for option, value in (("--most", options["most"]), ("--target", options["share"])):
        if value is not None and not options["methods"]:
            raise UnitlensError(f"{option} is for --set: add --set greedy.")


def _position(text: str) -> tuple[int, int]:
    """A column and a row."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(map(is_number, parts)):
        raise UnitlensError(f"--at is {text!r}; a position is a column and a row of the layer's grid, such as 3,5.")
    return int(parts[0]), int(parts[1])
