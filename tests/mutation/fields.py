"""Changes of the fields of tasks beyond their calls: items, `repeat`, `finally`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.mutation.documents import Document, Path, get, replaced
from tests.mutation.mutations import Mutant, NoPlaceError, Spot
from tests.mutation.worlds import Original

Change = Callable[[Spot], Mutant]
CLEAN_UP = "clean-up"


def _tasks(original: Original, *, with_items: bool) -> list[Path]:
    tasks = enumerate(original.document["tasks"])
    return [("tasks", index, "tool") for index, task in tasks if ("for_each" in task) is with_items]


def single(original: Original) -> list[Path]:
    return _tasks(original, with_items=False)


def fanned(original: Original) -> list[Path]:
    return _tasks(original, with_items=True)


def beside_the_tool(spot: Spot) -> Mutant:
    """At the task."""
    return Mutant(spot.field("value", 1).document, [spot.path[:2]])


def items_of_one_call(spot: Spot) -> Mutant:
    names = [name for name in spot.unrelated() if name not in _with_items(spot)]
    return spot.put(f"$ITEMS[{spot.pick(names)}]")


def _with_items(spot: Spot) -> list[str]:
    return [spot.ids[int(path[1])] for path in fanned(spot.original)]


def _clean_up(**fields: Any) -> dict[str, Any]:
    return {"id": CLEAN_UP, "value": 1} | fields


def read_finally(spot: Spot) -> Mutant:
    made = spot.put(f"$OUTPUT[{CLEAN_UP}]")
    return Mutant(made.document | {"finally": [_clean_up()]}, [spot.path])


def finally_with(field: str, value: Any) -> Change:
    """A change that adds a task of `finally` with a wrong field; an id is that of the spot."""

    def change(spot: Spot) -> Mutant:
        given = spot.own if field == "id" else value
        document = spot.document | {"finally": [_clean_up(**{field: given})]}
        at: Path = ("finally", 0, field)
        return Mutant(document, [at], [at])

    return change


def asked(kind: str, what: str, **arguments: Any) -> Change:
    """A change that adds a task that reads a resource or gets a prompt, with a mistake in it.

    `SERVER` in what it asks for is the server of the spot.
    """

    def change(spot: Spot) -> Mutant:
        server = get(spot.document, (*spot.path[:2], "tool")).partition(":")[0]
        task: Document = {"id": "asked", kind: what.replace("SERVER", server)}
        task |= {"arguments": arguments} if arguments else {}
        tasks = [*spot.document["tasks"], task]
        at: Path = ("tasks", len(tasks) - 1, *(("arguments", *arguments) if arguments else (kind,)))
        return Mutant(spot.document | {"tasks": tasks}, [at])

    return change


def harmless(field: str, value: Any) -> Change:
    """A change that adds a field that changes nothing."""

    def change(spot: Spot) -> Mutant:
        task = get(spot.document, spot.path[:2])
        if field in task:
            raise NoPlaceError
        path = (*spot.path[:2], field)
        return Mutant(replaced(spot.document, path, value), [path])

    return change


def _inside(spot: Spot) -> tuple[dict[str, Any], list[str]]:
    """The task of a spot as one that runs a workflow of one step, and the names of its inputs."""
    task = get(spot.document, spot.path[:2])
    names = list(task.get("arguments", {}))
    if not names or not all(name.isidentifier() for name in names):
        raise NoPlaceError
    arguments = {name: f"$INPUT.{name}" for name in names}
    step = {"id": "step", "tool": task["tool"], "arguments": arguments}
    inner = {"inputs": {name: {} for name in names}, "tasks": [step], "output": "$OUTPUT[step]"}
    rest = {field: value for field, value in task.items() if field != "tool"}
    return {**rest, "workflow": inner}, names


def moved_inside(spot: Spot) -> Mutant:
    made, _ = _inside(spot)
    return Mutant(replaced(spot.document, spot.path[:2], made), [spot.path[:2]])


def inside_with(*at: str | int, value: Any) -> Change:
    """A change that moves a task inside a workflow and puts a mistake there.

    A step `NAME` of the path is that of an argument, and a value may be made from the spot.
    """

    def change(spot: Spot) -> Mutant:
        made, names = _inside(spot)
        steps = tuple(spot.pick(names) if step == "NAME" else step for step in at)
        given = value(spot) if callable(value) else value
        document = replaced(spot.document, spot.path[:2], replaced(made, steps, given))
        return Mutant(document, [(*spot.path[:2], *steps)])

    return change


def other_output(spot: Spot) -> str:
    """A reference to a task outside."""
    return f"$OUTPUT[{spot.pick(spot.unrelated())}]"


def clean_up(spot: Spot) -> Mutant:
    last = _clean_up(value={"status": f"${{STATUS[{spot.own}]}}"})
    return Mutant(spot.document | {"finally": [last]})
