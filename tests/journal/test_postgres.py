"""What is of PostgreSQL alone: connections that are lost, processes that are frozen, its errors."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import psycopg
import pytest
from anyio import to_thread
from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations

from orchestrator import JournalError, Orchestrator, RunState
from orchestrator.errors import CarriedError
from orchestrator.journal import glance, live, postgres_schema
from orchestrator.journal import postgres as postgres_connection
from orchestrator.journal.database import SqliteSql
from orchestrator.journal.hiding import Hiding
from orchestrator.journal.history import reading, runs
from orchestrator.journal.journal import Journal
from orchestrator.journal.kept_run import KeptRun, RunRecord, ask_to_end
from orchestrator.journal.location import Address, location_of, store_of
from orchestrator.journal.postgres import PostgresSql, connect
from orchestrator.journal.postgres_claim import PostgresClaim
from orchestrator.journal.postgres_errors import unusable
from orchestrator.journal.postgres_schema import VERSION, version_of
from orchestrator.journal.postgres_session import PostgresSession, opened
from orchestrator.journal.postgres_store import PostgresStore
from orchestrator.journal.records import WRITE
from orchestrator.journal.store import Database
from orchestrator.journal.writer import Lease, Writer
from orchestrator.ui import overview
from tests.journals import ask
from tests.postgres import PASSWORD, USER, Server
from tests.real_servers import until

pytestmark = pytest.mark.anyio
RUN = "insert into run values('r', 'w', 'running', 'run', null, 1, 0, 0.0, null, null, '{}', null)"
RECORD = RunRecord("r", "w", {"tasks": [{"id": "a", "value": 1}]}, {}, {})
END_IT = "select pg_terminate_backend(pg_backend_pid())"


@pytest.fixture
def anyio_backend() -> str:
    """That of the thread that writes is the same for all event loops."""
    return "asyncio"


@pytest.fixture
def session(database: Address) -> Any:
    session = PostgresSession(database)
    session.open()
    yield session
    session.close()


@pytest.fixture
def called() -> list[str]:
    return []


@pytest.fixture
def servers(called: list[str], postgres: Server) -> dict[str, Any]:
    """A server whose tool `cut` ends all connections to PostgreSQL, and `stop` ends that."""
    mcp = MCPServer("s")

    @mcp.tool(annotations=ToolAnnotations(read_only_hint=True))
    async def cut() -> int:
        called.append("cut")
        await to_thread.run_sync(postgres.cut, "postgres")
        return 1

    @mcp.tool(annotations=ToolAnnotations(read_only_hint=True))
    async def stop() -> int:
        called.append("stop")
        await to_thread.run_sync(postgres.stop)
        return 1

    @mcp.tool()
    async def write() -> int:
        called.append("write")
        return 2

    return {"s": mcp}


def flow(*tools: str) -> dict[str, Any]:
    """Tasks one after the other."""
    tasks: list[dict[str, Any]] = [{"id": tool, "tool": f"s:{tool}"} for tool in tools]
    for before, task in zip(tools, tasks[1:], strict=False):
        task["depends_on"] = [before]
    return {"name": "w", "tasks": tasks}


async def test_a_run_goes_on_after_all_connections_were_cut(
    servers: Any, database: Address, called: list[str]
) -> None:
    async with Orchestrator(servers, journal=database) as orchestrator:
        result = await orchestrator.run(flow("cut", "write"))
        assert result.status == "success"
        (known,) = runs(database)
        assert (known.status, called) == ("success", ["cut", "write"])
        kept = ask(database, "select kind, path from record where path='write' order by kind")
        assert ("task", "write") in kept
        assert any(kind.startswith("intent") for kind, _ in kept)


async def test_without_its_database_a_run_ends_and_calls_no_tool_that_writes(
    servers: Any,
    database: Address,
    called: list[str],
    postgres: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("orchestrator.journal.postgres_session.RECONNECT_S", 0.1)
    try:
        async with Orchestrator(servers, journal=database) as orchestrator:
            async with orchestrator.begin(flow("stop", "write")) as run:
                result = await run.execute()
            assert called == ["stop"]
            assert (result["stop"].status, result["write"].status) == ("success", "error")
            error = result["write"].error
            assert error is not None
            assert "was not called, as nothing can be kept of it" in error.message
            assert "there was no new one within 0.1 s" in run.not_kept
    finally:
        postgres.start()
    assert runs(database)[0].status == "interrupted"
    async with (
        Orchestrator(servers, journal=database) as orchestrator,
        orchestrator.resume("last", unknown="repeat") as run,
    ):
        monkeypatch.setattr(postgres, "stop", lambda: None)
        assert (await run.execute()).status == "success"
    assert called in (["stop", "write"], ["stop", "stop", "write"])


def test_what_is_written_as_the_connection_is_lost_is_written_once(
    session: PostgresSession, database: Address
) -> None:
    ended: list[int] = []

    def work(db: Database) -> None:
        db.execute(RUN)
        if not ended:
            ended.append(1)
            db.execute(END_IT)

    before = session.process
    session.commit(work)
    assert ask(database, "select id from run") == [("r",)]
    assert session.process != before


def test_what_was_committed_as_the_connection_was_lost_is_not_written_again(
    session: PostgresSession, database: Address
) -> None:
    session.commit(lambda db: db.execute(RUN))
    session._commit(lambda db: db.execute(RUN))  # as after a connection that was lost at the end
    with pytest.raises(JournalError, match="duplicate key"):
        session.commit(lambda db: db.execute(RUN))
    assert ask(database, "select count(*) from run") == [(1,)]
    session._commit(lambda db: db.execute("delete from run"))  # that one was rolled back
    assert ask(database, "select count(*) from run") == [(0,)]


def test_large_records_are_written_in_several_statements(
    session: PostgresSession, database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_connection, "_MOST_TEXT", 100)
    texts = ["x" * 60, None, "y" * 60, "z" * 200, "é\\u0000"]
    together = postgres_connection._together([{"payload": text} for text in texts])
    assert [len(some) for some in together] == [3, 1, 1]
    rows = [("r", "task", f"t{n}", -1, False, 1, n + 0.1, text) for n, text in enumerate(texts)]
    session.commit(lambda db: (db.execute(RUN), db.executemany(WRITE, rows)))
    kept = ask(database, "select at, payload from record order by moment")
    assert kept == [(n + 0.1, text) for n, text in enumerate(texts)]


async def begun(journal: Journal, state: Callable[[], RunState] | None = None) -> KeptRun:
    kept = await journal.begin(RECORD)
    assert kept is not None
    if state is not None:
        kept.claim.beat(state)
    return kept


async def test_the_run_of_a_frozen_process_is_taken_over_once_and_it_writes_nothing_more(
    database: Address,
) -> None:
    async with Journal(database) as frozen, Journal(database) as second, Journal(database) as third:
        kept = await begun(frozen)
        with pytest.raises(JournalError, match="carried by another process"):
            await second.resume("r", "ask")
        kept._writer.session.carried.clear()  # type: ignore[attr-defined]  # it beats no more
        ask(database, "update carrier set beat=beat - 60")
        assert runs(database)[0].status == "interrupted"
        _, taken = await second.resume("r", "ask")
        with pytest.raises(JournalError, match="carried by another process"):
            await third.resume("r", "ask")
        kept._writer.put(kept.lease, "update run set workflow='late'", tuple)
        await kept._writer.flush()
        assert "another process carries run r now" in str(kept.lease.error)
        assert runs(database)[0].workflow == "w"
        taken.claim.free()


async def test_a_process_that_fell_silent_in_a_commit_keeps_nobody_from_its_run(
    database: Address,
) -> None:
    locked, goes_on = threading.Event(), threading.Event()

    def values() -> tuple[object, ...]:  # its row is locked by now
        locked.set()
        assert goes_on.wait(30)
        return ("late",)

    async with Journal(database) as silent, Journal(database) as other:
        kept = await begun(silent)
        kept._writer.session.carried.clear()  # type: ignore[attr-defined]  # it beats no more
        ask(database, "update carrier set beat=beat - 60")
        kept._writer.put(kept.lease, "update run set workflow=?", values)
        assert await to_thread.run_sync(locked.wait, 30)
        try:
            with anyio.fail_after(10):  # a lock is waited for no longer than 15 s
                _, taken = await other.resume("r", "ask")
        finally:
            goes_on.set()
        await kept._writer.flush()
        assert "another process carries run r now" in str(kept.lease.error)
        assert runs(database)[0].workflow == "w"
        taken.claim.free()


async def test_a_run_that_another_process_has_taken_over_is_cancelled_here(
    database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.journal.postgres_session.BEAT_S", 0.0)
    monkeypatch.setattr("orchestrator.durable.BEAT_S", 0.01)
    monkeypatch.setattr(PostgresSession, "beat_s", 0.01)
    asks = {"tasks": [{"id": "a", "ask": {"message": "a?"}}]}
    async with Orchestrator({}, journal=database) as orchestrator:
        async with orchestrator.begin(asks, wait=True) as run, anyio.create_task_group() as group:
            group.start_soon(run.execute)
            with anyio.fail_after(30):
                first = ask(database, "select beat from carrier")
                while ask(database, "select beat from carrier") == first:
                    await anyio.sleep(0.01)
                ask(database, "update carrier set process=1")
        assert run.result is not None
        assert run.result.status == "cancelled"
        assert "another process carries run" in run.not_kept
    assert runs(database)[0].status == "interrupted"


@pytest.mark.parametrize("is_taken", [False, True])
async def test_a_process_that_was_frozen_before_its_first_beat_learns_that_it_is_late(
    database: Address, is_taken: bool
) -> None:
    async with Journal(database) as first, Journal(database) as frozen:
        if is_taken:
            await (await begun(first)).free()
            _, kept = await frozen.resume("r", "ask")
        else:
            kept = await begun(frozen)
        session = kept._writer.session
        assert isinstance(session, PostgresSession)
        session._beaten = time.monotonic() + 60  # none is due
        await kept._writer.flush()
        ask(database, "update carrier set process=1")
        assert kept.holds(1.0)
        session._beaten = 0.0
        await kept._writer.flush()
        assert "another process carries run r now" in str(kept.lease.error)
        assert not kept.holds(1.0)


async def test_a_run_that_is_taken_while_its_process_beats_stays_with_it(
    database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Journal(database) as journal:
        await (await begun(journal)).free()
        session = journal.open_writer().session
        assert isinstance(session, PostgresSession)
        db, taken = session._connected(), list[KeptRun]()

        class Late:
            """The answer to a beat, which comes once a run was taken that is not in it."""

            def execute(self, *given: Any) -> Any:
                rows = db.execute(*given)
                taken.append(journal._resume("r", "ask", Hiding(), False)[1])
                return rows

        with monkeypatch.context() as patched:
            patched.setattr(session, "_connected", Late)
            session._beat()
        assert taken[0].lease.error is None
        with pytest.raises(CarriedError, match="carried by another process"):
            await journal.resume("r", "ask")
        session._beat()
        assert taken[0].lease.error is None


async def test_a_process_goes_on_with_a_run_that_it_does_not_know_to_have(
    database: Address,
) -> None:
    async with Journal(database) as journal:
        kept = await begun(journal)
        assert isinstance(kept.claim, PostgresClaim)
        kept.claim.lose()
        _, again = await journal.resume("r", "ask")
        await kept.free()
        assert live.beats(database, "r")
        await again.free()
        assert not live.beats(database, "r")


async def test_a_process_that_stood_still_after_a_commit_waits_until_it_knows_whose_its_run_is(
    database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PostgresSession, "beat_s", 0.01)
    async with Journal(database) as frozen:
        kept = await begun(frozen)
        session = kept._writer.session
        assert isinstance(session, PostgresSession)
        looks: list[str] = []

        def is_current(within_s: float) -> bool:
            if not looks:  # between the commit and this moment, another process took over
                ask(database, "update carrier set process=1")
                session._beaten -= 60
            looks.append(str(kept.lease.error))
            return PostgresSession.is_current(session, within_s)

        monkeypatch.setattr(session, "is_current", is_current)
        await kept._writer.flush(kept.lease)
        assert looks[0] == "None"
        assert "another process carries run r now" in str(kept.lease.error)


async def test_the_run_of_a_killed_process_is_interrupted_at_once(database: Address) -> None:
    async with Journal(database) as journal:
        kept = await begun(journal)
        assert runs(database)[0].status == "running"
        assert live.beats(database, "r")
        kept._writer.session.close()
        with anyio.fail_after(30):  # the server has to notice
            while runs(database)[0].status != "interrupted":
                await anyio.sleep(0)


async def test_others_ask_for_the_end_of_a_run_and_look_at_it(
    database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.journal.postgres_session.BEAT_S", 0.0)
    state = RunState(1, 3, (), at_ms=9.0)
    async with Journal(database) as journal:
        kept = await begun(journal, lambda: state)
        sign = store_of(database).sign("r")
        assert live.seen(database, "r") is None
        live.watch(database, "r")
        ask_to_end(database, "r")
        with anyio.fail_after(30):
            while not kept.claim.is_asked_to_end:
                kept._writer.put(kept.lease, "select 1", tuple)
                await kept._writer.flush()
        kept.claim.beat(lambda: state)
        await kept._writer.flush()
        seen = live.seen(database, "r")
        assert seen is not None
        assert (seen["at_ms"], seen["calls"]) == (9.0, 0)
        assert store_of(database).sign("r") != sign
        listed = overview.sign(database)
        kept.claim.end(is_kept=True)
        await kept._writer.flush()
        assert live.seen(database, "r") is None
        assert overview.sign(database) != listed


def test_a_process_that_nobody_has_written_to_beats(
    database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PostgresSession, "beat_s", 0.01)
    writer, beaten = Writer(database), []
    monkeypatch.setattr(writer.session, "beat", lambda: beaten.append(1))
    writer.open()
    until(lambda: len(beaten) >= 3)
    writer.close()
    assert writer.error is None


def test_a_database_without_a_journal_is_none_yet(postgres: Server, database: Address) -> None:
    with connect(database) as db:
        db.execute(b"drop database if exists fresh")
        db.execute(b"create database fresh")
    fresh = Address(postgres.url("fresh"))
    assert not store_of(fresh).exists()
    assert store_of(fresh).sign() is None
    assert overview.listed(fresh) == {"runs": [], "next": None, "workflows": []}
    with pytest.raises(JournalError, match=r"there is no journal in .*: run a workflow first"):
        runs(fresh)
    opened(fresh).close()
    opened(fresh).close()  # as it is
    assert runs(fresh) == []
    assert store_of(fresh).size() > 0


def test_connections_of_readers_are_used_again(database: Address, postgres: Server) -> None:
    def process() -> int:
        with reading(database) as db:
            return int(db.execute("select pg_backend_pid()").fetchone()[0])

    first = process()
    assert process() == first
    postgres.cut("postgres")
    assert process() != first
    with reading(database), reading(database), reading(database):
        pass


def test_connections_that_nobody_needs_for_a_while_are_closed(
    database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(database)
    assert isinstance(store, PostgresStore)
    with reading(database), reading(database):
        pass
    monkeypatch.setattr("orchestrator.journal.postgres_store.RECENT_S", -1.0)
    with reading(database):
        pass
    assert len(store._idle) >= 2
    monkeypatch.setattr("orchestrator.journal.postgres_store.IDLE_S", -1.0)
    while store._idle:
        with reading(database):
            pass


def test_connections_of_what_is_written_at_once_are_used_again(
    session: PostgresSession, postgres: Server
) -> None:
    backends = list[int]()

    def work(db: Database) -> None:
        backends.extend(db.execute("select pg_backend_pid()").fetchone())

    session.call(work)
    session.call(work)
    assert len(set(backends)) == 1
    postgres.cut("postgres")
    session.call(work)
    assert len(set(backends)) == 2
    with pytest.raises(JournalError, match="division by zero"):
        session.call(lambda db: db.execute("select 1/0"))
    session.call(work)
    assert len(set(backends)) == 2
    session.close()
    session.call(work)
    assert len(set(backends)) == 2


def test_a_journal_of_a_later_version_is_refused(database: Address) -> None:
    opened(database).close()
    ask(database, f"update version set number={VERSION + 1}")
    try:
        for opens in (opened, lambda address: store_of(address).open_to_read()):
            store_of.cache_clear()
            with pytest.raises(JournalError, match=r"later version of orchestrator .*name another"):
                opens(database)
    finally:
        with connect(database) as db:
            db.execute(f"update version set number={VERSION}".encode())


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (
            f"postgresql://{USER}:{PASSWORD}@127.0.0.1:PORT/none",
            '"none" does not exist; create',
        ),
        (f"postgresql://{USER}:hush@127.0.0.1:PORT/postgres", "the user or the password is wrong"),
        (f"postgresql://{USER}@127.0.0.1:PORT/postgres", "it asks for a password; give it in"),
        ("postgresql://u:hush@127.0.0.1:1/x", "no server answers; start it, or name another"),
        ("postgresql://u:hush@/x?host=/nowhere", "no server answers; start it"),
        ("postgresql://u:hush@nowhere.invalid/x", "its host is unknown"),
        ("postgresql://u:hu/sh@127.0.0.1:x/x", "special characters in a password are written as"),
        ("postgresql://u:hush@h/x?colour=red", "its URL is wrong"),
        ("postgresql://u:hush@h:one/x", "a port is a number from 1 to 65535, and special"),
        ("postgresql://u:hush@h:70000/x", "its URL is wrong: a port is"),
        ("postgresql://u:hu@sh@h/x", "as %XX; expected postgresql://USER:PASSWORD@HOST:PORT"),
        (
            f"postgresql://{USER}:hush@127.0.0.1:PORT,127.0.0.1:1/postgres",
            "the user or the password is wrong",
        ),
        (
            f"postgresql://{USER}:{PASSWORD}@127.0.0.1:PORT/template1"
            "?options=-cdefault_transaction_read_only%3Don&target_session_attrs=read-write",
            "session is read-only; name a server that can be written to",
        ),
    ],
)
def test_errors_say_what_to_do_and_no_password(
    postgres: Server, database: Address, url: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert database
    monkeypatch.delenv("PGPASSWORD", raising=False)
    address = Address(url.replace("PORT", str(postgres.port)))
    with pytest.raises(JournalError) as raised:
        store_of(address).open_to_read()
    assert why in str(raised.value)
    for secret in ("hush", "sh@", PASSWORD):
        assert secret not in f"{raised.value!s} {raised.value!r} {address} {address!r}"
        assert secret not in repr(Journal(address))


def test_a_server_that_is_being_restarted_is_waited_for(
    database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect_to, pauses = psycopg.connect, list[float]()
    said = ["FATAL:  the database system is shutting down", "Connection refused"]

    def refused_at_first(*values: Any, **more: Any) -> Any:
        if said:
            raise psycopg.OperationalError(said.pop(0))
        return connect_to(*values, **more)

    monkeypatch.setattr(psycopg, "connect", refused_at_first)
    monkeypatch.setattr("orchestrator.journal.postgres.time.sleep", pauses.append)
    connect(database).close()
    assert len(pauses) == 2
    said += ["FATAL:  the database system is starting up"]
    with pytest.raises(JournalError, match="is starting up; try again when it is up, or see its"):
        connect(database, patience_s=0.0)
    said += ["Connection refused"]
    with pytest.raises(JournalError, match="no server answers; start it"):
        connect(database)
    assert len(pauses) == 2


def test_psycopg_says_nothing_of_errors_that_are_told(
    session: PostgresSession, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(JournalError):
        session._commit(lambda db: db.execute(END_IT).fetchone())
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:a@b/c:d@h/x", "postgresql://u:***@h/x"),
        ("postgres://h/x?user=u&password=p&sslmode=require", "postgres://h/x?user=u&password=***&sslmode=require"),
        ("postgresql:///x", "postgresql:///x"),
        ("postgresql://u:hu/sh", "postgresql://u:***"),
        ("postgresql://u:12x/sh?a=b", "postgresql://u:***"),
        ("postgresql://h:5432/x", "postgresql://h:5432/x"),
        ("postgresql://h:1,g:2/x?a=b", "postgresql://h:1,g:2/x?a=b"),
        ("postgresql://[::1]:5432/x", "postgresql://[::1]:5432/x"),
    ],
)  # fmt: skip
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert str(location_of(url)) == shown


def test_a_full_disk_of_the_server_is_said(database: Address) -> None:
    error = unusable(database, psycopg.errors.DiskFull("could not extend file"))
    assert str(error).endswith("cannot be written: its disk is full")
    assert "it failed" in str(unusable(database, psycopg.Error("it failed")))
    for said, fix in (
        (
            "FATAL:  no\nDETAIL:  User does not have CONNECT privilege.",
            "(grant connect on database",
        ),
        ('FATAL:  too many connections for role "u"', "(alter role NAME connection limit N)"),
        ('too many connections for database "x"', "(alter database NAME connection limit N)"),
        ("cannot execute X in a read-only transaction", "not a standby; of several hosts target_s"),
        ("permission denied for database postgres", "grant the user the right to create in it"),
        ("permission denied for schema orchestrator", "(grant OWNER to USER)"),
        ("must be owner of table run", "the schema orchestrator is there and another user's"),
    ):
        assert fix in str(unusable(database, psycopg.Error(said)))


def test_a_url_of_something_else_is_refused() -> None:
    with pytest.raises(JournalError, match=r'"mysql://u:\*\*\*@h/x" is no journal: expected'):
        location_of("mysql://u:p@h/x")


def test_parameters_in_place_of_a_url_are_refused_without_their_values() -> None:
    for text in ("host=h password=hush", " PASSWORD = hush", "dbname=x"):
        with pytest.raises(JournalError, match="expected the URL of a database, ") as raised:
            location_of(text)
        assert "hush" not in str(raised.value)
    assert location_of("./host=h") == Path("host=h")
    assert location_of("POSTGRESQL://U@H/x") == Address("postgresql://U@H/x")


@pytest.fixture
def bare(postgres: Server, database: Address) -> Iterator[Address]:
    """A database without anything."""
    assert database
    with connect(database) as db:
        db.execute(b"drop database if exists bare")
        db.execute(b"create database bare")
    yield Address(postgres.url_over_tcp("bare"))
    postgres.cut("bare")


def test_a_schema_of_another_program_is_not_taken(bare: Address) -> None:
    def is_refused(has: str) -> None:
        for opens in (opened, lambda address: store_of(address).open_to_read()):
            with pytest.raises(JournalError, match=r"another program's.*: name another") as raised:
                opens(bare)
            assert has in str(raised.value)

    with connect(bare) as db:
        db.execute(b"create schema orchestrator")
        assert not store_of(bare).exists()
        db.execute(b"create table orchestrator.version(id integer)")
        is_refused('schema orchestrator is another program\'s (it has the table "version")')
        db.execute(b"create view orchestrator.run as select 1")
        db.execute(b"create table orchestrator.record(id integer)")
        is_refused("its schema orchestrator is another program's: name another database")


def test_processes_make_the_tables_of_a_new_database_one_after_the_other(bare: Address) -> None:
    waits = f"select 1 from pg_locks where not granted and objid={postgres_schema._LOCK}".encode()
    made = list[int]()

    def make() -> None:
        with closing(opened(bare)) as db:
            made.append(version_of(bare, db.raw))

    others = [threading.Thread(target=make) for _ in range(3)]
    with closing(connect(bare)) as raw, closing(connect(bare)) as looking:
        with raw.transaction():
            raw.execute(f"select pg_advisory_xact_lock({postgres_schema._LOCK})".encode())
            for other in others:
                other.start()
            ends_by = time.monotonic() + 60
            while looking.execute(waits).rowcount < len(others) and time.monotonic() < ends_by:
                time.sleep(0.01)
            postgres_schema.migrate(bare, raw)
        for other in others:
            other.join(60)
    assert made == [VERSION] * len(others)


def test_what_one_user_makes_belongs_to_the_owner_of_the_schema(bare: Address) -> None:
    with connect(bare) as db:
        for each in (b"journalist", b'"Ad min"'):
            db.execute(b"drop role if exists " + each)
            db.execute(b"create role " + each + b" login password 'sesame'")
        db.execute(b'grant journalist to "Ad min"')
        db.execute(b"create schema orchestrator authorization journalist")
    # Neither may create in the database.
    opened(Address(bare.url.replace(f"{USER}:", "Ad%20min:"))).close()
    owners = "select distinct tableowner from pg_tables where schemaname='orchestrator'"
    assert ask(bare, owners) == [("journalist",)]
    opened(Address(bare.url.replace(f"{USER}:", "journalist:"))).close()


def test_without_its_packages_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "orchestrator.journal.postgres_store", None)
    with pytest.raises(JournalError, match=r"pip install 'mcp-orchestrator\[cluster\]'"):
        store_of(Address("postgresql://h/nothing"))


async def test_text_that_postgres_cannot_hold_is_kept_all_the_same(database: Address) -> None:
    text = "a\0b \\u0000 \U0001f600"
    tasks = [{"id": "a", "value": text}, {"id": "b", "depends_on": ["a"], "value": "$OUTPUT[a].x"}]
    async with Orchestrator({}, journal=database) as orchestrator:
        result = await orchestrator.run({"name": "n\0ul", "tasks": tasks})
        assert result["a"].output == text
        async with orchestrator.retry("last") as run:
            again = await run.execute()
    assert again["a"].output == text
    assert [run.workflow for run in runs(database)] == ["n\ufffdul"] * 2
    payload = r'{"status": "success", "error": {"kind": "\u0000", "message": "\ud800 \\\\u0000"}}'
    ask(database, "update record set payload=? where path='a'", payload)
    with reading(database) as db:
        state = glance.states(db, again.run_id, "")["a"]
    assert state["error"] == {"kind": "\ufffd", "message": "\ufffd \\\\ufffd"}


def test_the_other_encodings_of_a_database_are_refused(postgres: Server, database: Address) -> None:
    with connect(database) as db:
        db.execute(b"drop database if exists latin")
        db.execute(b"create database latin encoding 'LATIN1' template template0")
    with pytest.raises(JournalError, match="has the encoding LATIN1: create one with"):
        opened(Address(postgres.url("latin")))


def test_both_kinds_of_sql_have_the_same_names() -> None:
    assert {*dir(SqliteSql)} == {*dir(PostgresSql)}


def test_a_lease_of_a_run_that_is_not_there_is_good(session: PostgresSession) -> None:
    writer = Writer(session._address)
    writer.open()
    writer.put(Lease("nothing", 3), "select 1", tuple)
    writer.close()
    assert writer.error is None
