"""Findings on the screen and as JSON, and their fixes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text

from orchestrator.cli import main
from orchestrator.cli.diagnostics import document
from orchestrator.cli.snippets import excerpt, print_findings, rendered
from orchestrator.documents.pointer import move_op, replace_op
from orchestrator.documents.suggest import certain
from orchestrator.errors import MAX_SHOWN, Problem, WorkflowError
from orchestrator.servers.problems import unknown_server
from orchestrator.workflow.fixes import as_expression, piece_of, unquoted
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.source_map import LineSpan
from tests.json_patch import patched


def shown(
    file: Path | str, findings: Sequence[Problem], width: int = 100, *, verbose: bool = False
) -> str:
    lines = rendered(str(file), findings, "nothing was called", width, verbose=verbose)
    return "\n".join(line.plain.rstrip() for line in lines).replace(f"{file}", "FILE")


def refused(path: Path) -> tuple[Problem, ...]:
    with pytest.raises(WorkflowError) as caught:
        Workflow.load(path)
    return caught.value.problems


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "broken.json"
    path.write_text(
        """{"tasks": [
  {"id": "weather", "tool": "weather:forecast", "arguments": {"city": "Paris"}},
  {"id": "brief", "tool": "text", "argumets": {},
   "depends_on": ["wether", "zzz"]}
]}
"""
    )
    return path


# --- on the screen -----------------------------------------------------------------------------


def test_a_finding_is_shown_with_its_line_a_caret_and_a_fix(broken: Path) -> None:
    assert shown(broken, refused(broken)) == (
        """\
error[wrong_value]: expected "server:tool", got "text"
 --> FILE:3:27 (task "brief")
  |
3 |   {"id": "brief", "tool": "text", "argumets": {},
  |                           ^^^^^^

error[unknown_field]: unknown field "argumets". Did you mean "arguments"?
 --> FILE:3:35 (task "brief")
  |
3 |   {"id": "brief", "tool": "text", "argumets": {},
  |                                   ^^^^^^^^^^
  = rename to: "arguments"

error[unknown_task]: unknown task "wether". Did you mean "weather"?
 --> FILE:4:20 (task "brief")
  |
4 |    "depends_on": ["wether", "zzz"]}
  |                    ^^^^^^
  = replace with: "weather"

error[unknown_task]: unknown task "zzz"
 --> FILE:4:30 (task "brief")
  |
4 |    "depends_on": ["wether", "zzz"]}
  |                              ^^^
  = help: tasks: weather, brief

FILE: 4 errors, nothing was called"""
    )


def test_a_finding_without_a_line_shows_its_task_and_path(tmp_path: Path) -> None:
    findings = [
        Problem("unknown_tool", "no such tool", "/tasks/0/tool", "a", severity="warning"),
        Problem("server_unavailable", "it did not start", hint="start it"),
    ]
    assert shown(tmp_path / "gone.json", findings) == (
        """\
warning[unknown_tool]: no such tool
 --> FILE (task "a", /tasks/0/tool)

error[server_unavailable]: it did not start
  = help: start it

FILE: 1 error, 1 warning, nothing was called"""
    )


def test_notes_are_counted_unless_verbose(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text('{"tasks": [1, 2, 3]}')
    alike = [Problem("cycle", "nothing is known", f"/tasks/{n}", severity="note") for n in range(3)]
    others = [
        Problem("usage", f"$X{n}: {why}", "/tasks", severity="note", text=f"$X{n}")
        for n, why in enumerate(["odd", "even", "odd"])
    ]
    assert shown(path, [*alike, *others]) == (
        """\
note[cycle]: nothing is known (3 times)
note[usage]: odd (2 times)
note[usage]: even
  = help: --verbose shows each note with its line

FILE: 6 notes"""
    )
    assert shown(path, alike[1:2], verbose=True) == (
        """\
note[cycle]: nothing is known
 --> FILE:1:15
  |
1 | {"tasks": [1, 2, 3]}
  |               ^

