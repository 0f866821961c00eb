import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from unitlens.data.columns import Columns
from unitlens.data.concepts import Concept
from unitlens.dissection.memory import counting_memory, kept_memory

ROOT = Path(__file__).parents[2]


def columns_of(concepts):
    return Columns.of([Concept(f"kind {c % 6}", 1 + c // 6, f"thing {c}") for c in range(concepts)])


def test_memory_grows_with_units_and_concepts_and_not_with_images_beyond_what_is_kept():
    size = {"cells": 3136, "draws": 20}
    small = counting_memory([512], columns_of(300), images=1000, **size)
    assert small < counting_memory([512, 512], columns_of(300), images=1000, **size)
    assert small < counting_memory([512], columns_of(600), images=1000, **size)
    many = counting_memory([512], columns_of(300), images=10**5, **size)
    assert many == counting_memory([512], columns_of(300), images=10**8, **size)


def test_what_is_kept_is_at_most_the_counts_as_plain_arrays_and_half_as_much_while_they_are_joined():
    dense = 8 * 2048 * 32 * 1200
    assert dense < kept_memory(2048, columns_of(1200)) < 2 * dense


@pytest.mark.slow
def test_counting_a_few_units_stays_within_what_is_said():
    found = counted(units=96, concepts=200, images=64)
    assert found["grew"] < found["said"]


@pytest.mark.slow
def test_2048_units_and_1200_concepts_stay_within_what_is_said_and_within_a_gigabyte():
    found = counted(units=2048, concepts=1200, images=128)
    assert found["met"] > 0.1 * 2048 * 32 * 1200  # of the counts are not 0: as in a large data set
    assert found["grew"] < found["said"]
    assert found["grew"] < 10**9


@pytest.mark.slow
def test_six_times_as_many_small_images_take_hardly_more_memory():
    few, many = further_megabytes(4000, 24_000)  # buffers are full from some 4,000 on; 2 MB more were measured
    assert many < few + 7  # each image more would take .35 kB


def further_megabytes(*images):
    """What dissections of so many images take at most beyond one of 32, as the benchmark says."""
    arguments = ["-m", "benchmarks.speed.growth", "--memory", *map(str, images)]
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True, cwd=ROOT)
    return [int(megabytes) for megabytes in re.findall(r"images: (-?\d+) MB", done.stdout)]


def counted(**size):
    """What a process of its own says that counts units of random maps with random labels."""
    arguments = [str(number) for number in size.values()]
    command = [sys.executable, "-m", "tests.dissection.large", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return json.loads(done.stdout)
