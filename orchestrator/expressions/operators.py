"""Writes with functions what JMESPath cannot say: `a + 1` as `add(a, 1)`, `text[0:5]` as `slice()`.

It only proposes: a text comes back as it is where what is meant is not clear.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from orchestrator.expressions.lexer import ROOTS, ExpressionSyntaxError, Token, tokenize

FUNCTIONS = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide", "%": "mod"}
MAX_LENGTH = 2000  # of an expression that is written anew
_VARIADIC = ("add", "multiply")
_SEPARATORS = frozenset(",|&=<>!:?")
_SLICE = re.compile(r"\[\s*(-?\d*)\s*:\s*(-?\d*)\s*(?::\s*(-?\d*)\s*)?\]")
_FILTER_FOR_NULL = re.compile(r"\[\?\s*(?:@\s*==\s*`?null`?|`?null`?\s*==\s*@)\s*\]")
_PROJECTS = ("*", "[]", "[?", ":")


_INSTEAD = {
    "in": "; write contains(array, value)",
    "?": "; there is no ? : (write (condition && a) || b), and for ?? there is not_null(a, b)",
    "≥": "; write >=",
    "≤": "; write <=",
    "≠": "; write !=",
    "and": "; write && instead",
    "or": "; write || instead",
    "=": "; write == to compare",
}


def operator_for(found: str, text: str) -> str:
    """What to write for an operator of other languages, of which `found` is a part; or empty."""
    if found in _INSTEAD:
        return _INSTEAD[found]
    if found in ROOTS and re.search(rf"\bnot\s+\$?{found}\b", text):
        return "; write !(...)"
    if found in ROOTS and re.search(rf"\[\s*\$?{found}\b", text):
        return "; for a computed index, write at(array, index)"
    return "; write != to compare" if found == ">" and "<>" in text else ""


def with_functions(text: str) -> str:
    """The expression with functions for its operators, and quotes around names with a dash."""
    if len(text) > MAX_LENGTH or FUNCTIONS.keys().isdisjoint(text):
        return text
    try:
        words = list(_words(list(tokenize(text))))
        made, end = _level(words, 0)
    except ExpressionSyntaxError:
        return text
    return made if end == len(words) else text


def with_slice(text: str) -> str:
    """The expression with a function for its only slice, which is one of a string."""
    if (found := _only(_SLICE, text)) is None:
        return text
    before, value, match = found
    start, stop, step = (group or "null" for group in match.groups("null"))
    bounds = ["0" if start == "null" and step == "null" else start, stop, step]
    while bounds[-1] == "null" and len(bounds) > 1:
        bounds.pop()
    return f"{before}slice({value}, {', '.join(bounds)}){text[match.end() :]}"


def with_count_null(text: str) -> str:
    """The expression with a function for `length(array[?@ == null])`."""
    if (found := _only(_FILTER_FOR_NULL, text)) is None:
        return text
    before, value, match = found
    name, after = re.search(r"\blength\(\s*$", before), text[match.end() :].lstrip()
    if name is None or not after.startswith(")"):
        return text
    return f"{before[: name.start()]}count_null({value}){after[1:]}"


def as_string(text: str) -> str:
    """A string as an expression has it, in single quotes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


@dataclass(slots=True)
class _Sum:
    """Operands and the operators between them."""

    operands: list[str] = field(default_factory=list)
    operators: list[str] = field(default_factory=list)

    def written(self, last: str) -> str:
        if not self.operators:
            return last
        first, operands = self.operands[0], [*self.operands, last]
        blanks = first[: len(first) - len(first.lstrip())], last[len(last.rstrip()) :]
        folded = [(each.strip(), "", [each.strip()]) for each in operands]
        operators = list(self.operators)
        for level in ("*/%", "+-"):
            at = 0
            while at < len(operators):
                if operators[at] in level:
                    folded[at : at + 2] = [_joined(operators.pop(at), *folded[at : at + 2])]
                else:
                    at += 1
        return f"{blanks[0]}{folded[0][0]}{blanks[1]}"


_Term = tuple[str, str, list[str]]  # its text, its function if it is one of ours, and its arguments


