"""A mistake in a workflow, and what the mistakes have in common: misspelling, and picking a place.

The rule of this file: values and small functions; the mistakes themselves are in `names`, `values`,
`shapes` and `writing`, and changes that are none in `harmless`. Each takes a workflow and a source
of chance, and gives a mistake, or None where it finds no place for itself.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from tests.mutation.originals import Original
from tests.mutation.sight import Sight
from tests.mutation.sites import Document, Path, Site, leads_somewhere, pointer, sites

Kind = Literal[
    "wrong id",
    "wrong tool",
    "argument name",
    "type",
    "path",
    "cycle",
    "missing task",
    "bad expression",
    "malformed reference",
    "no mistake",
]

Chance = random.Random
T = TypeVar("T")


@dataclass(frozen=True)
class Mistake:
    """A workflow with one mistake.

    Attributes:
        document: The workflow file.
        at: Where a finding has to stand: one of these JSON Pointers,
        within: or at or below one of these.
        in_expressions: See `Looker`.
    """

    document: Document
    at: tuple[str, ...] = ()
    within: tuple[str, ...] = ()
    in_expressions: Sight = "unseen"

    def is_there(self, path: str) -> bool:
        """Whether a finding with this JSON Pointer stands in the right place, and in any at all."""
        right = path in self.at or any(f"{path}/".startswith(f"{top}/") for top in self.within)
        return right and leads_somewhere(self.document, path)


Make = Callable[[Original, Chance], Mistake | None]


def one_of(chance: Chance, found: Sequence[T]) -> T | None:
    """One of those that were found, if any was."""
    return chance.choice(found) if found else None


def misspelled(name: str, chance: Chance, known: Collection[str] = ()) -> str:
    """The name with one letter left out, doubled, swapped with the next, or of the other case."""
    while True:
        at = chance.randrange(len(name))
        before, letter, after = name[:at], name[at], name[at + 1 :]
        made = chance.choice(
            (
                before + after,
                before + letter + letter + after,
                before + after[:1] + letter + after[1:],
                before + letter.swapcase() + after,
            )
        )
        if made and made != name and made not in known:
            return made


def to_tasks(document: Document, *, whole: bool = False) -> list[Site]:
    """The references to tasks; `whole`: those that are a text of their own, without braces."""
    return [
        site for site in sites(document) if site.root == "OUTPUT" and (site.is_whole or not whole)
    ]


def at(path: Path) -> tuple[str, ...]:
    """The one place that a mistake is at."""
    return (pointer(path),)
