"""JSON and YAML files, read strictly.

The rule of this file: what comes out is plain JSON data and nothing of the file was dropped: a name
that stands twice, a value that JSON does not have or a broken character is an error with its line.
"""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

from orchestrator.errors import Problem, WorkflowError

_JSON_TAGS = frozenset({"map", "seq", "str", "int", "float", "bool", "null"})
MAX_VALUES = 5_000_000


class DocumentError(ValueError):
    """Text that is no JSON or YAML document. Its message says where and why."""


def read_document(path: Path, error: type[WorkflowError] = WorkflowError) -> Any:
    """The data in a JSON or YAML file; a file is YAML if its name ends in `.yaml` or `.yml`.

    Raises:
        WorkflowError: (or the class given) The file is not there, not readable or not well-formed.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        return parse_yaml(text) if is_yaml(path) else parse_json(text)
    except OSError as failure:
        reason = failure.strerror or str(failure)
        message = f"cannot be read: {reason}"
        if isinstance(failure, FileNotFoundError):
            message += _beside(path)
        raise error(str(path), [Problem("unreadable_file", message)]) from None
    except UnicodeDecodeError as failure:
        message = f"is not UTF-8: byte {failure.start} is {failure.object[failure.start]:#x}"
        raise error(str(path), [Problem("unreadable_file", message)]) from None
    except DocumentError as failure:
        raise error(str(path), [Problem("malformed_document", str(failure))]) from None


def is_yaml(path: Path) -> bool:
    """Whether the file's name says that it is YAML."""
    return path.suffix.lower() in (".yaml", ".yml")


def _beside(path: Path) -> str:
    here = path.parent
    if not here.is_dir():
        return f"; there is no directory {str(here)!r}"
    names = sorted(file.name for file in here.glob("*.json"))[:5]
    return f"; in {str(here)!r} there are {', '.join(names)}" if names else ""


def parse_json(text: str) -> Any:
    """The data of a JSON document (RFC 8259).

    Raises:
        DocumentError: It is malformed, or a name stands twice in one object.
    """
    try:
        return json.loads(
            text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=finite
        )
    except json.JSONDecodeError as failure:
        line = text.splitlines()[failure.lineno - 1 : failure.lineno]
        shown = f": {line[0].strip()[:80]!r}" if line else ""
        raise DocumentError(
            f"is no JSON: line {failure.lineno}, column {failure.colno}: {failure.msg}{shown}"
        ) from None
    except RecursionError:
        raise DocumentError("is nested too deep") from None
    except DocumentError:
        raise
    except ValueError as failure:  # an integer of more digits than Python takes
        raise DocumentError(f"is no JSON: {failure}") from None


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(members)
    if len(made) < len(members):
        names = [name for name, _ in members]
        twice = next(name for name in names if names.count(name) > 1)
        raise DocumentError(f"the name {twice!r} stands twice in one object")
    return made


def finite(text: str) -> float:
    """The number that a text of JSON stands for.

    Raises:
        DocumentError: It is beyond what a double holds.
    """
    number = float(text)
    if math.isinf(number):
        raise DocumentError(f"the number {text} is too large")
    return number


def _no_constant(name: str) -> Any:
    raise DocumentError(f"{name} is no JSON")


def parse_yaml(text: str) -> Any:
    """The data of a YAML document, as far as it is JSON: no dates, no tags, names are text.

    `yes`, `no`, `on` and `off` are text, as in YAML 1.2.

    Raises:
        DocumentError: It is malformed, a name stands twice, or it holds what JSON does not have.
    """
    import yaml

    try:
        node = yaml.compose(text, Loader=_loader())
        if node is not None:
            _count(node, {}, ())
        data = yaml.load(text, Loader=_loader())  # noqa: S506
    except yaml.MarkedYAMLError as failure:
        mark = failure.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise DocumentError(f"is no YAML: {where}{failure.problem or failure.context}") from None
    except yaml.YAMLError as failure:
        raise DocumentError(f"is no YAML: {str(failure).strip()}") from None
    except RecursionError:
        raise DocumentError("is nested too deep") from None
    return data


def _count(node: Any, sizes: dict[int, int], above: tuple[int, ...]) -> int:
    """How many values a node stands for once its aliases are written out; each is counted once."""
    key = id(node)
    if node.tag.rpartition(":")[2] not in _JSON_TAGS:
        raise DocumentError(f"line {node.start_mark.line + 1}: {node.tag} is nothing that JSON has")
    if node.tag.endswith(":float"):
        finite(node.value)
    if key in above:
        raise DocumentError("an alias stands inside of its own anchor")
    if key not in sizes:
        children = node.value if isinstance(node.value, list) else []
        flat = [
            part for child in children for part in (child if isinstance(child, tuple) else (child,))
        ]
        sizes[key] = 1 + sum(_count(child, sizes, (*above, key)) for child in flat)
        if sizes[key] > MAX_VALUES:
            raise DocumentError(f"its aliases stand for more than {MAX_VALUES:,} values")
    return sizes[key]


@cache
def _loader() -> Any:
    """A safe loader that resolves plain scalars as JSON would, and refuses names that stand twice."""
    import re

    import yaml

    class JsonLoader(yaml.SafeLoader):
        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            names = [key.value for key, _ in node.value]
            for key, _ in node.value:
                if key.tag != "tag:yaml.org,2002:str":
                    problem = f"the name {key.value!r} has to be text, in quotes"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
                if names.count(key.value) > 1:
                    problem = f"the name {key.value!r} stands twice in one object"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            return super().construct_mapping(node, deep)

    number = r"-?(?:0|[1-9]\d*)"
    for tag, pattern, first in (
        ("null", r"null|~|", ["n", "~", ""]),
        ("bool", r"true|false", ["t", "f"]),
        ("int", number, list("-0123456789")),
        ("float", rf"{number}(?:\.\d+)?(?:[eE][+-]?\d+)?", list("-0123456789")),
    ):
        JsonLoader.add_implicit_resolver(
            f"tag:yaml.org,2002:{tag}", re.compile(rf"^(?:{pattern})$"), first
        )
    return JsonLoader


def to_json(value: Any, indent: int | None = None) -> str:
    """A value as JSON text that any UTF-8 stream takes."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return json.dumps(value, allow_nan=False, indent=indent)
    return text
