"""A tool as its server describes it, its definition as JSON, and the hash of that."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from orchestrator.documents.encode import to_json
from orchestrator.documents.jsonpath import Path
from orchestrator.schema.coercion import ALL_TYPES, Types
from orchestrator.schema.type_query import TypeQuery
from orchestrator.schema.types import SchemaType, StaticType, UnknownType, schema_type
from orchestrator.schema.validator import Validator
from orchestrator.schema.wrapped import is_wrapper, schema_inside

SAMPLE_KEY = "00000000-0000-5000-8000-000000000000"  # an idempotency key looks like this
NEEDS_TASK, NO_TASKS = "required", "unavailable"  # the values of `Tool.tasks`
HINTS = {
    "readOnlyHint": "read_only",
    "destructiveHint": "destructive",
    "idempotentHint": "idempotent",
    "openWorldHint": "open_world",
}


@dataclass(frozen=True)  # without slots: it caches its validators, which a new list makes anew
class Tool:
    """A tool as its server describes it.

    Attributes:
        server: The server, and `name` the tool's name there.
        title: For people; empty if the server gives none.
        description: For people and models.
        input_schema: The JSON Schema of its arguments.
        output_schema: The JSON Schema of its structured output, or None.
        read_only: Whether it declares that it changes nothing; None if it does not say. Likewise
            `idempotent`, `destructive` and `open_world`.
        annotated_title: The title in its annotations; empty if they have none.
        key_argument: The argument that takes the idempotency key of a call, as servers.toml says;
            empty if none does. It is not part of the definition.
        tasks: `required` if it can only be called as a task of MCP, `unavailable` if so and its
            server offers no tasks; empty for all others.
    """

    server: str
    name: str
    input_schema: Mapping[str, Any]
    title: str = ""
    description: str = ""
    output_schema: Mapping[str, Any] | None = None
    read_only: bool | None = None
    idempotent: bool | None = None
    destructive: bool | None = None
    open_world: bool | None = None
    annotated_title: str = ""
    key_argument: str = ""
    tasks: str = ""

    @cached_property
    def accepts(self) -> Validator:
        """Checks arguments against `input_schema`."""
        return Validator(self.input_schema)

    @cached_property
    def gives(self) -> Validator | None:
        """Checks outputs against `output_schema`; None if it declares none."""
        return None if self.output_schema is None else Validator(self.output_schema)

    @cached_property
    def wraps(self) -> bool:
        """Whether it wraps its output: the output is then the value inside."""
        return is_wrapper(self.output_schema, self.name)

    @cached_property
    def gives_inside(self) -> Mapping[str, Any] | None:
        """The JSON Schema of the output of a task: that of the value inside, if it is wrapped."""
        schema = self.output_schema
        return schema_inside(schema) if self.wraps and schema is not None else schema

    @property
    def gives_for_task(self) -> Mapping[str, Any] | None:
        """A JSON Schema that each output of a task fits: wrapped text may have been parsed."""
        inside = self.gives_inside
        if inside is None or not self.wraps:
            return inside
        if "string" not in TypeQuery().kinds(schema_type(inside)):
            return inside
        definitions = {key: inside[key] for key in ("$defs", "definitions") if key in inside}
        return definitions | {"anyOf": [inside, {"type": ["object", "array"]}]}

    @cached_property
    def output_type(self) -> StaticType:
        """The type of the output of a task."""
        if self.gives_inside is None:
            return UnknownType(f"{self.target} declares no outputSchema")
        query, known = TypeQuery(), schema_type(self.gives_inside)
        if not self.wraps:
            return known
        types = query.kinds(known)
        if "string" in types and types != ALL_TYPES and query.finite(known) is None:
            why = f"{self.target} gives text, which is parsed if it is a JSON object or array"
            return UnknownType(why, types | {"object", "array"}, wrapped=True)
        return SchemaType(known.schema, known.root, wrapped=True)

    @cached_property
    def declared(self) -> frozenset[str]:
        """The names of the arguments that it declares."""
        return frozenset(TypeQuery().names(schema_type(self.input_schema)))

    @cached_property
    def types_at(self) -> Callable[[Path], Types]:
        """The JSON types that it accepts at a path of its arguments."""
        query, arguments = TypeQuery(), schema_type(self.input_schema)
        return cache(lambda path: query.types_at(arguments, path))

    def without_nulls(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments without each null that stands for an optional one that is not given."""
        query, schema = TypeQuery(), SchemaType(self.input_schema, self.input_schema)
        return {
            name: value
            for name, value in arguments.items()
            if value is not None or not query.leaves_out(schema, name)
        }

    @cached_property
    def asks_for(self) -> Mapping[str, Any]:
        """Its `input_schema` without what the author of a workflow does not have to give."""
        properties, required = (self.input_schema.get(name) for name in ("properties", "required"))
        if not self.key_argument or not isinstance(properties, Mapping):
            return self.input_schema
        others = {name: of for name, of in properties.items() if name != self.key_argument}
        needed = [name for name in required or () if name != self.key_argument]
        return {**self.input_schema, "properties": others, "required": needed}

    def with_key(self, arguments: dict[str, Any], key: str) -> dict[str, Any]:
        """The arguments with the idempotency key of a call, unless its author has given one."""
        if not isinstance(arguments, dict) or arguments.get(self.key_argument) is not None:
            return arguments
        return {**arguments, self.key_argument: key}

    @cached_property
    def digest(self) -> str:
        """The hash of its definition."""
        return hash_of(self.name, definition_of(self))

    @property
    def target(self) -> str:
        """`server:tool`."""
        return f"{self.server}:{self.name}"

    @property
    def may_destroy(self) -> bool:
        """Whether it does not declare that it destroys nothing; MCP's default is that it may."""
        return not self.read_only and self.destructive is not False

    @property
    def is_safe(self) -> bool | None:
        """Whether repeating a call does no harm: it declares so, or it takes a key; None: unknown.

        The defaults of MCP are neither read-only nor idempotent; messages distinguish a tool that
        declares so from one that declares nothing.
        """
        if self.read_only or self.idempotent or self.key_argument:
            return True
        return None if self.read_only is None and self.idempotent is None else False


