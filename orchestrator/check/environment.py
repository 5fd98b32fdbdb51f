"""What stands around a template before the run: the shape of each thing that it may refer to.

The rule of this file: values only; who reads them is in `inference` and `expression_shapes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.errors import ERROR_KINDS
from orchestrator.schema.types import NULL, SchemaType, StaticType, UnknownType, either, schema_type

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
_NO_ITEM = UnknownType("")


@dataclass(frozen=True, slots=True)
class Environment:
    """The shapes of what a template may refer to.

    Attributes:
        outputs: The output of each task, by its id.
        inputs: Each input of the workflow.
        item: The element of a `for_each`.
        in_fallback: Whether `ERROR` is the error that a fallback stands in for.
        may_lack: Whether a task it refers to may have no output, which is null in an expression.
        at_end: Whether it is the output of the run, for which a task that failed is no surprise.
        error: What `$ERROR[id]` is: null, where every task it refers to has succeeded.
    """

    outputs: Mapping[str, StaticType]
    inputs: Mapping[str, StaticType] = field(default_factory=dict)
    item: StaticType = _NO_ITEM
    in_fallback: bool = False
    may_lack: bool = False
    at_end: bool = False
    error: StaticType = NULL
