"""Lists of words: the concepts of a run, ImageNet's classes, common English nouns, and files."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from unitlens.data.concepts import Concept
from unitlens.errors import UnitlensError, argument, did_you_mean
from unitlens.files import check_readable

NOUNS = Path(__file__).parent / "nouns.txt"
"""The 3,000 most common English nouns; written by ``benchmarks/training/nouns.py`` from WordNet."""
LISTS = ("concepts", "imagenet", "nouns")
"""Lists by name."""
FEWEST = 2


def word_list(words: str | Path | Iterable[str], concepts: Sequence[Concept]) -> tuple[str, ...]:
    """Return the words that are meant, each once.

    Parameters
    ----------
    words : str, Path or iterable of str
        "concepts": the names of the run's concepts; "imagenet": the 1,000 classes of ImageNet, as torchvision names
        them; "nouns": the 3,000 most common English nouns; a file with a word a line, where lines that begin with # are
        left out; or the words themselves.
    concepts : sequence of Concept
        Of the run.

    Raises
    ------
    UnitlensError
        If there is no such list or file, a word is none, or there are fewer than two.

    Examples
    --------
    >>> word_list(["red car", "sea", "red car"], [])
    ('red car', 'sea')
    """
    if isinstance(words, str | Path):
        found: Iterable[str] = _named(words, concepts)
    else:
        found = list(words)
        wrong = next((word for word in found if not isinstance(word, str)), None)
        if wrong is not None:
            raise UnitlensError(f"{argument('words')} holds {wrong!r}; it is a list of words, a file, or {_listed()}.")
    each = tuple(dict.fromkeys(word.strip() for word in found if word.strip()))
    if len(each) < FEWEST:
        raise UnitlensError(
            f"{argument('words')} has {len(each)} words; a unit's word is chosen among two or more: give a longer "
            f"list, or {_listed()}."
        )
    return each


def _named(words: str | Path, concepts: Sequence[Concept]) -> Iterable[str]:
    if words == "concepts":
        return [name for concept in concepts for name in [concept.name.replace("_", " ")]]
    if words == "imagenet":
        from torchvision.models import ResNet18_Weights

        return map(str, ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
    path = NOUNS if words == "nouns" else Path(words)
    try:
        if not path.is_file():
            near = did_you_mean(str(words)[:100], [*LISTS, *(file.name for file in path.parent.glob("*.txt"))])
            raise UnitlensError(f"There is no list of words {str(words)[:100]!r}{near}; give a file, or {_listed()}.")
        check_readable(path)
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UnitlensError(f"The words in {str(path)[:100]} cannot be read, a word a line: {why}.") from None
    return (line for line in lines if not line.startswith("#"))


def _listed() -> str:
    return f"{', '.join(map(repr, LISTS[:-1]))} or {LISTS[-1]!r}"
