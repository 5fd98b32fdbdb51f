"""The runs of the command line: kept, listed, shown, taken up again, ended."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.cli import main
from orchestrator.cli.history import row_of
from orchestrator.journal.history import KnownRun
from tests.cli.conftest import ROOT
from tests.conftest import Write
from tests.real_servers import until

Said = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "runs.db"
    monkeypatch.setenv("ORCHESTRATOR_JOURNAL", str(path))
    return path


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], servers: str) -> Said:
    """Run a command; its exit code, its stdout as JSON if it is that, and its stderr."""

    def run(*arguments: str) -> tuple[int, Any, str]:
        code = main([*arguments, "--servers", servers])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out.lstrip().startswith(("{", "[")) else out, err

    return run


def echo(task: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"id": task, "tool": "faulty:echo", "arguments": {"value": value}, **more}


def test_a_run_is_kept_listed_and_shown(journal: Path, said: Said, write: Write) -> None:
    path = write(echo("a", 1), {"id": "b", "value": "$OUTPUT[a].value"}, name="two")
    code, out, _ = said("run", path, "-q")
    assert (code, out) == (0, {"b": 1})
    _, (run,), _ = said("runs", "--json")
    assert (run["workflow"], run["status"], run["resumed"]) == ("two", "success", 0)
    assert said("runs", "--json", "--workflow", "other")[1] == []
    assert said("runs", "--json", "--status", "failed")[1] == []
    _, document, _ = said("show", "last", "--json")
    assert document["run_id"] == run["id"]
    assert document["tasks"]["a"]["output"] == {"value": 1}
    assert said("show", run["id"][:14], "a")[1]["attempts"] == 1
    _, table, size = said("runs")
    assert run["id"] in table
    assert str(journal) in size


def test_an_item_is_shown_by_its_name(journal: Path, said: Said, write: Write) -> None:
    assert not journal.exists()
    each = {"id": "e", "for_each": [1, 2], "tool": "faulty:echo", "arguments": {"value": "$ITEM"}}
    assert said("run", write(each), "-q")[0] == 0
    _, item, _ = said("show", "last", "e[1]")
    assert (item["index"], item["status"], item["output"]) == (1, "success", {"value": 2})
    code, _, err = said("show", "last", "e[2]")
    assert (code, 'unknown task "e[2]"' in err) == (2, True)


def test_a_row_of_the_runs_says_how_long_one_runs_and_where_it_comes_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("orchestrator.cli.history.time", SimpleNamespace(time=lambda: 86_465.0))
    run = KnownRun("r2", "w", "running", "retry", "r1", 1, 86_400.0, None, None)
    assert row_of(run)[3].startswith("1970-01-0")
    assert row_of(run)[4:] == ("1:05 so far", "1x retry of r1")


@pytest.mark.parametrize("shown", ["table", "lines", "json"])
@pytest.mark.usefixtures("journal")
def test_runs_are_watched_until_an_interrupt(
    shown: str, write: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []

    def sleep(wait_s: float) -> None:
        looks.append(wait_s)
        if len(looks) == 3:
            raise KeyboardInterrupt
        if len(looks) == 1:
            assert main(["run", write({"id": "v", "value": 1}, name="later"), "-q"]) == 0

    assert main(["run", write({"id": "v", "value": 1}, name="first"), "-q"]) == 0
    capsys.readouterr()
    monkeypatch.setattr("orchestrator.cli.history.time", SimpleNamespace(time=lambda: 0))
    monkeypatch.setattr("orchestrator.cli.watch.time", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: shown == "table")
    assert main(["runs", "--watch", *(["--json"] if shown == "json" else [])]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert looks == [1.0] * 3
    if shown == "table":
        assert any("later" in line and "success" in line for line in lines)
        return
    about = [line for line in lines if "first" in line or "later" in line]
    assert [("first" in line, "success" in line) for line in about] == [(True, True), (False, True)]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other directories")
def test_the_file_is_the_one_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Said, write: Write, servers: str
) -> None:
    monkeypatch.delenv("ORCHESTRATOR_JOURNAL", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert said("run", write(echo("a", 1)), "-q")[0] == 0
    assert (tmp_path / "state" / "orchestrator" / "runs.db").exists()
    text = Path(servers).read_text()
    Path(servers).write_text(f'{text}\n[journal]\npath = "mine.db"\noutputs = false\n')
    assert said("run", write(echo("a", 1)), "-q")[0] == 0
    assert (tmp_path / "mine.db").exists()
    assert said("show", "last", "a")[1]["output"] is None
    monkeypatch.chdir(tmp_path)
    assert main(["runs", "--json"]) == 0
    Path(servers).write_text(f"{text}\n[journal]\nkeep_dayz = 1\nkeep_runs = 0\n")
    code, _, err = said("runs")
    assert code == 2
    assert 'unknown field "keep_dayz". Did you mean "keep_days"?' in err
    assert "keep_runs" in err


@pytest.mark.usefixtures("journal")
def test_a_fork_makes_what_has_changed(said: Said, write: Write) -> None:
    def flow(name: str) -> str:
        tasks = echo("a", "$INPUT.x"), echo("b", 1), echo("c", "$OUTPUT[a].value")
        return write(*tasks, inputs={"x": {"default": 1}, "y": {"default": 2}}, name=name)

    assert said("run", flow("first"), "-q", "x=2")[0] == 0
    code, document, _ = said("fork", "last", "x=3", "--json")
    assert (code, document["tasks"]["c"]["output"]) == (0, {"value": 3})
    _, (forked, first), _ = said("runs", "--json")
    assert (forked["kind"], forked["origin"]) == ("fork", first["id"])
    path = flow("second")
    code, document, _ = said("fork", first["id"], "--file", path, "--json")
    assert (code, document["workflow"]) == (0, "second")
    assert document["tasks"]["a"]["output"] == {"value": 2}
    code, _, err = said("fork", "last", "z=3")
    assert (code, 'unknown input "z"' in err) == (2, True)


def test_the_times_of_earlier_runs_say_what_goes_first(
    journal: Path, said: Said, write: Write
) -> None:
    run = ["run", write(echo("a", 1), echo("b", 2)), "--json", "-q", "--max-concurrency", "1"]
    assert said(*run)[0] == 0
    with sqlite3.connect(journal) as db:
        longer = "json_set(payload, '$.duration_ms', 60000.0)"
        db.execute(f"update record set payload={longer} where kind='task' and path='b'")
    tasks = said(*run, "--statistics")[1]["tasks"]
    assert tasks["b"]["started_ms"] < tasks["a"]["started_ms"]


@pytest.mark.usefixtures("journal")
def test_one_task_is_made_again(said: Said, write: Write) -> None:
    path = write(echo("a", 1), echo("b", "$OUTPUT[a].value"))
    _, before, _ = said("run", path, "--json", "-q")
    code, document, _ = said("retry", "last", "--task", "a", "--failed", "--json")
    assert code == 0
    assert document["tasks"]["a"] != before["tasks"]["a"]
    assert document["tasks"]["b"] == before["tasks"]["b"]


@pytest.mark.usefixtures("journal")
def test_values_alone_need_no_servers_file(
    write: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write({"id": "a", "ask": {"message": "Which?"}}, {"id": "b", "value": "$OUTPUT[a]"})
    assert main(["validate", path]) == 0
    assert "not checked" not in capsys.readouterr().out
    assert main(["run", path, "--quiet"]) == 3
    assert main(["answer", "last", "a", "yes"]) == 0
    capsys.readouterr()
    assert main(["resume", "last", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out) == {"b": True}
    path = write({"id": "a", "ask": {"message": "Which?"}}, name="x", inputs={"n": {"default": 1}})
    assert main(["run", path]) == 3
    assert main(["answer", "last", "a", "yes"]) == 0
    capsys.readouterr()
    assert main(["resume", "last"]) == 0
    assert '--> workflow "x" (/inputs/n)' in capsys.readouterr().err
    assert main(["run", path, "--quiet", "--servers", "none.toml"]) == 2
    assert "none.toml" in capsys.readouterr().err


def test_without_a_journal_nothing_is_kept(journal: Path, said: Said, write: Write) -> None:
    assert said("run", write(echo("a", 1)), "-q", "--no-journal")[0] == 0
    assert not journal.exists()
    assert said("run", write(echo("a", 1)), "-q", "--dry-run")[0] == 0
    assert not journal.exists()
    code, _, err = said("runs")
    assert (code, "there is no journal" in err) == (2, True)


@pytest.mark.usefixtures("journal")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "nope"], 'unknown run "nope"'),
        (["show", "last", "c"], 'unknown task "c"'),
        (["resume", "last"], "has ended with status success"),
        (["retry", "last", "--from", "c"], 'unknown task "c"'),
        (["cancel", "last"], "has ended with status success"),
    ],
)
def test_what_cannot_be_is_said(
    arguments: list[str], message: str, said: Said, write: Write
) -> None:
    assert said("run", write(echo("a", 1)), "-q")[0] == 0
    code, _, err = said(*arguments)
    assert code in (1, 2)
    assert message in err


def test_a_journal_that_cannot_be_written_is_a_warning(
    said: Said, write: Write, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    code, out, err = said("run", write(echo("a", 1)), "--journal", str(tmp_path / "file" / "x.db"))
    assert (code, out) == (0, {"a": {"value": 1}})
    assert "this run is not kept: the journal" in err
    other = tmp_path / "mine.db"
    with sqlite3.connect(other) as db:
        db.execute("create table mine(x)")
    code, out, err = said("run", write(echo("a", 1)), "--journal", str(other))
    assert (code, out) == (0, {"a": {"value": 1}})
    assert "is no journal: it is another program's database" in err


def test_a_damaged_journal_is_put_aside(journal: Path, said: Said, write: Write) -> None:
    assert said("run", write(echo("a", 1)), "-q")[0] == 0
    data = bytearray(journal.read_bytes())
    data[100:4000] = bytes(3900)
    journal.write_bytes(data)
    code, _, err = said("run", write(echo("a", 1)))
    assert code == 0
    assert "is damaged" in err
    assert "and a new one begins" in err
    assert len(said("runs", "--json")[1]) == 1
    assert any(".damaged-" in each.name for each in journal.parent.iterdir())


@pytest.mark.usefixtures("journal")
def test_a_retry_reuses_what_succeeded(said: Said, write: Write) -> None:
    items = [{"n": 1}, {"n": "x"}, {"n": 3}]
    flow = write(
        {"id": "a", "tool": "faulty:echo", "arguments": {"value": 1}},
        {"id": "b", "for_each": items, "tool": "faulty:fail", "item_when": "${ITEM.n == 'x'}",
         "arguments": {"message": "no"}},
        {"id": "c", "value": "$OUTPUT[a]", "depends_on": ["b"]},
    )  # fmt: skip
    assert said("run", flow, "-q")[0] == 1
    code, document, _ = said("retry", "last", "--json", "-q")
    assert code == 1
    first, again = said("runs", "--json")[1][::-1]
    assert (again["kind"], again["origin"]) == ("retry", first["id"])
    before = said("show", first["id"], "--json")[1]
    shown = said("show", again["id"], "--json")[1]
    assert list(shown["tasks"]) == list(before["tasks"]) == ["a", "b", "c"]
    assert document["tasks"]["a"] == before["tasks"]["a"]
    assert [item["status"] for item in document["tasks"]["b"]["items"]] == [
        item["status"] for item in before["tasks"]["b"]["items"]
    ]
    code, document, _ = said("retry", first["id"], "--from", "a", "--json", "-q")
    assert document["tasks"]["a"]["output"] == {"value": 1}
    assert document["run_id"] not in (first["id"], again["id"])


def test_a_run_that_was_interrupted_goes_on(journal: Path, said: Said, write: Write) -> None:
    flow = write(
        echo("a", 1),
        {"id": "n", "for_each": [1, 2, 3], "value": "$ITEM"},
        echo("b", "$OUTPUT[n]", delay_s=0.01, depends_on=["a"]),
    )
    _, whole, _ = said("run", flow, "-q", "--json")
    with sqlite3.connect(journal) as db:  # as a process leaves it that ends in the middle
        db.execute("update run set status='running', ended=null, result=null")
        db.execute("delete from record where kind='task' and path in ('b', 'n')")
        db.execute("delete from record where kind='item' and item > 0")
    assert said("runs", "--json", "--status", "interrupted")[1][0]["status"] == "interrupted"
    _, shown, err = said("show", "last")
    assert (shown["status"], list(shown["tasks"])) == ("interrupted", ["a"])
    assert f'"orchestrator resume {whole["run_id"]}" goes on with it' in err
    assert shown["items_settled"] == {"n": 1}
    code, _, err = said("show", "last", "b")
    assert (code, 'task "b" has not settled' in err) == (2, True)
    code, document, _ = said("resume", whole["run_id"][:20], "--json", "-q")
    assert (code, document["resumed"]) == (0, 1)
    assert document["tasks"]["a"] == whole["tasks"]["a"]
    for part in ("output", "status", "summary", "run_id", "started_at"):
        assert document[part] == whole[part]
    assert said("resume", "last")[0] == 2


def ended_in_a_call(journal: Path, said: Said, write: Write) -> None:
    """A run whose process ended between a call that writes, and its answer."""
    flow = write({"id": "a", "tool": "faulty:append", "arguments": {"value": 1}})
    assert said("run", flow, "-q")[0] == 0
    with sqlite3.connect(journal) as db:
        db.execute("update run set status='running', ended=null, result=null")
        db.execute("delete from record where kind='task'")


def test_a_person_decides_about_a_call_that_may_have_been_carried_out(
    journal: Path, said: Said, write: Write
) -> None:
    ended_in_a_call(journal, said, write)
    code, document, err = said("resume", "last", "--json")
    assert (code, document["questions"][0]["kind"]) == (3, "unknown")
    assert "Whether the call was carried out is unknown" in err
    assert said("answer", "last", "a", "forget")[0] == 2
    code, document, _ = said("resume", "last", "--unknown", "fail", "--json", "-q")
    assert code == 1
    assert document["tasks"]["a"]["error"]["details"]["unknown"] is True


def test_an_answer_gives_the_output_of_a_call_that_may_have_been_carried_out(
    journal: Path, said: Said, write: Write
) -> None:
    ended_in_a_call(journal, said, write)
    assert said("resume", "last")[0] == 3
    assert said("answer", "last", "a", '{"output": "as it was"}')[0] == 0
    assert said("resume", "last", "-q")[:2] == (0, {"a": "as it was"})


def test_old_runs_are_deleted(journal: Path, said: Said, write: Write) -> None:
    for _ in range(3):
        assert said("run", write(echo("a", "x" * 100_000)), "-q")[0] == 0
    with sqlite3.connect(journal) as db:
        db.execute("update run set started=0 where id=(select min(id) from run)")
    code, out, err = said("runs", "prune", "--dry-run")
    assert (code, len(out.split())) == (0, 1)
    assert "1 run would be deleted" in err
    size = journal.stat().st_size
    assert "1 run deleted" in said("runs", "prune")[2]
    assert journal.stat().st_size < size
    assert len(said("runs", "--json")[1]) == 2


SETTINGS = 'env = { API_TOKEN = "s3cr3t-0f-the-s3rver" }'


def test_no_secret_of_a_server_is_kept(journal: Path, said: Said, write: Write) -> None:
    flow = write(echo("a", "it is s3cr3t-0f-the-s3rver"), echo("b", [1]), inputs={"x": True})
    assert said("run", flow, "x=s3cr3t-0f-the-s3rver", "-q")[0] == 0
    with sqlite3.connect(journal) as db:
        db.execute("pragma wal_checkpoint")
    for each in journal.parent.glob("runs.db*"):
        if each.is_file():
            assert b"s3cr3t" not in each.read_bytes()
    assert said("show", "last", "b")[1]["output"] == {"value": [1]}


KILLED = {
    "max_concurrency": 1,
    "tasks": [
        {"id": "w", "for_each": list(range(6)), "tool": "faulty:echo",
         "arguments": {"value": "$ITEM"}},
        {"id": "hang", "tool": "faulty:hang", "depends_on": ["w"], "timeout_s": 6},
    ],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="it sends signals")
def test_a_run_that_is_killed_goes_on(
    journal: Path, said: Said, tmp_path: Path, servers: str
) -> None:
    with hanging(journal, tmp_path, servers) as process:
        process.send_signal(signal.SIGKILL)
    (run,) = said("runs", "--json")[1]
    assert run["status"] == "interrupted"
    code, document, _ = said("resume", "last", "--json", "-q")
    assert code == 1
    assert document["resumed"] == 1
    assert document["run_id"] == run["id"]
    assert [item["attempts"] for item in document["tasks"]["w"]["items"]] == [1] * 6
    assert document["tasks"]["hang"]["error"]["kind"] == "timeout"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="it sends signals")
def test_a_run_can_be_ended_from_another_process(
    journal: Path, said: Said, tmp_path: Path, servers: str
) -> None:
    with hanging(journal, tmp_path, servers) as process:
        code, _, err = said("resume", "last")
        assert (code, "is carried by another process" in err) == (2, True)
        assert said("cancel", "last", "--wait", "60")[0] == 0
        assert process.wait(60) == 1
    assert said("runs", "--json")[1][0]["status"] == "cancelled"


@contextmanager
def hanging(journal: Path, home: Path, servers: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that carries a run and waits for its last call."""
    flow = home / "flow.json"
    flow.write_text(json.dumps(KILLED))
    words = [sys.executable, "-m", "orchestrator", "run", str(flow), "-q", "--servers", servers]
    with subprocess.Popen(words, cwd=ROOT, env=os.environ) as process:
        until(lambda: journal.exists() and kept(journal, "tool") == 2)
        yield process


