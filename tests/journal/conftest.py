"""A journal whose runs are made up, for what many of them have in common."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from orchestrator.journal.database import open_to_write

Put = Callable[..., None]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Where it is."""
    return tmp_path / "runs.db"


@pytest.fixture
def put(journal: Path) -> Put:
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
        with closing(open_to_write(journal)) as db:
            row = run, flow["name"], status, float(count), float(count), took_ms, request
            db.execute("insert into run values(?, ?, ?, 'run', null, 1, 0, ?, ?, ?, ?, null)", row)
            for key, said in records.items():
                path, _, item = key.partition("#")
                kind = "item" if item else "task"
                document = json.dumps({"status": "success", "attempts": 1, **said})
                values = run, kind, path, int(item or -1), 0, 0, 1.0, document
                db.execute("insert into record values(?, ?, ?, ?, ?, ?, ?, ?)", values)

    return kept
