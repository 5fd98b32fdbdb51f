"""How long it takes to check a plan: the command with a lock file, and its parts in one process.

Every task of the plan has references or literals that are compared with schemas, and nothing is
wrong with it. The bare `jsonschema` library checks the same arguments in the same rounds.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from statistics import median
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
from orchestrator.servers.lockfile import Lockfile
from orchestrator.workflow.model import Workflow

SIZES = {"small": 1_000, "large": 10_000}
QUICK_SIZES = {"small": 300, "large": 3_000}
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
    """Measure both sizes in the same rounds; the command only in a full run."""
    if "checking" not in wanted:
        return
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "servers.toml").write_text('[servers.news]\ncommand = "is-never-started"\n')
        Lockfile.made_of([SEARCH]).save(folder / "servers.lock")
        sides: dict[str, Side] = {}
        sizes = QUICK_SIZES if settings.quick else SIZES
        for name, size in sizes.items():
            path = folder / f"plan-{size}.json"
            path.write_text(json.dumps(plan(size)), encoding="utf-8")
            sides[f"{name}: in process"] = Side(_soon(partial(_in_process, path, size)))
            sides[f"{name}: {BARE}"] = Side(_soon(partial(_bare, path)))
            if not settings.quick:
                sides[f"{name}: command"] = Side(partial(_command, path, size))
        times = await take_turns(sides, settings.pick(7, 3), warm_up=not settings.quick)
    for name, mine in times.items():
        size = sizes[name.partition(":")[0]]
        ratios: dict[str, list[float]] = {}
        if name.endswith("in process"):
            ratios["bare_jsonschema"] = paired(mine, times[name.replace("in process", BARE)])
        if name == "large: in process":
            grown = paired(mine, times["small: in process"])
            ratios["growth"] = [ratio * sizes["small"] / size for ratio in grown]
        values = {"tasks": float(size), "per_task_us": median(flat(mine)) * 1000 / size}
        tell(Measurement("checking", name, flat(mine), ratios, values))


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
