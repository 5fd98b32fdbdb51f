"""Mistakes in a servers' file are shown with their line and a caret, and without secrets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import main
from orchestrator.errors import ConfigError
from orchestrator.servers.config_file import load_config

Show = Callable[..., str]


@pytest.fixture
def show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Show:
    """What the command line prints of a servers' file."""

    def show(text: str, name: str = "servers.toml") -> str:
        path = tmp_path / name
        path.write_text(text)
        assert main(["call", "a:b", "--servers", str(path)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        return err.replace(str(path), name)

    return show


def test_every_mistake_has_its_line_and_a_caret(show: Show) -> None:
    said = show('[servers.a]\ncommand = "x"\nsessions = "2"  # two\ncomand = 1\n\n[servers.b]\n')
    assert said == (
        'error[wrong_type]: expected integer, got string "2"\n'
        " --> servers.toml:3:12\n"
        "  |\n"
        '3 | sessions = "2"  # two\n'
        "  |            ^^^\n"
        "  = help: remove the quotes\n"
        "\n"
        'error[unknown_field]: unknown field "comand". Did you mean "command"?\n'
        " --> servers.toml:4:1\n"
        "  |\n"
        "4 | comand = 1\n"
        "  | ^^^^^^\n"
        "\n"
        "error[wrong_value]: expected a command or a url, got neither\n"
        " --> servers.toml:6:2\n"
        "  |\n"
        "6 | [servers.b]\n"
        "  |  ^^^^^^^^^\n"
        "\n"
        "servers.toml: 3 errors, nothing was called\n"
    )


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("[default]\nx = 1\n[servers.a]\ncommand='x'", 1, 2),
        ("[servers.a]\nurl = 'https://x'\nheaders = { 'a b' = 'c' }", 3, 21),
        ("[servers.a]\ncommand = 'x'\nargs = ['a',\n 3]", 4, 2),
        ("servers.a.command = 'x'\nservers.a.tools.'b*'.rate = 'fast'", 2, 29),
        ("[servers.a]\ncommand = 'x'\n[servers.a.env]\nA = '${MISSING_VARIABLE}'", 4, 5),
    ],
)
def test_a_place_is_found_however_a_table_is_written(
    tmp_path: Path, text: str, line: int, column: int
) -> None:
    (tmp_path / "servers.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "servers.toml", {})
    [problem] = caught.value.problems
    assert (problem.line, problem.column) == (line, column)
    assert f"servers.toml:{line}:{column}: " in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "hint"),
    [
        ('[servers.a]\ncommand = "C:\\Users\\me"', 2, "a backslash in"),
        ('[servers.a]\ncommand = "C:\\dir\\me"', 2, "a backslash in"),
        ('[servers.a]\ncommand = "C:\\temp"', 2, "a backslash in"),
        ('[servers.a]\ncommand = "x"\nargs = ["C:\\bin\\x.js"]', 3, "a backslash in"),
        ('[servers.a]\ncommand = "x"\ncwd = "C:\\new"', 3, "a backslash in"),
        ("[servers.a]\ncommand = python", 2, "in quotes"),
        ("[servers.a]\ncommand = 'x'\nrequired = True", 3, "true or false"),
        ("[servers.a]\ncommand: 'x'", 2, "NAME = VALUE"),
        ("[servers.a]\ncommand = 'x'\n[servers.a]", 3, "each table once"),
        ("[servers.a]\ncommand = 'x'\ncommand = 'y'", 3, "each field once"),
        ('{\n "mcpServers": {}}', 1, "it looks like JSON"),
        ("[servers.a]\ncommand = 'python3 -m x'", 2, 'command = "python3" and args = ["-m", "x"]'),
        ("[servers.a]\ncommand = 'npx -y @x/y'", 2, 'command = "npx" and args = ["-y", "@x/y"]'),
        ("[servers.a]\ncommand = 'x --token abcd'", 2, 'args = ["--token", "***"]'),
        ("[servers.a]\nurl = 'https://x'\nheaders = { A = '${env:B}' }", 3, "write ${B}"),
    ],
)
def test_what_people_write_gets_its_hint(show: Show, text: str, line: int, hint: str) -> None:
    said = show(text)
    assert f" --> servers.toml:{line}:" in said
    assert f"= help: {hint}" in said or hint in said.split("= help: ")[1]


