"""The command line, with a real server that misbehaves on demand."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import main
from orchestrator.cli.arguments import build_parser
from orchestrator.cli.run import _observers
from orchestrator.observers.progress_lines import ProgressLines
from orchestrator.observers.terminal import ProgressDisplay
from orchestrator.observers.time_left import TimeLeft
from tests import fakes
from tests.cli.conftest import ROOT
from tests.conftest import Write
from tests.real_servers import alive


def echo(name: str, value: Any) -> dict[str, Any]:
    return {"id": name, "tool": "faulty:echo", "arguments": {"value": value}}


def test_run_prints_the_output_on_stdout_and_a_table_on_stderr(
    write: Write, servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(echo("a", 1), echo("b", "$OUTPUT[a].value"), output="$OUTPUT[b].value")
    assert main(["run", path, "--servers", servers]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == 1
    assert "faulty:echo" in err
    assert "success: 2 of 2 tasks in" in err
    assert "dataflow would take" in err


def test_run_prints_the_whole_document_with_json_and_nothing_else_when_quiet(
    write: Write, servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(echo("a", 1), {"id": "b", "tool": "faulty:fail"})
    assert main(["run", path, "--servers", servers, "--json", "--quiet"]) == 1
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert document["status"] == "partial"
    assert document["tasks"]["b"]["error"]["kind"] == "tool_error"
    assert err == ""


def test_run_writes_the_document_and_the_events_to_files(
    write: Write, servers: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, events = tmp_path / "result.json", tmp_path / "events.jsonl"
    arguments = ["--output", str(output), "--events", str(events), "--schedule", "dataflow"]
    path = write(echo("a", 1), name="written")
    assert main(["run", path, "--servers", servers, "--max-concurrency", "1", *arguments]) == 0
    assert json.loads(output.read_text())["schedule"] == "dataflow"
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    assert [line["event"] for line in lines] == [
        "server_starting",
        "server_ready",
        "run_started",
        "task_started",
        "task_settled",
        "run_settled",
    ]
    assert json.loads(capsys.readouterr().out) == {"a": {"value": 1}}


def test_events_on_stdout_replace_the_output(
    write: Write, servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(echo("a", 1))
    assert main(["run", path, "--servers", servers, "--events", "-", "--quiet"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[-1]["event"] == "run_settled"
    assert main(["run", path, "--servers", servers, "--events", "-", "--json"]) == 2
    assert "both write to stdout" in capsys.readouterr().err


def test_inputs_come_from_options_and_files_and_options_win(
    write: Write, servers: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    declared = {"n": {"type": "integer"}, "text": {"type": "string"}, "any": {}}
    values = {name: f"$INPUT.{name}" for name in declared}
    path = write(echo("a", values), inputs=declared, output="$OUTPUT[a].value")
    given = tmp_path / "inputs.yaml"
    given.write_text("n: 1\ntext: from the file\nany: {a: [1]}\n")
    run = ["run", path, "--servers", servers, "--quiet"]
    assert main([*run, "--inputs", str(given), "--input", "n=7", "--input", "text=12"]) == 0
    assert json.loads(capsys.readouterr().out) == {"n": 7, "text": "12", "any": {"a": [1]}}
    assert main([*run, "--input", "n=x", "--input", "nn=1"]) == 2
    err = capsys.readouterr().err
    assert '"nn"' in err
    assert 'expected integer, got string "x"' in err
    assert 'missing input "text"' in err
    given.write_text("[1]")
    assert main([*run, "--inputs", str(given)]) == 2
    assert "expected an object of inputs, got array of 1 item" in capsys.readouterr().err


def test_errors_in_both_files_are_reported_together(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write({"id": "a", "tool": "nothing"})
    assert main(["run", path, "--servers", str(tmp_path / "none.toml")]) == 2
    err = capsys.readouterr().err
    assert "error[unreadable_file]: " in err
    assert "none.toml: cannot be read" in err
    assert 'expected "server:tool", got "nothing"' in err
    assert "2 errors, nothing was called" in err


def test_a_missing_file_is_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "no-such-file.json"]) == 2
    assert "cannot be read: No such file" in capsys.readouterr().err


def test_unknown_servers_and_tools_are_found_before_the_first_call(
    write: Write, servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write({"id": "a", "tool": "fauly:echo"}, echo("b", 1))
    assert main(["run", path, "--servers", servers]) == 2
    assert 'Did you mean "faulty"?' in capsys.readouterr().err
    path = write({"id": "a", "tool": "faulty:ecko"}, echo("b", 1))
    assert main(["run", path, "--servers", servers]) == 2
    assert 'Did you mean "echo"?' in capsys.readouterr().err


def test_a_server_that_does_not_start_fails_only_its_own_tasks(
    write: Write, servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(echo("a", 1), {"id": "b", "tool": "gone:anything"})
    assert main(["run", path, "--servers", servers, "--json"]) == 1
    out, err = capsys.readouterr()
    tasks = json.loads(out)["tasks"]
    assert tasks["a"]["status"] == "success"
    assert tasks["b"]["error"]["kind"] == "server_unavailable"
    assert "no-such-program" in err


def test_validate_says_whose_tools_were_not_checked_and_strict_fails(
    write: Write, servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    validate = ["validate", write({"id": "b", "tool": "gone:anything"}), "--servers", servers]
    assert main(validate) == 0
    out, err = capsys.readouterr()
    assert 'valid, 1 task in 1 generation on 1 server; no tool of server "gone" was checked' in out
    assert 'warning[server_unavailable]: no tool of server "gone" was checked: ' in err
    assert main([*validate, "--strict"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "error[server_unavailable]" in err
    assert main([*validate, "--strict", "--json"]) == 2
    assert [p["code"] for p in json.loads(capsys.readouterr().out)["problems"]] == [
        "server_unavailable"
    ]


def test_a_result_that_cannot_be_written_goes_to_stdout(
    write: Write, servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(echo("a", 1))
    assert main(["run", path, "--servers", servers, "--output", "/dev/full", "--quiet"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["status"] == "success"
    assert "the result document goes to stdout instead" in err


@pytest.mark.parametrize("option", ["--output", "--events"])
@pytest.mark.parametrize("target", ["no/such/file", ".", "servers.toml/file"])
def test_a_file_that_cannot_be_written_is_refused_before_the_run(
    option: str,
    target: str,
    write: Write,
    servers: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write(echo("a", 1))
    assert main(["run", path, "--servers", servers, option, str(tmp_path / target)]) == 2
    out, err = capsys.readouterr()
    assert "1 error, nothing was called" in err
    assert "cannot be written" in err
    assert out == ""


def test_validate_takes_several_files_and_inputs(
    write: Write, servers: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write(echo("a", "$INPUT.n"), inputs={"n": {"type": "integer"}}, name="good")
    bad = str(Path(good).with_name("bad.json"))
    Path(bad).write_text('{"tasks": [{"id": "a", "tool": "faulty:ecko"}]}')
    missing = str(tmp_path / "missing.json")
    validate = ["validate", good, bad, missing, "--servers", servers]
    assert main(validate) == 2
    out, err = capsys.readouterr()
    assert out == f"{good}: valid, 1 task in 1 generation on 1 server\n"
    assert f"{bad}: 1 error" in err
    assert f"{missing}: 1 error" in err
    assert main([*validate, "--json"]) == 2
    documents = json.loads(capsys.readouterr().out)
    assert [(each["file"], each["valid"]) for each in documents] == [
        (good, True),
        (bad, False),
        (missing, False),
    ]
    offline = ["validate", good, "--servers", servers, "--offline"]
    assert main([*offline, "-i", "n=1"]) == 0
    capsys.readouterr()
    assert main([*offline, "--input", "n=x", "--input", "m=1"]) == 2
    err = capsys.readouterr().err
    assert 'unknown input "m"' in err
    assert 'expected integer, got string "x"' in err


def test_run_prints_the_warnings_of_validate_and_lines_of_progress(
    write: Write, servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    task = {**echo("a", 1), "arguments": {"value": 1, "foo": 2}}
    path = write(task, inputs={"n": {"default": 1}}, name="warned")
    assert main(["run", path, "--servers", servers, "--verbose"]) == 1  # it does not ignore it
    err = capsys.readouterr().err
    assert 'warning[unused_input]: input "n" is never used' in err
    assert "warning[unexpected_argument]: faulty:echo: " in err
    assert f"{path}: 2 warnings\n" in err
    assert '"a" calls faulty:echo\n' in err
    assert '1 of 1 task settled: "a" error in ' in err
    assert main(["run", path, "--servers", servers, "--quiet"]) == 1
    assert capsys.readouterr().err == ""


def test_validate_reports_that_tools_were_not_checked(
    write: Write,
    servers: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write(echo("a", 1))
    assert main(["validate", path, "--servers", servers, "--offline"]) == 0
    told = capsys.readouterr()
    assert "tools were not checked (--offline, and there is no lock file)" in told.out
    assert told.err == ""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert main(["validate", path, "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert findings["valid"] is True
    assert [note["code"] for note in findings["notes"]] == ["tools_not_checked"]


def test_validate_reports_valid_or_all_errors(
    write: Write, servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(echo("a", 1))
    assert main(["validate", path, "--servers", servers]) == 0
    assert "valid, 1 task in 1 generation on 1 server" in capsys.readouterr().out
    path = write({"id": "a", "tool": "fauly:echo"}, {"id": "b", "tool": "faulty:echo"})
    assert main(["validate", path, "--servers", servers]) == 2
    assert 'unknown server "fauly"' in capsys.readouterr().err
    path = write({"id": "a", "tool": "faulty:echo", "argumets": {}}, {"id": "a", "tool": "x:y"})
    assert main(["validate", path, "--servers", servers, "--json"]) == 2
    findings = json.loads(capsys.readouterr().out)
    assert findings["valid"] is False
    assert [finding["code"] for finding in findings["problems"]] == [
        "unknown_field",
        "duplicate_id",
    ]
    path = write(echo("a", 1))
    assert main(["validate", path, "--servers", servers, "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert findings == {"valid": True, "file": path, "problems": [], "warnings": [], "notes": []}


def test_validate_lists_the_servers_tools_unless_offline(
    write: Write, servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write({"id": "a", "tool": "faulty:ecko"})
    assert main(["validate", path, "--servers", servers]) == 2
    assert 'Did you mean "echo"?' in capsys.readouterr().err
    assert main(["validate", path, "--servers", servers, "--offline"]) == 0
    arguments = {"arguments": {"value": 1}}
    path = write(arguments | {"id": "a", "tool": "faulty:append", "retry": 2, "max_parallel": 2})
    assert main(["validate", path, "--servers", servers]) == 0
    out, err = capsys.readouterr()
    assert "warning[retry_of_a_writer]: faulty:append writes" in err
    assert 'narrow it: "on": ["tool_error"]' in err
    assert "warning[means_nothing]: max_parallel has no effect without for_each" in err
    assert err.endswith("flow.json: 2 warnings\n")
    assert "valid, 1 task" in out
    assert main(["plan", path, "--servers", servers, "--json"]) == 0
    warnings = json.loads(capsys.readouterr().out)["warnings"]
    assert [warning["code"] for warning in warnings] == ["retry_of_a_writer", "means_nothing"]
    assert {warning["severity"] for warning in warnings} == {"warning"}
    assert {warning["line"] for warning in warnings} == {1}


@pytest.mark.untraced
def test_only_the_first_of_very_many_errors_are_shown_and_json_has_all(
    write: Write, servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(*[echo(f"t{number}", "$OUTPUT[nobody]") for number in range(300)])
    assert main(["validate", path, "--servers", servers]) == 2
    err = capsys.readouterr().err
    assert "300 errors, nothing was called" in err
    assert '(task "t199")' in err
    assert '(task "t200")' not in err
    assert "and 100 more (--json has all)" in err
    assert main(["validate", path, "--servers", servers, "--json"]) == 2
    assert len(json.loads(capsys.readouterr().out)["problems"]) == 300


def test_validate_checks_servers_only_where_there_is_a_file(
    write: Write,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(echo("a", 1))
    assert main(["validate", path]) == 0
    assert main(["validate", path, "--servers", "there-is-none.toml"]) == 2
    capsys.readouterr()
    (tmp_path / "servers.toml").write_text("[servers.x]\n")
    assert main(["validate", path]) == 2
    assert "expected a command or a url, got neither" in capsys.readouterr().err


def test_plan_shows_the_generations_in_four_forms(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(echo("a", 1), echo("b", "$OUTPUT[a]"), echo("c", "$OUTPUT[a]"), name="shown")
    assert main(["plan", path]) == 0
    assert "3 tasks in 2 generations, up to 2 in parallel, 3 calls" in capsys.readouterr().out
    assert main(["plan", path, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["generations"] == [["a"], ["b", "c"]]
    assert document["tasks"]["b"]["depends_on"] == ["a"]
    assert main(["plan", path, "--mermaid"]) == 0
    assert "t0 ==> t1" in capsys.readouterr().out
    assert main(["plan", path, "--dot"]) == 0
    assert '"a" -> "c";' in capsys.readouterr().out


def test_a_named_servers_file_has_to_exist(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("plan", "validate", "run"):
        assert main([command, write(echo("a", 1)), "--servers", "there-is-none.toml"]) == 2
        assert "there-is-none.toml" in capsys.readouterr().err


def test_tools_lists_all_tools_and_names_the_servers_that_failed(
    servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tools", "faulty", "--servers", servers]) == 0
    assert "faulty:echo" in capsys.readouterr().out
    assert main(["tools", "--servers", servers, "--json"]) == 1
    out, err = capsys.readouterr()
    assert "faulty:echo" in [tool["tool"] for tool in json.loads(out)]
    assert "no-such-program" in err
    assert main(["tools", "gone", "faulty", "--servers", servers]) == 1
    out, err = capsys.readouterr()
    assert "faulty:echo" in out
    assert "no-such-program" in err
    assert main(["tools", "fauly", "faulty", "none", "--servers", servers]) == 2
    err = capsys.readouterr().err
    assert 'Did you mean "faulty"?' in err
    assert 'unknown server "none"' in err


@pytest.mark.parametrize("command", ["validate", "plan", "lock", "catalog", "tools"])
def test_a_terminal_shows_that_servers_are_starting(
    command: str,
    write: Write,
    servers: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workflow = write({"id": "a", "tool": "gone:tool"})
    what = [workflow] if command in ("validate", "plan") else ["gone"]
    told = "orchestrator: starting servers to list their tools ...\n"
    main([command, *what, "--servers", servers])
    assert told not in capsys.readouterr().err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    main([command, *what, "--servers", servers])
    assert capsys.readouterr().err.startswith(told)


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = argparse.Namespace(events=None, quiet=False, verbose=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for term, kinds in ("xterm", [TimeLeft, ProgressDisplay]), ("dumb", [ProgressLines]):
        monkeypatch.setenv("TERM", term)
        observers = list(_observers(options, fakes.workflow("a"), {}))
        assert list(map(type, observers)) == kinds


def test_catalog_prints_tools_and_a_guide_and_names_the_servers_that_failed(
    servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog = ["catalog", "--servers", servers]
    assert main([*catalog, "faulty"]) == 0
    out, err = capsys.readouterr()
    assert "\n- faulty:echo(value: any) [read-only]\n  Return the value as it came.\n" in out
    assert "\n# How to write a workflow\n" in out
    assert err == ""
    assert main([*catalog, "--no-guide"]) == 1
    out, err = capsys.readouterr()
    assert "faulty:echo" in out
    assert "# How to write a workflow" not in out
    assert "no-such-program" in err
    assert main([*catalog, "--json", "faulty"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {"tools", "guide"} == set(document)
    assert "faulty:echo(value: any)" in [tool["signature"] for tool in document["tools"]]
    assert main([*catalog, "fauly", "none", "faulty"]) == 2
    err = capsys.readouterr().err
    assert 'Did you mean "faulty"?' in err
    assert 'unknown server "none"' in err


def test_call_makes_one_call_and_prints_its_output(
    servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["call", "--servers", servers]
    assert main([*call, "faulty:echo", "value=[1, 2]"]) == 0
    assert json.loads(capsys.readouterr().out) == {"value": [1, 2]}
    assert main([*call, "faulty:fail", "message=broken"]) == 1
    assert "tool_error: broken" in capsys.readouterr().err
    assert main([*call, "faulty:fail", "message=\x1b[31mred"]) == 1
    assert "tool_error: \\u001b[31mred" in capsys.readouterr().err
    assert main([*call, "gone:anything"]) == 1
    assert "no-such-program" in capsys.readouterr().err
    assert main([*call, "faulty"]) == 2
    assert 'expected server:tool, got "faulty"' in capsys.readouterr().err
    assert main([*call, "faulty:ecko"]) == 2
    assert 'Did you mean "echo"?' in capsys.readouterr().err
    assert main([*call, "faulty:delay", "ms=soon"]) == 2
    assert "invalid_arguments: the arguments do not fit faulty:delay: expected " in (
        capsys.readouterr().err
    )
    assert main([*call, "faulty:echo", "value=1", "wrong=1"]) == 1
    assert 'invalid_arguments: server "faulty" rejected the arguments' in capsys.readouterr().err
    assert main([*call, "faulty:hang", "--timeout", "0.2"]) == 1
    assert "did not answer within 0.2 s" in capsys.readouterr().err


def test_schema_prints_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["required"] == ["tasks"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "required: FILE"),
        (["run", "x", "--input", "nothing"], 'expected NAME=VALUE, got "nothing"'),
        (["run", "x", "--max-concurrency", "-1"], 'expected an integer of at least 0, got "-1"'),
        (["call", "s:t", "--timeout", "soon"], 'expected a number of seconds above 0, got "soon"'),
        (["rnu"], 'unknown command "rnu". Did you mean "run"?'),
        (["zzz"], 'unknown command "zzz" (expected run, validate, test, plan,'),
        (["run", "x", "--schedule", "flow"], 'unknown --schedule "flow". Did you mean "dataflow"?'),
    ],
)
def test_wrong_usage_is_a_message_and_exit_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_version_is_printed_and_help_lists_every_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("orchestrator 0.")
    text = build_parser().format_help()
    for command in ("run", "validate", "plan", "tools", "catalog", "call", "schema"):
        assert f"    {command}" in text


def started(arguments: list[str], until: str) -> subprocess.Popen[str]:
    """`orchestrator run` as a process, once one of its events is there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "run", *arguments, "--events", "-"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["event"] == until:
            return process
    raise AssertionError(process.communicate()[1])


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1])
def test_an_interrupt_gives_the_partial_result_and_leaves_no_process(
    write: Write, servers: str, tmp_path: Path, number: signal.Signals
) -> None:
    output = tmp_path / "result.json"
    path = write(
        {"id": "pid", "tool": "faulty:pid"},
        {"id": "hangs", "tool": "faulty:hang", "depends_on": ["pid"]},
    )
    with started([path, "--servers", servers, "--output", str(output)], "task_settled") as process:
        process.send_signal(number)
        _, err = process.communicate(timeout=90)
    assert process.returncode == 128 + number
    document = json.loads(output.read_text())
    assert document["status"] == "cancelled"
    assert document["tasks"]["hangs"]["error"]["message"] == f"interrupted by {number.name}"
    assert f"interrupted by {number.name}" in err
    pid = document["tasks"]["pid"]["output"]["pid"]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.slow
