"""Who may talk to the page: whoever bears the token, from the page itself, in bounded amounts."""

import json

import pytest

pytest.importorskip("starlette", reason="starlette is not installed (extra app)")

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from unitlens.app import guard
from unitlens.app.guard import HEADERS, Guard

PORT, TOKEN = 4242, "a-long-word"


@pytest.fixture
def client():
    async def echo(request):
        return JSONResponse({"path": request.url.path, "bytes": len(await request.body())})

    inner = Starlette(routes=[Route("/{rest:path}", echo, methods=["GET", "POST"])])
    return TestClient(Guard(inner, token=TOKEN, port=PORT), base_url=f"http://127.0.0.1:{PORT}")


def test_a_request_with_the_token_is_let_through_without_it(client):
    answer = client.get(f"/{TOKEN}/api/run")
    assert answer.json() == {"path": "/api/run", "bytes": 0}
    assert client.post(f"/{TOKEN}/", content=b"123").json() == {"path": "/", "bytes": 3}


@pytest.mark.parametrize(
    "path", ["/", "/api/run", f"/{TOKEN}", f"/{TOKEN}x/api/run", f"/{TOKEN.upper()}/", f"/x/{TOKEN}/", f"//{TOKEN}/"]
)
def test_a_request_without_the_token_is_refused(client, path):
    answer = client.get(path)
    assert answer.status_code == 403
    assert "unitlens open" in answer.json()["error"]


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": f"evil.example:{PORT}"},
        {"host": "127.0.0.1:1"},
        {"host": ""},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": f"https://127.0.0.1:{PORT}"},
        {"origin": "http://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
    ids=lambda headers: " ".join(map(":".join, headers.items())),
)
def test_a_request_from_elsewhere_is_refused_even_with_the_token(client, headers):
    answer = client.post(f"/{TOKEN}/api/draw", headers=headers)
    assert answer.status_code == 403
    assert answer.json()["error"].endswith(".")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_page_itself_is_let_through(client, host):
    own = {"host": f"{host}:{PORT}", "origin": f"http://{host}:{PORT}", "sec-fetch-site": "same-origin"}
    assert client.post(f"/{TOKEN}/api/draw", headers=own).status_code == 200


def test_what_is_too_large_is_refused_also_where_its_length_is_not_said(client, monkeypatch):
    monkeypatch.setattr(guard, "MOST_BYTES", 1000)
    for content in (b"x" * 1001, iter([b"x" * 600, b"x" * 600])):
        answer = client.post(f"/{TOKEN}/api/draw", content=content)
        assert answer.status_code == 413
    assert client.post(f"/{TOKEN}/api/draw", content=iter([b"x" * 600, b"x" * 400])).json()["bytes"] == 1000


@pytest.mark.parametrize("path", [f"/{TOKEN}/api/run", "/"])
def test_every_answer_says_what_the_page_may_load(client, path):
    headers = client.get(path).headers
    assert {name: headers[name] for name in HEADERS} == HEADERS
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


def test_errors_are_json(client):
    assert json.loads(client.get("/").content)["error"]
