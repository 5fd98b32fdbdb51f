"""What a changed workflow really does, and how far the schemas alone show each failure.

The engine runs it without knowing any tool, so that it checks no arguments itself. The caller here
converts arguments as the engine would, and checks them with `jsonschema` before it answers.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from jsonschema import Draft202012Validator, ValidationError

from orchestrator import Workflow, WorkflowError
from orchestrator.calls.call import Attempt, Call
from orchestrator.engine.run import Run
from orchestrator.errors import CallError, TaskError
from orchestrator.schema.coercion import convert
from orchestrator.schema.tool import Tool
from orchestrator.schema.type_query import TypeQuery
from orchestrator.schema.violations import misspelled
from orchestrator.workflow.inputs import complete_inputs
from orchestrator.workflow.plan import CallTemplate
from tests.mutation.documents import Document, Path, Site, get, sites_in, texts
from tests.mutation.schemas import Reading, Sight, read, types_at, types_of
from tests.mutation.worlds import Original, source_of

_OF_READING: Mapping[Reading, Sight] = {
    "declared": "unseen",
    "may be absent": "possible",
    "unknown": "unseen",
    "not declared": "undeclared",
    "ruled out": "certain",
}
_AS_TEXT = frozenset({"integer", "number", "boolean"})


@dataclass(frozen=True)
class Failed:
    """A failure of a task, or of the workflow if `task` is empty."""

    task: str
    sight: Sight
    reason: str


@dataclass
class Outcome:
    """What failed in a run, and which tasks were begun."""

    failures: list[Failed] = field(default_factory=list)
    reached: set[str] = field(default_factory=set)


async def observe(document: Document, original: Original, expressions: Sight = "unseen") -> Outcome:
    """Run a workflow and look at what fails.

    Args:
        document: The workflow file, however wrong.
        original: What it was made of.
        expressions: How far the schemas show that an expression fails, as the mutation knows.
    """
    try:
        workflow = Workflow.load(document)
    except WorkflowError as error:
        return Outcome([Failed("", "certain", str(error.problems[0]))])
    for _, called, _ in workflow.plan.calls:
        if called.target not in original.world.tools:
            return Outcome([Failed("", "certain", f"unknown tool {called.target}")])
    watch = _Watch(workflow, original, _Looker(document, original.world.tools, expressions))
    inputs = complete_inputs(workflow.inputs, {}, workflow.name)
    run = Run(workflow, watch.call, inputs=inputs)
    await run.execute()
    assert run.result is not None
    for task, settled in run.result.tasks.items():
        if settled.status in ("success", "error"):
            watch.outcome.reached.add(task)
        watch.note(task, settled.error)
    watch.note("", run.result.error)
    return watch.outcome


class _Watch:
    """The caller of one run, and what it saw."""

    def __init__(self, workflow: Workflow, original: Original, looker: _Looker) -> None:
        self.outcome = Outcome()
        self._plan, self._looker = workflow.plan, looker
        self._tools = original.world.tools
        self._answer = original.world.answers(original.results)

    async def call(self, call: Call, _: Attempt) -> Any:
        """Answer a call whose arguments fit."""
        tool, arguments = self._tools[call.target], copy.deepcopy(call.arguments)
        outer, __, step = re.sub(r"\[\d+\]", "", call.task).partition("/")
        task, name = self._plan.tasks[outer], outer
        if task.inner is not None:
            task, call = task.inner.plan.tasks[step], call._replace(task=outer)
        target = task.policies.fallback if call.is_fallback else task
        if isinstance(target, CallTemplate):
            convert(arguments, target.whole, tool.types_at)
        arguments = tool.without_nulls(arguments)
        errors = list(Draft202012Validator(tool.input_schema).iter_errors(arguments))
        if not errors and (wrong := misspelled(arguments, tool.input_schema, TypeQuery())):
            reason = f"misspelled: {', '.join(wrong)}"
            self.outcome.failures.append(Failed(name, "certain", reason))
            raise CallError("invalid_arguments", reason)
        if not errors:
            return await self._answer(name, call.target, arguments)
        for error in errors:
            sight = self._looker.of_misfit(error, call, tool)
            self.outcome.failures.append(Failed(name, sight, error.message[:200]))
        raise CallError("invalid_arguments", errors[0].message)

    def note(self, task: str, error: TaskError | None) -> None:
        """Note the error of a task, if it was not noted before and does not follow from another."""
        if error is None or error.kind == "invalid_arguments":
            return
        sight: Sight = "unseen"
        if error.kind == "reference_error":
            if "status" in error.details:
                return
            sight = self._looker.of_reference(task, error.details)
        self.outcome.failures.append(Failed(task, sight, f"{error.kind}: {error.message[:200]}"))


class _Looker:
    """Looks up in the schemas how far they show a failure."""

    def __init__(self, document: Document, tools: Mapping[str, Tool], expressions: Sight) -> None:
        self._document, self._tools, self._expressions = document, tools, expressions
        self._tasks = {task["id"]: (at, task) for at, task in enumerate(document["tasks"])}

    def of_reference(self, task: str, details: Mapping[str, Any]) -> Sight:
        """Of a `reference_error` of a task, or of the output of the workflow."""
        if "expression" in details:
            return self._of_expression(str(details["expression"]))
        reference = re.sub(r"[${}\s]", "", str(details.get("reference")))
        for site in self._sites(task):
            if re.sub(r"[${}\s]", "", site.match[0]) == reference:
                return self._of_site(site, details)
        return "unseen"

    def _of_expression(self, text: str) -> Sight:
        """Of an expression that fails or gives what does not fit: by the names it reads."""
        found = ((self._source(site), site.path) for site in sites_in(f"${{{text}}}"))
        return _surest(found) or self._expressions

    def _sites(self, task: str) -> Iterator[Site]:
        start: Path = ("tasks", self._tasks[task][0]) if task else ("output",)
        for path, text in texts(self._document):
            if path[: len(start)] == start:
                yield from sites_in(text, path)

    def _of_site(self, site: Site, details: Mapping[str, Any]) -> Sight:
        if "missing" not in details:  # an array was expected
            types = types_at(self._source(site), site.path)
            return "unseen" if types is None else "possible" if "array" in types else "certain"
        found = len(sites_in(f"$OUTPUT[x]{details['exists']}")[0].path)
        return _OF_READING[read(self._source(site), site.path[: found + 1])[0]]

    def _source(self, site: Site) -> Any:
        """The schema of the task or input that a reference names."""
        if site.match["input"]:
            return self._document.get("inputs", {}).get(site.name, {})
        return source_of(self._tasks[site.name][1], self._tools)

    def of_misfit(self, error: ValidationError, call: Call, tool: Tool) -> Sight:
        """Of an argument that does not fit the schema of its tool."""
        below = ("fallback",) if call.is_fallback else ()
        at: Path = ("tasks", self._tasks[call.task][0], *below, "arguments")
        place, rest = _written(get(self._document, at), tuple(error.absolute_path))
        written = get(self._document, (*at, *place))
        if not isinstance(written, str):
            known = error.validator in ("required", "additionalProperties", "type")
            return "certain" if known or "$" not in str(written) else "possible"
        found = sites_in(written)
        if len(found) == 1 and found[0].is_alone:
            return self._of_value(found[0], rest, error, tool)
        computed = re.fullmatch(r"\$\{(.*)\}", written)
        return self._of_expression(computed[1]) if computed else "certain"

    def _of_value(self, site: Site, rest: Path, error: ValidationError, tool: Tool) -> Sight:
        """Of what a reference gives, whole; `rest` is where in it the error is."""
        source, path = self._source(site), site.path + rest
        schema: Any = error.schema
        given: Any = error.instance
        match error.validator:
            case "required":
                missing = (name for name in schema["required"] if name not in given)
                return _surest((source, (*path, name)) for name in missing) or "possible"
            case "additionalProperties":
                extra = set(given) - set(schema["properties"])
                sure = any(read(source, (*path, name))[0] == "declared" for name in extra)
                return "certain" if sure else "possible"
            case "type" | "anyOf" if not rest or _is_always_there(source, path, rest):
                types = types_at(source, path)
                return _of_types(types, types_of(schema, tool.input_schema), not rest)
        return "possible"


def _surest(places: Iterable[tuple[Any, Path]]) -> Sight | None:
    """The surest of what schemas say about paths, if it is a failure for sure."""
    sights = {_OF_READING[read(source, path)[0]] for source, path in places}
    return "certain" if "certain" in sights else "undeclared" if "undeclared" in sights else None


def _is_always_there(source: Any, path: Path, rest: Path) -> bool:
    """Whether every value that fits has this path: arrays may be empty."""
    return not any(isinstance(step, int) for step in rest) and (
        read(source, path)[0] != "may be absent"
    )


def _written(arguments: Any, path: Path) -> tuple[Path, Path]:
    """A path as far as the document has it, and the rest, inside of what a text stands for."""
    for depth in range(len(path)):
        if not isinstance(get(arguments, path[:depth]), dict | list):
            return path[:depth], path[depth:]
    return path, ()


def _of_types(given: frozenset[str] | None, wanted: frozenset[str], is_whole: bool) -> Sight:
    """Of a value of given types where others are wanted; one that is whole may be converted."""
    if given is None:
        return "unseen"
    from_text = "string" in given and "string" not in wanted and wanted - {"null"}
    to_text = given & _AS_TEXT and {"string"} <= wanted <= {"string", "null"}
    return "possible" if given & wanted or (is_whole and (from_text or to_text)) else "certain"
