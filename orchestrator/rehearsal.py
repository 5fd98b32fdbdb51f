"""A caller that calls nothing: it answers with outputs that are made up.

The rule of this file: an output fits the schema that its tool declares; of a tool that declares
none it is what the workflow refers to, and that this was assumed is said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from anyio.lowlevel import checkpoint

from orchestrator.calls import Call, Tool
from orchestrator.errors import CallError, Problem, nearest
from orchestrator.paths import Path, format_path
from orchestrator.results import MadeUp
from orchestrator.samples import TEXT, Sample, sample
from orchestrator.schemas import Validator
from orchestrator.subschemas import subschema
from orchestrator.wishes import ANYTHING, Wish, wishes
from orchestrator.workflow import Workflow

MAX_ITEMS = 1_000
"""So many items a list is made up with at most, however far on one is referred to."""
MAX_TOLD = 5


class Rehearsal:
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

    async def __call__(self, call: Call) -> Any:
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
        output, self.made_up[call.task] = self._workshop.output(
            tool, tuple(self._wishes.get(call.task, ()))
        )
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
    """Makes outputs up; what was made once for the same tool and the same wishes is kept."""

    def __init__(self) -> None:
        self._samples: dict[str, Sample] = {}
        self._outputs: dict[tuple[str, tuple[tuple[Path, int], ...]], tuple[Any, MadeUp]] = {}
        self._validators: dict[int, Validator] = {}
        self._kept: list[object] = []  # what validators are kept for: their ids stay theirs

    def output(self, tool: Tool, wanted: tuple[Wish, ...]) -> tuple[Any, MadeUp]:
        """An output of a tool of which these places are referred to, and where it came from."""
        key = tool.target, tuple((wish.path, id(wish.schema)) for wish in wanted)
        if key not in self._outputs:
            self._kept.append(wanted)
            self._outputs[key] = self._made(tool, wanted)
        return self._outputs[key]

    def _made(self, tool: Tool, wanted: tuple[Wish, ...]) -> tuple[Any, MadeUp]:
        declared = tool.output_schema
        if declared is None:
            value, _ = self._fulfilled(TEXT, wanted, None)
            return value, MadeUp("assumed", f"{tool.target} declares no outputSchema")
        if tool.target not in self._samples:
            self._samples[tool.target] = sample(declared)
        made = self._samples[tool.target]
        if made.fault:
            value, _ = self._fulfilled(TEXT, wanted, None)
            note = f"no sample fits the outputSchema of {tool.target}: {made.fault}"
            return value, MadeUp("assumed", note)
        value, assumed = self._fulfilled(made.value, wanted, declared)
        if assumed:
            note = f"the outputSchema of {tool.target} leaves open: {', '.join(assumed)}"
            return value, MadeUp("assumed", note)
        return value, MadeUp("output_schema")

    def _fulfilled(
        self, value: Any, wanted: tuple[Wish, ...], declared: Mapping[str, Any] | None
    ) -> tuple[Any, list[str]]:
        """The value with what is wanted of it, as far as its schema lets; and what was assumed."""
        assumed: list[str] = []
        for wish in wanted:
            fitting = _Fitting(declared, wish, self._fits)
            changed = fitting.at(value, wish.path)
            if changed is value or (declared is not None and not self._fits(declared, changed)):
                continue
            value = changed
            if fitting.added:
                assumed.append(format_path(wish.path))
        return value, assumed

    def _fits(self, schema: Mapping[str, Any], value: Any) -> bool:
        if schema is ANYTHING:
            return True
        if id(schema) not in self._validators:
            self._validators[id(schema)] = Validator(schema)
            self._kept.append(schema)
        return self._validators[id(schema)].fits(value)


class _Fitting:
    """Changes one place of a value into what is wanted there; the value itself stays as it is.

    Attributes:
        added: Whether a name was added that the schema of the value does not declare.
    """

    def __init__(
        self,
        declared: Mapping[str, Any] | None,
        wish: Wish,
        fits: Callable[[Mapping[str, Any], Any], bool],
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
        if self._fits(self._wish.schema, value):
            return value
        made = sample(self._wish.schema)
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
        self.added = True
        holder = value if isinstance(value, dict) else {}
        return {**holder, name: self.at(TEXT, path[1:])}

    def _declares(self, path: Path) -> bool:
        """Whether the schema names the members of the object that the path leads through."""
        if self._declared is None:
            return False
        above = self._wish.path[: len(self._wish.path) - len(path)]
        return bool((subschema(self._declared, above) or {}).get("properties"))

    def _item(self, value: Any, index: int, path: Path) -> Any:
        items = value if isinstance(value, list) else []
        needed = index + 1 if index >= 0 else -index
        if needed > MAX_ITEMS:
            return value
        self.added |= not isinstance(value, list)
        missing = needed - len(items)
        filled = [*items, *[items[-1] if items else TEXT] * missing] if missing > 0 else items
        inner = self.at(filled[index], path[1:])
        if filled is value and inner is filled[index]:
            return value
        changed = list(filled)
        changed[index] = inner
        return changed