def kept(journal: Path, kind: str) -> int:
    with sqlite3.connect(journal) as db:
        try:
            query = "select count(*) from record where kind=?"
            return int(db.execute(query, (kind,)).fetchone()[0])
        except sqlite3.OperationalError:  # the tables are not there yet
            return 0


@pytest.mark.usefixtures("journal")
def test_a_run_is_explained(said: Said, write: Write) -> None:
    path = write(
        echo("a", 1, locks=["x"]),
        echo("b", 2, locks=["x"]),
        {"id": "c", "tool": "faulty:flaky", "arguments": {"key": "explained"}}
        | {"retry": {"max_attempts": 3, "initial_s": 0.02}},
        max_concurrency=1,
    )
    assert said("run", path, "-q")[0] == 0
    code, out, _ = said("explain", "last")
    assert code == 0
    assert out.startswith("flow: success in ")
    assert "What decided how long it took:" in out
    assert "c waited " in out
    assert "for its next attempt (backoff of retry)" in out
    _, document, _ = said("explain", "last", "--json")
    assert {wait["waiting_for"]["kind"] for wait in document["waits"]} >= {"retry"}
    assert document["path"][-1]["to_ms"] <= document["duration_ms"] + 2
    assert all(change["saves_ms"] >= 1 for change in document["changes"])
    assert said("run", write({"id": "v", "value": 1}, name="v"), "-q")[0] == 0
    assert "No call was made." in said("explain", "last")[1]


