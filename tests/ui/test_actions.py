"""What the page does to runs: as the commands do it, and what was wrong is said."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from mock_servers import text as texts
from orchestrator import JournalError, Orchestrator
from orchestrator.documents.file_lock import FileLock
from orchestrator.journal import history
from orchestrator.journal.file_store import asked_path, lock_path
from orchestrator.journal.location import Address
from orchestrator.ui.actions import Actions
from tests.ui.browser import opened
from tests.ui.test_page import pretend_running, ran

pytestmark = pytest.mark.anyio
ASK = {"message": "?", "schema": {"type": "string", "minLength": 2}}
FLOW: dict[str, Any] = {
    "name": "flow",
    "inputs": {"x": {"type": "integer", "default": 1}},
    "tasks": [
        {"id": "a", "value": "$INPUT.x"},
        {"id": "b", "ask": ASK},
        {"id": "c", "value": ["$OUTPUT[a]", "$OUTPUT[b]"]},
    ],
}
TEXT = {"text": texts.server}
CALL = {"tool": "text:title", "arguments": {"text": "a"}}
SLOW: dict[str, Any] = {
    "tasks": [{"id": "b", "ask": ASK}, {"id": "c", **CALL, "depends_on": ["b"], "delay_s": 90}]
}


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


async def test_a_question_is_answered_and_the_run_goes_on_here(journal: Path) -> None:
    run = (await ran(journal, FLOW, None)).run_id
    async with opened(journal) as browser:
        for wrong in ({"value": "x"}, {"value": 7}, {}):
            answered = await browser.post(f"runs/{run}/answer", {"task": "b", **wrong}, 409)
            assert answered["error"]
        error = await browser.post(f"runs/{run}/answer", {"task": "a", "value": "xy"}, 409)
        assert '"a"' in error["error"]
        done = await browser.post(f"runs/{run}/answer", {"task": "b", "value": "xy"})
        assert done == {"run": run, "status": "paused", "left": 0, "by_worker": False}
        again = await browser.post(f"runs/{run}/answer", {"task": "b", "value": "yx"}, 409)
        assert "answered already" in again["error"]
        assert await browser.post(f"runs/{run}/resume") == {"run": run, "status": "running"}
        await browser.ended(run)
        value = await browser.get(f"runs/{run}/value", of="output")
        assert [each["v"] for each in dict(value["e"])["c"]["e"]] == ["1", "xy"]
        error = await browser.post(f"runs/{run}/answer", {"task": "b", "value": "xy"}, 409)
        assert "has ended" in error["error"]
        error = await browser.post(f"runs/{run}/resume", None, 409)
        assert "has ended with status success" in error["error"]


async def test_an_item_is_refused_and_all_the_others_with_it(journal: Path) -> None:
    flow = {"tasks": [{"id": "a", "for_each": [1, 2], **CALL, "approve": True}]}
    run = (await ran(journal, flow, None, TEXT)).run_id
    async with opened(journal, TEXT) as browser:
        body = {"task": "a", "item": 1, "all_items": True, "refuse": True}
        assert (await browser.post(f"runs/{run}/answer", body))["left"] == 0
        await browser.post(f"runs/{run}/resume", {"unknown": "fail"})
        found = await browser.ended(run, "failed")
        assert found["states"]["a"]["items"] == {"error": 2}


async def test_a_run_that_waits_is_cancelled_here_and_another_is_asked_to_end(
    journal: Path,
) -> None:
    run = (await ran(journal, FLOW, None)).run_id
    async with opened(journal) as browser:
        done = await browser.post(f"runs/{run}/cancel")
        assert done == {"run": run, "status": "cancelled"}
        error = await browser.post(f"runs/{run}/cancel", None, 409)
        assert "has ended with status cancelled" in error["error"]
        pretend_running(journal, run)
        lock_path(journal, run).parent.mkdir(exist_ok=True)
        held = FileLock(lock_path(journal, run))
        assert held.acquire(wait=False)
        assert (await browser.post(f"runs/{run}/cancel"))["status"] == "cancelling"
        assert asked_path(journal, run).exists()
        error = await browser.post(f"runs/{run}/resume", None, 409)
        assert "carried by another process" in error["error"]
        held.release()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_after_an_answer_a_worker_goes_on_with_a_run_that_was_submitted(
    database: Address,
) -> None:
    flow = {"name": "w", "tasks": [{"id": "q", "ask": {"message": "?"}}]}
    async with Orchestrator({}, journal=database) as engine:
        run = await engine.queue(flow)
        async with engine.resume(run) as carried:
            await carried.execute()
    async with opened(database) as browser:
        report = await browser.client.get(f"/api/runs/{run}/report")
        assert "Then a worker goes on with it." in report.text
        done = await browser.post(f"runs/{run}/answer", {"task": "q", "value": True})
        assert (done["status"], done["left"], done["by_worker"]) == ("paused", 0, True)


async def test_a_retry_and_a_fork_are_new_runs_that_reuse(journal: Path) -> None:
    run = (await ran(journal, FLOW, "xy")).run_id
    async with opened(journal) as browser:
        retried = (await browser.post(f"runs/{run}/retry", {"again": ["b"]}))["run"]
        found = await browser.ended(retried, "paused")
        assert (found["run"]["kind"], found["run"]["origin"]) == ("retry", run)
        assert found["states"].keys() == {"a"}
        await browser.ended((await browser.post(f"runs/{run}/retry"))["run"])
        forked = (await browser.post(f"runs/{run}/fork", {"inputs": {"x": 5}}))["run"]
        await browser.ended(forked)
        value = await browser.get(f"runs/{forked}/value", of="output")
        assert [each["v"] for each in dict(value["e"])["c"]["e"]] == ["5", "xy"]
        for body in ({"inputs": {"x": "five"}}, {"inputs": {"z": 1}}):
            error = await browser.post(f"runs/{run}/fork", body, 409)
            assert "input" in error["error"]
        error = await browser.post(f"runs/{run}/retry", {"again": ["nope"]}, 409)
        assert 'unknown task "nope"' in error["error"]


async def test_a_request_that_is_wrong_does_nothing(journal: Path) -> None:
    run = (await ran(journal, FLOW, None)).run_id
    async with opened(journal) as browser:
        for action, body, status in (
            ("cancel", [1], 400),
            ("cancel", {"run": "x"}, 400),
            ("fork", {}, 400),
            ("answer", {"value": 1}, 400),
            ("delete", {}, 404),
            ("resume", {"unknown": "maybe"}, 409),
            ("fork", {"inputs": "x"}, 400),
        ):
            assert (await browser.post(f"runs/{run}/{action}", body, status))["error"]
        headers = {"content-type": "application/json"}
        for text in ("{", "[" * 100_000):
            where = f"/api/runs/{run}/cancel"
            broken = await browser.client.post(where, content=text, headers=headers)
            assert broken.status_code == 400
        assert (await browser.client.get(f"/api/runs/{run}/cancel")).status_code == 405
        await browser.post("runs/nope/cancel", None, 409)
    assert history.find(journal, run).status == "paused"


async def test_with_the_page_what_it_carries_is_cancelled(journal: Path) -> None:
    run = (await ran(journal, SLOW, None, TEXT)).run_id
    async with opened(journal, TEXT) as browser:
        await browser.post(f"runs/{run}/answer", {"task": "b", "value": "xy"})
        await browser.post(f"runs/{run}/resume")
        assert browser.page.actions.carried.keys() == {run}
        found = await browser.get(f"runs/{run}")
        assert (found["run"]["status"], found["run"]["carried_here"]) == ("running", True)
    assert not browser.page.actions.carried
    assert browser.page.actions.ended == [run]
    assert history.find(journal, run).status == "cancelled"


async def test_what_ends_a_run_after_its_beginning_is_shown_with_it(journal: Path) -> None:
    run = (await ran(journal, FLOW, None)).run_id

    class Failing:
        run_id = run

        async def execute(self) -> None:
            raise JournalError("the disk is full")

    class Full(Orchestrator):
        @asynccontextmanager
        async def resume(self, run_id: str, **_: Any) -> AsyncIterator[Any]:
            assert run_id == run
            yield Failing()

    async with opened(journal) as browser:
        browser.page.actions._make = lambda _: Full({}, journal=journal)
        await browser.post(f"runs/{run}/resume")
        with anyio.fail_after(30):
            while run not in browser.page.actions.failed:
                await anyio.sleep(0.01)
        found = await browser.get(f"runs/{run}")
        assert found["run"]["failed_here"] == "the disk is full"


async def test_servers_that_are_wrong_are_said(journal: Path) -> None:
    run = (await ran(journal, FLOW, None)).run_id

    def make(_: str) -> Orchestrator:
        raise JournalError("servers.toml is wrong")

    actions = Actions(journal, make)
    async with actions.open():
        for act in (actions.resume, actions.cancel):
            with pytest.raises(JournalError, match="is wrong"):
                await act(run)