def test_a_second_interrupt_ends_everything_at_once_and_leaves_no_process(
    write: Write, tmp_path: Path
) -> None:
    config = tmp_path / "stubborn.toml"
    args = ["-m", "mock_servers.faulty", "--ignore-eof", "--ignore-sigterm"]
    config.write_text(
        f"[servers.faulty]\ncommand = {json.dumps(sys.executable)}\n"
        f"args = {json.dumps(args)}\ncwd = {json.dumps(str(ROOT))}\n"
    )
    output = tmp_path / "result.json"
    path = write(
        {"id": "pid", "tool": "faulty:pid"},
        {"id": "hangs", "tool": "faulty:hang", "depends_on": ["pid"]},
    )
    arguments = [path, "--servers", str(config), "--output", str(output)]
    with started(arguments, "task_settled") as process:
        process.send_signal(signal.SIGINT)
        while not output.exists() or "tasks" not in output.read_text():
            time.sleep(0.01)  # the result is written before the servers are closed
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=90)
    assert process.returncode == 130
    document = json.loads(output.read_text())
    assert document["tasks"]["hangs"]["status"] == "cancelled"
    pid = document["tasks"]["pid"]["output"]["pid"]
    for _ in range(200):
        if not alive(pid):
            return
        time.sleep(0.05)
    raise AssertionError(f"process {pid} is left")


