"""Processes that write into one journal at once all get their turn."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.chaos import crowd


@pytest.mark.slow
@pytest.mark.parametrize("count", crowd.CROWDS)
def test_no_process_fails_and_none_starves(count: int, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    came = crowd.together(path, count, 40, 0)
    assert [(each["commits"], each["error"]) for each in came] == [(40, None)] * count
    # Each had a turn before any other had had all of its own.
    assert max(each["first"] for each in came) < min(each["last"] for each in came)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("select count(*) from record").fetchone() == (40 * count,)
        assert db.execute("pragma quick_check").fetchone() == ("ok",)
