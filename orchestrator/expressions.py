"""`${...}` and `when`: JMESPath over a document of the run.

The rule of this file: an expression is JMESPath as the `jmespath` library has it, plus four
conveniences that are rewritten before it sees the text: `OUTPUT[id]` (also with a `$`), bare numbers,
bare `true`, `false` and `null`, and `["odd key"]` behind a value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import jmespath
from jmespath import exceptions, functions, visitor

from orchestrator.errors import CallError, nearest

ROOTS = ("OUTPUT", "STATUS", "ERROR", "INPUT", "ITEM", "INDEX")
_NAMING_ROOTS = frozenset({"OUTPUT", "STATUS", "ERROR", "INPUT"})
# Marks a root that was written with a `$` or an id, so that it means the run's document even inside
# of a filter, where JMESPath looks at the element.
_MARK = "\x00"
_CONSTANTS = frozenset({"true", "false", "null"})
_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_TOKEN = re.compile(
    rf"""
    (?P<blank>\s+)
  | (?P<task>\$?(?:OUTPUT|STATUS|ERROR)\[[A-Za-z0-9_.:-]+\])
  | (?P<root>\$(?:{"|".join(ROOTS)})(?!\w))
  | (?P<key>\[\s*(?:{_QUOTED})\s*\])
  | (?P<quoted>{_QUOTED}|`(?:[^`\\]|\\.)*`)
  | (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
  | (?P<name>[A-Za-z_]\w*)
  | (?P<open>\[\?|[\[({{])
  | (?P<close>[\])}}])
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_OPERAND_KINDS = frozenset({"task", "root", "key", "quoted", "name"})


class ExpressionSyntaxError(ValueError):
    """Text that is no expression."""


class Document(Protocol):
    """What an expression is evaluated over: `get` answers the names in `ROOTS`."""

    def get(self, name: str, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the document that an expression reads.

    Attributes:
        root: One of `ROOTS`.
        name: The task or the input below it, if it names one.
    """

    root: str
    name: str | None


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression.

    Attributes:
        text: As the author wrote it.
        tree: The syntax tree of the `jmespath` library.
        places: What it reads of the document.
    """

    text: str
    tree: Mapping[str, Any]
    places: tuple[Place, ...]

    def evaluate(self, document: Document) -> Any:
        """The value of the expression over `document`.

        Raises:
            CallError: A `reference_error`: a function was given what it does not take.
        """
        try:
            value = _Interpreter(document).visit(self.tree, document)
            if "to_number" in self.text:  # the one function that makes numbers JSON does not have
                json.dumps(value, allow_nan=False)
            return value
        except RecursionError:
            reason = "it goes too deep"
        except exceptions.JMESPathError as error:
            reason = _first_line(error)
        except Exception as error:  # the library's functions let Python's own errors through
            reason = f"{type(error).__name__}: {error}"
        raise CallError("reference_error", f"${{{self.text}}}: {reason}", expression=self.text)


def compile_expression(text: str) -> Expression:
    """Compile the text of an expression (without its braces).

    Raises:
        ExpressionSyntaxError: It is no JMESPath, names no root of the document, or calls a function
            that does not exist or with too few or too many arguments.
    """
    tokens = list(tokenize(text))
    try:
        tree = _hoist_not(jmespath.compile(_translate(tokens)).parsed)
        places = tuple(dict.fromkeys(_places(tree, at_root=True)))
    except exceptions.EmptyExpressionError:
        raise ExpressionSyntaxError("it is empty") from None
    except exceptions.JMESPathError as error:
        raise ExpressionSyntaxError(_explain(text, error)) from None
    except RecursionError:
        raise ExpressionSyntaxError("it is nested too deep") from None
    return Expression(text, tree, places)


def tokenize(text: str, start: int = 0) -> Iterator[re.Match[str]]:
    """The tokens of an expression from `start` on.

    Raises:
        ExpressionSyntaxError: A quote that is not closed.
    """
    position = start
    while token := _TOKEN.match(text, position):
        if token["other"] in ("'", '"', "`"):
            raise ExpressionSyntaxError(f"the {token[0]} is not closed")
        yield token
        position = token.end()


def closing_brace(text: str, start: int) -> int:
    """The position of the `}` that closes an expression which begins at `start`.

    Raises:
        ExpressionSyntaxError: There is none.
    """
    depth = 0
    for token in tokenize(text, start):
        if token["open"] == "{":
            depth += 1
        elif token["close"] == "}":
            if not depth:
                return token.start()
            depth -= 1
    raise ExpressionSyntaxError("the closing '}' is missing")


def _translate(tokens: list[re.Match[str]]) -> str:
    solid = [token for token in tokens if token.lastgroup != "blank"]
    brackets: list[str] = []
    translated: list[str] = []
    position = 0
    for index, token in enumerate(solid):
        before = solid[index - 1] if index else None
        after = solid[index + 1][0] if index + 1 < len(solid) else ""
        translated.append(" " * (token.start() > position))
        translated.append(_translate_token(token, before, after, brackets))
        position = token.end()
        if token["open"]:
            brackets.append(token[0])
        elif token["close"] and brackets:
            brackets.pop()
    return "".join(translated)


