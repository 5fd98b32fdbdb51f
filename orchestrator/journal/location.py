"""Where a journal is: in a file, or in a PostgreSQL database."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from orchestrator.documents.text import quoted
from orchestrator.errors import JournalError
from orchestrator.journal.store import Store

_DATABASE = re.compile(r"postgres(ql)?://", re.IGNORECASE)
# What libpq takes in place of a URL.
_PARAMETERS = re.compile(
    r"\s*(host|hostaddr|port|dbname|user|password|passfile|service|sslmode)\s*=", re.IGNORECASE
)
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
# All that may be a password, whatever it has in it: a URL may be wrong.
_PASSWORD = re.compile(r"(?<=://)([^:@/?]*):(.*)@", re.DOTALL)
# A URL without a host: what should be a port is none.
_NO_HOST = re.compile(r"(?<=://)([^:@/?,\[]+):(?!\d*(?:[/?,]|$))[^@]*$", re.DOTALL)
_PARAMETER = re.compile(r"([?&][^=&]*(?:pass|secret|scram)[^=&]*=)[^&]*", re.IGNORECASE)

# A connection that says nothing for so long is lost; what the URL says counts.
CONNECTION = {
    "application_name": "orchestrator",
    "connect_timeout": "10",
    "keepalives_idle": "3",
    "keepalives_interval": "1",
    "keepalives_count": "3",
    "tcp_user_timeout": "5000",
}


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """A PostgreSQL database. It is shown without its password.

    Attributes:
        url: Its URL, with the password.
    """

    url: str

    def __str__(self) -> str:
        return without_password(self.url)

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"


Location = Path | Address


def without_password(url: str) -> str:
    """A URL as it may be shown."""
    hidden = _NO_HOST.sub(r"\1:***", _PASSWORD.sub(r"\1:***@", url))
    return _PARAMETER.sub(r"\1***", hidden)


def location_of(given: str | Location) -> Location:
    """A file, or the database of a URL.

    Raises:
        JournalError: It is a URL of something else, or no URL.
    """
    if not isinstance(given, str):
        return given
    if (scheme := _DATABASE.match(given)) is not None:
        return Address(given.replace(scheme[0], scheme[0].lower(), 1))  # as libpq wants it
    if _PARAMETERS.match(given):  # without a value: any may be a password
        why = "the parameters of libpq are no journal: expected the URL of a database"
        form = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE?NAME=VALUE&NAME=VALUE"
        raise JournalError(f"{why}, {form}; for a file of such a name write ./ before it")
    if _URL.match(given):
        why = f"{quoted(without_password(given))} is no journal"
        raise JournalError(f"{why}: expected a file, or postgresql://USER@HOST/DATABASE")
    return Path(given)


@lru_cache(maxsize=64)
def store_of(location: Location) -> Store:
    """What reads and writes a journal.

    Raises:
        JournalError: What it needs is not installed.
    """
    if isinstance(location, Path):
        from orchestrator.journal.file_store import FileStore

        return FileStore(location)
    try:
        from orchestrator.journal.postgres_store import PostgresStore
    except ImportError as error:
        raise lacking("a journal in PostgreSQL", error) from None
    return PostgresStore(location)


def lacking(what: str, error: ImportError) -> JournalError:
    """What an import that failed means."""
    fix = "pip install 'mcp-orchestrator[cluster]'"
    return JournalError(f"{what} needs more packages ({error}): {fix}")
