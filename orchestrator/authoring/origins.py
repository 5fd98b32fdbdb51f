"""Finds where the values in the arguments of calls came from: results of earlier calls."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.authoring.transcript import ToolCall
from orchestrator.documents.jsonpath import Path, PlaceMissingError, follow
from orchestrator.schema.tool import canonical_json

# Shorter texts and smaller numbers are in many results by chance.
MIN_TEXT, MIN_INSIDE, MIN_NUMBER = 3, 4, 10
COMMON = frozenset({"true", "false", "null", "none", "yes", "success", "error", "done"})
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
class Found:
    """The arguments of each call with references in them, and what is not sure about them."""

    arguments: list[Any]
    doubts: list[tuple[int, Path, list[Ref]]]  # a call, an argument, and all places it is equal to


def find_origins(calls: Sequence[ToolCall]) -> Found:
    """Replace what came from earlier results by references to these."""
    finder = _Finder()
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
    def __init__(self) -> None:
        self.doubts: list[tuple[int, Path, list[Ref]]] = []
        self._places: dict[bytes, list[Ref]] = {}  # by the JSON of a value
        self._texts: dict[str, list[Ref]] = {}
        self._lists: list[tuple[Ref, list[Any]]] = []  # of objects
        self._results: dict[str, list[tuple[int, Any]]] = {}  # by tool
        self._literals: set[bytes] = set()  # what was an argument before it was in any result

    def add(self, number: int, call: ToolCall) -> None:
        """Know the result of a call."""
        self._results.setdefault(call.tool, []).append((number, call.result))
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
        if _is_telling(value):
            text = canonical_json(value)
            places = self._places.get(text)
            if places is not None and text not in self._literals:
                return self._best(places, call, path)
            if places is None and not isinstance(value, dict | list):
                self._literals.add(text)
        if isinstance(value, dict):
            return {name: self.resolve(each, call, (*path, name)) for name, each in value.items()}
        if isinstance(value, list):
            taken = self._taken(value)
            if taken is not None:
                return taken
            return self._gathered(value) or [
                self.resolve(each, call, (*path, at)) for at, each in enumerate(value)
            ]
        return self._mixed(value) if isinstance(value, str) else value

    def _best(self, places: list[Ref], call: int, path: Path) -> Ref:
        """The place that most likely is meant: of the same name, and of the latest call."""
        named = [place for place in places if place.path[-1:] == path[-1:]]
        best = max(named or places, key=lambda place: (place.call, -len(place.path)))
        others = {place.call for place in (named or places)} - {best.call}
        if others:
            self.doubts.append((call, path, places))
        return best

    def _taken(self, value: list[Any]) -> Ref | None:
        """The list of results of which one property of each item is this array."""
        if len(value) < 2 or any(isinstance(each, dict | list) for each in value):
            return None
        for place, items in reversed(self._lists):
            if len(items) == len(value):
                for name in items[0]:
                    if all(name in item for item in items) and value == [i[name] for i in items]:
                        return Ref(place.call, place.path, (name,))
        return None

    def _gathered(self, value: list[Any]) -> list[Ref] | None:
        """The same place in the results of all calls of a tool, of which this is the array."""
        if len(value) < 2 or not _is_telling(value):
            return None
        for results in self._results.values():
            if len(results) == len(value):
                for path, first in _parts(results[0][1], ()):
                    if first == value[0] and all(
                        _at(result, path) == each
                        for each, (_, result) in zip(value, results, strict=True)
                    ):
                        return [Ref(number, path) for number, _ in results]
        return None

    def _mixed(self, text: str) -> Any:
        inside = [known for known in self._texts if known != text and known in text]
        inside = sorted(inside, key=len, reverse=True)[:MAX_PARTS]
        if not inside:
            return text
        whole_words = "|".join(rf"(?<!\w){re.escape(each)}(?!\w)" for each in inside)
        parts, end = list[str | Ref](), 0
        for found in re.finditer(whole_words, text):
            if canonical_json(found[0]) in self._literals:
                continue
            parts += [text[end : found.start()], self._texts[found[0]][-1]]
            end = found.end()
        parts.append(text[end:])
        return Mixed(tuple(part for part in parts if part != "")) if end else text


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
