"""Checks every template of a plan against the schemas of the tools that it names.

A few lines longer than other files: this one class keeps the types of what was checked before.
"""

from __future__ import annotations

import itertools
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import replace

from orchestrator.check.absent import Absence, present_by
from orchestrator.check.answers import (
    answer_type,
    argument_mismatches,
    content_type,
    question_type,
    tool_for,
    uri_mismatches,
    uri_of,
)
from orchestrator.check.assignable import Assignability
from orchestrator.check.diagnostics import Diagnostics
from orchestrator.check.earlier import Earlier
from orchestrator.check.environment import (
    ERROR,
    MAYBE_ERROR,
    STATUS,
    UNKNOWN,
    Environment,
    input_types,
    items_type,
)
from orchestrator.check.for_each import collected, endless_or_single, item_of
from orchestrator.check.infer import Inference
from orchestrator.check.jmespath_functions import truth
from orchestrator.check.mismatch import Mismatch
from orchestrator.check.optional import members_of
from orchestrator.documents.jsonpath import Path
from orchestrator.documents.pointer import pointer
from orchestrator.documents.text import quoted
from orchestrator.errors import Code, Problem
from orchestrator.expressions.jmespath import Expression
from orchestrator.expressions.scope import Reference
from orchestrator.expressions.templates import Literal, Template
from orchestrator.schema.tool import Tool
from orchestrator.schema.type_query import TypeQuery
from orchestrator.schema.types import (
    NULL,
    ArrayType,
    LiteralType,
    ObjectType,
    StaticType,
    any_of,
    either,
)
from orchestrator.workflow.inner import findings_inside
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.plan import CallTemplate, TaskPlan
from orchestrator.workflow.product import Product


def prove(
    workflow: Workflow, tools: Mapping[str, Tool], earlier: Earlier | None = None
) -> list[Problem]:
    """Check a workflow against the schemas of its tools.

    Args:
        workflow: The workflow.
        tools: The known tools, by `server:tool`. A task of any other tool gives notes.
        earlier: What is known of tasks that were checked before, and are not checked again; gets
            what is found out about the others.

    Returns:
        Errors (they fail when the run gets there), warnings (they may fail, or are most likely not
        meant) and notes (the schemas leave them open), in the order of the file.
    """
    checker = _Checker(workflow, tools, earlier=earlier)
    checker.check_schemas()
    return checker.check()


def errors_in(workflow: Workflow, tools: Mapping[str, Tool]) -> list[Problem]:
    """The errors that `prove` finds, in half the time if there are none."""
    problems = _Checker(workflow, tools).check()
    if any(problem.severity == "error" for problem in problems):
        # A broken schema may have caused them. To check the schemas first would cost every run the
        # import of the validator's library.
        problems = prove(workflow, tools)
    return [problem for problem in problems if problem.severity == "error"]


def output_type(workflow: Workflow, tools: Mapping[str, Tool]) -> StaticType:
    """The type of the output of a run that succeeds."""
    checker = _Checker(workflow, tools)
    checker.check()
    return checker.output


