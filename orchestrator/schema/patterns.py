"""Regular expressions of schemas, in bounded time.

The library matches most patterns in linear time. Those that look around or refer back are tried
again at each character, so that they are matched within a budget; what is beyond it fits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema_rs import Validator as Compiled

MAX_BACKTRACKS = 10_000  # for one match at one character
# The squared lengths of all strings of a value that are matched with such patterns.
BUDGET = 200_000
_BACKTRACKS = re.compile(r"\(\?<?[=!]|\\[1-9k]|\(\?>|[*+?}]\+|\\G|\(\?\(")


def backtracks(pattern: Any) -> bool:
    """Whether matching a pattern may take more than linear time."""
    return isinstance(pattern, str) and _BACKTRACKS.search(pattern) is not None


def patterns_in(schema: Any) -> Iterator[tuple[str, bool]]:
    """The patterns of a schema, and whether each is a name of `patternProperties`."""
    left, seen = [schema], set[int]()
    while left:
        part = left.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, dict):
            if isinstance(pattern := part.get("pattern"), str):
                yield pattern, False
            if isinstance(names := part.get("patternProperties"), dict):
                yield from ((str(name), True) for name in names)
            left += part.values()
        elif isinstance(part, list):
            left += part


@lru_cache(maxsize=1000)
def _compiled(pattern: str) -> Compiled | None:
    from jsonschema_rs import FancyRegexOptions, validator_for

    options = FancyRegexOptions(backtrack_limit=MAX_BACKTRACKS)
    try:
        return validator_for({"pattern": pattern}, pattern_options=options)
    except ValueError:
        return None


def matches(pattern: str, text: str) -> bool:
    """Whether a pattern matches somewhere in a text; true if that would take too long to find."""
    compiled = _compiled(pattern)
    if compiled is None or (backtracks(pattern) and len(text) ** 2 > BUDGET):
        return True
    return compiled.is_valid(text)


class Budget:
    """The keyword `pattern` for the library, whose matches of one value share a budget."""

    def __init__(self) -> None:
        self.left = BUDGET
        budget = self

        class Pattern:
            def __init__(self, parent: Any, value: Any, path: Any) -> None:  # noqa: ARG002
                self._pattern = value if isinstance(value, str) else ""

            def validate(self, instance: Any) -> None:
                if isinstance(instance, str) and not budget.fits(self._pattern, instance):
                    raise ValueError("no match")

        self.keyword = Pattern

    def fits(self, pattern: str, text: str) -> bool:
        if backtracks(pattern):
            self.left -= len(text) ** 2
            if self.left < 0:
                return True
        return matches(pattern, text)
