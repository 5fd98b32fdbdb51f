"""What processes share, where each process is an object: the same files, the same kernel."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from orchestrator.calls.causes import Cause
from orchestrator.calls.grants import LOCK, Claim, GrantedLocks, GrantedRate, GrantedSlots
from orchestrator.calls.limits import AbandonedError
from orchestrator.calls.locks import Locks
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


async def test_claims_of_all_processes_are_granted_in_order_of_arrival(tmp_path: Path) -> None:
    one, two, order = Machine(tmp_path), Machine(tmp_path), list[Any]()
    order.append((-1, await one.grant(claim(1), nothing)))
    assert one.is_free(claim(1))
    seen = []
    async with anyio.create_task_group() as group:
        # One that wants both is not overtaken by those that want one, of whatever process.
        rows: list[tuple[Machine, int | str]] = [(two, 2), (one, 1), (two, 1), (one, "all")]
        for number, (machine, amount) in enumerate(rows):
            group.start_soon(granted, machine, claim(amount), order, number)
            await anyio.sleep(1)
        assert not one.is_free(claim(1))
        while order:
            seen.append(sorted(who for who, _ in order))
            for _, grant in order:
                grant.release()
            order.clear()
            await anyio.sleep(1)
    assert seen == [[-1], [0], [1, 2], [3]]
    assert files(tmp_path) == ["turn"]
    one.close()
    two.close()


async def test_a_share_and_all_exclude_each_other(tmp_path: Path) -> None:
    machine, order = Machine(tmp_path), list[Any]()
    shares = [await machine.grant(claim("shared"), nothing) for _ in range(3)]
    async with anyio.create_task_group() as group:
        group.start_soon(granted, machine, claim("all"), order, "all")
        await until(lambda: not machine.is_free(claim("shared")))
        group.start_soon(granted, machine, claim("shared"), order, "late")
        await anyio.sleep(1)
        for share in shares:
            assert order == []
            share.release()
        await until(lambda: len(order) == 1)
        order[0][1].release()
    assert [who for who, _ in order] == ["all", "late"]
    order[1][1].release()


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


async def test_two_hundred_claims_with_cancellations_never_exceed_what_there_is(
    tmp_path: Path,
) -> None:
    dice, held, most, done = random.Random(7), 0, 0, 0
    machines = [Machine(tmp_path) for _ in range(4)]

    async def one(machine: Machine, amount: int, asks_s: float, patience_s: float) -> None:
        nonlocal held, most, done
        await anyio.sleep(asks_s)
        with anyio.move_on_after(patience_s) as waiting:
            grant = await machine.grant(claim(amount, 4), nothing)
            waiting.deadline = float("inf")
            held += amount
            most = max(most, held)
            await anyio.sleep(0.5)
            held -= amount
            done += 1
            grant.release()

    async with anyio.create_task_group() as group:
        for number in range(200):
            patience_s = dice.choice((float("inf"), 3.0))
            rest = dice.randint(1, 4), 20 * dice.random(), patience_s
            group.start_soon(one, machines[number % 4], *rest)
    assert (most, held) == (4, 0)
    assert 0 < done < 200
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


async def test_slots_are_shared_and_each_process_has_one_place_in_the_line(tmp_path: Path) -> None:
    slots = [GrantedSlots(3, CAUSE, Machine(tmp_path), "s") for _ in range(4)]
    assert [each.idle for each in slots] == [True] * 4
    now = most = 0
    order: list[int] = []

    async def one(number: int) -> None:
        nonlocal now, most
        is_late = await slots[number].acquire()
        assert is_late or len(order) < 3
        order.append(number)
        now += 1
        most = max(most, now)
        assert not slots[number].idle
        await anyio.sleep(1)
        now -= 1
        slots[number].release()

    async with anyio.create_task_group() as group:
        for _ in range(30):  # one process that asks much
            group.start_soon(one, 0)
        await anyio.sleep(0.5)
        for number in (1, 2, 3):
            group.start_soon(one, number)
        await until(lambda: slots[1].is_busy() and slots[3].is_busy())
    assert most == 3
    assert sorted(order[:8], reverse=True)[:3] == [3, 2, 1]  # nobody waits for all thirty
    assert all(each.idle for each in slots)


async def test_who_is_told_to_give_up_leaves_the_line(tmp_path: Path) -> None:
    one, two = (GrantedSlots(1, CAUSE, Machine(tmp_path), "s") for _ in range(2))
    await one.acquire()
    gone: list[str] = []

    async def wait(who: str) -> None:
        try:
            await two.acquire(who=who)
        except AbandonedError:
            gone.append(who)

    async with anyio.create_task_group() as group:
        for who in ("asks", "stands behind"):
            group.start_soon(wait, who)
            await anyio.sleep(1)
        two.abandon("somebody else")
        two.abandon("stands behind")
        two.abandon("asks")
    assert sorted(gone) == ["asks", "stands behind"]
    one.release()
    await two.acquire()
    two.release()


async def test_a_rate_holds_over_all_processes(tmp_path: Path) -> None:
    starts: list[float] = []
    machines = [Machine(tmp_path, anyio.current_time) for _ in range(4)]
    rates = [GrantedRate(20, 1.0, CAUSE, machine, "s") for machine in machines]

    async def one(rate: GrantedRate, pause_s: float) -> None:
        for _ in range(25):
            await anyio.sleep(pause_s)
            await rate.acquire()
            await anyio.sleep(pause_s / 7)  # until it really starts
            starts.append(anyio.current_time())
            rate.note_start()
            rate.release()

    await anyio.sleep(1)
    async with anyio.create_task_group() as group:
        for number, rate in enumerate(rates):
            group.start_soon(one, rate, 0.001 * number)
    assert len(starts) == 100
    assert all(
        after - before >= 1.0 - 1e-9 for before, after in zip(starts, starts[20:], strict=False)
    )
    assert starts[-1] - starts[0] < 5.0  # as quick as it may be
    assert rates[0].is_busy()
    await anyio.sleep(1)
    assert not rates[0].is_busy()
    # A start that seems to be in the future is one of before the clock began anew.
    again = GrantedRate(20, 1.0, CAUSE, Machine(tmp_path, lambda: 0.0), "s")
    assert not again.is_busy()
    for machine in machines:
        machine.close()


async def test_locks_of_the_machine_are_told_to_who_looks(tmp_path: Path) -> None:
    one, two = Machine(tmp_path), Machine(tmp_path)
    first, others = await one.grant(claim(1, run="r1", task="a[2]"), nothing), list[Any]()
    async with anyio.create_task_group() as group:
        for wanted in (claim(2, 3, run="", task="b"), claim("all", run="r2", task="c")):
            group.start_soon(granted, two, wanted, others, wanted.task)
            await anyio.sleep(1)
        (state,) = two.state()
        (limit,) = [await one.grant(Claim(Hold("no lock", number=1), 1), nothing)]
        assert [each["name"] for each in two.state()] == ["gpu"]
        limit.release()
        group.cancel_scope.cancel()
    assert state["capacity"] == 3
    told = [(each["task"], each["run"], each["amount"]) for each in state["holders"]]
    assert told == [("a[2]", "r1", 1), ("b", None, 2)]
    assert [each["amount"] for each in state["waiting"]] == ["all"]
    assert {each["process"] for each in state["holders"]} == {os.getpid()}
    for grant in [first, others[0][1]]:
        grant.release()
    assert one.state() == []


async def test_tasks_hold_locks_here_and_then_for_the_machine(tmp_path: Path) -> None:
    pools = []
    for _ in range(2):
        pools.append(Locks(resources={"gpu": 2}))
        pools[-1].wider = GrantedLocks(Machine(tmp_path), lambda name: name == "gpu")
    one, two = pools
    waits: list[str] = []
    await one.acquire(Hold("gpu", number=2), who="a", task="a")
    await one.acquire(Hold("own"), who="a", task="a")
    await two.acquire(Hold("own"), who="b", task="b")  # of its process alone

    async def want(who: str) -> None:
        await two.acquire(
            Hold("gpu", number=1), who=who, task=who, on_wait=lambda: waits.append(who)
        )

    async with anyio.create_task_group() as group:
        group.start_soon(want, "b")
        await until(lambda: waits == ["b"])
        # A name out of order is refused where nobody could see a circle.
        late = Locks([Hold("zoo")], Locks([Hold("own")], two, "b"), "b")
        with pytest.raises(CallError, match='lock "gpu" is not free, and those who hold it may'):
            await late.acquire(Hold("gpu", number=1), who="c", task="b/c")
        one.release("gpu", who="a")
    with anyio.move_on_after(1):
        await one.acquire(Hold("gpu"), who="a", task="a")
    two.release("gpu", who="b")
    two.release("own", who="b")
    one.release("own", who="a")
    assert repr(one) == repr(two) == "Locks([])"
    assert files(tmp_path) == ["turn"]


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
