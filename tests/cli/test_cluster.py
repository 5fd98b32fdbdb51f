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
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import main
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
