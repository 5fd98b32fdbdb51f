"""What an operator says about the words of strangers, and how they came to a place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, Self

from orchestrator.documents.uris import fits_any, forms_of
from orchestrator.schema.tool import Tool

_SHOWN = 8  # of the first tasks of a trail, and of the last, in a message
_PATTERN = re.compile(r"[*?\[]")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]?$")


class Asked(Protocol):
    """What is asked of a server: a call, or the template of one."""

    @property
    def server(self) -> str: ...
    @property
    def tool(self) -> str: ...  # or the URI, or the name of a prompt
    @property
    def kind(self) -> str: ...


class Site(NamedTuple):
    """A call that a plan can make.

    Attributes:
        task: The task, with those that it is inside of, as in `outer/inner`.
        field: `fallback` or `item_fallback` if it is one; else empty.
    """

    task: str
    field: str = ""


@dataclass(frozen=True, slots=True)
class FlowPolicy:
    """What an operator says about the flow of data in a workflow.

    Attributes:
        untrusted: The servers whose words are those of strangers.
        sensitive: The patterns of tools that count as dangerous, by server.
        asks: Whether the operator wants a person to approve each call of a tool.
        workflow: The name of the workflow that is run, if it is in a file.
        answered_for: The tasks in it that the operator answers for, as `outer/inner`; None: the
            operator cannot answer for any.
        in_vain: Whether the operator answers for tasks nevertheless.
    """

    untrusted: frozenset[str]
    sensitive: Mapping[str, Sequence[str]] = field(default_factory=dict)
    asks: Callable[[Asked, Tool | None], bool] = lambda *_: False
    workflow: str = ""
    answered_for: frozenset[str] | None = frozenset()
    in_vain: bool = False

    def is_answered_for(self, task: str) -> bool:
        """Whether the operator answers for a task."""
        return self.answered_for is not None and task in self.answered_for

    def is_sensitive(self, target: Asked) -> bool:
        """Whether a call is one that the operator names; of a URI the beginning is known."""
        patterns = self.sensitive.get(target.server, ())
        if target.kind != "read":
            return fits_any(target.tool, patterns)
        # What comes next may complete an escape.
        known = _ESCAPE.sub("", target.tool.partition("$")[0])
        starts = [_PATTERN.split(pattern, maxsplit=1)[0].casefold() for pattern in patterns]
        forms = [form.casefold() for form in forms_of(known)]
        return any(f.startswith(each) or each.startswith(f) for f in forms for each in starts)


class Danger(NamedTuple):
    """How bad it is if the words of strangers reach a call, and why."""

    severity: Literal["error", "warning"]
    why: str


def danger(target: Asked, tool: Tool | None, policy: FlowPolicy) -> Danger | None:
    """What strangers could do with a call whose arguments are theirs; None if that is nothing.

    Hints count as they are declared: one that is missing is a warning, whatever its default is.
    """
    if policy.is_sensitive(target):
        return Danger("error", "which servers.toml lists as sensitive")
    if target.kind != "tool":
        return Danger("warning", f"and a {_KINDS[target.kind]} declares nothing of what it does")
    if tool is None:
        return Danger("warning", "of which nothing is known")
    if tool.open_world:
        return Danger("error", "which declares itself open-world (openWorldHint)")
    if tool.destructive and not tool.read_only:
        return Danger("error", "which declares itself destructive (destructiveHint)")
    if tool.read_only or (tool.destructive is False and tool.open_world is False):
        return None
    return Danger("warning", "which does not declare that it is harmless")


_KINDS = {"read": "resource", "prompt": "prompt"}


@dataclass(frozen=True, slots=True, eq=False, repr=False)  # each would go all the way back
class Trail:
    """The shortest way of the words of strangers to a place.

    Attributes:
        task: The last task on it.
        server: Whose words they are.
        length: How many tasks are before that one.
        before: The way to that one; None if its own server has said them.
        first: The first tasks on it, as many as are shown of a long one.
    """

    task: str
    server: str
    length: int = 0
    before: Trail | None = None
    first: tuple[str, ...] = ()

    @classmethod
    def of(cls, task: str, server: str) -> Self:
        """What a server says in a task."""
        return cls(task, server, first=(task,))

    def to(self, task: str) -> Trail:
        """The same, one task further."""
        first = self.first if len(self.first) == _SHOWN else (*self.first, task)
        return Trail(task, self.server, self.length + 1, self, first)

    def __str__(self) -> str:
        """The tasks on it, those in the middle left out if they are many."""
        tasks: list[str] = []
        here: Trail | None = self
        while here is not None and len(tasks) < _SHOWN:
            tasks.append(here.task)
            here = here.before
        if here is not None:
            left = here.length + 1 - _SHOWN
            more = [f"({left:,} more)"] if left > 0 else []
            tasks += [*more, *reversed(self.first[: here.length + 1])]
        return " -> ".join(reversed(tasks))


def shortest(trails: Iterable[Trail | None]) -> Trail | None:
    """The shortest trail, the first of those; None if there is none."""
    best = None
    for trail in trails:
        if trail is not None and (best is None or trail.length < best.length):
            best = trail
    return best
