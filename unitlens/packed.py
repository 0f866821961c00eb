"""Long lists in little memory: what is known of each image is kept in columns, most of which wait in files."""

import sys
from abc import abstractmethod
from array import array
from bisect import bisect_left
from collections.abc import Hashable, Iterable, Iterator, MutableMapping, Sequence
from itertools import compress, pairwise
from typing import Generic, Self, TypeVar, overload

import numpy as np
import numpy.typing as npt

from unitlens.nameless import NamelessFile

Value = TypeVar("Value")

IN_MEMORY = 1 << 16
"""Bytes of a list that stay in memory; those before them are in a file."""

_MANY = 4096
"""So many texts at least are told apart by a set, before what is known of them is packed."""

_AT_ONCE = 1024
"""Values that are made together where all are asked for."""

_TOGETHER = 16
"""Texts that are read together: it is known where the first of them begins."""

_NUMBER = 8
"""Bytes of a number."""

_END = b"\xff"
"""Stands behind every text, and in none that is in UTF-8."""


class GrowingBytes:
    """Bytes that grow at their end: the last ones are in memory, those before in a file without a name.

    The file is gone with these bytes, or with the process, however it ends.
    """

    def __init__(self) -> None:
        self._last = bytearray()
        self._filed = 0
        self._file: NamelessFile | None = None

    def __len__(self) -> int:
        return self._filed + len(self._last)

    def append(self, value: bytes | memoryview) -> None:
        """Add bytes at the end."""
        if self._last and len(self._last) + len(value) > IN_MEMORY:
            self._to_file()  # first: after an error the value is not there
        self._last += value

    def cut(self, length: int) -> None:
        """Drop what stands behind so many bytes."""
        del self._last[max(length - self._filed, 0) :]
        self._filed = min(self._filed, length)

    def read(self, start: int, stop: int) -> bytearray:
        """The bytes from one place to another."""
        if start >= self._filed:
            return self._last[start - self._filed : stop - self._filed]
        assert self._file is not None
        return self._file.read(start, min(stop, self._filed)) + self._last[: max(stop - self._filed, 0)]

    def _to_file(self) -> None:
        self._file = self._file or NamelessFile()
        self._file.write(self._last, self._filed)
        self._filed += len(self._last)
        self._last = bytearray()


class Packed(Sequence[Value], Generic[Value]):
    """A list that grows at its end; values are packed as they come, and made anew where they are asked for."""

    @overload
    def __getitem__(self, index: int) -> Value: ...
    @overload
    def __getitem__(self, index: slice) -> list[Value]: ...
    def __getitem__(self, index: int | slice) -> Value | list[Value]:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return self._some(start, max(start, stop))
            return [self[each] for each in range(start, stop, step)]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        place = index % len(self)
        return self._some(place, place + 1)[0]

    def __iter__(self) -> Iterator[Value]:
        count = len(self)
        for start in range(0, count, _AT_ONCE):
            yield from self._some(start, min(start + _AT_ONCE, count))

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
    def _some(self, start: int, stop: int) -> list[Value]:
        """The values from one index to another, both from 0."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory that grow with the values: none, where all but the last ones are in a file."""
        return 0


class Numbers(Packed[int]):
    """Whole numbers from 0 to 2^64 - 1; only the last ones are in memory.

    Examples
    --------
    >>> numbers = Numbers([3, 2**64 - 1])
    >>> numbers[1] == 2**64 - 1, numbers == [3, 2**64 - 1]
    (True, True)
    """

    def __init__(self, values: Iterable[int] = ()) -> None:
        self._bytes = GrowingBytes()
        self += values

    def append(self, value: int) -> None:
        """Add a number at the end."""
        self._bytes.append(value.to_bytes(_NUMBER, sys.byteorder))

    def _some(self, start: int, stop: int) -> list[int]:
        numbers: list[int] = self.as_array(start, stop).tolist()
        return numbers

    def __len__(self) -> int:
        return len(self._bytes) // _NUMBER

    def as_array(self, start: int, stop: int) -> npt.NDArray[np.uint64]:
        """The numbers from one index to another, (numbers,)."""
        return np.frombuffer(self._bytes.read(start * _NUMBER, stop * _NUMBER), np.uint64)


