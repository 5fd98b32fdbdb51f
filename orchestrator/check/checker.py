"""A plan against the tools that it names: everything that their schemas tell before the first call.

The rule of this file: pure; it looks at every template of every task once. An error is what fails
when it gets there, a warning what may fail or is most likely not meant, a note what nobody knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from orchestrator.check.assignable import Assignability
from orchestrator.check.diagnostics import Diagnostics
from orchestrator.check.environment import ERROR, MAYBE_ERROR, Environment
from orchestrator.check.infer import Inference, references_in
from orchestrator.check.mismatch import Mismatch
from orchestrator.documents.jsonpath import Path
from orchestrator.documents.pointer import pointer
from orchestrator.errors import Problem
from orchestrator.expressions.scope import Reference
from orchestrator.expressions.templates import Template
from orchestrator.schema.coercion import ALL_TYPES
from orchestrator.schema.tool import Tool
from orchestrator.schema.type_query import TypeQuery
from orchestrator.schema.types import (
    NULL,
    ArrayType,
    LiteralType,
    SourcedType,
    StaticType,
    UnknownType,
    any_of,
    schema_type,
    type_names,
)
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.plan import CallTemplate, Plan, TaskPlan


def prove(workflow: Workflow, tools: Mapping[str, Tool]) -> list[Problem]:
    """Everything that the schemas of the tools tell about a plan, in the order of the file.

    Args:
        workflow: What is to be run; it is valid in itself.
        tools: Each tool that is known, by `server:tool`. Of others nothing is said but that.

    Returns:
        Errors, warnings and notes.
    """
    prover = _Prover(workflow, tools)
    prover.check_schemas()
    return prover.prove()


def errors_in(workflow: Workflow, tools: Mapping[str, Tool]) -> list[Problem]:
    """The errors alone that `prove` finds; of a plan that is right in half the time.

    Whether the schemas are schemas at all is looked into only if something is wrong: that takes the
    library, which takes a while to import.
    """
    for find in (_Prover(workflow, tools).prove, partial(prove, workflow, tools)):
        errors = [problem for problem in find() if problem.severity == "error"]
        if not errors:
            return []
    return errors


class _Prover:
    def __init__(self, workflow: Workflow, tools: Mapping[str, Tool]) -> None:
        self._workflow = workflow
        self._plan: Plan = workflow.plan
        self._tools = tools
        self._reader = TypeQuery()
        self._comparison = Assignability(self._reader)
        self._inputs = {name: _input(schema) for name, schema in workflow.inputs.items()}
        self._outputs: dict[str, StaticType] = {}
        self._problems = Diagnostics(workflow)
        self._unusable: set[int] = set()
        self._always_there: set[str] = set()
        self._has_critical = any(task.policies.critical for task in self._plan.tasks.values())

    def check_schemas(self) -> None:
        """Tell of schemas that cannot be used, and leave them out."""
        for target in self._plan.targets.values():
            self._check_schema(target)

    def prove(self) -> list[Problem]:
        """Look at every template of every task."""
        for generation in self._plan.generations:
            for task in generation:
                self._task(self._plan.tasks[task])
        if self._plan.output is not None:
            around = Environment(
                self._outputs, self._inputs, may_lack=True, at_end=True, error=MAYBE_ERROR
            )
            inference = Inference(self._reader, around)
            inference.shape_of(self._plan.output)
            self._problems.add(inference.found, None, ("output",))
        self._unused_inputs()
        return self._problems.all()

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
            output = ArrayType(output)
        if policies.fallback is not None:
            output = any_of([output, *self._fallback(task)])
        self._outputs[task.id] = output
        if may_lack:
            self._may_lack(task)
        if self._always_succeeds(task):
            self._always_there.add(task.id)

    def _around(self, task: TaskPlan) -> Environment:
        """What a task may refer to, but for its item."""
        run_if = task.policies.run_if
        has_failed = run_if == "any_failed" and len(task.dependencies) == 1
        error = NULL if run_if == "all_success" else ERROR if has_failed else MAYBE_ERROR
        may_lack = run_if != "all_success"
        return Environment(self._outputs, self._inputs, may_lack=may_lack, error=error)

    def _fallback(self, task: TaskPlan) -> Iterator[StaticType]:
        """What stands in for the output."""
        fallback = task.policies.fallback
        assert fallback is not None
        around = replace(self._around(task), in_fallback=True)
        if isinstance(fallback, CallTemplate):
            self._call(fallback, task, around, ("fallback", "arguments"))
            yield self._output_of(fallback)
        else:
            yield self._shape(fallback, around, task, ("fallback", "value"))

    def _shape(
        self, template: Template, around: Environment, task: TaskPlan, at: Path
    ) -> StaticType:
        inference = Inference(self._reader, around)
        shape = inference.shape_of(template)
        self._problems.add(inference.found, task, at)
        return shape

    def _item(self, task: TaskPlan, each: StaticType) -> StaticType:
        """The item of a `for_each`."""
        kinds = self._reader.kinds(each)
        text = each.text if isinstance(each, SourcedType) else ""
        wants = f"for_each wants a list, and {text or 'it'}"
        found: list[Mismatch] = []
        if "array" not in kinds:
            message = f"{wants} is {self._reader.describe(each)}"
            found.append(Mismatch((), "not_a_list", "error", message, text))
        elif kinds not in ({"array"}, ALL_TYPES):
            message = f"{wants} may be {type_names(kinds - {'array'})}"
            found.append(Mismatch((), "may_not_fit", "warning", message, text))
        if _plain(each) == LiteralType([]):
            message = "for_each has no items, so nothing is called"
            found.append(Mismatch((), "no_calls", "warning", message))
        self._problems.add(found, task, ("for_each",))
        return self._reader.element(each) or UnknownType("")

    def _output_of(self, target: CallTemplate) -> StaticType:
        tool = self._tools.get(target.target)
        if tool is None:
            return UnknownType(f"the tools of server {target.server!r} are not known")
        if tool.output_schema is None:
            return UnknownType(f"{target.target} declares no outputSchema")
        if id(tool.output_schema) in self._unusable:
            return UnknownType(f"the outputSchema of {target.target} cannot be used")
        return schema_type(tool.output_schema)

    def _call(self, target: CallTemplate, task: TaskPlan, around: Environment, at: Path) -> None:
        given = self._shape(target.arguments, around, task, at)
        tool = self._tools.get(target.target)
        if tool is not None and id(tool.input_schema) not in self._unusable:
            findings = self._comparison.arguments(given, tool.input_schema)
            self._problems.add(findings, task, at, tool)

    def _check_schema(self, target: CallTemplate) -> None:
        tool = self._tools.get(target.target)
        if tool is None:
            return
        schemas = {
            "inputSchema": (tool.input_schema, tool.accepts),
            "outputSchema": (tool.output_schema, tool.gives),
        }
        for name, (schema, validator) in schemas.items():
            if validator is None:
                continue
            self._comparison.know(schema, validator)
            if why := validator.unusable:
                self._unusable.add(id(schema))
                message = f"the {name} of {target.target} cannot be used, so nothing is checked"
                message = f"{message}: {why[:200]}"
                self._problems.keep(-1, Problem("unusable_schema", message, severity="warning"))

    def _always_succeeds(self, task: TaskPlan) -> bool:
        """Whether a task has an output whatever happens, but for an interrupt."""
        policies = task.policies
        stands_in = policies.fallback is not None and not isinstance(
            policies.fallback, CallTemplate
        )
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
            at = pointer(*self._problems.in_file(("tasks", task.index, "arguments", *path)))
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
            self._problems.keep(task.index, problem, text)

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
                self._problems.keep(-1, Problem("unused_input", message, at, severity="warning"))

    def _templates(self) -> Iterator[Template | None]:
        yield self._plan.output
        for task in self._plan.tasks.values():
            policies = task.policies
            yield from (task.arguments, policies.when, policies.for_each)
            yield from (lock.name for lock in policies.locks)
            fallback = policies.fallback
            yield fallback.arguments if isinstance(fallback, CallTemplate) else fallback


def _input(schema: Any) -> StaticType:
    if isinstance(schema, bool) or not schema:
        return UnknownType("its input has no schema")
    return schema_type(schema)


def _spelt(holder: Any, step: str | int) -> str | int | None:
    """A step as the file has it; None if it has none like it."""
    if isinstance(holder, list) or step in holder:
        return step
    return next((name for name in holder if name.replace("$$", "$") == step), None)


def _plain(shape: StaticType) -> StaticType:
    return _plain(shape.shape) if isinstance(shape, SourcedType) else shape
