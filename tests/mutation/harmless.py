"""Changes that are no mistakes: whoever reports one of them as an error gives a false alarm.

The rule of this file: as `mistakes` says.
"""

from __future__ import annotations

from typing import Any

from tests.mutation.mistakes import Chance, Make, Mistake, at, one_of, to_tasks
from tests.mutation.names import mentions
from tests.mutation.originals import Original
from tests.mutation.shapes import wait_for
from tests.mutation.sites import below, get, ids, pointer, replaced, waits, without
from tests.mutation.values import literals


def removed_wait(original: Original, chance: Chance) -> Mistake | None:
    """An entry of `depends_on` is not there."""
    found = one_of(chance, waits(original.document))
    return None if found is None else Mistake(without(original.document, found[0]), at(found[0]))


def added_wait(original: Original, chance: Chance) -> Mistake | None:
    """A task waits for one that does not need it."""
    names = ids(original.document)
    index = chance.randrange(len(names))
    name = one_of(chance, sorted(set(names) - below(original.document, names[index])))
    if name is None:
        return None
    document, path = wait_for(original.document, index, name)
    return Mistake(document, at(path))


def renamed_everywhere(original: Original, chance: Chance) -> Mistake | None:
    """A task has another id, and all that need it say so."""
    document = original.document
    index = chance.randrange(len(document["tasks"]))
    task, name = ids(document)[index], "Renamed_everywhere"
    places = mentions(document, task)
    for site in reversed(to_tasks(document)):  # from the right, so that positions stay right
        if site.id == task:
            text = get(document, site.at)
            start = site.id_start
            text = text[:start] + name + text[start + len(task) :]
            document = replaced(document, site.at, text)
    for path, needed in waits(document):
        if needed == task:
            document = replaced(document, path, name)
    document = replaced(document, ("tasks", index, "id"), name)
    return None if f"[{task}]" in str(document) else Mistake(document, places)


def literal_of_the_same_type(original: Original, chance: Chance) -> Mistake | None:
    """An argument is another text or number."""
    path = one_of(chance, literals(original))
    if path is None:
        return None
    value = _another(get(original.document, path))
    return Mistake(replaced(original.document, path, value), at(path))


def _another(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value + 0.5
        case str():
            return f"{value} too"
    return value


def reference_in_braces(original: Original, chance: Chance) -> Mistake | None:
    """The same reference, written as an expression."""
    site = one_of(chance, to_tasks(original.document, whole=True))
    if site is None:
        return None
    text = chance.choice(("${%s}", "${ %s }")) % chance.choice((site.text, site.text[1:]))
    return Mistake(replaced(original.document, site.at, text), at(site.at))


def names_in_brackets(original: Original, chance: Chance) -> Mistake | None:
    """The same path, written with brackets."""
    site = one_of(chance, [site for site in to_tasks(original.document) if site.path])
    if site is None:
        return None
    quote = "'" if site.in_braces else chance.choice("'\"")
    steps = (f"[{quote}{s}{quote}]" if isinstance(s, str) else f"[{s}]" for s in site.path)
    text = site.with_path("".join(steps))
    return Mistake(replaced(original.document, site.at, text), (pointer(site.at),))


HARMLESS: tuple[Make, ...] = (
    removed_wait,
    added_wait,
    renamed_everywhere,
    literal_of_the_same_type,
    reference_in_braces,
    names_in_brackets,
)