class _Checker:
    def __init__(
        self,
        workflow: Workflow,
        tools: Mapping[str, Tool],
        inputs: Mapping[str, StaticType] | None = None,
        earlier: Earlier | None = None,
    ) -> None:
        earlier = earlier or Earlier()
        self.output: StaticType = UNKNOWN  # of the workflow, after `check`
        self._workflow, self._plan, self._tools = workflow, workflow.plan, tools
        self._query = TypeQuery()
        self._assignability = Assignability(self._query)
        self._inputs = inputs or input_types(workflow.inputs)
        self._used_inputs: set[str | None] = set()
        self._outputs, self._items = earlier.outputs, earlier.items
        self._diagnostics = Diagnostics(workflow)
        self._unusable: set[int] = set()
        self._absence = Absence(workflow, earlier)
        self._with_nulls = earlier.with_nulls

    def check_schemas(self) -> None:
        """Report schemas that cannot be used, so that nothing is checked against them."""
        for tool in filter(None, map(self._tools.get, self._plan.targets)):
            for name, schema, validator in (
                ("inputSchema", tool.input_schema, tool.accepts),
                ("outputSchema", tool.output_schema, tool.gives),
            ):
                if validator is not None and (why := validator.unusable):
                    self._unusable.add(id(schema))
                    message = f"the {name} of {tool.target} cannot be used, so nothing is checked "
                    self._warn("unusable_schema", f"{message}against it: {why[:200]}")

    def check(self) -> list[Problem]:
        """Check every template of every task."""
        for stage in self._plan.stages:
            if stage is self._plan.finally_:
                self._absence.begin_finally()
            for task in itertools.chain.from_iterable(stage.generations):
                if task not in self._outputs:
                    self._task(self._plan.tasks[task])  # what it refers to has types by now
        if self._plan.output is not None:
            environment = Environment(
                self._outputs,
                self._inputs,
                items=self._items,
                may_lack=True,
                at_end=True,
                error=MAYBE_ERROR,
            )
            self.output = self._infer(self._plan.output, environment, ("output",))
        elif self._absence.skippable.isdisjoint(self._plan.sinks):
            self.output = ObjectType({task: self._outputs[task] for task in self._plan.sinks})
        for name in self._inputs:
            if not {name, None} & self._used_inputs:  # None: an expression uses all of them
                message = f"input {quoted(name)} is never used"
                self._warn("unused_input", message, "inputs", name)
        return self._diagnostics.all()

    def _warn(self, code: Code, message: str, *at: str) -> None:
        self._diagnostics.add([Mismatch((), code, "warning", message)], None, at)

    def _outside(self, task: TaskPlan) -> Environment:
        """What the fields of a task read, apart from the item of a `for_each`."""
        run_if, is_only = task.policies.run_if, len(task.needs) == 1
        may_lack = run_if != "all_success" and not (run_if == "any_success" and is_only)
        has_failed = run_if == "any_failed" and is_only
        is_known = has_failed or not may_lack
        return Environment(
            # The list of a for_each that failed in part has null for each item that failed.
            ChainMap(self._with_nulls, self._outputs) if may_lack else self._outputs,
            self._inputs,
            task,
            self._items,
            may_lack=may_lack,
            error=(ERROR if has_failed else MAYBE_ERROR) if may_lack else NULL,
            status=LiteralType("error" if has_failed else "success") if is_known else STATUS,
            absent=frozenset(task.needs) - set(self._with_nulls) if has_failed else frozenset(),
        )

    def _task(self, task: TaskPlan) -> None:
        policies, outside = task.policies, self._outside(task)
        if policies.when is not None:
            self._condition(policies.when, outside, task)
            outside = replace(outside, present=present_by(policies.when))
        inside = outside
        if policies.for_each is not None:
            inside = replace(outside, item=self._item(task, policies.for_each, outside))
        output = self._output(task, inside)
        if policies.for_each is not None:
            self._items[task.id] = items_type(output)
            self._with_nulls[task.id] = ArrayType(either([output, NULL]))
            output = ArrayType(output)
        for index, lock in enumerate(policies.locks):
            self._infer(lock.name, inside, ("locks", index))
        if policies.fallback is not None:
            output = self._with_fallback(task, policies.fallback, output, outside)
        self._outputs[task.id] = output
        self._absence.note(task)

    def _output(self, task: TaskPlan, inside: Environment) -> StaticType:
        """The type of the output of a task, or of an item of it."""
        policies = task.policies
        if policies.approve is not None:
            self._infer(policies.approve, inside, ("approve", "message"))
        if task.kind == "value":
            output = self._infer(task.arguments, inside, ("value",))
        elif task.inner is not None:
            output = self._inside(task, task.inner, inside)
        elif task.kind == "ask":
            output = question_type(self._infer(task.arguments, inside, ("ask",)))
        elif task.kind == "read":
            output = self._read(task, replace(inside, before_first=True))
        else:
            answer = answer_type(task, self._tools, self._unusable)
            before = replace(inside, last=answer, before_first=True)
            output = self._call(task, before, ("arguments",))
        if (repeat := policies.repeat) is not None:
            after = replace(inside, last=output)
            until = self._infer(repeat.until, after, ("repeat", "until"))
            if not self._diagnostics.has(pointer(*task.path, "repeat", "until")):
                found = endless_or_single(until, self._query)
                self._diagnostics.add(found, task, ("repeat", "until"))
            if repeat.collect is not None:
                added = self._infer(repeat.collect, after, ("repeat", "collect"))
                output = collected(added, self._query)
        if policies.item_when is not None:
            self._infer(policies.item_when, inside, ("item_when",))
            output = either([output, NULL])
        if (fallback := policies.item_fallback) is not None:
            other = self._instead(fallback, replace(inside, in_fallback=True), "item_fallback")
            output = any_of([output, other])
        return output

    def _with_fallback(
        self,
        task: TaskPlan,
        fallback: Template | CallTemplate,
        output: StaticType,
        outside: Environment,
    ) -> StaticType:
        outside = replace(outside, in_fallback=True)
        if task.needs != task.dependencies:  # what only the fallback reads may have failed
            outside = replace(
                outside, may_lack=True, error=MAYBE_ERROR, status=STATUS, absent=frozenset()
            )
        other = self._instead(fallback, outside, "fallback")
        if task.id in self._with_nulls:
            self._with_nulls[task.id] = any_of([self._with_nulls[task.id], other])
        # `any_of`, as fallbacks may contain outputs that have fallbacks themselves.
        return any_of([output, other])

    def _instead(
        self, fallback: Template | CallTemplate, environment: Environment, field: str
    ) -> StaticType:
        if isinstance(fallback, CallTemplate):
            return self._call(fallback, environment, (field, "arguments"))
        return self._infer(fallback, environment, (field, "value"))

    def _infer(self, template: Template, environment: Environment, at: Path) -> StaticType:
        inference = Inference(self._query, environment)
        type_ = inference.infer(template)
        self._diagnostics.add(inference.found, environment.task, at)
        for path, reference in inference.references:
            self._used_inputs |= {key.name for key in reference.places if key.root == "INPUT"}
            if isinstance(reference, Reference):
                found = self._absence.lacking(reference, path, environment)
                self._diagnostics.add(found, environment.task, at)
        return type_

    def _condition(self, when: Template, environment: Environment, task: TaskPlan) -> None:
        type_ = self._infer(when, environment, ("when",))
        if isinstance(when, Literal) or truth(type_, self._query) is not False:
            return
        if self._diagnostics.suggests(pointer(*task.path, "when")):
            return  # a misspelled value is the cause
        message, hint = "the task never runs: its condition is always false", ""
        read = {key.root for key in when.places} if isinstance(when, Expression) else set()
        if read & {"STATUS", "ERROR"}:
            message += f" (run_if is {task.policies.run_if})"
            hint = 'to run after a failure, write "run_if": "any_failed" or "all_done"'
            if task.policies.run_if == "any_failed":
                hint = 'to run after a success, write "run_if": "all_success" or "all_done"'
        found = Mismatch((), "never_runs", "warning", message, hint=hint)
        self._diagnostics.add([found], task, ("when",))

    def _item(self, task: TaskPlan, each: Template | Product, outside: Environment) -> StaticType:
        """The type of `$ITEM` in a task with `for_each`."""
        lists = each.lists if isinstance(each, Product) else {"": each}
        items: dict[str, StaticType] = {}
        for name, of in lists.items():
            at = ("for_each", name) if name else ("for_each",)
            items[name], found = item_of(self._infer(of, outside, at), ".".join(at), self._query)
            self._diagnostics.add(found, task, at)
        return ObjectType(items) if isinstance(each, Product) else items[""]

    def _call(self, target: CallTemplate, environment: Environment, at: Path) -> StaticType:
        """Check the arguments of a call, and return the type of its output."""
        given = self._infer(target.arguments, environment, at)
        tool = tool_for(target, self._tools)
        if tool is not None and id(tool.input_schema) not in self._unusable:
            found = argument_mismatches(given, tool, self._assignability)
            self._diagnostics.add(found, environment.task, at, tool)
        return answer_type(target, self._tools, self._unusable)

    def _read(self, task: TaskPlan, environment: Environment) -> StaticType:
        """Check the URI of a resource, and return the type of what it holds."""
        uri = self._infer(uri_of(task), environment, (task.kind,))
        found, tool = uri_mismatches(uri, task, self._assignability)
        self._diagnostics.add(found, task, (task.kind,), tool)
        return content_type(task)

    def _inside(self, task: TaskPlan, inner: Workflow, environment: Environment) -> StaticType:
        """Check the workflow that a task runs, and what it is given; the type of its output."""
        given, tool = self._infer(task.arguments, environment, ("arguments",)), inner.signature
        found = self._assignability.arguments(given, tool.input_schema, tool.accepts)
        self._diagnostics.add(found, task, ("arguments",), tool)
        inputs = input_types(inner.inputs, members_of(given))
        checker = _Checker(inner, self._tools, inputs)
        found_inside = findings_inside(self._workflow, task, inner, checker.check())
        self._diagnostics.include(found_inside, task)
        return checker.output
