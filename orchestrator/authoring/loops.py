"""Finds calls of one tool that do the same for each item of a list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.authoring.origins import Mixed, Ref
from orchestrator.authoring.transcript import ToolCall
from orchestrator.documents.jsonpath import Path, follow

MIN_LITERALS = 3  # two calls may differ in one text by chance


class Item:
    """The item of a for_each, or a place in it."""

    def __init__(self, path: Path = ()) -> None:
        self.path = path


@dataclass(slots=True)
class Step:
    """A task to be: one call, or many that are one for_each.

    Attributes:
        calls: The numbers of its calls.
        arguments: With references, and `Item` where a for_each has its item.
        each: The list of a for_each: a `Ref`, or the values themselves; None for a single call.
    """

    calls: list[int]
    arguments: Any
    each: Ref | list[Any] | None = None


def find_loops(calls: Sequence[ToolCall], arguments: Sequence[Any]) -> list[Step]:
    """The steps of a workflow, in the order of their first calls."""
    steps, taken = list[Step](), set[int]()
    for number, call in enumerate(calls):
        if number in taken:
            continue
        same = [n for n in range(number, len(calls)) if calls[n].tool == call.tool]
        step = _longest(calls, arguments, [n for n in same if n not in taken])
        taken.update(step.calls)
        steps.append(step)
    return steps


def _longest(calls: Sequence[ToolCall], arguments: Sequence[Any], same: list[int]) -> Step:
    """The longest loop that begins with the first of these calls."""
    for count in range(len(same), 1, -1):
        group = same[:count]
        if any(ref.call in group for n in group for ref in refs_in(arguments[n])):
            continue
        holes = _holes([arguments[n] for n in group])
        if not holes:
            continue
        step = _over_result(calls, group, holes) or _over_values(group, holes)
        if step is not None:
            step.arguments = _filled(arguments[group[0]], step, holes)
            return step
    return Step(same[:1], arguments[same[0]])


def refs_in(value: Any) -> Iterator[Ref]:
    """All references in arguments."""
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, Mixed):
        yield from (part for part in value.parts if isinstance(part, Ref))
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from refs_in(each)


def _holes(variants: list[Any]) -> dict[Path, list[Any]] | None:
    """Where arguments differ, with the value of each; None if they have another form."""
    first = variants[0]
    if all(type(each) is type(first) and each == first for each in variants):
        return {}
    if all(isinstance(each, dict) and each.keys() == first.keys() for each in variants):
        found = dict[Path, list[Any]]()
        for name in first:
            inside = _holes([each[name] for each in variants])
            if inside is None:
                return None
            found |= {(name, *path): values for path, values in inside.items()}
        return found
    return (
        None if any(isinstance(each, dict | list | Mixed) for each in variants) else {(): variants}
    )


def _over_result(
    calls: Sequence[ToolCall], group: list[int], holes: dict[Path, list[Any]]
) -> Step | None:
    """A loop over a list in a result, all of whose items are taken in their order."""
    variants = next(iter(holes.values()))
    if not all(isinstance(ref, Ref) and ref.each is None for ref in variants):
        return None
    for at, step in enumerate(variants[0].path):
        each = Ref(variants[0].call, variants[0].path[:at])
        if step == 0 and all(map(_takes_items(each), holes.values())):
            items = follow(calls[each.call].result, each.path)
            if isinstance(items, list) and len(items) == len(group):
                return Step(group, None, each)
    return None


def _takes_items(each: Ref) -> Any:
    at = len(each.path)

    def takes(variants: list[Any]) -> bool:
        return all(
            isinstance(ref, Ref)
            and ref.call == each.call
            and ref.path[:at] == each.path
            and ref.path[at : at + 1] == (number,)
            and ref.path[at + 1 :] == variants[0].path[at + 1 :]
            for number, ref in enumerate(variants)
        )

    return takes


def _over_values(group: list[int], holes: dict[Path, list[Any]]) -> Step | None:
    """A loop over values of the first call's time: an input."""
    variants = next(iter(holes.values()))
    is_plain = all(isinstance(each, str | int | float) for each in variants)
    if len(holes) == 1 and is_plain and len(group) >= MIN_LITERALS:
        return Step(group, None, variants)
    return None


def _filled(arguments: Any, step: Step, holes: dict[Path, list[Any]], path: Path = ()) -> Any:
    if path in holes:
        return Item(arguments.path[len(step.each.path) + 1 :] if isinstance(step.each, Ref) else ())
    if isinstance(arguments, dict):
        return {name: _filled(each, step, holes, (*path, name)) for name, each in arguments.items()}
    return arguments
