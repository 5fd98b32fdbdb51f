"""Wrong names: of tasks, inputs, tools and arguments.

The rule of this file: as `mistakes` says.
"""

from __future__ import annotations

import re

from tests.mutation.mistakes import Chance, Make, Mistake, at, misspelled, one_of, to_tasks
from tests.mutation.originals import Original
from tests.mutation.sites import (
    Document,
    Path,
    below,
    get,
    holders,
    ids,
    pointer,
    renamed,
    replaced,
    sites,
    texts,
    waits,
    without,
)


def misspelled_reference(original: Original, chance: Chance) -> Mistake | None:
    """A reference names its task with a letter wrong."""
    site = one_of(chance, to_tasks(original.document))
    if site is None:
        return None
    name = misspelled(site.id, chance, ids(original.document))
    return Mistake(replaced(original.document, site.at, site.with_id(name)), at(site.at))


def misspelled_wait(original: Original, chance: Chance) -> Mistake | None:
    """An entry of `depends_on` has a letter wrong."""
    found = one_of(chance, waits(original.document))
    if found is None:
        return None
    path, name = found
    wrong = misspelled(name, chance, ids(original.document))
    return Mistake(replaced(original.document, path, wrong), at(path))


def misspelled_input(original: Original, chance: Chance) -> Mistake | None:
    """A reference names its input with a letter wrong."""
    site = one_of(chance, [site for site in sites(original.document) if site.root == "INPUT"])
    if site is None:
        return None
    name = misspelled(site.id, chance, original.document["inputs"])
    return Mistake(replaced(original.document, site.at, site.with_id(name)), at(site.at))


def renamed_task(original: Original, chance: Chance) -> Mistake | None:
    """A task has another id than those that need it believe."""
    document = original.document
    task = one_of(chance, sorted(needed(document)))
    if task is None:
        return None
    index = ids(document).index(task)
    name = misspelled(task, chance, ids(document))
    return Mistake(replaced(document, ("tasks", index, "id"), name), mentions(document, task))


def needed(document: Document) -> set[str]:
    """The tasks that something refers to."""
    return {site.id for site in to_tasks(document)} | {name for _, name in waits(document)}


def mentions(document: Document, task: str) -> tuple[str, ...]:
    """Where a task is referred to."""
    name = re.compile(rf"\b(?:OUTPUT|STATUS|ERROR)\[{re.escape(task)}\]")
    found = [path for path, text in texts(document) if name.search(text)]
    found += [path for path, other in waits(document) if other == task]
    return tuple(map(pointer, found))


def another_task(original: Original, chance: Chance) -> Mistake | None:
    """A reference names another task, one that does not wait for it."""
    site = one_of(chance, to_tasks(original.document))
    if site is None:
        return None
    names = set(ids(original.document)) - {site.id}
    if site.task is not None:
        names -= below(original.document, ids(original.document)[site.task])
    name = one_of(chance, sorted(names))
    if name is None:
        return None
    return Mistake(replaced(original.document, site.at, site.with_id(name)), at(site.at))


# Tools.


def _tool(original: Original, chance: Chance) -> tuple[Path, str, str]:
    index = chance.randrange(len(original.document["tasks"]))
    path = ("tasks", index, "tool")
    server, _, tool = get(original.document, path).partition(":")
    return path, server, tool


def misspelled_tool(original: Original, chance: Chance) -> Mistake:
    """A tool has a letter wrong."""
    path, server, tool = _tool(original, chance)
    known = {other.name for other in original.world.tools.values()}
    wrong = f"{server}:{misspelled(tool, chance, known)}"
    return Mistake(replaced(original.document, path, wrong), at(path))


def misspelled_server(original: Original, chance: Chance) -> Mistake:
    """A server has a letter wrong."""
    path, server, tool = _tool(original, chance)
    known = {other.server for other in original.world.tools.values()}
    wrong = f"{misspelled(server, chance, known)}:{tool}"
    return Mistake(replaced(original.document, path, wrong), at(path))


def tool_of_another_server(original: Original, chance: Chance) -> Mistake | None:
    """A tool is looked for on a server that does not have it."""
    path, server, tool = _tool(original, chance)
    servers = {other.server for other in original.world.tools.values()} - {server}
    targets = [f"{other}:{tool}" for other in sorted(servers)]
    wrong = one_of(chance, [target for target in targets if target not in original.world.tools])
    return None if wrong is None else Mistake(replaced(original.document, path, wrong), at(path))


