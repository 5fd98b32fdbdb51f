"""Who gets an answer from the page: the table of its security, row by row."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import pytest
from httpx2 import ASGITransport, AsyncClient

from orchestrator.ui.guard import MAX_BODY, Guard, Keys
from tests.ui.browser import COOKIE, HOST, KEYS

pytestmark = pytest.mark.anyio
GOOD = {"host": HOST, "cookie": COOKIE, "sec-fetch-site": "same-origin"}
JSON = {"content-type": "application/json", "content-length": "2"}


async def inner(scope: Any, _: Any, send: Any) -> None:
    """Answers what the guard lets pass, with a header that is not its own to set."""
    assert scope["type"] == "http"
    headers = [(b"content-type", b"text/plain"), (b"cache-control", b"public")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


async def ask(headers: dict[str, Any], method: str = "GET", path: str = "/") -> Any:
    transport = ASGITransport(app=Guard(inner, KEYS))
    async with AsyncClient(transport=transport, base_url=f"http://{HOST}") as client:
        body = b"{}" if method == "POST" else None
        return await client.request(method, path, headers=headers, content=body)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost:4711"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"origin": f"http://{HOST}"}, 200),
        ({"cookie": f"other=1; {COOKIE}"}, 200),
        # DNS rebinding: another name that leads to this machine, or no port.
        ({"host": "evil.example:4711"}, 403),
        ({"host": "127.0.0.1"}, 403),
        ({"host": "127.0.0.1:4712"}, 403),
        ({"host": "127.0.0.1:4711.evil.example"}, 403),
        ({"host": "[::1]:4711"}, 403),
        ({"host": ""}, 403),
        # Another page asks.
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:4712"}, 403),
        ({"origin": "https://127.0.0.1:4711"}, 403),
        ({"origin": "http://localhost:4711"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        # A page on another port of this machine, which sends the cookie.
        ({"sec-fetch-site": "same-site"}, 403),
        # No cookie, that of another port, or a wrong one.
        ({"cookie": ""}, 401),
        ({"cookie": "orchestrator-4712=the-session"}, 401),
        ({"cookie": "orchestrator-4711=the-token"}, 401),
        ({"cookie": "orchestrator-4711=the-session-"}, 401),
        ({"cookie": b"orchestrator-4711=\xe4"}, 401),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_only_the_page_itself_gets_an_answer(
    method: str, headers: dict[str, Any], status: int
) -> None:
    more = JSON if method == "POST" else {}
    response = await ask({**GOOD, **more, **headers}, method)
    assert response.status_code == status
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert response.headers["cross-origin-resource-policy"] == "same-origin"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers.get_list("cache-control") == ["no-store"]
    assert ("access-control-allow-origin" in response.headers) is False


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("HEAD", {}, 200),
        ("PUT", {}, 405),
        ("OPTIONS", {"origin": f"http://{HOST}"}, 405),
        ("POST", {"content-type": "text/plain"}, 415),
        ("POST", {"content-type": "application/x-www-form-urlencoded"}, 415),
        ("POST", {**JSON, "content-length": str(MAX_BODY + 1)}, 413),
        ("POST", {**JSON, "content-length": "all"}, 413),
    ],
)
async def test_what_writes_is_json_of_a_known_length(
    method: str, headers: dict[str, Any], status: int
) -> None:
    assert (await ask({**GOOD, **headers}, method)).status_code == status


async def test_the_printed_link_becomes_a_cookie_and_leaves_the_address() -> None:
    assert KEYS.link == f"http://{HOST}/?token=the-token"
    response = await ask({"host": HOST}, path="/?a=1&token=the-token")
    assert (response.status_code, response.headers["location"]) == (303, "/?a=1#key=the-key")
    cookie = response.headers["set-cookie"]
    assert cookie == f"{COOKIE}; Path=/; HttpOnly; SameSite=Strict"
    assert "the-token" not in cookie
    assert (await answered("//evil.example/", b"token=the-token"))[
        "location"
    ] == "/evil.example/#key=the-key"
    for wrong in ("/?token=", "/?token=x", "/?token=the-token&token=the-token", "/?token=%FF"):
        assert (await ask({"host": HOST}, path=wrong)).status_code == 401
    foreign = {"host": HOST, "sec-fetch-site": "cross-site"}
    assert (await ask(foreign, path="/?token=the-token")).status_code == 403
    posted = {"host": HOST, **JSON}
    assert (await ask(posted, "POST", "/?token=the-token")).status_code == 401


async def test_the_link_that_the_command_opens_is_good_once() -> None:
    guard = Guard(inner, KEYS)
    async with AsyncClient(transport=ASGITransport(guard), base_url=f"http://{HOST}") as client:
        asked = [KEYS.link, KEYS.link_once, KEYS.link_once, KEYS.link]
        statuses = [(await client.get(link)).status_code for link in asked]
        client.cookies.clear()
        assert (await client.get(KEYS.link_once)).status_code == 401
    assert statuses[0] == statuses[1] == statuses[3] == 303


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        ({"x-orchestrator-key": "the-key"}, "", 200),
        ({}, "?key=the-key", 200),
        # Whoever has the cookie, as a server on another port that the same browser has opened.
        ({}, "", 401),
        ({}, "?key=", 401),
        ({}, "?key=the-session", 401),
        ({}, "?key=the-key&key=the-key", 401),
        ({"x-orchestrator-key": "the-token"}, "?key=the-key", 401),
        ({"x-orchestrator-key": b"\xe4"}, "", 401),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_cookie_alone_opens_no_run(
    method: str, headers: dict[str, Any], query: str, status: int
) -> None:
    more = JSON if method == "POST" else {}
    response = await ask({**GOOD, **more, **headers}, method, f"/api/runs{query}")
    assert response.status_code == status


async def answered(path: str, query: bytes, *hosts: str) -> dict[str, Any]:
    """The status and the headers of an answer to what no library would send."""
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    headers = [(b"host", host.encode()) for host in hosts or (HOST,)]
    scope = {"type": "http", "method": "GET", "path": path, "query_string": query}
    await Guard(inner, KEYS)(scope | {"headers": headers}, no_body, send)
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return found | {"status": sent[0]["status"]}


async def no_body() -> MutableMapping[str, Any]:
    raise AssertionError("nothing is read")


async def test_two_hosts_are_refused_and_so_is_a_websocket() -> None:
    assert (await answered("/", b"token=the-token", HOST, "evil.example"))["status"] == 403
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await Guard(inner, KEYS)({"type": "websocket", "headers": []}, no_body, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_the_life_of_the_server_is_not_guarded() -> None:
    seen: list[str] = []

    async def app(scope: Any, _: Any, __: Any) -> None:
        seen.append(scope["type"])

    async def send(_: MutableMapping[str, Any]) -> None:
        raise AssertionError("nothing is sent")

    await Guard(app, KEYS)({"type": "lifespan"}, no_body, send)
    assert seen == ["lifespan"]


def test_keys_are_new_each_time_and_are_not_shown() -> None:
    one, two = Keys(1), Keys(1)
    parts = [(keys.token, keys.session, keys.key, keys.once) for keys in (one, two)]
    assert len({*parts[0], *parts[1]}) == 8
    assert len(one.token) >= 40
    assert not any(part in repr(one) for part in parts[0])
