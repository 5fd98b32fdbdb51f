"""Wrong graphs: cycles, and tasks that are not there.

The rule of this file: as `mistakes` says.
"""

from __future__ import annotations

from tests.mutation.mistakes import Chance, Make, Mistake, at, one_of, to_tasks
from tests.mutation.names import mentions, needed
from tests.mutation.originals import Original
from tests.mutation.sites import (
    Document,
    Path,
    below,
    get,
    ids,
    leaves,
    pointer,
    replaced,
    without,
)


def _pair(document: Document, chance: Chance) -> tuple[int, str] | None:
    """A task, by its position, and another that needs it, directly or not."""
    pairs = [
        (index, later)
        for index, task in enumerate(ids(document))
        for later in sorted(below(document, task) - {task})
    ]
    return one_of(chance, pairs)


def _circle(document: Document) -> tuple[str, ...]:
    """The tasks that are part of a cycle."""
    names = ids(document)
    after = {name: below(document, name) - {name} for name in names}
    circle = [name for name in names if any(name in after[other] for other in after[name])]
    return tuple(pointer(("tasks", names.index(name))) for name in circle)


def wait_for(document: Document, index: int, name: str) -> tuple[Document, Path]:
    """The document with one more entry of `depends_on`, and its place."""
    before = document["tasks"][index].get("depends_on", [])
    made = replaced(document, ("tasks", index, "depends_on"), [*before, name])
    return made, ("tasks", index, "depends_on", len(before))


def _refer_to(
    document: Document, index: int, name: str, chance: Chance
) -> tuple[Document, Path] | None:
    """The document with a reference in the place of some argument of a task, and its place."""
    start: Path = ("tasks", index, "arguments")
    path = one_of(
        chance, [path for path, _ in leaves(get(document, start), start) if len(path) > 3]
    )
    if path is None:
        return None
    return replaced(document, path, f"$OUTPUT[{name}].result"), path


def cycle_by_waiting(original: Original, chance: Chance) -> Mistake | None:
    """A task waits for one that needs it."""
    pair = _pair(original.document, chance)
    if pair is None:
        return None
    document, _ = wait_for(original.document, *pair)
    return Mistake(document, within=_circle(document))


def cycle_by_reference(original: Original, chance: Chance) -> Mistake | None:
    """A task refers to one that needs it."""
    pair = _pair(original.document, chance)
    made = _refer_to(original.document, *pair, chance) if pair is not None else None
    return None if made is None else Mistake(made[0], within=_circle(made[0]))


def waiting_for_itself(original: Original, chance: Chance) -> Mistake:
    """A task waits for itself."""
    index = chance.randrange(len(original.document["tasks"]))
    document, path = wait_for(original.document, index, ids(original.document)[index])
    return Mistake(document, at(path))


def reference_to_itself(original: Original, chance: Chance) -> Mistake | None:
    """A task refers to itself."""
    found = [site for site in to_tasks(original.document) if site.task is not None]
    site = one_of(chance, found)
    if site is None:
        return None
    own = ids(original.document)[site.task or 0]
    return Mistake(replaced(original.document, site.at, site.with_id(own)), at(site.at))


def removed_task(original: Original, chance: Chance) -> Mistake | None:
    """A task that others need is not there."""
    task = one_of(chance, sorted(needed(original.document)))
    if task is None or len(original.document["tasks"]) == 1:
        return None
    document = without(original.document, ("tasks", ids(original.document).index(task)))
    places = mentions(document, task)
    return Mistake(document, places) if places else None


def waiting_for_nothing(original: Original, chance: Chance) -> Mistake:
    """A task waits for one that never was."""
    index = chance.randrange(len(original.document["tasks"]))
    document, path = wait_for(original.document, index, "prepare-everything")
    return Mistake(document, at(path))


def reference_to_nothing(original: Original, chance: Chance) -> Mistake | None:
    """A task refers to one that never was."""
    index = chance.randrange(len(original.document["tasks"]))
    made = _refer_to(original.document, index, "prepare-everything", chance)
    return None if made is None else Mistake(made[0], at(made[1]))


CYCLES: tuple[Make, ...] = (
    cycle_by_waiting,
    cycle_by_reference,
    waiting_for_itself,
    reference_to_itself,
)
MISSING: tuple[Make, ...] = (
    removed_task,
    waiting_for_nothing,
    reference_to_nothing,
)
