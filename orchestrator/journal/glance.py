"""What a run has come to so far, without what may be large: statuses, times, questions.

A glance at a run of 10,000 tasks reads no output of any of them.
"""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from orchestrator.engine.question import Question
from orchestrator.journal.hiding import mask, mask_words
from orchestrator.journal.history import PART
from orchestrator.journal.records import NO_ITEM, Key, Record, Records
from orchestrator.journal.store import Database, Sql

MAX_MESSAGE = 300
_NAMES = (
    "status",
    "attempts",
    "started_ms",
    "duration_ms",
    "waited_ms",
    "cached",
    "recovered",
    "reason",
)
_OF_RUN = "from record where run=? and kind"
_KEY = ", ".join(Key._fields)
_BETWEEN = "(kind between 'question ' and 'question~' or kind between 'reply ' and 'reply~')"
_SOME = 500  # values of a statement
_BACK = (0, 1, 8, 64, 512, 4096)  # how far before the last record those are that a moment names


class Changes(NamedTuple):
    """What was written of a run since a moment.

    Attributes:
        paths: What it is about; of more than that if records were withdrawn.
        moment: The moment now.
        has_added: Whether tasks were added to its plan.
    """

    paths: list[str]
    moment: str
    has_added: bool


def moment(db: Database, run: str) -> str:
    """The moment of what was written last of a run."""
    query = f"select max({db.sql.moment}) from record where run=?"
    (last,) = db.execute(query, (run,)).fetchone()
    return _moment(db, last or 0)


def _moment(db: Database, last: int) -> str:
    """The numbers of some records, up to that of the last one, each with a checksum.

    The number of a record that is withdrawn may be given to the next one, so a number alone names
    no moment. But as long as one record stays, all that come later have higher numbers than it.
    """
    if db.sql.keeps_moments:
        return str(last)
    found = _checksums(db, [last - back for back in _BACK])
    return ",".join(f"{number}.{checksum}" for number, checksum in found.items())


def changes(db: Database, run: str, since: str) -> Changes:
    """What was written since a moment; everything if the moment is not one of this file."""
    last = _last(db, since)
    # The plus keeps SQLite from reading all records of the run by their key.
    moment, plain = db.sql.moment, db.sql.plain
    which = f"path, max({moment}), max(case when kind='added' then 1 else 0 end)"
    query = f"select {which} from record where {plain}run=? and {moment}>? group by path"
    rows = db.execute(query, (run, last)).fetchall()
    now = _moment(db, max(row[1] for row in rows)) if rows else since
    return Changes([row[0] for row in rows], now, any(row[2] for row in rows))


def _last(db: Database, since: str) -> int:
    """The last record of a moment that is still there."""
    told = dict(each.partition(".")[::2] for each in since.split(","))
    known = {int(each): said for each, said in told.items() if each.isdecimal() and len(each) < 16}
    if db.sql.keeps_moments:
        return max(known, default=0)
    found = _checksums(db, list(known)[: len(_BACK)])
    return max((number for number, said in found.items() if known[number] == said), default=0)


def _checksums(db: Database, numbers: list[int]) -> dict[int, str]:
    """The checksums of the records with these numbers, as far as there are any."""
    marks = ", ".join("?" * len(numbers)) or "null"
    number = db.sql.moment
    query = f"select {number}, run, {_KEY}, at from record where {number} in ({marks})"
    rows = db.execute(query, numbers).fetchall()
    return {number: f"{zlib.crc32(repr(each).encode()):08x}" for number, *each in rows}


def states(
    db: Database, run: str, within: str, tasks: Iterable[str] | None = None
) -> dict[str, dict[str, Any]]:
    """The states of the tasks inside a path that have settled, or of whose items any has.

    What another run has made is `reused`, and its times are of that one.

    Args:
        db: The journal.
        run: The run.
        within: The path, such as `outer[3]/`; empty for the tasks of the workflow itself.
        tasks: Only these.
    """
    found: dict[str, dict[str, Any]] = {}
    paths = None if tasks is None else [within + task for task in tasks]
    tasks_in = f"select path, at, {_state_in(db.sql)} {_OF_RUN}='task'"
    for path, at, *said in _select(db, tasks_in, run, paths):
        if (name := _name(path, within)) is not None:
            found[name] = _state(said) | ({} if at else {"reused": True})
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    began: dict[str, list[float]] = defaultdict(list)
    ended: dict[str, float] = defaultdict(float)
    start, took = db.sql.number("started_ms"), db.sql.number("duration_ms")
    count = f"count(*), min({start}), max({start} + {took}) {_OF_RUN}='item'"
    items = f"select path, {db.sql.text('status')}, {count}"
    for path, status, number, *times in _select(db, items, run, paths, " group by 1, 2"):
        if (name := _name(path, within)) is not None:
            counts[name][status] = number
            if None not in times:
                began[name].append(times[0])
                ended[name] = max(ended[name], times[1])
    for name, each in counts.items():
        found.setdefault(name, {"status": None})["items"] = each
        if found[name]["status"] is None and began[name]:
            found[name] |= {"began_ms": min(began[name]), "last_ms": ended[name]}
    return found


