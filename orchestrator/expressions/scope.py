"""The document of a run, and references to places in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.documents.jsonpath import Path, PlaceMissingError, follow, format_path
from orchestrator.documents.text import quoted
from orchestrator.errors import CallError


class SlowExpressionError(Exception):
    """An expression takes too long for the event loop, in which a `quick` scope is read."""


class Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING = Missing()  # no value, where null would be one
# The names that an expression reads; `ERROR[` is `ERROR` with a task id behind it.
_FIELDS = {
    "OUTPUT": "outputs",
    "ITEMS": "items",
    "STATUS": "statuses",
    "ERROR": "error",
    "ERROR[": "errors",
    "INPUT": "inputs",
    "ITEM": "item",
    "INDEX": "index",
    "LAST": "last",
    "RUN": "run",
}
WRAPPED_AS = "result"
RUN_PROPERTIES = ("id", "started_at", "workflow")  # of `$RUN`


@dataclass(slots=True)
class Scope:
    """What references are resolved against. Shared by all tasks of a run, never copied."""

    outputs: Mapping[str, Any] = field(default_factory=dict)  # of each task that has one
    items: Mapping[str, Any] = field(default_factory=dict)  # of each settled for_each, as JSON
    statuses: Mapping[str, str] = field(default_factory=dict)  # of each settled task
    errors: Mapping[str, Any] = field(default_factory=dict)  # of each failed task, as JSON
    inputs: Mapping[str, Any] = field(default_factory=dict)
    item: Any = MISSING  # of a for_each
    index: Any = MISSING
    error: Any = MISSING  # of the failed task, in a fallback
    last: Any = None  # the answer before, under `repeat`
    run: Any = MISSING  # what `RUN_PROPERTIES` names; missing before a run
    # The outputs that servers had wrapped, by identity: `.result` of one is the value itself.
    wrapped: dict[int, Any] = field(default_factory=dict)
    # Null stands for an unknown output, as in a dry run: paths through it and functions of it are
    # null too, since an error would be about a value that no tool gave.
    null_is_unknown: bool = False
    # Whether a long expression raises `SlowExpressionError`, to be evaluated again in a thread.
    quick: bool = False

    def at(self, item: Any, index: Any) -> Scope:
        """The same for an item, and quick; `replace` takes three times as long."""
        before = self.outputs, self.items, self.statuses, self.errors, self.inputs
        behind = self.error, self.last, self.run, self.wrapped, self.null_is_unknown
        return Scope(*before, item, index, *behind, True)

    def get(self, root: str, /) -> Any:
        """The part of the document that a root names; None for any other name, as in JMESPath."""
        if root not in _FIELDS:
            return None
        value = getattr(self, _FIELDS[root])
        if value is not MISSING:
            return value
        return self.errors if root == "ERROR" else None

    def has_wrapped(self, missing: PlaceMissingError) -> bool:
        """Whether a path breaks off at an output that its server had wrapped."""
        # Deeper inside, a value may be the same null or small number that is an output elsewhere.
        is_output = all(isinstance(step, int) or step == "output" for step in missing.before)
        may_be = is_output or isinstance(missing.value, dict | list)
        return may_be and id(missing.value) in self.wrapped


@dataclass(frozen=True, slots=True)
class ScopeKey:
    """What an expression reads: a root, and the task or input below it if it names one."""

    root: str
    name: str | None


@dataclass(frozen=True, slots=True)
class Reference:
    """One place in the run: a root, the task or input it names, and a path below that."""

    root: str  # OUTPUT, ITEMS, ERROR, INPUT, ITEM, INDEX, LAST or RUN
    name: str | None  # the task of OUTPUT, ITEMS and ERROR[id], the property of INPUT and RUN
    path: Path
    text: str  # as the author wrote it
    # The older form ${id.result.path.length} is the length of the array or string at its path,
    # unless that has a property "length".
    or_length: bool = False
    or_null: bool = False  # in braces: null, not an error, if the task has no output at all

    @property
    def places(self) -> tuple[ScopeKey, ...]:
        return (ScopeKey(self.root, self.name),)

    def resolve(self, scope: Scope) -> Any:
        """The value at that place, never a copy; a CallError if there is none."""
        if self.or_null and self.name not in scope.outputs:
            return None
        value = self._root(scope)
        if value is None and self.root == "LAST":
            return None  # before the first answer there is no place in it
        if value is MISSING:
            message = f"{self.text} has no value here"
            raise CallError("reference_error", message, reference=self.text)
        try:
            return follow(value, self.path)
        except PlaceMissingError as missing:
            if missing.value is None and scope.null_is_unknown:
                return None
            if self.path[missing.found] == WRAPPED_AS and scope.has_wrapped(missing):
                path = (*missing.before, *self.path[missing.found + 1 :])
                return replace(self, path=path).resolve(scope)
            if self.or_length and missing.found == len(self.path) - 1:
                holder = follow(value, self.path[:-1])
                if isinstance(holder, list | str):
                    return len(holder)
            raise self._missing(missing) from None

    def _root(self, scope: Scope) -> Any:
        if self.name is None:
            return getattr(scope, _FIELDS[self.root])
        if self.root == "RUN":
            return MISSING if scope.run is MISSING else scope.run[self.name]
        if self.root == "OUTPUT":
            output = scope.outputs.get(self.name, MISSING)
            if output is MISSING:
                raise self._no_output(self.name, scope)
            return output
        if self.root == "INPUT":
            return scope.inputs[self.name]
        return (scope.items if self.root == "ITEMS" else scope.errors).get(self.name)

    def _no_output(self, task: str, scope: Scope) -> CallError:
        status = scope.statuses.get(task, "pending")
        state = {"error": "failed", "pending": "has not run"}.get(status, f"was {status}")
        return CallError(
            "reference_error",
            f"{self.text}: task {quoted(task)} {state}, so it has no output; "
            f"${{OUTPUT[{task}]}} gives null instead",
            reference=self.text,
            task=task,
            status=status,
        )

    def _missing(self, missing: PlaceMissingError) -> CallError:
        base, here = f"${self.root}", missing.found
        if self.name is not None:
            base += format_path((self.name,)) if self.root in ("INPUT", "RUN") else f"[{self.name}]"
        message = missing.message(base)
        # Where the message would only repeat the reference, it is not put before it.
        if self.text != f"{base}{format_path(self.path[: here + 1])}":
            message = f"{self.text}: {message}"
        return CallError(
            "reference_error",
            message,
            reference=self.text,
            path=format_path(self.path),
            exists=format_path(self.path[:here]),
            missing=format_path(self.path[here : here + 1]),
            keys=missing.keys,
        )
