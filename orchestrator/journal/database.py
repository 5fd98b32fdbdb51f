"""The SQLite file of a journal: its tables, its versions, and how it is opened."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from orchestrator.documents.text import quoted
from orchestrator.errors import DamagedError, JournalError

APPLICATION_ID = 0x4F524348  # "ORCH"
VERSION = 2

# Payloads stand last in a row: a query of statuses then never reads the pages of large outputs.
_TABLES = """
create table run(
    id text primary key,
    workflow text not null,
    status text not null,
    kind text not null,
    origin text,
    epoch integer not null,
    resumed integer not null,
    started real not null,
    ended real,
    duration_ms real,
    request text not null,
    result text
);
create index run_by_start on run(started);
create table record(
    run text not null references run(id) on delete cascade,
    kind text not null,
    path text not null,
    item integer not null,
    fallback integer not null,
    number integer not null,
    at real not null,
    payload text,
    primary key(run, kind, path, item, fallback, number)
);
"""
_MEMO = """
create table memo(
    key text primary key,
    at real not null,
    expires real not null,
    payload text
);
create index memo_by_expiry on memo(expires);
"""
# To find runs without reading what they were asked for; files without it can be read, too.
_INDEX = "create index if not exists run_by_workflow on run(workflow, status, id)"
# What makes a file of the version before one of this version, by the version that results.
_MIGRATIONS: Mapping[int, str] = {1: _TABLES, 2: _MEMO}


class SqliteSql:
    """The SQL of SQLite; see `Sql`."""

    moment = "rowid"
    keeps_moments = False
    plain = "+"
    lock = ""  # who writes is alone
    has_memo = "select 1 from sqlite_master where name='memo'"

    def members(self, *names: str) -> str:
        """See `Sql`."""
        return f"json_extract(payload, {', '.join(map(_place, names))})"

    def text(self, *place: str) -> str:
        """See `Sql`."""
        return f"json_extract(payload, {_place(*place)})"

    def number(self, name: str) -> str:
        """See `Sql`."""
        return self.text(name)

    def array_length(self, column: str, *place: str) -> str:
        """See `Sql`."""
        return f"json_array_length({column}, {_place(*place)})"

    def without(self, column: str, member: str) -> str:
        """See `Sql`."""
        return f"json_remove({column}, {_place(member)})"


def _place(*names: str) -> str:
    return f"'$.{'.'.join(names)}'"


class SqliteConnection(sqlite3.Connection):
    """A connection to a file; see `Database`."""

    sql = SqliteSql()


def open_to_write(path: Path) -> SqliteConnection:
    """The one connection of this process that writes; the file is made, or brought up to date.

    Call it with the lock of the file: two connections that write or make checkpoints at
    one moment can damage a file (SQLite 3.7.0 to 3.51.2, "WAL-reset bug").

    Raises:
        JournalError: The file cannot be opened, is damaged, no journal, or of a newer version.
    """
    try:
        _make_private(path)
        db = _connect(path)
    except (OSError, sqlite3.Error) as error:
        raise unusable(path, error) from None
    with _checked(path, db):
        # Until there is a WAL, `full` does not make the end of a rollback journal durable: after a
        # loss of power that could undo what has been written since.
        for setting in ("foreign_keys=on", "synchronous=extra", "fullfsync=1", "secure_delete=on"):
            db.execute(f"pragma {setting}")
        if _version(db) < VERSION:
            _migrate(db)
        db.execute("pragma journal_mode=wal")
        db.execute(_INDEX)
    return db


def open_to_read(path: Path) -> SqliteConnection:
    """A connection that only reads. Exhaust each cursor: an open one keeps the file growing.

    Raises:
        JournalError: There is no such file, or it cannot be read.
    """
    if path.is_dir():
        raise JournalError(f"{quoted(str(path))} is no journal: it is a directory")
    if not path.is_file():
        hint = "run a workflow first, or name another file with --journal"
        raise JournalError(f"there is no journal {quoted(str(path))}: {hint}")
    try:
        name = f"{path.absolute().as_uri()}?mode=ro"
        db = _connect(name, uri=True)
    except sqlite3.Error as error:
        raise unusable(path, error) from None
    try:
        with _checked(path, db):
            return db
    except DamagedError as error:
        fix = "the next run renames it and begins a new one, or name another file with --journal"
        raise DamagedError(f"{error}; {fix}") from None


def _connect(name: str | Path, *, uri: bool = False) -> SqliteConnection:
    # A connection may be closed by another thread than the one that uses it.
    return sqlite3.connect(
        name, uri=uri, isolation_level=None, check_same_thread=False, factory=SqliteConnection
    )


@contextmanager
def _checked(path: Path, db: sqlite3.Connection) -> Iterator[None]:
    """Check a connection around what the block does with it, and close it if it cannot be used."""
    try:
        db.execute("pragma busy_timeout=10000")
        _check_version(path, db)
        yield
        db.execute("select max(started) from run").fetchone()
    except sqlite3.Error as error:
        db.close()
        raise unusable(path, error) from None
    except JournalError:
        db.close()
        raise


def runs_of(journal: Path) -> Path:
    """The directory with the locks of the runs of a journal."""
    return journal.with_name(f"{journal.name}.runs")


def unusable(path: Path, error: Exception) -> JournalError:
    """What an error of the system or of SQLite means for the user of a journal."""
    name = quoted(str(path))
    if isinstance(error, OSError):
        return JournalError(f"the journal {name} cannot be written: {error.strerror or error}")
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_NOTADB and not runs_of(path).is_dir():  # it never was a journal
        return JournalError(f"{name} is no journal: it is not a database")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return DamagedError(f"the journal {name} is damaged: {error}")
    if code == sqlite3.SQLITE_FULL:
        return JournalError(f"the journal {name} cannot be written: the disk is full")
    where = ""
    if code == sqlite3.SQLITE_CANTOPEN and not os.access(path.parent, os.W_OK):
        where = "; its directory has to be writable, for reading too: copy it into one that is"
    return JournalError(f"the journal {name} cannot be used: {error}{where}")


def _make_private(path: Path) -> None:
    """Make the file as one that nobody else may read, before SQLite would make another."""
    if not path.exists():
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:  # another process made it in this moment
            return


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("pragma user_version").fetchone()[0])


def _check_version(path: Path, db: sqlite3.Connection) -> None:
    """Refuse a file that is no journal, or of a later version of this program."""
    owner, version = db.execute("pragma application_id").fetchone()[0], _version(db)
    is_empty = not db.execute("select count(*) from sqlite_master").fetchone()[0]
    if owner != APPLICATION_ID and not is_empty:
        why = "it is another program's database: name another file with --journal"
        raise JournalError(f"{quoted(str(path))} is no journal: {why}")
    if version > VERSION:
        fix = "install that version, or name another file with --journal"
        why = f"was written by a later version of orchestrator (format {version}, not {VERSION})"
        raise JournalError(f"the journal {quoted(str(path))} {why}: {fix}")


def _migrate(db: sqlite3.Connection) -> None:
    """Bring the file up to date, in one transaction."""
    db.execute("pragma auto_vacuum=incremental")  # has an effect before the first table only
    db.execute("begin immediate")
    try:
        for version in range(_version(db) + 1, VERSION + 1):
            for statement in filter(str.strip, _MIGRATIONS[version].split(";")):
                db.execute(statement)
        db.execute(f"pragma application_id={APPLICATION_ID}")
        db.execute(f"pragma user_version={VERSION}")
        db.execute("commit")
    finally:
        if db.in_transaction:
            db.execute("rollback")
