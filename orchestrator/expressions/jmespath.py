"""`${...}` and `when`: JMESPath, by the `jmespath` library, over a document of the run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import jmespath
from jmespath import exceptions

from orchestrator.documents.suggest import did_you_mean
from orchestrator.documents.text import alternatives, cut, quoted
from orchestrator.errors import CallError
from orchestrator.expressions.functions import SIGNATURES, check_count
from orchestrator.expressions.interpreter import BudgetError, Document, Interpreter
from orchestrator.expressions.lexer import (
    ROOTS,
    ExpressionSyntaxError,
    marked_root,
    names_an_id,
    rewrite,
    with_an_id,
)
from orchestrator.expressions.operators import FUNCTIONS, operator_for, with_functions
from orchestrator.expressions.scope import RUN_PROPERTIES, Scope, ScopeKey, SlowExpressionError

MAX_DEPTH = 200
_NAMING_ROOTS = frozenset({"OUTPUT", "ITEMS", "STATUS", "ERROR", "INPUT", "RUN"})
_FIELDS_OF_AN_ERROR = frozenset({"kind", "message", "retryable", "details"})
_MIXED = "cannot compare a string with a number; convert the string with to_number()"
# The functions that can give Infinity or NaN.
_MAKES_NUMBERS = re.compile(r"\b(?:to_number|sum|avg)\b")


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled `${...}` or `when`."""

    inner: str  # as the author wrote it, without braces
    tree: Any  # the syntax tree of the jmespath library
    places: tuple[ScopeKey, ...]  # what it reads of the document

    @property
    def text(self) -> str:
        return f"${{{self.inner}}}"

    def resolve(self, scope: Scope) -> Any:
        return self.evaluate(scope, null_is_unknown=scope.null_is_unknown)

    def evaluate(self, document: Document, *, null_is_unknown: bool = False) -> Any:
        """The value over a document; a CallError if a function got a value of the wrong type."""
        over = ""
        try:
            value = Interpreter(document).evaluate(self.tree)
        except exceptions.JMESPathError as error:
            if null_is_unknown and getattr(error, "current_value", error) is None:
                return None
            raise self._failure(str(error).strip().partition("\n")[0].rstrip(":")) from None
        except RecursionError:
            raise self._failure("nested too deep") from None
        except BudgetError as error:
            # Raised below: its context would keep what was made, which takes long to free.
            over = str(error)
        except SlowExpressionError:
            raise
        except Exception as error:  # the library's functions let Python's own errors through
            mixed = "not supported between" in str(error)
            raise self._failure(_MIXED if mixed else str(error)) from None
        if over:
            raise self._failure(over)
        if _MAKES_NUMBERS.search(self.inner):
            try:
                json.dumps(value, allow_nan=False)
            except ValueError:
                raise self._failure("the result is Infinity or NaN, which is not JSON") from None
        return value

    def _failure(self, reason: str) -> CallError:
        message = f"{self.text}: {reason[:300]}"
        return CallError("reference_error", message, expression=self.inner)


def compile_expression(text: str) -> Expression:
    """Compile the text of an expression, without its braces.

    Raises:
        ExpressionSyntaxError: It is malformed, or names an unknown root or function.
    """
    try:
        tree = _hoist_not(jmespath.compile(rewrite(text)).parsed)
        _check_depth(tree)
        _check_exprefs([tree])
        places = tuple(dict.fromkeys(_places(tree, at_root=True)))
    except exceptions.JMESPathError as error:
        raise ExpressionSyntaxError(_explain(text, error)) from None
    except _UnknownRootError as error:
        raise ExpressionSyntaxError(_unknown_root(text, str(error))) from None
    except RecursionError:
        raise ExpressionSyntaxError("nested too deep") from None
    return Expression(text, tree, places)


class _UnknownRootError(ExpressionSyntaxError):
    """Its text is the name of the root."""


def _unknown_root(text: str, name: str) -> str:
    if f'"{name}"' in text:
        return f"{quoted(name)} is a name; write a string in single quotes: '{cut(name, 80)}'"
    otherwise = " (write OUTPUT[id], INPUT.name or a string as 'text')"
    # In other systems outputs are called "steps", which looks like ITEMS.
    known = [root for root in ROOTS if root != "ITEMS" or name[:4].casefold() == "item"]
    return f"unknown root {quoted(name)}{did_you_mean(name, known) or otherwise}"


def _check_depth(tree: Any) -> None:
    # What can be compiled here might not be evaluated further down the stack.
    level, depth = [tree], 0
    while level := [child for node in level for child in node["children"] if _is_node(child)]:
        depth += 1
        if depth > MAX_DEPTH:
            raise ExpressionSyntaxError("nested too deep")


def _is_node(child: Any) -> bool:
    return isinstance(child, dict)  # a slice has numbers below it


PROJECTIONS = frozenset({"projection", "value_projection", "filter_projection"})
# Of these the first child is evaluated first, and the others on its value.
_CHAINS = PROJECTIONS | {"subexpression", "index_expression", "pipe"}
_BOUND_BY_NOT = (_CHAINS - {"pipe"}) | {"flatten"}


def _hoist_not(node: Any) -> Any:
    """`!a.b` means `!(a.b)`; the library reads `(!a).b`, which is null whatever `a` is."""
    if not _is_node(node):
        return node
    children = [_hoist_not(child) for child in node["children"]]
    made = {**node, "children": children}
    nots = []
    if node["type"] in _BOUND_BY_NOT:
        while children[0]["type"] == "not_expression":
            nots.append(children[0])
            children[0] = children[0]["children"][0]
    for each in nots:
        made = {**each, "children": [made]}
    return made


