"""Joining the classes of the data with the outputs of a network."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral

from unitlens.data.concepts import Data, Example, described
from unitlens.data.reading import read_examples
from unitlens.errors import UnitlensError, UnitlensWarning, did_you_mean, is_number

Name = str | int


@dataclass(frozen=True)
class Classes:
    """Which output stands for which class.

    Attributes
    ----------
    names : tuple of str
        What each output is called, (K,), each once: see `distinct_names`; its number where no name is known.
    output_of : mapping of str to int
        The output of each class that the data name.
    """

    names: tuple[str, ...]
    output_of: Mapping[str, int]

    def output(self, class_: Name) -> int:
        """Return the output of a class, given as the data or the network call it, or as the output's number.

        Raises
        ------
        UnitlensError
            If there is no such class.
        """
        output = self.output_of.get(str(class_))
        output = _position(class_, self.names) if output is None else output
        if output is None:
            known = list(dict.fromkeys([*self.output_of, *self.names]))
            listed = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
            raise UnitlensError(f"There is no class {class_!r}{did_you_mean(str(class_), known)}; there are {listed}.")
        return output


def join_classes(data: Data, network_names: Sequence[str] | None, outputs: int) -> Classes:
    """Join the classes of the data with the outputs of a network.

    An index where the data give one (``classes.csv``); else the network's own class names; else whole numbers are the
    index; else names in their sorted order.

    Parameters
    ----------
    data : Data
        Its ``class_index`` and ``classes`` are used where it has them; else its images are gone through.
    network_names : sequence of str, optional
        The network's own names, one for each output.
    outputs : int
        How many outputs the network has.

    Returns
    -------
    Classes

    Raises
    ------
    UnitlensError
        If no image has a class, a class has no output, or there are more names than outputs.

    Warns
    -----
    UnitlensWarning
        If sorted names are fewer than outputs, so that which is which is a guess, or the data number a class otherwise
        than the network, which has an output of the same name.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> join_classes(SimpleNamespace(classes=("cat", "ant")), None, 2).output_of
    {'ant': 0, 'cat': 1}
    """
    classes = classes_of(data)
    if not classes:
        raise UnitlensError(
            f"No image of {described(data).source} has a class, so that nothing can be measured: say them in "
            "classes.csv (image,class[,index]), or put the images into one folder for each class under images/."
        )
    if network_names is not None and len(network_names) != outputs:
        raise UnitlensError(f"The network has {outputs} outputs, but {len(network_names)} class names.")
    known = None if network_names is None else distinct_names(network_names)
    index = described(data).class_index
    if index or known is not None or all(_is_whole(name) for name in classes):
        output_of = {str(name): _output(name, index, known, outputs) for name in classes}
        _tell_contradictions(output_of, known or ())
    else:
        output_of = _sorted(classes, outputs)
    return Classes(output_names(network_names, output_of, outputs), output_of)


def output_names(network_names: Sequence[str] | None, output_of: Mapping[str, int], outputs: int) -> tuple[str, ...]:
    """Name each output: as the network does; else as the data name its class; else by its number.

    Examples
    --------
    >>> output_names(None, {"cat": 2}, 3)
    ('0', '1', 'cat')
    """
    if network_names is not None:
        return distinct_names(network_names)
    names = [str(output) for output in range(outputs)]
    for name, output in output_of.items():
        names[output] = name
    return distinct_names(names)


def classes_of(data: Data) -> tuple[Name, ...]:
    """Every class that the data name, each once, sorted; of data that do not list them, all images are looked at."""
    listed = described(data).classes
    if listed is None:
        read = (read.example for read in read_examples(data))
        listed = tuple(example.class_ for example in read if isinstance(example, Example))
    names = {name for name in listed if name is not None}
    wrong = next((name for name in names if not isinstance(name, str | Integral)), None)
    if wrong is not None:
        raise UnitlensError(f"A class is a name or a whole number, not {wrong!r}; an image without one has None.")
    return tuple(sorted(names, key=lambda name: (str(type(name)), name)))


def _is_whole(name: object) -> bool:
    return isinstance(name, Integral) or (isinstance(name, str) and is_number(name))


def _position(class_: Name, names: Sequence[str]) -> int | None:
    """The output of a class by the network's `distinct_names`, or by its number; None where it is neither."""
    if str(class_) in names:
        return names.index(str(class_))
    alike = [name for output, name in enumerate(names) if name == numbered(str(class_), output)]
    if alike:
        raise UnitlensError(
            f"{len(alike)} outputs of the network are called {class_}: name the one that is meant, "
            f"{' or '.join(alike)}, or give its number in the column index of classes.csv."
        )
    return int(class_) if _is_whole(class_) and int(class_) < len(names) else None


def distinct_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names of outputs; those that several outputs have are followed by the output's number.

    Examples
    --------
    >>> distinct_names(["crane", "heron", "crane"])
    ('crane (0)', 'heron', 'crane (2)')
    """
    count = Counter(names)
    return tuple(numbered(name, output) if count[name] > 1 else name for output, name in enumerate(names))


def numbered(name: str, output: int) -> str:
    """How a class is called where another one has the same name."""
    return f"{name} ({output})"


def _output(name: Name, index: Mapping[str, int], known: Sequence[str] | None, outputs: int) -> int:
    output = index.get(str(name))
    if output is None and known is not None:
        output = _position(name, known)
        if output is None and not _is_whole(name):
            raise UnitlensError(
                f"The data's class {name} is none of the network's{did_you_mean(str(name), known)}: name it as the "
                "network does, or give the number of its output in the column index of classes.csv."
            )
    if output is None and not _is_whole(name):
        raise UnitlensError(f"The class {name} has no index in classes.csv, while others have: give it one.")
    output = int(name) if output is None else output
    if not 0 <= output < outputs:
        raise UnitlensError(
            f"The class {name} has the index {output}, but the network has {outputs} outputs, 0 to {outputs - 1}."
        )
    return output


def _tell_contradictions(output_of: Mapping[str, int], known: Sequence[str]) -> None:
    """Warn of classes that the data number, and that have the name of another output: one of both may be meant."""
    other = [name for name, output in output_of.items() if name in known and known[output] != name]
    if other:
        name = other[0]
        warnings.warn(
            f"The data give the class {name} the index {output_of[name]}, and the network calls output "
            f"{known.index(name)} so (as with {len(other)} of {len(output_of)} classes): the index counts. Where the "
            "names should, leave the index out.",
            UnitlensWarning,
            stacklevel=4,
        )


def _sorted(classes: Sequence[Name], outputs: int) -> dict[str, int]:
    if len(classes) > outputs:
        raise UnitlensError(
            f"The data name {len(classes)} classes, more than the {outputs} outputs of the network: give the number of "
            "each class's output in the column index of classes.csv."
        )
    ordered = sorted(map(str, classes))
    if len(classes) < outputs:
        warnings.warn(
            f"The data name {len(classes)} classes and the network has {outputs} outputs, of which nobody gives the "
            f"names: {ordered[0]} is taken as output 0, and so on in sorted order.",
            UnitlensWarning,
            stacklevel=4,
        )
    return {name: output for output, name in enumerate(ordered)}
