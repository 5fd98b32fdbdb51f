"""The types of everything that a template may refer to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.errors import ERROR_KINDS
from orchestrator.schema.types import (
    INTEGER,
    NULL,
    TEXT,
    ArrayType,
    ObjectType,
    StaticType,
    UnknownType,
    either,
    schema_type,
)
from orchestrator.workflow.plan import TaskPlan

_ERROR: dict[str, Any] = {
    "kind": {"enum": list(ERROR_KINDS)},
    "message": {"type": "string"},
    "retryable": {"type": "boolean"},
    "details": {"type": "object"},
}
ERROR: StaticType = schema_type(
    {
        "type": "object",
        "properties": _ERROR,
        "required": list(_ERROR),
        "additionalProperties": False,
    }
)
MAYBE_ERROR = either([ERROR, NULL])
STATUS = schema_type({"enum": ["success", "error", "skipped", "cancelled"]})


def items_type(output: StaticType) -> StaticType:
    """The type of `$ITEMS[id]`, by that of the output of an item."""
    members = {
        "index": INTEGER,
        "status": STATUS,
        "output": either([output, NULL]),
        "error": MAYBE_ERROR,
    }
    return ArrayType(ObjectType(members))


UNKNOWN = UnknownType("")  # without a reason, as it needs no finding


def input_types(
    declared: Mapping[str, Any], given: Mapping[str, StaticType] | None = None
) -> dict[str, StaticType]:
    """The types of inputs by their schemas; one without a schema has the type of what is given."""
    unknown, given = UnknownType("the input has no schema"), given or {}
    return {
        name: given.get(name, unknown)
        if isinstance(schema, bool) or not schema
        else schema_type(schema)
        for name, schema in declared.items()
    }


@dataclass(frozen=True, slots=True)
class Environment:
    """The types of what a template may refer to."""

    outputs: Mapping[str, StaticType]
    inputs: Mapping[str, StaticType] = field(default_factory=dict)
    task: TaskPlan | None = None  # the task of the template; None for the output of the run
    items: Mapping[str, StaticType] = field(default_factory=dict)  # of each for_each
    item: StaticType = UNKNOWN
    last: StaticType = UNKNOWN  # `LAST`, the answer just given under `repeat`
    before_first: bool = False  # `LAST` is null in the arguments of the first call
    in_fallback: bool = False  # `ERROR` is the error that a fallback replaces
    may_lack: bool = False  # a task may have no output, which is null in an expression
    present: frozenset[str] = frozenset()  # the tasks that have one by the condition of this task
    at_end: bool = False  # for the output of the run, where a failed task is no surprise
    error: StaticType = NULL  # of `$ERROR[id]`: null if all of its tasks have succeeded
    status: StaticType = STATUS  # of `STATUS[id]`
    absent: frozenset[str] = frozenset()  # the tasks that certainly have no output

    def lacks(self, task: str | None) -> bool:
        """Whether a task may have no output."""
        return self.may_lack and task not in self.present

    def lookup(self, root: str, name: str | None = None) -> StaticType:
        """The type of what a root names, such as `OUTPUT` with the id of a task."""
        if root in ("OUTPUT", "INPUT"):
            return (self.outputs if root == "OUTPUT" else self.inputs).get(str(name), UNKNOWN)
        if root == "ITEMS":
            return self.items.get(str(name), UNKNOWN)
        if root == "RUN":
            return TEXT
        error = ERROR if name is None else self.error
        known = {"STATUS": self.status, "ERROR": error, "ITEM": self.item, "INDEX": INTEGER}
        return known.get(root, self.last if root == "LAST" else UNKNOWN)
