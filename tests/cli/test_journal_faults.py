"""What becomes of the runs of the command line where their journal fails, is old or is a copy."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.journal import file_session
from orchestrator.journal.database import VERSION, SqliteConnection, open_to_write
from tests.cli.test_journal import Said, echo, journal, said
from tests.conftest import Write

__all__ = ["journal", "said"]


def interrupted(path: Path, *settled_not: str) -> None:
    """Leave the last run as a process does that ends in the middle."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("update run set status='running', ended=null, result=null")
        for task in settled_not:
            db.execute("delete from record where path=?", (task,))


def test_a_full_disk_stops_what_may_do_harm_and_no_more(
    journal: Path, said: Said, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(path: Path) -> SqliteConnection:
        db = open_to_write(path)
        db.execute("pragma max_page_count=50")
        return db

    flow = write(
        {"id": "before", "tool": "faulty:append", "arguments": {"value": 1}},
        {"id": "small", "value": "x" * 10_000},
        echo("large", ["$OUTPUT[small]"] * 30, depends_on=["before"]),
        {"id": "harm", "tool": "faulty:append", "arguments": {"value": 2},
         "depends_on": ["large"]},
        echo("read", 3, depends_on=["large"]),
        max_concurrency=1,
    )  # fmt: skip
    monkeypatch.setattr(file_session, "open_to_write", opened)
    code, document, err = said("run", flow, "--json")
    monkeypatch.undo()
    assert code == 1
    assert "the disk is full" in err
    tasks = document["tasks"]
    statuses = {name: task["status"] for name, task in tasks.items()}
    assert statuses == {**dict.fromkeys(tasks, "success"), "harm": "error"}
    assert "was not called, as nothing can be kept of it" in tasks["harm"]["error"]["message"]
    monkeypatch.setenv("ORCHESTRATOR_JOURNAL", str(journal))
    assert said("runs", "--json")[1][0]["status"] == "interrupted"
    code, again, _ = said("resume", "last", "--json", "-q")
    assert code == 0
    assert again["tasks"]["before"] == tasks["before"]
    assert {task["status"] for task in again["tasks"].values()} == {"success"}


def test_a_copy_can_be_taken_up_elsewhere(
    journal: Path, said: Said, write: Write, tmp_path: Path
) -> None:
    flow = write(echo("a", 1), echo("b", "$OUTPUT[a]"))
    whole = said("run", flow, "--json", "-q")[1]
    interrupted(journal, "b")
    copy = tmp_path / "elsewhere" / "copy.db"
    copy.parent.mkdir()
    with closing(sqlite3.connect(journal)) as db:
        db.execute(f"vacuum into '{copy}'")  # as docs/journal.md says
    code, document, _ = said("resume", "last", "--json", "-q", "--journal", str(copy))
    assert code == 0
    assert document["output"] == whole["output"]
    assert document["tasks"]["a"] == whole["tasks"]["a"]
    assert said("runs", "--json", "--journal", str(copy))[1][0]["status"] == "success"
    assert said("runs", "--json")[1][0]["status"] == "interrupted"


def test_a_damaged_file_is_put_aside_and_new_runs_are_kept(
    journal: Path, said: Said, write: Write
) -> None:
    flow = write(echo("a", 1))
    assert said("run", flow, "-q")[0] == 0
    data = bytearray(journal.read_bytes())
    data[100:4000] = bytes(range(256)) * 15 + bytes(60)
    journal.write_bytes(data)
    code, _, err = said("runs")
    assert (code, "is damaged" in err) == (2, True)
    code, _, err = said("run", flow)
    assert (code, "is damaged" in err) == (0, True)
    [aside] = journal.parent.glob("runs.db.damaged-*")
    assert aside.read_bytes() == data
    assert len(said("runs", "--json")[1]) == 1


def test_a_file_of_a_later_version_is_left_alone_and_the_run_goes_on(
    journal: Path, said: Said, write: Write
) -> None:
    flow = write(echo("a", 1))
    assert said("run", flow, "-q")[0] == 0
    with closing(sqlite3.connect(journal)) as db:
        db.execute(f"pragma user_version={VERSION + 1}")
    before = journal.read_bytes()
    code, out, err = said("run", flow)
    assert (code, out) == (0, {"a": {"value": 1}})
    assert "this run is not kept" in err
    assert "install that version" in err
    code, _, err = said("resume", "last")
    assert (code, "install that version" in err) == (2, True)
    assert journal.read_bytes() == before


def test_a_run_goes_on_without_its_file(journal: Path, said: Said, write: Write) -> None:
    flow = write(echo("a", 1), echo("b", "$OUTPUT[a]"))
    whole = said("run", flow, "--json", "-q")[1]
    interrupted(journal, "b")
    Path(flow).unlink()
    code, document, _ = said("resume", "last", "--json", "-q")
    assert (code, document["output"]) == (0, whole["output"])
