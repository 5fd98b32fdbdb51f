"""Values on the command line: pairs, files, stdin, repeated names and whole objects."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import main
from tests.conftest import Write

INPUTS = {
    "n": {"type": "integer", "default": 0},
    "text": {"type": "string", "default": ""},
    "list": {"type": "array", "items": {"type": "string"}, "default": []},
    "any": {"default": None},
}
TASK = {"id": "a", "value": {name: f"$INPUT.{name}" for name in INPUTS}}


@pytest.fixture
def flow(write: Write, servers: str) -> list[str]:
    return [
        *("run", write(TASK, inputs=INPUTS, output="$OUTPUT[a]")),
        *("--servers", servers, "--quiet"),
    ]


def stdin(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        (["n=7"], {"n": 7}),
        (["-i", "n=7", "text=12"], {"n": 7, "text": "12"}),
        (["n=1", "--input", "text=x=y"], {"n": 1, "text": "x=y"}),
        (["list=a", "list=b"], {"list": ["a", "b"]}),
        (["list=a", "--input", "list=1"], {"list": ["1", "a"]}),  # options first
        (['list=["a", "b"]'], {"list": ["a", "b"]}),
        (["text=@text.txt"], {"text": "[1]\n"}),
        (["text=@@text.txt"], {"text": "@text.txt"}),
        (["any=@text.txt"], {"any": [1]}),
        (["list=@list.yaml"], {"list": ["c"]}),
        (["list=@text.txt", "list=@@b"], {"list": ["[1]\n", "@b"]}),
        (['{"n": 3, "text": "t"}', "n=4"], {"n": 4, "text": "t"}),
        (["@inputs.json"], {"n": 9}),
        (["text=@-"], {"text": "piped"}),
    ],
)
def test_values_have_many_forms(
    given: list[str],
    changed: dict[str, Any],
    flow: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    stdin("piped", monkeypatch)
    Path("text.txt").write_text("[1]\n")
    Path("list.yaml").write_text("- c\n")
    Path("inputs.json").write_text('{"n": 9}')
    code = main([*flow, *given])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    defaults: dict[str, Any] = {"n": 0, "text": "", "list": [], "any": None}
    assert json.loads(out) == defaults | changed


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["list=a"], """got string "a" (write list=... several times, or JSON: list='["a"]')"""),
        (["n=1", "n=2"], '"n" is given twice, but only an array takes several values'),
        (["any=1", "any=2", "-i", "any=3"], '"any" is given 3 times'),
        (["text=@none.txt"], "none.txt: cannot be read: No such file or directory"),
        (["n=@broken.json"], "broken.json:1:2: invalid JSON"),
        (["{"], "invalid JSON"),
        (["@list.json"], "list.json: expected an object of names and values, got empty array"),
        (["text=@-", "--inputs", "-"], "stdin can be read only once"),
        (["list=a", "list=b"], 'unknown input "lost"'),
    ],
)
def test_wrong_values_are_messages(
    given: list[str],
    said: str,
    flow: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    stdin("", monkeypatch)
    Path("broken.json").write_text("{")
    Path("list.json").write_text("[]")
    assert main([*flow, *given, *(["lost=1"] if "lost" in said else [])]) == 2
    assert said in capsys.readouterr().err


def test_all_wrong_values_are_reported_at_once(
    flow: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*flow, "n=1", "n=2", "text=@none.txt", "{"]) == 2
    err = capsys.readouterr().err
    assert err.count("orchestrator: ") == 3


@pytest.mark.parametrize(
    "text",
    ['{"tasks": [{"id": "a", "value": 1}]}', "tasks:\n- id: a\n  value: 1\n"],
    ids=["json", "yaml"],
)
def test_a_workflow_may_come_from_stdin(
    text: str, servers: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stdin(text, monkeypatch)
    assert main(["run", "-", "--servers", servers, "--json", "--quiet"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["workflow"], document["output"]) == ("workflow", {"a": 1})
    stdin(text.replace("value", "valu"), monkeypatch)
    assert main(["validate", "-", "--offline"]) == 2
    err = capsys.readouterr().err
    assert '"valu"' in err
    assert "--> <stdin>:" in err
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["validate", "-", "--offline"]) == 2
    assert "<stdin>: 1 error" in capsys.readouterr().err


def test_call_takes_a_whole_object(
    servers: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["call", "faulty:echo", "--servers", servers, "--timeout", "30"]
    stdin('{"value": {"n": [1]}}', monkeypatch)
    assert main([*call, "-"]) == 0
    assert json.loads(capsys.readouterr().out) == {"value": {"n": [1]}}


def test_call_warns_of_an_argument_that_its_tool_does_not_declare(
    servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["call", "faulty:echo", "value=1", "most=1", "--servers", servers])
    err = capsys.readouterr().err
    said = 'warning: faulty:echo: unexpected argument "most", which most servers ignore'
    assert said in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "w", "--quit"], 'unknown option "--quit". Did you mean "--quiet"?'),
        (["call", "s:t", "--zzz=1"], 'unknown option "--zzz=1"\n'),
        (["init", "--json"], 'unknown option "--json"'),
        (["run", "w", "other.json"], 'expected NAME=VALUE, got "other.json"'),
        (["schema", "test", "x"], "unrecognized arguments: x"),
        (["run"], "required: FILE\n"),
        (["call"], "required: SERVER:TOOL\n"),
    ],
)
def test_an_unknown_option_shows_the_usage_of_its_command(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith(f"usage: orchestrator {arguments[0]} ")
    assert said in err
