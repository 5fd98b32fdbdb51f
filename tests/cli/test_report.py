"""Reports of runs: beside a run, and from the journal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import main
from tests.conftest import Write

SECRET = "s3cr3t-0f-the-s3rver"
SETTINGS = f'env = {{ API_TOKEN = "{SECRET}" }}'


def echo(task: str, **arguments: Any) -> dict[str, Any]:
    return {"id": task, "tool": "faulty:echo", "arguments": arguments}


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ORCHESTRATOR_JOURNAL", str(tmp_path / "runs.db"))
    return tmp_path / "runs.db"


@pytest.mark.usefixtures("journal")
def test_a_run_and_the_journal_give_the_same_report(
    tmp_path: Path, servers: str, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {"id": "b", "tool": "faulty:fail", "arguments": {"message": "$OUTPUT[a].value"}}
    last = {**echo("c", value=1), "depends_on": ["b"]}
    flow = write(echo("a", value=f"it is {SECRET}"), wrong, last)
    one, two, bars = (tmp_path / name for name in ("one.html", "two.html", "bars.json"))
    options = ["-q", "--servers", servers, "--report", str(one), "--perfetto", str(bars)]
    assert main(["run", flow, *options]) == 1
    assert main(["report", "last", "-o", str(two), "--servers", servers]) == 0
    assert one.read_text() == two.read_text()
    assert "Task &quot;b&quot; (faulty:fail) failed first" in one.read_text()
    assert "Skipped because of it: c." in one.read_text()
    assert "orchestrator retry" in one.read_text()
    assert SECRET not in one.read_text() + bars.read_text()
    assert "a faulty:echo" in [
        event["name"] for event in json.loads(bars.read_text())["traceEvents"]
    ]
    capsys.readouterr()
    assert main(["report", "last", "--servers", servers]) == 0
    assert capsys.readouterr().out == one.read_text()
    assert main(["report", "last", "-o", str(tmp_path / "no" / "x"), "--servers", servers]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_does_not_lose_the_result(
    tmp_path: Path,
    write: Write,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flow = write({"id": "a", "value": 1})
    monkeypatch.chdir(tmp_path)
    quiet = ["-q", "--no-journal"]
    assert main(["run", flow, *quiet, "--report", "/dev/null"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out) == {"a": 1}
    assert "/dev/null cannot be written: not a regular file" in err


def test_a_run_that_has_not_ended_has_no_report(
    journal: Path,
    tmp_path: Path,
    write: Write,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import sqlite3

    monkeypatch.chdir(tmp_path)
    assert main(["run", write({"id": "a", "value": 1}), "-q"]) == 0
    with sqlite3.connect(journal) as db:
        db.execute("update run set status='running', ended=null, result=null")
    assert main(["report", "last"]) == 2
    err = capsys.readouterr().err
    assert "has not ended (status interrupted)" in err
    assert '"orchestrator show ' in err


@pytest.mark.usefixtures("journal")
def test_a_run_that_waits_has_a_report_with_what_waits(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", write({"id": "a", "ask": {"message": "go?"}}), "-q"]) == 3
    path = tmp_path / "waits.html"
    assert main(["report", "last", "-o", str(path)]) == 0
    assert '<span class="state waiting">waiting</span>' in path.read_text()
