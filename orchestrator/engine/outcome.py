"""How a task or an item ends: five frozen values that go through JSON and back unchanged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from orchestrator.documents.text import quoted
from orchestrator.errors import TaskError

Status = Literal["success", "error", "skipped", "cancelled", "waiting"]


@dataclass(frozen=True, slots=True)
class Success:
    """The call gave an output, or a fallback did after the error `recovered`."""

    status: ClassVar[Status] = "success"
    output: Any
    recovered: TaskError | None = None

    def to_dict(self) -> dict[str, Any]:
        """The outcome as a JSON object; `error` is what a fallback stands in for."""
        is_recovered = self.recovered is not None
        return _document(self.status, self.output, self.recovered, recovered=is_recovered)


@dataclass(frozen=True, slots=True)
class Failure:
    """The call, or a step before it, failed. A `for_each` keeps the list of its outputs."""

    status: ClassVar[Status] = "error"
    error: TaskError
    output: list[Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The outcome as a JSON object."""
        return _document(self.status, self.output, self.error)


@dataclass(frozen=True, slots=True)
class Skipped:
    """The task was not started, for this reason; `by_condition` if its own `when` was false."""

    status: ClassVar[Status] = "skipped"
    reason: str
    by_condition: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The outcome as a JSON object."""
        return _document(self.status, None, reason=self.reason, by_condition=self.by_condition)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The task was ended before it settled, for this reason. A `for_each` keeps its outputs."""

    status: ClassVar[Status] = "cancelled"
    reason: str
    output: list[Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The outcome as a JSON object."""
        return _document(self.status, self.output, reason=self.reason)


@dataclass(frozen=True, slots=True)
class Waiting:
    """The task waits in a paused run: for an answer, or for a task that does."""

    status: ClassVar[Status] = "waiting"

    def to_dict(self) -> dict[str, Any]:
        """The outcome as a JSON object."""
        return _document(self.status, None)


Outcome = Success | Failure | Skipped | Cancelled | Waiting


def outcome_from_dict(document: Mapping[str, Any]) -> Outcome:
    """The outcome that `to_dict` wrote; the document of a whole task is read as well.

    Raises:
        ValueError: Its `status` is none of an outcome.
    """
    output, error, reason = document["output"], document["error"], document.get("reason", "")
    match document["status"]:
        case "success":
            return Success(output, None if error is None else TaskError.from_dict(error))
        case "error":
            return Failure(TaskError.from_dict(error), output)
        case "skipped":
            return Skipped(reason, document.get("by_condition", False))
        case "cancelled":
            return Cancelled(reason, output)
        case "waiting":
            return Waiting()
    raise ValueError(f"unknown status {quoted(str(document['status']))}")


def _document(
    status: Status, output: Any, error: TaskError | None = None, **more: Any
) -> dict[str, Any]:
    document = {"status": status, "output": output, "error": error.to_dict() if error else None}
    return document | {name: value for name, value in more.items() if value}