def _translate_token(
    token: re.Match[str], before: re.Match[str] | None, after: str, brackets: list[str]
) -> str:
    text = token[0]
    previous = before[0] if before else ""
    match token.lastgroup:
        case "task":
            root, _, name = text.lstrip("$").rstrip("]").partition("[")
            return text if previous == "." else f"{_marked(root)}.{json.dumps(name)}"
        case "root":
            return _marked(text[1:])
        case "key" if before and (before.lastgroup in _OPERAND_KINDS or before["close"]):
            return "." + json.dumps(_unquote(text[1:-1].strip()))
        case "number" if not _is_index(previous, after, brackets):
            return f"`{text}`"
        case "name" if (
            text in _CONSTANTS and previous != "." and not (after == ":" and brackets[-1:] == ["{"])
        ):
            return f"`{text}`"
    return text


def _marked(root: str) -> str:
    return json.dumps(_MARK + root)


def _unquote(text: str) -> str:
    if text[0] == '"':
        try:
            return str(json.loads(text))
        except ValueError:
            raise ExpressionSyntaxError(f"{text} is no JSON text") from None
    return text[1:-1].replace("\\'", "'")


def _is_index(previous: str, after: str, brackets: list[str]) -> bool:
    return brackets[-1:] == ["["] and previous in ("[", ":") and after in ("]", ":")


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


def _hoist_not(node: Any) -> Any:
    """`!a.b` means `!(a.b)`; the library reads `(!a).b`, which is null whatever `a` is."""
    if not isinstance(node, dict):
        return node
    children = [_hoist_not(child) for child in node["children"]]
    if node["type"] in _SEQUENTIAL - {"pipe"} and children[0]["type"] == "not_expression":
        inner = {**node, "children": [children[0]["children"][0], *children[1:]]}
        return {**children[0], "children": [_hoist_not(inner)]}
    return {**node, "children": children}


def _leftmost(node: Any) -> Any:
    while node["type"] in _SEQUENTIAL:
        node = node["children"][0]
    return node


def _places(node: Any, at_root: bool) -> Iterator[Place]:
    """What the tree reads of the document; `at_root` while the current node is the document."""
    kind, children = node["type"], node["children"]
    if kind in ("identity", "current") and at_root:
        raise ExpressionSyntaxError(f"it has to name one of {', '.join(ROOTS)}")
    if kind == "field":
        if (root := _root(node, at_root)) is not None:
            yield _whole_root(root)
        return
    if kind == "function_expression":
        _check_function(node["value"], len(children))
    if kind in _SEQUENTIAL:
        first, *rest = children
        root = _root(first, at_root)
        below = _leftmost(rest[0])
        if root is not None and below["type"] == "field":
            yield Place(root, below["value"] if root in _NAMING_ROOTS else None)
        else:
            yield from _places(first, at_root)
        children, at_root = rest, False
    elif kind == "expref":
        at_root = False
    for child in children:
        if isinstance(child, dict):
            yield from _places(child, at_root)


def _root(node: Any, at_root: bool) -> str | None:
    """The root that a field node names; an unknown one is an error."""
    if node["type"] != "field":
        return None
    name: str = node["value"]
    if name.startswith(_MARK):
        return name[1:]
    if not at_root:
        return None
    if name not in ROOTS:
        raise ExpressionSyntaxError(_unknown_root(name))
    return name


def _unknown_root(name: str) -> str:
    maybe = nearest(name, ROOTS, 1)
    instead = (
        f"did you mean {maybe[0]}?"
        if maybe
        else f"the output of a task is OUTPUT[id], an input INPUT.name"
    )
    return f"unknown root {name!r}: {instead}"


def _whole_root(root: str) -> Place:
    if root in ("OUTPUT", "STATUS"):
        raise ExpressionSyntaxError(f"{root} has to name a task: {root}[id]")
    return Place(root, None)


def _check_function(name: str, count: int) -> None:
    known = functions.Functions.FUNCTION_TABLE
    if name not in known:
        maybe = nearest(name, known, 1)
        raise ExpressionSyntaxError(
            f"there is no function {name!r}" + (f", did you mean {maybe[0]!r}?" if maybe else "")
        )
    signature = known[name]["signature"]
    variadic = bool(signature) and signature[-1].get("variadic", False)
    if count < len(signature) or (count > len(signature) and not variadic):
        least = "at least " if variadic else ""
        raise ExpressionSyntaxError(
            f"{name}() takes {least}{len(signature)} arguments, not {count}"
        )


_LOOKS_LIKE_A_ROOT = re.compile(r"(?<![.\w])\$?([A-Za-z]\w*)\[[A-Za-z_]")


def _explain(text: str, error: Exception) -> str:
    for name in _LOOKS_LIKE_A_ROOT.findall(text):
        if name not in ROOTS:
            return _unknown_root(name)
    return _first_line(error).replace("\\u0000", "").removeprefix("Bad jmespath expression: ")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(":")


class _Interpreter(visitor.TreeInterpreter):
    """The library's, for which a marked name is a root of the document wherever it stands."""

    def __init__(self, document: Document) -> None:
        super().__init__()
        self._document = document

    def visit_field(self, node: Mapping[str, Any], value: Any) -> Any:
        name: str = node["value"]
        if name.startswith(_MARK):
            return self._document.get(name[1:])
        return super().visit_field(node, value)
