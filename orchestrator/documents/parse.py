"""JSON and YAML files, read strictly.

The rule of this file: what comes out is plain JSON data and nothing of the file was dropped. A name
that stands twice, a value that JSON does not have or a broken character is an error.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.documents.positions import Lines, second_name, tokens
from orchestrator.documents.suggest import nearest
from orchestrator.errors import Problem, WorkflowError

if TYPE_CHECKING:
    import yaml

MAX_VALUES = 5_000_000
MAX_DIGITS = 4300  # of an integer; what Python takes
_SUFFIXES = (".json", ".yaml", ".yml")
_ESCAPED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


class DocumentError(ValueError):
    """Text that is no JSON or YAML document. Its message says where and why.

    Attributes:
        reason: Why, without the place.
        line: The line that is wrong, from 1, and `column` the character in it; None if unknown.
    """

    def __init__(
        self, reason: str, line: int | None = None, column: int | None = None, message: str = ""
    ) -> None:
        self.reason = reason
        self.line = line
        self.column = column
        super().__init__(message or reason)


class NotJsonError(DocumentError):
    """Text that the grammar of JSON does not know."""


class DoubledNameError(DocumentError):
    """An object of JSON that has two members of one name."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"the name {name!r} stands twice in one object")


def read_document(path: Path, error: type[WorkflowError] = WorkflowError) -> Any:
    """The data in a JSON or YAML file; a file is YAML if its name ends in `.yaml` or `.yml`.

    Raises:
        WorkflowError: (or the class given) The file is not there, not readable or not well-formed.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        return parse_yaml(text) if is_yaml(path) else parse_json(text)
    except OSError as failure:
        message = f"cannot be read: {failure.strerror or failure}"
        if isinstance(failure, FileNotFoundError):
            message += _beside(path)
    except UnicodeDecodeError as failure:
        message = f"is not UTF-8: byte {failure.start} is {failure.object[failure.start]:#x}"
    except DocumentError as failure:
        raise error(str(path), [malformed(failure)]) from None
    except ValueError as failure:  # a NUL in the name
        message = f"cannot be read: {failure}"
    raise error(str(path), [Problem("unreadable_file", message)])


def malformed(failure: DocumentError) -> Problem:
    """The problem of a file that holds no document."""
    line, column = failure.line, failure.column
    return Problem("malformed_document", failure.reason, line=line, column=column)


def is_yaml(path: Path) -> bool:
    """Whether the file's name says that it is YAML."""
    return path.suffix.lower() in (".yaml", ".yml")


def _beside(path: Path) -> str:
    here = path.parent
    if not here.is_dir():
        return f"; there is no directory {str(here)!r}"
    names = sorted(file.name for file in here.iterdir() if file.suffix.lower() in _SUFFIXES)
    listed = nearest(path.name, names) or names[:5]
    return f"; in {str(here)!r} there is {', '.join(listed)}" if names else ""


def parse_json(text: str) -> Any:
    """The data of a JSON document (RFC 8259).

    Raises:
        DocumentError: It is malformed (then a `NotJsonError`), a name stands twice in one object,
            or it holds half of a surrogate pair, or a number that Python does not take.
    """
    try:
        data = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=finite
        )
    except json.JSONDecodeError as failure:
        line, column = failure.lineno, failure.colno
        begin = text.split("\n")[line - 1].strip()
        shown = f": {begin[:80]!r}" if begin else ""
        why = _why(text, failure)
        message = f"is no JSON: line {line}, column {column}: {why}{shown}"
        raise NotJsonError(f"is no JSON: {why}", line, column, message) from None
    except RecursionError:
        raise DocumentError("is nested too deep") from None
    except DocumentError as failure:
        raise _placed(failure, text) from None
    except ValueError:  # an integer of more digits than Python takes
        too_long = DocumentError(f"holds a whole number of more than {MAX_DIGITS:,} digits")
        raise _placed(too_long, text) from None
    _refuse_half_pairs(text)
    return data


def _why(text: str, failure: json.JSONDecodeError) -> str:
    """Why reading broke off, where the library's words do not say it."""
    before = text[: failure.pos].rstrip()
    if not text.strip():
        return "it is empty"
    if before.endswith(",") and text[failure.pos : failure.pos + 1] in ("]", "}"):
        return "a comma stands before it, and nothing between them"
    return failure.msg


def _placed(failure: DocumentError, text: str) -> DocumentError:
    """The error of a document that has its grammar right, with the place of what is wrong."""
    if isinstance(failure, DoubledNameError):
        offset = second_name(text, failure.name)
    else:
        offset = next((t.start() for t in tokens(text) if _is_too_much(t[0])), 0)
    return DocumentError(failure.reason, *Lines(text).place(offset))


def _is_too_much(token: str) -> bool:
    """Whether JSON, a double or Python does not have what a token stands for."""
    if token in ("NaN", "Infinity", "-Infinity"):
        return True
    if token.lstrip("-").isdecimal():
        return len(token) > MAX_DIGITS
    return token[0] in "-0123456789" and math.isinf(float(token))


def _refuse_half_pairs(text: str) -> None:
    """Only an escape can bring in half of a surrogate pair, which no UTF-8 file can hold."""
    if "\\ud" not in text and "\\uD" not in text:
        return
    joined = _ESCAPED.sub(_written_out, text).encode("utf-16", "surrogatepass")
    if broken := _SURROGATE.search(joined.decode("utf-16", "surrogatepass")):
        escape = f"\\u{ord(broken[0]):04x}"
        found = re.search(re.escape(escape), text, re.IGNORECASE)
        line, column = Lines(text).place(found.start() if found else 0)
        reason = f"{escape} is half of a surrogate pair"
        raise DocumentError(reason, line, column, f"line {line}: {reason}")