def test_an_interrupt_while_servers_start_ends_the_run_before_it_began(
    write: Write, tmp_path: Path
) -> None:
    config = tmp_path / "slow.toml"
    config.write_text(
        f"[servers.faulty]\ncommand = {json.dumps(sys.executable)}\n"
        f'args = ["-m", "mock_servers.faulty", "--hang-on-start"]\ncwd = {json.dumps(str(ROOT))}\n'
    )
    output = tmp_path / "result.json"
    arguments = [write(echo("a", 1)), "--servers", str(config), "--output", str(output)]
    with started(arguments, "server_starting") as process:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=90)
    assert process.returncode == 130
    document = json.loads(output.read_text())
    assert document["tasks"]["a"]["status"] == "cancelled"
    assert document["started_at"] > "2026"


@pytest.fixture
def half_started(tmp_path: Path) -> str:
    """A configuration of `faulty`, and of `slow`, which serves when `come` is written to."""
    os.mkfifo(tmp_path / "come")
    wait = f"read go < {tmp_path}/come"
    faulty = f"{sys.executable} -m mock_servers.faulty"
    lines: list[str] = []
    for name, script in (("faulty", f"exec {faulty}"), ("slow", f"{wait}; exec {faulty}")):
        lines += [f"[servers.{name}]", 'command = "sh"', f"cwd = {json.dumps(str(ROOT))}"]
        lines.append(f"args = {json.dumps(['-c', script])}")
    config = tmp_path / "half.toml"
    config.write_text("\n".join(lines))
    return str(config)


