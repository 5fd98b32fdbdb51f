"""Runs, schedules and workers whose rows are wrong: none ends a worker, or holds up others."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from orchestrator import JournalError, Orchestrator
from orchestrator.cli import main
from orchestrator.cluster import guard as guarding
from orchestrator.cluster import lookout
from orchestrator.cluster import worker as working
from orchestrator.cluster.guard import Guard
from orchestrator.cluster.lookout import Lookout
from orchestrator.cluster.waiting import why
from orchestrator.journal.history import find, reading
from orchestrator.journal.location import Address
from orchestrator.journal.postgres import LostError
from orchestrator.journal.workers import places
from tests.cluster.test_worker import ASK, List, submitted, until, working_on
from tests.journals import ask

pytestmark = pytest.mark.anyio
SCHEDULE = "'w', '@hourly', 'UTC', true, 0, null, '[]', '[]'"
REQUEST = '{"workflow": {"tasks": []}, "inputs": {}, "settings": {}}'
BAD_SCHEDULES = {
    "cron": "('never')",
    "zone": "('Europe/Atlantis')",
    "request": "('{')",
    "workflow, request": "('w', '{\"inputs\": {}}')",  # no settings
}


@pytest.fixture
def anyio_backend() -> str:
    """A database is the same for all event loops."""
    return "asyncio"


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits a second."""
    monkeypatch.setattr(working, "LOOK_S", 0.01)
    for name in ("TURN_S", "CHECK_S", "SWEEP_S", "TAKE_S", "LOST_S"):
        monkeypatch.setattr(lookout, name, 0.01)


def reason(database: Address, run: str) -> str:
    return why(database, find(database, run)).text


class Picky(List):
    """A queue that does not take some runs."""

    def __init__(self, *bad: str) -> None:
        super().__init__()
        self.bad = set(bad)
        self.error: Exception = ValueError("no number of mine")

    def put(self, runs: Iterable[tuple[str, str, int]], /) -> None:
        some = list(runs)
        if self.bad & {run for run, *_ in some}:
            raise self.error
        super().put(some)

    def put_again(self, run: str, queue: str) -> None:
        if run in self.bad:
            raise self.error
        super().put_again(run, queue)


async def test_a_run_that_no_queue_takes_is_told_once_and_waits_while_others_go_on(
    database: Address,
) -> None:
    bad, good = [await submitted(database) for _ in range(2)]
    queue = Picky(bad)
    async with working_on(database, queue=queue):
        await until(lambda: good in queue.waiting)
        said = f"run {bad} cannot be handed out: ValueError: no number of mine"
        await until(lambda: queue.told == [said])
        assert await queue.hand_out(good) == "success"
        assert reason(database, bad) == (
            "no worker could carry it so far, each tries every minute: "
            "it cannot be handed out: ValueError: no number of mine"
        )
        ask(database, "update queued set due=0")  # a minute later
        await until(lambda: ask(database, "select 1 from queued where due > now_s()"))
        queue.bad.clear()
        ask(database, "update queued set due=0")
        await until(lambda: bad in queue.waiting)
        assert [text for text in queue.told if bad in text] == [said]
    assert queue.waiting.count(good) == 1


async def test_a_queue_that_is_lost_for_a_moment_is_no_fault_of_a_run(database: Address) -> None:
    run = await submitted(database)
    queue = Picky(run)
    queue.error = LostError("the connection is lost")
    async with working_on(database, queue=queue):
        looks = queue.looks
        await until(lambda: queue.looks > looks + 3 or queue.forgets > 5)
        queue.bad.clear()
        await until(lambda: run in queue.waiting)
    assert queue.told == []


@pytest.mark.parametrize("column", ["labels", "servers"])
@pytest.mark.parametrize("text", ["gpu", "5", '{"a": 1}', "[1]"])
async def test_what_a_run_needs_that_cannot_be_read_no_worker_has(
    database: Address, column: str, text: str
) -> None:
    bad, good = [await submitted(database) for _ in range(2)]
    ask(database, f"update queued set {column}=? where run=?", text, bad)
    async with working_on(database) as (queue, _, _):
        await until(lambda: good in queue.waiting)
        assert "(expected a list of names in JSON)" in reason(database, bad).replace("\\", "")
        assert queue.waiting == [good]
        queue.stranded_ = [bad]  # as if it had been handed out before
        await until(lambda: not queue.stranded_)
    assert queue.put_again_ == []


@pytest.mark.parametrize("request_", ["{", "{}", '{"workflow": 1, "inputs": {}, "settings": {}}'])
async def test_a_run_that_cannot_be_read_is_put_aside_with_its_reason(
    database: Address, request_: str
) -> None:
    bad, good = [await submitted(database) for _ in range(2)]
    ask(database, "update run set request=? where id=?", request_, bad)
    async with working_on(database) as (queue, _, _):
        assert await queue.hand_out(bad) == ""
        assert queue.aside_ == [bad]
        assert await queue.hand_out(good) == "success"
        assert reason(database, bad).startswith("no worker could carry it so far, each tries ")
    assert [text for text in queue.told if "cannot be carried here" in text] == queue.told[:1]


