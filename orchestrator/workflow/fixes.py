"""What mends a finding for certain.

The rule of this file: where there is any doubt there is no mend.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from orchestrator.documents.pointer import replace_op, steps
from orchestrator.errors import Problem

_QUOTED = re.compile(r"\$(OUTPUT|ERROR)\[(['\"])([A-Za-z0-9_.:-]+)\2\]")
_MANY = re.compile(r"\[(?:\*|-?\d*:-?\d*(?::-?\d*)?)?\]")
_FORMS = ("${root}[{name}]", "{root}[{name}]", "${root}.{name}", "{root}.{name}", "{name}.result")


def unquoted(text: str) -> str:
    """The text with `$OUTPUT["id"]` as it is written: `$OUTPUT[id]`."""
    return _QUOTED.sub(r"$\1[\3]", text)


def as_expression(text: str) -> str:
    """The text of a reference that has a wildcard or a slice, as an expression: `${...[*]...}`."""
    if _MANY.search(text) is None:
        return text
    core = text.rstrip(".,;:!?")
    return f"${{{core[1:]}}}{text[len(core) :]}"


def piece_of(text: str, root: str, name: str) -> tuple[str, str]:
    """The piece of a reference or an expression that names something, and how such a piece is made.

    Args:
        text: The reference or the expression.
        root: `OUTPUT`, `INPUT` or another root.
        name: What it names there.

    Returns:
        The piece, and what `str.format(name=...)` makes another one of; both empty if the text does
        not have it in any of the usual forms.
    """
    for form in _FORMS:
        made = form.replace("{root}", root)
        piece = made.format(name=name)
        if _pattern(piece).search(text):
            return piece, made
    return "", ""


def _pattern(piece: str) -> re.Pattern[str]:
    """Finds a piece where it is a whole name, and no text behind a doubled dollar sign."""
    before = r"(?<!\$)" if piece.startswith("$") else r"(?<!\$\$)"
    after = "" if piece.endswith("]") else r"(?![\w-])"
    return re.compile(f"{before}{re.escape(piece)}{after}")


class Fixes:
    """Names that are mended within strings, of which one may hold several.

    All findings in a string get the same replacement, so that applying one does not undo another.
    """

    def __init__(self) -> None:
        self._pieces: dict[str, dict[str, str]] = {}

    def note(self, path: str, piece: str, mended: str) -> None:
        """Note that a piece of the string at a path is to be another."""
        self._pieces.setdefault(path, {})[piece] = mended

    def apply(self, problems: Iterable[Problem], document: Any) -> list[Problem]:
        """The problems, with the replacement of each whose path and text were noted."""
        return [self._applied(problem, document) for problem in problems]

    def _applied(self, problem: Problem, document: Any) -> Problem:
        pieces = self._pieces.get(problem.path, {})
        if problem.text not in pieces:
            return problem
        string = value_at(document, problem.path)
        mended = string if isinstance(string, str) else ""
        for piece, other in pieces.items():
            mended = _pattern(piece).sub(other.replace("\\", "\\\\"), mended)
        if not mended or mended == string:
            return problem  # it stands in the name of a member, or is written in another way
        return replace(problem, replacement=(replace_op(problem.path, mended),))


def value_at(document: Any, path: str) -> Any:
    """What a JSON Pointer leads to, which has to be there."""
    here = document
    for step in steps(path):
        here = here[int(step)] if isinstance(here, list) else here[step]
    return here
