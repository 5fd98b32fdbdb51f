"""`orchestrator run --stream`: a plan that is still being written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.cli import main

A, B = '{"id": "a", "value": 3}\n', '{"id": "b", "value": "$OUTPUT[a]"}\n'
WRONG = '{"id": "b", "value": "$OUTPUT[z]"}\n'


def run_stream(home: Path, text: str, *options: str) -> int:
    """The exit code of a run of a plan with this text; no server is started."""
    plan, servers = home / "plan.jsonl", home / "servers.toml"
    plan.write_text(text)
    servers.write_text('[servers.s]\ncommand = "python"\n')
    return main(["run", "--stream", str(plan), "--servers", str(servers), *options])


@pytest.mark.parametrize(
    ("text", "code", "output", "answers"),
    [
        (A + B, 0, {"b": 3}, []),
        (A + WRONG + B, 0, {"b": 3}, ["b"]),  # sent again
        (A + WRONG, 1, {"a": 3}, ["b"]),
        (A + "{broken}" + B, 1, {"b": 3}, [None]),
        (A + '{"close": true}\n' + B, 0, {"a": 3}, []),
        ('{"inputs": {"x": {"default": 5}}}\n{"id": "a", "value": "$INPUT.x"}', 0, {"a": 5}, []),
        ('{"tasks": [' + A + "," + B + '], "output": "$OUTPUT[a]"}', 0, 3, []),
        (
            '{"inputs": {"x": {"default": 5}}, "tasks": [{"id": "a", "value": "$INPUT.x"}]}',
            0,
            {"a": 5},
            [],
        ),
        ('{"tasks": [' + A + '], "timeout_s": 5}', 1, {"a": 3}, [None]),  # it came too late
        (A + '{"id": "b", "va', 1, {"a": 3}, []),  # cut: cancelled
        ("", 1, {}, [None]),
    ],
)
def test_a_stream_of_tasks(
    text: str,
    code: int,
    output: object,
    answers: list[object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_stream(tmp_path, text, "--quiet") == code
    out, err = capsys.readouterr()
    assert json.loads(out) == output
    told = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    assert [each["task"] for each in told] == answers
    assert all(each["problems"] for each in told)


def test_the_whole_time_is_in_the_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_stream(tmp_path, A, "--json", "-q") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["wall_ms"] >= result["duration_ms"]


def test_no_journal_keeps_a_stream(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_stream(tmp_path, A, "--journal", str(tmp_path / "runs.db")) == 2
    assert "no journal keeps a plan" in capsys.readouterr().err
