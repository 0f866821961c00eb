"""Serve a page to this machine's browser, until it is stopped."""

import secrets
import socket
from collections.abc import Callable

import uvicorn

from unitlens.app.site import Page, site
from unitlens.errors import UnitlensError, argument

HOST = "127.0.0.1"

AT_ONCE = 64
"""Requests; further ones are told to come back."""


class _Server(uvicorn.Server):
    """A server that says when it is there."""

    def __init__(self, config: uvicorn.Config, there: Callable[[], None]) -> None:
        super().__init__(config)
        self._there = there

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if not self.should_exit:
            self._there()


def serve(page: Page, *, port: int | None = None, there: Callable[[str], None]) -> None:
    """Serve a page until Ctrl-C.

    Parameters
    ----------
    page : Page
    port : int, optional
        A free one, unless given.
    there : callable
        Called with the page's address, once it can be opened.

    Raises
    ------
    UnitlensError
        If the port is taken.
    """
    listening = _listen(port)
    token, port = secrets.token_urlsafe(24), listening.getsockname()[1]
    config = uvicorn.Config(
        site(page, token=token, port=port),
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="none",
        http="h11",
        loop="asyncio",
        limit_concurrency=AT_ONCE,
        timeout_graceful_shutdown=1,
        server_header=False,
    )
    with listening:
        _Server(config, lambda: there(f"http://{HOST}:{port}/{token}/")).run(sockets=[listening])


def _listen(port: int | None) -> socket.socket:
    # with the protocol named, asyncio sends what is there at once; else an answer waits 40 ms for an acknowledgement
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port or 0))
    except OSError as error:
        listening.close()
        raise UnitlensError(
            f"Port {port} cannot be used ({error.strerror}): give another {argument('port')}, or none for a free one."
        ) from None
    return listening
