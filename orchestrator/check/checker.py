"""Checks every template of a plan against the schemas of the tools that it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestrator.check.assignable import Assignability
from orchestrator.check.diagnostics import Diagnostics
from orchestrator.check.environment import ERROR, MAYBE_ERROR, UNKNOWN, Environment
from orchestrator.check.infer import Inference
from orchestrator.check.mismatch import Mismatch
from orchestrator.documents.jsonpath import Path
from orchestrator.documents.pointer import pointer
from orchestrator.documents.text import quoted
from orchestrator.errors import Code, Problem, Severity
from orchestrator.expressions.scope import Reference
from orchestrator.expressions.templates import Computed, Template
from orchestrator.schema.coercion import ALL_TYPES
from orchestrator.schema.tool import Tool
from orchestrator.schema.type_query import TypeQuery
from orchestrator.schema.types import (
    NULL,
    ArrayType,
    SourcedType,
    StaticType,
    UnknownType,
    any_of,
    schema_type,
    type_names,
)
from orchestrator.schema.validator import Validator
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.plan import CallTemplate, Plan, TaskPlan


def prove(workflow: Workflow, tools: Mapping[str, Tool]) -> list[Problem]:
    """Check a workflow against the schemas of its tools.

    Args:
        workflow: The workflow.
        tools: The known tools, by `server:tool`. A task of any other tool gives notes.

    Returns:
        Errors (they fail when the run gets there), warnings (they may fail, or are most likely not
        meant) and notes (the schemas leave them open), in the order of the file.
    """
    checker = _Checker(workflow, tools)
    checker.check_schemas()
    return checker.check()


def errors_in(workflow: Workflow, tools: Mapping[str, Tool]) -> list[Problem]:
    """The errors that `prove` finds, in half the time if there are none.

    Checking the schemas themselves imports the validator's library, which is slow: that is done
    only if there are errors, which a broken schema may have caused.
    """
    if not _errors(_Checker(workflow, tools).check()):
        return []
    return _errors(prove(workflow, tools))


def _errors(problems: list[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem.severity == "error"]


def not_known(server: str) -> str:
    """Why the type of an output is unknown where the tools of its server are."""
    return f"the tools of server {quoted(server)} are not known"


class _Checker:
    def __init__(self, workflow: Workflow, tools: Mapping[str, Tool]) -> None:
        self._workflow = workflow
        self._plan: Plan = workflow.plan
        self._tools = tools
        self._query = TypeQuery()
        self._assignability = Assignability(self._query)
        self._inputs = {name: _input_type(schema) for name, schema in workflow.inputs.items()}
        self._used_inputs: set[str | None] = set()
        self._outputs: dict[str, StaticType] = {}
        self._diagnostics = Diagnostics(workflow)
        self._unusable: set[int] = set()
        self._has_output: set[str] = set()
        # The failure of a critical task ends the run before others have their outputs.
        self._has_critical = any(task.policies.critical for task in self._plan.tasks.values())

    def check_schemas(self) -> None:
        """Report schemas that cannot be used, so that nothing is checked against them."""
        for target in self._plan.targets.values():
            if (tool := self._tools.get(target.target)) is not None:
                self._check_schema("inputSchema", tool, tool.input_schema, tool.accepts)
                self._check_schema("outputSchema", tool, tool.output_schema, tool.gives)

    def check(self) -> list[Problem]:
        """Check every template of every task."""
        for generation in self._plan.generations:
            for task in generation:  # by then the outputs that it refers to have types
                self._task(self._plan.tasks[task])
        if self._plan.output is not None:
            environment = Environment(
                self._outputs, self._inputs, may_lack=True, at_end=True, error=MAYBE_ERROR
            )
            self._infer(self._plan.output, environment, None, ("output",))
        for name in self._inputs:
            if not {name, None} & self._used_inputs:  # None: an expression uses all of them
                message = f"input {quoted(name)} is never used"
                at = pointer("inputs", name)
                problem = Problem("unused_input", message, at, severity="warning")
                self._diagnostics.keep(-1, problem)
        return self._diagnostics.all()

    def _task(self, task: TaskPlan) -> None:
        policies = task.policies
        environment = self._environment(task)
        if policies.when is not None:
            self._infer(policies.when, environment, task, ("when",))
        inside = environment
        if policies.for_each is not None:
            each = self._infer(policies.for_each, environment, task, ("for_each",))
            inside = replace(environment, item=self._item(task, each))
        self._call(task, task, inside, ("arguments",))
        for index, lock in enumerate(policies.locks):
            self._infer(lock.name, inside, task, ("locks", index))
        output = self._output_of(task)
        if policies.for_each is not None:
            output = ArrayType(output)
        if policies.fallback is not None:
            environment = replace(environment, in_fallback=True)
            # `any_of`, as fallbacks may contain outputs that have fallbacks themselves.
            output = any_of([output, self._fallback(policies.fallback, environment, task)])
        self._outputs[task.id] = output
        if self._always_succeeds(task):
            self._has_output.add(task.id)

    def _environment(self, task: TaskPlan) -> Environment:
        may_lack = task.policies.run_if != "all_success"
        error = (ERROR if _follows_a_failure(task) else MAYBE_ERROR) if may_lack else NULL
        return Environment(self._outputs, self._inputs, may_lack=may_lack, error=error)

    def _fallback(
        self, fallback: Template | CallTemplate, environment: Environment, task: TaskPlan
    ) -> StaticType:
        if isinstance(fallback, CallTemplate):
            self._call(fallback, task, environment, ("fallback", "arguments"))
            return self._output_of(fallback)
        return self._infer(fallback, environment, task, ("fallback", "value"))

    def _infer(
        self, template: Template, environment: Environment, task: TaskPlan | None, at: Path
    ) -> StaticType:
        inference = Inference(self._query, environment)
        type_ = inference.infer(template)
        self._diagnostics.add(inference.found, task, at)
        for path, reference in inference.references:
            self._used_inputs |= {key.name for key in reference.places if key.root == "INPUT"}
            if task is not None and at == ("arguments",) and environment.may_lack:
                self._check_lacking(task, reference, path)
        return type_

    def _item(self, task: TaskPlan, each: StaticType) -> StaticType:
        """The type of `$ITEM` in a task with `for_each`."""
        types = self._query.kinds(each)
        text = each.text if isinstance(each, SourcedType) else ""
        given = f" ({text})" if text else ""
        found: list[Mismatch] = []
        if "array" not in types:
            message = f"for_each: expected array, got {self._query.describe(each)}{given}"
            found.append(Mismatch((), "not_a_list", "error", message, text))
        elif types not in ({"array"}, ALL_TYPES):
            message = f"for_each: expected array, may be {type_names(types - {'array'})}{given}"
            found.append(Mismatch((), "may_not_fit", "warning", message, text))
        if self._query.finite(each) == [[]]:  # its only possible value
            message = "for_each is an empty array, so nothing is called"
            found.append(Mismatch((), "no_calls", "warning", message))
        self._diagnostics.add(found, task, ("for_each",))
        return self._query.element(each) or UNKNOWN

    def _output_of(self, target: CallTemplate) -> StaticType:
        tool = self._tools.get(target.target)
        if tool is None:
            return UnknownType(not_known(target.server))
        if tool.output_schema is None:
            return UnknownType(f"{target.target} declares no outputSchema")
        if id(tool.output_schema) in self._unusable:
            return UnknownType(f"the outputSchema of {target.target} cannot be used")
        return schema_type(tool.output_schema)

    def _call(
        self, target: CallTemplate, task: TaskPlan, environment: Environment, at: Path
    ) -> None:
        given = self._infer(target.arguments, environment, task, at)
        tool = self._tools.get(target.target)
        if tool is not None and id(tool.input_schema) not in self._unusable:
            found = self._assignability.arguments(given, tool.input_schema, tool.accepts)
            self._diagnostics.add(found, task, at, tool)

    def _check_schema(
        self, name: str, tool: Tool, schema: Any, validator: Validator | None
    ) -> None:
        if validator is None:
            return
        if why := validator.unusable:
            self._unusable.add(id(schema))
            message = f"the {name} of {tool.target} cannot be used, so nothing is checked against "
            message += f"it: {why[:200]}"
            self._diagnostics.keep(-1, Problem("unusable_schema", message, severity="warning"))

    def _always_succeeds(self, task: TaskPlan) -> bool:
        """Whether a task has an output whatever happens, unless the run is interrupted."""
        policies = task.policies
        has_value = policies.fallback is not None and not isinstance(
            policies.fallback, CallTemplate
        )
        ends_early = self._workflow.on_error == "fail_fast" or self._workflow.timeout_s is not None
        if not has_value or policies.when is not None or ends_early or self._has_critical:
            return False
        return policies.run_if != "all_success" or self._has_output.issuperset(task.dependencies)

    def _check_lacking(self, task: TaskPlan, reference: Reference | Computed, path: Path) -> None:
        """Report a reference to an output that a task need not have, under another `run_if`."""
        if not isinstance(reference, Reference) or reference.root != "OUTPUT":
            return
        if reference.or_null or reference.name is None or reference.name in self._has_output:
            return
        code: Code = "maybe_absent"
        severity: Severity = "warning"
        name, text = quoted(reference.name), reference.text
        run_if = f"run_if is {task.policies.run_if}"
        message = f"{text}: task {name} may have no output ({run_if}), and then this task fails"
        fans_out = self._plan.tasks[reference.name].policies.for_each is not None
        if _follows_a_failure(task) and not fans_out:
            code, severity = "never_an_output", "error"
            message = (
                f"{text}: task {name} has always failed when this task runs ({run_if}), so it "
            )
            message += "has no output"
        at = pointer(*self._diagnostics.in_file(("tasks", task.index, "arguments", *path)))
        hint = f"${{OUTPUT[{reference.name}]}} is null then"
        problem = Problem(code, message, at, task.id, (), hint, severity, text)
        self._diagnostics.keep(task.index, problem, text)


def _follows_a_failure(task: TaskPlan) -> bool:
    """Whether the only dependency of a task has failed when it runs."""
    return task.policies.run_if == "any_failed" and len(task.dependencies) == 1


def _input_type(schema: Any) -> StaticType:
    if isinstance(schema, bool) or not schema:
        return UnknownType("the input has no schema")
    return schema_type(schema)
