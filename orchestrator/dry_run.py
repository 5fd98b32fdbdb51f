"""A caller that calls nothing: it answers with outputs that are made up.

The rule of this file: an output fits the schema that its tool declares; of a tool that declares
none it is what the workflow refers to, and that this was assumed is said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from anyio.lowlevel import checkpoint

from orchestrator.calls.call import Attempt, Call
from orchestrator.check.wishes import ANYTHING, Wish, wishes
from orchestrator.documents.jsonpath import Path, format_path
from orchestrator.documents.suggest import nearest
from orchestrator.engine.result import MadeUp
from orchestrator.errors import CallError, Problem
from orchestrator.schema.sample import TEXT, Sample, sample
from orchestrator.schema.tool import Tool
from orchestrator.schema.type_query import TypeQuery
from orchestrator.schema.types import SchemaType, StaticType, schema_type
from orchestrator.schema.validator import Validator
from orchestrator.workflow.model import Workflow

MAX_ITEMS = 1_000
"""So many items a list is made up with at most, however far on one is referred to."""


class DryRunCaller:
    """Answers the calls of one workflow, and calls nothing.

    Args:
        workflow: The workflow.
        tools: Each tool that is known, by `server:tool`.
        failure: Why a server is not usable, by its name; None if it is, or nobody knows.

    Attributes:
        made_up: Of each task that was answered, where its output came from.
    """

    def __init__(
        self,
        workflow: Workflow,
        tools: Mapping[str, Tool],
        failure: Callable[[str], CallError | None],
    ) -> None:
        self.made_up: dict[str, MadeUp] = {}
        self._tools = tools
        self._failure = failure
        self._wishes = wishes(workflow, tools)
        self._workshop = Workshop()
        self._outputs: dict[tuple[str, str], tuple[Any, MadeUp]] = {}

    async def __call__(self, call: Call, _: Attempt) -> Any:
        """The made-up output of a call.

        Raises:
            CallError: There is no such tool.
        """
        await checkpoint()
        target = f"{call.server}:{call.tool}"
        tool = self._tools.get(target)
        if tool is None:
            raise self._failure(call.server) or CallError(
                "server_unavailable", f"{target} is not known"
            )
        key = call.task, target  # a fallback may be of another tool
        if key not in self._outputs:
            self._outputs[key] = self._workshop.output(tool, self._wishes[call.task])
        output, self.made_up[call.task] = self._outputs[key]
        return output


def missing_tools(workflow: Workflow, tools: Mapping[str, Tool]) -> list[Problem]:
    """The problems of tools that a workflow names and that are not among those that are known."""
    return [
        Problem(
            "unknown_tool",
            f"the tool {target.target!r} is not known",
            at,
            task.id,
            nearest(target.target, tools),
        )
        for task, target, at in workflow.plan.calls
        if target.target not in tools
    ]


class Workshop:
    """Makes outputs up."""

    def __init__(self) -> None:
        self._samples: dict[str, Sample] = {}
        self._validators: dict[int, tuple[SchemaType, Validator]] = {}

    def output(self, tool: Tool, wanted: Sequence[Wish]) -> tuple[Any, MadeUp]:
        """An output of a tool of which these places are referred to, and where it came from."""
        made, declared = self._sample(tool), tool.output_schema
        if made.fault or declared is None:
            value, _ = self._fulfilled(TEXT, wanted, None)
            return value, MadeUp("assumed", made.fault)
        value, assumed = self._fulfilled(made.value, wanted, schema_type(declared))
        if not assumed:
            return value, MadeUp("output_schema")
        note = f"the outputSchema of {tool.target} leaves open: {', '.join(assumed)}"
        return value, MadeUp("assumed", note)

    def _sample(self, tool: Tool) -> Sample:
        """What fits the schema of a tool, or why there is nothing."""
        if tool.output_schema is None:
            return Sample(None, f"{tool.target} declares no outputSchema")
        if tool.target not in self._samples:
            made = sample(tool.output_schema)
            fault = f"no sample fits the outputSchema of {tool.target}: {made.fault}"
            self._samples[tool.target] = Sample(None, fault) if made.fault else made
        return self._samples[tool.target]

    def _fulfilled(
        self, value: Any, wanted: Sequence[Wish], declared: SchemaType | None
    ) -> tuple[Any, list[str]]:
        """The value with what is wanted of it, as far as its schema lets; and what was assumed."""
        assumed: list[str] = []
        for wish in wanted:
            fitting = _Fitting(declared, wish, self._fits)
            changed = fitting.at(value, wish.path)
            if changed is value or (declared and not self._fits(declared, changed)):
                continue
            value = changed
            if fitting.added:
                assumed.append(format_path(wish.path))
        return value, assumed

    def _fits(self, wanted: SchemaType, value: Any) -> bool:
        if wanted is ANYTHING:
            return True
        key = id(wanted.root)
        if key not in self._validators:
            self._validators[key] = wanted, Validator(wanted.root)
        part = None if wanted.schema is wanted.root else wanted.schema
        return next(self._validators[key][1].violations(value, part), None) is None


class _Fitting:
    """Changes one place of a value into what is wanted there; the value itself stays as it is.

    Attributes:
        added: Whether a name was added that the schema of the value does not declare.
    """

    def __init__(
        self,
        declared: SchemaType | None,
        wish: Wish,
        fits: Callable[[SchemaType, Any], bool],
    ) -> None:
        self.added = False
        self._declared = declared
        self._wish = wish
        self._fits = fits

    def at(self, value: Any, path: Path) -> Any:
        """The value with what is wanted at `path` in it, or the very value if nothing is to do."""
        if not path:
            return self._leaf(value)
        step = path[0]
        return self._item(value, step, path) if isinstance(step, int) else self._member(value, path)

    def _leaf(self, value: Any) -> Any:
        wanted = self._wish.wanted
        if self._fits(wanted, value):
            return value
        made = sample(wanted.schema, wanted.root)
        holds = isinstance(value, dict | list) and value
        return (
            value if made.fault or (holds and type(made.value) is not type(value)) else made.value
        )

    def _member(self, value: Any, path: Path) -> Any:
        name = str(path[0])
        if isinstance(value, dict) and name in value:
            inner = self.at(value[name], path[1:])
            return value if inner is value[name] else {**value, name: inner}
        if isinstance(value, dict) and value and self._declares(path):
            return value  # a name that is not declared: whoever refers to it is to hear of that
        if isinstance(value, list) and name == "length":
            return value
        self.added = True
        holder = value if isinstance(value, dict) else {}
        return {**holder, name: self.at(TEXT, path[1:])}

    def _declares(self, path: Path) -> bool:
        """Whether the schema names the members of the object that the path leads through."""
        if self._declared is None:
            return False
        reader = TypeQuery()
        here: StaticType = self._declared
        for step in self._wish.path[: len(self._wish.path) - len(path)]:
            here = reader.step(here, step).shape
        return bool(reader.names(here))

    def _item(self, value: Any, index: int, path: Path) -> Any:
        items = value if isinstance(value, list) else []
        needed = index + 1 if index >= 0 else -index
        if needed > MAX_ITEMS:
            return value
        self.added |= not isinstance(value, list)
        filled = [*items, *[items[-1] if items else TEXT] * (needed - len(items))]
        inner = self.at(filled[index], path[1:])
        if inner is filled[index] and len(filled) == len(items):
            return value
        filled[index] = inner
        return filled
