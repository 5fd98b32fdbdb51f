"""Commands that are forked, with a fork server and clients in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.daemon import fork_client, where
from orchestrator.daemon.fork_client import delegated
from tests.real_servers import alive, until

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
ROOT = Path(__file__).parents[2]


class Forks:
    """A fork server, and commands by it."""

    def __init__(self, directory: Path, servers: Path, *code: str) -> None:
        self.socket = directory / f"{where.name_of(str(servers))}.fork"
        self.servers = str(servers)
        self.parent = subprocess.Popen(
            [sys.executable, *(code or ("-m", "tests.daemon.forks")), str(self.socket)],
            cwd=ROOT,
            env=os.environ | {"ONLY_OF_SERVER": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.parent.stdout is not None
        self.process = int(self.parent.stdout.readline())
        until(self.socket.exists)

    def run(self, *words: str) -> int | None:
        """Run a command in this process's place."""
        return delegated([*words, "--servers", self.servers])

    def client(self, *words: str) -> subprocess.Popen[str]:
        """A process that does nothing but run a command."""
        code = "import sys; from orchestrator.daemon import fork_client; fork_client.ANSWER_S = 60;"
        code += "code = fork_client.delegated(sys.argv[1:]); sys.exit(99 if code is None else code)"
        return subprocess.Popen(
            [sys.executable, "-c", code, *words, "--servers", self.servers],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def end(self) -> None:
        """End it, and what it has forked."""
        assert self.parent.stdin is not None
        self.parent.stdin.close()
        self.parent.wait()
        assert self.parent.stdout is not None
        self.parent.stdout.close()


def state(process: int) -> str:
    """How Linux says that a process is; elsewhere nothing."""
    if not Path("/proc/self/stat").exists():
        return ""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """The directory of pools."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as runtime:
        patch.setenv("XDG_RUNTIME_DIR", runtime)
        patch.delenv(fork_client.NO_POOL, raising=False)
        directory = Path(where.directory())
        assert directory.parent == Path(runtime)
        directory.mkdir(mode=0o700)
        yield directory


@pytest.fixture(scope="module")
def forks(place: Path) -> Iterator[Forks]:
    """One for all tests that leave it as it is."""
    made = Forks(place, place / "servers.toml")
    yield made
    made.end()


@pytest.fixture
def own_forks(place: Path, tmp_path: Path) -> Iterator[Forks]:
    """One that a test may stop or kill."""
    made = Forks(place, tmp_path / "servers.toml")
    yield made
    made.end()


@pytest.fixture(autouse=True)
def _handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A client of this process has time, and leaves it the signals as they were."""
    monkeypatch.setattr(fork_client, "ANSWER_S", 60)
    names = (*fork_client._PASSED, "SIGTSTP")
    before = {name: signal.getsignal(getattr(signal, name)) for name in names}
    yield
    for name, handler in before.items():
        signal.signal(getattr(signal, name), handler)


def test_a_command_is_where_its_client_is_and_has_what_that_has(
    forks: Forks,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIVEN", "ä = \n")
    before = os.umask(0o027)
    try:
        assert forks.run("show", "an argument", "") == 3
    finally:
        os.umask(before)
    out, err = capfd.readouterr()
    assert json.loads(out) == {
        "arguments": ["an argument", "", "--servers", forks.servers],
        "directory": str(tmp_path.resolve()),
        "umask": 0o027,
        "given": "ä = \n",
        "left": [],
        "read": "",
    }
    assert err == "said\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["fail"], 1, "ValueError: a mistake"),
        (["exit", "none"], 0, ""),
        (["exit", "why"], 1, ""),
        (["nothing"], 0, ""),
    ],
)
def test_its_exit_code_is_that_of_the_client(
    forks: Forks, words: list[str], code: int, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert forks.run(*words) == code
    assert said in capfd.readouterr().err


def test_a_client_dies_as_its_command_does(forks: Forks) -> None:
    client = forks.client("kill")
    client.communicate()
    assert client.returncode == -signal.SIGKILL


def test_a_command_reads_what_its_client_is_given(forks: Forks) -> None:
    client = forks.client("ask")
    assert client.stdout is not None
    assert client.stdout.readline() == "asks\n"
    assert client.communicate("yes\n")[0] == "YES\n"
    assert client.returncode == 0


def waiting(forks: Forks) -> tuple[subprocess.Popen[str], int]:
    client = forks.client("wait")
    assert client.stdout is not None
    return client, int(client.stdout.readline())


def test_signals_are_passed_on(forks: Forks) -> None:
    client, process = waiting(forks)
    client.send_signal(signal.SIGINT)
    assert client.communicate()[0] == "interrupted\n"
    assert client.returncode == 130
    until(lambda: not alive(process))


def test_a_command_stops_and_goes_on_with_its_client(forks: Forks) -> None:
    if not Path("/proc/self/stat").exists():
        pytest.skip("the state of a process is read from /proc")
    client, process = waiting(forks)
    client.send_signal(signal.SIGTSTP)
    until(lambda: (state(client.pid), state(process)) == ("T", "T"))
    client.send_signal(signal.SIGCONT)
    until(lambda: state(process) == "S")
    client.send_signal(signal.SIGINT)
    assert client.communicate()[0] == "interrupted\n"


def test_a_command_is_killed_when_its_client_is(forks: Forks) -> None:
    client, process = waiting(forks)
    client.kill()
    client.communicate()
    until(lambda: not alive(process))


def test_a_fork_server_goes_on_when_a_client_and_its_command_end_at_once(forks: Forks) -> None:
    client, process = waiting(forks)
    os.kill(forks.process, signal.SIGSTOP)
    client.kill()
    client.wait()
    os.kill(process, signal.SIGKILL)
    until(lambda: state(process) in ("Z", ""))
    os.kill(forks.process, signal.SIGCONT)
    client.communicate()
    assert forks.run("exit", "none") == 0


def test_a_command_goes_on_when_the_pool_ends(own_forks: Forks) -> None:
    client, _ = waiting(own_forks)
    own_forks.end()
    until(lambda: not own_forks.socket.exists())
    assert own_forks.run("show") is None
    assert alive(own_forks.process)
    client.send_signal(signal.SIGINT)
    assert client.communicate()[0] == "interrupted\n"
    until(lambda: not alive(own_forks.process))


def test_a_command_goes_on_when_its_fork_server_is_killed(own_forks: Forks) -> None:
    client, process = waiting(own_forks)
    os.kill(own_forks.process, signal.SIGKILL)
    client.send_signal(signal.SIGINT)
    assert client.communicate()[0] == "interrupted\n"
    assert client.returncode == 130
    assert own_forks.run("show") is None  # nobody listens at its socket
    client = own_forks.client("show")
    client.communicate()
    assert client.returncode == 99
    until(lambda: not alive(process))


def test_a_client_says_so_if_both_are_killed(own_forks: Forks) -> None:
    client, process = waiting(own_forks)
    os.kill(own_forks.process, signal.SIGKILL)
    os.kill(process, signal.SIGKILL)
    assert "was killed; its run: orchestrator show last" in client.communicate()[1]
    assert client.returncode == 1


def test_a_command_that_has_waited_too_long_is_run_once(
    forks: Forks, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fork_client, "ANSWER_S", 0.01)
    os.kill(forks.process, signal.SIGSTOP)
    assert forks.run("show") is None
    os.kill(forks.process, signal.SIGCONT)
    monkeypatch.setattr(fork_client, "ANSWER_S", 60)
    assert forks.run("exit", "none") == 0  # it has taken both in their order
    assert capfd.readouterr() == ("", "")


def test_what_differs_when_python_starts_is_not_forked(
    forks: Forks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONSOMETHING", "1")
    assert forks.run("exit", "none") is None
    monkeypatch.delenv("PYTHONSOMETHING")
    assert forks.run("exit", "none") == 0
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert forks.run("exit", "none") is None


def test_of_another_user_nothing_is_taken(place: Path, tmp_path: Path) -> None:
    code = "from orchestrator.daemon import fork_server; import tests.daemon.forks as f;"
    code += "fork_server.is_of_user = lambda _: False; f.main()"
    made = Forks(place, tmp_path / "servers.toml", "-c", code)
    assert made.run("exit", "none") is None
    made.end()


def test_where_pools_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o755)  # others may read it
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert where.directory() == str(tmp_path / f"mcp-orchestrator-{os.getuid()}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "none"))
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.delenv(name, raising=False)
    assert where.directory() == f"/tmp/mcp-orchestrator-{os.getuid()}"
    (tmp_path / "file").touch()
    with pytest.raises(where.UnsafeError, match="it is not a directory"):
        where.check(str(tmp_path / "file"))
    monkeypatch.setattr(os, "getuid", lambda: -1)
    with pytest.raises(where.UnsafeError, match="it belongs to another user"):
        where.check(str(tmp_path))


def test_commands_that_go_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o700)
    runtime = tempfile.mkdtemp()
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    place = Path(where.directory())
    place.mkdir(mode=0o700)
    servers = tmp_path / "servers.toml"
    monkeypatch.chdir(tmp_path)
    listening = place / f"{where.name_of(str(servers))}.fork"
    listening.touch()
    assert fork_client._listens(["run"]) == str(listening)
    assert fork_client._listens(["run", "--servers=servers.toml"]) == str(listening)
    assert fork_client._listens(["run", "--servers", "other.toml"]) is None
    assert fork_client._listens([]) is None
    assert fork_client._listens(["up"]) is None
    assert fork_client._listens(["run", "--no-pool"]) is None
    place.chmod(0o755)
    assert fork_client._listens(["run"]) is None
    place.chmod(0o700)
    monkeypatch.setenv(fork_client.NO_POOL, "1")
    assert fork_client._listens(["run"]) is None
    monkeypatch.delenv(fork_client.NO_POOL)
    listening.unlink()
    place.rmdir()
    assert fork_client._listens(["run"]) is None
    place.symlink_to(tmp_path)
    assert fork_client._listens(["run"]) is None
