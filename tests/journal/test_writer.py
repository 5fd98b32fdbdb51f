"""The file of a journal and the thread that writes to it."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio import from_thread, to_thread

from orchestrator.errors import DamagedError, JournalError
from orchestrator.journal.database import (
    APPLICATION_ID,
    VERSION,
    open_to_read,
    open_to_write,
    unusable,
)
from orchestrator.journal.file_session import FileSession
from orchestrator.journal.history import runs
from orchestrator.journal.journal import Journal
from orchestrator.journal.kept_run import RunRecord
from orchestrator.journal.location import Location
from orchestrator.journal.records import WRITE, Key
from orchestrator.journal.writer import Lease, Writer
from tests.journals import ask

pytestmark = pytest.mark.anyio
INSERT = """insert into record(run, kind, path, item, fallback, number, at)
values('r', 'task', ?, -1, ?, 0, 0.0)"""
RUN = "insert into run values('r', 'w', 'running', 'run', null, 1, 0, 0.0, null, null, '{}', null)"


@asynccontextmanager
async def opened(journal: Location) -> AsyncIterator[Writer]:
    writer = Writer(journal)
    await to_thread.run_sync(writer.open)
    try:
        yield writer
    finally:
        await to_thread.run_sync(writer.close)


def stored(journal: Location) -> list[str]:
    return [row[0] for row in ask(journal, "select path from record order by at, path")]


async def test_all_that_wait_for_one_commit_are_woken_in_one_turn(
    journal: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, free = list[object](), threading.Event()

    def counted(work: Callable[..., object], *given: object, token: object) -> None:
        turns.append(given)
        from_thread.run_sync(work, *given, token=token)  # type: ignore[arg-type]

    monkeypatch.setattr("orchestrator.journal.writer.run_sync", counted)
    lease = Lease("r", 1)
    async with opened(journal) as writer, anyio.create_task_group() as group:
        # The thread waits here until all others have asked, so that they are in one batch.
        writer.put(lease, RUN, lambda: (free.wait(), ())[1])
        for _ in range(100):
            group.start_soon(writer.flush)
        await anyio.wait_all_tasks_blocked()
        free.set()
    assert len(turns) <= 2  # the first of them may be in the batch of the statement


async def test_rows_that_nobody_waits_for_are_committed_together(
    journal: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = list[float]()
    writer = Writer(journal, commits.append)
    monkeypatch.setattr(writer.session, "gather_s", 3600.0)
    await to_thread.run_sync(writer.open)
    try:
        with anyio.fail_after(30):
            for number in range(5):
                writer.put(Lease("r", 1), RUN if number == 0 else INSERT, partial(_row, number))
                await anyio.sleep(0.001)
            await writer.flush()  # does not wait for others
        assert stored(journal) == ["1", "2", "3", "4"]
        assert len(commits) == 1
    finally:
        await to_thread.run_sync(writer.close)


def _row(number: int) -> tuple[object, ...]:
    return (str(number), False) if number else ()


async def test_what_was_waited_for_is_in_the_journal(journal: Location) -> None:
    lease = Lease("r", 1)
    async with opened(journal) as writer:
        writer.put(lease, RUN, tuple)

        async def write(number: int) -> None:
            writer.put(lease, INSERT, lambda: (f"t{number}", False))
            await writer.flush()
            assert f"t{number}" in stored(journal)

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(write, number)
        assert writer.error is None
    assert len(stored(journal)) == 20


async def test_the_last_of_several_records_with_one_key_counts(journal: Location) -> None:
    lease = Lease("r", 1)
    async with opened(journal) as writer:
        writer.put(lease, RUN, tuple)
        for number, path in enumerate("abac"):
            key = Key("task", path)
            writer.put(lease, WRITE, partial(tuple, ("r", *key, float(number), None)))
        await writer.flush()
        assert writer.error is None
    assert stored(journal) == ["b", "a", "c"]


async def test_only_its_owner_can_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "runs.db"
    async with opened(path):
        for each in path.parent.iterdir():
            assert stat.S_IMODE(each.stat().st_mode) == 0o600, each
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_a_process_whose_run_was_taken_over_writes_nothing_more(journal: Location) -> None:
    old, other = Lease("r", 1), Lease("s", 1)
    async with opened(journal) as writer:
        writer.put(old, RUN, tuple)
        await writer.flush()
        ask(journal, "update run set epoch=2")
        writer.put(old, INSERT, lambda: ("late", False))
        writer.put(other, RUN.replace("'r'", "'s'"), tuple)
        await writer.flush()
        assert old.error is not None
        assert other.error is None
    assert stored(journal) == []


async def test_a_full_disk_fails_all_that_waits_and_loses_nothing_from_before(
    tmp_path: Path,
) -> None:
    path = tmp_path / "runs.db"
    lease = Lease("r", 1)
    async with opened(path) as writer:
        writer.put(lease, RUN, tuple)
        writer.put(lease, INSERT, lambda: ("before", False))
        await writer.flush()
        assert isinstance(writer.session, FileSession)
        assert writer.session.db is not None
        writer.session.db.execute("pragma max_page_count=16")
        writer.put(lease, INSERT, lambda: ("x" * 1_000_000, False))
        await writer.flush()
        assert "the disk is full" in str(writer.error)
        writer.put(lease, INSERT, lambda: ("after", False))
        await writer.flush()
    assert stored(path) == ["before"]


async def test_a_run_is_carried_by_one_process_at_a_time(journal: Location) -> None:
    kept_in = Journal(journal)
    assert repr(kept_in) == f"Journal({str(journal)!r})"
    record = RunRecord("r", "w", {"tasks": [{"id": "a", "value": 1}]}, {}, {})
    with pytest.raises(RuntimeError, match="async with Journal"):
        await kept_in.begin(record)
    async with kept_in:
        kept = await kept_in.begin(record)
        assert kept is not None
        with pytest.raises(JournalError, match="carried by another process: process"):
            await kept_in.resume("r", "ask")
        assert runs(journal)[0].status == "running"
        kept.claim.free()
        await kept._writer.flush()
        assert runs(journal)[0].status == "interrupted"
        again, resumed = await kept_in.resume("last", "ask")
        assert again == record
        assert resumed.recorder.resumed == 1
        resumed.claim.free()
        with pytest.raises(JournalError, match="unknown run"):
            await kept_in.resume("x", "ask")


async def test_another_programs_database_is_an_error_where_there_is_nobody_to_warn(
    tmp_path: Path,
) -> None:
    with sqlite3.connect(tmp_path / "mine.db") as db:
        db.execute("create table mine(x)")
    with pytest.raises(JournalError, match="is no journal"):
        await Journal(tmp_path / "mine.db").__aenter__()


def test_a_file_of_a_later_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    open_to_write(path).close()
    with sqlite3.connect(path) as db:
        db.execute(f"pragma user_version={VERSION + 1}")
    for opens in (open_to_write, open_to_read):
        with pytest.raises(
            JournalError, match=r"later version of orchestrator .*name another file"
        ):
            opens(path)


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mine.db"
    with sqlite3.connect(path) as db:
        db.execute("create table mine(x)")
    before = path.read_bytes()
    with pytest.raises(JournalError, match="is no journal"):
        open_to_write(path)
    assert path.read_bytes() == before


def test_a_damaged_file_is_said_to_be_damaged(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    open_to_write(path).close()
    data = bytearray(path.read_bytes())
    data[100:4000] = os.urandom(3900)
    path.write_bytes(data)
    with pytest.raises(DamagedError, match="is damaged"):
        open_to_write(path)


def test_a_new_file_has_its_marks(tmp_path: Path) -> None:
    db = open_to_write(tmp_path / "runs.db")
    settings = ("application_id", "user_version", "journal_mode", "synchronous", "auto_vacuum")
    found = [db.execute(f"pragma {name}").fetchone()[0] for name in settings]
    db.close()
    assert found == [APPLICATION_ID, VERSION, "wal", 3, 2]


def test_what_cannot_be_read_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(JournalError, match="is no journal: it is a directory"):
        open_to_read(tmp_path)
    path = tmp_path / "runs.db"
    FileSession(path).call(lambda _: None)
    with monkeypatch.context() as patched:  # root may write everywhere
        patched.setattr("os.access", lambda *_: False)
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
        assert "copy it into one that is" in str(unusable(path, error))
    damaged = path.read_bytes()
    path.write_bytes(damaged[:5000] + b"x" * (len(damaged) - 5000))
    with pytest.raises(DamagedError, match="the next run renames it and begins a new one"):
        open_to_read(path)


def test_without_a_journal_the_message_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="run a workflow first"):
        open_to_read(tmp_path / "none.db")
