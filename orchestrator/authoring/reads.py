"""What a plan says about where the arguments of its calls come from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import EllipsisType
from typing import NamedTuple, Self

from orchestrator.calls.call import Call
from orchestrator.documents.jsonpath import Path
from orchestrator.expressions.jmespath import Expression
from orchestrator.expressions.scope import Reference
from orchestrator.expressions.templates import (
    EMPTY,
    ListTemplate,
    Literal,
    ObjectTemplate,
    Template,
    Text,
)
from orchestrator.workflow.plan import CallTemplate, Plan, TaskPlan
from orchestrator.workflow.product import Product

_ITEM = re.compile(r"\[\d+\]")
_STEP = re.compile(r"([^/\[]+)(?:\[(\d+)\])?")


Steps = tuple[str | int | EllipsisType, ...]
_ANY: Steps = (...,)


class Read(NamedTuple):
    """A task of which something is read, and the place in its output."""

    task: str  # as `outer[0]/inner`, without the number of an item that is unknown
    path: Steps  # ends with `...` where what is read below is unknown


@dataclass(frozen=True, slots=True)
class Planned:
    """Where a call stands in the plan of its run, and what the arguments read there.

    Attributes:
        run: The id of the run.
        task: The task, as `outer[0]/inner`.
        item: The item of its `for_each`; None without one.
        reads: What is read, by the path of the argument; nothing else there is a reference.
        grew: Whether tasks were added while the run went on: they may repeat what was seen of it.
    """

    run: str
    task: str
    item: int | None
    reads: Mapping[Path, tuple[Read, ...]]
    grew: bool = False

    def at(self, path: Path) -> tuple[Read, ...]:
        """What the argument at a path reads, and whatever lies in it."""
        found: list[Read] = []
        for place, reads in self.reads.items():
            depth = len(place)
            if path[:depth] == place:
                below = path[depth:]
                found += (Read(each.task, _and(each.path, below)) for each in reads)
            elif place[: len(path)] == path:
                found += (Read(each.task, _ANY) for each in reads)
        return tuple(found)

    def gives(self, read: Read, path: Path) -> int:
        """Whether a read is of a place in the answer to this call: 0 no, 1 maybe, 2 just that."""
        whole = path if self.item is None else (self.item, *path)
        own, others = self.task.split("/"), read.task.split("/")
        if len(own) != len(others):
            return 0
        for here, step in zip(own, others, strict=True):
            if step not in (here, without_items(here)):
                return 0
        return 2 if read.path == whole else 1

    def below(self, read: Read) -> Path | None:
        """The place in the answer to this call that a read is of; None if it is of none."""
        at = () if self.item is None else (self.item,)
        below = tuple(step for step in read.path if step is not ...)
        is_known = len(below) == len(read.path) and below[: len(at)] == at
        return below[len(at) :] if is_known else None


def without_items(task: str) -> str:
    """The name of a task without the numbers of items: `outer/inner` for `outer[0]/inner`."""
    return _ITEM.sub("", task)


def planned(plan: Plan, call: Call, run: str, *, grew: bool = False) -> Planned:
    """Where a call of a run stands in its plan."""
    names, _, last = call.task.rpartition("/")
    level: _Level | None = None
    seen = set[tuple[str, Steps]]()
    for name, item in _STEP.findall(names):
        level = _Level.of(plan, name, int(item) if item else None, level, seen)
        assert level.task.inner is not None
        plan = level.task.inner.plan
    level = _Level.of(plan, last, call.item, level, seen)
    template = level.arguments_of(call)
    reads = dict[Path, tuple[Read, ...]]()
    for path, each in _leaves(template, ()):
        seen.clear()
        reads[path] = tuple(level.all_in(each))
    return Planned(run, call.task, call.item, reads, grew)


@dataclass(frozen=True, slots=True)
class _Level:
    """A task of a plan, and the task around that, if its plan is an inner one."""

    plan: Plan
    task: TaskPlan
    item: int | None
    prefix: str  # of the paths of the tasks in its plan
    outer: _Level | None
    seen: set[tuple[str, Steps]]  # outputs that were followed: values can fan out

    @classmethod
    def of(
        cls,
        plan: Plan,
        name: str,
        item: int | None,
        outer: Self | None,
        seen: set[tuple[str, Steps]],
    ) -> Self:
        prefix = "" if outer is None else f"{outer.where}/"
        return cls(plan, plan.tasks[name], item, prefix, outer, seen)

    @property
    def path(self) -> str:
        return self.prefix + self.task.id

    @property
    def where(self) -> str:
        return self.path if self.item is None else f"{self.path}[{self.item}]"

    def arguments_of(self, call: Call) -> Template:
        policies = self.task.policies
        if not call.is_fallback:
            return self.task.arguments
        fallback = policies.fallback if call.item is None else policies.item_fallback
        return fallback.arguments if isinstance(fallback, CallTemplate) else EMPTY

    def at(self, name: str) -> _Level:
        """The same for another task of the plan."""
        return _Level(self.plan, self.plan.tasks[name], None, self.prefix, self.outer, self.seen)

    def all_in(self, template: Template | Product, path: Steps = ()) -> Iterator[Read]:
        """What a template reads for the place in its value."""
        if isinstance(template, Product):
            for each in template.lists.values():
                yield from self.all_in(each, _ANY)
            return
        found, below = _descend(template, path)
        match found:
            case Reference():
                root, name = found.root, found.name
                yield from self._read(root, name, _and(found.path, below))
            case Expression():
                for place in found.places:
                    yield from self._read(place.root, place.name, _ANY)
            case Text(parts):
                for part in parts:
                    if not isinstance(part, str):
                        yield from self.all_in(part)
            case ListTemplate(items):
                for each in items:
                    yield from self.all_in(each, _ANY)
            case ObjectTemplate(members):
                for key, each in members:
                    yield from self.all_in(key, _ANY)
                    yield from self.all_in(each, _ANY)

    def _read(self, root: str, name: str | None, path: Steps) -> Iterator[Read]:
        match root:
            case "OUTPUT" | "ITEMS" if name is not None:
                yield from self._output(name, path if root == "OUTPUT" else _ANY)
            case "INPUT" if self.outer is not None and name is not None:
                yield from self.outer.all_in(self.outer.task.arguments, (name, *path))
            case "ITEM" if (items := self.task.policies.for_each) is not None:
                yield from self.all_in(items, _ANY if self.item is None else (self.item, *path))
            case "LAST":
                yield Read(self.path, _ANY)

    def _output(self, name: str, path: Steps) -> Iterator[Read]:
        level = self.at(name)
        key = level.path, path
        if key in self.seen:
            return
        self.seen.add(key)
        task, policies = level.task, level.task.policies
        for fallback in (policies.fallback, policies.item_fallback):
            if fallback is not None and not isinstance(fallback, CallTemplate):
                yield from level.all_in(fallback, _ANY)
        if task.kind == "tool":
            yield Read(level.path, path)
            return
        item: int | None = None
        if policies.for_each is not None:
            first = next(iter(path), ...)
            item = first if isinstance(first, int) else None
            path = _ANY if item is None else path[1:]
        if task.kind == "value":
            of_item = _Level(self.plan, task, item, self.prefix, self.outer, self.seen)
            yield from of_item.all_in(task.arguments, path)
        elif task.inner is not None:
            yield from _inner(
                _Level(self.plan, task, item, self.prefix, self.outer, self.seen), path
            )


def _inner(outer: _Level, path: Steps) -> Iterator[Read]:
    """What the output of an inner workflow reads for a place in it."""
    assert outer.task.inner is not None
    plan = outer.task.inner.plan
    first = next(iter(plan.tasks.values()))
    level = _Level(plan, first, None, f"{outer.where}/", outer, outer.seen)
    if plan.output is not None:
        yield from level.all_in(plan.output, path)
        return
    named = next(iter(path), ...)
    for sink in plan.sinks:
        if named in (..., sink):
            yield from level._output(sink, _ANY if named is ... else path[1:])


def _and(path: Steps, below: Steps) -> Steps:
    return path if path[-1:] == _ANY else path + below


def _descend(template: Template, path: Steps) -> tuple[Template, Steps]:
    """The template of the place in a value, and the rest of the path below that."""
    while path not in ((), _ANY) and isinstance(template, ListTemplate | ObjectTemplate):
        step, inside = path[0], template
        if isinstance(inside, ListTemplate):
            is_there = isinstance(step, int) and step < len(inside.items)
            template = inside.items[step] if is_there else EMPTY  # type: ignore[index]
        else:
            named = {name.value: each for name, each in inside.members if isinstance(name, Literal)}
            if len(named) < len(inside.members) and step not in named:
                return template, _ANY  # one of the names is a reference
            template = named.get(step, EMPTY)
        path = path[1:]
    return template, path


def _leaves(template: Template, path: Path) -> Iterator[tuple[Path, Template]]:
    """The parts of a template that are references, with their paths in its value."""
    match template:
        case Literal():
            return
        case ListTemplate(items):
            for at, each in enumerate(items):
                yield from _leaves(each, (*path, at))
        case ObjectTemplate(members) if all(isinstance(name, Literal) for name, _ in members):
            for name, each in members:
                yield from _leaves(each, (*path, name.value))  # type: ignore[union-attr]
        case _:
            yield path, template