def _written_out(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else " "


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(members)
    if len(made) < len(members):
        twice = Counter(name for name, _ in members).most_common(1)[0][0]
        raise DoubledNameError(twice)
    return made


def finite(text: str) -> float:
    """The number that a text of JSON stands for.

    Raises:
        DocumentError: It is beyond what a double holds.
    """
    number = float(text)
    if math.isinf(number):
        raise DocumentError(f"the number {text[:40]} is too large")
    return number


def _no_constant(name: str) -> Any:
    raise DocumentError(f"{name} is no JSON")


def parse_yaml(text: str) -> Any:
    """The data of a YAML document, as far as it is JSON: no dates, no tags, names are text.

    `yes`, `no`, `on` and `off` are text, as in YAML 1.2, and numbers are those of JSON alone.

    Raises:
        DocumentError: It is malformed, a name stands twice, or it holds what JSON does not have.
    """
    import yaml

    try:
        loader = _loader()(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node, {}, ())
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as failure:
        raise _no_yaml(failure) from None
    except yaml.YAMLError as failure:
        reason = str(failure).strip().partition("\n")[0]
        raise DocumentError(f"is no YAML: {reason}") from None
    except RecursionError:
        raise DocumentError("is nested too deep") from None
    except DocumentError:
        raise
    except (ValueError, OverflowError):  # an integer or an escape beyond what Python takes
        raise DocumentError("holds a number or an escape that is too large") from None


def _no_yaml(failure: yaml.MarkedYAMLError) -> DocumentError:
    reason, mark = failure.problem or failure.context, failure.problem_mark
    if mark is None:
        return DocumentError(f"is no YAML: {reason}")
    line, column = mark.line + 1, mark.column + 1
    message = f"is no YAML: line {line}, column {column}: {reason}"
    return DocumentError(f"is no YAML: {reason}", line, column, message)


_NUMBER = r"-?(?:0|[1-9][0-9]*)"
_SCALARS = {
    "tag:yaml.org,2002:null": (re.compile(r"null|~|"), ["n", "~", ""]),
    "tag:yaml.org,2002:bool": (re.compile(r"true|false"), ["t", "f"]),
    "tag:yaml.org,2002:int": (re.compile(_NUMBER), list("-0123456789")),
    "tag:yaml.org,2002:float": (
        re.compile(rf"{_NUMBER}(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"),
        list("-0123456789"),
    ),
}
_TEXT_TAG = "tag:yaml.org,2002:str"
_TAGS = {*_SCALARS, _TEXT_TAG, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}


def _check(node: yaml.Node, sizes: dict[int, int], above: tuple[int, ...]) -> int:
    """How many values a node stands for once its aliases are written out; each is counted once."""
    key = id(node)
    if key in above:
        raise DocumentError("an alias stands inside of its own anchor")
    if key not in sizes:
        if node.tag not in _TAGS:
            raise _refused(node, f"{node.tag} is nothing that JSON has")
        if isinstance(node.value, str):
            _check_scalar(node)
        sizes[key] = 1 + sum(_check(child, sizes, (*above, key)) for child in _children(node))
        if sizes[key] > MAX_VALUES:
            raise DocumentError(f"its aliases stand for more than {MAX_VALUES:,} values")
    return sizes[key]


def _refused(node: yaml.Node, reason: str) -> DocumentError:
    line, column = node.start_mark.line + 1, node.start_mark.column + 1
    return DocumentError(reason, line, column, f"line {line}: {reason}")


def _children(node: yaml.Node) -> list[yaml.Node]:
    import yaml

    if isinstance(node, yaml.MappingNode):
        _check_names(node)
        return [child for member in node.value for child in member]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _check_names(node: yaml.MappingNode) -> None:
    seen: set[str] = set()
    for name, _ in node.value:
        if name.tag != _TEXT_TAG:
            shown = f" {name.value!r}" if isinstance(name.value, str) else ""
            raise _refused(name, f"the name{shown} has to be text, in quotes")
        if name.value in seen:
            raise _refused(name, f"the name {name.value!r} stands twice in one object")
        seen.add(name.value)


def _check_scalar(node: yaml.Node) -> None:
    if node.tag in _SCALARS and not _SCALARS[node.tag][0].fullmatch(node.value):
        raise _refused(node, f"{node.value!r} is no {node.tag.rpartition(':')[2]} of JSON")
    if node.tag.endswith(":float"):
        finite(node.value)
    if _SURROGATE.search(node.value):
        joined = node.value.encode("utf-16", "surrogatepass")
        node.value = joined.decode("utf-16", "replace")
        if "\ufffd" in node.value:
            raise _refused(node, "a text holds half of a surrogate pair")


@cache
def _loader() -> type[yaml.SafeLoader]:
    """A safe loader that resolves plain scalars as JSON would."""
    import yaml

    class JsonLoader(yaml.SafeLoader):
        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    for tag, (pattern, first) in _SCALARS.items():
        whole = re.compile(rf"(?:{pattern.pattern})\Z")
        JsonLoader.add_implicit_resolver(tag, whole, first)
    return JsonLoader
