"""Long lists in little memory: what is known of each image is kept in columns, not in an object of each image."""

from abc import abstractmethod
from array import array
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Generic, Self, TypeVar, overload

import numpy as np

Value = TypeVar("Value")

_MANY = 4096
"""So many texts at least are told apart by a set, before what is known of them is packed."""


class Packed(Sequence[Value], Generic[Value]):
    """A list that grows at its end; values are packed as they come, and made anew where they are asked for."""

    @overload
    def __getitem__(self, index: int) -> Value: ...
    @overload
    def __getitem__(self, index: slice) -> list[Value]: ...
    def __getitem__(self, index: int | slice) -> Value | list[Value]:
        if isinstance(index, slice):
            return [self._at(each) for each in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._at(index % len(self))

    def __iter__(self) -> Iterator[Value]:
        return map(self._at, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # as of a list

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)}>"

    def __iadd__(self, values: Iterable[Value]) -> Self:
        for value in values:
            self.append(value)
        return self

    @abstractmethod
    def append(self, value: Value) -> None:
        """Add a value at the end."""

    @abstractmethod
    def _at(self, index: int) -> Value:
        """The value of an index, from 0."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes that the values take."""


class Numbers(Packed[int]):
    """Whole numbers from 0 to 2^64 - 1.

    Examples
    --------
    >>> numbers = Numbers([3, 2**64 - 1])
    >>> numbers[1] == 2**64 - 1, numbers == [3, 2**64 - 1]
    (True, True)
    """

    def __init__(self, values: Iterable[int] = ()) -> None:
        self._numbers = array("Q", values)

    def append(self, value: int) -> None:
        """Add a number at the end."""
        self._numbers.append(value)

    def _at(self, index: int) -> int:
        return self._numbers[index]

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def nbytes(self) -> int:
        """8 each."""
        return self._numbers.itemsize * len(self)


class Hashes(Packed[bytes]):
    """Bytes, as many in every value.

    Examples
    --------
    >>> list(Hashes([b"ab", b"cd"]))
    [b'ab', b'cd']
    """

    def __init__(self, values: Iterable[bytes] = ()) -> None:
        self._bytes, self._size, self._count = bytearray(), 0, 0
        self += values

    def append(self, value: bytes) -> None:
        """Add bytes at the end."""
        if self._count and len(value) != self._size:
            raise ValueError(f"{len(value)} bytes among values of {self._size}")
        self._size = len(value)
        self._bytes += value
        self._count += 1

    def _at(self, index: int) -> bytes:
        return bytes(self._bytes[index * self._size : (index + 1) * self._size])

    def __len__(self) -> int:
        return self._count

    def joined(self) -> bytes:
        """All values, one behind the other."""
        return bytes(self._bytes)

    @property
    def nbytes(self) -> int:
        """As many as were added."""
        return len(self._bytes)


class Texts(Packed[str]):
    """Texts of any length.

    Examples
    --------
    >>> texts = Texts(["one", "", "zwölf"])
    >>> texts[2], texts[1:], "one" in texts
    ('zwölf', ['', 'zwölf'], True)
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._bytes, self._ends = bytearray(), array("Q", [0])
        self += values

    def append(self, value: str) -> None:
        """Add a text at the end."""
        self._bytes += value.encode("utf-8", "surrogatepass")  # names of files may be any bytes
        self._ends.append(len(self._bytes))

    def _at(self, index: int) -> str:
        return self._bytes[self._ends[index] : self._ends[index + 1]].decode("utf-8", "surrogatepass")

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Texts):
            return self._ends == other._ends and self._bytes == other._bytes
        return super().__eq__(other)

    __hash__ = None

    @property
    def nbytes(self) -> int:
        """Those of the texts, and 8 for the end of each."""
        return len(self._bytes) + self._ends.itemsize * len(self)


class Choices(Packed[Value]):
    """Values of which there are few different ones, such as classes; each is kept once.

    Examples
    --------
    >>> choices = Choices(["a", None, 1, True, "a"])
    >>> list(choices), choices.count("a")
    (['a', None, 1, True, 'a'], 2)
    """

    def __init__(self, values: Iterable[Value] = ()) -> None:
        self._numbers = array("Q")
        self._values: list[Value] = []
        self._number_of: dict[Hashable, int] = {}
        self += values

    def append(self, value: Value) -> None:
        """Add a value at the end."""
        number = self._number_of.setdefault((type(value), value), len(self._values))  # 1 and True are equal
        if number == len(self._values):
            self._values.append(value)
        self._numbers.append(number)

    def _at(self, index: int) -> Value:
        return self._values[self._numbers[index]]

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def nbytes(self) -> int:
        """8 each, without the different values."""
        return self._numbers.itemsize * len(self)


class Known:
    """Tells texts that were added before, in about 8 bytes each.

    Texts are told apart by 64 bits, the same for the same text in this process: who is told that a text is known, looks
    for it.

    Examples
    --------
    >>> known = Known()
    >>> known.add(["a", "b"]), known.add(["c", "b", "d", "d"])
    ([], ['b', 'd'])
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._recent: set[int] = set()
        self._packed = np.empty(0, np.int64)
        self.add(list(texts))

    def add(self, texts: Sequence[str]) -> list[str]:
        """Add texts; return those that seem to be known, also from before in the same sequence."""
        if not texts:
            return []
        hashes = np.fromiter(map(hash, texts), np.int64, len(texts))
        place = np.searchsorted(self._packed, hashes)
        packed = place < len(self._packed)
        packed[packed] = self._packed[place[packed]] == hashes[packed]
        known = []
        for text, number, seen in zip(texts, hashes.tolist(), packed.tolist(), strict=True):
            if seen or number in self._recent:
                known.append(text)
            self._recent.add(number)
        if len(self._recent) > max(_MANY, len(self._packed) // 8):
            self._packed = np.union1d(self._packed, np.fromiter(self._recent, np.int64, len(self._recent)))
            self._recent.clear()
        return known
