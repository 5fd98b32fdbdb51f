"""`orchestrator test`: which tests run, what is printed, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import main

RECORDING = {"version": 1, "servers": {}, "calls": []}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(name: str, expect: Any = None, **more: Any) -> str:
    path = Path(f"{name}.test.json")
    path.parent.mkdir(exist_ok=True)
    workflow = {"tasks": [{"id": "a", "value": [1, 2]}]}
    document = {"workflow": workflow, "recording": RECORDING, "expect": expect or {}, **more}
    path.write_text(json.dumps(document))
    return str(path)


def test_all_tests_below_the_folder_run(capsys: pytest.CaptureFixture[str]) -> None:
    write("one", {"status": "success"})
    write("below/two", {"output": {"a": [1, 2]}})
    assert main(["test"]) == 0
    assert capsys.readouterr().out == (
        "passed  below/two.test.json\npassed  one.test.json\n2 passed\n"
    )


def test_a_difference_is_exit_code_1_and_a_mistake_2(capsys: pytest.CaptureFixture[str]) -> None:
    differs = write("differs", {"output": {"a": [1, 3]}, "tasks": {"a": "error"}})
    assert main(["test", differs]) == 1
    assert capsys.readouterr().out == (
        "failed  differs.test.json\n"
        "        output.a[1]: expected 3, got 2\n"
        '        tasks.a: expected "error", got "success"\n'
        "1 failed\n"
    )
    wrong = write("wrong", {"outputs": 1})
    assert main(["test", differs, wrong, write("fine")]) == 2
    out = capsys.readouterr().out
    assert '/expect/outputs: unknown field "outputs". Did you mean "output"?' in out
    assert out.endswith("1 passed, 1 failed, 1 broken\n")
    assert main(["test", differs, wrong, "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert [test["status"] for test in document["tests"]] == ["failed", "broken"]
    assert (document["failed"], document["broken"], document["passed"]) == (1, 1, 0)
    assert document["tests"][1]["problems"][0]["code"] == "unknown_field"


def test_an_update_makes_the_next_run_pass(capsys: pytest.CaptureFixture[str]) -> None:
    differs = write("differs", {"output": 1})
    assert main(["test", "--update", differs]) == 0
    assert main(["test", differs]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[::2] == ["updated differs.test.json", "passed  differs.test.json"]


def test_many_lines_are_cut(capsys: pytest.CaptureFixture[str]) -> None:
    write("many", {"output": {"a": list(range(100))}})
    assert main(["test"]) == 1
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 23
    assert out[-2] == "        and 80 more lines; --json has all of them"


def test_a_terminal_gets_colours(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write("one")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert main(["test"]) == 0
    assert "\x1b[32mpassed" in capsys.readouterr().out


def test_a_tool_that_has_changed_since_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    tools: dict[str, Any] = {"get": {"inputSchema": {}}}
    call = {"tool": "s:get", "answers": [{"output": 1}]}
    write("one", recording={"version": 1, "servers": {"s": {"tools": tools}}, "calls": [call]})
    Path("servers.lock").write_text('{"version": 1, "servers": {"s": {"tools": {}}}}')
    assert main(["test"]) == 0
    err = capsys.readouterr().err
    assert err.startswith('orchestrator: warning: one.test.json has tool "s:get" as it was')


def test_no_test_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test"]) == 2
    assert "no test: expected *.test.json in" in capsys.readouterr().err
    assert main(["test", "nothing.test.json"]) == 2
    assert "cannot be read: No such file or directory" in capsys.readouterr().out
