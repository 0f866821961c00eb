"""What is installed: the lowest versions that are named are those that are tested."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def versions(lines, between):
    """Version by package, of lines such as torch>=2.6 or torch==2.6.0; trailing zeros do not count."""
    pairs = (re.fullmatch(rf"([\w-]+){between}([\d.]+)", line.strip()) for line in lines)
    return {pair[1]: re.sub(r"(\.0)+$", "", pair[2]) for pair in pairs if pair}


def test_the_lowest_versions_that_are_named_are_tested():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    tested = (ROOT / "tests" / "oldest.txt").read_text().splitlines()
    lowest = versions(project["dependencies"], ">=")
    assert len(lowest) == len(project["dependencies"])
    assert lowest.items() <= versions(tested, "==").items()  # what these bring in turn may be pinned beside them
