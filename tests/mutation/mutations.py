"""One change of a workflow: a row of `rows`, the spot that it changes, and the mutant it makes."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import networkx as nx

from orchestrator.documents.pointer import pointer
from tests.mutation.documents import Document, Path, Site, exists, get, replaced
from tests.mutation.schemas import Sight, json_type, types_at
from tests.mutation.worlds import Original

T = TypeVar("T")


class NoPlaceError(Exception):
    """A mutation does not fit here."""


@dataclass(frozen=True)
class Mutant:
    """A changed workflow.

    Attributes:
        document: The workflow file.
        at: Where a finding has to stand: at one of these paths,
        within: or at or below one of these.
        in_expressions: How far the schemas show that its expression fails, as the row knows.
    """

    document: Document
    at: Sequence[Path] = ()
    within: Sequence[Path] = ()
    in_expressions: Sight = "unseen"

    def expects(self, path: str) -> bool:
        """Whether a finding at this JSON Pointer stands where it has to, and exists."""
        below = any(f"{path}/".startswith(f"{pointer(*top)}/") for top in self.within)
        return exists(self.document, path) and (below or path in {pointer(*p) for p in self.at})


@dataclass(frozen=True)
class Row:
    """A mutation: its kind and name, what it can change, and how; `NoPlaceError` if it cannot."""

    kind: str
    name: str
    places: Callable[[Original], Sequence[Any]]
    change: Callable[[Spot], Mutant]

    def make(self, original: Original, chance: random.Random) -> Mutant | None:
        """The mutation at one of its places; None if it fits nowhere or changes nothing."""
        try:
            made = self.change(Spot(original, pick(self.places(original), chance), chance))
        except NoPlaceError:
            return None
        return made if made.document != original.document else None


def pick(found: Sequence[T], chance: random.Random) -> T:
    """One of these, or `NoPlaceError`."""
    if not found:
        raise NoPlaceError
    return chance.choice(found)


def types_of(original: Original, site: Site, depth: int | None = None) -> frozenset[str]:
    """The types that the schema allows for a reference, or for the start of its path."""
    return types_at(original.source(site.name), site.path[:depth]) or frozenset()


class Spot:
    """A site or a path in a workflow, to be changed; what is there, and ways to change it."""

    def __init__(self, original: Original, place: Any, chance: random.Random) -> None:
        self.original, self.document, self.ids = original, original.document, original.ids
        self.chance, self.site = chance, place
        self.path: Path = place.at if isinstance(place, Site) else place
        self.value = get(self.document, self.path)
        self.siblings = get(self.document, self.path[:-1])
        self.server, _, self.tool = str(self.value).partition(":")
        self.servers = {tool.server for tool in original.world.tools.values()}
        self.tools = {tool.name for tool in original.world.tools.values()}
        self.own = self.ids[int(self.path[1])] if self.path[0] == "tasks" else ""

    def pick(self, found: Sequence[T]) -> T:
        """One of these."""
        return pick(found, self.chance)

    def put(self, value: Any, path: Path | None = None, sight: Sight = "unseen") -> Mutant:
        """Another value, here or at a path, which a finding has to name."""
        path = self.path if path is None else path
        return Mutant(replaced(self.document, path, value), [path], in_expressions=sight)

    def put_within(self, value: Any) -> Mutant:
        """Another value; a finding has to name it or something inside."""
        return Mutant(replaced(self.document, self.path, value), within=[self.path])

    def filled(self, templates: str) -> str:
        """One of the templates, which are two spaces apart.

        `REF` is the reference without its dollar sign, `ID` its task and `PATH` its path.
        """
        path = self.site.match["path"]
        parts = {"REF": f"OUTPUT[{self.site.name}]{path}", "ID": self.site.name, "PATH": path}
        return re.sub(
            r"REF|ID|PATH", lambda found: parts[found[0]], self.pick(templates.split("  "))
        )

    def step(self, at: int, *segments: str, until: int | None = None) -> Mutant:
        """Other segments in the path of the reference, in the place of those up to `until`."""
        made = self.site.segments
        made[at : at + 1 if until is None else until] = segments
        return self.put(self.site.with_path("".join(made)))

    def misspell(self, name: str, known: Collection[str] = ()) -> str:
        """The name with a letter left out, doubled, swapped with the next, or of the other case."""
        while True:
            at = self.chance.randrange(len(name))
            letter, after = name[at], name[at + 1 :]
            swapped = after[:1] + letter + after[1:]
            ends = (after, letter * 2 + after, swapped, letter.swapcase() + after)
            made = name[:at] + self.chance.choice(ends)
            if made and made != name and made not in known:
                return made

    def retyped(self) -> Any:
        """A value of another JSON type."""
        others = ["seven", 7, 7.5, True, None, [self.value], {"value": self.value}]
        return self.pick([each for each in others if json_type(each) != json_type(self.value)])

    def unrelated(self) -> list[str]:
        """The tasks that do not need the one that the spot is in, without itself."""
        if not self.own:
            return self.ids
        return sorted({*self.ids} - nx.descendants(self.original.graph, self.own) - {self.own})

    def field(self, name: str, value: Any, *at: str) -> Mutant:
        """One more field of the task; a finding has to name a place in it, or its property `at`."""
        path = (*self.path[:2], name)
        if name in get(self.document, self.path[:2]):
            raise NoPlaceError
        return Mutant(replaced(self.document, path, value), [(*path, *at)], [path])

    def wait(self, name: str) -> Mutant:
        """One more entry in the `depends_on` of the task."""
        field = (*self.path[:2], "depends_on")
        before = get(self.document, self.path[:2]).get("depends_on", [])
        return Mutant(replaced(self.document, field, [*before, name]), [(*field, len(before))])

    def cyclic(self, made: Mutant, needed: str) -> Mutant:
        """The same mutant, of which a finding may name any task of the cycle through `needed`."""
        graph = self.original.graph.copy()
        graph.add_edge(needed, self.own)
        circle = next(each for each in nx.strongly_connected_components(graph) if needed in each)
        return Mutant(made.document, within=[("tasks", self.ids.index(name)) for name in circle])
