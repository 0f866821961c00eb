"""The page and its files, and what it asks for, as one application."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from unitlens.app.answers import refused
from unitlens.app.guard import Application, Guard
from unitlens.errors import UnitlensError
from unitlens.pages.document import TEMPLATES

STATIC = Path(__file__).parent / "static"
"""Folder of the pages, their styles and scripts."""

TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}

SHARED = {name: TEMPLATES / name for name in ("base.css", "first.js", "theme.js")}
"""What the page has in common with reports."""


class Page(Protocol):
    """A page, and what it can ask for."""

    @property
    def files(self) -> Sequence[str]:
        """Names of its files in `STATIC`, the HTML first."""
        ...

    @property
    def routes(self) -> Sequence[BaseRoute]:
        """What it asks for, below ``/api/``."""
        ...


def site(page: Page, *, token: str, port: int) -> Application:
    """Put a page together with its guard.

    Parameters
    ----------
    page : Page
    token : str
        Which every address has to begin with.
    port : int
        At which it is served.

    Returns
    -------
    ASGI application
    """
    first, *others = page.files
    paths = {name: STATIC / name for name in (*others, "page.css", "page.js")}
    files = {"": STATIC / first, **paths, **SHARED}
    routes = [_file(name, path) for name, path in files.items()]
    application = Starlette(routes=[*routes, *page.routes], exception_handlers=_ANSWERS)
    return Guard(application, token=token, port=port)


def _file(name: str, path: Path) -> Route:
    content, kind = path.read_bytes(), TYPES[path.suffix]

    async def send(request: Request) -> Response:
        return Response(content, media_type=kind)

    return Route(f"/{name}", send)


async def _refuse(request: Request, error: Exception) -> Response:
    return refused(str(error))


async def _refuse_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return refused(_SENTENCES.get(error.status_code, error.detail), error.status_code)


async def _failed(request: Request, error: Exception) -> Response:
    return refused("Something went wrong that should not have; the terminal shows what.", 500)


_SENTENCES = {404: "There is nothing at this address.", 405: "This address is asked in another way."}

_ANSWERS: Mapping[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
    UnitlensError: _refuse,
    HTTPException: _refuse_http,
    Exception: _failed,
}