def definition_of(tool: Tool) -> dict[str, Any]:
    """All of a tool that a user or a model may rely on, under MCP's names; only what is set.

    Values that JSON does not have, such as Infinity, are text, as in `documents.encode`.
    """
    hints = {hint: getattr(tool, name) for hint, name in HINTS.items()}
    parts = {
        "title": tool.title or None,
        "description": tool.description or None,
        "inputSchema": tool.input_schema,
        "outputSchema": tool.output_schema,
        "annotations": _given({"title": tool.annotated_title or None, **hints}) or None,
        "execution": {"taskSupport": tool.tasks} if tool.tasks else None,
    }
    made: dict[str, Any] = json.loads(to_json(_given(parts)))
    return made


def _given(parts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parts.items() if value is not None}


def tool_of(server: str, name: str, definition: Mapping[str, Any]) -> Tool:
    """The tool of a definition, whose parts have the types that MCP says."""
    annotations = definition.get("annotations", {})
    return Tool(
        server,
        name,
        definition["inputSchema"],
        title=definition.get("title", ""),
        description=definition.get("description", ""),
        output_schema=definition.get("outputSchema"),
        annotated_title=annotations.get("title", ""),
        tasks=definition.get("execution", {}).get("taskSupport", ""),
        **{field: annotations.get(hint) for hint, field in HINTS.items()},
    )


def canonical_json(value: Any) -> bytes:
    """A JSON value in its one form: names sorted, no blanks, UTF-8 without escapes."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")  # half of a surrogate pair as JSON escapes it


def hash_of(name: str, definition: Mapping[str, Any]) -> str:
    """The SHA-256 of a definition and its tool's name, as `sha256:` and 64 hexadecimal digits."""
    digest = hashlib.sha256(canonical_json({"name": name, **definition}))
    return f"sha256:{digest.hexdigest()}"
