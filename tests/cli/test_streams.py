"""What leaves a command: every stream, whatever state it is in, and whatever a server says."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from orchestrator.cli import main
from orchestrator.documents.text import visible
from tests.cli.conftest import ROOT
from tests.cli.telltale import TOOLS
from tests.conftest import Write

CLI = (sys.executable, "-m", "orchestrator")
WIDE_TEXT = "ü€😀\u202e\x9b"


def echo(value: Any) -> dict[str, Any]:
    return {"id": "a", "tool": "faulty:echo", "arguments": {"value": value}}


def command(
    arguments: list[str], redirection: str = "", **environment: str
) -> tuple[int, str, str]:
    """Run the command line in a shell; the exit code, stdout and stderr."""
    words = " ".join(f"'{word}'" for word in (*CLI, *arguments))
    done = subprocess.run(
        ["bash", "-c", f"{words} {redirection}"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        timeout=120,
        check=False,
    )
    encoding = environment.get("PYTHONIOENCODING", "utf-8").partition(":")[0]
    return done.returncode, done.stdout.decode(encoding), done.stderr.decode(encoding)


@pytest.fixture
def played(write: Write, servers: str, tmp_path: Path) -> Callable[..., list[str]]:
    """The words of a run of these tasks that is recorded, so that its program needs no SDK."""

    def words(*tasks: dict[str, Any]) -> list[str]:
        path, recording = write(*tasks), str(tmp_path / "recording.json")
        main(["run", path, "--servers", servers, "--quiet", "--record", recording])
        return ["run", path, "--servers", servers, "--replay", recording]

    return words


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoding", "options"),
    [
        ("ascii", ["--events", "-"]),
        ("latin-1", []),
        ("cp1252:strict", ["--json"]),
    ],
)
def test_no_result_is_lost_where_stdout_cannot_encode_it(
    encoding: str, options: list[str], played: Callable[..., list[str]]
) -> None:
    run = [*played(echo(WIDE_TEXT)), "--quiet", *options]
    code, out, err = command(run, PYTHONIOENCODING=encoding)
    assert (code, err) == (0, "")
    last = json.loads(out.splitlines()[-1] if "--events" in options else out)
    result = last.get("result", last)
    assert result.get("output", result) == {"a": {"value": WIDE_TEXT}}


@pytest.mark.slow
@pytest.mark.parametrize("redirection", ["2>/dev/full", "<&- 2>&-"])
def test_a_failure_of_stderr_loses_nothing(
    redirection: str, played: Callable[..., list[str]]
) -> None:
    run = played(echo("value"), {"id": "b", "tool": "faulty:fail"})
    code, out, err = command(run, redirection)
    assert (code, err) == (1, "")
    assert json.loads(out) == {"a": {"value": "value"}}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("redirection", "why", "options"),
    [(">&-", "Bad file descriptor", ["--json"]), (">/dev/full", "No space left on device", [])],
)
def test_a_failure_of_stdout_is_said_and_the_file_is_written(
    redirection: str,
    why: str,
    options: list[str],
    played: Callable[..., list[str]],
    tmp_path: Path,
) -> None:
    output = tmp_path / "result.json"
    run = [*played(echo("value")), "--output", str(output), *options]
    code, _, err = command(run, redirection)
    assert code == 1
    assert f"orchestrator: stdout cannot be written: {why}\n" in err
    assert "Traceback" not in err
    assert "success: 1 of 1 task" in err
    assert json.loads(output.read_text())["status"] == "success"


@pytest.mark.parametrize("arguments", [["schema"], ["run", "absent.json"]])
def test_no_command_breaks_with_all_streams_closed(arguments: list[str]) -> None:
    code, out, err = command(arguments, "<&- >&- 2>&-")
    assert code in (0, 1, 2)
    assert out == err == ""


def test_the_result_comes_before_the_table(
    write: Write, servers: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def table(*_: Any) -> None:
        seen.append(capsys.readouterr().out)

    monkeypatch.setattr("orchestrator.cli.tables.print_result", table)
    assert main(["run", write(echo("value")), "--servers", servers]) == 0
    assert json.loads(seen[0]) == {"a": {"value": "value"}}


def test_a_terminal_gets_ascii_documents_and_no_active_text(
    servers: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    call = ["call", "faulty:echo", f"value={WIDE_TEXT}", "--servers", servers, "--no-lock"]
    assert main(call) == 0
    piped = capsys.readouterr().out
    assert json.loads(piped) == {"value": WIDE_TEXT}
    assert "\x9b" not in piped
    assert "ü" in piped
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(call) == 0
    shown = capsys.readouterr().out
    assert shown.isascii()
    assert json.loads(shown) == {"value": WIDE_TEXT}


SECRETS = {
    "option": "opt\"ion-secret'42",
    "environment": "nv_/secret+value=ü",
    "variable": "vrbl=secret\\nine",
    "shell": "sh-token-1234567890",
}


@pytest.fixture
def telltale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MY_SECRET", SECRETS["variable"])
    monkeypatch.setenv("SHELL_TOKEN", SECRETS["shell"])
    settings = {
        "command": sys.executable,
        "args": [
            str(Path(__file__).with_name("telltale.py")),
            f"--token={SECRETS['option']}",
            "${SHELL_TOKEN}",
        ],
        "env": {"API_KEY": SECRETS["environment"], "MODE": "${MY_SECRET}"},
        "protocol": "legacy",
    }
    path = tmp_path / "servers.json"
    path.write_text(json.dumps({"mcpServers": {"s": settings}}))
    return str(path)


def parts_of(secret: str) -> set[str]:
    """What must be seen nowhere: a secret in all its forms, and what a cut would leave of it."""
    raw = secret.encode()
    urls, letters = quote(secret, safe=""), base64.b64encode(raw).decode()
    return {secret, secret[:8], json.dumps(secret)[1:-1], visible(secret), urls, letters[:-2]}


def test_no_output_of_a_run_has_a_secret(
    telltale: str, write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, events = tmp_path / "result.json", tmp_path / "events.jsonl"
    path = write(
        *({"id": name, "tool": f"s:{name}"} for name in TOOLS),
        {"id": "wrong", "tool": "s:text", "arguments": {"a": "$OUTPUT[output]"}},
    )
    common = ["--servers", telltale]
    files = ["--output", str(output), "--events", str(events)]
    outputs: dict[str, str] = {}
    for arguments in (
        ["run", path, *common, *files],
        ["run", path, *common, "--json"],
        ["validate", path, *common],
        ["validate", path, *common, "--json"],
        ["plan", path, *common],
        ["tools", *common],
        ["tools", *common, "--json"],
        ["catalog", *common],
        ["catalog", *common, "--json"],
        *(["call", f"s:{name}", *common] for name in TOOLS),
        ["lock", *common],
        ["catalog", *common],
        ["lock", *common, "--update"],
    ):
        main(arguments)
        outputs[" ".join(arguments)] = "\n".join(capsys.readouterr())
    outputs |= {"result": output.read_text(), "events": events.read_text()}
    assert all("***" in outputs[name] for name in ("result", "events"))
    assert all(text.strip() for text in outputs.values())
    found = {
        (name, part)
        for name, text in outputs.items()
        for secret in SECRETS.values()
        for part in parts_of(secret)
        if part in text
    }
    assert not found
