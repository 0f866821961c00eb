"""Run folders with something changed at random, as a careless editor, a bad disk or a stranger would."""

import csv
import json
import shutil

import numpy as np
from safetensors.numpy import load_file, save_file

VALUES = (
    *(None, True, False, 0, 1, -1, 2, 0.5, -0.5, 1.5, 1e308, 2**53 + 1, 2**63, 10**400, float("nan"), float("inf")),
    *("", "x", "0", "nan", "red", "../..", "a\x1b[31m", "\ud800", "x" * 3000, [], {}, [[]], [1, 2, 3], {"x": 1}),
)
CELLS = (
    *("", "0", "1", "-1", "2", "0.5", "-0.5", "1.5", "99.0", "1e308", "1e400", "inf", "nan", "NaN", "9" * 30, "True"),
    *("False", "red", "green", "detector", "silent", "image", "[]", '["red"]', '["x"]', '[["red"]]', "{", "\x00", "\n"),
)
NUMBERS = (0, 1, -1, 2, 7, 10**6, 2**31, 2**62, -(2**63))


def places(content, path=()):
    """Every place in a JSON value, as the keys that lead there."""
    if path:
        yield path
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


def mutate_json(path, random):
    """Change one place of a JSON file."""
    content = json.loads(path.read_text())
    every = list(places(content))
    *outer, key = every[random.integers(len(every))]
    parent = content
    for step in outer:
        parent = parent[step]
    kind = random.integers(5)
    if kind == 0:
        del parent[key]
    elif kind == 1 and isinstance(parent, dict):
        parent[f"{key}x"] = parent.pop(key)
    elif kind == 2 and isinstance(parent, list):
        parent.insert(random.integers(len(parent) + 1), parent[key])
    elif kind == 3 and isinstance(parent[key], int | float):
        parent[key] = parent[key] * 2 + 1
    else:
        parent[key] = VALUES[random.integers(len(VALUES))]
    path.write_text(json.dumps(content))


def mutate_table(path, random):
    """Change a cell, a row or a column of a CSV file."""
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    kind, row, column = random.integers(7), random.integers(len(rows)), random.integers(len(rows[0]))
    if kind == 0:
        del rows[row]
    elif kind == 1:
        rows.insert(row, rows[row])
    elif kind == 2:
        rows = [line[:column] + line[column + 1 :] for line in rows]
    elif kind == 3:
        rows[row].append("1")
    else:
        rows[row][column] = CELLS[random.integers(len(CELLS))]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def mutate_arrays(path, random):
    """Change a number, a shape, a type or a name of a safetensors file."""
    arrays = {name: array.copy() for name, array in load_file(path).items()}
    name = sorted(arrays)[random.integers(len(arrays))]
    array, kind = arrays[name], random.integers(8)
    if kind == 0:
        del arrays[name]
    elif kind == 1:
        arrays[f"{name}x"] = arrays.pop(name)
    elif kind == 2:
        arrays[name] = array.astype((np.float32, np.int32, np.int64, np.uint8, np.bool_)[random.integers(5)])
    elif kind == 3:
        arrays[name] = (array.ravel()[:-1], array[None], array.ravel()[::-1].copy(), array[:0])[random.integers(4)]
    elif array.size:
        with np.errstate(all="ignore"):
            changed = np.array(NUMBERS[random.integers(len(NUMBERS))]).astype(array.dtype)
        array.reshape(-1)[random.integers(array.size)] = changed
    save_file(arrays, path)


def mutate_bytes(path, random):
    """Change, cut or empty a file, take it away, or put something else in its place."""
    content, kind = bytearray(path.read_bytes()), random.integers(6)
    path.unlink()
    if kind == 1:
        path.mkdir()
    elif kind == 2:
        path.symlink_to("nowhere")
    elif kind > 2:
        for place in random.integers(0, len(content), 4):
            content[place] = random.integers(256)
        path.write_bytes(content[: random.integers(len(content))] if kind == 3 else content)


def mutate(folder, random):
    """Change one thing in a folder of JSON, CSV and safetensors files."""
    files = sorted(path for path in folder.iterdir() if path.suffix in (".json", ".csv", ".safetensors"))
    path = files[random.integers(len(files))]
    by_kind = {".json": mutate_json, ".csv": mutate_table, ".safetensors": mutate_arrays}
    (mutate_bytes if random.random() < 0.2 else by_kind[path.suffix])(path, random)


def mutated(folder, into, number):
    """Return a copy of a folder with one change, the same for the same number."""
    shutil.rmtree(into, ignore_errors=True)
    shutil.copytree(folder, into)
    mutate(into, np.random.default_rng(number))
    return into
