"""Reads JSON and YAML files strictly: the result is plain JSON data, and nothing is dropped."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestrator.documents.files import STDIN, read_text, text_of
from orchestrator.documents.positions import TOKEN, LineIndex
from orchestrator.documents.suggest import nearest
from orchestrator.documents.text import quoted
from orchestrator.errors import Problem, WorkflowError

MAX_DIGITS = 4300  # of an integer; what Python takes
_SUFFIXES = (".json", ".yaml", ".yml")
# The two escapes of a pair are skipped as one, and so is an escaped backslash before a "u".
_ESCAPES = re.compile(
    r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(?P<lone>\\u[dD][89a-fA-F]..)|\\.", re.DOTALL
)


class DocumentError(ValueError):
    """A malformed JSON or YAML document; line and column count from 1, None if unknown."""

    def __init__(
        self, reason: str, line: int | None = None, column: int | None = None, hint: str = ""
    ) -> None:
        self.reason, self.line, self.column, self.hint = reason, line, column, hint
        super().__init__(reason if line is None else f"{reason} (line {line}, column {column})")


class NotJsonError(DocumentError):
    """A syntax error of JSON."""


def read_document(path: Path, error: type[WorkflowError] = WorkflowError) -> Any:
    """The data in a JSON or YAML file; raises `error` if it is missing or malformed."""
    try:
        text = read_text(path, error, _nearby(path))
        if not is_yaml(path):
            return parse_json(text)
        from orchestrator.documents.yaml_document import parse_yaml  # most files are JSON

        return parse_yaml(text)
    except DocumentError as failure:
        problem = malformed(failure)
    except ValueError as failure:  # a NUL in the name
        problem = Problem("unreadable_file", f"cannot be read: {failure}")
    raise error(str(path), [problem])


def malformed(failure: DocumentError) -> Problem:
    """The problem of a file that is malformed."""
    line, column, hint = failure.line, failure.column, failure.hint
    return Problem("malformed_document", failure.reason, hint=hint, line=line, column=column)


def is_yaml(path: Path) -> bool:
    """Whether a file is YAML: by its name; stdin has none and is JSON if it begins like it."""
    if path == STDIN:
        return text_of(path).lstrip()[:1] not in ("", "{", "[")
    return path.suffix.lower() in (".yaml", ".yml")


def _nearby(path: Path) -> str:
    here = path.parent
    try:
        if path.exists():
            return ""
        if not here.is_dir():
            return f"no such directory: {quoted(str(here), 200)}"
        names = sorted(file.name for file in here.iterdir() if file.suffix.lower() in _SUFFIXES)
    except OSError:
        return ""
    found = nearest(path.name, names) or names[:5]
    return f"files in {quoted(str(here), 200)}: {', '.join(found)}" if names else ""


def parse_json(text: str) -> Any:
    """The data of a JSON document (RFC 8259).

    Raises:
        NotJsonError: It is malformed.
        DocumentError: A property is duplicate, a surrogate alone, or a number out of range.
    """
    try:
        data = _load(text)
    except json.JSONDecodeError as failure:
        reason, hint = _why(text, failure)
        reason = f"invalid JSON: {reason}"
        raise NotJsonError(reason, failure.lineno, failure.colno, hint) from None
    except RecursionError:
        raise DocumentError("nested too deep") from None
    except ValueError:
        raise next(_losses(text)) from None
    if "\\ud" in text or "\\uD" in text:  # no UTF-8 file can hold a surrogate that is not escaped
        for escape in _ESCAPES.finditer(text):
            if escape["lone"]:
                place = LineIndex(text).place(escape.start())
                raise DocumentError(f"lone surrogate {escape[0].lower()}", *place)
    return data


def whole_characters(text: str) -> str:
    """A JSON text whose escapes of lone surrogates are replaced by that of U+FFFD."""
    if "\\ud" not in text and "\\uD" not in text:
        return text
    return _ESCAPES.sub(lambda escape: "\\ufffd" if escape["lone"] else escape[0], text)


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(members)
    if len(made) < len(members):
        raise DocumentError("duplicate property")
    return made


def _no_constant(name: str) -> Any:
    raise DocumentError(f"{name} is not JSON")


def finite(text: str) -> float:
    """The value of a JSON number; a DocumentError if it is out of the range of a double."""
    number = float(text)
    if math.isinf(number):
        raise DocumentError(f"number {text[:40]} is too large")
    return number


# Made once: json.loads would make a decoder for every text.
_load = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=finite
).decode


def _why(text: str, failure: json.JSONDecodeError) -> tuple[str, str]:
    """What is wrong with a malformed text, and how to fix it."""
    before, rest = text[: failure.pos].rstrip(), text[failure.pos :].lstrip()
    if not text.strip():
        return "empty document", ""
    if before.endswith(",") and rest[:1] in ("]", "}"):
        return f'trailing comma before "{rest[0]}"', ""
    if rest.startswith(("//", "/*", "#")):
        return "a comment", "JSON has no comments: remove it, or write the file as YAML"
    if rest.startswith("'"):
        return failure.msg, 'names and strings are in double quotes: "..."'
    if rest.startswith(("True", "False", "None")):
        return failure.msg, "write true, false or null"
    if "escape" in failure.msg:
        return failure.msg, "a backslash starts an escape: write it twice"
    return failure.msg, ""


def _losses(text: str) -> Iterator[DocumentError]:
    """What would be lost of a document without syntax errors, with its places."""
    # The hooks of the json module do not get a position. Only an error pays for this second scan.
    lines = LineIndex(text)
    names: list[set[str]] = []  # of each open container
    last: Any = None
    start = 0  # of the last scalar
    for token in TOKEN.finditer(text):
        match token[0]:
            case "{" | "[":
                names.append(set())
            case "}" | "]":
                names.pop()
            case ":":
                if last in names[-1]:
                    yield DocumentError(f"duplicate property {quoted(last)}", *lines.place(start))
                names[-1].add(last)
            case scalar if scalar != ",":
                start = token.start()
                try:
                    last = _load(scalar)
                except DocumentError as failure:
                    yield DocumentError(failure.reason, *lines.place(start))
                except ValueError:
                    reason = f"integer of more than {MAX_DIGITS:,} digits"
                    yield DocumentError(reason, *lines.place(start))
