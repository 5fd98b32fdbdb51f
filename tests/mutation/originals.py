"""The workflows that mistakes are put into: the examples, and recorded plans where they are there.

The rule of this file: files in, workflows with their worlds out; nothing is changed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.documents.parse import read_document
from tests.mutation.sites import Document
from tests.mutation.worlds import Results, World, mock, recorded

HERE = Path(__file__).parents[2]
EXAMPLES = HERE / "examples"
PLANS = HERE.parent / "shared" / "cases" / "plans"
_FIELDS = ("name", "tasks", "output")


@dataclass(frozen=True)
class Original:
    """A workflow that is right.

    Attributes:
        name: Its name.
        document: The workflow file.
        world: The tools that it calls.
        results: What was recorded of its tasks.
    """

    name: str
    document: Document
    world: World
    results: Results = field(default_factory=dict)


async def originals(plans: Path = PLANS) -> list[Original]:
    """All workflows, each with tools whose schemas are open, and with closed ones.

    Args:
        plans: The folder of recorded plans, files of JSON lines; it may be missing.
    """
    found: list[Original] = []
    examples = [_example(path) for path in sorted(EXAMPLES.iterdir())]
    for world in _both(await mock()):
        found += [Original(each["name"], each, world) for each in examples]
    cases = [case for path in sorted(plans.glob("*.jsonl")) for case in _cases(path)]
    for world in _both(recorded(cases)):
        found += [_recorded(case, world) for case in cases]
    return found


def _both(world: World) -> tuple[World, World]:
    return world, world.closed()


def _recorded(case: dict[str, Any], world: World) -> Original:
    document = {name: case[name] for name in _FIELDS if name in case}
    results = case["expected"]["results"]
    own = {task["id"]: (task["tool"], results[task["id"]]) for task in case["tasks"]}
    return Original(case["name"], document, world, own)


def _example(path: Path) -> Document:
    document: Document = read_document(path)
    return {"name": path.stem, **document}


def _cases(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
