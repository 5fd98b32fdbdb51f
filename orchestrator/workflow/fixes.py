"""Fixes for references and names in strings, proposed only where there is no doubt."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from orchestrator.documents.pointer import replace_op, value_at
from orchestrator.errors import Problem
from orchestrator.expressions.jmespath import as_functions

_QUOTED = re.compile(r"\$(OUTPUT|ITEMS|ERROR)\[(['\"])([A-Za-z0-9_.:-]+)\2\]")
_MANY = re.compile(r"\[(?:\*|-?\d*:-?\d*(?::-?\d*)?)?\]")
_FORMS = ("${root}[{name}]", "{root}[{name}]", "${root}.{name}", "{root}.{name}", "{name}.result")


def unquoted(text: str) -> str:
    """The text with each `$OUTPUT["id"]` written as `$OUTPUT[id]`."""
    return _QUOTED.sub(r"$\1[\3]", text)


def as_expression(text: str) -> str:
    """A reference with a wildcard or a slice, written as an expression: `${...[*]...}`."""
    if _MANY.search(text) is None:
        return text
    core = text.rstrip(".,;:!?")
    return f"${{{core[1:]}}}{text[len(core) :]}"


def in_functions(text: str) -> str:
    """An expression, with or without braces, with functions for its operators."""
    has_braces = text.startswith("${") and text.endswith("}")
    made = as_functions(text[2:-1] if has_braces else text)
    return f"${{{made}}}" if made and has_braces else made or text


def piece_of(text: str, root: str, name: str) -> tuple[str, str]:
    """The piece of a reference or an expression that names a task or an input.

    Also a format that `str.format(name=...)` makes another one of; both empty if the text has the
    name in none of the usual forms.
    """
    for form in _FORMS:
        made = form.replace("{root}", root)
        piece = made.format(name=name)
        if _pattern(piece).search(text):
            return piece, made
    return "", ""


def _pattern(piece: str) -> re.Pattern[str]:
    # A whole name, and not after a doubled dollar sign.
    before = r"(?<!\$)" if piece.startswith("$") else r"(?<!\$\$)"
    after = "" if piece.endswith("]") else r"(?![\w-])"
    return re.compile(f"{before}{re.escape(piece)}{after}")


class Fixes:
    """Fixes of pieces of strings, of which one string can need several."""

    def __init__(self) -> None:
        self._pieces: dict[str, dict[str, str]] = {}

    def note(self, path: str, piece: str, fixed: str) -> None:
        """Note what a piece of the string at a path is to be replaced by."""
        self._pieces.setdefault(path, {})[piece] = fixed

    def apply(self, problems: Iterable[Problem], document: Any) -> list[Problem]:
        """The problems, each with its replacement if its path and text were noted."""
        return [self._applied(problem, document) for problem in problems]

    def _applied(self, problem: Problem, document: Any) -> Problem:
        pieces = self._pieces.get(problem.path, {})
        if problem.text not in pieces:
            return problem
        string = value_at(document, problem.path)
        fixed = string if isinstance(string, str) else ""
        # All findings in a string get one replacement: applying one must not undo another.
        for piece, other in pieces.items():
            fixed = _pattern(piece).sub(other.replace("\\", "\\\\"), fixed)
        if not fixed or fixed == string:
            return problem  # it is in a property name, or written in another way
        return replace(problem, replacement=(replace_op(problem.path, fixed),))