FILE: 1 note"""
    )
    assert "note[cycle]: nothing is known\n" in shown(path, alike[:1])
    many = [Problem("usage", f"odd {n}", severity="note") for n in range(12)]
    assert "note[usage]: odd 9\nand 2 more kinds of note\n  = help" in shown(path, many)


def test_of_very_many_findings_the_errors_are_shown_first(tmp_path: Path) -> None:
    warnings = [Problem("usage", f"w{n}", severity="warning") for n in range(MAX_SHOWN)]
    errors = [Problem("usage", f"e{n}") for n in range(3)]
    text = shown(tmp_path / "x", [*warnings, *errors])
    assert "]: e2" in text
    assert f"]: w{MAX_SHOWN - 4}\n" in text
    assert f"]: w{MAX_SHOWN - 3}\n" not in text
    assert text.index("]: w0") < text.index("]: e0")
    assert text.endswith(
        "and 3 more (--json has all)\n\nFILE: 3 errors, 200 warnings, nothing was called"
    )


def test_every_operation_of_a_replacement_is_a_line(tmp_path: Path) -> None:
    operations = (
        replace_op("/a", {"x": ["天"]}),
        move_op("/a/b", "/a/c~1d"),
        {"op": "add", "path": "/a/e", "value": 1},
        {"op": "remove", "path": "/a/f"},
        replace_op("/a", "x" * 200),
    )
    finding = Problem("wrong_type", "wrong", hint="not beside them", replacement=operations)
    assert shown(tmp_path / "x", [finding], 40).splitlines()[1:6] == [
        '  = replace with: {"x": ["天"]}',
        '  = rename to: "c/d"',
        '  = add: "e": 1',
        "  = remove: it",
        f'  = replace with: "{"x" * 36}...',
    ]


@pytest.mark.parametrize(
    ("line", "piece", "expected"),
    [
        ("abc def", "def", "abc def\n    ^^^"),
        ("\ta\tdef", "def", "    a    def\n         ^^^"),
        ("a\tb", "\t", "a    b\n ^^^^"),
        ("天気 def 天", "def", "天気 def 天\n     ^^^"),
        ("x 天気", "天気", "x 天気\n  ^^^^"),
        ("e\u0301 def", "def", "e\u0301 def\n  ^^^"),
        ("\x1b[31mdef\x7f\u202e", "def", "\\u001b[31mdef\\u007f\\u202e\n          ^^^"),
        ("abc", "", "abc\n^"),
        ("0123456789" * 5, "345", "0123456789012345678901234567890123456...\n   ^^^"),
        ("a" * 50 + "XY" + "b" * 50, "XY", f"...{'a' * 10}XY{'b' * 22}...\n{' ' * 13}^^"),
        ("a" * 50 + "XY", "XY", f"...{'a' * 10}XY\n{' ' * 13}^^"),
        ("a" + "X" * 60, "X" * 60, f"a{'X' * 33}...\n ^{'^' * 35}"),
        ("天" * 50 + "XY" + "気" * 50, "XY", f"...{'天' * 5}XY{'気' * 11}...\n{' ' * 13}^^"),
        ("a" * 50 + "気" * 50, "気" * 50, f"...{'a' * 10}{'気' * 10}...\n{' ' * 13}{'^' * 23}"),
    ],
)
def test_the_caret_is_below_what_is_meant(line: str, piece: str, expected: str) -> None:
    at = LineSpan(1, line.find(piece) + 1, len(piece))
    text, before, below = excerpt(line, at, 40)
    assert f"{text}\n{' ' * before}{'^' * below}" == expected
    assert Text(text).cell_len <= 40


def test_a_file_of_one_long_line_is_cut_around_the_caret(tmp_path: Path) -> None:
    path = tmp_path / "long.json"
    tasks = [{"id": f"t{n}", "tool": "s:t"} for n in range(2_000)]
    tasks[1_234]["tol"] = "x"
    path.write_text(json.dumps({"tasks": tasks}))
    text = shown(path, refused(path), 80)
    assert text.splitlines()[2:5] == [
        "  |",
        '1 | ...1234", "tool": "s:t", "tol": "x"}, {"id": "t1235", "tool": "s:t"}, {"i...',
        "  |                          ^^^^^",
    ]


def test_control_characters_do_not_reach_the_terminal(
    tmp_path: Path,
) -> None:
    finding = Problem("usage", "a\x1b]0;b\x07", "", "c\x1b", hint="d\x9be\nf")
    text = shown(tmp_path / "x", [finding])
    assert r"a\u001b]0;b\u0007" in text
    assert r"d\u009be\u000af" in text
    assert "\x1b" not in text


def test_no_colour_is_written_without_a_terminal(
    broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", str(broken), "--offline"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "\x1b" not in err
    assert err.startswith('error[wrong_value]: expected "server:tool", got "text"')
    assert err.endswith(f"{broken}: 4 errors, nothing was called\n")


def test_severities_have_colours_on_a_terminal(
    broken: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert main(["validate", str(broken), "--offline"]) == 2
    assert "\x1b[1;31merror[wrong_value]\x1b[0m" in capsys.readouterr().err
    monkeypatch.setenv("NO_COLOR", "1")
    assert main(["validate", str(broken), "--offline"]) == 2
    assert "31m" not in capsys.readouterr().err


# --- as JSON --------------------------------------------------------------------------


def test_the_document_has_each_severity_in_a_list_of_its_own() -> None:
    findings = [
        Problem("usage", "a"),
        Problem("usage", "b", severity="warning"),
        Problem("usage", "c", severity="note"),
    ]
    made = document("x.json", findings)
    assert list(made) == ["valid", "file", "problems", "warnings", "notes"]
    assert made["valid"] is False
    assert made["file"] == "x.json"
    for name, message in {"problems": "a", "warnings": "b", "notes": "c"}.items():
        assert [finding["message"] for finding in made[name]] == [message]
    assert document("x.json", findings[1:])["valid"] is True


@pytest.mark.parametrize("command", ["run", "plan", "validate"])
def test_with_json_a_broken_file_is_a_document_of_findings(
    broken: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, str(broken), "--json"]) == 2
    out, err = capsys.readouterr()
    findings = json.loads(out)
    assert findings["valid"] is False
    assert findings["file"] == str(broken)
    assert [(finding["line"], finding["column"]) for finding in findings["problems"]] == [
        (3, 27),
        (3, 35),
        (4, 20),
        (4, 30),
    ]
    assert ("4 errors, nothing was called" in err) is (command != "validate")


def test_a_wrong_configuration_or_input_is_a_document_too(
    broken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken.write_text('{"tasks": [{"id": "a", "tool": "s:t"}]}')
    servers = tmp_path / "servers.toml"
    servers.write_text("[servers.s]\ncommand = 5")
    run = ["run", str(broken), "--json", "--servers", str(servers)]
    assert main(run) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["file"] == str(servers)
    assert err == (
        "error[wrong_type]: expected string, got integer 5\n"
        f" --> {servers}:2:11\n"
        "  |\n"
        "2 | command = 5\n"
        "  |           ^\n"
        "  = help: put it in quotes\n"
        "\n"
        f"{servers}: 1 error, nothing was called\n"
    )
    servers.write_text("[servers.s]\ncommand = 'none'")
    inputs = tmp_path / "inputs.json"
    inputs.write_text('{"a": 1,\n "a": 2}')
    assert main([*run, "--inputs", str(inputs)]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["problems"][0]["line"] == 2
    assert f' --> {inputs}:2:2\n  |\n2 |  "a": 2}}\n  |  ^^^\n' in err


# --- fixes -----------------------------------------------------------------------------


def findings_in(data: Any) -> list[Problem]:
    try:
        Workflow.load(deepcopy(data))
    except WorkflowError as error:
        return list(error.problems)
    return []


def keys(problems: Sequence[Problem]) -> list[tuple[str, str, str]]:
    return [(problem.code, problem.message, problem.path) for problem in problems]


A = {"id": "weather", "tool": "s:t"}
FIXED: list[tuple[dict[str, Any], int]] = [
    ({"tasks": [A], "on_eror": "continue"}, 1),
    ({"tasks": [A], "Schedule": "dataflow"}, 1),
    ({"tasks": [A], "schedule": "DATAFLOW"}, 1),
    ({"tasks": [A], "maxConcurrent": "3"}, 1),
    ({"tasks": [A | {"argumets": {"a/b": 1}, "locks": "x"}]}, 2),
    ({"tasks": [A | {"retry": {"max_atempts": 3}}]}, 1),
    ({"tasks": [A | {"retry": {"max_attempts": "3", "factor": "1.5", "on": "timeout"}}]}, 3),
    ({"tasks": [A | {"retry": "3"}]}, 1),
    ({"tasks": [A | {"timeout_s": "30", "critical": "true"}]}, 2),
    ({"tasks": [A | {"critical": "false", "run_if": "all_don"}]}, 2),
    ({"tasks": [A | {"locks": [{"naame": "x"}, {"name": "y", "mode": "Shared"}]}]}, 2),
    ({"tasks": [A | {"id": 5}]}, 1),
    ({"tasks": [A, {"id": "b", "tool": "s:t", "needs": "weather"}]}, 1),
    ({"tasks": [A, {"id": "b", "tool": "s:t", "dependsOn": ["wether"]}]}, 1),
    ({"tasks": [A, {"id": "b", "tool": "s:t", "args": {"x": '$OUTPUT["weather"].y'}}]}, 1),
    ({"tasks": [A, {"id": "b", "tool": "s:t", "args": {"x": ["a $ERROR['weather'] b"]}}]}, 1),
    ({"tasks": [A, {"id": "b", "tool": "s:t", "args": {"~/": "$OUTPUT[Weather].y c"}}]}, 1),
    ({"tasks": [A, {"id": "b", "tool": "s:t", "args": {"x": "${wether.result.y}"}}]}, 1),
    ({"tasks": [A, {"id": "b", "tool": "s:t", "when": "STATUS[wether] == 'error'"}]}, 1),
    ({"tasks": [A, {"id": "b", "tool": "s:t", "when": "$OUTPUT[wether].y"}]}, 1),
    ({"tasks": [A], "output": {"x": "${length(OUTPUT[wether].y)}$OUTPUT[weathr]"}}, 2),
    ({"tasks": [A], "inputs": {"place": {}}, "output": "$INPUT.plaec/$INPUT.plce/$INPUT.plcex"}, 3),
    ({"tasks": [A | {"fallback": {"value": "$INPUT.ciity"}}], "inputs": {"city": {}}}, 1),
    ({"tasks": [A | {"for_each": "$INPUT.citys"}], "inputs": {"cities": {}}}, 0),
]


@pytest.mark.parametrize(("data", "count"), FIXED)
def test_a_replacement_fixes_its_finding_and_all_of_them_fix_all(
    data: dict[str, Any], count: int
) -> None:
    found = findings_in(data)
    fixed = [problem for problem in found if problem.replacement]
    assert len(fixed) == count
    for problem in fixed:
        left = findings_in(patched(data, problem.replacement))
        assert keys([problem])[0] not in keys(left)
        assert len(left) < len(found)
    everything = data
    for problem in reversed(fixed):
        everything = patched(everything, problem.replacement)
    assert len(findings_in(everything)) <= len(found) - count
    assert not any(problem.replacement for problem in findings_in(everything))


@pytest.mark.parametrize(
    "data",
    [
        {"tasks": [A | {"arguments": {}, "argumets": {}}]},  # one is there already
        {"tasks": [A | {"argumets": {}, "argumnets": {}}]},  # which of the two?
        {"tasks": [A | {"colour": 1}]},
        {"tasks": [A | {"depends_on": "a, b"}]},
        {"tasks": [A | {"timeout_s": "30s"}]},
        {"tasks": [A | {"timeout_s": True}]},
        {"tasks": [A | {"max_parallel": "1.5"}]},
        {"tasks": [A | {"when": 1}]},
        {"tasks": [A | {"run_if": 5}]},
        {"tasks": [A | {"run_if": "all"}]},
        {"tasks": "x"},
        {"tasks": [A | {"id": "w1"}, A | {"id": "w2"}], "output": "$OUTPUT[w3]"},
        {"tasks": [A | {"depends_on": ["wether"]}]},  # it would wait for itself
        {"tasks": [A], "output": {"$OUTPUT[wether].x": 1}},  # the name of a member
        {"tasks": [A], "output": "$$OUTPUT[wether] ${OUTPUT['wether']}"},
        {"tasks": [A], "output": '$OUTPUT["wea ther"]'},
        {"tasks": [A], "output": '$OUTPUT["weather"].0'},
        {"tasks": [A], "output": "$INPUT['ctiy']", "inputs": {"city": {}}},
    ],
)
def test_an_uncertain_fix_is_not_proposed(data: dict[str, Any]) -> None:
    found = findings_in(data)
    assert found
    assert [problem.replacement for problem in found if problem.replacement] == []


def test_a_name_is_certain_if_it_is_the_only_one_and_very_close() -> None:
    assert certain("wether", ("weather",)) == "weather"
    assert certain("wether", ("weather", "whether")) is None
    assert certain("wether", ("weather", "wet")) == "weather"
    assert certain("WEATHER", ("weather", "whether")) == "weather"
    assert certain("Weather", ("weather", "WEATHER")) is None
    assert certain("wea", ("weather",)) is None
    assert certain("wether", ()) is None


@pytest.mark.parametrize(
    ("name", "other"),
    [("weather-1", "weather-2"), ("fetch_a", "fetch_b"), ("fetch_a", "fetch"), ("day10", "day100")],
)
def test_a_name_with_another_number_or_letter_is_not_a_typo(name: str, other: str) -> None:
    assert certain(name, (other,)) is None
    assert certain(name.upper(), (name, other)) == name


def test_a_server_is_fixed_together_with_its_tool() -> None:
    problem = unknown_server("wether", ["weather"], at="/tasks/0/tool", tool="a:b")
    assert problem.replacement == (replace_op("/tasks/0/tool", "weather:a:b"),)
    assert problem.text == "wether"
    assert unknown_server("wether", ["weather"], at="/tasks/0/tool").replacement == ()
    assert unknown_server("zzz", ["weather"], at="/tasks/0/tool", tool="a").replacement == ()


def test_the_name_in_a_reference_is_found() -> None:
    assert piece_of("$OUTPUT[a].b", "OUTPUT", "a") == ("$OUTPUT[a]", "$OUTPUT[{name}]")
    assert piece_of("${max(OUTPUT[a])}", "OUTPUT", "a") == ("OUTPUT[a]", "OUTPUT[{name}]")
    assert piece_of("${INPUT.ab + INPUT.a}", "INPUT", "a")[0] == "INPUT.a"
    assert piece_of("${INPUT.ab}", "INPUT", "a") == ("", "")
    assert unquoted("$OUTPUT['a'] $ERROR[\"b\"] $OUTPUT['c d']") == (
        "$OUTPUT[a] $ERROR[b] $OUTPUT['c d']"
    )


def test_on_a_terminal_lines_break_between_words_and_never_in_a_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"FORCE_COLOR": "1", "NO_COLOR": "1", "COLUMNS": "40"}.items():
        monkeypatch.setenv(name, value)
    file = str(tmp_path / "a-file-with-a-name-that-is-longer-than-the-screen.json")
    words = [f"word{number}" for number in range(30)]
    finding = Problem("wrong_value", " ".join(words), "/tasks", line=1, column=1)
    print_findings(file, [finding], "nothing was called", verbose=False)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().err).splitlines()
    assert set(words) <= {word for line in lines for word in line.split()}
    assert len(lines[0]) <= 40
    assert any(line.endswith(f"--> {file} (/tasks)") for line in lines)


@pytest.mark.parametrize(
    ("text", "fixed"),
    [
        ("$OUTPUT[a].items[*].title", "${OUTPUT[a].items[*].title}"),
        ("$OUTPUT[a][0:2],", "${OUTPUT[a][0:2]},"),
        ("$ITEM[].x", "${ITEM[].x}"),
        ("$OUTPUT[a].items[0].title", "$OUTPUT[a].items[0].title"),
    ],
)
def test_a_reference_to_many_places_is_an_expression(text: str, fixed: str) -> None:
    assert as_expression(text) == fixed


def test_a_wildcard_outside_of_braces_gets_braces() -> None:
    first = {"id": "a", "tool": "x:y"}
    second = {"id": "b", "tool": "x:y", "arguments": {"q": "see $OUTPUT[a].items[*].title, then"}}
    with pytest.raises(WorkflowError) as caught:
        Workflow.load({"tasks": [first, second]})
    fixed = "see ${OUTPUT[a].items[*].title}, then"
    assert caught.value.problems[0].replacement == (
        {"op": "replace", "path": "/tasks/1/arguments/q", "value": fixed},
    )
