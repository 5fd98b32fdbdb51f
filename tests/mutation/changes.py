"""What the rows of `rows` can change, and how: a finding has to stand where the change is.

A docstring says where else it may stand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import networkx as nx

from tests.mutation.documents import (
    Path,
    Site,
    get,
    holders,
    leaves,
    mentions,
    renamed,
    replaced,
    texts,
    waits,
    without,
)
from tests.mutation.mutations import Mutant, NoPlaceError, Spot, types_of
from tests.mutation.worlds import Original

Change = Callable[[Spot], Mutant]
Places = Callable[[Original], list[Any]]


# What can be changed.


def references(original: Original) -> list[Site]:
    return [site for site in original.sites if site.match["task"]]


def wholes(original: Original) -> list[Site]:
    return [site for site in references(original) if site.is_whole]


def through_arrays(original: Original) -> list[Site]:
    return [
        site
        for site in references(original)
        if any(types_of(original, site, depth) == {"array"} for depth in range(len(site.path) + 1))
    ]


def entries(original: Original) -> list[Path]:
    return waits(original.document)


def tools(original: Original) -> list[Path]:
    return [("tasks", index, "tool") for index in range(len(original.ids))]


def inputs(original: Original) -> list[Site]:
    return [site for site in original.sites if site.match["input"]]


def expressions(original: Original) -> list[Path]:
    return [path for path, text in texts(original.document) if "${" in text]


def holders_of_literals(original: Original) -> list[Path]:
    return sorted({path[:-1] for path in literals(original)}, key=str)


def needed(original: Original) -> list[Path]:
    names = {site.name for site in references(original)}
    names |= {get(original.document, path) for path in waits(original.document)}
    return [("tasks", index, "id") for index, name in enumerate(original.ids) if name in names]


def properties(*, nested: bool) -> Places:
    return lambda original: [
        (*holder, name)
        for index, task in enumerate(original.document["tasks"])
        for holder in holders(task.get("arguments", {}), ("tasks", index, "arguments"))
        if (len(holder) > 3) is nested
        for name in get(original.document, holder)
    ]


def arguments(original: Original) -> list[Path]:
    found = leaves(original.document["tasks"], ("tasks",))
    return [path for path, _ in found if path[2] == "arguments" and len(path) > 3]


def literals(original: Original) -> list[Path]:
    return [path for path in arguments(original) if "$" not in str(get(original.document, path))]


def some(places: Places, test: Callable[[Any], bool]) -> Places:
    return lambda original: [place for place in places(original) if test(place)]


ELEMENTS = some(literals, lambda path: isinstance(path[-1], int))
TOP, NESTED = properties(nested=False), properties(nested=True)
WITH_PATH = some(references, lambda site: bool(site.path))
WITH_INDEX = some(references, lambda site: 0 in site.path)
WHOLE_WITH_PATH = some(wholes, lambda site: bool(site.path))
IN_TASKS = some(references, lambda site: site.at[0] == "tasks")
WHOLE_IN_TASKS = some(wholes, lambda site: site.at[0] == "tasks")
IN_ARGUMENTS = some(wholes, lambda site: site.at[2:3] == ("arguments",))


# How.


def misspell_name(spot: Spot) -> Mutant:
    known = spot.ids if spot.site.match["task"] else spot.document["inputs"]
    return spot.put(spot.site.with_name(spot.misspell(spot.site.name, known)))


def rename_task(spot: Spot) -> Mutant:
    """The references to its old id are wrong."""
    made = spot.put(spot.misspell(spot.value, spot.ids))
    return Mutant(made.document, mentions(spot.document, spot.value))


def another_tool(spot: Spot) -> Mutant:
    """Its arguments and its output are others: either may be what does not fit."""
    task, tools = spot.path[:2], spot.original.world.tools.values()
    others = [tool.target for tool in tools if tool.server == spot.server]
    made = spot.put(spot.pick([target for target in others if target != spot.value]))
    at = [task, *mentions(spot.document, spot.own)]
    return Mutant(made.document, at, [spot.path, (*task, "arguments")])


def move_tool(spot: Spot) -> Mutant:
    others = {f"{server}:{spot.tool}" for server in spot.servers}
    return spot.put(spot.pick(sorted(others - spot.original.world.tools.keys())))


def rename(new: Callable[[Spot, str], str]) -> Change:
    """Either the object lacks a property, or it has one that the tool does not know."""

    def change(spot: Spot) -> Mutant:
        name = new(spot, str(spot.path[-1]))
        if name in spot.siblings:
            raise NoPlaceError
        holder = spot.path[:-1]
        return Mutant(renamed(spot.document, spot.path, name), [holder], [(*holder, name)])

    return change


def restyled(_: Spot, name: str) -> str:
    head, *rest = name.split("_")
    snake = re.sub(r"(?<=[a-z])[A-Z]", lambda match: f"_{match[0].lower()}", name)
    return head + "".join(map(str.capitalize, rest)) if rest else snake


def drop(spot: Spot) -> Mutant:
    """The object lacks a property; of the arguments, the task may be named too."""
    holder = spot.path[:-1]
    at = [holder] if len(holder) > 3 else [holder, holder[:-1]]
    return Mutant(without(spot.document, spot.path), at)


def add(spot: Spot) -> Mutant:
    new = (*spot.path[:-1], spot.pick(("verbose", "format", "timeout", "max_results")))
    if new[-1] in spot.siblings:
        raise NoPlaceError
    made = spot.put(spot.pick((True, "json", 10)), new)
    return Mutant(made.document, [new[:-1]], [new])


def refer_instead(spot: Spot) -> Mutant:
    task = spot.pick(spot.unrelated())
    names = sorted(spot.original.source(task).get("properties", {}))
    fields = [f".{name}" for name in names if name.isidentifier()]
    return spot.put(f"$OUTPUT[{task}]{spot.pick(fields) if fields else ''}")


def loop_over(spot: Spot) -> Mutant:
    types = types_of(spot.original, spot.site)
    if not types or "array" in types:
        raise NoPlaceError
    return spot.put(spot.value, (*spot.path[:2], "for_each"))


def misspell_field(spot: Spot) -> Mutant:
    at = spot.pick([n for n, step in enumerate(spot.site.path) if str(step).isidentifier()])
    name = spot.misspell(spot.site.path[at])
    if not name.isidentifier():
        raise NoPlaceError
    return spot.step(at, f".{name}")


def insert_index(spot: Spot) -> Mutant:
    at = spot.chance.randint(0, len(spot.site.path))
    return spot.step(at, spot.pick(("[0]", "[-1]")), until=at)


def name_in_array(spot: Spot) -> Mutant:
    depths = range(len(spot.site.path) + 1)
    arrays = [at for at in depths if types_of(spot.original, spot.site, at) == {"array"}]
    return spot.step(spot.pick(arrays), ".name")


def cycle(change: Callable[[Spot, str], Mutant]) -> Change:
    """A task needs one that needs it: any task of the cycle may be named."""

    def make(spot: Spot) -> Mutant:
        name: str = spot.pick(sorted(nx.descendants(spot.original.graph, spot.own)))
        return spot.cyclic(change(spot, name), name)

    return make


def remove_task(spot: Spot) -> Mutant:
    document = without(spot.document, spot.path[:2])
    at = mentions(document, spot.value)
    if not at:
        raise NoPlaceError
    return Mutant(document, at)


def fill(templates: str) -> Change:
    """One of the templates, which are two spaces apart."""
    return lambda spot: spot.put(spot.filled(templates))


def call_of_no_task(spot: Spot) -> Mutant:
    name, text = spot.site.name, spot.filled("${not_null(REF)}  ${REF || null}")
    return spot.put(text.replace(f"[{name}]", f"[{spot.misspell(name, spot.ids)}]"))


def wrong_call(spot: Spot) -> Mutant:
    """A function is given what it never takes, by the schema of the tool."""
    if not (types := types_of(spot.original, spot.site)):
        raise NoPlaceError
    wrong = spot.pick([call for call, takes in TAKES.items() if types.isdisjoint(takes)])
    return spot.put(spot.filled(f"${{{wrong}}}"), sight="certain")


def call_of_no_field(spot: Spot) -> Mutant:
    """A field that the output does not have: in an expression it is null."""
    last, types = str(spot.site.path[-1]), types_of(spot.original, spot.site)
    name = spot.misspell(last)
    if not types or not last.isidentifier() or not name.isidentifier():
        raise NoPlaceError
    right = [call for call, takes in TAKES.items() if types <= {*takes, "integer"}]
    call = spot.pick([*right, "not_null(REF, 'none')"])
    text = spot.filled(f"${{{call}}}").replace(f".{last}", f".{name}")
    return spot.put(text, sight="certain" if spot.original.world.is_closed else "undeclared")


def damage(spot: Spot) -> Mutant:
    at = spot.chance.randrange(spot.value.index("${"), len(spot.value))
    letter = spot.value[at]
    return spot.put(spot.value[:at] + spot.pick(("", letter * 2)) + spot.value[at + 1 :])


def rename_everywhere(spot: Spot) -> Mutant:
    name = re.compile(rf"((?:OUTPUT|STATUS|ERROR)\[){re.escape(spot.value)}\]")
    document = json.loads(name.sub(r"\1Renamed]", json.dumps(spot.document)))
    for path in (spot.path, *waits(document)):
        if get(document, path) == spot.value:
            document = replaced(document, path, "Renamed")
    return Mutant(document)


def alike(value: Any) -> Any:
    if isinstance(value, str | None):
        return value and f"{value} too"
    return not value if isinstance(value, bool) else value + 1


def in_brackets(spot: Spot) -> Mutant:
    quote = spot.pick("'\"") if spot.site.is_whole else "'"
    steps = [f"[{quote}{s}{quote}]" if isinstance(s, str) else f"[{s}]" for s in spot.site.path]
    return spot.put(spot.site.with_path("".join(steps)))


NUMBER, STRING, ARRAY, OBJECT = ("integer", "number"), ("string",), ("array",), ("object",)
TAKES: dict[str, tuple[str, ...]] = {
    "length(REF)": ("string", "array", "object"),
    "abs(REF)": NUMBER,
    "ceil(REF)": NUMBER,
    "sum(REF)": ARRAY,
    "keys(REF)": OBJECT,
    "join(', ', REF)": ARRAY,
    "sort(REF)": ARRAY,
    "starts_with(REF, 'a')": STRING,
    "max(REF)": ARRAY,
    "reverse(REF)": ("string", "array"),
    "upper(REF)": STRING,
    "add(REF, 1)": NUMBER,
    "divide(REF, 2)": NUMBER,
    "slice(REF, 0, 1)": ("string", "array"),
    "count_null(REF)": ARRAY,
    "zip(REF, REF)": ARRAY,
}
"""Functions, and the types that they take by JMESPath's specification and docs/functions.md."""
