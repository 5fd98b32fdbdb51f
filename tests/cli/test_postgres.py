"""The commands with a journal in PostgreSQL; no password is in what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import main
from orchestrator.journal.location import Address
from tests.conftest import Write
from tests.postgres import PASSWORD, Server

ASK = {"id": "a", "ask": {"message": "a?", "schema": {"type": "string"}}}


class Terminal:
    """What the commands say, one after the other."""

    def __init__(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self._url, self._capsys = url, capsys

    def __call__(self, *words: str) -> tuple[int, Any, str]:
        code = main([*words, "--database", self._url])
        out, err = self._capsys.readouterr()
        assert PASSWORD not in out + err
        return code, json.loads(out) if out.lstrip().startswith(("{", "[")) else out, err


@pytest.fixture
def url(database: Address, postgres: Server) -> str:
    """A URL with a password."""
    assert database
    return postgres.url_over_tcp("postgres")


@pytest.fixture
def terminal(url: str, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(url, capsys)


@pytest.fixture(autouse=True)
def directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the commands run."""
    monkeypatch.chdir(tmp_path)


def test_all_commands_of_runs_take_a_database(terminal: Terminal, write: Write) -> None:
    flow = write(ASK, {"id": "b", "value": "$OUTPUT[a]"}, name="two")
    code, _, err = terminal("run", flow)
    assert code == 3
    assert "orchestrator answer" in err
    assert terminal("answer", "last", "a", "yes")[0] == 0
    code, out, _ = terminal("resume", "last", "-q")
    assert (code, out) == (0, {"b": "yes"})
    assert terminal("show", "last", "b")[1]["output"] == "yes"
    assert terminal("retry", "last", "-q")[0] == 0
    assert terminal("fork", "last", "-q")[0] == 0
    _, found, _ = terminal("runs", "--json")
    assert [run["kind"] for run in found] == ["fork", "retry", "run"]
    _, table, size = terminal("runs")
    assert "two" in table
    assert size.startswith("postgresql://tester:***@127.0.0.1:")
    assert "MB" in size
    assert terminal("stats", "--json")[1]["runs"]["ended"] == {"success": 3}
    assert terminal("explain", "last")[0] == 0
    assert terminal("report", "last", "-o", "report.html")[0] == 0
    assert Path("report.html").stat().st_size > 1000
    assert terminal("run", flow)[0] == 3
    assert "cancelled" in terminal("cancel", "last")[2]
    assert "0 runs deleted; postgresql://tester:***@" in terminal("runs", "prune")[2]


def test_a_database_is_named_in_the_environment_or_in_the_configuration(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    flow = write({"id": "v", "value": 1}, name="one")
    Path("servers.toml").write_text(
        f"[journal]\npath = {json.dumps(url)}\n[servers.s]\ncommand = 'none'\n"
    )
    monkeypatch.delenv("ORCHESTRATOR_JOURNAL", raising=False)
    assert main(["run", flow, "-q"]) == 0
    Path("servers.toml").unlink()
    monkeypatch.setenv("ORCHESTRATOR_JOURNAL", url)
    assert main(["run", flow, "-q"]) == 0
    capsys.readouterr()
    assert main(["runs", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2


def test_a_run_goes_on_without_a_database_and_other_commands_say_why_they_do_not(
    capsys: pytest.CaptureFixture[str], write: Write
) -> None:
    away = Terminal("postgresql://u:sesame@127.0.0.1:1/x", capsys)
    code, out, err = away("run", write({"id": "v", "value": 1}, name="one"), "-q")
    assert (code, out) == (0, {"v": 1})
    assert "this run is not kept: the journal postgresql://u:***@127.0.0.1:1/x" in err
    assert "no server answers; start it, or name another journal with --journal" in err
    for words in (["runs"], ["show", "last"], ["resume", "last"], ["runs", "prune"], ["stats"]):
        code, out, err = away(*words)
        assert (code, out) == (2, "")
        assert err.count("\n") == 1
        assert "no server answers" in err
    other = Terminal("mysql://u:sesame@h/x", capsys)
    assert "expected a file, or postgresql://" in other("runs")[2]
