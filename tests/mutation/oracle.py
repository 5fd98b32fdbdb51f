"""What a workflow with a mistake really does: it is run, with arguments checked before each call.

The rule of this file: it never asks the checker. A run is one of the engine, which is told of no
tools, so that it checks no arguments itself; the caller in this process converts them as it would,
and checks them with the `jsonschema` library and nothing else before it answers.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from jsonschema import Draft202012Validator

from orchestrator.calls.call import Attempt, Call
from orchestrator.client import new_run
from orchestrator.engine.result import RunResult
from orchestrator.errors import CallError, TaskError, WorkflowError
from orchestrator.schema.coercion import convert
from orchestrator.workflow.inputs import complete_inputs
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.plan import CallTemplate
from tests.mutation.originals import Original
from tests.mutation.sight import Looker, Sight
from tests.mutation.sites import Document


@dataclass(frozen=True)
class Failed:
    """One failure of a run.

    Attributes:
        task: The task; empty for the workflow itself.
        sight: How far the schemas show it.
        reason: What happened, for people.
    """

    task: str
    sight: Sight
    reason: str


@dataclass
class Outcome:
    """What became of a run.

    Attributes:
        failures: What failed.
        reached: The tasks that were begun.
        refused: Whether there was no run.
    """

    failures: list[Failed] = field(default_factory=list)
    reached: set[str] = field(default_factory=set)
    refused: bool = False


async def observe(
    document: Document, original: Original, in_expressions: Sight = "unseen"
) -> Outcome:
    """Run a workflow, and look at what fails.

    Args:
        document: The workflow file, however wrong.
        original: What it was made of: it has the tools, and what they answered.
        in_expressions: See `Looker`.
    """
    world = original.world
    try:
        workflow = Workflow.load(document)
    except WorkflowError as error:
        return _refused(str(error.problems[0]))
    called = [target.target for _, target, _ in workflow.plan.calls]
    if missing := [target for target in called if target not in world.tools]:
        return _refused(f"there is no tool {missing[0]}")
    watch = _Watch(workflow, original, Looker(document, world.tools, in_expressions))
    inputs = complete_inputs(workflow.inputs, {}, workflow.name)
    run = new_run(workflow, watch.call, inputs=inputs)
    await run.execute()
    assert run.result is not None
    return watch.outcome(run.result)


def _refused(reason: str) -> Outcome:
    return Outcome([Failed("", "certain", reason)], refused=True)


class _Watch:
    """The caller of one run, and what it saw."""

    def __init__(self, workflow: Workflow, original: Original, looker: Looker) -> None:
        self._plan = workflow.plan
        self._tools = original.world.tools
        self._answer = original.world.answers(original.results)
        self._looker = looker
        self._misfits: list[Failed] = []

    async def call(self, call: Call, attempt: Attempt) -> Any:
        """Answer a call, if its arguments fit."""
        tool = self._tools[f"{call.server}:{call.tool}"]
        call = call._replace(arguments=self._converted(call, tool.input_schema))
        errors = list(Draft202012Validator(tool.input_schema).iter_errors(call.arguments))
        if not errors:
            return await self._answer(call, attempt)
        for error in errors:
            sight = self._looker.of_misfit(error, call, tool)
            self._misfits.append(Failed(call.task, sight, f"arguments: {error.message[:200]}"))
        raise CallError("invalid_arguments", errors[0].message)

    def _converted(self, call: Call, schema: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments as the engine would convert them, if it knew the tool."""
        target: object = self._plan.tasks[call.task]
        if call.is_fallback:
            target = self._plan.tasks[call.task].policies.fallback
        arguments = copy.deepcopy(call.arguments)
        if isinstance(target, CallTemplate):
            convert(arguments, target.whole, schema)
        return arguments

    def outcome(self, result: RunResult) -> Outcome:
        """What failed, and what was begun."""
        made = Outcome(self._misfits)
        for task, settled in result.tasks.items():
            if settled.status in ("success", "error"):
                made.reached.add(task)
            if settled.error is not None:
                made.failures += self._failures(task, settled.error)
        if result.error is not None:
            made.failures += self._failures("", result.error)
        return made

    def _failures(self, task: str, error: TaskError) -> Iterator[Failed]:
        match error.kind:
            case "invalid_arguments":
                pass  # noted before
            case "reference_error" if "status" in error.details:
                pass  # of a task that failed, which is noted itself
            case "reference_error":
                sight = self._looker.of_reference(task, error.details)
                yield Failed(task, sight, error.message[:200])
            case _:
                yield Failed(task, "unseen", f"{error.kind}: {error.message[:200]}")
