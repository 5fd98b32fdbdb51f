"""What a run does now, told to those who look; and a glance at what it has come to."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator import Activity, Orchestrator, RunState
from orchestrator.journal import glance, live
from orchestrator.journal.file_session import FileSession
from orchestrator.journal.file_store import FileClaim, lock_path, tell
from orchestrator.journal.history import reading
from orchestrator.journal.location import Location
from orchestrator.ui.view import activity

pytestmark = pytest.mark.anyio
FLOW: dict[str, Any] = {
    "tasks": [
        {"id": "a", "value": "x" * 10_000},
        {"id": "b", "for_each": [1, 2, 3], "value": "$ITEM"},
        {"id": "c", "ask": {"message": "?", "schema": {"type": "string"}}},
    ]
}


def age(path: Path, by_s: float) -> None:
    moment = path.stat().st_mtime - by_s
    os.utime(path, (moment, moment))


def test_nothing_is_written_unless_somebody_looks(tmp_path: Path) -> None:
    journal = tmp_path / "runs.db"
    calls = [
        Activity("a", None, "s:t", 0, None, "a slot"),
        Activity("b", 2, "s:t", 1, 5.0, "", (3.0, 40.0, "s" * 300)),
    ]
    going: dict[str, tuple[int, int]] = {"b": (1, 5), "a[0]/in": (0, 2)}
    state = RunState(1, 3, tuple(calls), {"calls": 7}, at_ms=9.0, items=going)
    lock = lock_path(journal, "r")
    assert live.beats(journal, "r") is False
    live.watch(journal, "r")  # nobody carries it
    tell(journal, "r", lambda: state)
    assert live.seen(journal, "r") is None
    lock.parent.mkdir()
    lock.touch()
    assert live.beats(journal, "r") is True
    tell(journal, "r", lambda: state)
    assert live.seen(journal, "r") is None
    live.watch(journal, "r")
    tell(journal, "r", lambda: state)
    seen = live.seen(journal, "r")
    assert seen is not None
    assert (seen["at_ms"], seen["calls"], seen["by_server"]) == (9.0, 2, {"s": 1})
    assert [(call["task"], call["item"]) for call in seen["running"]] == [("b", 2), ("a", None)]
    said = seen["running"][0]["progress"]
    assert (said[:12], len(said)) == ("3 of 40 ssss", 200)
    assert activity(journal, "r", "")["active"]["b"]["progress"] == said
    assert (seen["left"], seen["items"]) == ({"calls": 7}, {"b": [1, 5], "a[0]/in": [0, 2]})
    at_level = activity(journal, "r", "")
    assert (at_level["items"], at_level["left"]) == ({"b": [1, 5]}, {"calls": 7})
    assert activity(journal, "r", "a[0]/")["items"] == {"in": [0, 2]}
    age(lock.with_name("r.live"), live.FRESH_S + 1)
    assert activity(journal, "r", "")["items"] == {}
    assert live.seen(journal, "r") is None
    age(lock.with_name("r.watched"), live.WATCHED_S + 1)
    tell(journal, "r", lambda: state)
    assert live.seen(journal, "r") is None
    FileClaim(journal, "r", FileSession(journal)).end(is_kept=False)
    assert [path.name for path in lock.parent.iterdir()] == ["r"]


async def test_a_run_that_is_watched_tells_what_it_does(
    journal: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.durable.BEAT_S", 0.01)
    async with Orchestrator({}, journal=journal) as orchestrator:
        async with (
            orchestrator.begin(FLOW, wait=True) as run,
            anyio.create_task_group() as group,
        ):
            group.start_soon(run.execute)
            seen = None
            with anyio.fail_after(30):
                while not (seen and seen["running"] and seen["running"][0]["waiting_for"]):
                    live.watch(journal, run.run_id)
                    seen = live.seen(journal, run.run_id)
                    await anyio.sleep(0.01)
            assert [call["task"] for call in seen["running"]] == ["c"]
            run.answer("c", "yes")
        if isinstance(journal, Path):
            left = {path.name for path in lock_path(journal, "x").parent.iterdir()}
            assert left == set()


async def test_a_glance_reads_no_output(journal: Location) -> None:
    async with Orchestrator({}, journal=journal) as orchestrator:
        run = (await orchestrator.run(FLOW)).run_id
    with reading(journal) as db:
        states = glance.states(db, run, "")
        assert set(states) == {"a", "b"}
        assert states["b"]["items"] == {"success": 3}
        assert len(json.dumps(states)) < 1000
        assert glance.states(db, run, "", ["b"]) == {"b": states["b"]}
        assert glance.states(db, run, "", []) == {}
        assert [item["index"] for item in glance.items(db, run, "b")] == [0, 1, 2]
        (question,) = glance.questions(db, run)
        assert question.task == "c"
        last = glance.moment(db, run)
        whole = glance.changes(db, run, "")
        assert (set(whole.paths), whole.moment, whole.has_added) == ({"a", "b", "c"}, last, False)
        assert glance.changes(db, run, last) == ([], last, False)
        assert set(glance.changes(db, run, "nonsense,7.x,.").paths) == set(whole.paths)
        assert glance.moment(db, "nope") in ("", "0")


async def test_what_another_run_has_made_is_told_apart(journal: Location) -> None:
    async with Orchestrator({}, journal=journal) as orchestrator:
        origin = (await orchestrator.run(FLOW)).run_id
        async with orchestrator.fork(origin) as run:
            await run.execute()
    with reading(journal) as db:
        assert {"reused"}.isdisjoint(glance.states(db, origin, "")["b"])
        assert glance.states(db, run.run_id, "")["b"]["reused"] is True


@pytest.mark.parametrize("withdrawn", [0, 1, 70, 500, 5000, 6000])
def test_a_record_is_seen_that_has_the_number_of_one_that_was_withdrawn(
    withdrawn: int, tmp_path: Path
) -> None:
    path = tmp_path / "runs.db"
    FileSession(path).call(lambda _: None)
    insert = "insert into record values('r', 'task', ?, -1, 0, 0, 7.0, null)"
    with closing(sqlite3.connect(path, isolation_level=None)) as db, reading(path) as seen:
        db.execute("insert into run values('r', 'w', 'running', 'run', '', 1, 0, 1.0, 0, 0, '', 0)")
        db.execute("begin")
        db.executemany(insert, [(f"t{number}",) for number in range(6000)])
        db.execute("commit")
        since = glance.moment(seen, "r")
        db.execute("begin")
        db.execute("delete from record where rowid>?", (6000 - withdrawn,))
        db.executemany(insert, [(f"new{number}",) for number in range(max(1, withdrawn - 1))])
        db.execute("commit")
        found = glance.changes(seen, "r", since)
        new = {path for path in found.paths if path.startswith("new")}
        assert len(new) == max(1, withdrawn - 1)
        assert len(found.paths) - len(new) <= 8 * withdrawn  # and not all that there is
        assert glance.changes(seen, "r", found.moment).paths == []
        # Where nothing was written after a burst of withdrawals, nothing is missed later.
        db.execute("delete from record where rowid>10")
        found = glance.changes(seen, "r", found.moment)
        db.execute(insert, ("last",))
        assert glance.changes(seen, "r", found.moment).paths == ["last"]
