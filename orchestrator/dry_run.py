"""A caller for dry runs: it calls nothing and answers with values that fit the output schemas."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from anyio.lowlevel import checkpoint

from orchestrator.calls.call import Attempt, Call
from orchestrator.documents.suggest import nearest
from orchestrator.documents.text import quoted
from orchestrator.engine.made_up import MadeUp
from orchestrator.errors import CallError, Problem
from orchestrator.schema.sample import NoSampleError, sample
from orchestrator.schema.tool import Tool
from orchestrator.schema.validator import Validator
from orchestrator.schema.violations import Violation
from orchestrator.workflow.model import Workflow


class DryRunCaller:
    """Answers the calls of a workflow with made-up outputs.

    Args:
        workflow: The workflow.
        tools: The known tools, by `server:tool`.
        failure: Why a server cannot be used, by its name; None if it can, or if that is unknown.

    Attributes:
        tools: The tools of the workflow, as calls are checked with them.
        made_up: The origin of the output of each task that was answered.
    """

    def __init__(
        self,
        workflow: Workflow,
        tools: Mapping[str, Tool],
        failure: Callable[[str], CallError | None],
    ) -> None:
        self.made_up: dict[str, MadeUp] = {}
        self.tools = {name: tools[name] for name in workflow.plan.targets if name in tools}
        self._outputs = {name: made_up_output(tool) for name, tool in self.tools.items()}
        self._failure = failure
        if any(origin.source == "assumed" for _, origin in self._outputs.values()):
            self.tools = {name: _accepting_null(tool) for name, tool in self.tools.items()}

    async def __call__(self, call: Call, attempt: Attempt) -> Any:
        """The made-up output of a call.

        Raises:
            CallError: The tool is unknown.
        """
        await checkpoint()
        if call.kind == "ask":
            output, self.made_up[call.task] = _answer(call.arguments)
            return output
        if call.kind != "tool":
            note = f"what {call.target} gives is not known, so it is null"
            self.made_up[call.task] = MadeUp("assumed", note)
            return None
        target = f"{call.server}:{call.tool}"
        if target not in self._outputs:
            unknown = CallError("server_unavailable", f"unknown tool {quoted(target)}")
            raise self._failure(call.server) or unknown
        output, self.made_up[call.task] = self._outputs[target]
        attempt.wrapped = self.tools[target].wraps
        return output


def _answer(asked: Mapping[str, Any]) -> tuple[Any, MadeUp]:
    """An answer to a question: its default, or one that fits the schema."""
    if "default" in asked:
        return asked["default"], MadeUp("assumed", "nobody is asked, so it is the default")
    try:
        return sample(asked["schema"]), MadeUp("assumed", "nobody is asked, so it is an example")
    except NoSampleError as error:
        return None, MadeUp("assumed", f"no sample fits the schema of the answer: {error}")


def made_up_output(tool: Tool) -> tuple[Any, MadeUp]:
    """An output of a tool, and its origin: null where the tool does not declare its output."""
    if tool.gives_inside is None:
        note = f"{tool.target} declares no outputSchema, so it is null"
        return None, MadeUp("assumed", note)
    try:
        return sample(tool.gives_inside), MadeUp("output_schema")
    except NoSampleError as error:
        note = f"no sample fits the outputSchema of {tool.target}: {error}"
        return None, MadeUp("assumed", note)


class _NullFits(Validator):
    """Accepts null anywhere: it may come from an assumed output, whose type nobody knows."""

    def violations(self, value: Any, part: Any = None) -> Iterator[Violation]:
        found = super().violations(value, part)
        return (each for each in found if each.value is not None or each.is_property)


def _accepting_null(tool: Tool) -> Tool:
    copy = replace(tool)
    vars(copy)["accepts"] = _NullFits(tool.input_schema)  # instead of the cached property
    return copy


def missing_tools(workflow: Workflow, tools: Mapping[str, Tool]) -> list[Problem]:
    """The problems of tools that a workflow names and that are unknown."""
    return [
        Problem(
            "unknown_tool",
            f"unknown tool {quoted(target.target)}",
            at,
            task.id,
            nearest(target.target, tools),
        )
        for task, target, at in workflow.plan.calls
        if target.kind == "tool" and target.target not in tools
    ]
