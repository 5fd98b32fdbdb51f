"""What a JSON Schema and a tool definition say.

Rule: nothing is called, and anything a schema leaves open is reported as unknown, never guessed.

- `tool` is a tool as its server describes it; `tool_diff` compares two definitions.
- `validator` checks values; `violations` says what is wrong in words.
- `types`, `variants` and `type_query` are static types, made from schemas and queried.
- `coercion` converts text to the type that a tool expects.
- `requests` describes resources and prompts as tools.
- `wrapped` says which outputs servers wrap in an object.
- `requests` are resources and prompts as tools.
- `notation` writes any schema as a one-line type; `sample` makes a value that fits.
"""

from __future__ import annotations

__all__ = [
    "as_schema",
    "coercion",
    "defaults",
    "notation",
    "requests",
    "sample",
    "tool",
    "tool_diff",
    "type_query",
    "types",
    "validator",
    "variants",
    "violations",
    "wrapped",
]
