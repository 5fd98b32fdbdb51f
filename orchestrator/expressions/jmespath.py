"""`${...}` and `when`: JMESPath over a document of the run.

The rule of this file: an expression is JMESPath as the `jmespath` library has it, over the document
in `ROOTS`; whatever of it is wrong in itself is found when it is compiled.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import jmespath
from jmespath import exceptions, functions, visitor

from orchestrator.documents.suggest import nearest
from orchestrator.errors import CallError
from orchestrator.expressions.lexer import (
    ROOTS,
    ExpressionSyntaxError,
    closing_brace,
    marked_root,
    names_an_id,
    rewrite,
)
from orchestrator.expressions.scope import ScopeKey

__all__ = [
    "ROOTS",
    "Document",
    "Expression",
    "ExpressionSyntaxError",
    "ScopeKey",
    "closing_brace",
    "compile_expression",
]

MAX_DEPTH = 200
_NAMING_ROOTS = frozenset({"OUTPUT", "STATUS", "ERROR", "INPUT"})
_FIELDS_OF_AN_ERROR = frozenset({"kind", "message", "retryable", "details"})
# The functions that make numbers which JSON does not have.
_MAKES_NUMBERS = re.compile(r"\b(?:to_number|sum|avg)\b")


class Document(Protocol):
    """What an expression is evaluated over: `get` answers the names in `ROOTS`, and `ERROR[`.

    In a fallback `ERROR` is the error that it stands in for; `ERROR[` are those of all tasks.
    """

    def get(self, name: str, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression.

    Attributes:
        text: As the author wrote it.
        tree: The syntax tree of the `jmespath` library.
        places: What it reads of the document.
    """

    text: str
    tree: Any
    places: tuple[ScopeKey, ...]

    def evaluate(self, document: Document) -> Any:
        """The value of the expression over `document`.

        Raises:
            CallError: A `reference_error`: a function was given what it does not take.
        """
        try:
            value = _Interpreter(document).visit(self.tree, document)
        except exceptions.JMESPathError as error:
            raise self._failure(_first_line(error)) from None
        except Exception as error:  # the library's functions let Python's own errors through
            raise self._failure(_python_error(error)) from None
        if _MAKES_NUMBERS.search(self.text) and not _is_json(value):
            raise self._failure("it gives Infinity or NaN, which JSON does not have")
        return value

    def _failure(self, reason: str) -> CallError:
        message = f"${{{self.text}}}: {reason[:300]}"
        return CallError("reference_error", message, expression=self.text)


def _python_error(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it goes too deep"
    if "not supported between" in str(error):
        return "a text and a number cannot be compared: to_number() makes a number of a text"
    return str(error)


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def compile_expression(text: str) -> Expression:
    """Compile the text of an expression (without its braces).

    Raises:
        ExpressionSyntaxError: It is no JMESPath, names no root of the document, or calls a function
            that does not exist or with arguments that it never takes.
    """
    try:
        tree = _hoist_not(jmespath.compile(rewrite(text)).parsed)
        _check_depth(tree)
        _check_exprefs([tree])
        places = tuple(dict.fromkeys(_places(tree, at_root=True)))
    except exceptions.JMESPathError as error:
        raise ExpressionSyntaxError(_explain(text, error)) from None
    except _UnknownRootError as error:
        raise ExpressionSyntaxError(_of_root(text, error.name)) from None
    except RecursionError:
        raise ExpressionSyntaxError("it is nested too deep") from None
    return Expression(text, tree, places)


class _UnknownRootError(ExpressionSyntaxError):
    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)


def _of_root(text: str, name: str) -> str:
    if f'"{name}"' in text:
        return f"\"{name}\" is a name and no text: texts stand in single quotes, '{name}'"
    return _unknown_root(name)


def _check_depth(tree: Any) -> None:
    """What is compiled here can be evaluated further down the stack."""
    level, depth = [tree], 0
    while level := [child for node in level for child in node["children"] if _is_node(child)]:
        depth += 1
        if depth > MAX_DEPTH:
            raise ExpressionSyntaxError("it is nested too deep")


def _is_node(child: Any) -> bool:
    return isinstance(child, dict)  # a slice has numbers below it


_SEQUENTIAL = frozenset(
    {
        "subexpression",
        "index_expression",
        "projection",
        "value_projection",
        "filter_projection",
        "pipe",
    }
)
_BOUND_BY_NOT = (_SEQUENTIAL - {"pipe"}) | {"flatten"}


def _hoist_not(node: Any) -> Any:
    """`!a.b` means `!(a.b)`; the library reads `(!a).b`, which is null whatever `a` is."""
    if not _is_node(node):
        return node
    children = [_hoist_not(child) for child in node["children"]]
    if node["type"] in _BOUND_BY_NOT and children[0]["type"] == "not_expression":
        inner = {**node, "children": [children[0]["children"][0], *children[1:]]}
        return {**children[0], "children": [_hoist_not(inner)]}
    return {**node, "children": children}


def _leftmost(node: Any) -> Any:
    while node["type"] in _SEQUENTIAL:
        node = node["children"][0]
    return node


