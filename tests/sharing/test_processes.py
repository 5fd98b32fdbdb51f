"""A limit and a rate of real processes, of which one is killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator.calls.grants import Claim, Granter
from orchestrator.journal.location import Address, store_of
from orchestrator.sharing.link import SILENT
from orchestrator.sharing.machine import Machine
from orchestrator.workflow.hold import Hold
from tests.journals import ask

ROOT = Path(__file__).parents[2]
MOST, COUNT, PER_S, CALLS, PROCESSES = 3, 20, 0.2, 15, 4
GRANTER = """
import sys, time
from pathlib import Path
import anyio
from orchestrator.calls.causes import Cause
from orchestrator.calls.grants import Claim, GrantedRate, GrantedSlots
from orchestrator.journal.location import Address, store_of
from orchestrator.sharing.machine import Machine
from orchestrator.workflow.hold import Hold

last = 0.0

def clock():
    global last
    last = time.monotonic()
    return last

def granter(place):
    return store_of(Address(place)).granter() if ":" in place else Machine(Path(place), clock)
"""
PROCESS = f"""{GRANTER}
async def main(place, counter):
    shared, cause = granter(place), Cause("server_limit", "s")
    slots = GrantedSlots({MOST}, cause, shared, "s")
    rate = GrantedRate({COUNT}, {PER_S}, cause, shared, "s")

    async def call():
        await slots.acquire()
        await rate.acquire()
        at = clock()
        rate.note_start()
        print(repr(at if ":" in place else last))
        rate.release()
        stream = await anyio.connect_unix(counter)
        await stream.receive()  # it is counted
        await anyio.sleep(0.005)
        await stream.send(b".")
        await stream.receive()  # and not any more
        slots.release()

    async with anyio.create_task_group() as group:
        for _ in range({CALLS}):
            group.start_soon(call)
    shared.close()

anyio.run(main, *sys.argv[1:])
"""
HOLDER = f"""{GRANTER}
async def main(place):
    await granter(place).grant(Claim(Hold("lock x"), 1, "r", "t"), lambda: None)
    print("held", flush=True)
    await anyio.sleep_forever()

anyio.run(main, sys.argv[1])
"""
FROZEN = f"""{GRANTER}
async def main(place):
    grant = await granter(place).grant(Claim(Hold("lock x"), 1), lambda: None)
    grant.on_lost = lambda why: print("lost:", why, flush=True)
    print("held", flush=True)
    await anyio.sleep_forever()

anyio.run(main, sys.argv[1])
"""


class Counter:
    """A server that counts how many work with it at a time."""

    def __init__(self) -> None:
        self.now = self.most = self.calls = 0
        self._lock = threading.Lock()

    def serve(self, connection: socket.socket) -> None:
        with connection:
            with self._lock:
                self.calls += 1
                self.now += 1
                self.most = max(self.most, self.now)
            connection.sendall(b"+")
            connection.recv(1)
            with self._lock:
                self.now -= 1
            connection.sendall(b"-")


@contextmanager
def counting(path: Path) -> Iterator[Counter]:
    counter = Counter()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def accept() -> None:
            for _ in range(PROCESSES * CALLS):
                threading.Thread(target=counter.serve, args=[listener.accept()[0]]).start()

        threading.Thread(target=accept, daemon=True).start()
        yield counter


@pytest.fixture(params=["host", "cluster"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where what processes share is: a directory, or the URL of a database."""
    if request.param == "host":
        return str(tmp_path)
    database: Address = request.getfixturevalue("database")
    return database.url


@pytest.fixture
def anyio_backend() -> str:
    """The processes are what is tested."""
    return "asyncio"


def granter(place: str) -> tuple[Granter, Callable[[], list[Any]]]:
    """What grants it to this process, and who holds it."""
    if ":" not in place:
        machine = Machine(Path(place))
        return machine, machine.state
    store = store_of(Address(place))
    cluster = store.granter()
    assert cluster is not None
    return cluster, store.shared_locks


def test_a_limit_and_a_rate_hold_over_processes(place: str, runtime: Path) -> None:
    with counting(runtime / "counter") as counter:
        command = [sys.executable, "-c", PROCESS, place, str(runtime / "counter")]
        running = [
            subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            for _ in range(PROCESSES)
        ]
        said = [process.communicate(timeout=60)[0] for process in running]
    assert [process.returncode for process in running] == [0] * PROCESSES
    starts = sorted(float(line) for text in said for line in text.split())
    assert (counter.calls, len(starts)) == (60, 60)
    assert counter.most <= MOST
    assert counter.now == 0
    # The stamps of the limiter itself, whatever the machine made of them.
    assert all(late - early >= PER_S for early, late in zip(starts, starts[COUNT:], strict=False))


@pytest.mark.anyio
async def test_what_a_process_holds_is_free_when_it_is_killed(place: str) -> None:
    (shared, state), order = granter(place), list[Any]()
    process = await anyio.open_process([sys.executable, "-c", HOLDER, place], cwd=ROOT)
    assert process.stdout is not None
    with anyio.fail_after(60):
        assert (await process.stdout.receive()).startswith(b"held")
        (told,) = state()
        assert [each["process"] for each in told["holders"]] == [process.pid]

        def kill() -> None:
            order.append("waits")
            os.kill(process.pid, signal.SIGKILL)

        grant = await shared.grant(Claim(Hold("lock x"), 1), kill)
        await process.aclose()
    assert order == ["waits"]
    grant.release()
    shared.close()
    assert state() == []


@pytest.mark.anyio
async def test_what_a_frozen_process_held_it_has_lost_when_it_goes_on(database: Address) -> None:
    (shared, _), url = granter(database.url), database.url
    process = await anyio.open_process([sys.executable, "-c", FROZEN, url], cwd=ROOT)
    assert process.stdout is not None
    with anyio.fail_after(60):
        assert (await process.stdout.receive()).startswith(b"held")
        os.kill(process.pid, signal.SIGSTOP)

        def age() -> None:
            ask(database, "update member set beat = beat - 60 where pid = ?", process.pid)

        grant = await shared.grant(Claim(Hold("lock x"), 1), age)
        os.kill(process.pid, signal.SIGCONT)
        said = b""
        while f"lost: {SILENT}".encode() not in said:
            said += await process.stdout.receive()
        process.kill()
        await process.aclose()
    grant.release()
    shared.close()
