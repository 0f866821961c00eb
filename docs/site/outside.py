"""Pages of the site that come from outside of docs/: the notebooks, and the project's own papers."""

import io
import re
from pathlib import Path

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter
from PIL import Image

ROOT = Path(__file__).parents[2]
PAPERS = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
THUMBNAIL = (480, 300)
log = get_plugin_logger("unitlens")
external: set[str] = set()
_EXTERNAL = re.compile(r'<a [^>]*href="(https?://[^"]+)"')
_LINK = re.compile(r"\]\((?:\.\./)*(?:demos/)?(\d_\w+)\.ipynb\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made here."""
    for name, page in PAPERS.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=re.sub(r"\]\(docs/", "](", text)))
    course = (ROOT / "demos" / "README.md").read_text(encoding="utf-8")
    cards = []
    for path in sorted((ROOT / "demos").glob("*.ipynb")):
        cards.append(_add_notebook(path, files, config))
    files.append(File.generated(config, "course/index.md", content=f"{course}\n{_gallery(cards)}"))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Let links to notebooks and papers lead to their pages of the site."""
    up = "../" * page.file.src_uri.count("/")
    for name, target in PAPERS.items():
        markdown = markdown.replace(f"](../{name})", f"]({up}{target})")
    markdown = markdown.replace("](../demos/README.md)", f"]({up}course/index.md)")
    return _LINK.sub(rf"]({up}course/\1.md)", markdown.replace("](../docs/", "](../"))


def on_page_content(html: str, page: Page, **_: object) -> None:
    """Note links to other machines, which nothing here follows."""
    external.update(_EXTERNAL.findall(html))


def on_post_build(**_: object) -> None:
    """List links to other machines, for whoever wants to try them."""
    for link in sorted(external):
        log.info("not tried: %s", link)


def _add_notebook(path: Path, files: Files, config: MkDocsConfig) -> tuple[str, str, str]:
    """Add a notebook's page, its figures and a thumbnail; return what its card shows: title, page, thumbnail."""
    notebook = nbformat.read(path, as_version=4)
    text, resources = MarkdownExporter().from_notebook_node(notebook, {"unique_key": path.stem})
    figures = {Path(name).name: data for name, data in resources["outputs"].items()}
    for name, data in figures.items():
        files.append(File.generated(config, f"course/{name}", content=data))
    thumbnail = f"course/{path.stem}_thumbnail.webp"
    files.append(File.generated(config, thumbnail, content=_thumbnail(max(figures.values(), key=len))))
    files.append(File.generated(config, f"course/{path.stem}.md", content=text))
    title = next(line for line in text.splitlines() if line.startswith("# "))
    return title.removeprefix("# "), f"{path.stem}.md", Path(thumbnail).name


def _thumbnail(figure: bytes) -> bytes:
    """Return the upper left of a figure, small."""
    image = Image.open(io.BytesIO(figure)).convert("RGB")
    width, height = THUMBNAIL
    scale = max(width / image.width, height / image.height)
    small = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    small.crop((0, 0, width, height)).save(data, "WEBP", quality=80)
    return data.getvalue()


def _gallery(cards: list[tuple[str, str, str]]) -> str:
    """Return the notebooks as a grid of thumbnails."""
    shown = "-   [![{0}]({2}){{ loading=lazy }}]({1})\n\n    [{0}]({1})"
    items = [shown.format(*card) for card in cards]
    return '<div class="grid cards" markdown>\n\n' + "\n\n".join(items) + "\n\n</div>\n"
