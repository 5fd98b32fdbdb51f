"""The tables of the queue: how they are reached, whose they are, and who may use them."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from orchestrator.errors import JournalError
from orchestrator.journal.location import Address
from orchestrator.journal.postgres import conninfo
from orchestrator.journal.postgres_errors import unusable
from orchestrator.journal.postgres_schema import AS_OWNER
from orchestrator.journal.store import LostError

QUEUE_SCHEMA = "dbos"
# Who is frozen as it takes a run does not keep others from it for long.
_OPTIONS = "-c idle_in_transaction_session_timeout=5s"
_NAME = "orchestrator queue"
_CONNECTIONS = 4  # that are kept
# The owner of the journal is the one to make the schema of the queue.
_OWNER = """(select nspowner from pg_namespace where nspname = 'dbos'
or nspname = 'orchestrator' and has_database_privilege(nspowner, current_database(), 'CREATE')
order by nspname limit 1)"""
_AS_OWNER = f"{AS_OWNER.replace('?', 'false')} {_OWNER}"
_RIGHTS = """select quote_ident(session_user), quote_ident(current_database()),
(select nspowner::regrole::text from pg_namespace where nspname = 'dbos'),
has_database_privilege(current_database(), 'CREATE'),
(select has_schema_privilege(oid, 'USAGE') from pg_namespace where nspname = 'dbos')"""


def engine_of(address: Address) -> Engine:
    """What connects the queue to its database. Raises `JournalError` if the URL is wrong."""
    info = conninfo(address, _OPTIONS, application_name=_NAME)
    # Without a ping before each use: what fails as a connection is lost is tried again.
    engine = create_engine(
        "postgresql+psycopg://",  # libpq reads the URL: SQLAlchemy knows other forms of it
        connect_args=conninfo_to_dict(info),
        pool_size=_CONNECTIONS,
        max_overflow=20,
        pool_use_lifo=True,
    )

    @event.listens_for(engine, "connect")
    def become_owner(raw: psycopg.Connection[Any], _: object) -> None:
        raw.execute(_AS_OWNER.encode())
        raw.commit()

    return engine


def check_rights(address: Address, db: Connection) -> None:
    """Refuse a user who may neither make the schema of the queue nor use it.

    Raises:
        JournalError: It lacks the rights.
    """
    user, database, owner, may_create, may_use = db.execute(text(_RIGHTS)).one()
    if owner is None and not may_create:
        grant = f"grant create on database {database} to {user}"
        raise JournalError(
            f"workers need the schema {QUEUE_SCHEMA} in {address}, and the user {user} may "
            f"not make it: have the owner of the database grant that ({grant}), or start a worker "
            "once as a user who may"
        )
    if may_use is False:
        raise JournalError(
            f"the schema {QUEUE_SCHEMA} in {address}, which workers need, is that of the user "
            f"{owner}: connect as that user, or have that user or an administrator give "
            f"{user} the same rights (grant {owner} to {user})"
        )


def trouble_of(address: Address, error: SQLAlchemyError) -> JournalError:
    """What an error of the queue means for the user; a `LostError` says nothing of the run."""
    if isinstance(error, DBAPIError) and isinstance(error.orig, psycopg.Error):
        found = unusable(address, error.orig, QUEUE_SCHEMA)
        is_of_run = isinstance(error, DataError | IntegrityError)
        return found if is_of_run else LostError(str(found))
    return LostError(f"the queue in {address} cannot be used: {type(error).__name__}: {error}")
