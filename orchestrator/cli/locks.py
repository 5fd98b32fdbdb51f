"""`orchestrator locks`: the holders and the waiters of the locks of tasks."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from orchestrator.cli.diagnostics import complain
from orchestrator.cli.pool import warm_place
from orchestrator.cli.streams import write_json
from orchestrator.cli.tool_sources import DEFAULT_SERVERS
from orchestrator.documents.text import seconds

if TYPE_CHECKING:
    from orchestrator.daemon.place import Place

NO_POOL = (
    "no warm pool of {} is up, so the locks of a command live in its own process, and only that "
    'knows them. "orchestrator up" has commands share them; scope = "host" below [locks.NAME] of '
    "the servers' file has all processes of this machine share those"
)


def locks(options: argparse.Namespace) -> int:
    """`orchestrator locks`."""
    from orchestrator.cli.signals import in_event_loop

    place, pool = warm_place(options), None
    if place is not None:
        pool = in_event_loop(lambda: _asked(place))
    found = [{**lock, "scope": "pool"} for lock in (pool or {"locks": ()})["locks"]]
    found += [{**lock, "scope": "host"} for lock in _of_machine()]
    if options.json:
        now = datetime.now(UTC)
        shown = None if pool is None else {"process": pool["pid"]}
        documents = [_with_times(lock, now) for lock in found]
        write_json({"user": getpass.getuser(), "pool": shown, "locks": documents})
        return 0
    if found:
        from orchestrator.cli.rows import print_rows

        print_rows(
            ("lock", "shared by", "state", "how much", "for", "process", "run", "task"),
            [row for lock in found for row in _rows(lock)],
        )
        sys.stdout.flush()
    else:
        print("no lock is held that this command can see", file=sys.stderr)
    if pool is None:
        print(NO_POOL.format(options.servers or DEFAULT_SERVERS), file=sys.stderr)
    return 0


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


def _with_times(lock: dict[str, Any], now: datetime) -> dict[str, Any]:
    """A lock, with the times of day since when each holds it or waits."""
    return lock | {
        kind: [
            {**each, "since": (now - timedelta(seconds=each["for_s"])).isoformat("T", "seconds")}
            for each in lock[kind]
        ]
        for kind in ("holders", "waiting")
    }


def _rows(lock: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    capacity = lock["capacity"]
    by = "commands of the pool" if lock["scope"] == "pool" else "this machine"
    first = lock["name"], by
    for kind, state in ("holders", "held"), ("waiting", "waits"):
        for each in lock[kind]:
            amount = each["amount"]
            much = f"{amount} of {capacity}" if isinstance(amount, int) else amount
            process = "" if each["process"] is None else str(each["process"])
            who = process, each["run"] or "", each["task"]
            yield (*first, state, much, seconds(each["for_s"]), *who)
            first = "", ""
