"""What commands do with the id of a part of a run."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator import Orchestrator
from orchestrator.cli import main
from orchestrator.documents.encode import to_json
from orchestrator.journal.history import find
from orchestrator.journal.location import Address
from tests.journals import ask

pytestmark = pytest.mark.anyio
FLOW = {
    "name": "w",
    "tasks": [
        {"id": "m", "value": "$ITEM", "for_each": [1, 2]},
        {"id": "q", "ask": {"message": "?"}},
    ],
}


@pytest.fixture
def anyio_backend() -> str:
    """A database is the same for all event loops."""
    return "asyncio"


@pytest.fixture
async def part(database: Address) -> str:
    """The id of a part that is queued, of a run that waits for an answer."""
    async with Orchestrator({}, journal=database) as engine:
        run = (await engine.run(FLOW)).run_id
    asked = {"task": "m", "first": 0, "items": [1, 2], "most_items": 0, "most_calls": 0}
    row: tuple[Any, ...] = f"{run}.m.0", "w/m", "queued", "part", run, 0, -1, 1.0
    columns = "id, workflow, status, kind, origin, epoch, resumed, started, request"
    values = *row, to_json({"part": asked, "outputs": True})
    ask(database, f"insert into run({columns}) values(?, ?, ?, ?, ?, ?, ?, ?, ?)", *values)
    queued = "insert into queued(run, workflow, servers, priority, labels) values(?, ?, ?, ?, ?)"
    ask(database, queued, row[0], "w/m", "[]", 0, "[]")
    return str(row[0])


async def test_a_part_is_shown_with_what_it_is_a_part_of(
    part: str, database: Address, capsys: pytest.CaptureFixture[str]
) -> None:
    run = part.partition(".")[0]
    of = ["--journal", database.url]
    assert main(["show", part, *of]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert (document["of"], document["task"], document["items"]) == (run, "m", 2)
    assert (document["status"], document["items_settled"]) == ("queued", 2)
    assert document["waits"].startswith("no worker is connected")
    assert (document["ended"], document["duration_ms"]) == (None, None)
    assert f'items 0 to 1 of task "m"; what became of them: orchestrator show {run} m' in err
    assert main(["show", part, "m", *of]) == 2
    assert f"which has its tasks: orchestrator show {run} m" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["report", "explain", "retry", "fork", "resume"])
async def test_what_is_about_whole_runs_names_the_run(
    command: str, part: str, database: Address, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, part, "--journal", database.url]) == 2
    run = part.partition(".")[0]
    said = f'{part} is a part of run {run} (items 0 to 1 of its task "m"): name that run instead'
    assert capsys.readouterr().err == f"orchestrator: {said}\n"


async def test_a_part_that_nobody_carries_is_cancelled(
    part: str, database: Address, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cancel", part, "--journal", database.url]) == 0
    assert capsys.readouterr().err == f"run {part}: cancelled\n"
    assert find(database, part).status == "cancelled"
    ask(database, f"update run set ended=1.5, duration_ms=1506.4 where id='{part}'")
    assert main(["show", part, "--journal", database.url]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["duration_ms"] == 500.0
    assert "waits" not in document
