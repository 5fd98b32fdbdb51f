"""The kinds of tasks, by the field that says what a task does."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, get_args

from orchestrator.documents.text import listed, quoted
from orchestrator.documents.validation import MissingFieldError

Kind = Literal["tool", "value", "workflow", "read", "prompt"]
KINDS: tuple[Kind, ...] = get_args(Kind)
REQUESTS: frozenset[Kind] = frozenset({"tool", "read", "prompt"})  # what a server is asked
# The fields that mean nothing for a task that calls nothing.
_OF_CALLS = frozenset(
    {
        *("arguments", "timeout_s", "timeout_resets_on_progress", "retry", "repeat", "locks"),
        *("max_parallel", "item_when", "item_fallback", "on_item_error", "delay_s", "deadline_s"),
        *("critical", "end_run", "cache"),
    }
)


_OF_NO_KIND = {
    "value": (_OF_CALLS, "calls nothing"),
    "read": (frozenset({"arguments"}), "takes nothing but its URI"),
    "workflow": (frozenset({"cache"}), "has the caches of the tasks inside"),
}
# What needs a journal, in which a run waits for an answer.
_NOT_YET = {
    "ask": "a question to a person",
    "approve": "an approval by a person",
}


def check_available(fields: Collection[str]) -> None:
    """Refuse the fields of a task that this version does not have; raises a ValueError."""
    for name, what in _NOT_YET.items():
        if name in fields:
            raise ValueError(
                f"{quoted(name)} is not available in this version: {what} needs a journal, "
                "in which the run waits for the answer"
            )


def check_kind(fields: Collection[str]) -> Kind:
    """The kind of a task by the fields that it has.

    Raises:
        MissingFieldError: It is of no kind.
        ValueError: It is of two kinds, or has a field that means nothing for its kind.
    """
    check_available(fields)
    kinds = [kind for kind in KINDS if kind in fields]
    if not kinds:
        others = listed(map(quoted, KINDS[1:]), 10)
        raise MissingFieldError("tool", f"or one of {others} in its place")
    if len(kinds) > 1:
        names = listed(map(quoted, kinds), 10, " and ")
        raise ValueError(f"{names} exclude each other: keep one, and write a task for the other")
    senseless, why = _OF_NO_KIND.get(kinds[0], (frozenset[str](), ""))
    if extra := sorted(map(quoted, senseless.intersection(fields))):
        means = "means" if len(extra) == 1 else "mean"
        task = f"a task with {quoted(kinds[0])}, which {why}"
        raise ValueError(f"{listed(extra, 10)} {means} nothing in {task}")
    return kinds[0]
