"""What is asked of the queue for a run: keys that only one has, and what no queue can do."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator import JournalError, Orchestrator, Order
from orchestrator.journal import orders
from orchestrator.journal.history import runs
from orchestrator.journal.location import Address
from orchestrator.journal.orders import _of_key
from tests.journals import ask

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """A database is the same for all event loops."""
    return "asyncio"


def flow(**more: Any) -> dict[str, Any]:
    return {"name": "w", "inputs": {"city": {}}, "tasks": [{"id": "a", "value": 1}], **more}


async def test_of_many_that_submit_the_same_key_at_once_one_makes_the_run(
    database: Address,
) -> None:
    found: list[str] = []
    async with (
        Orchestrator({}, journal=database) as one,
        Orchestrator({}, journal=database) as other,
    ):

        async def submit(engine: Orchestrator) -> None:
            found.append(await engine.queue(flow(), {"city": "Oslo"}, Order(key="k")))

        async with anyio.create_task_group() as group:
            for engine in (one, other) * 4:
                group.start_soon(submit, engine)
        assert len(found) == 8
        assert {*found} == {run.id for run in runs(database)}
        ask(database, "delete from run")
        again = await one.queue(flow(), {"city": "Rome"}, Order(key="k"))
    assert again not in found


async def test_a_key_of_another_workflow_or_other_inputs_says_what_differs(
    database: Address,
) -> None:
    order = Order(key="k")
    async with Orchestrator({}, journal=database) as engine:
        run = await engine.queue(flow(), {"city": "Oslo"}, order)
        with pytest.raises(JournalError) as raised:
            await engine.queue(flow(), {"city": "Rome"}, order)
        assert str(raised.value) == (
            f'key "k" is that of run {run}, which has other inputs (city): '
            "give another key, or submit what that run was"
        )
        tasks = [{"id": "a", "value": 2}, {"id": "b", "value": 1}]
        with pytest.raises(JournalError, match=r"another workflow \(2 tasks: a, b; output\) and"):
            await engine.queue(flow(tasks=tasks, output=1), {"city": "Rome"}, order)
    assert len(runs(database)) == 1


async def test_who_submits_a_key_again_is_told_what_that_run_asks_of_the_queue(
    database: Address,
) -> None:
    async with Orchestrator({}, journal=database) as engine:
        soon = time.time() + 3600
        plain = await engine.queue(flow(), {"city": "Oslo"}, Order(key="plain"))
        later = Order(key="plain", due=soon)
        assert await engine.submit(flow(), {"city": "Oslo"}, later) == (plain, False, ("no delay",))
        of_run = Order(key="k", priority=5, labels=("b", "a"), due=soon)
        run, is_new, differs = await engine.submit(flow(), {"city": "Oslo"}, of_run)
        assert (is_new, differs) == (True, ())
        again = replace(of_run, labels=("a", "b"), due=soon + 2)
        assert await engine.submit(flow(), {"city": "Oslo"}, again) == (run, False, ())
        other = Order(key="k", max_runs=2)
        _, _, (priority, due, max_runs, labels) = await engine.submit(
            flow(), {"city": "Oslo"}, other
        )
        assert (priority, max_runs, labels) == ("priority 5", "no max-runs", "needs a, b")
        assert due.startswith("not before 20")
        ask(database, "update run set status='running'")
        _, _, differs = await engine.submit(flow(), {"city": "Oslo"}, again)
        assert differs == ()


async def test_a_run_whose_key_is_gone_in_this_moment_is_an_error(
    database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Orchestrator({}, journal=database) as engine:
        with pytest.raises(JournalError, match="was deleted just now: submit again"):
            _of_key(database, "k", "{}", Order())
        await engine.queue(flow(), {"city": "Oslo"}, Order(key="k"))
        monkeypatch.setattr(orders, "of_runs", lambda *_: {})  # between two queries
        with pytest.raises(JournalError, match="was deleted just now: submit again"):
            await engine.queue(flow(), {"city": "Oslo"}, Order(key="k"))


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"workflow": {"tasks": [7]}}'])
async def test_a_key_of_a_run_that_cannot_be_read_is_an_error(database: Address, text: str) -> None:
    async with Orchestrator({}, journal=database) as engine:
        run = await engine.queue(flow(), {"city": "Oslo"}, Order(key="k"))
        ask(database, f"update run set request='{text}'")
        why = rf'^run {run} with the key "k" cannot be read \(.+\): give another key$'
        with pytest.raises(JournalError, match=why):
            await engine.queue(flow(), {"city": "Oslo"}, Order(key="k"))


async def test_what_no_queue_can_do_is_refused(tmp_path: Path) -> None:
    async with Orchestrator({}, journal=tmp_path / "runs.db") as engine:
        wrong: list[tuple[str, Any, str]] = [
            ("priority", 1001, "expected a priority from -1000 to 1000, got 1001"),
            ("max_runs", 0, "expected max_runs from 1 to 1,000,000, got 0"),
            ("max_runs", 1 << 40, "expected max_runs from 1 to 1,000,000, got 1,099"),
            ("priority", "7", 'expected priority to be an integer, got string "7"'),
            ("priority", True, "expected priority to be an integer, got boolean true"),
            ("max_runs", 1.5, "expected max_runs to be an integer, got number 1.5"),
            ("due", "03:00", "expected due to be a number of seconds since 1970, got string"),
            ("due", math.nan, "expected a time to begin within 100 years"),
            ("due", -math.inf, "expected a time to begin within 100 years"),
            ("labels", "gpu", "expected labels to be a sequence of names"),
            ("labels", ("gpu", " "), 'expected each label to be a name, got string " "'),
            ("labels", (7,), "expected each label to be a name, got integer 7"),
            ("key", 7, "expected key to be a string, got integer 7"),
            ("key", "a\0", "a database cannot keep the key"),
            ("key", "\udcff", "a database cannot keep the key"),
            ("key", "", "expected a key of 1 to 500 characters, got 0"),
            ("key", "k", "need a journal in PostgreSQL"),
        ]
        for field, value, why in wrong:
            with pytest.raises(JournalError, match=why):
                await engine.queue(flow(), {"city": 1}, Order(**{field: value}))
        plain: dict[str, Any] = {"labels": []}
        assert await engine.queue(flow(), {"city": 1}, Order(**plain))
