"""Every error of the package, as a tree split by whose fault it is; so the file is a long one.

OrchestratorError
├── WorkflowError               the author's fault, found before any call: a list of problems
│   ├── ConfigError             the same for servers.toml and other settings
│   └── ServerStartError        a server marked `required = true` did not start
├── UnknownTaskError            a result has no such task; a KeyError too
├── AnswerError                 the answer to a question does not fit, or nothing was asked
├── RefusedError                raised by a callback that refuses what it is asked
├── JournalError                a journal cannot be used, or has no such run
│   ├── UnknownRunError         it has no such run
│   └── DamagedError            its file is damaged
└── CallError                   the world's fault, while a task ran: the error of an outcome
    ├── NotExecutedError        it was certainly not executed, and another session can make it
    └── InvalidArgumentsError   the arguments do not fit their schema, and no call was made
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

ErrorKind = Literal[
    "tool_error",
    "timeout",
    "server_unavailable",
    "protocol_error",
    "invalid_arguments",
    "reference_error",
    "output_invalid",
    "not_done",
    "refused",
    "budget",
    "not_recorded",
    "cancelled",
    "internal",
]
ERROR_KINDS: tuple[ErrorKind, ...] = get_args(ErrorKind)
MAX_SHOWN = 200
MAX_NAME = 200  # characters of a name or a path in a message
RETRYABLE_KINDS = frozenset({"tool_error", "timeout", "server_unavailable", "protocol_error"})


class OrchestratorError(Exception):
    """The root of every exception that this package raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding in a file, made before anything was called.

    Attributes:
        code: A stable name of the kind of finding, such as `unknown_task`.
        message: What is wrong: what was expected, and what was found.
        path: Where, as a JSON Pointer (RFC 6901) into the file; empty for the whole file.
        task: The id of the task it is in, if it is in one.
        alternatives: The nearest valid names or values, best first.
        hint: How to fix it; empty if the message says enough.
        severity: `error`: the run would fail; `warning`: it may fail, or the author most likely
            meant something else; `note`: the schemas leave it open.
        text: The part of the value at `path` that is wrong, as written; empty for all of it.
        replacement: A certain fix, as the operations of a JSON Patch (RFC 6902).
        line: The line in the file, from 1, and `column` the character in it; None if unknown.
    """

    code: Code
    message: str
    path: str = ""
    task: str | None = None
    alternatives: tuple[str, ...] = ()
    hint: str = ""
    severity: Severity = "error"
    text: str = ""
    replacement: tuple[Mapping[str, Any], ...] = ()
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        task = f"task {_quoted(self.task)}" if self.task is not None else ""
        where = ", ".join(filter(None, (task, _cut(self.path))))
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}: {self.sentence}{hint}".removeprefix(": ")

    @property
    def sentence(self) -> str:
        """The message, with the alternatives as a question."""
        if not self.alternatives:
            return self.message
        return f"{self.message}. Did you mean {' or '.join(map(_quoted, self.alternatives))}?"

    def to_dict(self, *, whole: bool = True) -> dict[str, Any]:
        """The problem as a JSON object, without `text`; with `whole=False` without empty fields."""
        document = {
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "path": self.path,
            "task": self.task,
            "line": self.line,
            "column": self.column,
            "alternatives": list(self.alternatives),
            "hint": self.hint,
            "replacement": [dict(operation) for operation in self.replacement],
        }
        return document if whole else {name: each for name, each in document.items() if each}


def _quoted(name: str) -> str:
    return json.dumps(_cut(name), ensure_ascii=False)


def _cut(name: str) -> str:
    # `documents.text` does this for all rooms above; the errors are below it.
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 3]}..."


class WorkflowError(OrchestratorError):
    """A workflow, its inputs or its configuration is wrong, and nothing was called.

    If some servers of the workflow were still starting, read-only tools of others may have been.

    Attributes:
        source: The file or object that is wrong, as the user knows it.
        problems: All problems, in the order of the file. The message shows `MAX_SHOWN` of them.
        so_far: What was called before the problems were found, for the message.
    """

    def __init__(
        self, source: str, problems: Iterable[Problem], so_far: str = "nothing was called"
    ) -> None:
        self.source = source
        self.problems = tuple(problems)
        self.so_far = so_far
        lines = [f"  {self._place(problem)}{problem}" for problem in self.problems[:MAX_SHOWN]]
        count = f"{len(self.problems):,} error{'s' if len(self.problems) != 1 else ''}"
        if (more := len(self.problems) - MAX_SHOWN) > 0:
            lines.append(f"  and {more:,} more; --json lists all of them")
        super().__init__("\n".join([f"{_cut(source)}: {count}, {so_far}", *lines]))

    def _place(self, problem: Problem) -> str:
        """`FILE:LINE:COLUMN`, the form that editors and terminals open."""
        if problem.line is None:
            return ""
        return f"{self.source}:{problem.line}:{problem.column}: "


class ConfigError(WorkflowError):
    """The servers' file is wrong."""


