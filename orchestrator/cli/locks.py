"""`orchestrator locks`: the holders and the waiters of the locks of tasks."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.cli import FAILED
from orchestrator.cli.diagnostics import complain
from orchestrator.cli.history import configured, path_of
from orchestrator.cli.pool import warm_place
from orchestrator.cli.streams import write, write_json
from orchestrator.cli.tool_sources import DEFAULT_SERVERS, servers_if_any
from orchestrator.cli.watch import watch
from orchestrator.documents.text import seconds, visible
from orchestrator.errors import JournalError, OrchestratorError
from orchestrator.journal.location import Address, store_of
from orchestrator.servers.config import locking_of

if TYPE_CHECKING:
    from rich.table import Table

    from orchestrator.daemon.place import Place

NO_POOL = (
    "no warm pool of {} is up, so the locks of a command live in its own process, and only that "
    'knows them. "orchestrator up" has commands share them; scope = "host" below [locks.NAME] of '
    "the servers' file has all processes of this machine share those"
)
COLUMNS = ("lock", "shared by", "state", "how much", "for", "process", "run", "task")
_BY = {"pool": "commands of the pool", "host": "this machine", "cluster": "all with the journal"}


class Seen(NamedTuple):
    """What this command can see.

    Attributes:
        pool: The warm pool; None if none is up.
        locks: The locks.
        trouble: Why those of the journal are unknown; empty if they are not.
    """

    pool: dict[str, Any] | None
    locks: list[dict[str, Any]]
    trouble: str = ""


def locks(options: argparse.Namespace) -> int:
    """`orchestrator locks`."""
    journal = _journal(options)
    if options.watch:
        return _watch(options, journal)
    seen = _look(options, journal)
    if seen.trouble:
        complain(f"the locks of all workers are unknown: {seen.trouble}")
    code = FAILED if seen.trouble else 0
    if options.json:
        write_json(_document(seen))
        return code
    if seen.locks:
        from orchestrator.cli.rows import new_console

        new_console().print(_table(seen))
        sys.stdout.flush()
        return code
    print("no lock is held that this command can see", file=sys.stderr)
    if seen.pool is None and not _are_shared(options):
        print(NO_POOL.format(options.servers or DEFAULT_SERVERS), file=sys.stderr)
    return code


def _are_shared(options: argparse.Namespace) -> bool:
    """Whether the servers' file has locks that processes share."""
    try:
        locks = locking_of(servers_if_any(options)).locks
    except OrchestratorError:  # this command needs no servers' file
        return False
    return any(each.scope != "process" for each in locks.values())


def _journal(options: argparse.Namespace) -> Address | None:
    """The database that is asked, too; None if the journal is a file."""
    try:
        location = path_of(options, configured(options))
    except OrchestratorError:
        if options.journal is not None:
            raise
        return None  # this command needs no servers' file
    return location if isinstance(location, Address) else None


def _look(options: argparse.Namespace, journal: Address | None) -> Seen:
    from orchestrator.cli.signals import in_event_loop

    place, pool = warm_place(options), None
    if place is not None:
        pool = in_event_loop(lambda: _asked(place))
    found = [{**lock, "scope": "pool"} for lock in (pool or {"locks": ()})["locks"]]
    found += [{**lock, "scope": "host"} for lock in _of_machine()]
    trouble = ""
    try:
        found += [{**lock, "scope": "cluster"} for lock in _of_journal(journal, options)]
    except JournalError as error:  # those of this machine are known all the same
        trouble = str(error)
    return Seen(pool, found, trouble)


def _watch(options: argparse.Namespace, journal: Address | None) -> int:
    """Show the holders and the waiters until an interrupt; each change is a line in a pipe."""
    known: dict[tuple[str, ...], str] = {}
    trouble = ""

    def tell() -> None:
        nonlocal known, trouble
        seen = _look(options, journal)
        if seen.trouble not in ("", trouble):
            complain(f"the locks of all workers are unknown now: {seen.trouble}")
        trouble = seen.trouble
        known = _tell(seen, known, is_json=options.json)

    return watch(lambda: _table(_look(options, journal)), tell, in_lines=options.json)


