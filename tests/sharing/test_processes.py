"""A limit and a rate of real processes, of which one is killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator.calls.grants import Claim
from orchestrator.sharing.machine import Machine
from orchestrator.workflow.hold import Hold

ROOT = Path(__file__).parents[2]
MOST, COUNT, PER_S, CALLS, PROCESSES = 3, 20, 0.2, 15, 4
PROCESS = f"""
import socket, sys, time
from pathlib import Path
import anyio
from orchestrator.calls.causes import Cause
from orchestrator.calls.grants import GrantedRate, GrantedSlots
from orchestrator.sharing.machine import Machine

last = 0.0

def clock():
    global last
    last = time.monotonic()
    return last

async def main(directory, counter):
    machine, cause = Machine(Path(directory), clock), Cause("server_limit", "s")
    slots = GrantedSlots({MOST}, cause, machine, "s")
    rate = GrantedRate({COUNT}, {PER_S}, cause, machine, "s")

    async def call():
        await slots.acquire()
        await rate.acquire()
        rate.note_start()
        print(repr(last))
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

anyio.run(main, *sys.argv[1:])
"""
HOLDER = """
import sys, anyio
from pathlib import Path
from orchestrator.calls.grants import Claim
from orchestrator.sharing.machine import Machine
from orchestrator.workflow.hold import Hold

async def main():
    await Machine(Path(sys.argv[1])).grant(Claim(Hold("lock x"), 1, "r", "t"), lambda: None)
    print("held", flush=True)
    await anyio.sleep_forever()

anyio.run(main)
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


def test_a_limit_and_a_rate_hold_over_processes(tmp_path: Path, runtime: Path) -> None:
    with counting(runtime / "counter") as counter:
        command = [sys.executable, "-c", PROCESS, str(tmp_path), str(runtime / "counter")]
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
async def test_what_a_process_holds_is_free_when_it_is_killed(tmp_path: Path) -> None:
    machine, order = Machine(tmp_path), list[Any]()
    process = await anyio.open_process([sys.executable, "-c", HOLDER, str(tmp_path)], cwd=ROOT)
    assert process.stdout is not None
    with anyio.fail_after(60):
        assert (await process.stdout.receive()).startswith(b"held")
        (state,) = machine.state()
        assert [each["process"] for each in state["holders"]] == [process.pid]

        def kill() -> None:
            order.append("waits")
            os.kill(process.pid, signal.SIGKILL)

        grant = await machine.grant(Claim(Hold("lock x"), 1), kill)
        await process.aclose()
    assert order == ["waits"]
    grant.release()
    assert [path.name for path in tmp_path.iterdir()] == ["turn"]
