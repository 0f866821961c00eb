"""The documentation as a site: complete, built without a warning, and with no request to another machine."""

import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

import unitlens as ul

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def pages_of(nav):
    """Paths in a navigation, at whatever depth."""
    if isinstance(nav, str):
        return [nav]
    inside = nav.values() if isinstance(nav, dict) else nav
    return [page for one in inside for page in pages_of(one)]


@pytest.fixture(scope="module")
def navigation():
    return pages_of(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])


def test_every_page_stands_in_the_navigation_once(navigation):
    written = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    lessons = {f"course/{path.stem}.md" for path in (ROOT / "demos").glob("*.ipynb")}
    made = {"course/index.md", "contributing.md", "changelog.md"}
    assert Counter(navigation) == Counter(written | lessons | made), "a page of docs/ goes into `nav` of mkdocs.yml"


def test_the_readme_links_to_every_guide():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [path.name for path in DOCS.glob("*.md") if f"](docs/{path.name})" not in readme]
    assert not missing, "README.md links to every page of docs/"


def test_the_course_links_to_every_notebook():
    course = (ROOT / "demos" / "README.md").read_text(encoding="utf-8")
    assert not [path.name for path in (ROOT / "demos").glob("*.ipynb") if f"]({path.name})" not in course]


def test_every_name_of_the_face_stands_in_the_reference_once():
    reference = "\n".join(path.read_text(encoding="utf-8") for path in (DOCS / "reference").glob("*.md"))
    named = Counter(re.findall(r"^::: unitlens\.(\w+)$", reference, re.MULTILINE))
    assert named == Counter(ul.__all__), "a name of the face goes into a page of docs/reference/"


class Requests(HTMLParser):
    """What a browser would fetch for a page of its own accord."""

    def __init__(self):
        super().__init__()
        self.fetched = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.fetched += [given[name] for name in ("src", "srcset", "poster", "data") if given.get(name)]
        if tag == "link" and given.get("rel") not in ("canonical", "prev", "next"):
            self.fetched.append(given["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("material", reason="mkdocs-material builds the site (pip install -e '.[docs]')")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return folder


@pytest.mark.slow
def test_site_is_built_without_warnings_and_asks_nothing_of_other_machines(site, navigation):
    assert {f"{page[:-3]}.html" for page in navigation} <= {
        path.relative_to(site).as_posix() for path in site.rglob("*")
    }
    for path in site.rglob("*.html"):
        requests = Requests()
        requests.feed(path.read_text(encoding="utf-8"))
        assert not [one for one in requests.fetched if "//" in one.removeprefix("data:")[:9]], path.name
    for path in site.rglob("*.css"):
        assert not re.findall(r"url\(['\"]?(?:https?:)?//", path.read_text(encoding="utf-8")), path.name


@pytest.mark.slow
def test_the_reference_shows_signatures_parameters_and_commands(site):
    dissection = (site / "reference" / "dissection.html").read_text(encoding="utf-8")
    commands = (site / "reference" / "cli.html").read_text(encoding="utf-8")
    assert 'id="unitlens.dissect"' in dissection
    assert "Share of all positions that may lie above" in dissection
    assert "unitlens dissect" in commands
    assert "--min-iou" in commands
    assert "UNSET" not in commands
