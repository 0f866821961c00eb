"""Requests as frozen values, and answers to them: at once, or with progress, from threads in which networks run."""

import asyncio
import io
import json
import math
import sys
import traceback
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from anyio import to_thread
from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from unitlens.app.turns import Superseded, Task, Turns
from unitlens.dissection.result import Dissection
from unitlens.errors import UnitlensError, is_number, printable
from unitlens.pages.formats import image_kind
from unitlens.records import read_record

Record = TypeVar("Record")

MOST_JSON = 4 * 1024 * 1024
"""Bytes of a request in JSON."""

Progress = Callable[[float], None]
"""Called with the share that is done."""

_FAILED = "Something went wrong that should not have; the terminal shows what."


async def asked(request: Request, kind: type[Record]) -> Record:
    """Read a request in JSON.

    Raises
    ------
    UnitlensError
        If it is not what is asked for.
    """
    body = await request.body()
    if len(body) > MOST_JSON:
        raise UnitlensError(f"The request has {len(body):,} bytes; {MOST_JSON:,} are the most.")
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise UnitlensError("The request is no JSON.") from None
    return read_record(kind, content, what="The request")


async def answer(turns: Turns, work: Callable[[Task], Any]) -> Response:
    """Answer at once with what a function returns, which runs in a thread.

    Parameters
    ----------
    turns : Turns
    work : callable
        It makes passes in turns of the task that it is given. What it returns becomes JSON; a `Response` stays one.
    """
    try:
        result = await run_in_threadpool(work, Task(turns))
    except UnitlensError as error:
        return refused(str(error))
    return result if isinstance(result, Response) else JSONResponse(plain(result))


def refused(sentence: str, status: int = 400) -> Response:
    """An error as an answer."""
    return JSONResponse({"error": printable(sentence)}, status_code=status)


def answer_with_progress(turns: Turns, work: Callable[[Task, Progress], Any]) -> Response:
    """Answer in lines of JSON: how far it is, and at the end what a function returns, which runs in a thread.

    The function is stopped, at its next turn, when nobody waits for the answer any more.
    """
    return StreamingResponse(_lines(turns, work), media_type="application/x-ndjson")


async def _lines(turns: Turns, work: Callable[[Task, Progress], Any]) -> AsyncIterator[bytes]:
    task, loop = Task(turns, long=True), asyncio.get_running_loop()
    lines: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def tell(line: dict[str, Any]) -> None:
        loop.call_soon_threadsafe(lines.put_nowait, line)

    def run() -> None:
        try:
            tell({"result": plain(work(task, lambda share: tell({"progress": round(share, 4)})))})
        except UnitlensError as error:
            tell({"error": printable(str(error))})
        except Superseded:
            pass
        except Exception:
            traceback.print_exc(file=sys.stderr)
            tell({"error": _FAILED})

    working = asyncio.ensure_future(to_thread.run_sync(run, limiter=turns.long_tasks))
    try:
        last = False
        while not last:
            line = await lines.get()
            last = "progress" not in line
            yield (json.dumps(line, allow_nan=False) + "\n").encode()
    finally:
        task.stop()
        working.add_done_callback(lambda done: done.cancelled() or done.exception())


def exemplars(dissection: Dissection, request: Request) -> Response:
    """The exemplars of the unit that a request names, ``?layer=layer4&unit=17``, as an image.

    Raises
    ------
    UnitlensError
        If there is no such unit, or no exemplars.
    """
    layer, unit = request.query_params.get("layer", ""), request.query_params.get("unit", "")
    if not is_number(unit):
        raise UnitlensError("A unit is named by its number, as in ?layer=layer4&unit=17.")
    strip = dissection[layer].strip(int(unit))
    if strip is None:
        raise UnitlensError("The run has no exemplar images of this unit.")
    return Response(strip, media_type=f"image/{image_kind(strip)}")


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """An image, (height, width, 3), as a file that takes little time to write."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def plain(value: Any) -> Any:
    """A value as JSON takes it: arrays as lists, numbers that are not finite as null."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return printable(value) if isinstance(value, str) else value
