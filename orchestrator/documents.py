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

from orchestrator.codes import Code
from orchestrator.errors import Problem, WorkflowError, nearest

if TYPE_CHECKING:
    import yaml

MAX_VALUES = 5_000_000
_SUFFIXES = (".json", ".yaml", ".yml")
_ESCAPED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


class DocumentError(ValueError):
    """Text that is no JSON or YAML document. Its message says where and why."""


class NotJsonError(DocumentError):
    """Text that the grammar of JSON does not know."""


def read_document(path: Path, error: type[WorkflowError] = WorkflowError) -> Any:
    """The data in a JSON or YAML file; a file is YAML if its name ends in `.yaml` or `.yml`.

    Raises:
        WorkflowError: (or the class given) The file is not there, not readable or not well-formed.
    """
    code: Code = "unreadable_file"
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
        code, message = "malformed_document", str(failure)
    except ValueError as failure:  # a NUL in the name
        message = f"cannot be read: {failure}"
    raise error(str(path), [Problem(code, message)])


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
        line = text.split("\n")[failure.lineno - 1].strip()
        shown = f": {line[:80]!r}" if line else ""
        raise NotJsonError(
            f"is no JSON: line {failure.lineno}, column {failure.colno}: {failure.msg}{shown}"
        ) from None
    except RecursionError:
        raise DocumentError("is nested too deep") from None
    except DocumentError:
        raise
    except ValueError:  # an integer of more digits than Python takes
        raise DocumentError("holds a whole number of more than 4,300 digits") from None
    _refuse_half_pairs(text)
    return data


def _refuse_half_pairs(text: str) -> None:
    """Only an escape can bring in half of a surrogate pair, which no UTF-8 file can hold."""
    if "\\ud" not in text and "\\uD" not in text:
        return
    joined = _ESCAPED.sub(_written_out, text).encode("utf-16", "surrogatepass")
    if broken := _SURROGATE.search(joined.decode("utf-16", "surrogatepass")):
        line = text.count("\n", 0, text.lower().find(f"\\u{ord(broken[0]):04x}")) + 1
        raise DocumentError(f"line {line}: \\u{ord(broken[0]):04x} is half of a surrogate pair")


def _written_out(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else " "


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(members)
    if len(made) < len(members):
        twice = Counter(name for name, _ in members).most_common(1)[0][0]
        raise DocumentError(f"the name {twice!r} stands twice in one object")
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
        mark = failure.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise DocumentError(f"is no YAML: {where}{failure.problem or failure.context}") from None
    except yaml.YAMLError as failure:
        reason = str(failure).strip().partition("\n")[0]
        raise DocumentError(f"is no YAML: {reason}") from None
    except RecursionError:
        raise DocumentError("is nested too deep") from None
    except DocumentError:
        raise
    except (ValueError, OverflowError):  # an integer or an escape beyond what Python takes
        raise DocumentError("holds a number or an escape that is too large") from None


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
        where = f"line {node.start_mark.line + 1}: "
        if node.tag not in _TAGS:
            raise DocumentError(f"{where}{node.tag} is nothing that JSON has")
        if isinstance(node.value, str):
            _check_scalar(node, where)
        sizes[key] = 1 + sum(_check(child, sizes, (*above, key)) for child in _children(node))
        if sizes[key] > MAX_VALUES:
            raise DocumentError(f"its aliases stand for more than {MAX_VALUES:,} values")
    return sizes[key]


def _children(node: yaml.Node) -> list[yaml.Node]:
    import yaml

    if isinstance(node, yaml.MappingNode):
        _check_names(node)
        return [child for member in node.value for child in member]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _check_names(node: yaml.MappingNode) -> None:
    seen: set[str] = set()
    for name, _ in node.value:
        where = f"line {name.start_mark.line + 1}: "
        if name.tag != _TEXT_TAG:
            shown = f" {name.value!r}" if isinstance(name.value, str) else ""
            raise DocumentError(f"{where}the name{shown} has to be text, in quotes")
        if name.value in seen:
            raise DocumentError(f"{where}the name {name.value!r} stands twice in one object")
        seen.add(name.value)


def _check_scalar(node: yaml.Node, where: str) -> None:
    if node.tag in _SCALARS and not _SCALARS[node.tag][0].fullmatch(node.value):
        raise DocumentError(f"{where}{node.value!r} is no {node.tag.rpartition(':')[2]} of JSON")
    if node.tag.endswith(":float"):
        finite(node.value)
    if _SURROGATE.search(node.value):
        joined = node.value.encode("utf-16", "surrogatepass")
        node.value = joined.decode("utf-16", "replace")
        if "\ufffd" in node.value:
            raise DocumentError(f"{where}a text holds half of a surrogate pair")


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
