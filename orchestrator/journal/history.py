"""The runs in a journal: to list, to find and to delete. It imports little: a list is instant."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.documents.suggest import did_you_mean
from orchestrator.documents.text import quoted
from orchestrator.errors import JournalError, UnknownRunError
from orchestrator.journal.location import Address, Location, store_of
from orchestrator.journal.store import Database

RUNNING = "running"
INTERRUPTED = "interrupted"
PAUSED = "paused"
QUEUED = "queued"
PART = "part"  # the kind of a run that is a part of another one, its `origin`
OPEN = (PAUSED, INTERRUPTED, QUEUED)  # no process carries it, and one can go on with it
DAY_S = 86_400
_SOME = 500  # values of a statement
_COLUMNS = "id, workflow, status, kind, origin, resumed, started, ended, duration_ms"


@dataclass(frozen=True, slots=True)
class KnownRun:
    """A run of the history.

    Attributes:
        id: Its id; ids sort by time.
        workflow: The name of its workflow.
        status: That of its result; `running`, or `interrupted` if no process carries it any more;
            `queued` until a worker begins it.
        kind: `run`, `retry` or `fork` of the run `origin`, or `part` of it.
        resumed: How often it was taken up again.
        started: When it began, and `ended` when it ended, seconds since 1970; None if it has not.
        duration_ms: How long it took, milliseconds; None if it has not ended.
    """

    id: str
    workflow: str
    status: str
    kind: str
    origin: str | None
    resumed: int
    started: float
    ended: float | None
    duration_ms: float | None

    def to_dict(self) -> dict[str, Any]:
        """The run as a JSON object."""
        return {name: getattr(self, name) for name in self.__slots__}


@contextmanager
def reading(journal: Location) -> Iterator[Database]:
    """A connection to read with. Raises `JournalError`."""
    with closing(store_of(journal).open_to_read()) as db:
        yield db


def runs(
    journal: Location, *, status: str | None = None, workflow: str | None = None, limit: int = 20
) -> list[KnownRun]:
    """The latest runs, the newest first.

    Raises:
        JournalError: The journal cannot be read.
    """
    return page(journal, status=status, workflow=workflow, limit=limit)


def page(
    journal: Location,
    *,
    status: str | None = None,
    workflow: str | None = None,
    text: str = "",
    before: str | None = None,
    limit: int = 20,
) -> list[KnownRun]:
    """The latest runs that began before one, the newest first.

    Args:
        journal: The file.
        status: Only those.
        workflow: Only those of the workflow with this name.
        text: Only those whose workflow's name contains it, or whose id begins so.
        before: The id of the run.
        limit: How many; 0: all.

    Raises:
        JournalError: The journal cannot be read.
    """
    asked, text = RUNNING if status == INTERRUPTED else status, text.lower()
    conditions: dict[str, tuple[str | None, ...]] = {
        "id<?": (before,),
        "status=?": (asked,),
        "workflow=?": (workflow,),
        # A file has no parts of runs, and its index no kinds.
        "kind<>?": (PART if isinstance(journal, Address) else None,),
        "(instr(lower(workflow), ?)>0 or instr(id, ?)=1)": (text or None,) * 2,
    }
    given = {each: values for each, values in conditions.items() if None not in values}
    where = f"where {' and '.join(given)}" if given else ""
    found: list[KnownRun] = []
    with reading(journal) as db:
        # Ids first: they are found in an index, without what the rows have besides. The plus has
        # SQLite take the index of names where any condition is about these.
        by_id = "id" if given.keys() <= {"id<?", "kind<>?"} else f"{db.sql.plain}id"
        query = f"select id from run {where} order by {by_id} desc"
        values = [value for each in given.values() for value in each]
        for (run_id,) in db.execute(query, values):
            row = db.execute(f"select {_COLUMNS} from run where id=?", (run_id,)).fetchone()
            known = _known(db, journal, row)
            if status in (None, known.status):
                found.append(known)
            if len(found) == limit:
                break
    return found


def statuses(db: Database, journal: Location, run_ids: Sequence[str]) -> dict[str, str]:
    """The statuses of runs, by id; of those that there are."""
    found: dict[str, str] = {}
    for start in range(0, len(run_ids), _SOME):
        some = run_ids[start : start + _SOME]
        query = f"select {_COLUMNS} from run where id in ({', '.join('?' * len(some))})"
        known = (_known(db, journal, row) for row in db.execute(query, some).fetchall())
        found.update((each.id, each.status) for each in known)
    return found


def parts(journal: Location, run: str) -> list[KnownRun]:
    """The parts of a run that others carry, or have carried, in the order of their ids.

    Raises:
        JournalError: The journal cannot be read.
    """
    query = f"select {_COLUMNS} from run where id>? and id<? and kind='{PART}' order by id"
    with reading(journal) as db:
        rows = db.execute(query, (f"{run}.", f"{run}/")).fetchall()
        return [_known(db, journal, row) for row in rows]


def names(journal: Location, limit: int = 200) -> list[str]:
    """The names of the workflows that were run. Raises `JournalError`."""
    with reading(journal) as db:
        query = f"select distinct workflow from run where kind<>'{PART}' order by workflow limit ?"
        return [name for (name,) in db.execute(query, (limit,)).fetchall()]


def find(journal: Location, name: str, lister: str = '"orchestrator runs" lists them') -> KnownRun:
    """The run with this id, or whose id alone begins so; `last` is the latest.

    `lister` says what lists the runs, for who has named one that there is not.

    Raises:
        JournalError: There is none, or there are several; or the journal cannot be read.
    """
    whole = f"kind<>'{PART}'"  # what others are parts of
    with reading(journal) as db:
        if name == "last":
            query = f"select {_COLUMNS} from run where {whole} order by id desc limit 1"
            rows = db.execute(query).fetchall()
        elif not (rows := db.execute(f"select {_COLUMNS} from run where id=?", (name,)).fetchall()):
            pattern = name.replace("_", "").replace("%", "") + "%"
            which = f"where id like ? and {whole} order by id desc limit 3"
            rows = db.execute(f"select {_COLUMNS} from run {which}", (pattern,)).fetchall()
        if len(rows) == 1:
            return _known(db, journal, rows[0])
        if rows:
            several = ", ".join(row[0] for row in rows[:2])
            raise JournalError(f"several runs begin with {quoted(name)}: {several}, ...")
        query = f"select id from run where {whole} order by id desc limit 100"
        ids = [row[0] for row in db.execute(query)]
    meant = did_you_mean(name, ids)
    hint = meant or f"; {lister}" if ids else "; there are none"
    raise UnknownRunError(f"unknown run {quoted(name)}{hint}")


def prunable(db: Database, journal: Location, keep_days: float, keep_runs: int) -> list[str]:
    """The runs that are older, or more, than are kept; none that a process carries, or will.

    A run that can go on is deleted for its age only: a person may still want to answer it.
    """
    query = f"select {_COLUMNS} from run where kind<>'{PART}' order by id desc"
    rows = db.execute(query).fetchall()
    oldest = time.time() - keep_days * DAY_S
    known = [_known(db, journal, row) for row in rows]
    return [
        run.id
        for number, run in enumerate(known)
        if run.status not in (RUNNING, QUEUED)
        and (run.started < oldest or (number >= keep_runs and run.status not in OPEN))
    ]


def delete(db: Database, journal: Location, run_ids: list[str]) -> None:
    """Delete runs with their parts, in a transaction that is open."""
    for whole in run_ids:
        for run in (*_parts(db, whole), whole):
            db.execute("delete from run where id=?", (run,))
            store_of(journal).forget(db, run)


def _parts(db: Database, run: str) -> list[str]:
    query = f"select id from run where id>? and id<? and kind='{PART}'"
    return [part for (part,) in db.execute(query, (f"{run}.", f"{run}/")).fetchall()]


def _known(db: Database, journal: Location, row: tuple[Any, ...]) -> KnownRun:
    known = KnownRun(*row)
    if known.status == QUEUED or known.resumed < 0:  # it had not begun
        known = replace(known, resumed=0)
    if known.status != RUNNING or store_of(journal).is_carried(db, known.id):
        return known
    return replace(known, status=INTERRUPTED)
