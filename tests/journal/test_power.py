"""What was waited for is there after a loss of power at any write, and no file is damaged."""

from __future__ import annotations

import random
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread

from orchestrator.journal import file_session
from orchestrator.journal.database import VERSION, open_to_write
from orchestrator.journal.records import WRITE, Key
from orchestrator.journal.writer import Lease, Writer

pytest.importorskip("apsw", reason="it needs apsw")
from tests.journal import power

pytestmark = pytest.mark.anyio
SEED = 2026
RUN = "insert into run values('r', 'w', 'running', 'run', null, 1, 0, 0.0, null, null, '{}', null)"
END = "update run set status='success', result=? where id='r'"
KEPT: tuple[power.Kept, ...] = ("all", "none", "half")


async def written(
    path: Path, commits: int, synchronous: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[power.Operation], list[tuple[int, int]]]:
    """Write some commits as a run does.

    Returns:
        What was done to the files; and of each wait, how much of that had been done, and how many
        records had been put.
    """
    vfs = power.NotingVFS(f"noting-{synchronous}")
    monkeypatch.setattr(
        sqlite3, "connect", lambda path, **_: power.Connection(path, vfs.name, synchronous)
    )
    monkeypatch.setattr(file_session, "CHECKPOINT_PAGES", 20)
    chance, lease, count = random.Random(SEED), Lease("r", 1), 0
    waits: list[tuple[int, int]] = []
    writer = Writer(path)
    await to_thread.run_sync(writer.open)
    writer.put(lease, RUN, tuple)
    for _ in range(commits):
        for _ in range(chance.randint(1, 4)):
            key = Key("task", f"{count}", number=chance.randint(0, 9))
            payload = "x" * chance.choice([0, 100, 3_000, 20_000])
            writer.put(lease, WRITE, partial(tuple, ("r", *key, 0.0, payload)))
            count += 1
        await writer.flush()
        waits.append((len(vfs.log), count))
    writer.put(lease, END, lambda: ("{}",))
    await writer.flush()
    assert writer.error is None
    log = list(vfs.log)
    await to_thread.run_sync(writer.close)
    monkeypatch.undo()
    return log, waits


def losses(
    log: list[power.Operation], waits: list[tuple[int, int]], step: int, home: Path
) -> tuple[int, int, int]:
    """How many losses of power there were, after how many a record was lost or a file damaged."""
    chance = random.Random(SEED)
    points = lost = damaged = 0
    for end in range(0, len(log) + 1, step):
        acknowledged = max((count for done, count in waits if done <= end), default=0)
        for kept in KEPT:
            files = power.after_loss(log[:end], kept, chance)
            found: Any = power.found_in(files, home, "select path from record")
            points += 1
            if found is None:
                damaged += 1
            else:
                lost += not {f"{number}" for number in range(acknowledged)} <= set(found)
    return points, lost, damaged


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(("commits", "step"), [(8, 9), pytest.param(20, 3, marks=pytest.mark.slow)])
async def test_no_record_that_was_waited_for_is_lost_with_the_power(
    commits: int, step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "after"
    home.mkdir()
    log, waits = await written(tmp_path / "runs.db", commits, "extra", monkeypatch)
    assert sum(each.kind == "write" and each.file == "runs.db" for each in log) > 10  # checkpoints
    points, lost, damaged = losses(log, waits, step, home)
    assert points > 3 * commits
    assert (lost, damaged) == (0, 0)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_with_a_weaker_setting_records_would_be_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "after"
    home.mkdir()
    log, waits = await written(tmp_path / "runs.db", 4, "normal", monkeypatch)
    _, lost, _ = losses(log, waits, 15, home)
    assert lost > 0


def test_a_file_is_of_the_old_or_of_the_new_version_wherever_its_migration_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = (Path(__file__).parent / "files" / "version-1.db").read_bytes()
    path, home = tmp_path / "runs.db", tmp_path / "after"
    path.write_bytes(old)
    home.mkdir()
    vfs = power.NotingVFS("noting-migration")
    monkeypatch.setattr(sqlite3, "connect", lambda path, **_: power.Connection(path, vfs.name))
    open_to_write(path).close()
    monkeypatch.undo()
    chance, versions, log = random.Random(SEED), set(), vfs.log
    tables = "select user_version * 10 + (select count(*) from sqlite_master where type='table')"
    for end in range(len(log) + 1):
        for kept in KEPT:
            files = power.after_loss(log[:end], kept, chance, {"runs.db": old})
            found = power.found_in(files, home, f"{tables} from pragma_user_version")
            assert found is not None
            versions.update(found)
            kept_runs = power.found_in(files, home, "select id from run")
            assert kept_runs == power.found_in(
                {"runs.db": bytearray(old)}, home, "select id from run"
            )
    assert versions == {12, VERSION * 10 + 3}
