"""What a served tool is, what a call of one is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.documents.pointer import pointer
from orchestrator.engine.question import AnswerCallback
from orchestrator.engine.result import RunResult
from orchestrator.errors import CallError, Code, OrchestratorError, Problem, WorkflowError
from orchestrator.schema.validator import Validator

OnProgress = Callable[[float, float | None, str], Awaitable[None]]
"""Receives how far a call has come, out of how much (None: unknown), and a sentence about it."""
READS: Mapping[str, bool] = {"readOnlyHint": True, "openWorldHint": False}


@dataclass(frozen=True, slots=True)
class ServedTool:
    """A tool for a model.

    Attributes:
        name: Letters, digits, `_` and `-`, at most 64.
        title: For people.
        description: For models.
        input_schema: The JSON Schema of its arguments, which are an object.
        output_schema: The JSON Schema of its document; of one that failed it may differ. None: any.
        annotations: What it may do, under MCP's names: `readOnlyHint` and its like.
    """

    name: str
    title: str
    description: str
    input_schema: Mapping[str, Any]
    output_schema: Mapping[str, Any] | None = None
    annotations: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call gives back.

    Attributes:
        document: A JSON object for the model, cut if it would be too large.
        is_error: Whether it failed as a whole; a run that failed in part has not.
        result: The whole result of the run, for programs; None if nothing ran.
    """

    document: dict[str, Any]
    is_error: bool = False
    result: RunResult | None = None


_BUG = {
    "kind": "internal",
    "message": "the orchestrator failed in this call; its log says more",
    "retryable": False,
}
INTERNAL = Answer({"status": "error", "error": _BUG}, is_error=True)


@dataclass(frozen=True, slots=True)
class Asked:
    """A call of a tool: its arguments, and the receivers of its progress and questions."""

    arguments: Mapping[str, Any]
    on_progress: OnProgress | None = None
    answer: AnswerCallback | None = None


def finding(problem: Problem) -> dict[str, Any]:
    """A problem as a model reads it: what is wrong, where, and what is valid instead."""
    return problem.to_dict(whole=False)


def invalid(problems: Iterable[Problem]) -> Answer:
    """The answer to what is wrong, so that nothing was called."""
    return Answer({"status": "invalid", "findings": list(map(finding, problems))}, is_error=True)


def failed(error: OrchestratorError) -> Answer:
    """The answer to a call that could not be carried out, for a reason that its caller may know."""
    if isinstance(error, WorkflowError):
        return invalid(error.problems)
    kind = error.error.to_dict() if isinstance(error, CallError) else {"message": str(error)}
    return Answer({"status": "error", "error": kind}, is_error=True)


def wrong_arguments(tool: str, schema: Mapping[str, Any], given: Any) -> list[Problem]:
    """Where the arguments of a call do not fit the schema of the tool."""
    problems = []
    for found in Validator(schema).violations(given):
        code: Code = "wrong_argument"
        if found.is_property:
            missing = found.keyword == "required"
            code = "missing_argument" if missing else "unexpected_argument"
        message = f"{tool}: {found.sentence()}"
        problems.append(Problem(code, message, pointer(*found.path), hint=_hint(schema)))
    return problems


def _hint(schema: Mapping[str, Any]) -> str:
    names, required = schema.get("properties", {}), schema.get("required", ())
    listed = ", ".join(name if name in required else f"{name}?" for name in names)
    return f"arguments: {listed}" if listed else "it takes no arguments"