def _places(node: Any, at_root: bool) -> Iterator[ScopeKey]:
    """What the tree reads of the document; `at_root` while the current node is the document."""
    kind = node["type"]
    children = [child for child in node["children"] if _is_node(child)]
    if kind in ("identity", "current") and at_root:
        raise ExpressionSyntaxError(f"it has to name one of {', '.join(ROOTS)}")
    if kind == "field":
        if (root := _root(node, at_root)) is not None:
            yield _whole_root(root)
        return
    if kind == "slice" and node["children"][2] == 0:
        raise ExpressionSyntaxError("the step of a slice cannot be 0")
    if kind == "function_expression":
        _check_function(node["value"], children)
    else:
        _check_exprefs(children)
    if kind in _SEQUENTIAL:
        first, *children = children
        yield from _first_places(first, children, at_root)
    for child in children:
        yield from _places(child, at_root and kind not in _SEQUENTIAL and kind != "expref")


def _first_places(first: Any, rest: list[Any], at_root: bool) -> Iterator[ScopeKey]:
    """What the first step of a sequence reads: with the name in the next step, if it is a root."""
    root = _root(first, at_root)
    below = _leftmost(rest[0]) if rest else first
    if root is None or below["type"] != "field" or below is first:
        yield from _places(first, at_root)
    elif root == "ERROR" and below["value"] in _FIELDS_OF_AN_ERROR:
        yield ScopeKey(root, below["value"] if names_an_id(first["value"]) else None)
    else:
        yield ScopeKey(root, below["value"] if root in _NAMING_ROOTS else None)


def _root(node: Any, at_root: bool) -> str | None:
    """The root that a field node names; an unknown one is an error."""
    if node["type"] != "field":
        return None
    name: str = node["value"]
    if (root := marked_root(name)) is not None:
        return root
    if at_root and name not in ROOTS:
        raise _UnknownRootError(name)
    return name if at_root else None


def _unknown_root(name: str) -> str:
    maybe = nearest(name, ROOTS, 1)
    known = "the output of a task is OUTPUT[id], an input INPUT.name, a text 'text'"
    return f"unknown root {name!r}: " + (f"did you mean {maybe[0]}?" if maybe else known)


def _whole_root(root: str) -> ScopeKey:
    if root in ("OUTPUT", "STATUS"):
        raise ExpressionSyntaxError(f"{root} has to name a task: {root}[id]")
    return ScopeKey(root, None)


def _check_exprefs(nodes: list[Any]) -> None:
    if any(node["type"] == "expref" for node in nodes):
        raise ExpressionSyntaxError("a & stands only before an argument, as in sort_by(x, &name)")


def _check_function(name: str, arguments: list[Any]) -> None:
    known = functions.Functions.FUNCTION_TABLE
    if name not in known:
        maybe = nearest(name, known, 1)
        known_names = f"known are {', '.join(sorted(known))}"
        instead = f"did you mean {maybe[0]!r}?" if maybe else known_names
        raise ExpressionSyntaxError(f"there is no function {name!r}: {instead}")
    signature = known[name]["signature"]
    variadic = bool(signature) and signature[-1].get("variadic", False)
    count, least = len(arguments), len(signature)
    if count < least or (count > least and not variadic):
        wanted = f"{'at least ' if variadic else ''}{least} argument{'s' if least != 1 else ''}"
        raise ExpressionSyntaxError(f"{name}() takes {wanted}, not {count}")
    for index, argument in enumerate(arguments):
        if "expref" not in signature[min(index, least - 1)]["types"]:
            _check_exprefs([argument])


_LOOKS_LIKE_A_ROOT = re.compile(r"(?<![.\w$])(?:\$(\w+)|([A-Za-z]\w*)\[[A-Za-z_])")


def _explain(text: str, error: exceptions.JMESPathError) -> str:
    """The library's error without its places, which are those of the rewritten text."""
    for names in _LOOKS_LIKE_A_ROOT.findall(text):
        if (name := "".join(names)) not in ROOTS:
            return _unknown_root(name)
    match error:
        case exceptions.EmptyExpressionError():
            return "it is empty"
        case exceptions.LexerError():
            hint = _HINTS.get(str(error.lexer_value), "")
            return f"{error.message}{hint}"
        case exceptions.ParseError() if error.token_type not in (None, "EOF"):
            shown = str(error.token_value).lstrip("\x00").rstrip("[")
            instead = f": write {_OPERATORS[shown]}" if shown in _OPERATORS else ""
            return f"{shown[:40]!r} cannot stand where it does{instead}"
    return "it ends too early"


_OPERATORS = {"and": "&&", "or": "||"}
_HINTS = {"=": " (to compare is ==)", **dict.fromkeys("+-*/%", " (there is no arithmetic)")}


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(":")


class _Interpreter(visitor.TreeInterpreter):
    """The library's, for which a marked name is a root of the document wherever it stands."""

    def __init__(self, document: Document) -> None:
        super().__init__()
        self._document = document

    def visit_field(self, node: Any, value: Any) -> Any:
        if (root := marked_root(node["value"])) is not None:
            by_id = root == "ERROR" and names_an_id(node["value"])
            return self._document.get("ERROR[" if by_id else root)
        return super().visit_field(node, value)
