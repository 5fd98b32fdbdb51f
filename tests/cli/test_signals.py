"""Signals that end a command, and how often a command starts a server."""

from __future__ import annotations

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
from orchestrator.cli.signals import ending_signals
from tests.conftest import Write
from tests.real_servers import ROOT, alive

# What ends a process by default, less what cannot be caught, what Python ignores (SIGPIPE, SIGXFSZ)
# and what reports a bug in the process itself.
ENDS = "HUP INT QUIT USR1 USR2 ALRM TERM STKFLT XCPU VTALRM PROF IO PWR"


def test_every_signal_that_ends_a_process_is_handled(monkeypatch: pytest.MonkeyPatch) -> None:
    # A process in the background of a shell is started with some of them ignored.
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_DFL)
    known = {getattr(signal, f"SIG{name}", None) for name in ENDS.split()} - {None}
    assert set(ending_signals()) == known


def test_a_signal_that_somebody_ignores_or_handles_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    others = {signal.SIGHUP: signal.SIG_IGN, signal.SIGPROF: print}
    monkeypatch.setattr(signal, "getsignal", lambda each: others.get(each, signal.SIG_DFL))
    assert others.keys().isdisjoint(ending_signals())
    assert {signal.SIGINT, signal.SIGTERM, signal.SIGQUIT} <= set(ending_signals())


@pytest.fixture
def stubborn(tmp_path: Path) -> str:
    """Servers that ignore the end of their input: `calls` answers, `silent` never starts."""
    lines = []
    for name, option in (("calls", "--ignore-eof"), ("silent", "--hang-on-start")):
        script = f"echo $$ > {tmp_path}/{name}; exec {sys.executable} -m mock_servers.faulty "
        args = json.dumps(["-c", script + option])
        lines += [f"[servers.{name}]", 'command = "sh"', f"args = {args}"]
        lines += [f"cwd = {json.dumps(str(ROOT))}", 'protocol = "legacy"']
    (tmp_path / "servers.toml").write_text("\n".join(lines))
    return str(tmp_path / "servers.toml")


def pid_in(path: Path, process: subprocess.Popen[Any]) -> int:
    """The number that a program writes to a file."""
    while not (path.exists() and path.read_text().strip()):
        assert process.poll() is None
        time.sleep(0.01)
    return int(path.read_text())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "server", "number"),
    [
        (["call", "calls:hang"], "calls", signal.SIGTERM),
        (["tools", "silent"], "silent", signal.SIGHUP),
        (["lock"], "silent", signal.SIGTERM),
    ],
)
def test_a_signal_ends_every_command_and_leaves_no_program(
    words: list[str], server: str, number: signal.Signals, stubborn: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "orchestrator", *words, "--servers", stubborn]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        pid = pid_in(tmp_path / server, process)
        process.send_signal(number)
        _, err = process.communicate(timeout=90)
    assert err == f"orchestrator: interrupted by {number.name}\n"
    assert process.returncode == 128 + number
    assert not alive(pid)


@pytest.mark.slow
def test_a_terminal_that_is_closed_loses_no_result(
    write: Write, stubborn: str, tmp_path: Path
) -> None:
    output = tmp_path / "result.json"
    path = write({"id": "hangs", "tool": "calls:hang"})
    options = [path, "--servers", stubborn, "--output", str(output)]
    terminal, its = os.openpty()
    command = [sys.executable, "-m", "orchestrator", "run", *options]
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=its) as process:
        os.close(its)
        pid = pid_in(tmp_path / "calls", process)
        os.close(terminal)
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=90)
    assert process.returncode == 128 + signal.SIGHUP
    assert json.loads(output.read_text())["tasks"]["hangs"]["status"] == "cancelled"
    assert not alive(pid)


@pytest.mark.slow
def test_one_signal_lets_finally_run_and_a_second_one_ends_it_with_a_result(
    stubborn: str, tmp_path: Path
) -> None:
    output, path = tmp_path / "result.json", tmp_path / "flow.json"
    last = [{"id": "tidy", "tool": "calls:echo", "arguments": {"value": "${STATUS[hangs]}"}}]
    last.append({"id": "hangs_too", "tool": "calls:hang", "depends_on": ["tidy"]})
    hangs = {"id": "hangs", "tool": "calls:hang"}
    path.write_text(json.dumps({"tasks": [hangs], "finally": last}))
    options = [str(path), "--servers", stubborn, "--output", str(output), "--events", "-"]
    command = [sys.executable, "-m", "orchestrator", "run", *options]
    out = err = subprocess.PIPE
    with subprocess.Popen(command, stdout=out, stderr=err, text=True) as process:
        assert process.stdout is not None
        for task in ("hangs", "hangs_too"):
            line = ""
            while not ("task_started" in line and f'"{task}"' in line):
                line = process.stdout.readline()
                assert process.poll() is None
            process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=90)
    assert process.returncode == 130
    assert "the tasks of finally run; once more ends them, too" in said
    tasks = json.loads(output.read_text())["tasks"]
    assert tasks["tidy"]["output"] == {"value": "cancelled"}
    assert tasks["hangs_too"]["status"] == "cancelled"


@pytest.mark.slow
def test_nohup_goes_on_after_the_terminal_is_closed(
    write: Write, stubborn: str, tmp_path: Path
) -> None:
    path = write({"id": "hangs", "tool": "calls:hang"})
    run = [sys.executable, "-m", "orchestrator", "run", path, "--servers", stubborn, "--json"]
    command = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *run]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        pid_in(tmp_path / "calls", process)
        for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM):
            process.send_signal(number)
        out, _ = process.communicate(timeout=90)
    assert process.returncode == 128 + signal.SIGTERM
    error = json.loads(out)["tasks"]["hangs"]["error"]
    assert error["message"] == "interrupted by SIGTERM"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["run", "FILE"], 1),
        (["validate", "FILE"], 0),
        (["plan", "FILE"], 0),
        (["call", "it:x"], 1),
        (["tools"], 1),
        (["catalog"], 1),
        (["lock"], 1),
    ],
)
def test_a_server_that_does_not_start_is_started_once(
    words: list[str], code: int, write: Write, tmp_path: Path
) -> None:
    path = write({"id": "a", "tool": "it:x"})
    args = json.dumps(["-c", f"echo x >> {tmp_path}/starts; exit 3"])
    servers = tmp_path / "servers.toml"
    servers.write_text(f'[servers.it]\ncommand = "sh"\nargs = {args}\nprotocol = "legacy"\n')
    command = [path if word == "FILE" else word for word in words]
    assert main([*command, "--servers", str(servers)]) == code
    assert (tmp_path / "starts").read_text() == "x\n"
