"""JSON Schemas of tools: does a value fit, and where not.

The rule of this file: JSON Schema is the `jsonschema` library's business, imported when the first
value is checked that does not fit for certain; nothing is fetched. A schema that cannot be used
says nothing about any value, and where servers mean more than the letter says, they are understood.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from orchestrator.documents.jsonpath import Path
from orchestrator.schema.certainty import Certainty
from orchestrator.schema.coercion import json_type

if TYPE_CHECKING:
    from jsonschema import ValidationError

Schema = Mapping[str, Any] | bool


@dataclass(frozen=True, slots=True)
class ValidationFailure:
    """One place where a value does not fit its schema.

    Attributes:
        path: Where in the value.
        message: What is wrong there, as the library says it; it may be as long as the value.
        keyword: The keyword of JSON Schema that is not met, such as `type` or `required`.
        expected: The value of that keyword.
        value: What stands there.
        schema: The part of the schema that the keyword is of.
    """

    path: Path
    message: str
    keyword: str
    expected: Any
    value: Any = None
    schema: Any = None

    @property
    def missing(self) -> list[str]:
        """Of the keyword `required`: the members that are missing, and have no default."""
        properties = self.schema.get("properties", {})
        return [
            name
            for name in self.expected
            if name not in self.value and not _has_default(properties.get(name))
        ]

    @property
    def is_meant(self) -> bool:
        """Whether the server means it, too.

        Not so for members with a default, which some libraries list as required (zod 4 does, of
        what a schema gives), for OpenAPI's `nullable`, and for errors of rounding: 19.99 is a
        multiple of 0.01, and 19.99 / 0.01 is no integer.
        """
        if self.keyword == "required":
            return bool(self.missing)
        if self.value is None and isinstance(self.schema, Mapping):
            return self.schema.get("nullable") is not True
        if self.keyword == "multipleOf":
            steps = self.value / self.expected
            return not math.isclose(steps, round(steps), rel_tol=1e-9)
        return True


def _has_default(schema: Any) -> bool:
    return isinstance(schema, Mapping) and "default" in schema


class Validator:
    """Checks values against one schema, in the dialect that it names, else draft 2020-12.

    Args:
        schema: The schema; it may be wrong in any way.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._certainty = Certainty(schema)
        self._unusable: str | None = None
        self._validator: Any = None

    @property
    def unusable(self) -> str:
        """Why the schema cannot be used; empty if it can. If it cannot, every value fits."""
        if self._unusable is None:
            self._unusable = self._load()
        return self._unusable

    def _load(self) -> str:
        """Make the library's validator; gives what is wrong with the schema."""
        from jsonschema import Draft202012Validator
        from jsonschema.validators import validator_for
        from referencing.jsonschema import EMPTY_REGISTRY

        try:
            kind = validator_for(self._schema, default=Draft202012Validator)
            fault = _fault(kind, json.dumps(self._schema, sort_keys=True))
        except (AttributeError, TypeError, ValueError) as error:  # a "$schema" that is no text
            return f"{type(error).__name__}: {error}"
        except RecursionError:
            return "it is nested too deep"
        if fault:
            return fault
        ours = _dialect(kind, self._certainty)
        self._validator = ours(self._schema, registry=EMPTY_REGISTRY)
        return ""

    def fits(self, value: Any) -> bool:
        """Whether a value fits."""
        return next(self.mismatches(value), None) is None

    def mismatches(self, value: Any, part: Schema | None = None) -> Iterator[ValidationFailure]:
        """Every place where a value does not fit.

        Of a value that may have one of several forms, what is wrong with the one that is meant.

        Args:
            value: A JSON value.
            part: Instead of the whole schema, a part of it; a `$ref` in it leads into the whole.
        """
        if (part is None and self._certainty.fits(value)) or self.unusable:
            return
        from referencing.exceptions import Unresolvable

        validator = self._validator if part is None else self._validator.evolve(schema=part)
        try:
            with panics_as_recursion():
                for error in validator.iter_errors(value):
                    found = map(_validation_failure, _telling(error))
                    yield from (mismatch for mismatch in found if mismatch.is_meant)
        except (Unresolvable, ValueError, re.error) as failure:  # a $ref or a pattern
            self._unusable = f"{type(failure).__name__}: {failure}"
        except RecursionError:  # a $ref in circles, or the value is nested deep
            if not isinstance(value, dict | list):
                self._unusable = "a $ref leads in circles"
        except (TypeError, OverflowError):  # the value is no JSON: who sends it says so
            return


