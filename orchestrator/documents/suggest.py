"""Finds the valid names nearest to a wrong one."""

from __future__ import annotations

import difflib
import heapq
import re
from collections.abc import Iterable
from itertools import pairwise

_SHORT_LIST = 200
_VERY_CLOSE = 0.8
_WORD = re.compile(r"[0-9]+|[^\W\d_]+")


def nearest(name: str, known: Iterable[str], count: int = 3) -> tuple[str, ...]:
    """The names in `known` that are most like `name`, best first.

    Compared by `difflib.get_close_matches` (ratio 0.6 and above), ignoring case.
    """
    folded: dict[str, str] = {}
    for candidate in known:
        folded.setdefault(candidate.casefold(), candidate)
    wanted = name.casefold()
    likely = folded if len(folded) <= _SHORT_LIST else _sharing_most_pairs(wanted, folded)
    close = difflib.get_close_matches(wanted, likely, n=count, cutoff=0.6)
    return tuple(folded[match] for match in close)


def certain(name: str, alternatives: Iterable[str]) -> str | None:
    """The one alternative that `name` is a typo of; None if that is not certain.

    It differs only in case; or it is the only one that is very close (`difflib` ratio 0.8 and
    above) and has the same numbers and single letters: `day_2` is not a typo of `day_1`.
    """
    folded = name.casefold()
    known = list(alternatives)
    same = [other for other in known if other.casefold() == folded]
    close = same or [other for other in known if _is_very_close(folded, other.casefold())]
    if len(close) != 1:
        return None
    (only,) = close
    return only if same or _marks(folded) == _marks(only.casefold()) else None


def _is_very_close(name: str, other: str) -> bool:
    return difflib.SequenceMatcher(None, name, other).ratio() >= _VERY_CLOSE


def _marks(name: str) -> list[str]:
    """The numbers and single letters in a name, which distinguish names of one kind."""
    return [word for word in _WORD.findall(name) if len(word) == 1 or word.isdecimal()]


def _sharing_most_pairs(name: str, known: Iterable[str]) -> list[str]:
    """The names that share most pairs of letters with `name`; `difflib` is slow on thousands."""
    pairs = _pairs(name)
    return heapq.nlargest(_SHORT_LIST, known, key=lambda other: len(pairs & _pairs(other)))


def _pairs(name: str) -> set[tuple[str, str]]:
    return set(pairwise(name))
