"""What errors of PostgreSQL and libpq mean for the user of a journal."""

from __future__ import annotations

import re

import psycopg

from orchestrator.documents.text import quoted
from orchestrator.errors import JournalError
from orchestrator.journal.location import Address
from orchestrator.journal.postgres_schema import SCHEMA

# What the server or libpq says, and what it means for the user.
_REASONS = (
    ("password authentication failed", "the user or the password is wrong; {password}"),
    ("no password supplied", "it asks for a password; {password}"),
    ('database ".*" does not exist', "{said}; create it (createdb NAME), or name another one"),
    ("too many clients|remaining connection slots", "{said}; raise its max_connections"),
    ("too many connections for role", "{said}; raise that (alter role NAME connection limit N)"),
    ("too many connections for", "{said}; raise that (alter database NAME connection limit N)"),
    (
        "CONNECT privilege",
        "the user may not connect to it; have its owner grant that (grant connect on database NAME "
        "to USER)",
    ),
    ("permission denied for database", "{said}; grant the user the right to create in it"),
    ("permission denied|must be owner", "{said}; {owner}"),
    (
        "read-only transaction|session is read-only|not in hot standby|during recovery",
        "{said}; {primary}",
    ),
    ("timeout expired", "no server has answered in time; {start}"),
    ("the database system is", "{said}; {restart}"),
    ("Connection refused|No such file|server running", "no server answers; {start}"),
    ("could not translate host name|failed to resolve host", "its host is unknown; {start}"),
)
_WORDS = {
    "password": "give it in the URL, in PGPASSWORD, or in ~/.pgpass",
    "start": "start it, or name another journal with --journal",
    "restart": "try again when it is up, or see its log; or name another journal with --journal",
    "primary": "name a server that can be written to, not a standby; of several hosts "
    "target_session_attrs=read-write in the URL finds it",
    "owner": "the schema {schema} is there and another user's: connect as its OWNER, or have that "
    "user or an administrator give you the same rights (grant OWNER to USER)",
}


def unusable(address: Address, error: psycopg.Error, schema: str = SCHEMA) -> JournalError:
    """What an error of PostgreSQL means for the user of a journal; `schema` is what was used."""
    for sign, reason in _REASONS:
        for said in _lines(error):  # one of each host of the URL
            if re.search(sign, said):
                words = {name: each.format(schema=schema) for name, each in _WORDS.items()}
                why = reason.format(said=said, **words)
                return JournalError(f"the journal {address} cannot be used: {why}")
    if isinstance(error, psycopg.errors.DiskFull):
        return JournalError(f"the journal {address} cannot be written: its disk is full")
    return JournalError(f"the journal {address} cannot be used: {said_by(error)}")


def wrong_url(address: Address, why: str = "") -> JournalError:
    """A URL that libpq cannot read; what it has found may be a part of a password."""
    expected = "expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
    escaped = "special characters in a password are written as %XX"
    return JournalError(
        f"the journal {address} cannot be used: its URL is wrong: {why}{escaped}; {expected}"
    )


def said_by(error: psycopg.Error) -> str:
    """The words of the server, without those of the way to it."""
    return _lines(error)[0]


def _lines(error: psycopg.Error) -> list[str]:
    if (primary := error.diag.message_primary) is not None:
        return [primary]
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return [line.rpartition("FATAL:")[2].strip() or quoted(line) for line in lines]
