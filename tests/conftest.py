"""Every async test runs on every backend; what several files of tests write."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from coverage import Coverage

Write = Callable[..., str]

# Of a slow test in which the event loop only starts a program: what is tested is the program.
ON_ASYNCIO = pytest.mark.parametrize("anyio_backend", ["asyncio"])
# Of a slow test of two protocols, which faster tests run on both event loops.
EACH_ONCE = pytest.mark.parametrize(
    ("anyio_backend", "protocol"), [("asyncio", "2026-07-28"), ("trio", "legacy")]
)

# What starts the tests in the background (`&` of a shell, nohup) may ignore signals, and each
# program that a test starts would ignore them too.
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The event loop that a test runs on."""
    backend: str = request.param
    return backend


@pytest.fixture(autouse=True)
def _untraced(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No coverage where a test runs the same lines thousands of times: it takes twice as long.

    A test that runs on both event loops is traced on asyncio only, for the same reason.
    """
    parameters = getattr(request.node, "callspec", None)
    on_trio = parameters is not None and parameters.params.get("anyio_backend") == "trio"
    repeats = on_trio or request.node.get_closest_marker("untraced")
    coverage = Coverage.current() if repeats else None
    if coverage is not None:
        coverage.stop()
        monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # of the programs it starts
    yield
    if coverage is not None:
        coverage.start()


@pytest.fixture(autouse=True, scope="session")
def _own_journal(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Runs of commands are kept beside the tests, and not among those of the user."""
    os.environ["ORCHESTRATOR_JOURNAL"] = str(tmp_path_factory.mktemp("journal") / "runs.db")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxies of the machine would come between the tests and their servers."""
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a workflow of these tasks to a file."""

    def write_file(*tasks: dict[str, Any], **fields: Any) -> str:
        path = tmp_path / "flow.json"
        path.write_text(json.dumps({"tasks": list(tasks), **fields}))
        return str(path)

    return write_file


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for warm pools, as short as the path of a socket has to be."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        monkeypatch.setenv("XDG_RUNTIME_DIR", directory)
        yield Path(directory)
