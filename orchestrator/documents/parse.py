"""Reads JSON and YAML files strictly: the result is plain JSON data, and nothing is dropped."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.documents.files import read_text
from orchestrator.documents.positions import TOKEN, Lines
from orchestrator.documents.suggest import nearest
from orchestrator.documents.text import joined, quoted
from orchestrator.errors import Problem, WorkflowError

if TYPE_CHECKING:
    import yaml

MAX_VALUES = 5_000_000
MAX_DIGITS = 4300  # of an integer; what Python takes
_SUFFIXES = (".json", ".yaml", ".yml")
# The two escapes of a pair are skipped as one, and so is an escaped backslash before a "u".
_ESCAPES = re.compile(
    r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(?P<lone>\\u[dD][89a-fA-F]..)|\\.", re.DOTALL
)


class DocumentError(ValueError):
    """A malformed JSON or YAML document; line and column count from 1, None if unknown."""

    def __init__(self, reason: str, line: int | None = None, column: int | None = None) -> None:
        self.reason, self.line, self.column = reason, line, column
        super().__init__(reason if line is None else f"{reason} (line {line}, column {column})")


class NotJsonError(DocumentError):
    """A syntax error of JSON."""


def read_document(path: Path, error: type[WorkflowError] = WorkflowError) -> Any:
    """The data in a JSON or YAML file; raises `error` if it is missing or malformed."""
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
        reason = f"invalid JSON: {_why(text, failure)}"
        raise NotJsonError(reason, failure.lineno, failure.colno) from None
    except RecursionError:
        raise DocumentError("nested too deep") from None
    except ValueError:
        raise next(_losses(text)) from None
    if "\\ud" in text or "\\uD" in text:  # no UTF-8 file can hold a surrogate that is not escaped
        for escape in _ESCAPES.finditer(text):
            if escape["lone"]:
                place = Lines(text).place(escape.start())
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


def _why(text: str, failure: json.JSONDecodeError) -> str:
    before = text[: failure.pos].rstrip()
    if not text.strip():
        return "empty document"
    if before.endswith(",") and text[failure.pos : failure.pos + 1] in ("]", "}"):
        return f'trailing comma before "{text[failure.pos]}"'
    return failure.msg


def _losses(text: str) -> Iterator[DocumentError]:
    """What would be lost of a document without syntax errors, with its places."""
    # The hooks of the json module do not get a position. Only an error pays for this second scan.
    lines = Lines(text)
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
        reason = f"invalid YAML: {failure.problem or failure.context}"
        raise _marked(reason, failure.problem_mark) from None
    except yaml.YAMLError as failure:
        reason = str(failure).strip().partition("\n")[0]
        raise DocumentError(f"invalid YAML: {reason}") from None
    except RecursionError:
        raise DocumentError("nested too deep") from None
    except DocumentError:
        raise
    except (ValueError, OverflowError):  # an integer or an escape beyond what Python takes
        raise DocumentError("number or escape is too large") from None


def _marked(reason: str, mark: yaml.Mark | None) -> DocumentError:
    return DocumentError(reason, *(() if mark is None else (mark.line + 1, mark.column + 1)))


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
_STRING = "tag:yaml.org,2002:str"
_TAGS = {*_SCALARS, _STRING, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}


def _check(node: yaml.Node, sizes: dict[int, int], above: tuple[int, ...]) -> int:
    """The number of values of a node with its aliases expanded; each node is visited once."""
    key = id(node)
    if key in above:
        raise DocumentError("an alias refers to a value that contains it")
    if key not in sizes:
        if node.tag not in _TAGS:
            raise _marked(f"{node.tag} is not a JSON type", node.start_mark)
        if isinstance(node.value, str):
            _check_scalar(node)
        sizes[key] = 1 + sum(_check(child, sizes, (*above, key)) for child in _children(node))
        # A few hundred bytes of aliases can expand to more values than fit in memory.
        if sizes[key] > MAX_VALUES:
            raise DocumentError(f"aliases expand to more than {MAX_VALUES:,} values")
    return sizes[key]


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    import yaml

    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for name, value in node.value:
            if name.tag != _STRING:
                got = f", got {name.value}; put it in quotes" if isinstance(name.value, str) else ""
                reason = f"expected string as property name{got}"
                raise _marked(reason, name.start_mark)
            if name.value in seen:  # the loader itself would silently keep the last one
                raise _marked(f"duplicate property {quoted(name.value)}", name.start_mark)
            seen.add(name.value)
            yield name
            yield value


def _check_scalar(node: yaml.Node) -> None:
    if node.tag in _SCALARS and not _SCALARS[node.tag][0].fullmatch(node.value):
        reason = f"{quoted(node.value)} is not a JSON {node.tag.rpartition(':')[2]}"
        raise _marked(reason, node.start_mark)
    if node.tag.endswith(":float"):
        finite(node.value)
    try:
        node.value = joined(node.value)
    except UnicodeDecodeError:
        raise _marked("lone surrogate in a string", node.start_mark) from None


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
