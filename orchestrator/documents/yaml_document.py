"""Reads YAML strictly: the result is plain JSON data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from orchestrator.documents.parse import DocumentError, finite
from orchestrator.documents.text import joined, quoted
from orchestrator.documents.yaml_errors import document_error

if TYPE_CHECKING:
    import yaml

MAX_VALUES = 5_000_000
# The library's scanner takes quadratic time in open brackets, and its composer about 480 levels.
MAX_BRACKETS = 400


def parse_yaml(text: str) -> Any:
    """The data of a YAML document that is JSON: no dates, no tags, property names are strings.

    Words and numbers are those of the core schema of YAML 1.2, so `yes` and `off` are strings; what
    would lose a sign or zeros as a number (`+49`, `007`) is a string, too. Merge keys (`<<`) of
    YAML 1.1 are followed.

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
        raise document_error(text, failure) from None
    except yaml.YAMLError as failure:
        reason = str(failure).strip().partition("\n")[0]
        raise DocumentError(f"invalid YAML: {reason}") from None
    except RecursionError:
        raise DocumentError("nested too deep") from None
    except DocumentError:
        raise
    except (ValueError, OverflowError):  # an integer or an escape beyond what Python takes
        raise DocumentError("number or escape is too large") from None


def _marked(reason: str, mark: yaml.Mark, hint: str = "") -> DocumentError:
    return DocumentError(reason, mark.line + 1, mark.column + 1, hint)


_INTEGER = r"-?(?:0|[1-9][0-9]*)"
_SCALARS = {
    "tag:yaml.org,2002:null": (r"null|Null|NULL|~|", ["n", "N", "~", ""]),
    "tag:yaml.org,2002:bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "tag:yaml.org,2002:int": (
        rf"{_INTEGER}|0o[0-7]+|0x[0-9a-fA-F]+",
        list("-0123456789"),
    ),
    "tag:yaml.org,2002:float": (
        rf"(?:{_INTEGER}(?:\.[0-9]*)?|-?\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
}
_PATTERNS = {tag: re.compile(pattern) for tag, (pattern, _) in _SCALARS.items()}
_MERGE = "tag:yaml.org,2002:merge"
_STRING = "tag:yaml.org,2002:str"
_TAGS = {*_SCALARS, _STRING, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}


def _check(node: yaml.Node, sizes: dict[int, int], above: tuple[int, ...]) -> int:
    """The number of values of a node with its aliases expanded; each node is visited once."""
    key = id(node)
    if key in above:
        raise DocumentError("an alias refers to a value that contains it")
    if key not in sizes:
        if node.tag == _MERGE:  # elsewhere than as a name
            node.tag = _STRING
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
            if name.tag == _MERGE:
                yield _merged(value)
                continue
            if name.tag != _STRING:
                got = f", got {name.value}; put it in quotes" if isinstance(name.value, str) else ""
                reason = f"expected string as property name{got}"
                raise _marked(reason, name.start_mark)
            if name.value in seen:  # the loader itself would silently keep the last one
                raise _marked(f"duplicate property {quoted(name.value)}", name.start_mark)
            seen.add(name.value)
            yield name
            yield value


def _merged(value: yaml.Node) -> yaml.Node:
    """What `<<` merges: an object, or a list of them."""
    import yaml

    several = value.value if isinstance(value, yaml.SequenceNode) else [value]
    for each in several:
        if not isinstance(each, yaml.MappingNode):
            raise _marked('expected an object to merge after "<<"', each.start_mark)
    return value


def _check_scalar(node: yaml.Node) -> None:
    if node.tag in _PATTERNS and not _PATTERNS[node.tag].fullmatch(node.value):
        reason = f"{quoted(node.value)} is not a JSON {node.tag.rpartition(':')[2]}"
        raise _marked(reason, node.start_mark)
    if node.tag.endswith(":float"):
        if node.value.lower().endswith(("inf", "nan")):
            hint = "put it in quotes if it is text"
            raise _marked(f"{node.value} is not JSON", node.start_mark, hint)
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

        def fetch_flow_collection_start(self, token: Any) -> None:
            if self.flow_level >= MAX_BRACKETS:
                raise RecursionError
            super().fetch_flow_collection_start(token)

    for tag, (pattern, first) in _SCALARS.items():
        JsonLoader.add_implicit_resolver(tag, re.compile(rf"(?:{pattern})\Z"), first)
    JsonLoader.add_implicit_resolver(_MERGE, re.compile(r"<<\Z"), ["<"])
    # The library's own reads a leading 0 as octal, as YAML 1.1 did.
    JsonLoader.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value, 0))
    return JsonLoader
