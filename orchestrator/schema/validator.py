"""Validates JSON values against JSON Schemas with `jsonschema-rs`.

Nothing is fetched. A schema that cannot be used accepts every value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from orchestrator.documents.jsonpath import Path
from orchestrator.documents.text import cut
from orchestrator.schema.coercion import listed, referred
from orchestrator.schema.leniency import violations_of
from orchestrator.schema.patterns import BUDGET, MAX_BACKTRACKS, Budget, backtracks, patterns_in
from orchestrator.schema.violations import Violation, mismatch

if TYPE_CHECKING:
    from jsonschema_rs import Registry, ValidationError
    from jsonschema_rs import Validator as Compiled

Schema = Mapping[str, Any] | bool

# The library recurses on the stack of its thread, which may have no more than 512 KB.
MAX_DEPTH = 200
_HOLDERS = (dict, list, tuple)  # quicker than `dict | list | tuple` for millions of values
_MAX_LISTED = 5_000  # it collects all errors at once, which takes about 10 us each
_MAX_WEIGHT = 10_000  # subschemas that apply to one value, each as often as it is referred to
_MAX_FAULT = 200
_WHOLE = "urn:orchestrator:whole-schema"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class Validator:
    """Validates values against one schema, in the draft that it names, else draft 2020-12.

    Args:
        schema: The schema; it may be wrong in any way.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema: Any = schema
        self._parts: dict[int, tuple[Any, Any, Compiled | None]] = {}
        self._budget: Budget | None = None

    @property
    def unusable(self) -> str:
        """Why the schema cannot be used; empty if it can."""
        return self.fault.sentence() if self.fault else ""

    @property
    def fault(self) -> Violation | None:
        """What is wrong with the schema, and where; None if it can be used."""
        return self._loaded[1]

    @cached_property
    def _loaded(self) -> tuple[Compiled | None, Violation | None]:
        schema = self._schema
        if not isinstance(schema, dict | bool):
            return None, mismatch((), "type", ["boolean", "object"], schema)
        if _size(schema) is None:
            return None, Violation((), "", None, schema, "the schema is nested too deep")
        if why := _unbounded(schema):
            return None, Violation((), "$ref", None, schema, why)
        try:
            return self._compiled(schema), None
        except ValueError as error:
            return None, _fault(error, schema)

    def _compiled(self, schema: Any, registry: Registry | None = None) -> Compiled:
        plain = _compile(schema, registry)
        if not any(backtracks(pattern) for pattern, _ in patterns_in(schema)):
            return plain
        # Compiled again, so that the library has found mistakes in patterns.
        self._budget = self._budget or Budget()
        return _compile(schema, registry, {"pattern": self._budget.keyword})

    def fits(self, value: Any) -> bool:
        """Whether a value fits."""
        return next(self.violations(value), None) is None

    def violations(self, value: Any, part: Any = None) -> Iterator[Violation]:
        """The places where a value does not fit; of a large value it may be the first one only.

        If the schema allows several forms, the violations are those of the form that is meant.

        Args:
            value: A JSON value. A value that is no JSON, or nested deeper than `MAX_DEPTH`, fits.
            part: A part of the schema to use instead of all of it; a `$ref` in it leads into the
                whole.
        """
        size = _size(value)
        schema, compiled = self._of_part(part)
        if size is None or compiled is None:
            return
        if self._budget is not None:
            self._budget.left = BUDGET
        seen: set[tuple[Path, str]] = set()
        try:
            for errors in _attempts(compiled, value, size):
                for found in violations_of(errors, value, schema, self._resolve):
                    if (found.path, found.message) not in seen:
                        seen.add((found.path, found.message))
                        yield found
                if seen:
                    return
        except (TypeError, ValueError, OverflowError):  # it is no JSON, and its sender reports it
            return

    def _of_part(self, part: Any) -> tuple[Any, Compiled | None]:
        if part is None or part is self._schema or self.fault:
            return self._schema, self._loaded[0]
        if id(part) not in self._parts:  # kept with its key, so that no other object gets the id
            schema, compiled = _absolute(part), None
            if isinstance(schema, dict) and isinstance(self._schema, dict):
                schema = {"$schema": self._schema.get("$schema", _DIALECT), **schema}
            with suppress(ValueError):
                compiled = self._compiled(schema, self._registry)
            self._parts[id(part)] = part, schema, compiled
        return self._parts[id(part)][1:]

    @cached_property
    def _registry(self) -> Registry:
        from jsonschema_rs import Registry

        return Registry([(_WHOLE, self._schema)], retriever=_refuse)

    def _resolve(self, reference: Any) -> Any:
        return referred(str(reference).removeprefix(_WHOLE), self._schema)