def test_a_run_that_a_retry_made_can_be_taken_up(
    journal: Path, said: Said, write: Write, servers: str
) -> None:
    text = Path(servers).read_text()
    Path(servers).write_text(text.replace("cwd", "max_concurrency = 3\ncwd", 1))
    flow = write(echo("a", 1), {"id": "b", "tool": "faulty:fail", "arguments": {"message": "no"}})
    assert said("run", flow, "-q")[0] == 1
    assert said("retry", "last", "-q")[0] == 1
    assert said("retry", "last", "-q")[0] == 1
    assert said("fork", "last", "-q")[0] == 1
    assert said("retry", "last", "-q")[0] == 1
    with sqlite3.connect(journal) as db:
        db.execute("update run set status='running', ended=null, result=null")
        db.execute("delete from record where kind='task' and path='b'")
    code, document, _ = said("resume", "last", "-q", "--json")
    assert (code, document["status"], document["tasks"]["a"]["attempts"]) == (1, "partial", 1)


def test_a_retry_of_an_interrupted_run_makes_no_item_again_and_asks_about_calls_in_doubt(
    journal: Path, said: Said, write: Write
) -> None:
    each = {"for_each": [1, 2, 3], "tool": "faulty:append", "arguments": {"value": "$ITEM"}}
    assert said("run", write({"id": "a", **each}), "-q")[0] == 0
    with sqlite3.connect(journal) as db:
        db.execute("update run set status='running', ended=null, result=null")
        db.execute("delete from record where kind='task'")
        db.execute("delete from record where kind='item' and item = 2")
    _, before, _ = said("show", "last", "--json")
    assert before["items_settled"] == {"a": 2}
    code, document, _ = said("retry", "last", "--json")
    [question] = document["questions"]
    assert (code, question["kind"], question["item"]) == (3, "unknown", 2)
    assert said("answer", "last", "a", "--item", "2", '{"output": "given"}')[0] == 0
    code, out, _ = said("resume", "last", "-q")
    assert (code, out["a"][2]) == (0, "given")


