"""What processes share, where each process is an object: the same files, the same kernel."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from orchestrator.calls.causes import Cause
from orchestrator.calls.grants import LOCK, Claim
from orchestrator.errors import CallError
from orchestrator.sharing import line, place
from orchestrator.sharing.machine import Machine
from orchestrator.workflow.hold import Hold
from tests.virtual_clock import Backend, virtual_clock

pytestmark = pytest.mark.anyio
CAUSE = Cause("server_limit", "s")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Backend:
    return virtual_clock(request.param)


def nothing() -> None:
    pass


def claim(amount: int | str = 1, capacity: int = 2, run: str = "", task: str = "") -> Claim:
    number = amount if isinstance(amount, int) else None
    return Claim(Hold(f"{LOCK}gpu", amount == "shared", number), capacity, run, task)


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def granted(machine: Machine, wanted: Claim, order: list[Any], who: Any) -> None:
    order.append((who, await machine.grant(wanted, nothing)))


async def until(holds: Callable[[], bool]) -> None:
    """Let the others go on until it holds."""
    with anyio.fail_after(100):
        while not holds():
            await anyio.sleep(0.01)


async def test_what_a_process_held_that_was_killed_is_free_at_once(tmp_path: Path) -> None:
    one, two, order = Machine(tmp_path), Machine(tmp_path), list[Any]()

    async def hold_until_killed() -> int:
        return (await one.grant(claim("all", run="r", task="t"), nothing))._pipe

    dead = await hold_until_killed()
    async with anyio.create_task_group() as group:
        group.start_soon(granted, two, claim("all"), order, "next")
        await anyio.sleep(1)
        assert order == []
        os.close(dead)  # as the kernel does; nothing else happens
    order[0][1].release()
    # So it is if nobody waited, and of one that was killed while it entered.
    os.close(await hold_until_killed())
    os.mkfifo(tmp_path / f"{1:016x}-{line.key_of(f'{LOCK}gpu')}-all-1")
    assert two.state() == []
    os.close(await hold_until_killed())
    (await two.grant(claim("all"), nothing)).release()
    assert files(tmp_path) == ["turn"]


async def test_who_enters_while_another_process_does_waits_for_its_turn(tmp_path: Path) -> None:
    one, two = line.Line(tmp_path), line.Line(tmp_path)
    entered: list[Any] = []

    async def enter() -> None:
        entered.append(await two.enter("k", "1"))

    async with anyio.create_task_group() as group:
        with one._locked():
            group.start_soon(enter)
            await anyio.sleep(3 * line.TURN_S)
            assert entered == []
    ((entry, pipe),) = entered
    assert two.entries("k") == [entry]
    os.close(pipe)
    two.remove(entry)
    one.close()
    one.close()
    two.close()


def test_each_start_of_the_machine_has_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "_BOOT", boot := tmp_path / "boot")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    first = place.directory()
    assert first == place.directory(tmp_path / "state" / "orchestrator")
    assert first.stat().st_mode & 0o777 == 0o700
    other = first.parent / "other-machine-0"
    other.mkdir()
    boot.write_text("1234567890")
    second = place.directory()
    assert second.name.endswith("-12345678")
    assert sorted(second.parent.iterdir()) == sorted([second, other])
    assert Machine().directory == second


async def test_a_directory_that_cannot_be_made_is_an_error_of_the_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused() -> Path:
        raise OSError(errno.EROFS, "Read-only file system", "/state")

    monkeypatch.setattr(place, "directory", refused)
    with pytest.raises(CallError, match='scope = "host" needs /state: Read-only file system'):
        await Machine().grant(claim(), nothing)
