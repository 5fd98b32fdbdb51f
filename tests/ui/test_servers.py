"""What the page tells of servers: what files say, the warm pool, runs that go on, earlier ones."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mock_servers import text as texts
from orchestrator.daemon.place import Place
from orchestrator.journal.file_store import lock_path
from orchestrator.schema.tool import Tool
from orchestrator.servers.config import Server
from orchestrator.servers.lockfile import Lockfile
from orchestrator.ui import servers as of_servers
from orchestrator.ui.servers import Configured, Servers
from tests.ui.test_page import pretend_running, ran

pytestmark = pytest.mark.anyio
FLOW = {
    "tasks": [{"id": "a", "for_each": ["x", "y"], "tool": "text:title", "arguments": {"text": "z"}}]
}
SERVER = Server(
    name="text",
    command="python",
    args=["-m", "texts"],
    max_concurrency=3,
    approve=["join*"],
    env={"KEY": "secret"},
)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


async def test_before_the_first_run_there_are_only_settings(journal: Path) -> None:
    told = await Servers(journal, lambda: Configured({"text": SERVER}))()
    assert told == {
        "servers": [
            {
                "name": "text",
                "description": "python -m texts",
                "limits": {"max_concurrency": 3},
                "settings": {"approve": ["join*"], "env": ["KEY"]},
                "locked": False,
                "warm": None,
                "in_flight": 0,
                "total": None,
                "tools": [],
            }
        ],
        "pool": None,
        "days": 7,
        "error": "",
    }


async def test_calls_of_earlier_runs_and_of_those_that_go_on_are_counted(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = (await ran(journal, FLOW, None, {"text": texts.server})).run_id
    words = {"title": "Makes a title.", "words": "Counts."}
    tools = [Tool("text", name, {}, description=about) for name, about in words.items()]
    lock = Lockfile.made_of(tools)
    servers = Servers(journal, lambda: Configured({}, lock, error="servers.toml is wrong"))
    told = await servers()
    (server,) = told["servers"]
    assert told["error"] == "servers.toml is wrong"
    assert (server["name"], server["description"], server["limits"]) == ("text", None, {})
    assert server["total"]["count"] == 2
    title, other = server["tools"]
    assert (title["tool"], title["description"]) == ("text:title", "Makes a title.")
    assert (title["total"]["count"], other["total"]) == (2, None)
    pretend_running(journal, run)
    beside = lock_path(journal, run)
    beside.parent.mkdir(exist_ok=True)
    running = [type("Run", (), {"id": run})]
    monkeypatch.setattr("orchestrator.journal.history.page", lambda *_, **__: running)
    beside.with_name(f"{run}.live").write_text('{"by_server": {"text": 5}}')
    (server,) = (await servers())["servers"]
    assert server["in_flight"] == 5


async def test_a_pool_that_is_not_there_is_none(journal: Path, runtime: Path) -> None:
    place = Place.of(runtime / "servers.toml")
    told = await Servers(journal, lambda: Configured({"text": SERVER}, place=place))()
    assert told["pool"] is None


async def test_a_pool_is_asked_how_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pool:
        @asynccontextmanager
        async def used(self) -> AsyncIterator[None]:
            yield

        async def ask(self, op: str) -> dict[str, str]:
            return {"asked": op}

    async def to(_: Place) -> Pool:
        return Pool()

    monkeypatch.setattr("orchestrator.daemon.connection.Connection.to", to)
    assert await of_servers._status(Place(Path("nowhere"), "x")) == {"asked": "status"}


async def test_what_the_pool_says_is_shown(journal: Path, monkeypatch: Any) -> None:
    async def status(_: Place) -> dict[str, Any]:
        kept = {"server": "text", "error": None, "tools": 5, "calls": 2}
        return {"servers": [kept], "up_s": 3.0, "idle_s": 9.0, "clients": 1, "pid": 7}

    monkeypatch.setattr(of_servers, "_status", status)
    place = Place(Path("nowhere"), "x")
    told = await Servers(journal, lambda: Configured({}, place=place))()
    assert told["pool"] == {"up_s": 3.0, "idle_s": 9.0, "clients": 1}
    assert told["servers"][0]["warm"]["calls"] == 2