def _compile(
    schema: Any, registry: Registry | None = None, keywords: dict[str, Any] | None = None
) -> Compiled:
    """Compile a schema; a `ValueError` says why it cannot be used."""
    # The library takes long to import: only a run that validates a value pays for it.
    from jsonschema_rs import FancyRegexOptions, validator_for

    dialect = schema.get("$schema") if isinstance(schema, dict) else None
    if isinstance(dialect, str) and "json-schema.org" not in dialect:  # such as that of OpenAPI
        schema = {name: value for name, value in schema.items() if name != "$schema"}
    return validator_for(
        schema,
        registry=registry,
        offline=True,
        validate_formats=False,
        pattern_options=FancyRegexOptions(backtrack_limit=MAX_BACKTRACKS),
        keywords=keywords or {},
    )


def _refuse(uri: str) -> Any:
    raise LookupError(f"{uri} is not fetched")


def _fault(error: ValueError, schema: Any) -> Violation:
    from jsonschema_rs import ValidationError

    if not isinstance(error, ValidationError):
        return Violation((), "", None, schema, cut(str(error), _MAX_FAULT))
    if error.kind.name == "$ref":
        message = f"cannot resolve references: {cut(error.message, _MAX_FAULT)}"
        return Violation((), "$ref", None, schema, message)
    return next(violations_of([error], schema, None, lambda _: None))


def _attempts(compiled: Compiled, value: Any, size: int) -> Iterator[Iterable[ValidationError]]:
    # Of a large value the first error alone, and all errors only if leniency drops that one.
    from jsonschema_rs import ValidationError

    if compiled.is_valid(value):
        return
    if size > _MAX_LISTED:
        try:
            compiled.validate(value)
        except ValidationError as error:
            yield [error]
    yield compiled.iter_errors(value)


def _size(value: Any) -> int | None:
    """How many values there are in a value; None if it is nested deeper than `MAX_DEPTH`."""
    size, level = 0, [value]
    for _ in range(MAX_DEPTH):
        holders = {id(each): each for each in level if isinstance(each, _HOLDERS)}
        if not holders:
            return size
        level = []
        for holder in holders.values():
            level += holder.values() if isinstance(holder, dict) else holder
        size += len(level)
    return None


def _absolute(part: Any) -> Any:
    """A part of a schema whose references lead into the whole."""
    if isinstance(part, list):
        return list(map(_absolute, part))
    if not isinstance(part, dict):
        return part
    copy = {name: _absolute(value) for name, value in part.items()}
    reference = copy.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        copy["$ref"] = f"{_WHOLE}{reference}"
    return copy


def _unbounded(schema: Any) -> str:
    """Why validating with a schema would not end, or take too long; empty if it does not."""
    if any(is_name and backtracks(pattern) for pattern, is_name in patterns_in(schema)):
        return "a pattern of patternProperties looks around"
    from graphlib import CycleError, TopologicalSorter

    graph: dict[int, list[int]] = {}
    left = [schema]
    while left:
        part = left.pop()
        if isinstance(part, dict) and id(part) not in graph:
            graph[id(part)] = [id(each) for each in _in_place(part, schema)]
            left += part.values()
        elif isinstance(part, list):
            left += part
    weights: dict[int, int] = {}
    try:
        for part in TopologicalSorter(graph).static_order():
            weights[part] = 1 + sum(weights[each] for each in graph.get(part, ()))
            if weights[part] > _MAX_WEIGHT:
                return f"its references make more than {_MAX_WEIGHT:,} subschemas of one value"
    except CycleError:  # the library would accept or refuse every value
        return "a $ref leads in circles"
    return ""


def _in_place(part: dict[str, Any], root: Any) -> Iterator[Any]:
    """The schemas that apply to the same value as a whole."""
    if "$ref" in part:
        yield referred(part["$ref"], root)
    yield from (part[keyword] for keyword in ("not", "if", "then", "else") if keyword in part)
    for keyword in ("allOf", "anyOf", "oneOf"):
        yield from listed(part, keyword)
    dependent = part.get("dependentSchemas", {})
    yield from dependent.values() if isinstance(dependent, dict) else ()
