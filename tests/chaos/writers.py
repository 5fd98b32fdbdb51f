"""What parallel writers leave behind: `python -m tests.chaos writers --node-modules DIR`.

The reference servers `memory` and `filesystem` declare tools that write, and lose data when these
are called in parallel: all calls are answered OK. The same calls are made by a bare client of the
SDK and by a workflow, in turns, and what is left is counted on the server afterwards.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import anyio
from mcp import Client, StdioServerParameters, stdio_client

from orchestrator import Orchestrator, Server

CALLS = 20
NEEDED = "npm install @modelcontextprotocol/server-memory @modelcontextprotocol/server-filesystem"


@dataclass(frozen=True)
class Case:
    """A tool that writes: the arguments of its calls, and how many took effect."""

    name: str
    tool: str
    server: Server
    arguments: list[dict[str, Any]]
    count: Callable[[], int]


def memory(modules: Path, folder: Path) -> Case:
    """20 `create_entities`: so many entities ought to be in the server's file."""
    store = folder / "memory.jsonl"
    entities = [
        {"entities": [{"name": f"e{n}", "entityType": "x", "observations": []}]}
        for n in range(CALLS)
    ]
    program = modules / "@modelcontextprotocol/server-memory/dist/index.js"
    server = Server(command="node", args=[str(program)], env={"MEMORY_FILE_PATH": str(store)})
    return Case("memory", "create_entities", server, entities, lambda: _entities(store))


def _entities(store: Path) -> int:
    lines = map(json.loads, store.read_text().splitlines())
    return len({line["name"] for line in lines if line["type"] == "entity"})


def filesystem(modules: Path, folder: Path) -> Case:
    """20 `edit_file` on one file: so many lines of it ought to be changed."""
    file = folder / "edited.txt"
    file.write_text("".join(f"line {n}.\n" for n in range(CALLS)))
    edits = [
        {"path": str(file), "edits": [{"oldText": f"line {n}.", "newText": f"done {n}."}]}
        for n in range(CALLS)
    ]
    program = modules / "@modelcontextprotocol/server-filesystem/dist/index.js"
    server = Server(command="node", args=[str(program), str(folder)])
    return Case("filesystem", "edit_file", server, edits, lambda: file.read_text().count("done"))


async def with_a_bare_client(case: Case) -> None:
    """All calls at once on one session, as a hand-written gather makes them."""
    server = case.server
    parameters = StdioServerParameters(
        command=server.command or "", args=server.args, env=server.env
    )
    with Path("/dev/null").open("w") as nowhere:
        transport = stdio_client(parameters, errlog=nowhere)
        async with Client(transport) as client, anyio.create_task_group() as group:
            for arguments in case.arguments:
                group.start_soon(client.call_tool, case.tool, arguments)


async def with_a_workflow(case: Case) -> None:
    """The same calls as tasks that depend on nothing, without a limit."""
    tasks = [
        {"id": f"t{n}", "tool": f"server:{case.tool}", "arguments": arguments}
        for n, arguments in enumerate(case.arguments)
    ]
    async with Orchestrator({"server": case.server}) as orchestrator:
        result = await orchestrator.run({"tasks": tasks, "max_concurrency": 0})
    assert result.status == "success", result.to_json()


async def left_by(make: Callable[[Case], Awaitable[None]], case: Case) -> int:
    """How many of the calls have left something behind."""
    with anyio.fail_after(60):
        await make(case)
    return case.count()


async def measure(modules: Path, rounds: int) -> bool:
    """Print what each way leaves; whether the workflow lost nothing."""
    lossless = True
    for name, make_case in (("memory", memory), ("filesystem", filesystem)):
        left: dict[str, list[int]] = {"bare client": [], "workflow": []}
        for _ in range(rounds):
            for way, make in (("bare client", with_a_bare_client), ("workflow", with_a_workflow)):
                with tempfile.TemporaryDirectory() as folder:
                    left[way].append(await left_by(make, make_case(modules, Path(folder))))
        for way, counts in left.items():
            spread = f"{median(counts):g} ({min(counts)}..{max(counts)})"
            print(f"{name:10}  {way:11}  {spread:>12} of {CALLS} are left, {rounds} rounds")
        lossless = lossless and min(left["workflow"]) == CALLS
    return lossless


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if the workflow lost nothing, 1 if it did, 2 if the servers are not installed."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos writers", description=__doc__)
    parser.add_argument("--node-modules", type=Path, default=Path("node_modules"), metavar="DIR")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    modules = options.node_modules.resolve()
    if not (modules / "@modelcontextprotocol/server-memory").is_dir():
        print(f"{modules} has not the reference servers: {NEEDED}", file=sys.stderr)
        return 2
    return 0 if anyio.run(measure, modules, options.rounds) else 1


if __name__ == "__main__":
    sys.exit(main())
