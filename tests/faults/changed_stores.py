"""Folders of passes and of measurements with something changed in them, as a bad disk or a stranger would."""

import hashlib
import json
import os
import shutil

import numpy as np

from tests.faults.changed_runs import VALUES, mutate_bytes, mutate_json


def mutate_rows(path, random):
    """Change numbers of a file of rows, or how many there are."""
    content, kind = bytearray(path.read_bytes()), random.integers(4)
    if kind == 0:
        content = content[: random.integers(len(content) + 1)]
    elif kind == 1:
        content += bytes(int(random.integers(1, 5000)))
    for _ in range(int(random.integers(1, 20)) if kind > 1 and content else 0):
        place = int(random.integers(len(content)))
        content[place] = int(random.choice([0, 1, 127, 128, 255, random.integers(256)]))
    path.write_bytes(content)


def mutate_lines(path, random):
    """Change a line of JSON lines, or how many there are."""
    lines = path.read_text().splitlines()
    number, kind = int(random.integers(len(lines))), random.integers(4)
    if kind == 0:
        del lines[number]
    elif kind == 1:
        lines.insert(number, lines[int(random.integers(len(lines)))])
    else:
        line = json.loads(lines[number])
        key = sorted(line)[random.integers(len(line))]
        if kind == 2:
            del line[key]
        else:
            line[key] = VALUES[random.integers(len(VALUES))]
        lines[number] = json.dumps(line)
    path.write_text("".join(f"{line}\n" for line in lines))


def sign_again(store):
    """Let a manifest name what the files of its store are now, as whoever changed them could."""
    path = store / "manifest.json"
    manifest = json.loads(path.read_text())
    lines = (store / "images.jsonl").read_bytes()
    manifest |= {"lines": len(lines), "lines_sha256": hashlib.sha256(lines).hexdigest()}
    for key in manifest["documents"]:
        file = store / (key if (store / key).is_file() else f"{key}.json")
        manifest["documents"][key] = hashlib.sha256(file.read_bytes()).hexdigest()
    path.write_text(json.dumps(manifest))


def mutate(folder, random):
    """Change one thing in a folder of stores."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and "lock" not in path.name]
    kinds = {".json": mutate_json, ".jsonl": mutate_lines, ".rows": mutate_rows, "": mutate_rows}
    small = [path for path in files if path.suffix in (".json", ".jsonl")]
    chosen = small if small and random.random() < 0.7 else files
    path = chosen[random.integers(len(chosen))]
    if random.random() < 0.15:
        mutate_bytes(path, random)
        if random.random() < 0.2:
            shutil.rmtree(path, ignore_errors=True)
            path.unlink(missing_ok=True)
            os.mkfifo(path)
        return
    kinds.get(path.suffix, mutate_rows)(path, random)
    if path.name != "manifest.json" and (path.parent / "manifest.json").is_file():
        sign_again(path.parent)


def mutated(folder, into, number):
    """Return a copy of a folder with one change, the same for the same number."""
    shutil.rmtree(into, ignore_errors=True)
    shutil.copytree(folder, into)
    mutate(into, np.random.default_rng(number))
    return into
