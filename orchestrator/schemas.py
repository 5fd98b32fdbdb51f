"""JSON Schemas of tools: does a value fit, and where not.

The rule of this file: JSON Schema is the `jsonschema` library's business, imported when the first
value is checked; nothing is fetched. A schema that cannot be used says nothing about any value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.paths import Path

Schema = Mapping[str, Any] | bool


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One place where a value does not fit its schema.

    Attributes:
        path: Where in the value.
        message: What is wrong there.
        keyword: The keyword of JSON Schema that is not met, such as `type` or `required`.
        expected: The value of that keyword.
    """

    path: Path
    message: str
    keyword: str
    expected: Any


class Validator:
    """Checks values against one schema, in the dialect that it names, else draft 2020-12.

    Args:
        schema: The schema; it may be wrong in any way.

    Attributes:
        unusable: Why the schema cannot be used; empty if it can. Then every value fits.
    """

    def __init__(self, schema: Schema) -> None:
        from jsonschema import Draft202012Validator, SchemaError
        from jsonschema.validators import validator_for
        from referencing.jsonschema import EMPTY_REGISTRY

        kind = validator_for(schema, default=Draft202012Validator)
        self.unusable = ""
        try:
            kind.check_schema(schema)  # type: ignore[arg-type]
        except SchemaError as error:
            self.unusable = error.message
        except RecursionError:
            self.unusable = "it is nested too deep"
        self._validator: Any = kind(schema, registry=EMPTY_REGISTRY)

    def fits(self, value: Any) -> bool:
        """Whether a value fits."""
        return next(self.mismatches(value), None) is None

    def mismatches(self, value: Any) -> Iterator[Mismatch]:
        """Every place where a value does not fit."""
        if self.unusable:
            return
        from referencing.exceptions import Unresolvable

        try:
            for error in self._validator.iter_errors(value):
                path = tuple(error.absolute_path)
                yield Mismatch(path, error.message, str(error.validator), error.validator_value)
        except (Unresolvable, RecursionError, ValueError, OverflowError, re.error) as failure:
            self.unusable = f"{type(failure).__name__}: {failure}"  # a $ref or a pattern
