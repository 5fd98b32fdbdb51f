"""Programs of peers: how they are run, how they fail, and where they are installed."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.peer_programs.conversation import Call
from benchmarks.peers import environments, programs, rounds
from benchmarks.peers.catalog import PEERS
from benchmarks.peers.environments import Environments, InstallError
from benchmarks.peers.jobs import JOBS, Job
from benchmarks.peers.programs import PeerFailedError, Program
from benchmarks.peers.rounds import Request
from tests.chaos import processes

FIVE = JOBS["five"]


GATHER = PEERS["gather, by layers"]


HERE = Environments(None)


def script(program: str) -> list[str]:
    return [sys.executable, "-c", program]


READY = "import sys; print('{}', flush=True); sys.stdin.readline(); "


BROKEN = {
    "garbage": (READY + "print('hello')", "expected a JSON object, got 'hello\\n'"),
    "an error": (READY + """print('{"error": "WrongResultError: no"}')""", "WrongResultError: no"),
    "an end": (READY + "sys.exit('so tired')", "it ended: so tired"),
    "silence": (READY + "sys.exit()", "it ended: no output"),
    "no start": ("raise RuntimeError('no servers')", "it ended: RuntimeError: no servers"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_peer_that_breaks_says_how_in_one_line(name: str) -> None:
    program, expected = BROKEN[name]
    with pytest.raises(PeerFailedError) as caught:
        ask(program)
    assert str(caught.value) == expected


def ask(program: str) -> None:
    started = Program(script(program), os.environ)
    try:
        started.do(FIVE)
    finally:
        started.close()


@pytest.mark.skipif(not processes.AVAILABLE, reason="processes are found in /proc")
def test_a_peer_that_says_nothing_is_killed_with_what_it_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mark = f"started-by-a-peer-{os.getpid()}"
    sleeper = f"[sys.executable, '-c', 'import time; time.sleep(60)', '{mark}']"
    program = f"import subprocess, sys, time; subprocess.Popen({sleeper}); {READY} time.sleep(60)"
    started = Program(script(program), os.environ)
    assert processes.marked(mark)
    monkeypatch.setattr(programs, "LIMIT_S", 0.05)
    with pytest.raises(PeerFailedError, match="it ended"):
        started.do(FIVE)
    started.close()
    while processes.marked(mark):
        pass


def test_a_peer_that_does_not_exit_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "CLOSE_LIMIT_S", 0.05)
    Program(script(READY + "import time; time.sleep(60)"), os.environ).close()


def small(expected: dict[str, object]) -> Job:
    call = Call("size", "text", "words", {"text": "two words"}, (), expected)
    return Job("small", "one call", (call,), cold=True)


VALUES = {"values": {"size": {"words": 2, "more": 1}}}


DOCUMENT = {"tasks": {"size": {"output": {"words": 2}}}}


@pytest.mark.parametrize("printed", [VALUES, DOCUMENT])
def test_a_cold_start_is_timed_and_its_result_is_checked(printed: object) -> None:
    command = script(f"print('''{json.dumps(printed)}''')")
    assert programs.cold(command, os.environ, small({"words": 2})) > 0
    with pytest.raises(PeerFailedError, match="size gave"):
        programs.cold(command, os.environ, small({"words": 3}))


def test_a_cold_start_that_fails_or_takes_too_long_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PeerFailedError, match="exit code 1: no luck"):
        programs.cold(script("raise SystemExit('no luck')"), os.environ, FIVE)
    monkeypatch.setattr(programs, "LIMIT_S", 0.05)
    with pytest.raises(PeerFailedError, match=r"it did not end in 0\.05 s"):
        programs.cold(script("import time; time.sleep(60)"), os.environ, FIVE)


def test_what_a_command_printed_last_is_why_it_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InstallError, match=r"^ERROR: no such distribution$"):
        environments.run(script("import sys; print('x'); sys.exit('ERROR: no such distribution')"))
    with pytest.raises(InstallError, match="exit code 3"):
        environments.run(script("import sys; sys.exit(3)"))
    monkeypatch.setattr(environments, "LIMIT_S", 0.05)
    with pytest.raises(InstallError, match="not installed after"):
        environments.run(script("import time; time.sleep(60)"))


def test_an_environment_is_made_once_and_again_when_its_requirements_change(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran: list[str] = []

    def run(command: list[str]) -> None:
        ran.append(command[-1])
        if "venv" in command:
            Path(command[-1]).mkdir(parents=True)

    monkeypatch.setattr(environments, "run", run)
    made = Environments(tmp_path)
    python = made.python(GATHER)
    assert python == made.python(PEERS["gather, task futures"])
    assert Path(python).is_relative_to(tmp_path)
    assert ran[1:] == ["mcp==2.3.0"]
    assert made.python(replace(GATHER, requirements=("mcp==2.4.0",))) != python
    assert ran[3:] == ["mcp==2.4.0"]


def test_an_install_that_fails_costs_only_its_own_rows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def run(_: list[str]) -> None:
        raise InstallError("no network")

    monkeypatch.setattr(environments, "run", run)
    request = Request([GATHER], [FIVE], 1, 1, Environments(tmp_path))
    report = rounds.measure(request, lambda _: None)
    assert report.failures == {("five", GATHER.name): "not installed: no network"}


def test_without_environments_only_what_is_installed_here_can_run() -> None:
    assert HERE.python(GATHER) == sys.executable
    with pytest.raises(InstallError, match="no-such-thing is not installed here"):
        HERE.python(replace(GATHER, requirements=("no-such-thing==1",)))
