"""What the servers are and offer: `servers`, `resources`, `prompts`, and `tools` in full."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from orchestrator.cli import main
from orchestrator.cli.catalog import _in_full, _tool_document
from orchestrator.schema.tool import NEEDS_TASK, NO_TASKS, Tool
from tests.cli.conftest import ROOT
from tests.conftest import Write


@pytest.fixture
def library(servers: str) -> list[str]:
    """Options for the servers `faulty`, `gone`, and `library`, which needs a variable."""
    path = Path(servers)
    path.write_text(
        f"{path.read_text()}[servers.library]\ncommand = {json.dumps(sys.executable)}\n"
        f'args = ["-m", "tests.cli.library"]\ncwd = {json.dumps(str(ROOT))}\n'
        'env = { SHELF = "${LIBRARY_SHELF}" }\nprotocol = "legacy"\n'
    )
    variables = path.with_name("shelf.env")
    variables.write_text("# where\nexport LIBRARY_SHELF='top shelf'\n")
    return ["--servers", servers, "--env-file", str(variables)]


def test_servers_shows_which_start_and_what_is_wrong(
    library: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["servers", *library]) == 1
    out, err = capsys.readouterr()
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    assert rows["library"][0] == rows["faulty"][0] == "ready"
    assert rows["library"][3:5] == ["2025-11-25", "1"]
    assert rows["gone"][0] == "failed"
    assert 'server "gone" did not start: no such program' in err
    assert main(["servers", "library", *library, "--json"]) == 0
    (document,) = json.loads(capsys.readouterr().out)
    assert document.pop("startup_ms") > 0
    assert document.pop("started_with").endswith("tests.cli.library")
    assert document == {
        "server": "library",
        "state": "ready",
        "protocol": "2025-11-25",
        "tools": 1,
        "login": None,
        "trust": "trusted",
        "error": None,
    }


def test_servers_marks_those_that_are_untrusted(
    library: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    names = "faulty", "library"
    assert main(["servers", *names, *library]) == 0
    assert "trust" not in capsys.readouterr().out
    path = Path(library[1])
    path.write_text(
        path.read_text().replace("[servers.library]", '[servers.library]\ntrust = "untrusted"')
    )
    assert main(["servers", *names, *library]) == 0
    head, *lines = (line.split() for line in capsys.readouterr().out.splitlines() if line.strip())
    assert head[-3:] == ["trust", "started", "with"]
    rows = {line[0]: line for line in lines}
    assert ("untrusted" in rows["library"], "untrusted" in rows["faulty"]) == (True, False)


def test_servers_shows_what_another_programs_file_has_switched_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "desktop.json"
    table = {"off": {"command": "x", "disabled": True}, "gone": {"command": "no-such-program"}}
    path.write_text(json.dumps({"mcpServers": table}))
    assert main(["servers", "--servers", str(path)]) == 1
    out, err = capsys.readouterr()
    assert ["off", "disabled"] in [line.split() for line in out.splitlines()]
    assert 'server "off" is disabled: "disabled": true in ' in err


def test_resources_and_prompts_are_listed_with_all_pages(
    library: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["resources", *library]) == 1
    out, err = capsys.readouterr()
    assert [line.split() for line in out.splitlines() if "book:" in line] == [
        ["library:book:///1", "One", "text/plain"],
        ["library:book:///2", "two", "Two"],
    ]
    assert 'server "faulty" has no resources' in err
    assert 'server "gone" did not start' in err
    assert main(["prompts", "library", *library]) == 0
    assert ["library:review", "book,", "tone?", "Reviews"] in [
        line.split() for line in capsys.readouterr().out.splitlines()
    ]
    assert main(["resources", "library", "faulty", *library, "--json"]) == 0
    shown = {each["server"]: each for each in json.loads(capsys.readouterr().out)}
    assert [each["uri"] for each in shown["library"]["resources"]] == ["book:///1", "book:///2"]
    assert shown["library"]["resource_templates"] == []
    assert shown["faulty"]["resources"] is None


def test_a_tool_is_shown_in_full_and_names_alone(
    library: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tools", "library:find", *library]) == 0
    out = capsys.readouterr().out
    assert out.startswith("library:find(word: string)")
    assert "By a word of its title." in out
    assert 'input schema: {\n  "type": "object"' in out
    assert main(["tools", "library", *library, "--names"]) == 0
    assert capsys.readouterr().out == "library:find\n"
    assert main(["tools", "library:fnd", "library:zzz", *library]) == 2
    err = capsys.readouterr().err
    assert 'unknown tool "library:fnd". Did you mean "library:find"?' in err
    assert 'unknown tool "library:zzz"' in err
    assert main(["tools", "gone:any", *library]) == 1
    assert 'server "gone" did not start' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("tasks", "needs"),
    [
        ("", ""),
        (NEEDS_TASK, "needs: a task of MCP, as which it is called\n"),
        (NO_TASKS, "needs: a task of MCP, which its server does not offer: it cannot be called\n"),
    ],
)
def test_a_tool_says_that_it_needs_a_task(tasks: str, needs: str) -> None:
    tool = Tool("it", "build", {}, tasks=tasks)
    assert needs in _in_full(tool)
    assert ("needs:" in _in_full(tool)) is bool(needs)
    assert _tool_document(tool)["tasks"] == (tasks or None)


def test_variables_come_from_a_file_and_those_that_are_set_win(
    library: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["call", "library:find", "word=a", *library]
    assert main(call) == 0
    assert capsys.readouterr().out == "a top shelf\n"
    monkeypatch.setenv("LIBRARY_SHELF", "cellar")
    assert main(call) == 0
    assert capsys.readouterr().out == "a cellar\n"


def test_a_missing_file_of_variables_is_a_message(
    write: Write, servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write({"id": "a", "value": 1})
    assert main(["run", path, "--servers", servers, "--env-file", "none.env"]) == 2
    assert "none.env: 1 error, nothing was called" in capsys.readouterr().err


def test_a_wrong_line_of_a_file_of_variables_is_named_and_not_shown(
    write: Write, servers: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, variables = write({"id": "a", "value": 1}), tmp_path / "some.env"
    variables.write_text("A=1\n\n# no\nexport B='2' # no\nsecret\nC=\"secret\n=secret\n")
    assert main(["run", path, "--servers", servers, "--env-file", str(variables)]) == 2
    err = capsys.readouterr().err
    for line in (5, 6, 7):
        assert f"line {line}: expected NAME=VALUE, # COMMENT or an empty line" in err
    assert "some.env: 3 errors, nothing was called" in err
    assert "secret" not in err
