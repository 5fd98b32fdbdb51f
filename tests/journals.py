"""Journals of tests: what they have, and how another program changes it."""

from __future__ import annotations

from typing import Any

from orchestrator.journal.location import Location, store_of
from orchestrator.journal.store import Database


def ask(journal: Location, statement: str, *values: Any) -> list[Any]:
    """Execute a statement in a transaction of its own; the rows that a query finds."""
    found: list[Any] = []

    def work(db: Database) -> None:
        rows = db.execute(statement, values)
        if statement.startswith("select"):
            found.extend(rows.fetchall())

    store_of(journal).session().call(work)
    return found
