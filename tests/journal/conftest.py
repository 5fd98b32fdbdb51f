"""A journal whose runs are made up, for what many of them have in common."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from orchestrator.journal.location import Location, store_of
from orchestrator.journal.records import WRITE
from orchestrator.journal.store import Database

Put = Callable[..., None]


@pytest.fixture
def put(journal: Location) -> Put:
    """Keep a run of a workflow, with records of the documents by path, or `path#item`."""
    count = 0

    def kept(
        flow: Mapping[str, Any],
        records: Mapping[str, Mapping[str, Any]],
        took_ms: float = 1.0,
        status: str = "success",
    ) -> None:
        nonlocal count
        count += 1
        run, request = f"r{count}", json.dumps({"workflow": flow, "inputs": {"n": count}})

        def write(db: Database) -> None:
            row = run, flow["name"], status, float(count), float(count), took_ms, request
            db.execute("insert into run values(?, ?, ?, 'run', null, 1, 0, ?, ?, ?, ?, null)", row)
            for key, said in records.items():
                path, _, item = key.partition("#")
                kind = "item" if item else "task"
                document = json.dumps({"status": "success", "attempts": 1, **said})
                values = run, kind, path, int(item or -1), False, 0, 1.0, document
                db.execute(WRITE, values)

        session = store_of(journal).session()
        session.open()
        session.commit(write)
        session.close()

    return kept
