"""Who may talk to the page: whoever knows its address, from this machine's browser, and in bounded amounts."""

import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.exceptions import HTTPException

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_BYTES = 40 * 1024 * 1024
"""Of what a request sends: a large photo."""

POLICY = (
    "default-src 'none'; img-src 'self' data: blob:; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What the page may load: its own files and images, and nothing else from anywhere."""

HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Sent with every answer."""


class Guard:
    """Let those requests through that bear the token, come from the page itself, and are not too large.

    Parameters
    ----------
    inner : ASGI application
        It sees paths without the token.
    token : str
        The first part of every path.
    port : int
        At which the page is served.
    """

    def __init__(self, inner: Application, *, token: str, port: int) -> None:
        self._inner, self._token = inner, token
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _refuse(send, 403, refusal)
            return
        if _length(headers) > MOST_BYTES:
            await _refuse(send, 413, _too_large())
            return
        inner = dict(scope)
        inner["path"] = "/" + scope["path"].partition("/")[2].partition("/")[2]
        inner["raw_path"] = inner["path"].encode()

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = [(name, value) for name, value in message["headers"] if name.decode().lower() not in HEADERS]
                message = {**message, "headers": [*given, *((k.encode(), v.encode()) for k, v in HEADERS.items())]}
            await send(message)

        await self._inner(inner, _bounded(receive), answer)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> str | None:
        """Why a request is not let through, if it is not."""
        if headers.get("host", "").lower() not in self._hosts:
            return "This page is served to this machine alone: open the address that `unitlens open` printed."
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in {f"http://{host}" for host in self._hosts}:
            return "Requests from other pages are refused."
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return "Requests from other pages are refused."
        given = scope["path"].split("/")[1] if scope["path"].count("/") > 1 else ""
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            return "The address is not complete: open the one that `unitlens open` printed, with its long word."
        return None


def _length(headers: dict[str, str]) -> int:
    length = headers.get("content-length", "0")
    return int(length) if length.isascii() and length.isdecimal() and len(length) < 16 else MOST_BYTES + 1


def _too_large() -> str:
    return f"The request is larger than {MOST_BYTES // 1024 // 1024} MB."


def _bounded(receive: Receive) -> Receive:
    """Count what is received, also where its length was not said before."""
    total = 0

    async def next_message() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > MOST_BYTES:
            raise HTTPException(413, _too_large())
        return message

    return next_message


async def _refuse(send: Send, status: int, sentence: str) -> None:
    body = json.dumps({"error": sentence}).encode()
    fields = {"content-type": "application/json", "content-length": str(len(body)), **HEADERS}
    headers = [(name.encode(), value.encode()) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
