"""Everything that can be known to be wrong with a workflow before a server is asked.

The rule of this file: it reads data that may be wrong in any way, raises nothing, and reports all
that it finds at once. What it compiles on the way is kept for the plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from orchestrator.documents.jsonpath import Path
from orchestrator.documents.pointer import pointer
from orchestrator.documents.suggest import certain, nearest
from orchestrator.errors import Code, Problem
from orchestrator.expressions.references import Compiler, ReferenceSyntaxError, split
from orchestrator.expressions.scope import Reference, ScopeKey
from orchestrator.expressions.templates import EMPTY, Computed, Literal, Template, Text
from orchestrator.workflow import graph as graphs
from orchestrator.workflow.fixes import Fixes, as_expression, piece_of, unquoted
from orchestrator.workflow.normalize import task_of
from orchestrator.workflow.plan import Checked, CompiledTask

MAX_SUGGESTIONS = 25
_NOTHING_MORE: frozenset[str] = frozenset()
_ITEM = frozenset({"ITEM", "INDEX"})
_ERROR = frozenset({"ERROR"})


def check(workflow: Mapping[str, Any]) -> tuple[Checked, list[Problem]]:
    """Check all that a workflow refers to. The data may be wrong in any way; nothing is raised."""
    checker = _Checker(workflow)
    checker.run()
    return checker.checked, checker.problems


class _Checker:
    def __init__(self, workflow: Mapping[str, Any]) -> None:
        tasks = workflow.get("tasks")
        self.workflow = workflow
        self.tasks = tasks if isinstance(tasks, list) else []
        inputs = workflow.get("inputs")
        self.inputs: Mapping[str, Any] = inputs if isinstance(inputs, Mapping) else {}
        self.checked = Checked()
        self.problems: list[Problem] = []
        self.ids: dict[str, int] = {}
        self.suggestions = MAX_SUGGESTIONS
        self.mends = Fixes()

    def run(self) -> None:
        self._index_tasks()
        for index, task in enumerate(self.tasks):
            if isinstance(task, Mapping):
                self._task(index, task)
        if self.workflow.get("output") is not None:
            self._output(self.workflow["output"])
        for name in ("name", "description", "inputs"):
            self._must_be_json(self.workflow.get(name), (name,))
        self.problems += input_problems(self.inputs)
        self.problems = self.mends.apply(self.problems, self.workflow)
        self.checked.graph = graphs.build(self.checked.dependencies)
        for cycle in graphs.cycles(self.checked.graph):
            where = pointer("tasks", self.ids[cycle[0]])
            message = f"these tasks wait for each other: {' -> '.join(cycle)}"
            hint = "take one of the references or depends_on away"
            self.problems.append(Problem("cycle", message, where, cycle[0], (), hint))

    def _index_tasks(self) -> None:
        for index, task in enumerate(self.tasks):
            identifier = task_of(task)
            if identifier is None:
                continue
            if identifier in self.ids:
                message = (
                    f"the id {identifier!r} is taken by task number {self.ids[identifier] + 1}"
                )
                where = pointer("tasks", index, "id")
                self.problems.append(Problem("duplicate_id", message, where, identifier))
            else:
                self.ids[identifier] = index
                self.checked.dependencies[identifier] = {}

    def _task(self, index: int, task: Mapping[str, Any]) -> None:
        identifier = task_of(task)
        at: Path = ("tasks", index)
        item = _ITEM if task.get("for_each") is not None else _NOTHING_MORE
        compiled = CompiledTask()
        compiled.arguments, compiled.whole = self._arguments(task, at, identifier, item)
        self._conditions(task, at, identifier, compiled)
        self._locks(task, at, identifier, compiled, item)
        if isinstance(fallback := task.get("fallback"), Mapping):
            self._fallback(fallback, (*at, "fallback"), identifier, compiled)
        if identifier is not None and self.ids[identifier] == index:
            self.checked.compiled[identifier] = compiled
        needs = task.get("depends_on", [])
        for position, needed in enumerate(needs if isinstance(needs, list) else []):
            if isinstance(needed, str):
                place = ScopeKey("OUTPUT", needed)
                self._place(place, needed, (*at, "depends_on", position), identifier)

    def _arguments(
        self, holder: Mapping[str, Any], at: Path, task: str | None, more: frozenset[str]
    ) -> tuple[Template, tuple[Path, ...]]:
        arguments = holder.get("arguments", {})
        if not isinstance(arguments, Mapping):
            return EMPTY, ()
        compiler = Compiler()
        template = compiler.compile(arguments)
        self._references(compiler, (*at, "arguments"), task, more)
        return template, tuple(compiler.whole)

    def _conditions(
        self, task: Mapping[str, Any], at: Path, identifier: str | None, compiled: CompiledTask
    ) -> None:
        when, each = task.get("when", True), task.get("for_each")
        if isinstance(when, str):
            compiler = Compiler()
            compiled.when = compiler.condition(when)
            self._references(compiler, (*at, "when"), identifier)
        elif when is False:
            compiled.when = Literal(False)
        if isinstance(each, str | list):
            compiler = Compiler()
            compiled.for_each = compiler.compile(each)
            self._references(compiler, (*at, "for_each"), identifier)
            if isinstance(each, str) and isinstance(compiled.for_each, Literal | Text):
                self._no_list(each, pointer(*at, "for_each"), identifier, compiler)

    def _no_list(self, text: str, where: str, task: str | None, compiler: Compiler) -> None:
        if not compiler.faults:
            message = f"for_each has to be a list, or a reference to one; {text[:60]!r} is text"
            hint = "write $OUTPUT[id], $INPUT.name or ${...}, and nothing around it"
            self.problems.append(Problem("wrong_type", message, where, task, (), hint))

    def _locks(
        self,
        task: Mapping[str, Any],
        at: Path,
        identifier: str | None,
        compiled: CompiledTask,
        item: frozenset[str],
    ) -> None:
        locks = task.get("locks", [])
        for position, lock in enumerate(locks if isinstance(locks, list) else []):
            name = lock.get("name") if isinstance(lock, Mapping) else lock
            if isinstance(name, str):
                below = ("name",) if isinstance(lock, Mapping) else ()
                compiler = Compiler()
                template = compiler.compile(name)
                read = {place.root for _, found in compiler.found for place in found.places}
                compiled.locks.append((template, not read.isdisjoint(_ITEM)))
                self._references(compiler, (*at, "locks", position, *below), identifier, item)

    def _fallback(
        self, fallback: Mapping[str, Any], at: Path, task: str | None, compiled: CompiledTask
    ) -> None:
        compiler = Compiler()
        compiled.fallback_value = compiler.compile(fallback.get("value"))
        self._references(compiler, (*at, "value"), task, _ERROR)
        template, whole = self._arguments(fallback, at, task, _ERROR)
        compiled.fallback_arguments, compiled.fallback_whole = template, whole

    def _output(self, output: Any) -> None:
        compiler = Compiler()
        self.checked.output = compiler.compile(output)
        self._references(compiler, ("output",), None)

    def _references(
        self,
        compiler: Compiler,
        at: Path,
        task: str | None,
        more: frozenset[str] = _NOTHING_MORE,
    ) -> None:
        """Note what was found; `more` are the roots that mean something here beyond the usual."""
        for fault in compiler.faults:
            where = pointer(*at, *fault.path)
            problem = Problem(fault.code, fault.message, where, task, text=fault.text)
            self.problems.append(problem)
            for mended in (unquoted(fault.text), as_expression(unquoted(fault.text))):
                if mended != fault.text and _is_right(mended):
                    self.mends.note(where, fault.text, mended)
        for path, found in compiler.found:
            for place in found.places:
                if place.root not in more or place.name is not None:
                    self._place(place, found, (*at, *path), task)

    def _must_be_json(self, value: Any, at: Path) -> None:
        compiler = Compiler()
        compiler.compile(value)
        faults = [fault for fault in compiler.faults if fault.code == "not_json"]
        self.problems += [
            Problem(fault.code, fault.message, pointer(*at, *fault.path)) for fault in faults
        ]

    def _place(
        self, place: ScopeKey, found: Reference | Computed | str, at: Path, task: str | None
    ) -> None:
        text = found if isinstance(found, str) else found.text
        where = pointer(*at)
        match place.root:
            case "OUTPUT" | "STATUS" | "ERROR" if place.name is not None:
                if place.name not in self.ids:
                    message = f"{text!r} names a task {place.name!r} that does not exist"
                    self._unknown("unknown_task", message, place, text, self.ids, where, task)
                elif place.name == task:
                    message = f"{text!r} is a reference of the task to itself: {task} -> {task}"
                    problem = Problem("self_reference", message, where, task, text=text)
                    self.problems.append(problem)
                elif task is not None:
                    self.checked.dependencies[task][place.name] = None
            case "INPUT" if place.name is not None and place.name not in self.inputs:
                message = f"{text!r} names an input {place.name!r} that is not declared"
                self._unknown("unknown_input", message, place, text, self.inputs, where, task)
            case "ITEM" | "INDEX":
                message = (
                    f"{text!r} means something only in the arguments and locks of a task with "
                    "for_each"
                )
                hint = "to leave items out, filter the list: ${OUTPUT[id][?field > 1]}"
                problem = Problem("no_item_here", message, where, task, (), hint, text=text)
                self.problems.append(problem)
            case "ERROR" if place.name is None:
                message = f"{text!r} without a task means something only in a fallback"
                hint = "name a task: $ERROR[id]"
                problem = Problem("no_error_here", message, where, task, (), hint, text=text)
                self.problems.append(problem)

    def _unknown(
        self,
        code: Code,
        message: str,
        place: ScopeKey,
        text: str,
        known: Mapping[str, Any],
        where: str,
        task: str | None,
    ) -> None:
        assert place.name is not None
        name = place.name
        self.suggestions -= 1
        near = nearest(name, known) if self.suggestions >= 0 else ()
        kind = "tasks" if code == "unknown_task" else "inputs"
        listed = ", ".join(islice(known, 10)) + (", ..." if len(known) > 10 else "")
        hint = "" if near else f"{kind}: {listed}" if known else f"the workflow has no {kind}"
        piece, form = (name, "{name}") if text == name else piece_of(text, place.root, name)
        problem = Problem(code, message, where, task, near, hint, text=piece or text)
        self.problems.append(problem)
        if (meant := certain(name, near)) not in (None, task) and piece:
            self.mends.note(where, piece, form.format(name=meant))


def _is_right(text: str) -> bool:
    """Whether every reference in a text is well-formed."""
    try:
        list(split(text))
    except ReferenceSyntaxError:
        return False
    return True


def input_problems(declared: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with the schemas of the inputs, and with defaults that do not fit them."""
    from orchestrator.workflow.inputs import check_schema

    for name, schema in declared.items():
        if isinstance(schema, Mapping | bool):
            yield from check_schema(schema, ("inputs", name))
