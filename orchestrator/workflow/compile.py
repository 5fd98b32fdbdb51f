"""Compiles everything in a workflow that can hold a reference, and checks what it refers to.

The data may be wrong in any way: whatever is found is reported, and nothing is raised.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.documents.jsonpath import Path, describe
from orchestrator.documents.pointer import pointer
from orchestrator.documents.suggest import certain, nearest
from orchestrator.documents.text import listed, quoted
from orchestrator.documents.validation import MissingFieldError
from orchestrator.errors import Code, Problem
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
from orchestrator.workflow.fixes import (
    ITEM_HINTS,
    Fixes,
    as_expression,
    in_functions,
    piece_of,
    unquoted,
)
from orchestrator.workflow.inputs import check_schema
from orchestrator.workflow.kinds import check_kind
from orchestrator.workflow.normalize import task_of
from orchestrator.workflow.product import Product

MAX_SUGGESTIONS = 25
_FIRST_NAME = re.compile(r"\$\{\s*([A-Za-z][\w-]*)((?:\.[A-Za-z_]\w*|\[-?\d+\])*)")
_ITEM = frozenset({"ITEM", "INDEX"})
_ERROR = frozenset({"ERROR"})
_LAST = frozenset({"LAST"})


@dataclass(frozen=True, slots=True)
class _Site:
    """Where a value is: its path, its task, and the roots without a name that it can read."""

    path: Path
    task: str | None = None
    readable: frozenset[str] = frozenset()

    @property
    def is_fallback(self) -> bool:
        return self.path[2:3] in (("fallback",), ("item_fallback",))

    def below(self, *steps: str | int, readable: frozenset[str] = frozenset()) -> _Site:
        return replace(self, path=(*self.path, *steps), readable=readable)

    def problem(self, code: Code, message: str, hint: str = "", text: str = "") -> Problem:
        return Problem(code, message, pointer(*self.path), self.task, (), hint, text=text)


def compile_workflow(workflow: Mapping[str, Any]) -> tuple[CompiledWorkflow, list[Problem]]:
    """Compile a workflow in its canonical form; what is compiled is complete without problems."""
    return _WorkflowCompiler(workflow).run()


class _WorkflowCompiler:
    def __init__(self, workflow: Mapping[str, Any]) -> None:
        tasks, inputs = workflow.get("tasks"), workflow.get("inputs")
        self.compiled = CompiledWorkflow()
        self.problems: list[Problem] = []
        self._workflow = workflow
        self._tasks = tasks if isinstance(tasks, list) else []
        self._inputs: Mapping[str, Any] = inputs if isinstance(inputs, Mapping) else {}
        self._ids: dict[str, int] = {}
        self._no_ids: set[str] = set()  # of tasks whose ids are no strings
        self._suggestions = MAX_SUGGESTIONS
        self._fixes = Fixes()

    def run(self) -> tuple[CompiledWorkflow, list[Problem]]:
        self._index_tasks()
        for index, task in enumerate(self._tasks):
            if isinstance(task, Mapping):
                self._task(index, task)
        if (output := self._workflow.get("output")) is not None:
            self.compiled.output = self._compile(output, _Site(("output",)))[0]
        constants = Compiler()
        for name in ("name", "description", "inputs"):
            constants.compile(self._workflow.get(name), (name,))
        for fault in constants.faults:
            if fault.code == "not_json":  # a reference is plain text there
                self.problems.append(_Site(fault.path).problem(fault.code, fault.message))
        for name, schema in self._inputs.items():
            if isinstance(schema, Mapping | bool):
                self.problems += check_schema(schema, ("inputs", name))
        self.problems = self._fixes.apply(self.problems, self._workflow)
        self.compiled.graph = graphs.build(self.compiled.dependencies)
        for cycle in graphs.cycles(self.compiled.graph):
            site = _Site(("tasks", self._ids[cycle[0]]), cycle[0])
            message = f"dependency cycle: {' -> '.join(cycle)}"
            hint = "remove one of these references or depends_on entries"
            self.problems.append(site.problem("cycle", message, hint))
        return self.compiled, self.problems

    def _index_tasks(self) -> None:
        for index, task in enumerate(self._tasks):
            identifier = task_of(task)
            if identifier is None:
                if isinstance(task, Mapping):  # a number is an error of its own
                    self._no_ids.add(str(task.get("id")))
                continue
            if identifier in self._ids:
                number = self._ids[identifier] + 1
                message = f"duplicate id {quoted(identifier)}, already used by task number {number}"
                site = _Site(("tasks", index, "id"), identifier)
                self.problems.append(site.problem("duplicate_id", message))
            else:
                self._ids[identifier] = index
                self.compiled.dependencies[identifier] = {}

    def _task(self, index: int, task: Mapping[str, Any]) -> None:
        identifier = task_of(task)
        site = _Site(("tasks", index), identifier)
        try:
            check_kind(task)
        except MissingFieldError as missing:
            message, at = f"missing field {quoted(str(missing))}", site.below(str(missing))
            self.problems.append(at.problem("missing_field", message))
        except ValueError as wrong:
            self.problems.append(site.problem("wrong_value", str(wrong)))
        of_item = _ITEM if task.get("for_each") is not None else frozenset()
        of_turn = of_item | (_LAST if isinstance(task.get("repeat"), Mapping) else frozenset())
        compiled = CompiledTask(self._arguments(task, site, of_turn))
        if isinstance(read := task.get("read"), str):
            compiled.arguments = self._uri(read, site.below("read", readable=of_turn))
        if "value" in task:
            at = site.below("value", readable=of_item)
            compiled.arguments = (self._compile(task["value"], at)[0], ())
        compiled.when = self._condition(task.get("when"), site.below("when"))
        at = site.below("item_when", readable=of_item)
        compiled.item_when = self._condition(task.get("item_when"), at)
        self._for_each(task, site, compiled)
        if isinstance(repeat := task.get("repeat"), Mapping):
            at = site.below("repeat", "until", readable=of_turn)
            compiled.until = self._condition(repeat.get("until"), at)
            at = site.below("repeat", "collect", readable=of_turn)
            compiled.collect = self._condition(repeat.get("collect"), at)
        for position, lock in enumerate(_items(task.get("locks"))):
            self._lock(lock, site.below("locks", position, readable=of_item), compiled)
        compiled.fallback = self._fallback(task, "fallback", site, _ERROR)
        compiled.item_fallback = self._fallback(task, "item_fallback", site, _ERROR | of_item)
        if identifier is not None and self._ids[identifier] == index:
            self.compiled.tasks[identifier] = compiled
        for position, needed in enumerate(_items(task.get("depends_on"))):
            if isinstance(needed, str):
                key = ScopeKey("OUTPUT", needed)
                self._check_key(key, needed, site.below("depends_on", position))

    def _fallback(
        self, task: Mapping[str, Any], name: str, site: _Site, readable: frozenset[str]
    ) -> CompiledFallback:
        if not isinstance(fallback := task.get(name), Mapping):
            return CompiledFallback()
        value_at = site.below(name, "value", readable=readable)
        value = self._compile(fallback.get("value"), value_at)[0]
        return CompiledFallback(value, self._arguments(fallback, site.below(name), readable))

    def _compile(self, value: Any, site: _Site) -> tuple[Template, Compiler]:
        compiler = Compiler()
        template = compiler.compile(value)
        self._collect(compiler, site)
        return template, compiler

    def _arguments(
        self, holder: Mapping[str, Any], site: _Site, readable: frozenset[str]
    ) -> ArgumentTemplate:
        if not isinstance(arguments := holder.get("arguments", {}), Mapping):
            return EMPTY, ()
        template, compiler = self._compile(arguments, site.below("arguments", readable=readable))
        return template, tuple(compiler.whole)

    def _uri(self, read: str, site: _Site) -> ArgumentTemplate:
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

    def _condition(self, text: Any, site: _Site) -> Template | None:
        """The template of an expression without braces; None if it is always true."""
        if not isinstance(text, str):
            return Literal(False) if text is False else None
        compiler = Compiler()
        condition = compiler.condition(text)
        self._collect(compiler, site)
        return condition

    def _for_each(self, task: Mapping[str, Any], site: _Site, compiled: CompiledTask) -> None:
        each, at = task.get("for_each"), site.below("for_each")
        if isinstance(each, str | list):
            compiled.for_each = self._list(each, at)
        elif isinstance(each, Mapping):
            lists = {str(name): self._list(of, at.below(str(name))) for name, of in each.items()}
            compiled.for_each = Product(lists)

    def _list(self, each: Any, at: _Site) -> Template:
        template, compiler = self._compile(each, at)
        is_text = isinstance(template, Literal | Text)
        if isinstance(each, str) and is_text and not compiler.faults:
            message = f"expected array or a reference to one, got {describe(each)}"
            hint = "write $OUTPUT[id], $INPUT.name or ${...}, with nothing around it"
            self.problems.append(at.problem("wrong_type", message, hint))
        return template

    def _lock(self, lock: Any, site: _Site, compiled: CompiledTask) -> None:
        name = lock
        if isinstance(lock, Mapping):
            name, site = lock.get("name"), site.below("name", readable=site.readable)
        if isinstance(name, str):
            template, compiler = self._compile(name, site)
            read = {key.root for _, found in compiler.found for key in found.places}
            compiled.locks.append((template, not read.isdisjoint(_ITEM)))

    def _collect(self, compiler: Compiler, site: _Site) -> None:
        """Report the faults that a compiler found, and check what it read."""
        for fault in compiler.faults:
            at, hint = site.below(*fault.path), self._hint(fault.text)
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

    def _hint(self, text: str) -> str:
        """What a malformed reference may have been meant as."""
        name = _FIRST_NAME.match(text)
        if name is not None and name[1].casefold() in ("env", "process"):
            return "environment variables are only read in servers.toml: declare an input instead"
        if name is not None and name[1] in self._ids:
            return f"for the output of task {quoted(name[1])}, write $OUTPUT[{name[1]}]{name[2]}"
        return ""

    def _check_key(self, key: ScopeKey, text: str, site: _Site) -> None:
        """Check that something exists where `text` reads it, and note the dependency."""
        match key.root:
            case "OUTPUT" | "STATUS" | "ERROR" if key.name is not None:
                if key.name not in self._ids:
                    if key.name in self._no_ids:
                        return
                    self._unknown("task", key, text, site, self._ids)
                elif key.name == site.task:
                    message = f"{quoted(text)} refers to its own task: {site.task} -> {site.task}"
                    self.problems.append(site.problem("self_reference", message, text=text))
                elif site.task is not None:
                    needs = self.compiled.dependencies[site.task]
                    needs[key.name] = needs.get(key.name, False) or not site.is_fallback
            case "INPUT" if key.name is not None and key.name not in self._inputs:
                self._unknown("input", key, text, site, self._inputs)
            case "ITEM" | "INDEX":
                message = f"{quoted(text)} is only readable for an item of a for_each"
                field = str(site.path[2]) if site.path[0] == "tasks" else ""
                hint = ITEM_HINTS.get(field, "")
                self.problems.append(site.problem("no_item_here", message, hint, text))
            case "LAST":
                message = f"{quoted(text)} is only readable in a task with repeat"
                hint = "in its arguments, until and collect"
                self.problems.append(site.problem("no_answer_here", message, hint, text))
            case "ERROR" if key.name is None:
                message = f"{quoted(text)} without a task id is only readable in a fallback"
                hint = "name a task: $ERROR[id]"
                self.problems.append(site.problem("no_error_here", message, hint, text))

    def _unknown(
        self, what: str, key: ScopeKey, text: str, site: _Site, known: Mapping[str, Any]
    ) -> None:
        name = str(key.name)
        self._suggestions -= 1  # comparing each name with all others would be quadratic
        near = nearest(name, known) if self._suggestions >= 0 else ()
        all_known = f"{what}s: {listed(known, 10)}" if known else f"the workflow has no {what}s"
        piece, form = (name, "{name}") if text == name else piece_of(text, key.root, name)
        code: Code = "unknown_task" if what == "task" else "unknown_input"
        message = f"unknown {what} {quoted(name)}" + (f" in {quoted(text)}" if text != name else "")
        problem = site.problem(code, message, "" if near else all_known, piece or text)
        self.problems.append(replace(problem, alternatives=near))
        if (meant := certain(name, near)) not in (None, site.task) and piece:
            self._fixes.note(problem.path, piece, form.format(name=meant))


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