def _places(node: Any, at_root: bool) -> Iterator[ScopeKey]:
    """What the tree reads of the document; `at_root` while the current node is the document."""
    kind = node["type"]
    children = [child for child in node["children"] if _is_node(child)]
    if kind in ("identity", "current") and at_root:
        raise ExpressionSyntaxError(f"expected one of {', '.join(ROOTS)}")
    if kind == "field":
        root = _root(node, at_root)
        if root in ("OUTPUT", "ITEMS", "STATUS"):
            instead = "" if at_root else f", or @.{root} for a property of the current item"
            raise ExpressionSyntaxError(f"expected a task id: {root}[id]{instead}")
        if root is not None:
            yield ScopeKey(root, None)
        return
    if kind == "slice" and node["children"][2] == 0:
        raise ExpressionSyntaxError("the step of a slice cannot be 0")
    if kind == "function_expression":
        _check_function(node["value"], children)
        if node["value"] == "now_iso":
            yield ScopeKey("RUN", "started_at")
    else:
        _check_exprefs(children)
    if kind in _CHAINS:
        first, *children = children
        if kind == "index_expression" and first["type"] == "identity" and at_root:
            expected = f"expected one of {', '.join(ROOTS)} before an index"
            raise ExpressionSyntaxError(
                f"{expected}; write an array of one number in backticks: `[1]`"
            )
        # Behind a wildcard or a filter a name is that of a property, never that of a task.
        yield from _first_places(first, () if kind in PROJECTIONS else children, at_root)
    for child in children:
        yield from _places(child, at_root and kind not in _CHAINS and kind != "expref")


def _first_places(first: Any, rest: Sequence[Any], at_root: bool) -> Iterator[ScopeKey]:
    """What the first step of a chain reads: with the name in the next step, if it is a root."""
    root = _root(first, at_root)
    below = rest[0] if rest else first
    while below["type"] in _CHAINS:
        below = below["children"][0]
    if root is None or below["type"] != "field" or below is first:
        yield from _places(first, at_root)
    elif root == "ERROR" and below["value"] in _FIELDS_OF_AN_ERROR:
        yield ScopeKey(root, below["value"] if names_an_id(first["value"]) else None)
    else:
        if root == "ERROR":  # in a fallback, `ERROR` alone would be the error of its own task
            first["value"] = with_an_id(first["value"])
        if root == "RUN":
            check_run_property(below["value"], root)
        yield ScopeKey(root, below["value"] if root in _NAMING_ROOTS else None)


def check_run_property(name: Any, root: str) -> str:
    """The name, if `$RUN` has a property that is called so; else an ExpressionSyntaxError."""
    if name in RUN_PROPERTIES:
        return str(name)
    wanted = alternatives(f"{root}.{each}" for each in RUN_PROPERTIES)
    near = did_you_mean(name, RUN_PROPERTIES) if isinstance(name, str) else ""
    raise ExpressionSyntaxError(f"expected {wanted}{near}")


def _root(node: Any, at_root: bool) -> str | None:
    if node["type"] != "field":
        return None
    name: str = node["value"]
    if (root := marked_root(name)) is not None or not at_root:
        return root
    if name not in ROOTS:
        raise _UnknownRootError(name)
    return name


def _check_exprefs(nodes: list[Any]) -> None:
    if any(node["type"] == "expref" for node in nodes):
        message = "& is only allowed before a function's argument, as in sort_by(x, &name)"
        raise ExpressionSyntaxError(message)


def _check_function(name: str, arguments: list[Any]) -> None:
    check_count(name, len(arguments))
    signature = SIGNATURES[name]
    for index, argument in enumerate(arguments):
        if "expref" not in signature[min(index, len(signature) - 1)]["types"]:
            _check_exprefs([argument])


_LOOKS_LIKE_A_ROOT = re.compile(r"(?<![.\w$])(?:\$(\w+)|([A-Za-z]\w*)\[[A-Za-z_])")


def _explain(text: str, error: exceptions.JMESPathError) -> str:
    """The library's error without its positions, which are those of the rewritten text."""
    for names in _LOOKS_LIKE_A_ROOT.findall(text):
        if (name := "".join(names)) not in ROOTS:
            return _unknown_root(text, name)
    match error:
        case exceptions.EmptyExpressionError():
            return "empty expression"
        case exceptions.LexerError() if not error.message.startswith("Unknown token"):
            return f"{error.message} in {quoted(str(error.lexer_value), 40)}"
        case exceptions.LexerError():
            found = str(error.lexer_value)
        case exceptions.ParseError() if error.token_type not in (None, "EOF"):
            found = str(error.token_value).lstrip("\x00").rstrip("[")
        case _:
            return "unexpected end of expression"
    instead = _function_for(found, text) or operator_for(found, text)
    return f"unexpected {quoted(found, 40)}{instead}"


def _function_for(found: str, text: str) -> str:
    """What to write for an operator that JMESPath does not have; empty for anything else."""
    if (name := FUNCTIONS.get(found[:1])) is None:
        return ""
    instead = as_functions(text)
    if name == "subtract" and instead.replace('"', "") == text:
        return f"; a name with a dash needs double quotes: {cut(instead, 100)}"
    dash = (
        ', or double quotes around a name with a dash: "first-name"' if name == "subtract" else ""
    )
    strings = (
        ", or join('', [a, b]) for strings" if name == "add" and "join(" not in instead else ""
    )
    write = cut(instead, 100) or f"{name}(a, b){dash}"
    return f"; instead of an operator, write {write}{strings}"


def as_functions(text: str) -> str:
    """The expression with functions for its operators; empty if it has none, or is still wrong."""
    made = with_functions(text)
    with suppress(ExpressionSyntaxError):
        return made if made != text and compile_expression(made) else ""
    return ""
