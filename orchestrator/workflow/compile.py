"""Compiles everything in a workflow that can hold a reference, and checks what it refers to.

The data may be wrong in any way: whatever is found is reported, and nothing is raised.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestrator.documents.jsonpath import describe
from orchestrator.documents.text import quoted
from orchestrator.documents.validation import problem_of
from orchestrator.errors import Problem
from orchestrator.expressions.references import Compiler
from orchestrator.expressions.scope import ScopeKey
from orchestrator.expressions.templates import EMPTY, Literal, ObjectTemplate, Template, Text
from orchestrator.schema.requests import URI
from orchestrator.workflow import graph as graphs
from orchestrator.workflow.compiled import (
    ArgumentTemplate,
    CompiledFallback,
    CompiledTask,
    CompiledWorkflow,
)
from orchestrator.workflow.fixes import Fixes, as_expression, in_functions, unquoted
from orchestrator.workflow.inputs import check_question, check_schema
from orchestrator.workflow.kinds import check_kind
from orchestrator.workflow.names import Names, Site
from orchestrator.workflow.normalize import task_of, tasks_in
from orchestrator.workflow.product import Product

_ITEM = frozenset({"ITEM", "INDEX"})
_ERROR = frozenset({"ERROR"})
_LAST = frozenset({"LAST"})
_OF_TASKS = frozenset({"OUTPUT", "ITEMS", "STATUS", "ERROR"})


def compile_workflow(workflow: Mapping[str, Any]) -> tuple[CompiledWorkflow, list[Problem]]:
    """Compile a workflow in its canonical form; what is compiled is complete without problems."""
    return _WorkflowCompiler(workflow).run()


class _WorkflowCompiler:
    def __init__(self, workflow: Mapping[str, Any]) -> None:
        self._workflow = workflow
        self._fixes = Fixes()
        self._names = Names(workflow, self._fixes)
        self.problems = self._names.problems
        self.compiled = CompiledWorkflow(dependencies={task: {} for task in self._names.sites})

    def run(self) -> tuple[CompiledWorkflow, list[Problem]]:
        for path, task in tasks_in(self._workflow):
            if isinstance(task, Mapping):
                self._task(Site(path, task_of(task)), task)
        if (output := self._workflow.get("output")) is not None:
            self.compiled.output = self._compile(output, Site(("output",)))[0]
        constants = Compiler()
        for name in ("name", "description", "inputs"):
            constants.compile(self._workflow.get(name), (name,))
        for fault in constants.faults:
            if fault.code == "not_json":  # a reference is plain text there
                self.problems.append(Site(fault.path).problem(fault.code, fault.message))
        for name, schema in self._names.inputs.items():
            if isinstance(schema, Mapping | bool):
                self.problems += check_schema(schema, ("inputs", name))
        self.problems = self._fixes.apply(self.problems, self._workflow)
        self.compiled.graph = graphs.build(self.compiled.dependencies)
        for cycle in graphs.cycles(self.compiled.graph):
            site = self._names.sites[cycle[0]]
            message = f"dependency cycle: {' -> '.join(cycle)}"
            hint = "remove one of these references or depends_on entries"
            self.problems.append(site.problem("cycle", message, hint))
        return self.compiled, self.problems

    def _task(self, site: Site, task: Mapping[str, Any]) -> None:
        try:
            check_kind(task)
        except ValueError as wrong:
            self.problems.append(replace(problem_of(wrong, site.path), task=site.task))
        for name in ("critical", "end_run") if site.is_finally else ():
            if task.get(name):
                message = f"{quoted(name)} has no effect in finally, which runs after the others"
                self.problems.append(site.below(name).problem("wrong_value", message))
        of_item = _ITEM if task.get("for_each") is not None else frozenset()
        of_turn = of_item | (_LAST if isinstance(task.get("repeat"), Mapping) else frozenset())
        compiled = CompiledTask(self._arguments(task, site, of_turn))
        if isinstance(read := task.get("read"), str):
            compiled.arguments = self._uri(read, site.below("read", readable=of_turn))
        if isinstance(ask := task.get("ask"), Mapping):
            compiled.arguments = self._question(ask, site.below("ask"))
        if "approve" in task:
            at = site.below("approve", readable=of_turn)
            self._approval(task["approve"], at, compiled)
        if "value" in task:
            at = site.below("value", readable=of_item)
            compiled.arguments = (self._compile(task["value"], at)[0], ())
        self._conditions(task, site, compiled, of_item, of_turn)
        for position, lock in enumerate(_items(task.get("locks"))):
            self._lock(lock, site.below("locks", position, readable=of_item), compiled)
        compiled.fallback = self._fallback(task, "fallback", site, _ERROR)
        compiled.item_fallback = self._fallback(task, "item_fallback", site, _ERROR | of_item)
        if site.task is not None and self._names.sites[site.task] == site:
            self.compiled.tasks[site.task] = compiled
        for position, needed in enumerate(_items(task.get("depends_on"))):
            if isinstance(needed, str):
                key = ScopeKey("OUTPUT", needed)
                self._check_key(key, needed, site.below("depends_on", position))

    def _conditions(
        self,
        task: Mapping[str, Any],
        site: Site,
        compiled: CompiledTask,
        of_item: frozenset[str],
        of_turn: frozenset[str],
    ) -> None:
        """Whether and how often it calls."""
        if "when" in task:
            compiled.when = self._condition(task["when"], site.below("when"))
        if "item_when" in task:
            at = site.below("item_when", readable=of_item)
            compiled.item_when = self._condition(task["item_when"], at)
        if "for_each" in task:
            self._for_each(task["for_each"], site.below("for_each"), compiled)
        if isinstance(repeat := task.get("repeat"), Mapping):
            at = site.below("repeat", "until", readable=of_turn)
            compiled.until = self._condition(repeat.get("until"), at)
            at = site.below("repeat", "collect", readable=of_turn)
            compiled.collect = self._condition(repeat.get("collect"), at)

    def _fallback(
        self, task: Mapping[str, Any], name: str, site: Site, readable: frozenset[str]
    ) -> CompiledFallback:
        if not isinstance(fallback := task.get(name), Mapping):
            return CompiledFallback()
        value_at = site.below(name, "value", readable=readable)
        value = self._compile(fallback.get("value"), value_at)[0]
        return CompiledFallback(value, self._arguments(fallback, site.below(name), readable))

    def _compile(self, value: Any, site: Site) -> tuple[Template, Compiler]:
        compiler = Compiler()
        template = compiler.compile(value)
        self._collect(compiler, site)
        return template, compiler

    def _arguments(
        self, holder: Mapping[str, Any], site: Site, readable: frozenset[str]
    ) -> ArgumentTemplate:
        if not isinstance(arguments := holder.get("arguments", {}), Mapping):
            return EMPTY, ()
        template, compiler = self._compile(arguments, site.below("arguments", readable=readable))
        return template, tuple(compiler.whole)

    def _uri(self, read: str, site: Site) -> ArgumentTemplate:
        """The argument of a task that reads the resource `server:uri`."""
        server, colon, uri = read.partition(":")
        if "$" in server and colon:
            message = f"expected server:uri, got string {quoted(read, 40)}"
            hint = "write the name of the server; references belong in the URI behind it"
            self.problems.append(site.problem("wrong_value", message, hint))
            return EMPTY, ()
        template, compiler = self._compile(uri, site)
        whole = tuple((URI, *path) for path in compiler.whole)
        return ObjectTemplate(((Literal(URI), template),)), whole

    def _question(self, ask: Mapping[str, Any], site: Site) -> ArgumentTemplate:
        """The arguments of a question: its message, the schema of the answer, and the default."""
        schema = ask.get("schema", {"type": "boolean"})
        members: list[tuple[str, Template]] = [("schema", Literal(schema))]
        if isinstance(schema, Mapping):
            found = check_question(schema, ask, site.path)
            self.problems += (replace(problem, task=site.task) for problem in found)
        if "default" in ask:
            members.append(("default", Literal(ask["default"])))
        message = self._compile(ask.get("message"), site.below("message"))[0]
        named = [("message", message), *members]
        return ObjectTemplate(tuple((Literal(name), value) for name, value in named)), ()

    def _approval(self, approve: Any, site: Site, compiled: CompiledTask) -> None:
        if approve is True:
            compiled.approve = Literal("")
        elif isinstance(approve, Mapping):
            below = site.below("message", readable=site.readable)
            compiled.approve = self._compile(approve.get("message"), below)[0]

    def _condition(self, text: Any, site: Site) -> Template | None:
        """The template of an expression without braces; None if it is always true."""
        if not isinstance(text, str):
            return Literal(False) if text is False else None
        compiler = Compiler()
        condition = compiler.condition(text)
        self._collect(compiler, site)
        return condition

    def _for_each(self, each: Any, at: Site, compiled: CompiledTask) -> None:
        if isinstance(each, str | list):
            compiled.for_each = self._list(each, at)
        elif isinstance(each, Mapping):
            lists = {str(name): self._list(of, at.below(str(name))) for name, of in each.items()}
            compiled.for_each = Product(lists)

    def _list(self, each: Any, at: Site) -> Template:
        template, compiler = self._compile(each, at)
        is_text = isinstance(template, Literal | Text)
        if isinstance(each, str) and is_text and not compiler.faults:
            message = f"expected array or a reference to one, got {describe(each)}"
            hint = "write $OUTPUT[id], $INPUT.name or ${...}, with nothing around it"
            self.problems.append(at.problem("wrong_type", message, hint))
        return template

    def _lock(self, lock: Any, site: Site, compiled: CompiledTask) -> None:
        name = lock
        if isinstance(lock, Mapping):
            name, site = lock.get("name"), site.below("name", readable=site.readable)
        if isinstance(name, str):
            template, compiler = self._compile(name, site)
            read = {key.root for _, found in compiler.found for key in found.places}
            compiled.locks.append((template, not read.isdisjoint(_ITEM)))

    def _collect(self, compiler: Compiler, site: Site) -> None:
        """Report the faults that a compiler found, and check what it read."""
        for fault in compiler.faults:
            at, hint = site.below(*fault.path), self._names.hint(fault.text)
            problem = at.problem(fault.code, fault.message, hint, fault.text)
            self.problems.append(problem)
            plain = unquoted(fault.text)
            for fixed in (plain, as_expression(plain), in_functions(plain)):
                check = Compiler()
                check.compile(fixed)
                if fixed != fault.text and not check.faults:
                    self._fixes.note(problem.path, fault.text, fixed)
        for path, found in compiler.found:
            for key in found.places:
                if key.root not in site.readable or key.name is not None:
                    self._check_key(key, found.text, site.below(*path))

    def _check_key(self, key: ScopeKey, text: str, site: Site) -> None:
        """Check that something exists where `text` reads it, and note the dependency."""
        if (problem := self._names.check(key, text, site)) is not None:
            self.problems.append(problem)
        elif key.root in _OF_TASKS and key.name in self._names.sites and site.task is not None:
            needs = self.compiled.dependencies[site.task]
            needs[key.name] = needs.get(key.name, False) or not site.is_fallback


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
