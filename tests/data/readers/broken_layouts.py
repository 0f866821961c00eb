"""Layouts of data sets with something wrong in them, by a seed."""

import csv
import io
import json

import numpy as np

STRANGE = [
    None,
    True,
    -1,
    0,
    3.5,
    1e30,
    2**70,
    10**26,
    10**400,
    "",
    "x",
    "../x",
    [],
    {},
    [[]],
    [None],
    {"id": {}},
    [1],
    "1",
    float("nan"),
    float("inf"),
    float("-inf"),
]
TEXTS = [
    "",
    "x",
    "-1",
    "1e9",
    "99999999999999999999",
    "9" * 26,
    "9" * 5000,
    "1e999",
    "../../x",
    ";",
    ",",
    "\t",
    '"',
    "\x00",
    "ü",
    "0",
    "nan",
    "1.5",
    " ",
]


def mutate(root, seed, *, times=1):
    """Change some of the files under a folder; what was changed, in words."""
    rng = np.random.default_rng(seed)
    files = sorted(path for path in root.rglob("*") if path.is_file())
    lists = [path for path in files if path.suffix in (".json", ".csv", ".txt", ".m")]
    said = []
    for _ in range(times):
        path = pick(rng, lists if lists and rng.random() < 0.7 else files)
        if not path.is_file():
            continue
        content = path.read_bytes()
        changes = {".json": change_json, ".csv": change_csv}.get(path.suffix, change_lines)
        change = changes if path in lists and rng.random() < 0.8 else change_bytes
        try:
            path.write_bytes(change(content, rng))
        except (ValueError, LookupError, RecursionError):  # a list that an earlier change has broken
            path.write_bytes(change_bytes(content, rng))
        said.append(f"{change.__name__} {path.relative_to(root).as_posix()}")
    return said


def pick(rng, some):
    return some[int(rng.integers(len(some)))]


def change_bytes(content, rng):
    """Cut a file short, empty it, or change some of its bytes."""
    kind = rng.integers(3)
    if kind == 0 or not content:
        return content[: int(rng.integers(len(content) + 1))]
    if kind == 1:
        return b""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 8))):
        changed[int(rng.integers(len(changed)))] = int(rng.integers(256))
    return bytes(changed)


def change_lines(content, rng):
    """Drop, repeat or change a line of a text."""
    lines = content.decode().splitlines()
    place = int(rng.integers(len(lines)))
    line = [[], [lines[place]] * 2, [pick(rng, TEXTS)], [lines[place] + pick(rng, TEXTS)], [lines[place][1:]]]
    lines[place : place + 1] = line[int(rng.integers(len(line)))]
    return "\n".join(lines).encode()


def change_csv(content, rng):
    """Change, drop or add a cell of a table."""
    rows = list(csv.reader(io.StringIO(content.decode())))
    row = pick(rng, rows)
    place = int(rng.integers(len(row)))
    row[place : place + 1] = [[], [pick(rng, TEXTS)], [row[place], "more"]][int(rng.integers(3))]
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    return file.getvalue().encode()


def change_json(content, rng):
    """Put something strange in the place of a value, or take a value away."""
    if rng.random() < 0.03:
        return b"[" * 100_000 if rng.random() < 0.5 else b'{"annotation":' * 50_000
    root = json.loads(content)
    places = list(_places(root))
    if not places:
        return json.dumps(pick(rng, STRANGE)).encode()
    owner, key = pick(rng, places)
    if rng.random() < 0.3:
        del owner[key]
    else:
        owner[key] = pick(rng, STRANGE)
    return json.dumps(root).encode()


def _places(value):
    """Every (list or mapping, key) of a JSON value."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])
