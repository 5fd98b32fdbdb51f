"""The types of everything that a template may refer to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.errors import ERROR_KINDS
from orchestrator.schema.types import (
    INTEGER,
    NULL,
    SchemaType,
    StaticType,
    UnknownType,
    either,
    schema_type,
)

STATUS = schema_type({"enum": ["success", "error", "skipped", "cancelled"]})
ERROR: SchemaType = schema_type(
    {
        "type": "object",
        "properties": {
            "kind": {"enum": list(ERROR_KINDS)},
            "message": {"type": "string"},
            "retryable": {"type": "boolean"},
            "details": {"type": "object"},
        },
        "required": ["kind", "message", "retryable", "details"],
        "additionalProperties": False,
    }
)
MAYBE_ERROR = either([ERROR, NULL])
# Nothing is known of it, and that needs no finding.
UNKNOWN = UnknownType("")


@dataclass(frozen=True, slots=True)
class Environment:
    """The types of what a template may refer to.

    Attributes:
        outputs: The output of each task, by id.
        inputs: Each input of the workflow, by name.
        item: The item of a `for_each`.
        in_fallback: Whether `ERROR` is the error that a fallback replaces.
        may_lack: Whether a task it refers to may have no output, which is null in an expression.
        at_end: Whether it is the output of the run, where a failed task is no surprise.
        error: `$ERROR[id]`: null, where every task it refers to has succeeded.
    """

    outputs: Mapping[str, StaticType]
    inputs: Mapping[str, StaticType] = field(default_factory=dict)
    item: StaticType = UNKNOWN
    in_fallback: bool = False
    may_lack: bool = False
    at_end: bool = False
    error: StaticType = NULL

    def lookup(self, root: str, name: str | None = None) -> StaticType:
        """The type of what a root names, such as `OUTPUT` with the id of a task."""
        match root:
            case "OUTPUT":
                return self.outputs.get(str(name), UNKNOWN)
            case "INPUT":
                return self.inputs.get(str(name), UNKNOWN)
            case "STATUS":
                return STATUS
            case "ERROR":
                return ERROR if name is None else self.error
            case "ITEM":
                return self.item
            case "INDEX":
                return INTEGER
        return UNKNOWN
