"""The workflows that mistakes are put into: the examples, and recorded plans where they are there.

The rule of this file: files in, workflows with their worlds out; nothing is changed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.mutants.sites import Document
from benchmarks.mutants.worlds import World, mock, recorded
from benchmarks.scenarios import HERE
from orchestrator.documents import read_document

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
    """

    name: str
    document: Document
    world: World


async def originals(plans: Path = PLANS) -> list[Original]:
    """All workflows, each with tools whose schemas are open, and with closed ones.

    Args:
        plans: The folder of recorded plans, files of JSON lines; it may be missing.
    """
    examples = [_example(path) for path in sorted(EXAMPLES.iterdir())]
    cases = [case for path in sorted(plans.glob("*.jsonl")) for case in _cases(path)]
    plan_documents = [{name: case[name] for name in _FIELDS if name in case} for case in cases]
    found: list[Original] = []
    for documents, world in ((examples, await mock()), (plan_documents, recorded(cases))):
        for variant in (world, world.closed()):
            found += [Original(each["name"], each, variant) for each in documents]
    return found


def _example(path: Path) -> Document:
    document: Document = read_document(path)
    return {"name": path.stem, **document}


def _cases(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
