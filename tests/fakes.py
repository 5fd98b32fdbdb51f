"""A scripted caller: the one seam to the world, played by a table of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio

from orchestrator.calls.call import Attempt, Call
from orchestrator.errors import CallError
from orchestrator.workflow.model import Workflow

Row = tuple[float, Any]


@dataclass
class ScriptedCaller:
    """Answers each tool by its rows: `(after_seconds, result_or_error)`, the last one for ever.

    Attributes:
        script: The rows by tool; a tool without rows answers at once with its arguments.
        calls: The arguments of each call, in the order of their start, by task.
        running: The tasks whose calls are under way; `most` is how many they were at most.
        log: `start ID`, `end ID` and `cancelled ID` as they happened.
    """

    script: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    running: set[str] = field(default_factory=set)
    most: int = 0
    log: list[str] = field(default_factory=list)

    async def __call__(self, call: Call, _: Attempt) -> Any:
        rows = self.script.get(call.tool, [(0.0, call.arguments)])
        made = sum(1 for task, _ in self.calls if task == call.task)
        after, answer = rows[min(made, len(rows) - 1)]
        self.calls.append((call.task, call.arguments))
        self.running.add(call.task)
        self.most = max(self.most, len(self.running))
        self.log.append(f"start {call.task}")
        try:
            await anyio.sleep(after)
        except BaseException:
            self.log.append(f"cancelled {call.task}")
            raise
        finally:
            self.running.discard(call.task)
        self.log.append(f"end {call.task}")
        if isinstance(answer, Exception):
            raise answer
        return answer


def failing(message: str = "no") -> CallError:
    """What a tool that says `isError` becomes."""
    return CallError("tool_error", message)


def workflow(*tasks: Mapping[str, Any] | str, **fields: Any) -> Workflow:
    """A workflow of tasks; `"c: a b"` is a task c that waits for a and b and calls its own tool."""
    return Workflow.load({"tasks": [_task(task) for task in tasks], **fields})


def _task(task: Mapping[str, Any] | str) -> Mapping[str, Any]:
    if not isinstance(task, str):
        return task
    name, _, needs = task.partition(":")
    return {"id": name, "tool": f"fake:{name}", "depends_on": needs.split()}