def test_a_retry_asks_about_a_call_that_failed_since_its_outcome_is_unknown(
    journal: Path, said: Said, write: Write
) -> None:
    ended_in_a_call(journal, said, write)
    assert said("resume", "last", "--unknown", "fail", "-q")[0] == 1
    code, document, _ = said("retry", "last", "--json")
    assert (code, document["questions"][0]["kind"]) == (3, "unknown")
    assert said("retry", "last", "--task", "a", "-q")[0] == 0  # somebody has decided


@pytest.mark.usefixtures("journal")
def test_a_run_that_is_refused_is_not_kept(said: Said, write: Write) -> None:
    good = write(echo("a", 1), name="good")
    assert said("run", good, "-q")[0] == 0
    wrong = {"id": "a", "tool": "faulty:missing"}
    for flow in (write(wrong), write(wrong, timeout_s=60)):
        code, _, err = said("run", flow, "-q")
        assert (code, "unknown tool" in err) == (2, True)
        assert said("fork", "last", "--file", flow, "-q")[0] == 2
    assert [run["workflow"] for run in said("runs", "--json")[1]] == ["good"]


def test_a_file_that_is_no_database_stays_as_it_is(
    tmp_path: Path, said: Said, write: Write
) -> None:
    other = tmp_path / "precious.json"
    other.write_text('{"mine": "' + "x" * 5000 + '"}')
    before = other.read_text()
    code, _, err = said("run", write(echo("a", 1)), "--journal", str(other))
    assert (code, "is no journal: it is not a database" in err) == (0, True)
    assert other.read_text() == before
    assert said("runs", "--journal", str(other))[0] == 2


