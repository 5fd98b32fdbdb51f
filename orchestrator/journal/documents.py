"""What the records of a run say, as JSON objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestrator.calls.causes import Cause
from orchestrator.engine.question import Question
from orchestrator.engine.recorder import Answer
from orchestrator.engine.result import ItemResult, TaskResult, Waits
from orchestrator.engine.summary import Stop


def of_question(question: Question) -> dict[str, Any]:
    """What is kept of a question."""
    names = ("turn", "is_fallback", "about")
    return question.to_dict() | {name: getattr(question, name) for name in names}


def of_task(result: TaskResult, *, is_wrapped: bool) -> dict[str, Any]:
    """What is kept of a task that has settled."""
    # Its items and what is inside have records of their own, and may be many: they stay unread.
    document = replace(result, items=None, tasks=None).to_dict() | _waits(result)
    if result.items is not None:
        document["has_items"] = True
        if not result.recovered and result.output is not None:
            del document["output"]
            document["is_list"] = True
    return document | _mark(is_wrapped)


def of_item(result: ItemResult, *, is_wrapped: bool) -> dict[str, Any]:
    """What is kept of an item that has settled."""
    document = result.to_dict() | _waits(result)
    document.pop("tasks", None)
    return document | {"output": result.output} | _mark(is_wrapped)


def _waits(result: TaskResult | ItemResult) -> dict[str, Any]:
    if not result.waits:
        return {}
    waits = [[*what, round(at_ms, 3), round(ms, 3)] for what, at_ms, ms in result.waits]
    return {"waits": waits}


def waits_of(document: Mapping[str, Any]) -> Waits:
    """The waits in what is kept of a task or an item."""
    waits = (wait for wait in document.get("waits", ()) if len(wait) == 4)  # older ones have words
    return tuple((Cause(kind, of), at_ms, ms) for kind, of, at_ms, ms in waits)


def of_answer(answer: Answer) -> dict[str, Any]:
    """What is kept of a call that has ended."""
    measures = {"attempts": answer.attempts, "started_ms": answer.started_ms}
    return answer.outcome.to_dict() | measures | _mark(answer.wrapped)


def of_stop(stop: Stop) -> dict[str, Any]:
    """What is kept of the early end of a run."""
    return {
        "reason": stop.reason,
        "status": stop.status,
        "error": None if stop.error is None else stop.error.to_dict(),
        "not_begun": stop.not_begun.to_dict(),
    }


def _mark(is_wrapped: bool) -> dict[str, Any]:
    return {"wrapped": True} if is_wrapped else {}


def note_wrapped(document: Mapping[str, Any], output: Any, wrapped: dict[int, Any]) -> None:
    """Note an output that its server had wrapped."""
    if document.get("wrapped"):
        wrapped[id(output)] = output
