"""How long it takes to prove a plan: the command with a lock file, and its parts in one process.

The rule of this file: the plan is right, and so is the answer; every task has references or
literals that are compared with schemas. Beside it, the bare `jsonschema` library looks at the same
arguments.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from jsonschema import Draft202012Validator

from benchmarks.measure import (
    Measurement,
    RunFailedError,
    Settings,
    Side,
    Tell,
    flat,
    paired,
    take_turns,
)
from orchestrator.check.checker import prove
from orchestrator.schema.tool import Tool
from orchestrator.servers.loading import uncollected
from orchestrator.servers.lockfile import Lockfile
from orchestrator.workflow.model import Workflow

SIZES = (1_000, 10_000)
BARE = "bare jsonschema"

_ARTICLE = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "score": {"type": "number"}},
    "required": ["title", "score"],
}
SEARCH = Tool(
    "news",
    "search",
    {
        "type": "object",
        "properties": {"query": {"type": "string"}, "limit": {"type": "integer", "default": 5}},
        "required": ["query"],
    },
    output_schema={
        "type": "object",
        "properties": {"items": {"type": "array", "items": _ARTICLE}},
        "required": ["items"],
    },
    read_only=True,
)
TOOLS = {SEARCH.target: SEARCH}


async def measure(wanted: frozenset[str], settings: Settings, tell: Tell) -> None:
    """Measure the command and the two steps in process, for each size."""
    if "checking" not in wanted:
        return
    per_task: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "servers.toml").write_text('[servers.news]\ncommand = "is-never-started"\n')
        Lockfile.made_of([SEARCH]).save(folder / "servers.lock")
        for size in SIZES:
            path = folder / f"plan-{size}.json"
            path.write_text(json.dumps(plan(size)), encoding="utf-8")
            per_task[size] = await _size(path, size, per_task, settings, tell)


async def _size(
    path: Path, size: int, per_task: dict[int, float], settings: Settings, tell: Tell
) -> float:
    """Measure one size; gives the microseconds for a task in process."""
    sides = {
        "command": Side(partial(_command, path, size)),
        "in process": Side(_soon(partial(_in_process, path, size))),
        BARE: Side(_soon(partial(_bare, path))),
    }
    times = await take_turns(sides, settings.pick(7, 3))
    named = f"{size:,} tasks"
    own = sorted(flat(times["in process"]))
    us_per_task = own[len(own) // 2] * 1000 / size
    values = {"per_task_us": us_per_task}
    if size != SIZES[0]:
        values["growth"] = us_per_task / per_task[SIZES[0]]
    ratios = {"bare_jsonschema": paired(times["in process"], times[BARE])}
    tell(Measurement("checking", f"{named}: command", flat(times["command"])))
    tell(Measurement("checking", f"{named}: in process", flat(times["in process"]), ratios, values))
    tell(Measurement("checking", f"{named}: {BARE}", flat(times[BARE])))
    return us_per_task


def plan(size: int) -> dict[str, Any]:
    """A plan of so many tasks: literals, whole and embedded references, expressions, `for_each`."""
    return {"tasks": [_task(number) for number in range(size)]}


def _task(number: int) -> dict[str, Any]:
    task: dict[str, Any] = {"id": f"t{number}", "tool": SEARCH.target}
    before = f"OUTPUT[t{number - 5}]"
    match number % 5 if number >= 5 else 0:
        case 0:
            arguments: dict[str, Any] = {"query": f"number {number}", "limit": 3}
        case 1:
            arguments = {"query": f"${before}.items[0].title"}
        case 2:
            arguments = {"query": f"about ${before}.items[0].title, again"}
        case 3:
            text = f"${{join(', ', {before}.items[?score > `0.5`].title)}}"
            arguments = {"query": text, "limit": f"${{length({before}.items)}}"}
        case _:
            before = f"OUTPUT[t{number - 3}]"
            task["for_each"], arguments = f"${before}.items", {"query": "$ITEM.title"}
    return task | {"arguments": arguments}


def _soon(work: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        work()

    return run


async def _command(path: Path, size: int) -> None:
    servers = str(path.parent / "servers.toml")
    command = (sys.executable, "-m", "orchestrator", "validate", "--servers", servers, str(path))
    ended = await anyio.run_process(command, check=False)
    if ended.returncode or f"{size:,} tasks" not in ended.stdout.decode():
        raise RunFailedError(f"validate: {ended.stdout.decode()}{ended.stderr.decode()}")


def _in_process(path: Path, size: int) -> None:
    with uncollected():  # as the command does it
        workflow = Workflow.load(path)
        found = prove(workflow, TOOLS)
    if found or len(workflow.plan.tasks) != size:
        raise RunFailedError("something was found in a plan that is right")


def _bare(path: Path) -> None:
    """What one would do by hand: arguments alone, with references as the text that they are."""
    validator = Draft202012Validator(SEARCH.input_schema)
    for task in json.loads(path.read_text(encoding="utf-8"))["tasks"]:
        for _ in validator.iter_errors(task["arguments"]):
            pass  # a reference where a number is wanted is no text to this library
