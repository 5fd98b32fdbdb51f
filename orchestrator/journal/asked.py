"""What was asked of the queue, in words, and what differs between two times that it was asked."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from orchestrator.documents.text import counted, cut, listed, name_of
from orchestrator.errors import JournalError
from orchestrator.journal.store import LostError

if TYPE_CHECKING:
    from orchestrator.journal.orders import Order

_MOST = 5  # names in a message
_LONGEST = 40  # characters of one
SLACK_S = 60.0  # to submit again with the same --delay asks for no other time


def words(order: Order) -> dict[str, str]:
    """What it asks, in words, by the field; also where it asks nothing."""
    at = datetime.fromtimestamp(max(0.0, order.due)).astimezone()
    is_later = order.due > time.time()
    labels = listed((name_of(cut(each, _LONGEST)) for each in _set(order.labels)), _MOST)
    return {
        "priority": f"priority {order.priority}",
        "due": f"not before {at:%Y-%m-%d %H:%M:%S}" if is_later else "no delay",
        "max_runs": f"max-runs {order.max_runs}" if order.max_runs is not None else "no max-runs",
        "labels": f"needs {labels}" if order.labels else "no needs",
    }


def wants(order: Order) -> list[str]:
    """What it asks, in words, where it asks anything."""
    is_set = {
        "priority": order.priority != 0,
        "due": order.due > time.time(),
        "max_runs": order.max_runs is not None,
        "labels": bool(order.labels),
    }
    return [text for field, text in words(order).items() if is_set[field]]


def other_wants(earlier: Order, now: Order) -> list[str]:
    """What the earlier of two orders asks, in words, where they differ."""
    begins = time.time()
    differs = {
        "priority": earlier.priority != now.priority,
        "due": abs(max(earlier.due, begins) - max(now.due, begins)) > SLACK_S,
        "max_runs": earlier.max_runs != now.max_runs,
        "labels": _set(earlier.labels) != _set(now.labels),
    }
    return [text for field, text in words(earlier).items() if differs[field]]


@contextmanager
def readable(what: str, fix: str) -> Iterator[None]:
    """Raise a `JournalError` with what to do if something else has written what is kept."""
    try:
        yield
    except LostError:  # nothing is wrong with what is kept
        raise
    except (JournalError, ValueError) as error:
        raise JournalError(f"{what} cannot be read ({error}): {fix}") from None
    except (KeyError, TypeError, AttributeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise JournalError(f"{what} cannot be read ({why}): {fix}") from None


def other_request(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """In what the workflows and the inputs of two requests differ."""
    before, after = earlier["workflow"], now["workflow"]
    tasks, new = ({each["id"]: each for each in part["tasks"]} for part in (before, after))
    names = _changed(tasks, new)
    fields = _changed({**before, "tasks": 0}, {**after, "tasks": 0})
    said = [f"{counted(len(names), 'task')}: {listed(names, _MOST)}"] if names else []
    said += [", ".join(fields)] if fields else []
    if said:
        yield f"another workflow ({'; '.join(said)})"
    if inputs := _changed(earlier["inputs"], now["inputs"]):
        yield f"other inputs ({listed(inputs, _MOST)})"


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    names = {**before, **after}
    absent = object()
    return [name for name in names if before.get(name, absent) != after.get(name, absent)]


def _set(labels: tuple[str, ...]) -> list[str]:
    return sorted(set(labels))
