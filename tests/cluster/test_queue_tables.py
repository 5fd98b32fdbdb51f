"""The schema of the queue: whose it is, and who may use it."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DataError, InvalidRequestError, ProgrammingError

from orchestrator import JournalError
from orchestrator.cluster.queue_tables import check_rights, engine_of, trouble_of
from orchestrator.journal.location import Address
from orchestrator.journal.store import LostError
from tests.postgres import PASSWORD, USER, Server


@pytest.fixture
def server(postgres: Server, database: Address) -> Iterator[Server]:
    """A server with a database `shared`, in which the user `app` may create, and a user `other`."""
    assert database
    with postgres._connected("postgres") as db:
        for statement in (
            "drop database if exists shared",
            "drop role if exists app",
            "drop role if exists other",
            f"create role app login password '{PASSWORD}'",
            f"create role other login password '{PASSWORD}'",
            "create database shared",
            "grant create on database shared to app",
        ):
            db.execute(statement)
    yield postgres
    postgres.cut("shared")


def address_of(server: Server, user: str) -> Address:
    return Address(server.url_over_tcp("shared").replace(f"{USER}:", f"{user}:"))


def made_by(server: Server, user: str) -> str:
    """The user as whom the queue makes tables for a user. Raises `JournalError`."""
    address = address_of(server, user)
    engine = engine_of(address)
    try:
        with engine.connect() as db:
            check_rights(address, db)
            return str(db.execute(text("select current_user")).scalar())
    finally:
        engine.dispose()


def do(server: Server, *statements: str) -> None:
    with server._connected("shared") as db:
        for statement in statements:
            db.execute(statement)


def test_the_queue_is_reached_by_all_urls_that_libpq_knows(server: Server) -> None:
    several = f"127.0.0.1:1,127.0.0.1:{server.port}"
    url = f"postgres://app:{PASSWORD}@{several}/shared?connect_timeout=5&options=-c%20a.b%3Dc"
    engine = engine_of(Address(url))
    with engine.connect() as db:
        assert db.execute(text("show a.b")).scalar() == "c"
        assert db.execute(text("show idle_in_transaction_session_timeout")).scalar() == "5s"
    engine.dispose()
    for wrong in ("u:hu@sh@h/x", "u:hush@h:p/x", "u:hush@h/x?a=b"):
        with pytest.raises(JournalError, match="its URL is wrong") as raised:
            engine_of(Address(f"postgresql://{wrong}"))
        assert "sh@" not in str(raised.value)


def test_the_tables_of_the_queue_belong_to_one_user_whoever_makes_them(server: Server) -> None:
    assert made_by(server, "app") == "app"
    do(server, "create schema orchestrator authorization app", "grant app to other")
    assert made_by(server, "other") == "app"
    assert made_by(server, USER) == "app"  # who may be everybody
    do(server, "create schema dbos authorization other")  # as earlier versions did
    assert made_by(server, "other") == "other"
    with pytest.raises(JournalError, match=r"is that of the user other: .*\(grant other to app\)"):
        made_by(server, "app")
    do(server, "grant usage on schema dbos to app")
    assert made_by(server, "app") == "app"


def test_who_may_not_make_the_schema_of_the_queue_learns_what_to_grant(server: Server) -> None:
    with pytest.raises(JournalError, match=r"\(grant create on database shared to other\), or"):
        made_by(server, "other")
    do(server, "create schema dbos authorization other")  # by an administrator
    assert made_by(server, "other") == "other"


def test_what_the_queue_says_is_said_without_a_traceback() -> None:
    address = Address("postgresql://u:hush@h/x")
    denied = psycopg.errors.InsufficientPrivilege("permission denied for table queues")
    said = str(trouble_of(address, ProgrammingError("select 1", None, denied)))
    assert "the schema dbos is there and another user's: connect as its OWNER" in said
    lost = trouble_of(address, InvalidRequestError("it is closed"))
    assert isinstance(lost, LostError)
    assert str(lost).endswith("cannot be used: InvalidRequestError: it is closed")
    wrong = psycopg.errors.NumericValueOutOfRange("integer out of range")
    error = trouble_of(address, DataError("insert", None, wrong))
    assert "integer out of range" in str(error)
    assert not isinstance(error, LostError)  # the fault of what was to be put
