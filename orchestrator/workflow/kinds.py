"""The kinds of tasks, by the field that says what a task does."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, get_args

from orchestrator.documents.text import listed, quoted
from orchestrator.documents.validation import MisplacedFieldError, MissingFieldError

Kind = Literal["tool", "value", "workflow", "read", "prompt", "ask"]
KINDS: tuple[Kind, ...] = get_args(Kind)
REQUESTS: frozenset[Kind] = frozenset({"tool", "read", "prompt"})  # what a server is asked
# The fields that mean nothing for a task that calls nothing.
_OF_CALLS = frozenset(
    {
        *("arguments", "timeout_s", "timeout_resets_on_progress", "retry", "repeat", "locks"),
        *("max_parallel", "item_when", "item_fallback", "on_item_error", "delay_s", "deadline_s"),
        *("critical", "end_run", "approve", "cache", "spread"),
    }
)
_OF_NO_KIND = {
    "value": (_OF_CALLS, "calls nothing"),
    "ask": (_OF_CALLS - {"timeout_s"} | {"for_each"}, "asks a person once"),
    "read": (frozenset({"arguments", "approve"}), "takes nothing but its URI"),
    "prompt": (frozenset({"approve"}), "changes nothing"),
    "workflow": (frozenset({"cache"}), "has the caches of the tasks inside"),
}


def check_kind(fields: Collection[str]) -> Kind:
    """The kind of a task by the fields that it has.

    Raises:
        MissingFieldError: It is of no kind.
        MisplacedFieldError: It has a field that means nothing for its kind.
        ValueError: It is of two kinds.
    """
    kinds = [kind for kind in KINDS if kind in fields]
    if not kinds:
        others = listed(map(quoted, KINDS[1:]), 10)
        raise MissingFieldError("tool", f"or one of {others} in its place")
    if len(kinds) > 1:
        names = listed(map(quoted, kinds), 10, " and ")
        raise ValueError(f"{names} exclude each other: keep one, and write a task for the other")
    senseless, why = _OF_NO_KIND.get(kinds[0], (frozenset[str](), ""))
    if extra := sorted(senseless.intersection(fields)):
        means = "means" if len(extra) == 1 else "mean"
        task = f"a task with {quoted(kinds[0])}, which {why}"
        named = listed(map(quoted, extra), 10)
        raise MisplacedFieldError(extra[0], f"{named} {means} nothing in {task}")
    return kinds[0]
