"""The holders and waiters of the locks that all processes with the same journal share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# A worker is known by the row with which it says that it is alive.
QUERY = """select substr(name, 6), capacity, state = 'w', run, task, amount, pid,
host, greatest(now_s() - since, 0), (select substr(carrier.run, 8) from carrier
where owner = format('process %s on %s', pid, host) and carrier.run like 'worker %' limit 1)
from claim join member using(process) where name like 'lock %' order by name, number"""
_AMOUNTS = {0: "shared", -1: "all"}


def locks_of(rows: Iterable[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """The locks that are held, each with its holders and its waiters, in order."""
    found: dict[str, dict[str, Any]] = {}
    for name, capacity, waits, run, task, amount, pid, host, for_s, worker in rows:
        lock = found.setdefault(
            name, {"name": name, "capacity": capacity, "holders": [], "waiting": []}
        )
        lock["capacity"] = max(lock["capacity"], capacity)
        who = {"process": pid, "host": host, "worker": worker, "for_s": round(for_s, 3)}
        shown = {"run": run, "task": task, "amount": _AMOUNTS.get(amount, amount), **who}
        lock["waiting" if waits else "holders"].append(shown)
    return list(found.values())
