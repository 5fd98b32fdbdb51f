"""Runs, schedules and workers whose rows are wrong: none ends a worker, or holds up others."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import anyio
import pytest

from orchestrator import JournalError, Orchestrator
from orchestrator.cli import main
from orchestrator.cluster import guard as guarding
from orchestrator.cluster import lookout, memory
from orchestrator.cluster import worker as working
from orchestrator.cluster.guard import Guard
from orchestrator.cluster.lookout import Lookout
from orchestrator.cluster.turns import Turn
from orchestrator.cluster.waiting import why
from orchestrator.journal.history import find, reading
from orchestrator.journal.location import Address
from orchestrator.journal.store import LostError
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
    run = await submitted(database)
    for name in ("bad", "good"):
        values = name, REQUEST, 0.0 if name == "bad" else 1.0
        ask(database, f"insert into schedule values(?, {SCHEDULE}, ?, ?)", *values)
    ask(database, f"update schedule set ({column})=row {BAD_SCHEDULES[column]} where name='bad'")
    async with working_on(database) as (queue, _, _):
        await until(lambda: run in queue.waiting and len(queue.waiting) == 2)
        said = [text for text in queue.told if 'cannot submit schedule "bad": ' in text]
        looks = queue.forgets
        await until(lambda: queue.forgets > looks + 3)
        assert len(said) == 1
        assert [text for text in queue.told if '"bad"' in text] == said


@pytest.mark.parametrize(
    "live", ["{", "[]", '{"at_once": 3}', '{"at_once": []}', '{"at_once": -5}']
)
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
    guard.failed(lost, Turn.NOTHING)
    assert told == []  # a connection may be lost for a moment
    monkeypatch.setattr(guarding, "FAILS_S", 0.0)
    guard.failed(lost, Turn.NOTHING)
    guard.failed(lost, Turn.LOOK)
    assert told == ["this worker cannot look for runs: too many connections"]
    guard.succeeded(Turn.LOOK)
    guard.failed(KeyError("x"), Turn.LOOK)
    assert told[1:] == ["this worker cannot look for runs: KeyError: 'x'"]
    guard.succeeded(Turn.LOOK)
    guard.failed(lost, Turn.LOOK)
    assert len(told) == 3


@pytest.mark.parametrize("error", [JournalError("no right"), KeyError("x")])
async def test_what_fails_only_in_some_turns_is_told_once_also_by_one_of_several_workers(
    database: Address, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    class Unpaced(Picky):
        def pace(self, *_: object) -> None:
            self.failures = getattr(self, "failures", 0) + 1
            raise error

    monkeypatch.setattr(guarding, "FAILS_S", 0.02)
    monkeypatch.setattr(lookout, "TURN_S", 0.0)  # most looks find nothing to do
    queues = Unpaced(), Unpaced()
    async with working_on(database, queue=queues[0]), working_on(database, queue=queues[1]):
        for queue in queues:
            await until(lambda queue=queue: queue.told and queue.failures > 4)
            assert queue.forgets > queue.failures  # others succeed
        told = [list(queue.told) for queue in queues]  # before any of them leaves
    said = [f"this worker cannot look for runs: {guarding.why_of(error)}"]
    assert told == [said, said]


def test_what_fails_again_after_it_has_succeeded_is_told_again(database: Address) -> None:
    def fail(*_: object) -> None:
        raise ValueError("no")

    told = list[str]()
    guard = Guard(told.append)
    with reading(database) as db:
        for do in (fail, fail, print, fail, fail):
            guard.attempt(db, "it cannot be", do, is_urgent=True)
        assert told == ["it cannot be: ValueError: no"] * 2
        assert guard.attempt(db, "it cannot be", print) == "ValueError: no"  # not for a minute


async def test_of_a_copied_journal_what_no_queue_takes_holds_up_no_other(
    database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout, "AGAIN_S", 0.01)
    bad, good = [await submitted(database) for _ in range(2)]
    ask(database, "update queued set queue='orchestrator_runs x', handed=true")
    queue = Picky(bad)
    queue.unknown_ = [(bad, 0), (good, 0)]
    async with working_on(database, queue=queue):
        await until(lambda: good in queue.aside_ + queue.put_again_ and queue.sweeps)
        said = f"run {bad} cannot be handed out: ValueError: no number of mine"
        assert said in queue.told
        queue.unknown_ = [(bad, 0)]
        queue.bad.clear()
        await until(lambda: bad in queue.aside_ + queue.put_again_)  # a minute later


async def test_what_keeps_all_runs_from_their_queues_is_told_in_one_line(
    database: Address,
) -> None:
    some = [await submitted(database) for _ in range(3)]
    queue = Picky(*some)
    async with working_on(database, queue=queue):
        await until(lambda: queue.told)
        assert queue.told == ["no run can be handed out: ValueError: no number of mine"]
        assert all("ValueError" in reason(database, run) for run in some)
        postponed = "select 1 from queued where queue is null and due > now_s()"
        await until(lambda: len(ask(database, postponed)) == 3)
        queue.bad = {*some[:2]}
        ask(database, "update queued set due=0")
        await until(lambda: some[2] in queue.waiting)  # two that are alike hold up no third one
        assert len(queue.told) == 3


async def test_a_run_that_cannot_be_given_back_for_itself_keeps_no_place(
    database: Address,
) -> None:
    run = await submitted(database)
    ask(database, "update run set request='{' where id=?", run)
    queue = Picky(run)
    queue.error = JournalError("a number is out of range")
    async with working_on(database, queue=queue) as (_, worker, _):
        with anyio.fail_after(10):
            assert await queue.hand_out(run) == ""
        assert queue.aside_ == []
        queue.handed_out = [(run, worker.name)]  # the lookout attempts it, and says why
        said = f"run {run} cannot be given back: a number is out of range"
        await until(lambda: said in queue.told)
        assert not any("did not begin here" in text for text in queue.told)


def test_a_worker_without_memory_ends_where_it_looks(
    database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(List):
        def forget(self) -> None:
            raise MemoryError

    def end() -> NoReturn:
        raise SystemExit(1)

    monkeypatch.setattr(memory, "end", end)
    given: Any = (database, Full(), None, bool, print)
    with pytest.raises(SystemExit):
        Lookout(*given).look()

    def none_left() -> None:
        raise MemoryError

    with pytest.raises(MemoryError), reading(database) as db:
        Guard(print).attempt(db, "nothing", none_left)
