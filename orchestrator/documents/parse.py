"""Reads JSON and YAML files strictly: the result is plain JSON data, and nothing is dropped."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.documents.files import read_text
from orchestrator.documents.positions import Lines, second_name, tokens
from orchestrator.documents.suggest import nearest
from orchestrator.documents.text import quoted
from orchestrator.errors import Problem, WorkflowError

if TYPE_CHECKING:
    import yaml

MAX_VALUES = 5_000_000
MAX_DIGITS = 4300  # of an integer; what Python takes
_SUFFIXES = (".json", ".yaml", ".yml")
_ESCAPED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


class DocumentError(ValueError):
    """A malformed JSON or YAML document.

    Attributes:
        reason: Why it is malformed; the message has the place too.
        line: The line, from 1, and `column` the character in it; None if unknown.
    """

    def __init__(self, reason: str, line: int | None = None, column: int | None = None) -> None:
        self.reason = reason
        self.line = line
        self.column = column
        super().__init__(reason if line is None else f"{reason} (line {line}, column {column})")


class NotJsonError(DocumentError):
    """A syntax error of JSON."""


class DuplicateNameError(DocumentError):
    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"duplicate property {quoted(name)}")


def read_document(path: Path, error: type[WorkflowError] = WorkflowError) -> Any:
    """The data in a JSON or YAML file; a file is YAML if its name ends in `.yaml` or `.yml`.

    Raises:
        WorkflowError: (or the class given) The file is missing, unreadable or malformed.
    """
    try:
        text = read_text(path, error, _nearby(path))
        return parse_yaml(text) if is_yaml(path) else parse_json(text)
    except DocumentError as failure:
        problem = malformed(failure)
    except ValueError as failure:  # a NUL in the name
        problem = Problem("unreadable_file", f"cannot be read: {failure}")
    raise error(str(path), [problem])


def malformed(failure: DocumentError) -> Problem:
    """The problem of a file that is malformed."""
    line, column = failure.line, failure.column
    return Problem("malformed_document", failure.reason, line=line, column=column)


def is_yaml(path: Path) -> bool:
    return path.suffix.lower() in (".yaml", ".yml")


def _nearby(path: Path) -> str:
    """What is there instead of a file that does not exist."""
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
        DocumentError: It is malformed (then a `NotJsonError`), or it has a duplicate property, a
            lone surrogate, or a number that Python does not take.
    """
    try:
        data = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=finite
        )
    except json.JSONDecodeError as failure:
        reason = f"invalid JSON: {_why(text, failure)}"
        raise NotJsonError(reason, failure.lineno, failure.colno) from None
    except RecursionError:
        raise DocumentError("nested too deep") from None
    except DocumentError as failure:
        raise _placed(failure, text) from None
    except ValueError:  # an integer of more digits than Python takes
        too_long = DocumentError(f"integer of more than {MAX_DIGITS:,} digits")
        raise _placed(too_long, text) from None
    _refuse_half_pairs(text)
    return data


def _why(text: str, failure: json.JSONDecodeError) -> str:
    before = text[: failure.pos].rstrip()
    if not text.strip():
        return "empty document"
    if before.endswith(",") and text[failure.pos : failure.pos + 1] in ("]", "}"):
        return f'trailing comma before "{text[failure.pos]}"'
    return failure.msg


def _placed(failure: DocumentError, text: str) -> DocumentError:
    """The error of a document without syntax errors, with its place."""
    if isinstance(failure, DuplicateNameError):
        offset = second_name(text, failure.name)
    else:
        offset = next((t.start() for t in tokens(text) if _is_too_much(t[0])), 0)
    return DocumentError(failure.reason, *Lines(text).place(offset))


def _is_too_much(token: str) -> bool:
    """Whether a token is a number that JSON, a double or Python cannot hold."""
    if token in ("NaN", "Infinity", "-Infinity"):
        return True
    if token.lstrip("-").isdecimal():
        return len(token) > MAX_DIGITS
    return token[0] in "-0123456789" and math.isinf(float(token))


