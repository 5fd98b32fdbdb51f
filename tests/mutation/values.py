"""Wrong types of arguments, and wrong paths of references.

The rule of this file: as `mistakes` says.
"""

from __future__ import annotations

from typing import Any

from tests.mutation.derived import json_type
from tests.mutation.mistakes import Chance, Make, Mistake, at, misspelled, one_of, to_tasks
from tests.mutation.originals import Original
from tests.mutation.reading import types_at
from tests.mutation.sight import source_of
from tests.mutation.sites import Path, Site, below, get, ids, leaves, replaced


def literals(original: Original, *, elements: bool = False) -> list[Path]:
    """Where the arguments have a value without references; `elements`: in an array."""
    return [
        path
        for index, task in enumerate(original.document["tasks"])
        for path, value in leaves(task.get("arguments", {}), ("tasks", index, "arguments"))
        if "$" not in str(value) and len(path) > 3
        if not elements or isinstance(path[-1], int)
    ]


def of_another_type(value: Any, chance: Chance) -> Any:
    """A value of another JSON type."""
    others = ["seven", 7, 7.5, True, None, [value], {"value": value}]
    kind = json_type(value)
    return chance.choice([other for other in others if json_type(other) != kind])


def _at_literal(original: Original, chance: Chance, path: Path | None) -> Mistake | None:
    if path is None:
        return None
    wrong = of_another_type(get(original.document, path), chance)
    return Mistake(replaced(original.document, path, wrong), within=at(path))


def literal_of_another_type(original: Original, chance: Chance) -> Mistake | None:
    """An argument is of another type."""
    return _at_literal(original, chance, one_of(chance, literals(original)))


def element_of_another_type(original: Original, chance: Chance) -> Mistake | None:
    """One element of a list is of another type."""
    return _at_literal(original, chance, one_of(chance, literals(original, elements=True)))


def holder_of_another_type(original: Original, chance: Chance) -> Mistake | None:
    """A list or an object is another thing."""
    paths = {path[:-1] for path in literals(original)}
    return _at_literal(original, chance, one_of(chance, sorted(paths, key=str)))


def reference_in_text(original: Original, chance: Chance) -> Mistake | None:
    """A reference with text around it, which makes a text of what it gives."""
    site = one_of(chance, to_tasks(original.document, whole=True))
    if site is None:
        return None
    text = chance.choice((f"value: {site.text}", f"{site.text} ", f"[{site.text}]"))
    return Mistake(replaced(original.document, site.at, text), at(site.at))


def reference_in_list(original: Original, chance: Chance) -> Mistake | None:
    """A reference in a list of its own."""
    site = one_of(chance, to_tasks(original.document, whole=True))
    if site is None:
        return None
    return Mistake(replaced(original.document, site.at, [site.text]), within=at(site.at))


def whole_output(original: Original, chance: Chance) -> Mistake | None:
    """A reference to the whole output instead of a part of it."""
    found = [site for site in to_tasks(original.document) if site.path]
    site = one_of(chance, found)
    return None if site is None else _with_path(original, site, "")


def reference_for_a_literal(original: Original, chance: Chance) -> Mistake | None:
    """A reference to some field of a task before it instead of a value."""
    path = one_of(chance, literals(original))
    if path is None:
        return None
    later = below(original.document, ids(original.document)[int(path[1])])
    earlier = [task for task in original.document["tasks"] if task["id"] not in later]
    task = one_of(chance, earlier)
    if task is None:
        return None
    names = sorted(source_of(task, original.world.tools).get("properties", {}))
    field = one_of(chance, [name for name in names if name.isidentifier()])
    text = f"$OUTPUT[{task['id']}]" + (f".{field}" if field else "")
    return Mistake(replaced(original.document, path, text), at(path))