def _tell(
    seen: Seen, known: dict[tuple[str, ...], str], *, is_json: bool
) -> dict[tuple[str, ...], str]:
    """Print what has changed since; what is known now: of each who has a lock or waits, which."""
    now: dict[tuple[str, ...], str] = {}
    rows = dict[tuple[str, ...], tuple[dict[str, Any], dict[str, Any]]]()
    for lock in seen.locks:
        for kind, state in ("holders", "held"), ("waiting", "waits"):
            for each in lock[kind]:
                who: tuple[str, ...] = (lock["scope"], lock["name"], *_who(each))
                now[who], rows[who] = state, (lock, each)
    if seen.trouble:  # they are as they were, as far as anybody knows
        now |= {who: state for who, state in known.items() if who[0] == "cluster"}
    gone = {who: "free" for who in known if who not in now}
    for who, state in (*gone.items(), *now.items()):
        if known.get(who) == state:
            continue
        scope, name, process, run, task = who
        if is_json:
            lock, each = rows.get(who, ({}, {}))
            about = {"lock": name, "scope": scope, "state": state, "process": process or None}
            more = {"run": run or None, "task": task, "amount": each.get("amount")}
            write(json.dumps(about | more))
        else:
            lock, each = rows.get(who, ({"capacity": 0}, {"amount": ""}))
            words = [name, _BY[scope], state, _amount(lock, each), process, run, task]
            write(visible("  ".join(filter(None, words))))
    return now


def _document(seen: Seen) -> dict[str, Any]:
    now = datetime.now(UTC)
    shown = None if seen.pool is None else {"process": seen.pool["pid"]}
    documents = [_with_times(lock, now) for lock in seen.locks]
    document = {"user": getpass.getuser(), "pool": shown, "locks": documents}
    return document | ({"unknown": {"cluster": seen.trouble}} if seen.trouble else {})


async def _asked(place: Place) -> dict[str, Any] | None:
    """The process of a pool and what its commands hold; None if there is no pool after all."""
    from orchestrator.daemon.connection import Connection, LostError, NoPoolError

    try:
        connection = await Connection.to(place)
        with suppress(LostError):
            async with connection.used():
                held = await connection.ask("locks")
                return {"pid": connection.greeting["pid"], "locks": held}
    except NoPoolError as error:
        complain(error)
    return None


def _of_machine() -> list[dict[str, Any]]:
    if not hasattr(os, "mkfifo"):
        return []
    from orchestrator.sharing.machine import Machine

    return Machine().state()


def _of_journal(journal: Address | None, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Those of all workers. Raises `JournalError` if the journal that is named is not there."""
    if journal is None or (options.journal is None and not store_of(journal).exists()):
        return []  # the one of the configuration may be made later
    return store_of(journal).shared_locks()


def _with_times(lock: dict[str, Any], now: datetime) -> dict[str, Any]:
    """A lock, with the times of day since when each holds it or waits."""
    return lock | {
        kind: [
            {**each, "since": (now - timedelta(seconds=each["for_s"])).isoformat("T", "seconds")}
            for each in lock[kind]
        ]
        for kind in ("holders", "waiting")
    }


def _table(seen: Seen) -> Table:
    from orchestrator.cli.rows import cells, new_table

    table = new_table(*COLUMNS)
    if seen.trouble:
        table.caption = visible(f"the locks of all workers are unknown now: {seen.trouble}")
    table.columns[0].no_wrap = True
    table.columns[-1].ratio = 1
    for lock in seen.locks:
        for row in _rows(lock):
            table.add_row(*cells(row))
    return table


def _rows(lock: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    first = lock["name"], _BY[lock["scope"]]
    for kind, state in ("holders", "held"), ("waiting", "waits"):
        for each in lock[kind]:
            yield (*first, state, _amount(lock, each), seconds(each["for_s"]), *_who(each))
            first = "", ""


def _who(each: dict[str, Any]) -> tuple[str, str, str]:
    """The process, the run and the task of who holds a lock or waits for it."""
    process = "" if each["process"] is None else str(each["process"])
    if each.get("host"):
        process = f"{process} on {each['host']}"
    if each.get("worker"):
        process += f" (worker {each['worker']})"
    return process, each["run"] or "", each["task"]


def _amount(lock: dict[str, Any], each: dict[str, Any]) -> str:
    amount = each["amount"]
    return f"{amount} of {lock['capacity']}" if isinstance(amount, int) else str(amount)