def _refuse_half_pairs(text: str) -> None:
    """Refuse lone surrogates. Only an escape can be one, since no UTF-8 file can hold one."""
    if "\\ud" not in text and "\\uD" not in text:
        return
    joined = _ESCAPED.sub(_written_out, text).encode("utf-16", "surrogatepass")
    if broken := _SURROGATE.search(joined.decode("utf-16", "surrogatepass")):
        escape = f"\\u{ord(broken[0]):04x}"
        found = re.search(re.escape(escape), text, re.IGNORECASE)
        place = Lines(text).place(found.start() if found else 0)
        raise DocumentError(f"lone surrogate {escape}", *place)


def _written_out(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else " "


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(members)
    if len(made) < len(members):
        twice = Counter(name for name, _ in members).most_common(1)[0][0]
        raise DuplicateNameError(twice)
    return made


def finite(text: str) -> float:
    """The value of a JSON number.

    Raises:
        DocumentError: It is out of the range of a double.
    """
    number = float(text)
    if math.isinf(number):
        raise DocumentError(f"number {text[:40]} is too large")
    return number


def _no_constant(name: str) -> Any:
    raise DocumentError(f"{name} is not JSON")


def parse_yaml(text: str) -> Any:
    """The data of a YAML document that is JSON: no dates, no tags, property names are strings.

    `yes`, `no`, `on` and `off` are strings, as in YAML 1.2; numbers are written as in JSON.

    Raises:
        DocumentError: It is malformed, has a duplicate property, or a value that is not JSON.
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
        raise DocumentError(f"invalid YAML: {reason}") from None
    except RecursionError:
        raise DocumentError("nested too deep") from None
    except DocumentError:
        raise
    except (ValueError, OverflowError):  # an integer or an escape beyond what Python takes
        raise DocumentError("number or escape is too large") from None


def _no_yaml(failure: yaml.MarkedYAMLError) -> DocumentError:
    reason, mark = failure.problem or failure.context, failure.problem_mark
    place = () if mark is None else (mark.line + 1, mark.column + 1)
    return DocumentError(f"invalid YAML: {reason}", *place)


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
    """The number of values of a node with its aliases expanded; each node is visited once."""
    key = id(node)
    if key in above:
        raise DocumentError("an alias refers to a value that contains it")
    if key not in sizes:
        if node.tag not in _TAGS:
            raise _refused(node, f"{node.tag} is not a JSON type")
        if isinstance(node.value, str):
            _check_scalar(node)
        sizes[key] = 1 + sum(_check(child, sizes, (*above, key)) for child in _children(node))
        if sizes[key] > MAX_VALUES:
            raise DocumentError(f"aliases expand to more than {MAX_VALUES:,} values")
    return sizes[key]


def _refused(node: yaml.Node, reason: str) -> DocumentError:
    return DocumentError(reason, node.start_mark.line + 1, node.start_mark.column + 1)


def _children(node: yaml.Node) -> list[yaml.Node]:
    import yaml

    if isinstance(node, yaml.MappingNode):
        _check_names(node)
        return [child for member in node.value for child in member]
    return node.value if isinstance(node, yaml.SequenceNode) else []


# The loader itself would silently keep the last of two properties with one name.
def _check_names(node: yaml.MappingNode) -> None:
    seen: set[str] = set()
    for name, _ in node.value:
        if name.tag != _TEXT_TAG:
            got = f", got {name.value}; put it in quotes" if isinstance(name.value, str) else ""
            raise _refused(name, f"expected string as property name{got}")
        if name.value in seen:
            raise _refused(name, f"duplicate property {quoted(name.value)}")
        seen.add(name.value)


def _check_scalar(node: yaml.Node) -> None:
    if node.tag in _SCALARS and not _SCALARS[node.tag][0].fullmatch(node.value):
        raise _refused(node, f"{quoted(node.value)} is not a JSON {node.tag.rpartition(':')[2]}")
    if node.tag.endswith(":float"):
        finite(node.value)
    if _SURROGATE.search(node.value):
        joined = node.value.encode("utf-16", "surrogatepass")
        node.value = joined.decode("utf-16", "replace")
        if "\ufffd" in node.value:
            raise _refused(node, "lone surrogate in a string")


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
