"""`orchestrator run --stream`: a plan that is still being written."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from orchestrator.cli import main
from tests.cli.conftest import ROOT

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
        (A + '{"close": true}\n' + B, 1, {"a": 3}, ["b"]),  # it came too late
        (A + '{"close": true}\n17', 1, {"a": 3}, [None]),
        (A + '[1]\n[]\n[{"id": "c"}]\n' + B, 1, {"b": 3}, [None] * 3),
        (A + 'two words\n"str"\n17\nnull\n]\n' + B, 1, {"b": 3}, [None] * 5),
        ('garbage\n{"name": "w"}\n' + A, 1, {"a": 3}, [None]),
        ('{"tasks": [' + A + ", oops " + B + "]}", 1, {"b": 3}, [None]),
        (A + '{"output": 1, "name": "w"}', 1, {"a": 3}, [None]),
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


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (A + WRONG, 'task "b" was refused'),
        (A + WRONG + "oops\n", 'task "b" and something that is no task was refused'),
        (A + '{"close": true}\n' + B, 'task "b" was refused'),
    ],
)
def test_a_run_whose_task_was_refused_is_partial_wherever_it_is_told(
    text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = ["--journal", str(tmp_path / "runs.db")]
    assert run_stream(tmp_path, text, "--json", "-q", *journal) == 1
    result = json.loads(capsys.readouterr().out)
    assert result["status"] == "partial"
    assert result["error"]["message"] == f"{says}, and did not come again: see stderr"
    assert result["error"]["details"] == {"refused": ["b"]}
    assert main(["runs", "--json", *journal]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["status"] == "partial"
    assert run_stream(tmp_path, A + WRONG + B, "--json", "-q", *journal) == 0  # sent again
    result = json.loads(capsys.readouterr().out)
    assert (result["status"], result["error"]) == ("success", None)


def test_a_task_that_the_operator_answers_for_is_refused_with_the_reason(
    tmp_path: Path, servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    reads = '{"id": "a", "tool": "faulty:echo", "arguments": {"value": 1}}\n'
    sends = '{"id": "b", "tool": "faulty:append", "arguments": {"value": "$OUTPUT[a]"}}\n'
    plan, path = tmp_path / "plan.jsonl", Path(servers)
    plan.write_text('{"name": "brief"}\n' + reads + sends)
    settings = 'trust = "untrusted"\nsensitive = ["append"]\n[servers.gone]'
    path.write_text(path.read_text().replace("[servers.gone]", settings))
    stream = ["run", "--stream", str(plan), "--servers", servers, "-q"]
    assert main(stream) == 1
    (told,) = (json.loads(line) for line in capsys.readouterr().err.splitlines() if line[0] == "{")
    assert told["problems"][0]["code"] == "untrusted_flow"
    assert "[[trusted]]" not in told["problems"][0]["hint"]
    trusted = '[[trusted]]\nworkflow = "brief"\ntask = "a"\nbecause = "it is ours"\n'
    path.write_text(path.read_text() + trusted)
    assert main(stream) == 1
    (told,) = (json.loads(line) for line in capsys.readouterr().err.splitlines() if line[0] == "{")
    assert (
        "run the whole plan at once: [[trusted]] in servers.toml has no effect on a plan"
        in (told["problems"][0]["hint"])
    )


def test_the_whole_time_is_in_the_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_stream(tmp_path, A, "--json", "-q") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["wall_ms"] >= result["duration_ms"]


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        (
            A + " [1]\n",
            {
                "code": "malformed_document",
                "severity": "error",
                "message": "expected a JSON object, such as a task, got something else",
                "line": 2,
                "column": 2,
                "hint": 'write one task a line, or one document {"tasks": [...]}',
            },
        ),
        (
            A + '{"output": 1}',
            {
                "code": "usage",
                "severity": "error",
                "message": '"output" came after the tasks had begun',
                "path": "/output",
                "line": 2,
                "column": 12,
                "hint": "write it in the first line",
            },
        ),
        (
            "",
            {
                "code": "usage",
                "severity": "error",
                "message": "no task came",
                "hint": "a plan has at least one task",
            },
        ),
    ],
)
def test_a_finding_says_what_is_wrong_and_nothing_empty(
    text: str, finding: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_stream(tmp_path, text, "--quiet") == 1
    assert json.loads(capsys.readouterr().err.splitlines()[0])["problems"] == [finding]


def test_a_stream_that_cannot_be_read_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--stream", str(tmp_path / "nope.json")]) == 2
    err = capsys.readouterr().err
    assert "nope.json" in err
    assert "cannot be read: No such file or directory" in err


@pytest.mark.parametrize("option", ["--dry-run", "--replay=x.json", "--statistics"])
def test_what_needs_the_whole_plan_first_is_refused(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_stream(tmp_path, A, option) == 2
    name = option.partition("=")[0]
    assert f"{name} needs the whole plan, and --stream has none yet" in capsys.readouterr().err


def test_a_stream_can_be_recorded(tmp_path: Path) -> None:
    made = tmp_path / "made.json"
    assert run_stream(tmp_path, '{"name": "w"}\n' + A, "--quiet", f"--record={made}") == 0
    assert json.loads(made.read_text())["run"]["workflow"] == "w"


def test_a_stream_without_tasks_has_a_summary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_stream(tmp_path, "{", "--no-journal") == 1
    assert "cancelled before its plan was complete: 0 of 0 tasks" in capsys.readouterr().err


def test_what_came_before_a_stream_was_lost_is_not_called_cancelled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_stream(tmp_path, A + '{"id": "b', "--no-journal") == 1
    told = capsys.readouterr().err
    assert "cancelled before its plan was complete: 1 of 1 task that came succeeded in" in told
    assert "cancelled: the stream ended in the middle of an object" in told


SEARCH = '{"id": "search", "value": {"items": 3}}\n'


@pytest.mark.parametrize(
    ("task", "fixes"),
    [
        ('{"id": "b", "vaule": 1}', [{"op": "move", "from": "/vaule", "path": "/value"}]),
        (
            '{"id": "b", "value": ["$OUTPUT[serach].items"]}',
            [{"op": "replace", "path": "/value/0", "value": "$OUTPUT[search].items"}],
        ),
        (
            '{"id": "b", "value": "$OUTPUT[\\"search\\"]"}',
            [{"op": "replace", "path": "/value", "value": "$OUTPUT[search]"}],
        ),
    ],
)
def test_a_finding_has_its_certain_fix_as_a_patch_of_the_task(
    task: str, fixes: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_stream(tmp_path, SEARCH + task, "--quiet") == 1
    (answer,) = map(json.loads, capsys.readouterr().err.splitlines())
    assert answer["problems"][0].get("replacement", []) == fixes


def test_a_journal_keeps_a_stream(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = "--journal", str(tmp_path / "runs.db")
    assert run_stream(tmp_path, '{"name": "w"}\n' + A + B, "--quiet", *journal) == 0
    assert run_stream(tmp_path, A + '{"id": "b', "--quiet", *journal) == 1
    assert run_stream(tmp_path, "{", "--quiet", *journal) == 1
    capsys.readouterr()
    assert main(["runs", "--json", *journal]) == 0
    empty, lost, whole = json.loads(capsys.readouterr().out)
    assert (whole["workflow"], whole["status"]) == ("w", "success")
    assert (lost["status"], empty["status"]) == ("cancelled", "cancelled")
    for run, tasks in ((whole, ["a", "b"]), (lost, ["a"]), (empty, [])):
        assert main(["show", run["id"], "--json", *journal]) == 0
        assert list(json.loads(capsys.readouterr().out)["tasks"]) == tasks
        assert main(["show", run["id"], *journal]) == 0
        capsys.readouterr()
    servers = "--servers", str(tmp_path / "servers.toml")
    assert main(["retry", lost["id"], "-q", *journal, *servers]) == 0
    assert json.loads(capsys.readouterr().out) == {"a": 3}
    assert main(["retry", empty["id"], "-q", *journal, *servers]) == 2
    assert "has no tasks" in capsys.readouterr().err


@pytest.mark.slow
def test_what_a_stream_has_begun_survives_kill_9(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal, servers = tmp_path / "runs.db", tmp_path / "servers.toml"
    program = f'command = "{sys.executable}"\nargs = ["-m", "mock_servers.faulty"]\ncwd = "{ROOT}"'
    servers.write_text(f"[servers.faulty]\n{program}\n")
    files = "--journal", str(journal), "--servers", str(servers)
    command = [sys.executable, "-m", "orchestrator", "run", "--stream", "-", *files]
    one = {"id": "a", "tool": "faulty:echo", "arguments": {"value": 1}}
    two = {"id": "b", "value": "$OUTPUT[a].value"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(f"{json.dumps(one)}\n{json.dumps(two)}\n".encode())
        process.stdin.flush()
        while "b" not in _settled(journal):
            time.sleep(0.05)
        process.kill()
    assert main(["resume", "last", "--json", "-q", *files]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["output"], result["resumed"]) == ({"b": 1}, 1)


def _settled(journal: Path) -> list[str]:
    with suppress(sqlite3.Error), closing(sqlite3.connect(journal)) as db:
        return [path for (path,) in db.execute("select path from record where kind='task'")]
    return []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_named_pipe_is_opened_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], servers: str
) -> None:
    pipe = tmp_path / "plan"
    os.mkfifo(pipe)
    line = json.dumps({"id": "a", "value": 1})
    writer = threading.Thread(target=pipe.write_text, args=(f"{line}\n",))
    writer.start()
    assert main(["run", "--stream", str(pipe), "--servers", servers, "-q"]) == 0
    writer.join()
    assert json.loads(capsys.readouterr().out) == {"a": 1}