@pytest.mark.slow
def test_an_interrupt_while_a_later_server_starts_gives_the_partial_result(
    write: Write, half_started: str, tmp_path: Path
) -> None:
    output = tmp_path / "result.json"
    path = write(echo("a", 1), {"id": "b", "tool": "slow:pid"})
    arguments = [path, "--servers", half_started, "--output", str(output)]
    with started(arguments, "task_settled") as process:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=90)
    assert process.returncode == 130
    tasks = json.loads(output.read_text())["tasks"]
    assert (tasks["a"]["status"], tasks["b"]["status"]) == ("success", "cancelled")


def test_a_tool_that_a_slow_server_does_not_have_is_exit_code_2_and_no_result(
    write: Write, half_started: str, tmp_path: Path
) -> None:
    output = tmp_path / "result.json"
    append = {"id": "c", "tool": "faulty:append", "arguments": {"value": 1}}
    path = write(echo("a", 1), append, {"id": "b", "tool": "slow:pidd"})
    arguments = [path, "--servers", half_started, "--output", str(output)]
    with started(arguments, "task_settled") as process:
        (tmp_path / "come").write_text("now\n")
        told, err = process.communicate(timeout=90)
    assert process.returncode == 2
    assert "1 error, only read-only tools were called" in err
    assert 'unknown tool "slow:pidd". Did you mean "pid"?' in err
    assert "task_started" not in told
    assert not output.exists()


@pytest.mark.slow
def test_a_closed_pipe_and_a_full_disk_cause_no_traceback(write: Write, servers: str) -> None:
    path = write(echo("a", "x" * 200_000))
    command = [sys.executable, "-m", "orchestrator", "run", path, "--servers", servers, "--quiet"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(90) == 0
    with Path("/dev/full").open("w") as full:
        schema = [*command[:3], "schema"]
        done = subprocess.run(
            schema, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False
        )
    assert done.returncode == 1
    assert done.stderr == ("orchestrator: stdout cannot be written: No space left on device\n")
    assert main(["run", path, "--servers", servers, "--quiet", "--events", "/dev/full"]) == 0
