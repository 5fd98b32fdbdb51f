"""Tests of workflows: what passes, what differs, and what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator import run_test
from orchestrator.testing import Verdict, find_tests

TOOLS = {name: {"inputSchema": {"type": "object"}} for name in ("get", "put")}
FAILED = {"error": {"kind": "tool_error", "message": "no"}}


def recording(*calls: dict[str, Any], **run: Any) -> dict[str, Any]:
    about = {"run": {"id": "r", "started_at": "2026-01-01T00:00:00Z", **run}} if run else {}
    return {"version": 1, **about, "servers": {"s": {"tools": TOOLS}}, "calls": list(calls)}


def get(n: int, *answers: dict[str, Any]) -> dict[str, Any]:
    return {"tool": "s:get", "arguments": {"n": n}, "answers": list(answers)}


WORKFLOW = {
    "inputs": {"n": {"type": "integer", "default": 1}},
    "tasks": [
        {"id": "a", "tool": "s:get", "arguments": {"n": "$INPUT.n"}, "retry": 2},
        {"id": "b", "tool": "s:get", "arguments": {"n": 2}, "fallback": {"value": "$ERROR.kind"}},
        {
            "id": "all",
            "for_each": [1, 5],
            "arguments": {"n": "$ITEM"},
            "workflow": {
                "inputs": {"n": {}},
                "tasks": [{"id": "in", "value": {"n": "$INPUT.n"}, "when": "INPUT.n > `1`"}],
            },
        },
    ],
    "output": "$OUTPUT[a]",
    "finally": [{"id": "last", "value": "${STATUS[b]}"}],
}
RECORDING = recording(get(1, FAILED, {"output": {"x": [1, 2.0]}}), get(2, FAILED))
AS_IT_IS = {
    "status": "success",
    "output": {"x": [1.0, 2]},
    "reason": None,
    "calls": {"s:get": 3, "s:put": 0},
    "tasks": {
        "a": {"status": "success", "attempts": 2, "error": None, "recovered": False},
        "b": {"recovered": True, "output": "tool_error", "error": {"message": "no"}},
        "all": "success",
        "all[0]/in": "skipped",
        "all[1]/in": {"output": {"n": 5}},
        "all[1]": "success",
        "last": {"output": "success"},
    },
}


@pytest.fixture
def of(tmp_path: Path) -> Any:
    """Write a test and run it."""

    def run(expect: Any = None, *, update: bool = False, **fields: Any) -> Verdict:
        path = tmp_path / "x.test.json"
        document = {"workflow": WORKFLOW, "recording": RECORDING, **fields}
        path.write_text(json.dumps(document | ({} if expect is None else {"expect": expect})))
        return run_test(path, update=update)

    return run


def lines(verdict: Verdict) -> list[str]:
    return list(verdict.lines())


def test_all_that_is_as_expected_passes(of: Any) -> None:
    verdict = of(AS_IT_IS)
    assert (verdict.status, lines(verdict)) == ("passed", [])
    assert verdict.passed
    assert of({}).passed


def test_each_difference_is_shown_with_both_values(of: Any) -> None:
    tasks = {
        "a": "skipped",
        "b": {"status": "error", "error": None, "output": 1},
        "all[1]/in": {"output": {"m": 5}},
        "all[7]": "success",
        "all[1]/in[2]": "success",
    }
    verdict = of({"status": "failed", "output": {"x": [1, True, 3]}, "tasks": tasks})
    error = '{"kind": "tool_error", "message": "no", "retryable": true, "details": {}}'
    assert lines(verdict) == [
        'status: expected "failed", got "success"',
        "output.x[1]: expected true, got 2.0",
        "output.x[2]: expected 3, got nothing",
        'tasks.a: expected "skipped", got "success"',
        'tasks.b.status: expected "error", got "success"',
        f"tasks.b.error: expected null, got {error}",
        'tasks.b.output: expected 1, got "tool_error"',
        'tasks["all[1]/in"].output.m: expected 5, got nothing',
        'tasks["all[1]/in"].output.n: expected nothing, got 5',
        'tasks["all[7]"]: expected "success", got nothing',
        'tasks["all[1]/in[2]"]: expected "success", got nothing',
    ]
    assert str(verdict).startswith(f"{verdict.file}: failed\n  status: expected")
    (x,) = [each for each in verdict.to_dict()["differences"] if each["path"] == ".output.x[2]"]
    assert x == {"path": ".output.x[2]", "expected": 3}


def test_a_task_that_failed_says_why(of: Any) -> None:
    broken = recording(get(1, FAILED, FAILED), get(2, FAILED))
    expect = {"tasks": {"a": "success", "b": {"status": "error"}}}
    assert lines(of(expect, recording=broken)) == [
        'tasks.a: expected "success", got "error" (tool_error: no)',
        'tasks.b.status: expected "error", got "success"',
    ]


def test_a_call_that_is_not_recorded_fails_a_test_that_expects_the_error(of: Any) -> None:
    verdict = of({"status": "success"}, recording=recording(get(1, {"output": 1}), get(3, FAILED)))
    assert verdict.status == "failed"
    assert "other arguments at n: recorded 1, called with 2" in lines(verdict)[0]
    assert verdict.to_dict()["missed"] == lines(verdict)
    verdict = of({"status": "failed"}, recording=recording(get(1, FAILED, FAILED)), update=True)
    assert verdict.status == "failed"  # what came is not worth expecting


def test_inputs_are_those_that_were_recorded_unless_others_are_given(of: Any) -> None:
    calls = [get(7, {"output": 7}), get(8, {"output": 8}), get(2, FAILED)]
    recorded = recording(*calls, inputs={"n": 7, "gone": 1})
    assert of({"output": 7}, recording=recorded).passed
    assert of({"output": 8}, recording=recorded, inputs={"n": 8}).passed
    verdict = of({"output": 8}, recording=recorded, inputs={"m": 8})
    assert verdict.status == "broken"
    assert 'unknown input "m"' in lines(verdict)[0]


def test_files_are_found_beside_the_test(tmp_path: Path) -> None:
    inside = tmp_path / "tests"
    inside.mkdir()
    (tmp_path / "flow.json").write_text(json.dumps(WORKFLOW))
    (inside / "r.json").write_text(json.dumps(RECORDING))
    (inside / "inner.json").write_text(json.dumps({"tasks": [{"id": "i", "value": 1}]}))
    outer = {"tasks": [{"id": "o", "workflow": "inner.json"}]}
    for name, workflow in (("a", "../flow.json"), ("b", outer)):
        expect = {"status": "success"}
        document = {"workflow": workflow, "recording": "r.json", "expect": expect}
        (inside / f"{name}.test.json").write_text(json.dumps(document))
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "c.test.json").write_text("{}")
    tests = find_tests([tmp_path])
    assert [path.name for path in tests] == ["a.test.json", "b.test.json"]
    assert [run_test(path).status for path in tests] == ["passed", "passed"]


def test_an_update_writes_what_came(of: Any) -> None:
    verdict = of(update=True, description="kept")
    assert (verdict.status, verdict.passed) == ("updated", True)
    document = json.loads(verdict.file.read_text())
    assert list(document) == ["workflow", "recording", "description", "expect"]
    assert document["expect"] == {
        "status": "success",
        "output": {"x": [1, 2.0]},
        "tasks": {
            "a": "success",
            "b": {"status": "success", "error": {"kind": "tool_error"}},
            "all": "success",
            "last": "success",
        },
    }
    before = verdict.file.read_text()
    assert run_test(verdict.file, update=True).status == "passed"
    assert verdict.file.read_text() == before
    tasks = {"all[9]": "success", "a": {"attempts": 9}}
    verdict = of({"tasks": tasks, "output": 1}, update=True)
    assert json.loads(verdict.file.read_text())["expect"] == {
        "tasks": {"a": {"attempts": 2}},
        "output": {"x": [1, 2.0]},
    }


def test_all_mistakes_of_all_files_are_told_at_once(of: Any) -> None:
    verdict = of(
        {"staus": 1, "tasks": {"a": "sucess", "al": "error", "all[0]/im": {"eror": 1}}},
        workflow={"tasks": [{"id": "all"}]},
        recording={"version": 1, "servers": {}, "calls": [{"tool": "a:b", "answers": []}]},
        input={},
    )
    text = "\n".join(lines(verdict))
    for part in (
        '/input: unknown field "input". Did you mean "inputs"?',
        '/expect/staus: unknown field "staus". Did you mean "status"',
        'got "sucess". Did you mean "success"?',
        '/expect/tasks/all[0]~1im/eror: unknown field "eror". Did you mean "error"?',
        'task "all", /workflow/tasks/0',
        "/recording/calls/0/answers: expected non-empty array, got empty array",
    ):
        assert part in text
    assert verdict.status == "broken"
    assert {problem["file"] for problem in verdict.to_dict()["problems"]} == {str(verdict.file)}


def test_a_task_that_is_not_there_is_a_mistake_of_the_test(of: Any) -> None:
    tasks = {"al": "eror", "all[0]/im": "error", "a/x": "error"}
    text = "\n".join(lines(of({"tasks": tasks})))
    assert '/expect/tasks/al: unknown task "al". Did you mean "all"' in text
    assert 'unknown task "all[0]/im" (tasks: in)' in text
    assert 'unknown task "a/x"' in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "invalid JSON"),
        ("[]", "expected object, got empty array"),
        ("{}", 'missing field "workflow"'),
        ('{"workflow": 1, "recording": "r.json"}', "/workflow: expected"),
        ('{"workflow": "no.json", "recording": {}}', "no.json"),
        ('{"workflow": {"tasks": []}, "recording": "no.json"}', "no.json"),
    ],
)
def test_a_test_that_is_wrong_says_how(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.test.json"
    path.write_text(text)
    verdict = run_test(path)
    assert verdict.status == "broken"
    assert message in "\n".join(lines(verdict))


def test_a_test_without_expectations_or_that_cannot_be_written_is_wrong(
    of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 'missing field "expect"' in lines(of())[0]
    monkeypatch.setattr("pathlib.Path.replace", _refuse)
    assert "cannot be written: no room" in lines(of(update=True))[0]


def _refuse(*_: object) -> None:
    raise OSError(28, "no room")
