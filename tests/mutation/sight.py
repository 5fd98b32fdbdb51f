"""How far schemas show that a run fails: each failure, looked up in the schemas alone.

The rule of this file: pure functions of a document, its tools and one failure. It never asks the
checker; what a schema says of a place is read by `reading`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from jsonschema import ValidationError

from orchestrator.calls.call import Call
from orchestrator.schema.tool import Tool
from tests.mutation.reading import read, types_at, types_of
from tests.mutation.sites import Document, Path, Site, get, sites_of, texts

Sight = Literal["certain", "undeclared", "possible", "unseen"]
"""How far the schemas show a failure. `certain`: they leave no value that would do; `undeclared`: a
name that an open schema does not declare; `possible`: they allow values that fail and values that
do not; `unseen`: they say nothing of it."""

CERTAIN: Sight = "certain"
UNDECLARED: Sight = "undeclared"
_OF_READING: Mapping[str, Sight] = {
    "declared": "unseen",
    "may be absent": "possible",
    "unknown": "unseen",
    "not declared": "undeclared",
    "ruled out": "certain",
}
_AS_TEXT = frozenset({"integer", "number", "boolean"})
_DECORATION = re.compile(r"[${}\s]")


class Looker:
    """Looks failures up.

    Args:
        document: The workflow file that was run.
        tools: The tools, by `server:tool`.
        in_expressions: How far the schemas show that an expression fails, as far as whoever wrote
            the expression knows.
    """

    def __init__(
        self, document: Document, tools: Mapping[str, Tool], in_expressions: Sight
    ) -> None:
        self._document = document
        self._tools = tools
        self._in_expressions = in_expressions
        self._tasks = {task["id"]: (at, task) for at, task in enumerate(document["tasks"])}

    def of_reference(self, task: str, details: Mapping[str, Any]) -> Sight:
        """Of a `reference_error`, by its details; an empty task is the output of the workflow."""
        if "expression" in details:
            return self._of_expression(str(details["expression"]))
        reference = _DECORATION.sub("", str(details.get("reference")))
        for site in self._sites(task):
            if _DECORATION.sub("", site.written) == reference:
                return self._of_site(site, details)
        return "unseen"

    def _of_expression(self, text: str) -> Sight:
        """Of an expression that fails or gives what does not fit: by the names it reads."""
        found = sites_of(f"${{{text}}}")
        sights = {_OF_READING[read(self._source(site), site.path)[0]] for site in found}
        seen = (each for each in (CERTAIN, UNDECLARED) if each in sights)
        return next(seen, self._in_expressions)

    def _sites(self, task: str) -> Iterator[Site]:
        for path, text in texts(self._document):
            inside = path[:2] == ("tasks", self._tasks[task][0]) if task else path[0] == "output"
            if inside:
                yield from sites_of(text, path)

    def _of_site(self, site: Site, details: Mapping[str, Any]) -> Sight:
        if "missing" not in details:  # a list was wanted
            types = types_at(self._source(site), site.path)
            return "unseen" if types is None else "possible" if "array" in types else "certain"
        found = len(next(sites_of(f"$OUTPUT[x]{details['exists']}")).path)
        return _OF_READING[read(self._source(site), site.path[: found + 1])[0]]

    def _source(self, site: Site) -> Any:
        """The schema of what a reference begins at."""
        if site.root == "INPUT":
            return self._document.get("inputs", {}).get(site.id, {})
        return source_of(self._tasks[site.id][1], self._tools)

    def of_misfit(self, error: ValidationError, call: Call, tool: Tool) -> Sight:
        """Of an argument that does not fit the schema of its tool."""
        below = ("fallback",) if call.is_fallback else ()
        at: Path = ("tasks", self._tasks[call.task][0], *below, "arguments")
        place, rest = _written(get(self._document, at), tuple(error.absolute_path))
        written = get(self._document, (*at, *place))
        if not isinstance(written, str):
            known = error.validator in ("required", "additionalProperties", "type")
            return "certain" if known or "$" not in str(written) else "possible"
        found = list(sites_of(written))
        if len(found) == 1 and found[0].is_alone:
            return self._of_value(found[0], rest, error, tool)
        computed = re.fullmatch(r"\$\{(.*)\}", written)
        return self._of_expression(computed[1]) if computed else "certain"

    def _of_value(self, site: Site, rest: Path, error: ValidationError, tool: Tool) -> Sight:
        """Of what a reference gives, whole."""
        source, path = self._source(site), site.path + rest
        schema: Any = error.schema
        given: Any = error.instance
        match error.validator:
            case "required":
                missing = [name for name in schema["required"] if name not in given]
                sights = {_OF_READING[read(source, (*path, name))[0]] for name in missing}
                seen = (each for each in (CERTAIN, UNDECLARED) if each in sights)
                return next(seen, "possible")
            case "additionalProperties":
                extra = set(given) - set(schema["properties"])
                sure = any(read(source, (*path, name))[0] == "declared" for name in extra)
                return "certain" if sure else "possible"
            case "type" | "anyOf" if _is_always_there(source, site.path, rest):
                types = types_at(source, path)
                return _of_types(types, types_of(schema, tool.input_schema), not rest)
        return "possible"


def source_of(task: Mapping[str, Any], tools: Mapping[str, Tool]) -> Any:
    """The schema of the output of a task; empty where nothing is known of it."""
    tool = tools.get(task["tool"])
    schema = tool.output_schema if tool is not None else None
    if schema is None or "fallback" in task:
        return {}
    if task.get("for_each") is not None:
        return {"$defs": schema.get("$defs", {}), "type": "array", "items": schema}
    return schema


def _is_always_there(source: Any, path: Path, rest: Path) -> bool:
    """Whether what is further below a value is there in all that fit: lists may be empty."""
    certain = not any(isinstance(step, int) for step in rest)
    return not rest or (certain and read(source, path + rest)[0] != "may be absent")


def _written(arguments: Any, path: Path) -> tuple[Path, Path]:
    """A path as far as the document has it, and the rest of it, below what a text stands for."""
    for depth in range(len(path)):
        if not isinstance(get(arguments, path[:depth]), dict | list):
            return path[:depth], path[depth:]
    return path, ()


def _of_types(given: frozenset[str] | None, wanted: frozenset[str], is_whole: bool) -> Sight:
    """Of a value of given types where others are wanted; one that is whole may be converted."""
    if given is None:
        return "unseen"
    from_text = "string" in given and "string" not in wanted and wanted - {"null"}
    to_text = given & _AS_TEXT and {"string"} <= wanted <= {"string", "null"}
    return "possible" if given & wanted or (is_whole and (from_text or to_text)) else "certain"
