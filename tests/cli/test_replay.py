"""`run --record` and `run --replay`: a run, and the same without its servers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import main
from tests.conftest import Write

Said = Callable[..., tuple[int, Any, str]]

TOOLS = {"get": {"inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}}}


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """Run a command; its exit code, its stdout as JSON if it is that, and its stderr."""

    def run(*arguments: str) -> tuple[int, Any, str]:
        code = main([*arguments])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out.lstrip().startswith(("{", "[")) else out, err

    return run


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a directory without a servers.toml."""
    monkeypatch.chdir(tmp_path)


def get(task: str, n: int, **more: Any) -> dict[str, Any]:
    return {"id": task, "tool": "s:get", "arguments": {"n": n}, **more}


def by_hand(path: str, *answers: Any, n: int = 1, **more: Any) -> str:
    document = {
        "version": 1,
        "servers": {"s": {"tools": TOOLS}},
        "calls": [{"tool": "s:get", "arguments": {"n": n}, "answers": list(answers)}],
        **more,
    }
    Path(path).write_text(json.dumps(document))
    return path


def test_a_recorded_run_is_replayed_without_its_servers(
    said: Said, write: Write, servers: str
) -> None:
    path = write(
        {"id": "a", "tool": "faulty:echo", "arguments": {"value": "$INPUT.n"}},
        {"id": "b", "tool": "faulty:flaky", "arguments": {"key": "k"}, "retry": 2},
        {"id": "c", "tool": "gone:x", "arguments": {}},
        inputs={"n": {"type": "integer"}},
    )
    run = ("run", path, "-q", "--json")
    code, first, _ = said(*run, "n=5", "--servers", servers, "--record", "r.json")
    assert code == 1
    assert first["tasks"]["b"]["attempts"] == 2
    Path(servers).unlink()
    code, again, err = said(*run, "--replay", "r.json")
    assert (code, err) == (1, "")
    for task, result in again["tasks"].items():
        assert result["output"] == first["tasks"][task]["output"]
        assert result["status"] == first["tasks"][task]["status"]
    code, other, err = said(*run, "--replay", "r.json", "n=6")
    assert other["tasks"]["a"]["error"]["kind"] == "not_recorded"
    assert err.startswith("orchestrator: 1 call is not in the recording: r.json has no call of")


def test_a_replay_does_not_wait(said: Said, write: Write) -> None:
    path = write(
        get("a", 1, retry={"max_attempts": 2, "initial_s": 1000, "max_s": 1000}, delay_s=3000),
        get("b", 1, depends_on=["a"], timeout_s=500),
    )
    error = {"error": {"kind": "tool_error", "message": "no"}}
    by_hand("r.json", error, {"output": {"big": "x" * 3_000_000}}, {"no_answer": True})
    code, document, err = said("run", path, "--json", "--replay", "r.json")
    assert code == 1
    assert document["duration_ms"] == 4_500_000
    assert document["tasks"]["b"]["error"]["message"] == "s:get did not answer within 500 s"
    assert err.startswith("orchestrator: a replay of r.json: no tool is called\n")
    assert "in all; no server started" in err


def test_a_missing_call_fails_the_command_even_if_the_workflow_recovers(
    said: Said, write: Write
) -> None:
    path = write(get("a", 2, fallback={"value": 1}))
    by_hand("r.json", {"output": 1})
    code, out, err = said("run", path, "-q", "--replay", "r.json")
    assert (code, out) == (1, {"a": 1})
    assert "n: recorded 1, called with 2" in err


def test_a_tool_that_has_changed_since_is_a_warning(said: Said, write: Write) -> None:
    path = write(get("a", 1))
    by_hand("r.json", {"output": 1})
    Path("servers.toml").write_text("[servers.s]\ncommand = 'x'\n")
    lock = {"version": 1, "servers": {"s": {"tools": {}}}}
    Path("servers.lock").write_text(json.dumps(lock))
    _, _, err = said("run", path, "-q", "--replay", "r.json")
    assert err.startswith(
        'orchestrator: warning: r.json has tool "s:get" as it was, and servers.lock has it no more.'
    )
    assert said("run", path, "-q", "--replay", "r.json", "--no-lock") == (0, {"a": 1}, "")
    from orchestrator import Lockfile, Tool

    Lockfile.made_of([Tool("s", "get", {"type": "object"}, read_only=False)]).save("servers.lock")
    _, _, err = said("run", path, "-q", "--replay", "r.json")
    assert "servers.lock differs: annotations.readOnlyHint: true -> false" in err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"version": 1, "servers": {', "invalid JSON"),
        ("[]", "expected object, got empty array"),
        ('{"version": 2}', "upgrade: a newer mcp-orchestrator wrote this file"),
        ('{"version": "1"}', 'expected version 1, got string "1"'),
        ('{"version": 1, "servers": {}, "cals": []}', 'unknown field "cals". Did you mean "calls"'),
        (
            '{"version": 1, "servers": {}, "calls": [{"tool": "a:b", "answers": [{"output": 1}]}, '
            '{"tool": "a:b", "answers": [{"output": 2}]}]}',
            "/calls/1: the call is at /calls/0 already",
        ),
        (
            '{"version": 1, "servers": {}, "calls": [{"tool": "a:b", "prompt": "a:b", '
            '"answers": [{"output": 1}]}]}',
            '/calls/0: expected exactly one of "tool", "read" and "prompt"',
        ),
    ],
)
def test_a_recording_that_is_wrong_says_how(
    said: Said, write: Write, text: str, message: str
) -> None:
    Path("r.json").write_text(text)
    code, _, err = said("run", write(get("a", 1)), "--replay", "r.json")
    assert code == 2
    assert message in err


def test_what_excludes_a_replay_is_refused(said: Said, write: Write, tmp_path: Path) -> None:
    path = write(get("a", 1))
    more = ("--journal", "j.db", "--statistics")
    code, _, err = said("run", path, "--replay", "r.json", *more)
    assert (code, err.count("exclude each other")) == (2, 2)
    assert "cannot be read: Is a directory" in said("run", path, "--replay", str(tmp_path))[2]
