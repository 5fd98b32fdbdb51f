"""What processes with the same journal share when connections, processes or the server fail."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import psycopg
import pytest

from orchestrator.calls.call import Attempt, Call
from orchestrator.calls.causes import Cause
from orchestrator.calls.grants import LOCK, Claim, GrantedLocks, GrantedSlots
from orchestrator.calls.locks import Locks
from orchestrator.calls.middleware import with_locks
from orchestrator.errors import CallError, JournalError
from orchestrator.journal.location import Address, store_of
from orchestrator.sharing import link
from orchestrator.sharing.cluster import Cluster
from orchestrator.workflow.hold import Hold
from tests.postgres import Server

pytestmark = pytest.mark.anyio
ONE = Claim(Hold(f"{LOCK}x", number=1), 1, "r", "t")
RATE = Claim(Hold("rate", number=1), 1, per_s=0.2)


@pytest.fixture
def anyio_backend() -> str:
    """A database knows no virtual clock, and one event loop is enough."""
    return "asyncio"


class Asks:
    """A database, and what is asked of it beside those who share."""

    def __init__(self, address: Address, server: Server) -> None:
        self.address, self.server = address, server
        self.made: list[Cluster] = []

    def cluster(self) -> Cluster:
        found = store_of(self.address).granter()
        assert isinstance(found, Cluster)
        self.made.append(found)
        return found

    def __call__(self, statement: str) -> list[Any]:
        url = self.server.url("postgres")
        with psycopg.connect(url, autocommit=True) as db:
            db.execute("set search_path to orchestrator")
            rows = db.execute(statement.encode())
            return rows.fetchall() if statement.startswith("select") else []


@pytest.fixture
async def asks(database: Address, postgres: Server) -> AsyncIterator[Asks]:
    made = Asks(database, postgres)
    yield made
    for each in made.made:
        each.close()


def nothing() -> None:
    pass


def freeze(cluster: Cluster) -> None:
    """Have a process not noticed a minute."""
    cluster._link._beat_at = 0.0
    cluster._link.confirmed -= 60


async def until(holds: Callable[[], object]) -> None:
    with anyio.fail_after(20):
        while not holds():
            await anyio.sleep(0.01)


@asynccontextmanager
async def waiting(cluster: Cluster, claim: Claim = ONE) -> AsyncIterator[list[Any]]:
    """Wait for a claim in the block, which ends when it is granted."""
    granted: list[Any] = []
    waits = anyio.Event()

    async def ask() -> None:
        granted.append(await cluster.grant(claim, waits.set))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        with anyio.fail_after(20):
            await waits.wait()
        yield granted
        with anyio.fail_after(20):
            while not granted:
                await anyio.sleep(0.01)


async def test_who_loses_its_connection_keeps_what_it_holds_and_its_place(asks: Asks) -> None:
    one, two = asks.cluster(), asks.cluster()
    held = await one.grant(ONE, nothing)
    async with waiting(two) as granted:
        for _ in range(3):
            asks.server.cut("postgres")
            await until(lambda: len(asks("select from member where gone is null")) == 2)
        await until(lambda: len(asks("select from claim where state in ('g', 'w')")) == 2)
        assert asks("select state from claim order by number") == [("g",), ("w",)]
        assert not granted
        assert one.is_sure
        held.release()
    granted[0].release()
    assert (one._link.losses, two._link.losses) == (0, 0)


async def test_a_server_that_crashed_grants_nothing_until_all_are_back(asks: Asks) -> None:
    one, two = asks.cluster(), asks.cluster()
    held = await one.grant(ONE, nothing)
    async with waiting(two) as granted:
        # What a crash leaves of tables that are not logged.
        asks("truncate member, claim, era")
        asks.server.cut("postgres")
        await until(lambda: len(asks("select from claim")) == 2)
        states = asks("select state from claim order by task, state")
        assert states == [("g",), ("w",)]  # it has said so
        assert asks("select quiet_until > now_s() from era") == [(True,)]
        asks("update era set quiet_until = now_s() + 0.2")
        assert not granted
        held.release()
    granted[0].release()


async def test_a_server_that_was_started_again_waits_for_all_to_come_back(asks: Asks) -> None:
    store_of(asks.address).session().call(lambda _: None)  # which makes the tables
    asks("delete from era")
    asks("insert into era values(pg_postmaster_start_time() - interval '1 day', 0)")
    one = asks.cluster()
    (await one.grant(ONE, nothing)).release()
    ((quiet,),) = asks(
        "select quiet_until - extract(epoch from pg_postmaster_start_time()) from era"
    )
    assert float(quiet) == pytest.approx(2.0)


async def test_what_a_process_held_is_granted_to_others_when_it_is_silent(asks: Asks) -> None:
    one, two = asks.cluster(), asks.cluster()
    lost: list[str] = []
    held = await one.grant(ONE, nothing)
    held.on_lost = lost.append
    start = await one.grant(RATE, nothing)
    before = held.losses
    one.check(before)
    async with waiting(two) as granted:
        # As one that is frozen: its beat is old, and others find that out.
        ((key,),) = asks("select process from claim where state = 'g' and per_s is null")
        asks(f"update claim set process = 5 where process = {key}")
        asks("insert into member values(5, 'h', 1, now_s() - 60)")
        asks(f"delete from member where process = {key}")
        await until(lambda: granted)
        assert asks("select state from claim where per_s is not null") == [("s",)]  # it may be made
    await until(lambda: lost)
    assert lost == [link.SILENT]
    with pytest.raises(CallError, match="its slot was lost before it left"):
        one.check(before)
    await until(lambda: one.is_sure)
    held.release()
    start.note_start()
    granted[0].release()
    (await one.grant(ONE, nothing)).release()  # it goes on
    one.check(one._link.losses)


async def test_a_process_that_was_frozen_asks_before_it_goes_on(asks: Asks) -> None:
    one = asks.cluster()
    assert one.is_sure
    await one.confirm()
    one.check(0)
    held = await one.grant(ONE, nothing)
    assert one.is_sure
    freeze(one)
    assert not one.is_sure
    await one.confirm()  # nobody else wanted it
    assert one.is_sure
    one.check(held.losses)
    asks("delete from member")
    freeze(one)
    await one.confirm()
    assert one.is_sure
    assert held.is_lost
    held.release()


async def test_what_was_cancelled_as_it_was_granted_is_not_held(asks: Asks) -> None:
    one = asks.cluster()
    with anyio.CancelScope() as asking:
        asking.cancel()
        await one.grant(ONE, nothing)
    await until(lambda: one._link.confirmed and not asks("select 1 from claim"))
    granted = await one.grant(ONE, nothing)
    granted.release()
    one.take(granted, "granted", "")  # what the thread had said before
    freeze(one)
    assert one.is_sure
    held = await one.grant(ONE, nothing)
    freeze(one)
    async with anyio.create_task_group() as group:
        group.start_soon(one.confirm)
        await anyio.lowlevel.checkpoint()
        held.release()  # while it is asked about
    assert one.is_sure


async def test_a_task_whose_lock_is_lost_is_cancelled(asks: Asks) -> None:
    locks, one = Locks(), asks.cluster()
    locks.wider = GrantedLocks({"x": one}.get)
    calls: list[str] = []

    async def call_next(call: Call, _: Attempt) -> None:
        calls.append(call.task)
        asks("delete from member")
        await anyio.sleep_forever()

    call = Call("t", "s", "tool", {}, locks=(Hold("a"), Hold("x")))
    with anyio.fail_after(20), pytest.raises(CallError, match='lock "x" is lost, and others may'):
        await with_locks(call_next, locks)(call, Attempt())
    assert calls == ["t"]
    assert repr(locks) == "Locks([])"


async def test_nothing_is_granted_without_the_database(
    monkeypatch: pytest.MonkeyPatch, asks: Asks
) -> None:
    monkeypatch.setattr(link, "FENCE_S", 0.3)
    tries: list[int] = []

    def connect() -> Any:
        tries.append(1)
        raise JournalError("the journal postgresql://x cannot be used: no server answers")

    none = Cluster(connect)
    slots = GrantedSlots(1, Cause("server_limit", "s"), none, "s")
    for _ in range(2):
        with pytest.raises(CallError, match=r'scope = "cluster": the journal .* no server answers'):
            await slots.acquire()
    assert len(tries) > 2
    assert slots.idle
    none.close()
    # One that had a connection loses what it holds, too.
    one = asks.cluster()
    held = await one.grant(ONE, nothing)
    monkeypatch.setattr(one._link, "_connect", connect)
    asks.server.cut("postgres")
    await until(lambda: held.is_lost)
    with pytest.raises(CallError, match="no server answers"):
        await one.grant(ONE, nothing)


async def test_what_the_database_refuses_is_an_error_of_the_call(asks: Asks) -> None:
    one = asks.cluster()
    held = await one.grant(ONE, nothing)
    huge = ONE._replace(capacity=1 << 40)
    with pytest.raises(CallError, match="out of range"):
        await one.grant(huge, nothing)
    await until(lambda: held.is_lost)
    (await one.grant(ONE, nothing)).release()


async def test_a_bug_in_the_thread_is_an_error_of_the_calls_that_wait(
    asks: Asks, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = asks.cluster()
    with monkeypatch.context() as broken:
        broken.setattr(json, "dumps", lambda _: 1 / 0)
        with pytest.raises(CallError, match="a bug: ZeroDivisionError"):
            await one.grant(ONE, nothing)
    (await one.grant(ONE, nothing)).release()


async def test_names_and_tasks_may_be_any_text(asks: Asks) -> None:
    one = asks.cluster()
    for name in ("\0", "\ud800", "x" * 10_000, "x" * 10_000 + "y", 'q"\\'):
        hold = Hold(f"{LOCK}{name}")
        held = await one.grant(Claim(hold, 1, "r\0", "t\ud800"), nothing)
        (told,) = store_of(asks.address).shared_locks()
        assert told["holders"][0]["task"] == "t?"
        held.release()
        await until(lambda: not store_of(asks.address).shared_locks())


async def test_a_process_without_claims_is_forgotten_and_known_again(asks: Asks) -> None:
    one = asks.cluster()
    (await one.grant(ONE, nothing)).release()
    await until(lambda: not asks("select from claim"))
    asks("delete from member")
    (await one.grant(ONE, nothing)).release()
    assert one._link.losses == 0
    one.close()
    assert asks("select from member") == []
    asks.server.cut("postgres")
    again = await one.grant(ONE, nothing)  # it may be used again
    again.release()
    await until(lambda: not asks("select from claim"))
    asks.server.cut("postgres")  # nothing is held: it connects when it needs to
    await until(lambda: one._link._raw is None)
    (await one.grant(ONE, nothing)).release()


async def test_the_first_call_after_a_clock_was_set_back_waits_no_longer_than_the_rate(
    asks: Asks,
) -> None:
    one = asks.cluster()
    (await one.grant(RATE, nothing)).note_start()
    await until(lambda: asks("select from claim where state = 's'"))
    asks("update claim set since = since + 1000")
    with anyio.fail_after(20):
        (await one.grant(RATE, nothing)).release()


async def test_a_rate_that_waits_for_a_start_of_others_is_told_when_it_may_look(asks: Asks) -> None:
    one, two = asks.cluster(), asks.cluster()
    first = await one.grant(RATE, nothing)
    async with waiting(two, RATE) as granted:
        assert not two._link._looks
        first.note_start()
        await until(lambda: granted or two._link._looks)
    granted[0].release()
