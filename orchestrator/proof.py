"""A plan against the tools that it names: everything that their schemas tell before the first call.

The rule of this file: pure; it looks at every template of every task once. An error is what fails
when it gets there, a warning what may fail or is most likely not meant, a note what nobody knows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import Any

from orchestrator.calls import Tool
from orchestrator.comparison import Comparison, Finding
from orchestrator.errors import Problem, certain, move_op, pointer, replace_op
from orchestrator.inference import Inference, references_in
from orchestrator.mending import Mends, value_at
from orchestrator.paths import Path, format_path
from orchestrator.planning import Plan, Target, TaskPlan
from orchestrator.references import Reference, Template
from orchestrator.shapes import (
    NULL,
    ArrayOf,
    Exactly,
    Reader,
    Shape,
    Sourced,
    Unknown,
    one_of,
    schema_shape,
    words,
)
from orchestrator.signatures import signature
from orchestrator.surroundings import ERROR, MAYBE_ERROR, Surroundings
from orchestrator.workflow import Workflow

MAX_SIGNATURE = 200


def prove(workflow: Workflow, tools: Mapping[str, Tool]) -> list[Problem]:
    """Everything that the schemas of the tools tell about a plan, in the order of the file.

    Args:
        workflow: What is to be run; it is valid in itself.
        tools: Each tool that is known, by `server:tool`. Of others nothing is said but that.

    Returns:
        Errors, warnings and notes.
    """
    return _Prover(workflow, tools).prove()


class _Prover:
    def __init__(self, workflow: Workflow, tools: Mapping[str, Tool]) -> None:
        self._workflow = workflow
        self._plan: Plan = workflow.plan
        self._tools = tools
        self._reader = Reader()
        self._comparison = Comparison(self._reader)
        self._inputs = {name: _input(schema) for name, schema in workflow.inputs.items()}
        self._outputs: dict[str, Shape] = {}
        self._mends = Mends()
        self._signatures: dict[str, str] = {}
        self._found: dict[tuple[int, str, str, str], Problem] = {}
        self._always_there: set[str] = set()
        self._has_critical = any(task.policies.critical for task in self._plan.tasks.values())

    def prove(self) -> list[Problem]:
        for target in self._plan.targets.values():
            self._check_schema(target)
        for generation in self._plan.generations:
            for task in generation:
                self._task(self._plan.tasks[task])
        if self._plan.output is not None:
            around = Surroundings(
                self._outputs, self._inputs, may_lack=True, at_end=True, error=MAYBE_ERROR
            )
            inference = Inference(self._reader, around)
            inference.shape_of(self._plan.output)
            self._add(inference.found, None, ("output",))
        self._unused_inputs()
        found = [self._found[key] for key in sorted(self._found)]
        return self._mends.apply(found, self._document) if found else found

    def _task(self, task: TaskPlan) -> None:
        policies = task.policies
        may_lack = policies.run_if != "all_success"
        around = self._around(task)
        if policies.when is not None:
            self._shape(policies.when, around, task, ("when",))
        inside = around
        if policies.for_each is not None:
            each = self._shape(policies.for_each, around, task, ("for_each",))
            inside = replace(around, item=self._item(task, each))
        self._call(task, task, inside, ("arguments",))
        for index, lock in enumerate(policies.locks):
            self._shape(lock.name, inside, task, ("locks", index))
        output = self._output_of(task)
        if policies.for_each is not None:
            output = ArrayOf(output)
        self._outputs[task.id] = one_of([output, *self._fallback(task)])
        if may_lack:
            self._may_lack(task)
        if self._always_succeeds(task):
            self._always_there.add(task.id)

    def _around(self, task: TaskPlan) -> Surroundings:
        """What a task may refer to, but for its item."""
        run_if = task.policies.run_if
        has_failed = run_if == "any_failed" and len(task.dependencies) == 1
        error = NULL if run_if == "all_success" else ERROR if has_failed else MAYBE_ERROR
        may_lack = run_if != "all_success"
        return Surroundings(self._outputs, self._inputs, may_lack=may_lack, error=error)

    def _fallback(self, task: TaskPlan) -> Iterator[Shape]:
        """What stands in for the output."""
        fallback = task.policies.fallback
        if fallback is None:
            return
        around = replace(self._around(task), in_fallback=True)
        if isinstance(fallback, Target):
            self._call(fallback, task, around, ("fallback", "arguments"))
            yield self._output_of(fallback)
        else:
            yield self._shape(fallback, around, task, ("fallback", "value"))

    def _shape(self, template: Template, around: Surroundings, task: TaskPlan, at: Path) -> Shape:
        inference = Inference(self._reader, around)
        shape = inference.shape_of(template)
        self._add(inference.found, task, at)
        return shape

    def _item(self, task: TaskPlan, each: Shape) -> Shape:
        """The item of a `for_each`."""
        kinds = self._reader.kinds(each)
        text = each.text if isinstance(each, Sourced) else ""
        if "array" not in kinds:
            message = f"for_each wants a list, and {text or 'it'} is {self._reader.describe(each)}"
            self._add([Finding((), "not_a_list", "error", message, text)], task, ("for_each",))
            return Unknown("")
        if not isinstance(_plain(each), Unknown) and kinds != {"array"} and len(kinds) < 7:
            rest = words(kinds - {"array"})
            message = f"for_each wants a list, and {text or 'it'} may be {rest}"
            self._add([Finding((), "may_not_fit", "warning", message, text)], task, ("for_each",))
        if _plain(each) == Exactly([]):
            message = "for_each has no items, so nothing is called"
            self._add([Finding((), "no_calls", "warning", message)], task, ("for_each",))
        element = self._reader.element(each)
        return Unknown("") if element is None else element

    def _output_of(self, target: Target) -> Shape:
        tool = self._tools.get(target.target)
        if tool is None:
            return Unknown(f"the tools of server {target.server!r} are not known")
        if tool.output_schema is None:
            return Unknown(f"{target.target} declares no outputSchema")
        if self._comparison.validator(tool.output_schema).unusable:
            return Unknown(f"the outputSchema of {target.target} cannot be used")
        return schema_shape(tool.output_schema)

    def _call(self, target: Target, task: TaskPlan, around: Surroundings, at: Path) -> None:
        given = self._shape(target.arguments, around, task, at)
        tool = self._tools.get(target.target)
        if tool is not None:
            findings = self._comparison.arguments(given, tool.input_schema)
            self._add(findings, task, at, tool)

    def _check_schema(self, target: Target) -> None:
        tool = self._tools.get(target.target)
        if tool is None:
            return
        schemas = {"inputSchema": tool.input_schema, "outputSchema": tool.output_schema}
        for name, schema in schemas.items():
            if schema is not None and (why := self._comparison.validator(schema).unusable):
                message = f"the {name} of {target.target} cannot be used, so nothing is checked"
                key = (-1, "", "unusable_schema", message)
                self._found[key] = Problem(
                    "unusable_schema", f"{message}: {why[:200]}", severity="warning"
                )

    def _always_succeeds(self, task: TaskPlan) -> bool:
        """Whether a task has an output whatever happens, but for an interrupt."""
        policies = task.policies
        stands_in = policies.fallback is not None and not isinstance(policies.fallback, Target)
        ends_early = self._workflow.on_error == "fail_fast" or self._workflow.timeout_s is not None
        if not stands_in or policies.when is not None or ends_early or self._has_critical:
            return False
        needed = policies.run_if == "all_success"
        return not needed or self._always_there.issuperset(task.dependencies)

    def _may_lack(self, task: TaskPlan) -> None:
        """References that are an error where a task has no output, under another `run_if`."""
        alone = task.policies.run_if == "any_failed" and len(task.dependencies) == 1
        for path, reference in references_in(task.arguments):
            if not isinstance(reference, Reference) or reference.root != "OUTPUT":
                continue
            if reference.or_null or reference.name is None or reference.name in self._always_there:
                continue
            each = self._plan.tasks[reference.name].policies.for_each is not None
            at = pointer(*self._in_file(("tasks", task.index, "arguments", *path)))
            hint, text = f"${{OUTPUT[{reference.name}]}} is null then", reference.text
            if alone and not each:
                message = (
                    f"{text}: task {reference.name!r} has failed when this one runs: no output"
                )
                problem = Problem("never_an_output", message, at, task.id, (), hint, "error", text)
            else:
                message = f"{text}: task {reference.name!r} may have no output (run_if is "
                message += f"{task.policies.run_if}): then this is an error"
                problem = Problem("maybe_absent", message, at, task.id, (), hint, "warning", text)
            self._keep(task.index, problem, text)

    def _unused_inputs(self) -> None:
        used: set[str | None] = set()
        for template in self._templates():
            for _, found in references_in(template):
                used |= {place.name for place in found.places if place.root == "INPUT"}
        if None in used:
            return
        for name in self._inputs:
            if name not in used:
                message = f"the input {name!r} is used nowhere"
                at = pointer("inputs", name)
                self._keep(-1, Problem("unused_input", message, at, severity="warning"))

    def _templates(self) -> Iterator[Template | None]:
        yield self._plan.output
        for task in self._plan.tasks.values():
            policies = task.policies
            yield from (task.arguments, policies.when, policies.for_each)
            yield from (lock.name for lock in policies.locks)
            fallback = policies.fallback
            yield fallback.arguments if isinstance(fallback, Target) else fallback

    def _add(
        self, findings: Iterable[Finding], task: TaskPlan | None, at: Path, tool: Tool | None = None
    ) -> None:
        for finding in findings:
            index = len(self._plan.tasks) if task is None else task.index
            base: Path = at if task is None else ("tasks", index, *at)
            problem = self._problem(finding, base, task.id if task else None, tool)
            self._keep(index, problem, finding.text)

    def _keep(self, index: int, problem: Problem, text: str = "") -> None:
        key = (index, problem.path, text, f"{problem.code} {problem.message}")
        self._found.setdefault(key, problem)

    def _problem(
        self, finding: Finding, base: Path, task: str | None, tool: Tool | None
    ) -> Problem:
        where = self._in_file((*base, *finding.path))
        return Problem(
            finding.code,
            _message(finding, tool),
            pointer(*where),
            task,
            finding.alternatives,
            self._hint(finding, tool),
            finding.severity,
            finding.piece or finding.text,
            self._replacement(finding, where),
        )

    def _in_file(self, where: Path) -> Path:
        """A place of the values as it is in the file, where `$$` stands for a dollar sign in names.

        What has a name that is a reference is not found: it stands where its object does.
        """
        if not any(step == "" or "$" in str(step) for step in where):
            return where
        here: Any = self._document
        found: list[str | int] = []
        for step in where:
            name = _spelt(here, step)
            if name is None:
                break
            found.append(name)
            here = here[name]
        return tuple(found)

    def _hint(self, finding: Finding, tool: Tool | None) -> str:
        """How to mend it."""
        if finding.code == "maybe_absent" and finding.text.startswith("$OUTPUT"):
            return f"${{not_null({finding.text[1:]}, ...)}} gives something else in its place"
        if tool is None or finding.code in ("unknown_type", "may_not_fit"):
            return ""
        if tool.target not in self._signatures:  # it may be long, and so may the list of findings
            shown = f"{tool.target}({signature(tool)})"
            short = shown if len(shown) <= MAX_SIGNATURE else shown[: MAX_SIGNATURE - 3] + "..."
            self._signatures[tool.target] = short
        return self._signatures[tool.target]

    def _replacement(self, finding: Finding, where: Path) -> tuple[Mapping[str, Any], ...]:
        """What mends it for certain, as a JSON Patch."""
        if finding.code == "unexpected_argument" and len(finding.path) == 1:
            name = certain(str(where[-1]), finding.alternatives)
            if name is None or self._has(pointer(*where[:-1], name)):
                return ()
            return (move_op(pointer(*where), pointer(*where[:-1], name)),)
        if not finding.value:
            return ()
        if finding.text:
            piece = finding.piece or finding.text
            if not finding.piece or self._is_alone(piece, where):
                self._mends.note(pointer(*where), piece, json.loads(finding.value))
            return ()
        return (replace_op(pointer(*where), json.loads(finding.value)),)

    def _is_alone(self, name: str, where: Path) -> bool:
        """Whether a name stands once in a text."""
        text = value_at(self._document, pointer(*where))
        return isinstance(text, str) and len(re.findall(rf"\b{re.escape(name)}\b", text)) == 1

    def _has(self, path: str) -> bool:
        with suppress(KeyError, IndexError):
            value_at(self._document, path)
            return True
        return False

    @cached_property
    def _document(self) -> dict[str, Any]:
        return self._workflow.to_dict()


def _input(schema: Any) -> Shape:
    if isinstance(schema, bool) or not schema:
        return Unknown("its input has no schema")
    return schema_shape(schema)


def _spelt(holder: Any, step: str | int) -> str | int | None:
    """A step as the file has it; None if it has none like it."""
    if isinstance(holder, list) or step in holder:
        return step
    return next((name for name in holder if name.replace("$$", "$") == step), None)


def _plain(shape: Shape) -> Shape:
    return _plain(shape.shape) if isinstance(shape, Sourced) else shape


def _message(finding: Finding, tool: Tool | None) -> str:
    if tool is None or finding.code == "unknown_type":
        return (
            f"{finding.text}: {finding.message}" if _is_of_reference(finding) else finding.message
        )
    if finding.code == "unexpected_argument" and len(finding.path) == 1:
        return f"{tool.target}: {finding.message}"
    if finding.code == "missing_argument" and not finding.path:
        return f"{tool.target}: the arguments {finding.message.replace('lacks', 'lack')}"
    place = format_path(finding.path).lstrip(".") or "the arguments"
    return f"{tool.target}: {place}: {finding.text or 'it'} {finding.message}"


def _is_of_reference(finding: Finding) -> bool:
    return (
        bool(finding.text)
        and not finding.piece
        and finding.code != "not_a_list"
        and finding.text not in finding.message
    )
