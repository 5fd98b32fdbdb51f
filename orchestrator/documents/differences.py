"""Where two JSON values differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile, zip_longest
from typing import Any

from orchestrator.documents.encode import to_json
from orchestrator.documents.jsonpath import Path, format_path
from orchestrator.documents.text import visible

MAX_IN_SHORT = 80  # characters of a value


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
        one, other = _shown(self.expected), _shown(self.got)
        values = f"{wanted} {cut_around(one, other)}, {found} {cut_around(other, one)}"
        return f"{path}: {values}" if path else values


def _shown(value: Any) -> str:
    return "nothing" if value is NOTHING else visible(to_json(value))


def cut_around(text: str, other: str = "", limit: int = MAX_IN_SHORT) -> str:
    """At most `limit` characters, from shortly before the text begins to differ from another."""
    # What two texts share at their beginning may be long: a description with a new last sentence.
    pairs = zip(text, other, strict=False)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    start = max(0, min(same - limit // 4, len(text) - limit))
    more = len(text) - start - limit
    left_out = f"... ({more:,} more characters)" if more > 0 else ""
    return f"{'...' if start else ''}{text[start : start + limit]}{left_out}"


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
