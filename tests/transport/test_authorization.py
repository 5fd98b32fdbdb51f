"""Tokens go to one origin, and a refused request is sent again so often."""

from __future__ import annotations

from typing import AnyStr

import httpx2
import pytest

from orchestrator.transport.authorization import AuthorizedTransport, NotAuthorizedError

pytestmark = pytest.mark.anyio
URL = "https://it.example/mcp"


class Tokens:
    """Has as many tokens as are asked for, up to a number."""

    def __init__(self, most: int = 9) -> None:
        self.count, self.most = 0, most
        self.refusals: list[httpx2.Response] = []

    async def token(self) -> str | None:
        return f"t{self.count}" if self.count else None

    async def renewed(self, sent: str | None, refusal: httpx2.Response) -> str:
        assert sent == await self.token()
        self.refusals.append(refusal)
        if self.count == self.most:
            raise NotAuthorizedError("no more")
        self.count += 1
        return f"t{self.count}"

    def hide(self, said: AnyStr) -> AnyStr:
        return said


class Wire(httpx2.AsyncBaseTransport):
    """Answers with what it is given, in order, and notes what came."""

    def __init__(self, *answers: httpx2.Response) -> None:
        self.answers = list(answers)
        self.sent: list[tuple[str | None, bytes]] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.sent.append((request.headers.get("authorization"), await request.aread()))
        return self.answers.pop(0)


def refusal(status: int = 401, body: bytes = b"no") -> httpx2.Response:
    headers = {"www-authenticate": 'Bearer error="insufficient_scope"'}
    return httpx2.Response(status, headers=headers, content=body)


async def sent(wire: Wire, tokens: Tokens, url: str = URL) -> httpx2.Response:
    request = httpx2.Request("POST", url, content=b"hello")
    try:
        return await AuthorizedTransport(wire, URL, tokens).handle_async_request(request)
    finally:
        assert "authorization" not in request.headers  # which others may see


async def test_a_refused_request_is_sent_again_whole() -> None:
    wire = Wire(refusal(), refusal(403), httpx2.Response(200))
    assert (await sent(wire, Tokens())).status_code == 200
    assert wire.sent == [(None, b"hello"), ("Bearer t1", b"hello"), ("Bearer t2", b"hello")]


async def test_a_server_that_refuses_every_token_is_not_asked_for_ever() -> None:
    wire = Wire(*(refusal() for _ in range(9)))
    assert (await sent(wire, Tokens())).status_code == 401
    assert len(wire.sent) == 3


async def test_what_the_server_said_is_kept_up_to_a_limit() -> None:
    tokens = Tokens(most=0)
    with pytest.raises(NotAuthorizedError) as caught:
        await sent(Wire(refusal(body=b"x" * 1_000_000)), tokens)
    assert caught.value.refusal is tokens.refusals[0]
    assert 100_000 < len(caught.value.refusal.content) <= 1_000_000


@pytest.mark.parametrize(
    "url",
    [
        "http://it.example/mcp",
        "https://it.example:8443/mcp",
        "https://it.example.org/mcp",
        "https://sub.it.example/mcp",
    ],
)
async def test_no_other_origin_gets_a_token(url: str) -> None:
    tokens, wire = Tokens(), Wire(refusal())
    tokens.count = 1
    assert (await sent(wire, tokens, url)).status_code == 401
    assert wire.sent == [(None, b"hello")]


async def test_a_403_of_another_kind_asks_for_nothing() -> None:
    wire = Wire(httpx2.Response(403))
    assert (await sent(wire, Tokens())).status_code == 403
    assert len(wire.sent) == 1