def tool_without_server(original: Original, chance: Chance) -> Mistake:
    """A tool is named without its server, or with a dot between them."""
    path, server, tool = _tool(original, chance)
    wrong = chance.choice((tool, f"{server}.{tool}", f"{server}/{tool}"))
    return Mistake(replaced(original.document, path, wrong), at(path))


def another_tool(original: Original, chance: Chance) -> Mistake | None:
    """A task calls another tool of its server: its arguments and its output are others."""
    path, server, tool = _tool(original, chance)
    others = [t.target for t in original.world.tools.values() if t.server == server != t.name]
    wrong = one_of(chance, [other for other in others if other != f"{server}:{tool}"])
    if wrong is None:
        return None
    task = get(original.document, path[:2])
    places = (pointer(path[:2]), *mentions(original.document, task["id"]))
    within = tuple(pointer((*path[:2], field)) for field in ("tool", "arguments"))
    return Mistake(replaced(original.document, path, wrong), places, within)


# Arguments.


def _argument(original: Original, chance: Chance, *, nested: bool) -> Path | None:
    """The path of an argument of a task, or of a name further below."""
    paths: list[Path] = []
    for index, task in enumerate(original.document["tasks"]):
        for holder in holders(task.get("arguments", {}), ("tasks", index, "arguments")):
            if (len(holder) > 3) is nested:
                paths += [(*holder, name) for name in get(original.document, holder)]
    return one_of(chance, paths)


def _named(original: Original, path: Path, name: str) -> Mistake:
    document = renamed(original.document, path, name)
    holder = path[:-1]
    return Mistake(document, at(holder), at((*holder, name)))


def misspelled_argument(original: Original, chance: Chance) -> Mistake | None:
    """An argument has a letter wrong."""
    path = _argument(original, chance, nested=False)
    if path is None:
        return None
    known = get(original.document, path[:-1])
    return _named(original, path, misspelled(str(path[-1]), chance, known))


def misspelled_member(original: Original, chance: Chance) -> Mistake | None:
    """A name inside of an argument has a letter wrong."""
    path = _argument(original, chance, nested=True)
    if path is None:
        return None
    known = get(original.document, path[:-1])
    return _named(original, path, misspelled(str(path[-1]), chance, known))


def argument_in_another_style(original: Original, chance: Chance) -> Mistake | None:
    """An argument in camelCase instead of snake_case, or the other way round."""
    path = _argument(original, chance, nested=False)
    name = str(path[-1]) if path is not None else ""
    head, *rest = name.split("_")
    camel = head + "".join(part.capitalize() for part in rest)
    other = camel if rest else re.sub(r"(?<=[a-z])[A-Z]", lambda m: f"_{m[0].lower()}", name)
    if path is None or other == name or other in get(original.document, path[:-1]):
        return None
    return _named(original, path, other)


def dropped_argument(original: Original, chance: Chance) -> Mistake | None:
    """An argument is not there."""
    path = _argument(original, chance, nested=False)
    if path is None:
        return None
    places = (pointer(path[:-1]), pointer(path[:-2]))
    return Mistake(without(original.document, path), places)


def dropped_member(original: Original, chance: Chance) -> Mistake | None:
    """A name inside of an argument is not there."""
    path = _argument(original, chance, nested=True)
    if path is None:
        return None
    return Mistake(without(original.document, path), at(path[:-1]))


def added_argument(original: Original, chance: Chance) -> Mistake | None:
    """An argument that the tool does not know."""
    path = _argument(original, chance, nested=False)
    name = chance.choice(("verbose", "format", "timeout", "max_results"))
    if path is None or name in get(original.document, path[:-1]):
        return None
    place = (*path[:-1], name)
    value = chance.choice((True, "json", 10))
    return Mistake(replaced(original.document, place, value), at(path[:-1]), at(place))


IDS: tuple[Make, ...] = (
    misspelled_reference,
    misspelled_wait,
    misspelled_input,
    renamed_task,
    another_task,
)
TOOLS: tuple[Make, ...] = (
    misspelled_tool,
    misspelled_server,
    tool_of_another_server,
    tool_without_server,
    another_tool,
)
ARGUMENTS: tuple[Make, ...] = (
    misspelled_argument,
    misspelled_member,
    argument_in_another_style,
    dropped_argument,
    dropped_member,
    added_argument,
)