@pytest.mark.parametrize("payload", ["{oops", "[]", "null", "{}", '{"error": 1}'])
def test_what_cannot_be_read_of_a_run_is_told_and_it_can_be_cancelled(
    payload: str, journal: Path, said: Said, write: Write
) -> None:
    asks = {"id": "go", "ask": {"message": "Go on?"}, "depends_on": ["a"]}
    for _ in range(2):
        assert said("run", write({"id": "a", "value": 1, "for_each": [1, 2]}, asks))[0] == 3
    with sqlite3.connect(journal) as db:
        db.execute("update record set payload=? where run=(select max(id) from run)", (payload,))
    for words in (["show"], ["resume"], ["retry"], ["report"], ["explain"], ["answer"]):
        code, _, err = said(*words, "last", *(["go", "yes"] if words == ["answer"] else []))
        assert (code, "cannot be read" in err, "cancel" in err) == (2, True, True), (words, err)
    runs = said("runs", "--json")[1]
    assert [run["status"] for run in runs] == ["paused", "paused"]
    assert said("cancel", "last")[0] == 0
    assert said("runs")[0] == 0


def test_a_run_of_a_workflow_of_another_version_can_be_cancelled(
    journal: Path, said: Said, write: Write
) -> None:
    assert said("run", write({"id": "go", "ask": {"message": "Go on?"}}))[0] == 3
    with sqlite3.connect(journal) as db:
        db.execute("update run set request=replace(request, '\"ask\"', '\"asks\"'), resumed=-1")
    code, _, err = said("cancel", "last")
    assert (code, "cannot be read, so its finally does not run: unknown" in err) == (0, True), err
    (run,) = said("runs", "--json")[1]
    assert (run["status"], run["resumed"]) == ("cancelled", 0)
    with sqlite3.connect(journal) as db:
        db.execute("update run set request='[]'")
    assert said("stats")[0] == 0  # it counts, without what it called


def test_a_run_whose_tool_is_gone_can_be_cancelled(journal: Path, said: Said, write: Write) -> None:
    last = {"finally": [echo("z", 2)]}
    assert said("run", write(echo("a", 1), echo("b", 1, depends_on=["a"]), **last), "-q")[0] == 0
    with sqlite3.connect(journal) as db:
        request = json.loads(db.execute("select request from run").fetchone()[0])
        request["workflow"]["tasks"][1]["tool"] = "faulty:gone"
        now = "status='running', ended=null, result=null, request=?"
        db.execute(f"update run set {now}", (json.dumps(request),))
        db.execute("delete from record where path in ('b', 'z')")
    code, _, err = said("resume", "last")
    assert (code, "unknown tool" in err) == (2, True)
    assert "--file FILE" in err
    assert said("runs", "--json")[1][0]["status"] == "interrupted"
    assert said("cancel", "last")[0] == 0
    assert said("show", "last", "z")[1]["status"] == "success"
    assert said("runs", "--json")[1][0]["status"] == "cancelled"
