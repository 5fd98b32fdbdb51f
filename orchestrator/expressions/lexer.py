"""Cuts the text of a `${...}` into tokens and rewrites it into plain JMESPath.

Rewritten are roots such as `OUTPUT[id]` (also with a `$`), bare numbers, bare `true`, `false`,
`null`, `[]` and `{}`, `["odd key"]` behind a value, names outside of ASCII, and the older string
literal in backticks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from orchestrator.documents.jsonpath import MAX_INDEX, PathSyntaxError, parse_path
from orchestrator.documents.parse import DocumentError, NotJsonError, parse_json
from orchestrator.documents.text import quoted

ROOTS = ("OUTPUT", "ITEMS", "STATUS", "ERROR", "INPUT", "ITEM", "INDEX", "LAST", "RUN")
# Marks a root: it means the run's document inside a filter, a pipe and `&` too, where JMESPath
# resolves names in the current element.
_MARK = "\x00"
_BY_ID = "["
_CONSTANTS = frozenset({"true", "false", "null"})
_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_TOKEN = re.compile(
    rf"""
    (?P<blank>\s+)
  | (?P<task>\$?(?:OUTPUT|ITEMS|STATUS|ERROR)\[[A-Za-z0-9_.:-]+\])
  | (?P<root>\$(?:{"|".join(ROOTS)})(?!\w))
  | (?P<key>\[\s*(?:{_QUOTED})\s*\])
  | (?P<quoted>{_QUOTED})
  | (?P<literal>`(?:[^`\\]|\\.)*`)
  | (?P<number>-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
  | (?P<name>[^\W\d]\w*)
  | (?P<open>\[\?|[\[({{])
  | (?P<close>[\])}}])
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_OPERAND_KINDS = frozenset({"task", "root", "key", "quoted", "literal", "name"})
_AFTER_A_VALUE = frozenset({"", *")],}|&=!<>"})

Token = re.Match[str]


class ExpressionSyntaxError(ValueError):
    """A malformed expression."""


def tokenize(text: str, start: int = 0) -> Iterator[Token]:
    """The tokens of an expression from `start` on; raises at a quote that is not closed."""
    position = start
    while token := _TOKEN.match(text, position):
        if token["other"] in ("'", '"', "`"):
            raise ExpressionSyntaxError(f"unclosed {token[0]}")
        yield token
        position = token.end()


def closing_brace(text: str, start: int) -> int:
    """The position of the `}` that closes an expression which begins at `start`."""
    depth = 0
    for token in tokenize(text, start):
        if token["open"] == "{":
            depth += 1
        elif token["close"] == "}":
            if not depth:
                return token.start()
            depth -= 1
    raise ExpressionSyntaxError('missing "}"')


def marked_root(name: str) -> str | None:
    """The root that a name of a rewritten expression stands for, if it is marked as one."""
    root = name[1:].rstrip(_BY_ID)
    return root if name.startswith(_MARK) and root in ROOTS else None


def names_an_id(name: str) -> bool:
    """Whether a marked root was written with an id behind it, as in `ERROR[id]`."""
    return name.endswith(_BY_ID)


def with_an_id(name: str) -> str:
    """The marked root, as one that was written with an id behind it."""
    return f"{_MARK}{name.strip(_MARK + _BY_ID)}{_BY_ID}"


def rewrite(text: str) -> str:
    """The text in plain JMESPath; raises at an unclosed quote, or an invalid number or literal."""
    solid = [token for token in tokenize(text) if token.lastgroup != "blank"]
    brackets: list[str] = []
    rewritten: list[str] = []
    position = 0
    for index, token in enumerate(solid):
        before = solid[index - 1] if index else None
        after = solid[index + 1][0] if index + 1 < len(solid) else ""
        rewritten.append(" " * (token.start() > position))
        position = token.end()
        if _is_empty(solid, index):
            rewritten.append(f"`{token[0]}{after}`")
            continue
        if index and _is_empty(solid, index - 1):
            continue
        rewritten.append(_rewrite_token(token, before, after, brackets))
        if token["open"]:
            brackets.append(token[0])
        elif token["close"] and brackets:
            brackets.pop()
    return "".join(rewritten)


def _is_empty(solid: list[Token], index: int) -> bool:
    """Whether a token begins an empty array or object, and no `[]` that flattens something."""
    if solid[index][0] not in ("[", "{"):
        return False
    pair = "".join(token[0] for token in solid[index : index + 2])
    before = "".join(token[0] for token in solid[max(index - 2, 0) : index])
    after = solid[index + 2][0] if index + 2 < len(solid) else ""
    is_value = not before or before[-1] in "([{,:=<>" or before[-2:] in ("||", "&&")
    return pair == "{}" or (pair == "[]" and is_value and after in _AFTER_A_VALUE)


def _rewrite_token(token: Token, before: Token | None, after: str, brackets: list[str]) -> str:
    text = token[0]
    previous = before[0] if before else ""
    match token.lastgroup:
        case "task" if previous != ".":
            root, _, name = text.lstrip("$").rstrip("]").partition("[")
            return f"{json.dumps(_MARK + root + _BY_ID)}.{json.dumps(name)}"
        case "root":
            return json.dumps(_MARK + text[1:])
        case "key" if before and (before.lastgroup in _OPERAND_KINDS or before["close"]):
            return "." + json.dumps(_key(text))
        case "literal":
            inner = text[1:-1].replace("\\`", "`")
            # As in the library, what is not JSON at all is a string.
            return _literal(f"JSON literal {quoted(text, 40)}", inner, f'"{inner.lstrip()}"')
        case "number" if brackets[-1:] == ["["] and previous in ("[", ":") and after in ("]", ":"):
            return _index(text)
        case "number":
            return _literal(f"number {text[:20]}", text)
        case "name" if previous == "." or (after == ":" and brackets[-1:] == ["{"]):
            return text if text.isascii() else json.dumps(text)  # it names a property
        case "name" if text in _CONSTANTS:
            return f"`{text}`"
        case "name" if text in ROOTS:
            return json.dumps(_MARK + text)
        case "name" if not text.isascii():
            return json.dumps(text)
    return text


def _key(text: str) -> str:
    try:
        return str(parse_path(text)[0][0])
    except PathSyntaxError as fault:
        raise ExpressionSyntaxError(str(fault)) from None


def _index(text: str) -> str:
    digits = text.lstrip("-")
    if digits.isdigit() and (len(digits) > 16 or int(digits) > MAX_INDEX):
        raise ExpressionSyntaxError(f"index {text[:20]} is out of range (limit 2^53 - 1)")
    return text


def _literal(what: str, *candidates: str) -> str:
    """The first candidate that is JSON, as a literal of JMESPath."""
    for candidate in candidates:
        try:
            return "`" + json.dumps(parse_json(candidate)).replace("`", "\\u0060") + "`"
        except NotJsonError:
            continue
        except DocumentError:
            break
    raise ExpressionSyntaxError(f"invalid {what}")
