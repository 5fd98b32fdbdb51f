"""Finds the valid names nearest to a wrong one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches
from heapq import nlargest
from itertools import pairwise

from orchestrator.documents.text import quoted

_SHORT_LIST = 200
_LONGEST = 200  # difflib takes quadratic time in the length of a name
_VERY_CLOSE = 0.8
_CLOSE = 0.75  # "ctiy" for "city"
_WORD = re.compile(r"[0-9]+|[^\W\d_]+")


def nearest(name: str, known: Iterable[str], count: int = 3) -> tuple[str, ...]:
    """The names in `known` most like `name` (difflib ratio 0.6 and above), ignoring case."""
    folded: dict[str, str] = {}
    for candidate in known if len(name) <= _LONGEST else ():
        if len(candidate) <= _LONGEST:
            folded.setdefault(candidate.casefold(), candidate)
    wanted = name.casefold()
    likely: Iterable[str] = folded
    if len(folded) > _SHORT_LIST:  # difflib is slow on thousands: keep those that share most pairs
        pairs = set(pairwise(wanted))
        likely = nlargest(_SHORT_LIST, folded, key=lambda other: len(pairs & set(pairwise(other))))
    return tuple(folded[match] for match in get_close_matches(wanted, likely, count))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence with the nearest names, to follow an error; empty if none is near."""
    near = " or ".join(map(quoted, nearest(name, known)))
    return f". Did you mean {near}?" if near else ""


def certain(name: str, alternatives: Iterable[str]) -> str | None:
    """The one alternative that `name` is a typo of; None if that is not certain.

    It differs only in case; or it is the only one that is very close (difflib ratio 0.8 and above)
    and has the same numbers and single letters: `day_2` is not a typo of `day_1`.
    """
    wanted = name.casefold()
    known = {other: other.casefold() for other in alternatives}
    same = [other for other, folded in known.items() if folded == wanted]
    close = same or [
        other
        for other, folded in known.items()
        if SequenceMatcher(None, wanted, folded).ratio() >= _VERY_CLOSE
    ]
    if len(close) != 1:
        return None
    return close[0] if same or _marks(wanted) == _marks(known[close[0]]) else None


def misspelling_of(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` most likely is a misspelling of (difflib ratio 0.75 and above)."""
    for other in nearest(name, known, 1):
        wanted, folded = name.casefold(), other.casefold()
        is_close = SequenceMatcher(None, wanted, folded).ratio() >= _CLOSE
        if is_close and _marks(wanted) == _marks(folded):
            return other
    return None


def _marks(name: str) -> list[str]:
    # Numbers and single letters distinguish names of one kind.
    return [word for word in _WORD.findall(name) if len(word) == 1 or word.isdecimal()]