@lru_cache(maxsize=1000)
def _fault(kind: Any, schema: str) -> str:
    """What is wrong with a schema, as a JSON text; empty if nothing is.

    It takes some ms, and the same tools are looked at for one workflow after the other.

    Raises:
        RecursionError: It is nested too deep.
    """
    from jsonschema import SchemaError

    try:
        with panics_as_recursion():
            kind.check_schema(json.loads(schema))
    except SchemaError as error:
        return error.message
    return ""


@contextmanager
def panics_as_recursion() -> Iterator[None]:
    """Where a schema leads in circles, what the library is built on may panic; no `Exception`.

    Raises:
        RecursionError: It did.
    """
    try:
        yield
    except Exception:
        raise
    except BaseException as panic:
        if type(panic).__module__ == "pyo3_runtime":
            raise RecursionError(str(panic)) from None
        raise


def _dialect(kind: Any, certainty: Certainty) -> Any:
    """The library's validator of a dialect, for values from Python, and for large ones.

    Tuples are arrays, and of the items of an array it looks at those alone that may not fit: with a
    million numbers it would be busy for seconds, and nothing else would go on.
    """
    from jsonschema import validators

    extend: Any = validators.extend  # it has no types
    items_of_kind = kind.VALIDATORS["items"]

    def items(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
        if not isinstance(wanted, dict) or "prefixItems" in schema:
            yield from items_of_kind(validator, wanted, value, schema)
        elif validator.is_type(value, "array"):
            for number, item in certainty.doubtful(value, wanted):
                yield from validator.descend(item, wanted, path=number)

    types = kind.TYPE_CHECKER.redefine_many({"array": _is_array, "integer": _is_integer})
    return extend(kind, {"items": items}, type_checker=types)


def _is_array(_: Any, value: Any) -> bool:
    return isinstance(value, list | tuple)


def _is_integer(_: Any, value: Any) -> bool:
    """In every dialect, 2.0 is an integer: in draft 4 it was none, and to JavaScript it is 2."""
    return json_type(value) == "integer" or (isinstance(value, float) and value.is_integer())


def _validation_failure(error: ValidationError) -> ValidationFailure:
    return ValidationFailure(
        tuple(error.absolute_path),
        error.message,
        str(error.validator),
        error.validator_value,
        error.instance,
        error.schema,
    )


def _telling(error: ValidationError) -> Iterator[ValidationError]:
    """What is wrong with the one form of several that the value is meant to have, if it is one."""
    forms: dict[Any, list[ValidationError]] = defaultdict(list)
    if error.validator in ("anyOf", "oneOf"):
        for inner in error.context or ():
            if inner.relative_schema_path:  # a form that is `false` is nobody's
                forms[inner.relative_schema_path[0]].append(inner)
    meant = list(forms.values())
    if len(meant) > 1:
        meant = [errors for errors in meant if not any(map(_is_of_another_form, errors))]
    if len(meant) != 1:
        yield error
        return
    for inner in meant[0]:
        yield from _telling(inner)


def _is_of_another_form(error: ValidationError) -> bool:
    """Whether a value is of another type than this form, or a member says that it is of another."""
    depth = len(error.relative_path)
    return (error.validator == "type" and not depth) or (
        error.validator in ("const", "enum") and depth <= 1
    )
