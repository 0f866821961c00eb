"""The list of nouns that comes along, from WordNet: ``python -m benchmarks.training.nouns usr/share/wordnet``.

WordNet 3.0 counts how often each sense of a word was tagged in texts (``cntlist``). The list has the words that stand
alone, are nouns in most of those places and names of nobody, the most frequent first. Debian's package
``wordnet-base`` has the files.
"""

from collections import Counter
from pathlib import Path

import click

from unitlens.files import write_whole
from unitlens.labels.by_words.lists import NOUNS

WORDS = 3000
FEWEST_LETTERS = 3
HEADER = """\
The {count:,} most common English nouns, the most common first: those that WordNet 3.0 counts most often in texts whose
words were tagged with their senses, and that are nouns there more often than anything else.

Source: WordNet 3.0, Princeton University, https://wordnet.princeton.edu/; made by benchmarks/training/nouns.py.

WordNet 3.0 license: Permission to use, copy, modify and distribute this software and database and its documentation for
any purpose and without fee or royalty is hereby granted, provided that you agree to comply with the following copyright
notice and statements, including the disclaimer, and that the same appear on ALL copies of the software, database and
documentation, including modifications that you make for internal use or for distribution.
WordNet 3.0 Copyright 2006 by Princeton University. All rights reserved.
THIS SOFTWARE AND DATABASE IS PROVIDED "AS IS" AND PRINCETON UNIVERSITY MAKES NO REPRESENTATIONS OR WARRANTIES, EXPRESS
OR IMPLIED. BY WAY OF EXAMPLE, BUT NOT LIMITATION, PRINCETON UNIVERSITY MAKES NO REPRESENTATIONS OR WARRANTIES OF
MERCHANTABILITY OR FITNESS FOR ANY PARTICULAR PURPOSE OR THAT THE USE OF THE LICENSED SOFTWARE, DATABASE OR
DOCUMENTATION WILL NOT INFRINGE ANY THIRD PARTY PATENTS, COPYRIGHTS, TRADEMARKS OR OTHER RIGHTS.
The name of Princeton University or Princeton may not be used in advertising or publicity pertaining to distribution of
the software and/or database. Title to copyright in this software, database and any associated documentation shall at
all times remain with Princeton University and LICENSEE agrees to preserve same."""


def counts(folder: Path) -> tuple[Counter[str], Counter[str]]:
    """How often each word was tagged as a noun, and as anything."""
    nouns, all_ = Counter[str](), Counter[str]()
    for line in (folder / "cntlist").read_text(encoding="latin-1").splitlines():
        count, sense, _ = line.split()
        word, _, kind = sense.partition("%")
        all_[word] += int(count)
        if kind.startswith("1:"):
            nouns[word] += int(count)
    return nouns, all_


def names(folder: Path) -> set[str]:
    """Words that are written with a capital letter wherever they are nouns."""
    capital, small = set(), set()
    for line in (folder / "data.noun").read_text(encoding="latin-1").splitlines():
        if line.startswith("  "):  # the licence
            continue
        fields = line.split()
        for word in fields[4 : 4 + 2 * int(fields[3], 16) : 2]:
            (small if word.islower() else capital).add(word.lower())
    return capital - small


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Write the list of the most common nouns, from the files of WordNet in FOLDER."""
    nouns, all_ = counts(folder)
    left_out = names(folder)
    common = [
        word
        for word, count in sorted(nouns.items(), key=lambda pair: (-pair[1], pair[0]))
        if word.isalpha() and len(word) >= FEWEST_LETTERS and word not in left_out and 2 * count > all_[word]
    ]
    chosen = common[:WORDS]
    header = "".join(f"# {line}".rstrip() + "\n" for line in HEADER.format(count=len(chosen)).splitlines())
    write_whole(NOUNS, (header + "".join(f"{word}\n" for word in chosen)).encode())
    click.echo(f"{len(chosen)} of {len(common)} nouns are in {NOUNS}; the last was tagged {nouns[chosen[-1]]} times.")


if __name__ == "__main__":
    main()
