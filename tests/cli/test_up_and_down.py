"""`orchestrator up` and `down`, and the commands that use what they keep; all in this process."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio.from_thread
import anyio.lowlevel
import pytest

from orchestrator.cli import main
from orchestrator.cli import pool as commands
from orchestrator.cli.arguments import build_parser
from orchestrator.daemon import connection, fork_server, guest, process
from orchestrator.daemon.configuration import document_of
from orchestrator.daemon.host import Host
from orchestrator.daemon.place import Place
from orchestrator.documents.file_lock import FileLock
from orchestrator.servers.config_file import load_config
from tests.conftest import Write

pytestmark = pytest.mark.usefixtures("runtime")
PID = {"id": "a", "tool": "faulty:pid", "arguments": {}}


class Pools:
    """Pools in threads of the tests, in place of processes.

    Attributes:
        threads: Those that `up` has started.
        signals: What was sent to them.
    """

    def __init__(self) -> None:
        self.threads: list[Thread] = []
        self.signals: list[int] = []
        self._end: Callable[[], object] = lambda: None
        self._kill = os.kill

    def spawn(self, place: Place, arguments: Sequence[str]) -> Thread:
        idle = arguments[arguments.index("--idle") + 1] if "--idle" in arguments else "1"
        documents = [document_of(each) for each in load_config(Path(arguments[1])).values()]
        run = partial(process.keep, place, documents, 60 * float(idle))
        self.threads.append(Thread(target=run, daemon=True))
        self.threads[-1].start()
        return self.threads[-1]

    async def watch(self, host: Host) -> None:
        """In place of the signals, which only the main thread receives."""
        token = anyio.lowlevel.current_token()
        self._end = partial(anyio.from_thread.run_sync, host.down, token=token)

    def kill(self, pid: int, number: int) -> None:
        if pid == os.getpid():
            self.signals.append(number)
            if number == signal.SIGTERM:
                self._end()
        else:  # a server
            self._kill(pid, number)


class Thread(threading.Thread):
    def poll(self) -> int | None:
        return None if self.is_alive() else 1


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch, servers: str) -> Iterator[Pools]:
    """The pools that `up` starts."""
    pools = Pools()
    monkeypatch.setattr(process, "FORKS_S", 0.0)  # threads fork nothing
    monkeypatch.setattr(process, "spawn", pools.spawn)
    monkeypatch.setattr(process, "_watch", pools.watch)
    monkeypatch.setattr(os, "kill", pools.kill)
    without_gone(servers)
    yield pools
    main(["down", "--servers", servers])
    for thread in pools.threads:
        thread.join(20)
        assert not thread.is_alive()


def without_gone(servers: str) -> None:
    path = Path(servers)
    path.write_text(path.read_text().partition("[servers.gone]")[0])


def states(table: str) -> dict[str, str]:
    words = (line.split() for line in table.splitlines())
    return {each[0]: each[1] for each in words if len(each) > 1 and each[0] != "server"}


def test_up_keeps_the_servers_that_commands_call_until_down(
    pools: Pools, servers: str, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--servers", servers]
    assert main(["up", *options, "--idle", "7"]) == 0
    out, err = capsys.readouterr()
    assert states(out) == {"faulty": "ready"}
    assert err == (
        f"the warm pool of {servers} is up: 1 server ready; "
        "it ends after 7 idle minutes, or with: orchestrator down\n"
    )
    pids = []
    for command in (["run", write(PID), "--json"], ["call", "faulty:pid", "--json"]):
        assert main([*command, *options]) == 0
        pids.append(capsys.readouterr().out)
    assert main(["call", "faulty:pid", "--json", *options, "--no-pool"]) == 0
    assert capsys.readouterr().out != pids[1]
    assert main(["call", "faulty:pid", "--json", *options]) == 0
    assert capsys.readouterr().out == pids[1]
    assert json.loads(pids[1])["pid"] == json.loads(pids[0])["tasks"]["a"]["output"]["pid"]
    assert len(pools.threads) == 1
    assert main(["down", *options]) == 0
    assert capsys.readouterr().err == f"the warm pool of {servers} has ended\n"
    assert main(["down", *options]) == 0
    assert capsys.readouterr().err == f"no warm pool of {servers} is up\n"


@pytest.mark.parametrize("idle", ["0", "-1", "x"])
def test_idle_is_a_number_of_minutes(idle: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["up", "--idle", idle])
    assert f'expected a number of minutes above 0, got "{idle}"' in capsys.readouterr().err


def test_up_again_starts_only_what_changed(
    pools: Pools, servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--servers", servers]
    assert main(["up", *options]) == 0
    path = Path(servers)
    text = path.read_text()
    path.write_text(text + text.replace("[servers.faulty", "[servers.other"))
    capsys.readouterr()
    assert main(["up", *options, "--idle", "3", "--json"]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert document["changes"] == {"started": ["other"], "restarted": [], "ended": []}
    assert [each["server"] for each in document["servers"]] == ["faulty", "other"]
    assert (document["idle_s"], document["pid"], len(pools.threads)) == (180, os.getpid(), 1)
    assert "was up already, for" in err
    assert '  started: "other"' in err
    path.write_text(text + "[servers.gone]\ncommand = 'no-such-program'\n")
    assert main(["up", *options]) == 1
    out, err = capsys.readouterr()
    assert states(out) == {"faulty": "ready", "gone": "failed"}
    assert 'server "gone" did not start: no such program' in err
    assert '  ended: "other"' in err


def test_two_that_begin_at_once_make_one_pool(
    pools: Pools, servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    codes: list[int] = []
    both = [
        threading.Thread(target=lambda: codes.append(main(["up", "--servers", servers])))
        for _ in range(2)
    ]
    for each in both:
        each.start()
    for each in both:
        each.join(20)
    assert (codes, len(pools.threads)) == ([0, 0], 1)
    err = capsys.readouterr().err
    assert (err.count("is up: 1 server"), err.count("was up already")) == (1, 1)


def test_a_pool_of_another_version_is_replaced(
    pools: Pools, servers: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--servers", servers]
    with monkeypatch.context() as old:
        old.setattr(guest, "VERSION", "0.0.1")
        assert main(["up", *options]) == 2
        assert "is of version 0.0.1, and this is" in capsys.readouterr().err
        assert main(["call", "faulty:echo", "value=1", *options]) == 0
        assert "this command starts its own servers" in capsys.readouterr().err
    with monkeypatch.context() as new:
        new.setattr(connection, "VERSION", "99")
        new.setattr(guest, "VERSION", "0.0.1")

        def spawn(place: Place, arguments: Sequence[str]) -> Thread:
            new.setattr(guest, "VERSION", "99")
            return pools.spawn(place, arguments)

        new.setattr(process, "spawn", spawn)
        assert main(["up", *options]) == 0
        assert "is of version 0.0.1, and this is 99: it is ended" in capsys.readouterr().err
        assert pools.signals == [signal.SIGTERM, signal.SIGCONT]
        assert len(pools.threads) == 2
        assert main(["down", *options]) == 0


def test_a_pool_that_does_not_answer_is_ended(
    servers: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without_gone(servers)
    monkeypatch.setattr(connection, "HELLO_S", 0.0)
    monkeypatch.setattr(process, "END_S", 0.2)
    place = Place.of(Path(servers))
    place.make()
    alive = FileLock(place.alive)
    assert alive.acquire(wait=False)
    alive.write(str(os.getpid()))
    sent: list[int] = []

    def kill(pid: int, number: int) -> None:
        assert pid == os.getpid()
        sent.append(number)
        if number == signal.SIGKILL:
            alive.release()

    monkeypatch.setattr(os, "kill", kill)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place.socket))
        listener.listen()
        assert main(["down", "--servers", servers]) == 0
    assert sent == [signal.SIGTERM, signal.SIGCONT, signal.SIGKILL]
    assert capsys.readouterr().err.splitlines() == [
        "orchestrator: the warm pool does not answer: it is ended",
        f"the warm pool of {servers} has ended",
    ]
    assert not place.socket.exists()
    assert alive.acquire(wait=False)
    alive.write("0")
    monkeypatch.setattr(os, "kill", lambda *_: None)
    assert main(["up", "--servers", servers]) == 2
    assert "the warm pool does not end: process 0" in capsys.readouterr().err
    alive.release()


class NoForks:
    """In place of the fork server, which would be a fork of the tests."""

    def __init__(self, *_: object) -> None:
        self.begin = self.end = lambda: None


def test_in_the_foreground_it_ends_with_a_signal(
    servers: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without_gone(servers)
    monkeypatch.setattr(fork_server, "ForkServer", NoForks)
    place = Place.of(Path(servers))
    codes: list[int] = []

    def use() -> None:
        while not place.socket.exists():
            os.sched_yield()
        codes.append(main(["up", "--foreground", "--servers", servers]))
        os.kill(os.getpid(), signal.SIGTERM)

    user = threading.Thread(target=use)
    user.start()
    assert main(["up", "--foreground", "--servers", servers, "--idle", "1"]) == 0
    user.join()
    assert codes == [1]
    assert f"the warm pool of {servers} is up already" in capsys.readouterr().err
    assert {path.suffix for path in place.directory.iterdir()} == {".alive", ".key", ".log"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in place.directory.iterdir()} == {0o600}


def test_a_pool_that_does_not_start_shows_where_it_says_why(
    servers: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def spawn(_: Place, __: Sequence[str]) -> subprocess.Popen[bytes]:
        program = subprocess.Popen(["false"])
        program.wait()
        return program

    monkeypatch.setattr(process, "spawn", spawn)
    without_gone(servers)
    assert main(["up", "--servers", servers]) == 2
    log = Place.of(Path(servers)).log
    expected = f"orchestrator: the warm pool has ended while it started; its log: {log}\n"
    assert capsys.readouterr().err == expected


def test_the_process_is_apart_from_the_terminal_and_has_the_same_options(
    servers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Any] = []
    monkeypatch.setattr(subprocess, "Popen", lambda words, **how: begun.append((words, how)))
    options = build_parser().parse_args(
        ["up", "--servers", servers, "--env-file", str(tmp_path), "--idle", "2"]
    )
    place = Place.of(Path(servers))
    place.make()
    process.spawn(place, commands._arguments(options))
    [(words, how)] = begun
    tail = ["up", "--foreground", "--servers", servers, "--env-file", str(tmp_path), "--idle", "2"]
    assert words[1:] == ["-m", "orchestrator", *tail]
    assert how["start_new_session"]
    assert how["stdin"] == subprocess.DEVNULL
    assert stat.S_IMODE(place.log.stat().st_mode) == 0o600


@pytest.mark.parametrize("fault", ["mode", "link", "file", "owner"])
def test_a_directory_that_others_can_reach_is_not_used(
    fault: str,
    servers: str,
    runtime: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    without_gone(servers)
    directory = runtime / "mcp-orchestrator"
    if fault == "mode":
        directory.mkdir()
        directory.chmod(0o750)
    elif fault == "link":
        (runtime / "elsewhere").mkdir(mode=0o700)
        directory.symlink_to(runtime / "elsewhere")
    elif fault == "file":
        directory.touch()
    else:
        directory.mkdir(mode=0o700)
        other = os.getuid() + 1
        monkeypatch.setattr(os, "getuid", lambda: other)
        monkeypatch.setattr("orchestrator.daemon.where._is_own", lambda _: True)
    assert main(["up", "--servers", servers]) == 2
    why = {
        "mode": f"others may use it; run: chmod 700 {directory}",
        "link": "it is not a directory",
        "file": "it is not a directory",
        "owner": "it belongs to another user",
    }[fault]
    expected = f'orchestrator: "{directory}" cannot hold a warm pool: {why}\n'
    assert capsys.readouterr().err == expected
    assert main(["call", "faulty:echo", "value=1", "--servers", servers]) == 0  # does without


@pytest.mark.anyio
async def test_up_waits_for_what_forks_commands(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(runtime, "p")
    monkeypatch.setattr(process, "LOOK_S", 0.0)
    with anyio.fail_after(30):
        assert not await process.until_forks(place)  # the pool has ended
        with FileLock(place.alive).holding():
            with anyio.CancelScope() as scope:
                scope.cancel()
                await process.until_forks(place)
            place.forks.touch()
            assert await process.until_forks(place)