class ServerStartError(WorkflowError):
    """A server that is marked `required = true` did not start, and there is no run."""


@dataclass(frozen=True, slots=True)
class TaskError:
    """Why a task failed, as the result document has it.

    Attributes:
        kind: One of `ERROR_KINDS`.
        message: For people.
        retryable: Whether the same call may succeed on another attempt.
        details: For programs, a JSON object.
    """

    kind: ErrorKind
    message: str
    retryable: bool
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The error as a JSON object."""
        return {
            "kind": self.kind,
            "message": self.message,
            "retryable": self.retryable,
            "details": dict(self.details),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """The error that `to_dict` wrote."""
        return cls(**document)


class UnknownTaskError(OrchestratorError, KeyError):
    """A result has no task of that name."""

    __str__ = Exception.__str__  # that of a KeyError shows its message in quotes


class AnswerError(OrchestratorError, ValueError):
    """An answer does not fit the schema of its question, or no such question is open."""


class RefusedError(OrchestratorError):
    """Raise it in an `answer` callback to refuse what is asked."""


class JournalError(OrchestratorError):
    """A journal cannot be read or written, or has no such run; says why, and what helps."""


class UnknownRunError(JournalError):
    """A journal has no such run."""


class CarriedError(JournalError):
    """Another process carries a run."""


class DamagedError(JournalError):
    """The file of a journal is damaged."""


class CallError(OrchestratorError):
    """A call, or a step before it, failed during a run.

    Args:
        kind: One of `ERROR_KINDS`.
        message: For people.
        retryable: Whether another attempt may succeed; by default what `RETRYABLE_KINDS` says.
        details: For programs; JSON values.
    """

    def __init__(
        self, kind: ErrorKind, message: str, *, retryable: bool | None = None, **details: Any
    ) -> None:
        may_retry = kind in RETRYABLE_KINDS if retryable is None else retryable
        self.error = TaskError(kind, message, may_retry, details)
        super().__init__(message)

    @classmethod
    def of(cls, error: TaskError) -> Self:
        """The exception for an error that exists already."""
        failure = cls(error.kind, error.message)
        failure.error = error
        return failure

    @property
    def kind(self) -> ErrorKind:
        """One of `ERROR_KINDS`."""
        return self.error.kind


class NotExecutedError(CallError):
    """A call that failed and was certainly not executed: another session can make it."""


class InvalidArgumentsError(CallError):
    """The arguments of a call do not fit the `inputSchema` of its tool, and it was not made."""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__("invalid_arguments", message, **details)


Severity = Literal["error", "warning", "note"]

Code = Literal[
    "always_null",
    "contradiction",
    "cycle",
    "denied_tool",
    "doubled_field",
    "duplicate_id",
    "likely_reference",
    "malformed_document",
    "malformed_lock",
    "malformed_reference",
    "malformed_variable",
    "may_not_fit",
    "maybe_absent",
    "means_nothing",
    "missing_argument",
    "missing_field",
    "missing_input",
    "missing_variable",
    "never_an_output",
    "never_retried",
    "never_runs",
    "never_true",
    "no_calls",
    "no_error_here",
    "no_answer_here",
    "no_item_here",
    "no_items_there",
    "no_servers",
    "not_a_list",
    "not_cacheable",
    "not_json",
    "retry_of_a_writer",
    "self_reference",
    "reads_finally",
    "server_not_locked",
    "server_unavailable",
    "tool_changed",
    "tools_not_checked",
    "unannotated_tools",
    "uncallable_tool",
    "unexpected_argument",
    "unknown_field",
    "unknown_input",
    "unknown_place",
    "unknown_prompt",
    "unknown_resource",
    "unknown_server",
    "unknown_task",
    "unknown_tool",
    "unknown_type",
    "unpinned_package",
    "unreadable_file",
    "untrusted_flow",
    "unusable_schema",
    "unused_input",
    "unwritable_file",
    "usage",
    "wrong_argument",
    "wrong_expression",
    "wrong_input",
    "wrong_key_argument",
    "wrong_schema",
    "wrong_type",
    "wrong_value",
]
CODES: tuple[Code, ...] = get_args(Code)
