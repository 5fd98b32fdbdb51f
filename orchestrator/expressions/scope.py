"""The document of a run, and references to places in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.documents.jsonpath import Path, PlaceMissingError, follow, format_path
from orchestrator.documents.text import quoted
from orchestrator.errors import CallError


class Missing:
    """The type of `MISSING`, which stands for no value."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = Missing()


@dataclass(slots=True)
class Scope:
    """What references are resolved against. Shared by all tasks of a run, never copied.

    Attributes:
        outputs: The output of each task that has one.
        statuses: The status of each settled task.
        errors: The error of each failed task, as JSON.
        inputs: The inputs of the run.
        item: The item of a `for_each`, and `index` its position.
        error: The error of the failed task, in a `fallback`.
        null_is_unknown: Whether null stands for an unknown output, as in a dry run: every path
            leads through it, and functions accept it. Both give null.
    """

    outputs: Mapping[str, Any] = field(default_factory=dict)
    statuses: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    item: Any = MISSING
    index: Any = MISSING
    error: Any = MISSING
    null_is_unknown: bool = False

    def get(self, root: str, /) -> Any:
        """The part of the document that a root of an expression names; None for any other name.

        In a fallback `ERROR` is the error of the failed task; `ERROR[` are the errors of all tasks.
        """
        match root:
            case "OUTPUT":
                return self.outputs
            case "STATUS":
                return self.statuses
            case "ERROR":
                return self.errors if self.error is MISSING else self.error
            case "ERROR[":
                return self.errors
            case "INPUT":
                return self.inputs
            case "ITEM" if self.item is not MISSING:
                return self.item
            case "INDEX" if self.index is not MISSING:
                return self.index
        return None  # null, as JMESPath has it for any name that does not exist


@dataclass(frozen=True, slots=True)
class ScopeKey:
    """What an expression reads: a root, and the task or input below it if it names one."""

    root: str
    name: str | None


@dataclass(frozen=True, slots=True)
class Reference:
    """One place in the run: a root, the task or input it names, and a path below that.

    Attributes:
        root: `OUTPUT`, `ERROR`, `INPUT`, `ITEM` or `INDEX`.
        name: The task, for `OUTPUT` and `ERROR[id]`; the input, for `INPUT`.
        path: The path below that.
        text: As the author wrote it.
        or_length: The older form `${id.result.path.length}`: the length of the array or string at
            `path`, unless it has a property `length`.
        or_null: In braces: null, not an error, if the task has no output at all.
    """

    root: str
    name: str | None
    path: Path
    text: str
    or_length: bool = False
    or_null: bool = False

    @property
    def places(self) -> tuple[ScopeKey, ...]:
        """What it reads, as for an expression."""
        return (ScopeKey(self.root, self.name),)

    def resolve(self, scope: Scope) -> Any:
        """The value at that place; never a copy.

        Raises:
            CallError: A `reference_error`: there is no such place, or the task has no output.
        """
        if self.or_null and self.name not in scope.outputs:
            return None
        value = self._root(scope)
        if value is MISSING:
            message = f"{self.text} has no value here"
            raise CallError("reference_error", message, reference=self.text)
        try:
            return follow(value, self.path)
        except PlaceMissingError as missing:
            if missing.value is None and scope.null_is_unknown:
                return None
            if self.or_length and missing.found == len(self.path) - 1:
                holder = follow(value, self.path[:-1])
                if isinstance(holder, list | str):
                    return len(holder)
            raise self._missing(missing) from None

    def _root(self, scope: Scope) -> Any:
        match self.root:
            case "OUTPUT":
                output = scope.outputs.get(str(self.name), MISSING)
                if output is MISSING:
                    raise self._no_output(scope)
                return output
            case "ERROR" if self.name is None:
                return scope.error
            case "ERROR":
                return scope.errors.get(str(self.name))
            case "INPUT":
                return scope.inputs[str(self.name)]
            case "ITEM":
                return scope.item
            case _:
                return scope.index

    def _no_output(self, scope: Scope) -> CallError:
        status = scope.statuses.get(str(self.name), "pending")
        state = {"error": "failed", "pending": "has not run"}.get(status, f"was {status}")
        return CallError(
            "reference_error",
            f"{self.text}: task {quoted(str(self.name))} {state}, so it has no output; "
            f"${{OUTPUT[{self.name}]}} gives null instead",
            reference=self.text,
            task=self.name,
            status=status,
        )

    def _missing(self, missing: PlaceMissingError) -> CallError:
        base, here = self._base(), missing.found
        step = format_path(self.path[here : here + 1])
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
            missing=step,
            keys=missing.keys,
        )

    def _base(self) -> str:
        if self.name is None:
            return f"${self.root}"
        if self.root == "INPUT":
            return f"$INPUT{format_path((self.name,))}"
        return f"${self.root}[{self.name}]"
