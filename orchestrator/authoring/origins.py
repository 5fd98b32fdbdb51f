"""Finds where the values in the arguments of calls came from: results of earlier calls.

A few lines longer than other files: all kinds of origin are weighed against each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from orchestrator.authoring.reads import without_items
from orchestrator.authoring.transcript import ToolCall
from orchestrator.documents.jsonpath import Path, PlaceMissingError, follow
from orchestrator.schema.tool import canonical_json

# Shorter texts and smaller numbers are in many results by chance.
MIN_TEXT, MIN_INSIDE, MIN_NUMBER = 3, 4, 10
COMMON = frozenset({"true", "false", "null", "none", "yes", "success", "error", "done"})
POSSIBLE, READ = 1, 2  # an equal value; one of a task that the plan reads there, or more
MAX_PARTS = 200  # earlier texts that are looked for inside of one argument


@dataclass(frozen=True, slots=True)
class Ref:
    """A place in the result of a call; in an expression with `each`, of all items there."""

    call: int
    path: Path
    each: Path | None = None  # what is taken of each item of the list there


@dataclass(frozen=True, slots=True)
class Mixed:
    """A text with references in it."""

    parts: tuple[str | Ref, ...]


@dataclass(frozen=True, slots=True)
class Doubt:
    """An argument whose value is in several results.

    Attributes:
        call: The call that it is an argument of.
        path: The argument.
        taken: The place that is taken for its origin.
        others: The other places.
    """

    call: int
    path: Path
    taken: Ref
    others: list[Ref]


@dataclass(frozen=True, slots=True)
class Computed:
    """An argument that the plan computes of the answers to other calls, as no reference does."""

    call: int
    path: Path
    givers: list[int]


@dataclass(frozen=True, slots=True)
class Found:
    """The arguments of each call with references in them, and what is not sure about them."""

    arguments: list[Any]
    doubts: list[Doubt | Computed]


def find_origins(calls: Sequence[ToolCall]) -> Found:
    """Replace what came from earlier results by references to these.

    Where the plan of a call is known, what it reads there is the origin, and an answer of the same
    run that it does not read is none.
    """
    finder = _Finder(calls)
    arguments = []
    for number, call in enumerate(calls):
        given = call.arguments.items()  # the whole object is no value that can be a reference
        arguments.append({name: finder.resolve(each, number, (name,)) for name, each in given})
        finder.add(number, call)
    return Found(arguments, finder.doubts)


def in_order(calls: Sequence[ToolCall]) -> list[ToolCall]:
    """The calls with each after those whose results are in its arguments, as far as that can be."""
    givers: dict[bytes, set[int]] = {}
    for number, call in enumerate(calls):
        for _, value in _parts(call.result, ()):
            if _is_telling(value):
                givers.setdefault(canonical_json(value), set()).add(number)
    needs = [
        set().union(
            *(
                givers.get(canonical_json(value), ())
                for _, value in _parts(call.arguments, ())
                if _is_telling(value)
            )
        )
        - {number}
        for number, call in enumerate(calls)
    ]
    left, ordered = list(range(len(calls))), list[int]()
    while left:
        # Where each needs another, the first of the file breaks the circle.
        waiting = set(left)
        ready = [number for number in left if needs[number].isdisjoint(waiting)] or left[:1]
        ordered += ready
        left = [number for number in left if number not in ready]
    return [calls[number] for number in ordered]


class _Finder:
    def __init__(self, calls: Sequence[ToolCall]) -> None:
        self.doubts: list[Doubt | Computed] = []
        self._calls = calls
        self._places: dict[bytes, list[Ref]] = {}  # by the JSON of a value
        self._texts: dict[str, list[Ref]] = {}
        self._lists: list[tuple[Ref, list[Any]]] = []  # of objects
        self._results: dict[str, list[tuple[int, Any]]] = {}  # by tool
        self._of_tasks: dict[tuple[str, str], list[int]] = {}  # by run and task, the last one first
        self._literals: set[bytes] = set()  # what was an argument before it was in any result

    def add(self, number: int, call: ToolCall) -> None:
        """Know the result of a call."""
        self._results.setdefault(call.tool, []).append((number, call.result))
        if call.planned is not None:
            task = call.planned.run, without_items(call.planned.task)
            self._of_tasks.setdefault(task, []).insert(0, number)
        for path, value in _parts(call.result, ()):
            place = Ref(number, path)
            if _is_telling(value):
                self._places.setdefault(canonical_json(value), []).append(place)
                if isinstance(value, str) and len(value) >= MIN_INSIDE:
                    self._texts.setdefault(value, []).append(place)
            is_list = isinstance(value, list) and len(value) > 1
            if is_list and all(isinstance(each, dict) for each in value):
                self._lists.append((place, value))

    def resolve(self, value: Any, call: int, path: Path) -> Any:
        """A value of an argument, with references."""
        if (read := self._read(value, call, path)) is not None:
            return read
        if _is_telling(value):
            text = canonical_json(value)
            places = self._places.get(text, [])
            origin = self._origin(places, call, path, is_literal=text in self._literals)
            if origin is not None:
                return origin
            if not isinstance(value, dict | list):
                self._literals.add(text)
        if isinstance(value, dict):
            return {name: self.resolve(each, call, (*path, name)) for name, each in value.items()}
        if isinstance(value, list):
            taken = self._taken(value, call, path)
            if taken is not None:
                return taken
            return self._gathered(value, call, path) or [
                self.resolve(each, call, (*path, at)) for at, each in enumerate(value)
            ]
        mixed = self._mixed(value, call, path) if isinstance(value, str) else value
        refs = mixed.parts if isinstance(mixed, Mixed) else ()
        if left := self._givers(call, path) - {ref.call for ref in refs if isinstance(ref, Ref)}:
            self.doubts.append(Computed(call, path, sorted(left)))
        return mixed

    def _givers(self, call: int, path: Path) -> set[int]:
        """The calls whose answers the plan reads for an argument, each by its last turn."""
        planned = self._calls[call].planned
        if planned is None:
            return set()
        tasks = {without_items(read.task) for read in planned.at(path)}
        of_tasks = (self._of_tasks.get((planned.run, task), ())[:1] for task in tasks)
        return set().union(*of_tasks)

    def _read(self, value: Any, call: int, path: Path) -> Ref | None:
        """The very place that the plan reads, whatever the value is."""
        planned = self._calls[call].planned
        if planned is None:
            return None
        text, found = canonical_json(value), list[Ref]()
        for read in planned.at(path):
            for number in self._of_tasks.get((planned.run, without_items(read.task)), ()):
                giver = self._calls[number]
                assert giver.planned is not None
                below = giver.planned.below(read)
                if below is None or not giver.planned.gives(read, below):
                    continue
                with suppress(PlaceMissingError):
                    if canonical_json(follow(giver.result, below)) == text:
                        found.append(Ref(number, below))
                        break  # an earlier one is another turn of it
        return found[0] if len(found) == 1 else None

    def _origin(
        self, places: list[Ref], call: int, path: Path, *, is_literal: bool = False
    ) -> Ref | None:
        """The place that most likely is meant: what the plan reads, or else the nearest name.

        Of several, that of the latest call; None if it is none of them.
        """
        ranks = {place: self._rank(place, call, path) for place in places}
        best = max(ranks.values(), default=0)
        if best < (READ if is_literal else POSSIBLE):
            return None
        likely = [place for place in places if ranks[place] == best]
        taken = max(likely, key=lambda each: (*self._nearness(each, path), -len(each.path)))
        others = [each for each in likely if not self._is_same(each, taken)]
        if others:
            self.doubts.append(Doubt(call, path, taken, others))
        return taken

    def _rank(self, place: Ref, call: int, path: Path) -> int:
        """How sure it is that an argument is that place, by the plan of the call."""
        planned, giver = self._calls[call].planned, self._calls[place.call].planned
        if planned is None or giver is None or planned.run != giver.run:
            return POSSIBLE
        reads = planned.at(path)
        if read := max((giver.gives(each, place.path) for each in reads), default=0):
            return READ + read
        return POSSIBLE if planned.grew and not reads else 0

    def _nearness(self, place: Ref, path: Path) -> tuple[int, int]:
        """How near the name of a place is to that of an argument, and how late it was known."""
        wanted = _names(path)[-1:]
        names = _names((*place.path, *(place.each or ())))
        if names[-1:] == wanted:
            return 2, place.call
        of_whole = _joined((self._calls[place.call].tool, *names))
        is_part = bool(names) and of_whole.endswith(_joined(wanted) or of_whole + " ")
        return int(is_part), place.call

    def _is_same(self, one: Ref, other: Ref) -> bool:
        """Whether two places are of one call, or of two turns of one."""
        mine, others = self._calls[one.call].planned, self._calls[other.call].planned
        return one.call == other.call or (
            mine is not None
            and others is not None
            and (mine.run, mine.task, mine.item) == (others.run, others.task, others.item)
        )

    def _taken(self, value: list[Any], call: int, path: Path) -> Ref | None:
        """The list of results of which one property of each item is this array."""
        if len(value) < 2 or any(isinstance(each, dict | list) for each in value):
            return None
        places = [
            Ref(place.call, place.path, (name,))
            for place, items in self._lists
            if len(items) == len(value)
            for name in items[0]
            if all(name in item for item in items) and value == [item[name] for item in items]
        ]
        return self._origin(places, call, path)

    def _gathered(self, value: list[Any], call: int, path: Path) -> list[Ref] | None:
        """The same place in the results of all calls of a tool, of which this is the array."""
        if len(value) < 2 or not _is_telling(value):
            return None
        for results in self._results.values():
            if len(results) == len(value):
                for place, first in _parts(results[0][1], ()):
                    refs = [Ref(number, place) for number, _ in results]
                    if first == value[0] and all(
                        _at(result, place) == each and self._rank(ref, call, path)
                        for each, (_, result), ref in zip(value, results, refs, strict=True)
                    ):
                        return refs
        return None

    def _mixed(self, text: str, call: int, path: Path) -> Any:
        inside = [known for known in self._texts if known != text and known in text]
        inside = sorted(inside, key=len, reverse=True)[:MAX_PARTS]
        if not inside:
            return text
        whole_words = "|".join(rf"(?<!\w){re.escape(each)}(?!\w)" for each in inside)
        parts, end = list[str | Ref](), 0
        for found in re.finditer(whole_words, text):
            is_literal = canonical_json(found[0]) in self._literals
            origin = self._origin(self._texts[found[0]], call, path, is_literal=is_literal)
            if origin is not None:
                parts += [text[end : found.start()], origin]
                end = found.end()
        parts.append(text[end:])
        return Mixed(tuple(part for part in parts if part != "")) if end else text


def _names(path: Path) -> tuple[str, ...]:
    return tuple(step for step in path if isinstance(step, str))


def _joined(names: Iterable[str]) -> str:
    """Names as one word, in which `order.id`, `order_id` and `orderId` are the same."""
    return re.sub(r"[\W_]+", "", "".join(names)).casefold()


def _is_telling(value: Any) -> bool:
    """Whether the same value elsewhere is no coincidence."""
    match value:
        case bool() | None:
            return False
        case str():
            return len(value) >= MIN_TEXT and value.casefold() not in COMMON
        case int():
            return abs(value) >= MIN_NUMBER
        case float():
            return not value.is_integer() or abs(value) >= MIN_NUMBER
        case _:
            return len(value) > 0 and any(_is_telling(each) for each in _members(value))


def _at(value: Any, path: Path) -> Any:
    try:
        return follow(value, path)
    except PlaceMissingError:
        return None


def _members(value: Any) -> Iterator[Any]:
    yield from (value.values() if isinstance(value, dict) else value)


def _parts(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """A value and all in it, each with its path."""
    yield path, value
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _parts(each, (*path, name))
    elif isinstance(value, list):
        for at, each in enumerate(value):
            yield from _parts(each, (*path, at))