class Hashes(Packed[bytes]):
    """Bytes, as many in every value; only the last ones are in memory.

    Examples
    --------
    >>> list(Hashes([b"ab", b"cd"]))
    [b'ab', b'cd']
    """

    def __init__(self, values: Iterable[bytes] = ()) -> None:
        self._bytes, self._size, self._count = GrowingBytes(), 0, 0
        self += values

    def append(self, value: bytes) -> None:
        """Add bytes at the end."""
        if self._count and len(value) != self._size:
            raise ValueError(f"{len(value)} bytes among values of {self._size}")
        self._size = len(value)
        self._bytes.append(value)
        self._count += 1

    def _some(self, start: int, stop: int) -> list[bytes]:
        size, joined = self._size, bytes(self._bytes.read(start * self._size, stop * self._size))
        return [joined[place * size : (place + 1) * size] for place in range(stop - start)]

    def __len__(self) -> int:
        return self._count

    def as_array(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """The values from one index to another, (values, size)."""
        joined = self._bytes.read(start * self._size, stop * self._size)
        return np.frombuffer(joined, np.uint8).reshape(stop - start, self._size)

    def rows(self, indices: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        """The values of some indices, (values, size)."""
        different, which = np.unique(indices, return_inverse=True)
        out = np.empty((len(different), self._size), np.uint8)
        cuts = np.searchsorted(different, range(0, len(self) + _AT_ONCE, _AT_ONCE))
        for first, last in pairwise(cuts[np.concatenate([[True], np.diff(cuts) > 0])].tolist()):
            some = different[first:last]  # which lie close together: one read
            out[first:last] = self.as_array(int(some[0]), int(some[-1]) + 1)[some - some[0]]
        return out[which]


class Texts(Packed[str]):
    """Texts of any length; of them, and of where they begin, hardly anything is in memory but the last ones.

    Examples
    --------
    >>> texts = Texts(["one", "", "zwölf"])
    >>> texts[2], texts[1:], "one" in texts
    ('zwölf', ['', 'zwölf'], True)
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._bytes, self._count = GrowingBytes(), 0
        self._starts = array("Q")  # of every 16th text
        self += values

    def append(self, value: str) -> None:
        """Add a text at the end."""
        start = len(self._bytes)
        self._bytes.append(value.encode("utf-8", "surrogatepass") + _END)  # names of files may be any bytes
        if self._count % _TOGETHER == 0:
            self._starts.append(start)
        self._count += 1

    def _some(self, start: int, stop: int) -> list[str]:
        first, behind = start // _TOGETHER, -(-stop // _TOGETHER)
        if first >= behind:
            return []
        end = self._starts[behind] if behind < len(self._starts) else len(self._bytes)
        texts = self._bytes.read(self._starts[first], end).split(_END)
        return [text.decode("utf-8", "surrogatepass") for text in texts[start % _TOGETHER : stop - first * _TOGETHER]]

    def __len__(self) -> int:
        return self._count

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Texts) and len(self._bytes) != len(other._bytes):
            return False
        return super().__eq__(other)

    __hash__ = None

    @property
    def nbytes(self) -> int:
        """8 for 16 of them."""
        return self._starts.itemsize * len(self._starts)


class Choices(Packed[Value]):
    """Values of which there are few different ones, such as classes; each is kept once.

    Examples
    --------
    >>> choices = Choices(["a", None, 1, True, "a"])
    >>> list(choices), choices.count("a")
    (['a', None, 1, True, 'a'], 2)
    """

    def __init__(self, values: Iterable[Value] = ()) -> None:
        self._numbers = Numbers()
        self._values: list[Value] = []
        self._number_of: dict[Hashable, int] = {}
        self += values

    def append(self, value: Value) -> None:
        """Add a value at the end."""
        number = self._number_of.setdefault((type(value), value), len(self._values))  # 1 and True are equal
        if number == len(self._values):
            self._values.append(value)
        self._numbers.append(number)

    def _some(self, start: int, stop: int) -> list[Value]:
        return [self._values[number] for number in self._numbers[start:stop]]

    def __len__(self) -> int:
        return len(self._numbers)


class ChoiceOf(MutableMapping[str, Value]):
    """A dictionary of values of which there are few different ones; a text of a sorted list takes 4 bytes.

    Parameters
    ----------
    texts : sequence of str
        Sorted, each once. Other texts may have values as well; those take as much as in any dictionary.

    Examples
    --------
    >>> class_of = ChoiceOf(["a.png", "b.png", "c.png"])
    >>> class_of["c.png"], class_of["gone.png"], class_of["a.png"] = "cat", "dog", "dog"
    >>> dict(class_of), class_of.get("b.png")
    ({'a.png': 'dog', 'c.png': 'cat', 'gone.png': 'dog'}, None)
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts, self._numbers = texts, array("i", bytes(4 * len(texts)))  # 0: it has none
        self._values: list[Value] = []
        self._number_of: dict[Value, int] = {}
        self._others: dict[str, Value] = {}

    def __getitem__(self, text: str) -> Value:
        place = self._place(text)
        if place is None:
            return self._others[text]
        if not self._numbers[place]:
            raise KeyError(text)
        return self._values[self._numbers[place] - 1]

    def __setitem__(self, text: str, value: Value) -> None:
        number = self._number_of.setdefault(value, len(self._values))
        if number == len(self._values):
            self._values.append(value)
        place = self._place(text)
        if place is None:
            self._others[text] = self._values[number]
        else:
            self._numbers[place] = 1 + number

    def __delitem__(self, text: str) -> None:
        place = self._place(text)
        if place is None:
            del self._others[text]
        else:
            self[text]  # a KeyError, if it has none
            self._numbers[place] = 0

    def __iter__(self) -> Iterator[str]:
        """Texts of the list in its order, then others."""
        yield from compress(self._texts, self._numbers)
        yield from self._others

    def __len__(self) -> int:
        return len(self._numbers) - self._numbers.count(0) + len(self._others)

    def of_list(self) -> list[Value]:
        """The values of texts of the list, each once."""
        return [self._values[number - 1] for number in set(self._numbers) if number]

    def _place(self, text: str) -> int | None:
        place = bisect_left(self._texts, text)
        return place if place < len(self._texts) and self._texts[place] == text else None


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
            recent = np.sort(np.fromiter(self._recent, np.int64, len(self._recent)))
            self._recent.clear()
            self._packed = np.insert(self._packed, np.searchsorted(self._packed, recent), recent)
        return known
