"""A connection to a journal in PostgreSQL: its SQL, its errors, and how it is opened."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import count
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from orchestrator.documents.encode import to_json
from orchestrator.errors import JournalError
from orchestrator.journal.location import CONNECTION, Address
from orchestrator.journal.postgres_errors import said_by, unusable, wrong_url
from orchestrator.journal.postgres_schema import SCHEMA, migrate, version_of
from orchestrator.journal.records import WRITE
from orchestrator.journal.store import LostError, Rows

# A process that is frozen in the middle of a transaction does not keep others from its rows.
_OPTIONS = f"-c search_path={SCHEMA} -c idle_in_transaction_session_timeout=5s -c lock_timeout=15s"
_INTO = "insert into record(run, kind, path, item, fallback, number, at, payload)"
_AGAIN = """on conflict(run, kind, path, item, fallback, number)
do update set at=excluded.at, payload=excluded.payload, moment=nextval('moment')"""
_OWN = {WRITE: f"{_INTO} values(?, ?, ?, ?, ?, ?, ?, ?) {_AGAIN}"}
_COLUMNS = "run", "kind", "path", "item", "fallback", "number", "at", "payload"
# As one JSON text, since psycopg takes 100 us for each row in arrays, most of it for the texts.
_MANY = f"""{_INTO} select * from json_to_recordset(?::json) as row(run text, kind text, path text,
item integer, fallback boolean, number integer, at double precision, payload text) {_AGAIN}"""
_MOST_TEXT = 10_000_000  # characters of payloads in one statement, but for those of the last
# A server that says that it goes down or comes up is restarted: it is waited for as long as a run
# under way waits.
RESTART_S = 5.5
_RESTARTS = re.compile("the database system is (shutting|starting|not yet|not accepting|in rec)")
_PAUSE_S = 0.25


# What psycopg ignores comes beside an exception, which says what is lost.
logging.getLogger("psycopg").addFilter(lambda said: not str(said.msg).startswith("error ignored "))


class NoJournalError(JournalError):
    """There is no journal in a database."""


class PostgresSql:
    """The SQL of PostgreSQL; see `Sql`."""

    moment = "moment"
    keeps_moments = True
    plain = ""
    has_memo = "select 1"
    lock = " for no key update"

    def members(self, *names: str) -> str:
        """See `Sql`."""
        columns = ", ".join(f'"{name}" json' for name in names)
        array = f"json_build_array({', '.join(names)})::text"
        return f"(select {array} from json_to_record(said(payload)) as each({columns}))"

    def text(self, *place: str) -> str:
        """See `Sql`."""
        return f"(said(payload) #>> '{{{','.join(place)}}}')"

    def number(self, name: str) -> str:
        """See `Sql`."""
        return f"{self.text(name)}::double precision"

    def array_length(self, column: str, *place: str) -> str:
        """See `Sql`."""
        return f"json_array_length(said({column}) #> '{{{','.join(place)}}}')"

    def without(self, column: str, member: str) -> str:
        """See `Sql`."""
        rest = f"from json_each(said({column})) where key <> '{member}'"
        return f"(select json_object_agg(key, value)::text {rest})"


@lru_cache(maxsize=256)
def _translated(statement: str) -> bytes:
    """A statement with the placeholders of PostgreSQL; none of ours has another `?` in it."""
    first, *others = _OWN.get(statement, statement).split("?")
    return "".join([first, *(f"${n}{part}" for n, part in zip(count(1), others))]).encode()


class PostgresConnection:
    """A connection to a database; see `Database`.

    Args:
        address: The database.
        raw: The connection.
        back: Receives it when it is closed.

    Its errors are `LostError` and `JournalError`.
    """

    sql = PostgresSql()

    def __init__(
        self,
        address: Address,
        raw: psycopg.Connection[tuple[Any, ...]],
        back: Callable[[psycopg.Connection[tuple[Any, ...]]], None] = psycopg.Connection.close,
    ) -> None:
        self.address, self.raw, self._back = address, raw, back

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Rows:
        """See `Database`."""
        try:
            return self.raw.execute(_translated(statement), tuple(map(_storable, values)))
        except psycopg.Error as error:
            raise self.error_of(error) from None

    def executemany(self, statement: str, rows: Sequence[Sequence[Any]], /) -> None:
        """See `Database`."""
        if statement == WRITE and len(rows) > 1:
            latest = {tuple(row[:6]): map(_storable, row) for row in rows}  # by key
            records = [dict(zip(_COLUMNS, row, strict=True)) for row in latest.values()]
            for some in _together(records):
                self.execute(_MANY, (to_json(some),))
            return
        for row in rows:
            self.execute(statement, row)

    def error_of(self, error: psycopg.Error) -> JournalError:
        """What an error means."""
        if self.raw.broken or self.raw.closed:
            what = f"the connection to the journal {self.address} is lost"
            return LostError(f"{what}: {said_by(error)}")
        return unusable(self.address, error)

    def close(self) -> None:
        """See `Database`."""
        back, self._back = self._back, lambda _: None
        back(self.raw)


def _together(records: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Records that are written in one statement: the server takes 1 GB for it at most."""
    some, size = list[dict[str, Any]](), 0
    for record in records:
        some.append(record)
        size += len(record["payload"] or "")
        if size > _MOST_TEXT:
            yield some
            some, size = [], 0
    if some:
        yield some


