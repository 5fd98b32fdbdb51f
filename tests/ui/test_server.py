"""The page on a real socket, from the command to the signal that ends it."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from orchestrator.cli import main
from orchestrator.errors import WorkflowError
from orchestrator.ui import server
from orchestrator.ui.actions import Actions
from orchestrator.ui.app import Page
from orchestrator.ui.guard import Keys
from tests.conftest import ON_ASYNCIO


def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(WorkflowError, match=rf"cannot listen on port {port}: .*--port"):
            server.listen(port)
    with pytest.raises(WorkflowError, match="cannot listen on port 99999"):
        server.listen(99999)


@ON_ASYNCIO
@pytest.mark.anyio
async def test_the_server_ends_with_a_signal_although_streams_are_open(tmp_path: Path) -> None:
    journal = tmp_path / "runs.db"
    listening = server.listen(0)
    keys = Keys(listening.getsockname()[1])

    async def told() -> dict[str, Any]:
        return {}

    page = Page(journal, Actions(journal, lambda _: None), told)  # type: ignore[arg-type,return-value]
    ready, heard = anyio.Event(), anyio.Event()

    async def look() -> None:
        await ready.wait()
        async with httpx2.AsyncClient(follow_redirects=True) as client:
            answer = await client.get(keys.link)
            assert (answer.status_code, "token" in str(answer.url)) == (200, False)
            url = f"http://127.0.0.1:{keys.port}/api/events"
            async with client.stream("GET", url) as stream:
                async for _ in stream.aiter_bytes():
                    heard.set()

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(server.serve, page, keys, listening, ready.set)
            group.start_soon(look)
            await heard.wait()
            os.kill(os.getpid(), signal.SIGTERM)
    listening.close()


@pytest.mark.parametrize("is_there", [False, True])
def test_the_command_prints_the_link_and_opens_a_browser(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    is_there: bool,
) -> None:
    seen: list[Any] = []

    async def serve(page: Page, keys: Keys, listening: socket.socket, ready: Any) -> None:
        ready()
        seen.extend([page, keys])
        seen.append(await page.servers())
        assert listening.fileno() >= 0
        page.actions.ended.append("r1")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(server, "serve", serve)
    monkeypatch.setattr("webbrowser.open", seen.append)
    journal = tmp_path / "new" / "runs.db"
    if is_there:
        (tmp_path / "servers.toml").write_text("[servers.a]\ncommand = 'a'\n")
        (tmp_path / "flow.json").write_text('{"tasks": [{"id": "a", "value": 1}]}')
        assert main(["run", "-q", "flow.json", "--journal", str(journal)]) == 0
    capsys.readouterr()
    assert main(["ui", "--journal", str(journal)]) == 0
    link, page, keys = seen[0], seen[1], seen[2]
    said = capsys.readouterr().err
    assert f"the page is at {keys.link}" in said
    assert (link, keys.once in said) == (keys.link_once, False)
    assert (f"it shows the runs of {journal}, which does not exist yet" in said) is not is_there
    assert '"orchestrator retry r1" goes on with it' in said
    assert journal.exists() is is_there
    assert [each["name"] for each in seen[3]["servers"]] == (["a"] if is_there else [])
    if is_there:
        run = page.actions._make(_only_run(journal))
        assert run.journal_location == journal
    seen.clear()
    assert main(["ui", "--journal", str(journal), "--no-browser"]) == 0
    assert isinstance(seen[0], Page)


def _only_run(journal: Path) -> str:
    from orchestrator.journal.history import runs

    (run,) = runs(journal)
    return run.id


def test_a_journal_that_cannot_be_read_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = tmp_path / "file"
    journal.write_text("no database at all, and long enough to be none: " * 50)
    assert main(["ui", "--journal", str(journal), "--no-browser"]) == 2
    assert "is no journal: it is not a database" in capsys.readouterr().err