def for_each_of_no_list(original: Original, chance: Chance) -> Mistake | None:
    """A task that is to be made for each of what is no list."""
    whole = to_tasks(original.document, whole=True)
    site = one_of(chance, [site for site in whole if site.at[2:3] == ("arguments",)])
    types = _types(original, site, site.path) if site is not None else None
    if site is None or types is None or "array" in types:
        return None
    place = (*site.at[:2], "for_each")
    return Mistake(replaced(original.document, place, site.text), at(place))


# Paths.


def _with_path(original: Original, site: Site, path: str) -> Mistake:
    return Mistake(replaced(original.document, site.at, site.with_path(path)), at(site.at))


def _pick(original: Original, chance: Chance) -> Site | None:
    return one_of(chance, to_tasks(original.document))


def misspelled_field(original: Original, chance: Chance) -> Mistake | None:
    """A step of a path has a letter wrong."""
    named = [site for site in to_tasks(original.document) if site.path]
    site = one_of(chance, named)
    if site is None:
        return None
    places = [
        n for n, step in enumerate(site.path) if isinstance(step, str) and step.isidentifier()
    ]
    place = one_of(chance, places)
    if place is None:
        return None
    wrong = misspelled(str(site.path[place]), chance)
    if not wrong.isidentifier():
        return None
    segments = site.segments
    segments[place] = f".{wrong}"
    return _with_path(original, site, "".join(segments))


def one_step_too_many(original: Original, chance: Chance) -> Mistake | None:
    """A path that goes on where nothing is."""
    site = _pick(original, chance)
    step = chance.choice((".value", ".result", ".data", '["text"]'))
    return None if site is None else _with_path(original, site, "".join([*site.segments, step]))


def index_into_an_object(original: Original, chance: Chance) -> Mistake | None:
    """An index where the value has names."""
    site = _pick(original, chance)
    if site is None:
        return None
    place = chance.randint(0, len(site.segments))
    segments = [*site.segments[:place], chance.choice(("[0]", "[-1]")), *site.segments[place:]]
    return _with_path(original, site, "".join(segments))


def name_in_a_list(original: Original, chance: Chance) -> Mistake | None:
    """A name where the value has indexes."""
    found = [
        (site, where) for site in to_tasks(original.document) if (where := _lists(original, site))
    ]
    picked = one_of(chance, found)
    if picked is None:
        return None
    site, where = picked
    place = chance.choice(where)
    segments = [*site.segments[:place], ".name", *site.segments[place + 1 :]]
    return _with_path(original, site, "".join(segments))


def _lists(original: Original, site: Site) -> list[int]:
    """The depths at which a path passes an array."""
    depths = range(len(site.path) + 1)
    only = frozenset({"array"})
    return [depth for depth in depths if _types(original, site, site.path[:depth]) == only]


def _types(original: Original, site: Site, path: Path) -> frozenset[str] | None:
    """The types that the output that a reference names may have at a path; None if unknown."""
    task = next(task for task in original.document["tasks"] if task["id"] == site.id)
    return types_at(source_of(task, original.world.tools), path)


def index_beyond_the_end(original: Original, chance: Chance) -> Mistake | None:
    """An index that the list does not have: no schema shows it."""
    found = [
        (site, n)
        for site in to_tasks(original.document)
        for n, step in enumerate(site.path)
        if step == 0
    ]
    picked = one_of(chance, found)
    if picked is None:
        return None
    site, place = picked
    segments = site.segments
    segments[place] = f"[{chance.randint(50, 99)}]"
    return _with_path(original, site, "".join(segments))


TYPES: tuple[Make, ...] = (
    literal_of_another_type,
    element_of_another_type,
    holder_of_another_type,
    reference_in_text,
    reference_in_list,
    whole_output,
    reference_for_a_literal,
    for_each_of_no_list,
)
PATHS: tuple[Make, ...] = (
    misspelled_field,
    one_step_too_many,
    index_into_an_object,
    name_in_a_list,
    index_beyond_the_end,
)