class SettledPart(NamedTuple):
    """A task that has settled, or an item of one."""

    path: str
    item: int | None
    state: dict[str, Any]


def settled(db: Database, run: str, since: int) -> tuple[list[SettledPart], int]:
    """What has settled since a moment of a database that keeps moments, in order; and the last."""
    moment, which = db.sql.moment, f"{_OF_RUN} in ('task', 'item')"
    query = f"select {moment}, path, item, {_state_in(db.sql)} {which} and {moment}>? order by 1"
    rows = db.execute(query, (run, since)).fetchall()
    parts = [
        SettledPart(path, None if item == NO_ITEM else item, _state(said))
        for _, path, item, *said in rows
    ]
    return parts, rows[-1][0] if rows else since


def items(db: Database, run: str, path: str) -> list[dict[str, Any]]:
    """The states of the items of a `for_each` that have settled, in order."""
    query = f"select item, {_state_in(db.sql)} {_OF_RUN}='item' and path=? order by item"
    rows = db.execute(query, (run, path)).fetchall()
    return [{"index": item, **_state(said)} for item, *said in rows]


def records_at(db: Database, run: str, paths: Iterable[str]) -> Records:
    """All that is kept of some tasks, without what is inside of them."""
    query = f"select {_KEY}, at, payload from record where run=?"
    rows = _select(db, query, run, list(paths))
    return Records({_key(row): _record(row) for row in rows})


def questions(db: Database, run: str) -> list[Question]:
    """The questions that nobody has answered, in the order in which they were asked."""
    query = f"select {_KEY}, at, payload from record where run=? and {_BETWEEN}"
    asked = Records({_key(row): _record(row) for row in db.execute(query, (run,)).fetchall()})
    if not (open_ := asked.questions()):
        return []
    over = f"select {_KEY}, at, null {_OF_RUN} in ('task', 'item')"
    for row in _select(db, over, run, list({each.task for each in open_})):
        asked[_key(row)] = _record(row)
    return asked.questions()


def is_answered(db: Database, run: str) -> bool:
    """Whether a run that is paused has an answer that it had not when it paused."""
    query = f"select result, case when kind='{PART}' then origin else id end from run where id=?"
    text, whole = db.execute(query, (run,)).fetchone()  # a part asks as its run
    if text is None:  # another process goes on with it, or has begun to end it
        return False
    paused_with = json.loads(mask(text))["questions"]
    still = {(each.task, each.item, each.kind, each.message) for each in questions(db, whole)}
    names = "task", "item", "kind", "message"
    return any(tuple(each[name] for name in names) not in still for each in paused_with)


def _key(row: tuple[Any, ...]) -> Key:
    kind, path, item, fallback, number, *_ = row
    return Key(kind, path, item, bool(fallback), number)


def _record(row: tuple[Any, ...]) -> Record:
    at, payload = row[5:]
    return Record(at, payload and mask(payload))


def _select(
    db: Database, query: str, run: str, paths: list[str] | None, end: str = ""
) -> Iterator[tuple[Any, ...]]:
    if paths is None:
        yield from db.execute(query + end, (run,)).fetchall()
        return
    for start in range(0, len(paths), _SOME):
        some = paths[start : start + _SOME]
        marks = ", ".join("?" * len(some))
        yield from db.execute(f"{query} and path in ({marks}){end}", (run, *some)).fetchall()


def _name(path: str, within: str) -> str | None:
    """The task, if it is right inside a path."""
    name = path[len(within) :] if path.startswith(within) else "/"
    return None if "/" in name else name


def _state_in(sql: Sql) -> str:
    """The columns of `_state`."""
    message = f"substr({sql.text('error', 'message')}, 1, {MAX_MESSAGE})"
    return f"{sql.members(*_NAMES)}, {sql.text('error', 'kind')}, {message}"


def _state(said: list[Any]) -> dict[str, Any]:
    text, kind, message = said
    state = dict(zip(_NAMES, json.loads(mask(text)), strict=True))
    state = {name: value for name, value in state.items() if value is not None}
    if kind is not None:
        state["error"] = {"kind": kind, "message": mask_words(message)}
    return state
