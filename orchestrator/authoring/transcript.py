"""Reads recorded tool calls: JSON lines of tool, arguments and result, or a recording of a run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.authoring.reads import Planned
from orchestrator.documents.files import read_text
from orchestrator.documents.jsonpath import describe
from orchestrator.documents.text import alternatives, quoted
from orchestrator.errors import Problem, WorkflowError
from orchestrator.recordings.recording import Recording

HINT = 'write one call a line, as in {"tool": "server:tool", "arguments": {}, "result": {}}'


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that succeeded."""

    tool: str  # server:tool
    arguments: Mapping[str, Any]
    result: Any
    planned: Planned | None = field(default=None, compare=False)  # where a plan was run


@dataclass(frozen=True, slots=True)
class Transcript:
    """Calls in the order in which they were made.

    Attributes:
        calls: Those that succeeded.
        failed: The tools of those that failed, which a workflow does not repeat.
        annotations: What is declared of each tool that is known, by `server:tool`.
        is_ordered: Whether the order is that in which they were made; a recording has none.
    """

    calls: list[ToolCall]
    failed: list[str]
    annotations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    is_ordered: bool = True


def read_transcript(path: str | Path) -> Transcript:
    """Read a transcript; a recording, as `run --record` writes it, is one too.

    Raises:
        WorkflowError: It cannot be read, or is wrong; with every wrong line.
    """
    text = read_text(Path(path), hint=HINT)
    if _is_recording(text):
        return _of_recording(Recording.load(path))
    calls, failed, problems = list[ToolCall](), list[str](), list[Problem]()
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            call = json.loads(line)
        except ValueError as error:
            problems.append(_wrong(number, f"no JSON: {error}"))
            continue
        if wrong := list(_faults(call)):
            problems += (_wrong(number, each) for each in wrong)
        elif call.get("error") is not None:
            failed.append(call["tool"])
        else:
            calls.append(ToolCall(call["tool"], call.get("arguments") or {}, call["result"]))
    if not problems and not calls:
        problems.append(Problem("wrong_value", "no call that succeeded", hint=HINT))
    if problems:
        raise WorkflowError(str(path), problems)
    return Transcript(calls, failed)


def _is_recording(text: str) -> bool:
    try:
        document = json.loads(text)
    except ValueError:
        return False  # several lines are no JSON; a broken recording is found out line by line
    return isinstance(document, dict) and "calls" in document


def _of_recording(recording: Recording) -> Transcript:
    """The calls of a recording, once for each answer."""
    calls, failed = list[ToolCall](), list[str]()
    for call in recording.calls.values():
        for answer in call.answers:
            if answer.error is not None or answer.no_answer or call.kind != "tool":
                failed.append(call.target)
            else:
                calls.append(ToolCall(call.target, call.arguments, answer.output))
    if not calls:
        raise WorkflowError(recording.source, [Problem("wrong_value", "no call that succeeded")])
    tools = (tool for listed in recording.tools.values() for tool in listed)
    declared = {tool.target: {"readOnlyHint": tool.read_only} for tool in tools}
    return Transcript(calls, failed, declared, is_ordered=False)


def _faults(call: Any) -> Iterator[str]:
    if not isinstance(call, dict):
        yield f"expected object with tool, arguments and result, got {describe(call)}"
        return
    tool, arguments = call.get("tool"), call.get("arguments")
    if not isinstance(tool, str):
        yield f'expected "tool" as a string, got {describe(tool)}'
    elif not all(tool.partition(":")):
        yield f'expected "tool" as server:tool, got {quoted(tool)}'
    if not isinstance(arguments, dict | None):
        yield f'expected "arguments" as an object, got {describe(arguments)}'
    if "result" not in call and call.get("error") is None:
        yield f'neither "result" nor "error"; it has: {_names(call)}'


def _names(names: Iterable[str]) -> str:
    return alternatives(sorted(names)) or "nothing"


def _wrong(line: int, message: str) -> Problem:
    return Problem("wrong_value", f"line {line}: {message}", hint=HINT)
