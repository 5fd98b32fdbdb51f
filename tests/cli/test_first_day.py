"""What a new user sees first, and when something is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.cli import main

GONE = "[servers.{0}]\ncommand = 'no-such-program'\n"


def write(directory: Path, *tools: str) -> list[str]:
    """The arguments that name a workflow of these tools and servers that do not start."""
    tasks = [{"id": f"t{number}", "tool": tool} for number, tool in enumerate(tools)]
    (directory / "w.json").write_text(json.dumps({"tasks": tasks}))
    servers = sorted({tool.partition(":")[0] for tool in tools})
    (directory / "servers.toml").write_text("".join(map(GONE.format, servers)))
    return [str(directory / "w.json"), "--servers", str(directory / "servers.toml")]


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    for said in ("run a workflow", "check a workflow", "exit codes:", "the shortest workflow:"):
        assert said in err


def test_servers_that_do_not_start_share_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", *write(tmp_path, "a:x", "b:x", "c:x")]) == 0
    assert '; no tool of servers "a", "b" or "c" was checked' in capsys.readouterr().out


def test_nothing_is_compared_with_a_sequential_run_if_no_call_was_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *write(tmp_path, "a:x", "b:x", "a:y")]) == 1
    err = capsys.readouterr().err
    assert "0 of 3 tasks succeeded" in err
    assert "speedup" not in err
