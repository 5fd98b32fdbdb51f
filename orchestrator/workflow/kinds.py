"""The kinds of tasks, by the field that says what a task does."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, get_args

from orchestrator.documents.text import listed, quoted
from orchestrator.documents.validation import MissingFieldError

Kind = Literal["tool", "value", "workflow"]
KINDS: tuple[Kind, ...] = get_args(Kind)
# The fields that mean nothing for a task that calls nothing.
_OF_CALLS = frozenset(
    {
        *("arguments", "timeout_s", "timeout_resets_on_progress", "retry", "repeat", "locks"),
        *("max_parallel", "item_when", "item_fallback", "on_item_error", "delay_s", "deadline_s"),
        *("critical", "end_run"),
    }
)


def check_kind(fields: Collection[str]) -> Kind:
    """The kind of a task by the fields that it has.

    Raises:
        MissingFieldError: It is of no kind.
        ValueError: It is of two kinds, or has a field that means nothing for its kind.
    """
    kinds = [kind for kind in KINDS if kind in fields]
    if not kinds:
        raise MissingFieldError("tool")
    if len(kinds) > 1:
        names = listed(map(quoted, kinds), 10, " and ")
        raise ValueError(f"{names} exclude each other: keep one, and write a task for the other")
    if kinds[0] == "value" and (extra := sorted(map(quoted, _OF_CALLS.intersection(fields)))):
        means = "means" if len(extra) == 1 else "mean"
        raise ValueError(
            f'{listed(extra, 10)} {means} nothing in a task with "value", which calls nothing'
        )
    return kinds[0]