def _joined(operator: str, left: _Term, right: _Term) -> _Term:
    function = FUNCTIONS[operator]
    more = function in _VARIADIC and left[1] == function
    arguments = [*(left[2] if more else [left[0]]), right[0]]
    text = f"{function}({', '.join(arguments)})"
    if function == "add" and any(each.startswith("'") for each in arguments):
        strings = [each if each.startswith("'") else f"to_string({each})" for each in arguments]
        text = f"join('', [{', '.join(strings)}])"
    return text, function, arguments


@dataclass(frozen=True, slots=True)
class _Word:
    kind: str
    text: str


def _words(tokens: list[Token]) -> Iterator[_Word]:
    """The tokens; names with a dash as one, and a sign behind an operand as an operator: `a -1`."""
    operand, position = False, 0
    while position < len(tokens):
        kind, text = str(tokens[position].lastgroup), tokens[position][0]
        position += 1
        if kind == "name":
            start = position
            while _goes_on(tokens, position):
                position += 2
            if position > start:
                text = json.dumps(text + "".join(token[0] for token in tokens[start:position]))
        if kind == "number" and text[0] == "-" and operand:
            yield _Word("other", "-")
            text = text[1:]
        yield _Word(kind, text)
        if kind != "blank":
            operand = kind not in ("open", "other") or text == "@"


def _goes_on(tokens: list[Token], position: int) -> bool:
    """Whether a name has a dash and more behind it, as in `first-name`, without blanks."""
    around = [token[0] for token in tokens[position - 1 : position + 3]]
    if len(around) < 3 or around[1] != "-" or tokens[position + 1].lastgroup != "name":
        return False
    return around[0] not in ROOTS and around[2] not in ROOTS and around[3:] != ["("]


def _level(words: list[_Word], at: int) -> tuple[str, int]:
    """The text of the words up to a closing bracket or the end, and where that is."""
    made, current, group, chain = "", "", "", _Sum()
    while at < len(words) and words[at].kind != "close":
        word = words[at]
        is_first = not current.strip()
        if word.kind == "open":
            inner, at = _level(words, at + 1)
            close = words[at].text if at < len(words) else ""
            group = inner if is_first and word.text == "(" else ""
            current += word.text + inner + close
        elif word.text in FUNCTIONS and not is_first and current.rstrip()[-1] != ".":
            chain.operands.append(group or current)
            chain.operators.append(word.text)
            current = group = ""
        elif word.text in _SEPARATORS:
            made += chain.written((chain.operators and group) or current) + word.text
            current, group, chain = "", "", _Sum()
        else:
            current += word.text
            group = group if word.kind == "blank" else ""
        at += 1
    return made + chain.written((chain.operators and group) or current), at


def _only(pattern: re.Pattern[str], text: str) -> tuple[str, str, re.Match[str]] | None:
    """What stands before a value, the value, and the one match behind it; None if not clear."""
    found = list(pattern.finditer(text))
    if len(found) != 1 or len(text) > MAX_LENGTH:
        return None
    end = found[0].start()
    tokens = list(tokenize(text))
    if all(token.start() != end for token in tokens):  # it is in a string
        return None
    start = _start_of_value([token for token in tokens if token.end() <= end])
    if start is None or any(each in text[start:end] for each in _PROJECTS):
        return None  # of a projection, each item would be meant
    return text[:start], text[start:end], found[0]


def _start_of_value(tokens: list[Token]) -> int | None:
    """Where the value begins that the tokens end with, such as `OUTPUT[a].b[0]` or `f(x)`."""
    start, index = None, len(tokens) - 1
    while index >= 0:
        token = tokens[index]
        index -= 1
        if token["close"]:
            index = _opening(tokens, index)
            start = tokens[index].start()
            if tokens[index][0] == "(":
                is_call = index > 0 and tokens[index - 1]["name"]
                return tokens[index - 1].start() if is_call else start
            index -= 1
        elif token["key"]:
            start = token.start()
        elif token["blank"] or token["open"] or (token["other"] and token[0] != "@"):
            break
        else:
            start = token.start()
            if index < 0 or tokens[index][0] != ".":
                break
            index -= 1
    return start


def _opening(tokens: list[Token], index: int) -> int:
    depth = 1
    while depth and index >= 0:
        depth += bool(tokens[index]["close"]) - bool(tokens[index]["open"])
        index -= 1
    return index + 1
