"""`$OUTPUT[...]` references and `${...}` expressions.

Rule: a value is compiled once, before the first call, and resolved many times; resolving is pure.

- `references` compiles a JSON value into a template.
- `templates` are what comes out; one without references gives back the very value.
- `jmespath` and `lexer` compile `${...}`; `functions` are what it can call.
- `operators` proposes functions for what JMESPath cannot say.
- `scope` is what a template is resolved against.
"""

from __future__ import annotations

__all__ = ["functions", "jmespath", "lexer", "operators", "references", "scope", "templates"]