def _storable(value: Any) -> Any:
    """A value; PostgreSQL stores no NUL, which JSON text never has in it."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) and "\0" in value else value


def connect(
    address: Address, patience_s: float = RESTART_S, **settings: str
) -> psycopg.Connection[tuple[Any, ...]]:
    """A new connection; `settings` of libpq replace ours, and what the URL says replaces both.

    A server that is being restarted is waited for, so long.

    Raises:
        JournalError: There is none to be had.
    """
    info = conninfo(address, _OPTIONS, **settings)
    try:
        return _connected(info, time.monotonic() + patience_s)
    except psycopg.Error as error:
        raise unusable(address, error) from None


def conninfo(address: Address, options: str, **settings: str) -> str:
    """The parameters for libpq; `options` are added to those of the URL, which replaces `settings`.

    Raises:
        JournalError: The URL is wrong.
    """
    try:
        given = {name: each for name, each in conninfo_to_dict(address.url).items() if each}
    except psycopg.ProgrammingError:  # its words may have a part of the password in them
        raise wrong_url(address) from None
    host, port, name = (str(given.get(each, "")) for each in ("host", "port", "dbname"))
    if "@" in f"{host[1:]}{port}{name}":  # a part of a password
        raise wrong_url(address)
    if not all(_is_port(each) for each in port.split(",") if each):
        raise wrong_url(address, "a port is a number from 1 to 65535, and ")
    given["options"] = f"{given.get('options', '')} {options}"
    return make_conninfo("", **(CONNECTION | settings | given))


def _is_port(text: str) -> bool:
    return text.isdecimal() and 0 < int(text) < 65536


def _connected(info: str, ends_by: float) -> psycopg.Connection[tuple[Any, ...]]:
    restarts = False
    while True:
        try:
            return psycopg.connect(info, autocommit=True, cursor_factory=psycopg.RawCursor)
        except psycopg.OperationalError as error:
            restarts = restarts or _RESTARTS.search(str(error)) is not None
            if not restarts or time.monotonic() >= ends_by:
                raise
        time.sleep(_PAUSE_S)


def check(db: PostgresConnection, *, to_write: bool) -> None:
    """Refuse a database without a journal, or with one of a later version; or bring it up to date.

    Raises:
        NoJournalError: There is none, and nothing is to be written.
        JournalError: It cannot be used.
    """
    try:
        if to_write:
            migrate(db.address, db.raw)
        elif version_of(db.address, db.raw) == 0:
            hint = "run a workflow first, or name another one with --journal"
            raise NoJournalError(f"there is no journal in {db.address}: {hint}")
    except psycopg.Error as error:
        raise db.error_of(error) from None
