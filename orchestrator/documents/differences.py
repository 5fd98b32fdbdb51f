"""Where two JSON values differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from orchestrator.documents.encode import to_json
from orchestrator.documents.jsonpath import Path, format_path
from orchestrator.documents.text import cut, visible

MAX_SHOWN = 120  # characters of a value


class Nothing:
    """What a value has at a path that it does not have."""

    def __repr__(self) -> str:
        return "nothing"


NOTHING = Nothing()


@dataclass(frozen=True, slots=True)
class Difference:
    """A path at which two values differ; one of them may have `NOTHING` there."""

    path: Path
    expected: Any
    got: Any

    def message(self, wanted: str = "expected", found: str = "got") -> str:
        """The path and both values, on one line."""
        path = format_path(self.path).removeprefix(".")
        values = f"{wanted} {shown(self.expected)}, {found} {shown(self.got)}"
        return f"{path}: {values}" if path else values


def shown(value: Any) -> str:
    """A value as messages show it: as compact JSON, cut."""
    if value is NOTHING:
        return "nothing"
    return cut(visible(to_json(value)), MAX_SHOWN)


def differences(expected: Any, got: Any, path: Path = ()) -> Iterator[Difference]:
    """Each path at which two JSON values differ; 1 and 1.0 are the same number."""
    match expected, got:
        case dict(), dict():
            for name in [*expected, *(name for name in got if name not in expected)]:
                yield from differences(
                    expected.get(name, NOTHING), got.get(name, NOTHING), (*path, name)
                )
        case list(), list():
            for index, both in enumerate(zip_longest(expected, got, fillvalue=NOTHING)):
                yield from differences(*both, (*path, index))
        case _:
            if isinstance(expected, bool) is not isinstance(got, bool) or expected != got:
                yield Difference(path, expected, got)