def test_a_program_whose_name_has_blanks_is_no_command_line(tmp_path: Path) -> None:
    (tmp_path / "my server").touch()
    path = tmp_path / "servers.toml"
    for command in ("my server", str(tmp_path / "my server"), "/no such/program"):
        path.write_text(f"[servers.a]\ncommand = '{command}'")
        assert load_config(path)["a"].command == command


SECRETS = (
    *("sk-verysecret", "pass-word", "query-secret", "header-secret", "arg-secret", "31337"),
    *("other-secret", "top-secret", "several-lines"),
)
SECRET = """[servers.a]
url = "https://me:pass-word@x.example/mcp?token=query-secret" ; BROKEN
headers = { A = "header-secret", "bad name" = "header-secret", N = 31337 }
token = "other-secret"
sessions = 0

[servers.b]
command = "x"
args = ["--token", "arg-secret", 3, "--key=arg-secret"]
env = { API_KEY = "sk-verysecret", PIN = 31337, B = "${NOT_SET}", C = ["other-secret"] }
cwd = 5

[servers.c]
command = "x"
[servers.c.env]
LONG = \"\"\"several-lines
several-lines\"\"\"
NUMBER = 31337
[vault]
secret = "top-secret"
"""


def test_no_line_and_no_message_shows_a_secret(show: Show) -> None:
    toml = SECRET.replace(" ; BROKEN", "")
    said = show(toml)
    assert "expected at least 1, got 0" in said
    assert 'headers = { A = "***", "bad name" = "***", N = *** }' in said
    assert 'args = ["--token", "***", 3, "--key=***"]' in said
    assert 'env = { API_KEY = "***", PIN = ***, B = "${NOT_SET}", C = ["***"] }' in said
    assert "expected string, got integer\n" in said
    assert not [secret for secret in SECRETS if secret in said]
    assert "5 | sessions = 0" in said
    # A file that cannot be read has no fields: only lines that can hold no secret are shown.
    for line in range(len(SECRET.splitlines())):
        lines = toml.splitlines()
        lines[line] += " @ broken"
        said = show("\n".join(lines))
        assert not [secret for secret in SECRETS if secret in said]


def test_a_duplicate_shows_no_secret(show: Show) -> None:
    said = show('{"servers": {"a": {"env": {"K": "other-secret", "K": 1}}}}', "servers.json")
    assert 'duplicate property "K"' in said
    assert "other-secret" not in said


def test_the_caret_stays_at_its_value_behind_a_secret(show: Show) -> None:
    said = show("[servers.a]\ncommand = 'x'\nenv = { A = 'a long secret text', B = 5 }")
    [line, caret] = said.splitlines()[3:5]
    assert line == '3 | env = { A = "***", B = *** }'
    assert caret.index("^") == line.rindex("***")


def test_a_json_file_has_places_behind_comments(show: Show) -> None:
    data = {"servers": {"a": {"command": "x", "sessions": 0, "env": {"K": "other-secret"}}}}
    said = show("// mine\n" + json.dumps(data), "servers.json")
    assert " --> servers.json:2:" in said
    assert '"sessions": 0, "env": {"K": "***"}' in said


def test_both_files_are_told_with_their_places(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    servers, plan = tmp_path / "servers.toml", tmp_path / "plan.json"
    servers.write_text("[servers.a]\ncommand = 'x'\nsessions = 0")
    plan.write_text(json.dumps({"tasks": [{"id": "a", "tol": "a:b"}]}))
    assert main(["run", str(plan), "--servers", str(servers)]) == 2
    said = capsys.readouterr().err
    assert f"expected at least 1, got 0\n --> {servers}:3:12\n" in said
    assert "3 | sessions = 0\n  |            ^\n" in said
    assert f" --> {plan}:1:" in said
    assert main(["validate", str(plan), "--servers", str(servers), "--json"]) == 2
    told = json.loads(capsys.readouterr().out)["problems"]
    assert f"{servers}:3:12: expected at least 1, got 0" in [each["message"] for each in told]


def test_a_value_of_two_kinds_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "servers.toml"
    path.write_text("[servers.a]\ncommand = 'x'\nmax_concurrency = -1")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    messages: list[Any] = [problem.message for problem in caught.value.problems]
    assert messages == ['expected at least 0 or "auto", got -1']


def test_numbers_of_a_budget_are_no_secrets(show: Show) -> None:
    said = show('[budget]\ncalls = 0\n\n[servers.a]\ncommand = "x"\n')
    assert "2 | calls = 0\n  |         ^\n" in said