async def test_what_is_aside_or_given_back_and_cannot_be_read_holds_up_no_other(
    database: Address,
) -> None:
    bad, good = await submitted(database, ASK), await submitted(database, ASK)
    async with working_on(database, queue=Picky()) as (queue, worker, _):
        for run in (bad, good):
            assert await queue.hand_out(run) == ""
        ask(database, "update run set result='{' where id=?", bad)
        reply = "insert into record values(?, 'reply a', 'a', -1, false, 0, 0, '{}', 0)"
        for run in (bad, good):
            ask(database, reply, run)
        await until(lambda: any(f"the questions of run {bad} cannot be" in x for x in queue.told))
        queue.bad = {bad}  # type: ignore[attr-defined]
        queue.handed_out = [(bad, worker.name)]
        await until(lambda: any(f"run {bad} cannot be given back" in each for each in queue.told))
        queue.stranded_ = [bad, good]
        await until(lambda: good in queue.put_again_)
        await until(lambda: any(f"run {bad} cannot be handed out again" in x for x in queue.told))


@pytest.mark.parametrize("column", BAD_SCHEDULES)
async def test_a_schedule_that_cannot_be_read_holds_up_no_run_and_no_other_schedule(
    database: Address, column: str
) -> None:
    for name in ("bad", "good"):
        values = name, REQUEST, 0.0 if name == "bad" else 1.0
        ask(database, f"insert into schedule values(?, {SCHEDULE}, ?, ?)", *values)
    ask(database, f"update schedule set ({column})=row {BAD_SCHEDULES[column]} where name='bad'")
    run = await submitted(database)
    async with working_on(database) as (queue, _, _):
        await until(lambda: run in queue.waiting and len(queue.waiting) == 2)
        said = [text for text in queue.told if 'cannot submit schedule "bad": ' in text]
        looks = queue.forgets
        await until(lambda: queue.forgets > looks + 3)
        assert len(said) == 1
        assert [text for text in queue.told if '"bad"' in text] == said


@pytest.mark.parametrize("live", ["{", "[]", '{"at_once": 3}', '{"at_once": []}'])
async def test_a_worker_whose_offer_cannot_be_read_offers_nothing(
    database: Address, live: str
) -> None:
    run = await submitted(database)
    async with working_on(database) as (queue, first, _), working_on(database) as (_, other, _):
        ask(database, "update carrier set live=? where run=?", live, f"worker {other.name}")
        queue.workers.clear()
        await until(lambda: run in queue.waiting and 1 in queue.workers)
        assert first.offer.at_once == 4
        assert places(database) == (7 if "3" in live else 4)


@pytest.mark.parametrize(("kind", "is_told"), [(JournalError, True), (LostError, False)])
async def test_runs_that_cannot_be_chosen_keep_no_worker_from_what_others_have_left(
    database: Address, monkeypatch: pytest.MonkeyPatch, kind: type[Exception], is_told: bool
) -> None:
    def release(*_: Any) -> Any:
        failed.append(1)
        raise kind("no right to do so")

    failed = list[int]()
    await submitted(database)
    async with working_on(database) as (queue, _, _):
        await until(lambda: queue.waiting)
        monkeypatch.setattr("orchestrator.cluster.release.release", release)
        await submitted(database)
        await until(lambda: len(failed) > 1)
        if is_told:
            queue.stranded_ = ["r1"]
            await until(lambda: queue.put_again_ == ["r1"])
        said = ["runs cannot be handed out: no right to do so"]
        assert queue.told == (said if is_told else [])


async def test_commands_say_what_cannot_be_read_and_how_to_get_rid_of_it(
    database: Address, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def said(*words: str) -> tuple[int, str]:
        code = main([*words, "--database", database.url])
        return code, capsys.readouterr().err

    bad, other = await submitted(database), await submitted(database)
    ask(database, "update queued set labels='gpu' where run=?", other)
    assert said("runs")[0] == 0
    ask(database, "update run set request='{\"inputs\": 1}' where id=?", bad)
    code, err = said("show", bad)
    assert (code, "cannot be read (KeyError: 'workflow'): \"orchestrator cancel\"" in err) == (
        2,
        True,
    )
    assert said("cancel", bad)[0] == 0
    assert find(database, bad).status == "cancelled"
    for name, request in (("a b", "{"), ("good", REQUEST)):
        ask(database, f"insert into schedule values(?, {SCHEDULE}, ?, 0)", name, request)
    code, err = said("schedules")
    assert (code, "\"orchestrator schedules --remove 'a b'\" removes it" in err) == (2, True)
    assert said("schedules", "--remove", "a b")[0] == 0
    assert said("schedules")[0] == 0
    kept = tmp_path / "runs.db"
    async with Orchestrator({}, journal=kept) as engine:
        run = (await engine.run(ASK)).run_id
    with sqlite3.connect(kept) as db:
        db.execute("update run set request='[]'")
    assert main(["cancel", run, "--journal", str(kept)]) == 0
    assert find(kept, run).status == "cancelled"


def test_a_look_that_fails_is_told_if_that_goes_on_or_is_a_mistake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = list[str]()
    guard = Guard(told.append)
    lost = JournalError("too many connections")
    guard.failed(lost)
    assert told == []  # a connection may be lost for a moment
    monkeypatch.setattr(guarding, "FAILS_S", 0.0)
    guard.failed(lost)
    guard.failed(lost)
    assert told == ["this worker cannot look for runs: too many connections"]
    guard.worked()
    guard.failed(KeyError("x"))
    assert told[1:] == ["this worker cannot look for runs: KeyError: 'x'"]
    guard.worked()
    guard.failed(lost)
    assert len(told) == 3


def test_what_ends_a_worker_without_memory_is_not_told(database: Address) -> None:
    class Full(List):
        def forget(self) -> None:
            raise MemoryError

    given: Any = (database, Full(), None, bool, print)
    with pytest.raises(MemoryError):
        Lookout(*given).look()

    def none_left() -> None:
        raise MemoryError

    with pytest.raises(MemoryError), reading(database) as db:
        Guard(print).tried(db, "nothing", none_left)
