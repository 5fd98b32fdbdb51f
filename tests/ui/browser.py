"""What a browser would ask the page, without a socket."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, MutableMapping
from contextlib import aclosing, asynccontextmanager
from typing import Any

import anyio
from anyio.abc import ObjectReceiveStream
from httpx2 import ASGITransport, AsyncClient, Response

from orchestrator import Orchestrator
from orchestrator.journal.location import Location
from orchestrator.ui.actions import Actions
from orchestrator.ui.app import Page, app_of
from orchestrator.ui.guard import Guard, Keys

KEYS = Keys(4711, "the-token", "the-session", "the-key", "the-once")
HOST = "127.0.0.1:4711"
Sent = ObjectReceiveStream[MutableMapping[str, Any]]
COOKIE = "orchestrator-4711=the-session"


class Browser:
    """Asks the application as the page does."""

    def __init__(self, app: Guard, page: Page) -> None:
        self.app, self.page = app, page
        headers = {
            "cookie": COOKIE,
            "sec-fetch-site": "same-origin",
            "x-orchestrator-key": KEYS.key,
        }
        self.client = AsyncClient(
            transport=ASGITransport(app=app), base_url=f"http://{HOST}", headers=headers
        )

    async def get(self, path: str, status: int = 200, /, **query: Any) -> Any:
        response = await self.client.get(f"/api/{path}", params=query or None)
        assert response.status_code == status, response.text
        return response.json()

    async def post(self, path: str, body: Any = None, status: int = 200) -> Any:
        response = await self.client.post(f"/api/{path}", json={} if body is None else body)
        assert response.status_code == status, response.text
        return response.json()

    async def ended(self, run: str, status: str = "success") -> dict[str, Any]:
        """The run when it has this status."""
        with anyio.fail_after(30):
            while True:
                found = await self.get(f"runs/{run}")
                if found["run"]["status"] == status and run not in self.page.actions.carried:
                    return dict(found)
                await anyio.sleep(0.01)

    @asynccontextmanager
    async def stream(
        self, path: str, last: str = ""
    ) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """The events of a stream, each with its id."""
        path, _, query = path.partition("?")
        query = f"{query}&key={KEYS.key}"
        headers = [(b"host", HOST.encode()), (b"cookie", COOKIE.encode())]
        headers += [(b"last-event-id", last.encode())] if last else []
        scope: MutableMapping[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "path": f"/api/{path}",
            "raw_path": f"/api/{path}".encode(),
            "query_string": query.encode(),
            "headers": headers,
            "root_path": "",
            "scheme": "http",
            "server": ("127.0.0.1", 4711),
        }
        send, receive = anyio.create_memory_object_stream[MutableMapping[str, Any]](1000)
        with anyio.fail_after(30):
            async with anyio.create_task_group() as group, send, receive:
                group.start_soon(self.app, scope, _until_left, send.send)
                async with aclosing(_events(receive)) as events:
                    yield events
                group.cancel_scope.cancel()


async def _until_left() -> MutableMapping[str, Any]:
    await anyio.sleep_forever()
    return {}


async def _events(
    sent: ObjectReceiveStream[MutableMapping[str, Any]],
) -> AsyncGenerator[dict[str, Any]]:
    async for message in sent:
        for block in message.get("body", b"").decode().split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
            if "data" in lines:
                yield {"id": lines["id"], **json.loads(lines["data"])}
        if message["type"].endswith("body") and not message.get("more_body"):
            return


@asynccontextmanager
async def opened(journal: Location, servers: Any = None) -> AsyncIterator[Browser]:
    """A browser in front of the page of a journal."""

    def make(_: str) -> Orchestrator:
        return Orchestrator(servers or {}, journal=journal)

    async def told() -> dict[str, Any]:
        return {"servers": []}

    page = Page(journal, Actions(journal, make), told)
    browser = Browser(app_of(page, KEYS), page)
    async with page.actions.open(), browser.client:
        yield browser


__all__ = ["COOKIE", "HOST", "KEYS", "Browser", "Response", "opened"]
