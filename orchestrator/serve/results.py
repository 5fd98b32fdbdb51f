"""The document of a run, as a model gets it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.documents.text import cut
from orchestrator.serve.inline import LEAST, shared_out, size_of

# In this order, and only where there is something to tell.
_OF_RUN = ("run_id", "workflow", "status", "duration_ms", "reason", "error", "output", "questions")
_OF_TASK = ("status", "output", "error", "reason", "recovered", "cached")
_FAILURES = frozenset({"error", "cancelled", "waiting"})
MAX_ITEMS = 20  # of a `for_each` that did not succeed
MAX_MESSAGE = 2000
FAILED = frozenset({"failed", "cancelled", "invalid", "error"})

# `invalid`: the plan was not run; `error`: the call of the tool failed; `running`: it goes on.
STATUSES = ["success", "partial", "failed", "cancelled", "paused", "running", "invalid", "error"]
OUTPUT_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["status"],
    "properties": {
        "run_id": {"type": "string"},
        "status": {"enum": STATUSES},
        "output": {},
        "tasks": {"type": "object"},
        "questions": {"type": "array", "items": {"type": "object"}},
        "findings": {"type": "array", "items": {"type": "object"}},
    },
}


def light(document: Mapping[str, Any], *, with_outputs: bool = True) -> dict[str, Any]:
    """A result document without what a model does not need to go on.

    Args:
        document: What `RunResult.to_dict` gives.
        with_outputs: Whether the tasks have their outputs; those of a run that has none of its own
            always have.
    """
    shown = _given(document, _OF_RUN)
    shown["output"] = document.get("output")
    shown["summary"] = {name: n for name, n in document.get("summary", {}).items() if n}
    if "questions" in shown:  # copies, as they may be cut
        shown["questions"] = list(map(dict, shown["questions"]))
    with_outputs = with_outputs or document.get("status") != "success"
    tasks = document.get("tasks", {})
    shown["tasks"] = {name: _task(task, with_outputs=with_outputs) for name, task in tasks.items()}
    return shown


def _given(part: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: part[name] for name in names if part.get(name) not in (None, False, [], "")}


def _task(task: Mapping[str, Any], *, with_outputs: bool) -> dict[str, Any]:
    shown = _given(task, _OF_TASK)
    shown.pop("output", None)
    if task["status"] == "success" and with_outputs:
        shown["output"] = task["output"]
    if (error := task.get("error")) is not None:
        shown["error"] = error | {"message": cut(error["message"], MAX_MESSAGE)}
    if task.get("items") is not None and task["status"] != "success":
        shown["output"] = task["output"]
        items = [item for item in task["items"] if item["status"] in _FAILURES]
        first = items[:MAX_ITEMS]
        shown["items"] = [{"index": item["index"]} | _given(item, _OF_TASK) for item in first]
        if len(items) > MAX_ITEMS:
            shown["items_left_out"] = len(items) - MAX_ITEMS
    return shown


def fitted(document: dict[str, Any], limit: int) -> dict[str, Any]:
    """The document of a run in at most as many bytes, as far as that can be.

    Values that are too large become previews, and it says how to get them. `document` is changed.
    """
    if size_of(document) <= limit:
        return document
    run = document.get("run_id")
    how = f'call get_result with "run_id": "{run}", and "task", "path", "offset", "limit"'
    document |= {"summarised": True, "note": f"large values are cut; for more {how}"}
    if len(questions := document.get("questions", ())) > MAX_ITEMS:
        document |= {"questions": questions[:MAX_ITEMS]}
        document["questions_left_out"] = len(questions) - MAX_ITEMS
    document["tasks"] = _fewer(document.get("tasks", {}), limit // 2, document)
    places = list(_places(document))
    values = [holder[name] for holder, name in places]
    for holder, name in places:
        holder[name] = None
    room = limit - size_of(document)
    for (holder, name), value in zip(places, values, strict=True):
        holder[name] = value
    shared_out(places, room)
    return document


def _places(document: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Where the values of a document are that can be large."""
    for part in (document, *document.get("tasks", {}).values()):
        if "output" in part:
            yield part, "output"
        if isinstance(error := part.get("error"), dict) and error.get("details"):
            part["error"] = error = dict(error)
            yield error, "details"
    for question in document.get("questions", ()):
        if question.get("arguments"):
            yield question, "arguments"


def _fewer(tasks: dict[str, Any], room: int, document: dict[str, Any]) -> dict[str, Any]:
    """As many tasks as fit without their outputs; first those that did not succeed."""
    order = sorted(tasks, key=lambda name: tasks[name]["status"] == "success")
    kept = set()
    for name in order:
        room -= size_of({name: _bare(tasks[name])})
        if room < 0:
            break
        kept.add(name)
    if len(kept) < len(tasks):
        document["tasks_left_out"] = len(tasks) - len(kept)
    return {name: task for name, task in tasks.items() if name in kept}


def _bare(task: dict[str, Any]) -> dict[str, Any]:
    """A task with all values cut that can be."""
    error = task.get("error")
    bare = {**task, "output": " " * LEAST} if "output" in task else task
    return bare | ({"error": {**error, "details": " " * LEAST}} if error else {})
