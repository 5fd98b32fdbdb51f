"""The time to check a plan: the command with a lock file, and its parts in one process.

Every task of the plan has references or literals that are compared with schemas, and the plan is
correct. The bare `jsonschema` library checks the same arguments in the same rounds.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from jsonschema import Draft202012Validator

from benchmarks.measure import Bench, Measurement, RunFailedError, Side, take_turns
from orchestrator.check.checker import prove
from orchestrator.schema.tool import Tool
from orchestrator.servers.lockfile import Lockfile
from orchestrator.workflow.model import Workflow

# Both in the same rounds, so that their ratio does not depend on the speed of the machine.
SIZES = {"small": 1_000, "large": 10_000}
QUICK_SIZES = {"small": 200, "large": 2_000}
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


async def measure(_: Collection[str], bench: Bench) -> None:
    """Measure both sizes in the same rounds; the command only in a full run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "servers.toml").write_text('[servers.news]\ncommand = "is-never-started"\n')
        Lockfile.made_of([SEARCH]).save(folder / "servers.lock")
        sides: dict[str, Side] = {}
        sizes = QUICK_SIZES if bench.quick else SIZES
        for name, size in sizes.items():
            path = folder / f"plan-{size}.json"
            path.write_text(json.dumps(plan(size)), encoding="utf-8")
            sides[f"{name}: in process"] = _side(_in_process, path, size)
            sides[f"{name}: {BARE}"] = _side(_bare, path)
            if not bench.quick:
                sides[f"{name}: command"] = Side(partial(_command, path, size))
        times = await take_turns(sides, bench.pick(7, 3), warm_up=not bench.quick)
    for side in times:
        size = sizes[side.partition(":")[0]]
        ratios: dict[str, list[float]] = {}
        if side.endswith("in process"):
            ratios["bare_jsonschema"] = times.ratio(side, side.replace("in process", BARE))
        if side == "large: in process":
            growth = times.ratio(side, "small: in process")
            ratios["growth"] = [ratio * sizes["small"] / size for ratio in growth]
        values = times.per_task(side, size)
        bench.record(Measurement("checking", side, times.flat(side), ratios, values))


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


def _side(work: Callable[..., None], *arguments: Any) -> Side:
    async def run() -> None:
        work(*arguments)

    return Side(run)


async def _command(path: Path, size: int) -> None:
    servers = str(path.parent / "servers.toml")
    command = (sys.executable, "-m", "orchestrator", "validate", "--servers", servers, str(path))
    ended = await anyio.run_process(command, check=False)
    if ended.returncode or f"{size:,} tasks" not in ended.stdout.decode():
        raise RunFailedError(f"validate: {ended.stdout.decode()}{ended.stderr.decode()}")


def _in_process(path: Path, size: int) -> None:
    workflow = Workflow.load(path)
    problems = prove(workflow, TOOLS)
    if problems or len(workflow.plan.tasks) != size:
        raise RunFailedError("problems reported in a correct plan")


def _bare(path: Path) -> None:
    """By hand: the arguments alone, with references as the strings that they are."""
    validator = Draft202012Validator(SEARCH.input_schema)
    for task in json.loads(path.read_text(encoding="utf-8"))["tasks"]:
        for _ in validator.iter_errors(task["arguments"]):
            pass  # a reference in the place of a number is an error to this library
