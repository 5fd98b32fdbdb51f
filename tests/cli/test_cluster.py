"""`submit` and `worker`, in this process and as programs that are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import main
from orchestrator.cli.parser import at, delay
from orchestrator.journal.history import runs
from orchestrator.journal.location import Address
from tests.cli.conftest import ROOT
from tests.conftest import Write
from tests.journals import ask
from tests.real_servers import until


@pytest.fixture
def named(database: Address, servers: str, monkeypatch: pytest.MonkeyPatch) -> Address:
    """The database, named in the environment, beside a servers.toml."""
    monkeypatch.setenv("ORCHESTRATOR_JOURNAL", database.url)
    monkeypatch.chdir(Path(servers).parent)
    return database


def ended(database: Address, *statuses: str) -> Callable[[], bool]:
    return lambda: sorted(run.status for run in runs(database)) == sorted(statuses)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["worker", "--at-once", "0"], "expected an integer of at least 1"),
        (["worker", "--label", ""], "expected a label, got an empty one"),
        (["submit", "flow.json", "--needs", " "], "expected a label, got an empty one"),
    ],
)
def test_what_would_wait_for_ever_is_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert message in capsys.readouterr().err


def test_a_worker_carries_what_is_submitted_until_it_is_asked_to_end(
    named: Address, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    flow = write({"id": "v", "value": 1}, {"id": "a", "ask": {"message": "?"}}, name="one")
    assert main(["submit", flow]) == 0
    run = capsys.readouterr().out.strip()
    assert runs(named)[0].id == run
    assert main(["runs", "--status", "queued", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["workflow"] == "one"

    def wait_and_end() -> None:
        try:
            until(ended(named, "paused"))
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    helper = threading.Thread(target=wait_and_end)
    helper.start()
    assert main(["worker", "--at-once", "2"]) == 0
    helper.join()
    assert "carries runs of postgresql://tester@" in capsys.readouterr().err


def test_what_operators_say_of_locks_and_budgets_holds_for_who_submits_and_who_carries(
    named: Address, servers: str, write: Write
) -> None:
    with Path(servers).open("a") as more:
        more.write("[resources]\ngpu = 2\n[budget]\ncalls = 1\n[locks.gpu]\nscope = 'cluster'\n")
    call = {
        "tool": "faulty:echo",
        "arguments": {"value": 1},
        "locks": [{"name": "gpu", "count": 2}],
    }
    flow = write({"id": "a", **call}, {"id": "b", **call, "depends_on": ["a"]})
    assert main(["submit", flow]) == 0

    def wait_and_end() -> None:
        try:
            until(ended(named, "failed"))
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    helper = threading.Thread(target=wait_and_end)
    helper.start()
    assert main(["worker"]) == 0
    helper.join()
    assert ask(named, "select result::jsonb ->> 'reason' from run") == [("budget",)]


def test_a_run_is_submitted_with_what_is_asked_of_the_queue(
    named: Address, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    flow = write({"id": "v", "value": 1})
    wants = ["--key", "k", "--priority", "-5", "--max-runs", "2", "--needs", "b", "--needs", "a"]
    assert main(["submit", flow, *wants, "--at", "2033-05-18"]) == 0
    run = capsys.readouterr().out.strip()
    assert main(["submit", flow, "--key", "k"]) == 0
    out, err = capsys.readouterr()
    assert out.strip() == run
    assert f'run {run} has the key "k" already: nothing new is submitted' in err
    has = "it has priority -5, not before 2033-05-18 00:00:00, max-runs 2, needs a, b"
    assert f"; other than asked for now, {has}" in err
    assert "the run waits: it is due at 2033-05-18" in err
    assert main(["runs"]) == 0
    err = capsys.readouterr().err
    assert f"{run} waits: it is due at 2033-05-18" in err
    assert "(priority -5, max-runs 2, needs a, b)\n" in err
    assert main(["runs", "--json"]) == 0
    (known,) = json.loads(capsys.readouterr().out)
    due = known["order"]["due"]
    order = {"key": "k", "priority": -5, "due": due, "max_runs": 2, "labels": ["a", "b"]}
    assert known["order"] == order
    assert due > 1_999_000_000
    assert main(["show", run]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["order"] == known["order"]
    assert "it was submitted with priority -5, not before 2033-05-18 00:00:00, max-runs 2" in err
    assert main(["submit", flow, "--delay", "99999999d"]) == 2
    assert "expected a time to begin within 100 years, got one in 273," in capsys.readouterr().err
    columns = "run, key, priority, max_runs, labels, due > 1999000000"
    assert ask(named, f"select {columns} from queued") == [(run, "k", -5, 2, '["a", "b"]', True)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--delay", "5x"], 'expected a time such as 30s, 10m, 12h or 7d, got "5x"'),
        (["--delay", "0s"], 'expected a time such as 30s, 10m, 12h or 7d, got "0s"'),
        (["--delay", "-5s"], 'expected a time such as 30s, 10m, 12h or 7d, got "-5s"'),
        (["--at", "25:00"], "expected a time such as 2026-01-31T03:00 or 03:00, either also with"),
        (["--at", "12:00+99:00"], 'an offset such as +02:00 or Z, got "12:00+99:00"'),
        (["--at", "2020-01-01"], 'expected a time to come, got "2020-01-01", which has passed'),
        (["--database", ""], "got an empty text: is a variable of your shell unset?"),
        (["--needs", ""], "expected a label, got an empty one"),
        (["--priority", "high"], 'expected an integer, got "high"'),
        (["--at", "03:00", "--delay", "1h"], "not allowed with argument"),
    ],
)
def test_times_and_numbers_that_are_none_are_refused(
    words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["submit", "flow.json", *words])
    assert expected in capsys.readouterr().err


def test_a_time_of_the_clock_is_the_next_one() -> None:
    now = datetime.now().astimezone()
    soon, past = now + timedelta(minutes=2), now - timedelta(minutes=2)
    assert 0 < at(f"{soon:%H:%M}") - now.timestamp() <= 120
    assert 0 < at(f"{past:%H:%M}") - now.timestamp() < 86_400
    assert delay("10m") >= now.timestamp() + 600


@pytest.mark.parametrize("offset", ["+02:00", "-05:30", "Z", "+14:00"])
def test_a_time_of_the_clock_with_an_offset_is_that_of_its_zone(offset: str) -> None:
    found = datetime.fromtimestamp(at(f"12:00{offset}"), UTC)
    zone = datetime.fromisoformat(f"2026-01-31T12:00{offset}").tzinfo
    assert f"{found.astimezone(zone):%H:%M:%S}" == "12:00:00"
    assert timedelta() < found - datetime.now(UTC) + timedelta(seconds=5) <= timedelta(days=1.1)


def test_who_submits_is_told_how_to_start_a_worker(
    named: Address, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    flow = write({"id": "v", "value": 1})
    assert main(["submit", flow, "--needs", "big one"]) == 0
    out, err = capsys.readouterr()
    start = "start one: orchestrator worker --label 'big one'"
    assert f"orchestrator: the run waits: no worker is connected; {start}" in err
    assert runs(named)[0].id == out.strip()


def test_a_file_is_no_queue(
    named: Address, write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    assert named
    file = str(tmp_path / "runs.db")
    for words in (["submit", write({"id": "v", "value": 1})], ["worker"]):
        assert main([*words, "--journal", file]) == 2
        assert "needs a journal in PostgreSQL" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "orchestrator.cluster.dispatch", None)
    assert main(["worker"]) == 2
    assert "pip install 'mcp-orchestrator[cluster]'" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["-1", "0", "1.5"])
def test_a_maximum_of_runs_is_one_at_least(
    number: str, named: Address, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    assert named
    with pytest.raises(SystemExit):
        main(["submit", write({"id": "v", "value": 1}), "--max-runs", number])
    assert f'expected an integer of at least 1, got "{number}"' in capsys.readouterr().err


def test_a_run_that_has_not_begun_is_cancelled_from_anywhere_and_starts_no_server(
    named: Address, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    call = {"id": "a", "tool": "faulty:echo", "arguments": {"value": 1}}
    Path("last.json").write_text(json.dumps({"tasks": [call], "finally": [call | {"id": "z"}]}))
    assert main(["submit", write(call)]) == 0
    values = {"tasks": [call], "finally": [{"id": "z", "value": 1}]}
    Path("values.json").write_text(json.dumps(values))
    assert main(["submit", "last.json"]) == 0
    assert main(["submit", "values.json"]) == 0
    valued, last, run = (each.id for each in runs(named))
    (tmp_path / "away").mkdir()
    monkeypatch.chdir(tmp_path / "away")
    assert main(["cancel", run]) == 0
    assert main(["cancel", valued]) == 0
    assert main(["cancel", last]) == 2  # its `finally` needs its server
    assert "cannot be read: No such file" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    assert main(["cancel", last]) == 0
    done = ask(named, "select count(*) from record where kind='task' and path='z'")
    assert done == [(2,)]


@pytest.mark.untraced
@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_another_worker_goes_on_with_what_one_has_left_that_was_killed_or_frozen(
    how: signal.Signals, named: Address, write: Write, tmp_path: Path
) -> None:
    tasks: list[dict[str, Any]] = [
        {"id": f"t{n}", "tool": "faulty:append", "arguments": {"value": n, "ms": 300}}
        for n in range(12)
    ]
    for before, task in pairwise(tasks):
        task["depends_on"] = [before["id"]]
    flow = write(*tasks, name="chain")
    assert main(["submit", flow]) == 0

    def worker() -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "orchestrator", "worker", "--unknown", "repeat"]
        return subprocess.Popen(words, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})

    first = worker()
    try:
        until(lambda: _settled(named) >= 3)
        second = worker()
        try:
            first.send_signal(how)
            began = time.monotonic()
            until(lambda: runs(named)[0].resumed == 1)
            print(f"{how.name}: taken over after {time.monotonic() - began:.1f} s")
            until(ended(named, "success"))
        finally:
            second.send_signal(signal.SIGTERM)
            assert second.wait(60) == 0
    finally:
        first.kill()
        first.wait()
    (run,) = runs(named)
    assert run.resumed == 1
    twice = "select path from record where kind='task' group by path having count(*) <> 1"
    assert ask(named, twice) == []


def _settled(database: Address) -> int:
    (count,) = ask(database, "select count(*) from record where kind='task'")[0]
    return int(count)


def test_a_database_that_no_worker_can_use_is_an_error_with_what_to_do(
    named: Address, capsys: pytest.CaptureFixture[str]
) -> None:
    assert named
    for url, why in (
        ("postgresql://u:hu@sh@h/x", "its URL is wrong"),
        ("POSTGRESQL://u:hush@h:port/x", "a port is a number"),
        ("host=h password=hush", "expected the URL of a database"),
        ("postgresql://u:hush@127.0.0.1:1,127.0.0.1:1/x", "no server answers"),
    ):
        assert main(["worker", "--database", url]) == 2
        said = capsys.readouterr().err
        assert why in said
        assert "hush" not in said
        assert "sh@" not in said
