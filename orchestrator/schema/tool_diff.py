"""Shows the differences between two definitions of a tool, for people to judge.

No difference is hidden: invisible characters are escaped, and a text is cut around the part that
differs, with the number of characters left out.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.documents.differences import cut_around
from orchestrator.documents.encode import to_json
from orchestrator.documents.text import escaped, visible
from orchestrator.schema.tool import NEEDS_TASK, NO_TASKS, canonical_json

MAX_LINE = 1000
MAX_LINES = 40
MAX_CHANGES = 8
MAX_PLACES = 50
REDACTED = "only redacted values differ"
_PLAIN_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]*")
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One path of a definition, such as `inputSchema.properties.city.type`, that differs.

    `before` is None if the path was `added`, and `after` if it was `removed`.
    """

    field: str
    before: Any
    after: Any
    kind: Literal["changed", "added", "removed"] = "changed"

    def __str__(self) -> str:
        old, new = visible(to_json(self.before)), visible(to_json(self.after))
        if self.kind != "changed":
            return f"{self.field}: {self.kind} {cut_around(new if self.kind == 'added' else old)}"
        return f"{self.field}: {cut_around(old, new)} -> {cut_around(new, old)}"

    def lines(self) -> list[str]:
        """The path and, below it, its old and new lines, marked as by `diff`."""
        before = [self.before] if self.kind != "added" else []
        after = [self.after] if self.kind != "removed" else []
        values = before + after
        as_text = all(isinstance(value, str) for value in values) and "\n" in "".join(values)
        split = _lines_of_text if as_text else _lines_of_json
        old, new = ([line for value in side for line in split(value)] for side in (before, after))
        shown = list(_marked(old, new))
        more = len(shown) - MAX_LINES
        left_out = [f"    and {more:,} more lines"] if more > 0 else []
        return [f"  {self.field}", *shown[:MAX_LINES], *left_out]


@dataclass(frozen=True, slots=True)
class ToolDifference:
    """The difference between a tool and its definition in a lock file.

    Attributes:
        target: `server:tool`.
        kind: `changed`; `added` if only the server has it, `removed` if only the lock file has it.
        changes: The paths that differ, of a changed tool; the description of an added one.
        signature: The types of an added tool.
    """

    target: str
    kind: Literal["changed", "added", "removed"]
    changes: tuple[FieldChange, ...] = ()
    signature: str = ""

    def __str__(self) -> str:
        if self.kind != "changed":
            return f"only the {'server' if self.kind == 'added' else 'lock file'} has it"
        return in_short(self.changes) or REDACTED

    def lines(self) -> list[str]:
        """The difference on several lines."""
        shown = [line for change in self.changes[:MAX_PLACES] for line in change.lines()]
        if (more := len(self.changes) - MAX_PLACES) > 0:
            shown.append(f"  and {more:,} more places")
        if self.kind == "changed" and not shown:
            shown = [f"  {REDACTED}"]
        signature = [f"  {visible(self.signature)}"] if self.signature else []
        return [f"{visible(self.target)}: {self.kind}", *signature, *shown]


def as_listed(definition: Mapping[str, Any]) -> dict[str, Any]:
    """A definition for people: `unavailable` is not what a server says of its tasks."""
    if definition.get("execution") != {"taskSupport": NO_TASKS}:
        return dict(definition)
    said = f"{NEEDS_TASK}, and its server offers no tasks"
    return {**definition, "execution": {"taskSupport": said}}


def changes_between(before: Any, after: Any, at: str = "") -> list[FieldChange]:
    """Every path that differs between two definitions, or their parts at a path."""
    if isinstance(before, dict) and isinstance(after, dict):
        found: list[FieldChange] = []
        for name in dict.fromkeys([*before, *after]):
            parts = before.get(name, _ABSENT), after.get(name, _ABSENT)
            found += changes_between(*parts, _below(at, name))
        return found
    if before is _ABSENT:
        return [FieldChange(at, None, after, "added")]
    if after is _ABSENT:
        return [FieldChange(at, before, None, "removed")]
    same = canonical_json(before) == canonical_json(after)  # 1, 1.0 and true are three values
    return [] if same else [FieldChange(at, before, after)]


def in_short(changes: Sequence[FieldChange]) -> str:
    """The first changes, in one line."""
    shown = "; ".join(map(str, changes[:MAX_CHANGES]))
    more = len(changes) - MAX_CHANGES
    return f"{shown}; and {more:,} more" if more > 0 else shown


def _below(at: str, name: str) -> str:
    if _PLAIN_NAME.fullmatch(name):
        return f"{at}.{name}" if at else name
    return f"{at}[{visible(to_json(name))}]"


def _lines_of_json(value: Any) -> list[str]:
    return visible(to_json(value, indent=2), keep="\n").split("\n")


def _lines_of_text(text: str) -> list[str]:
    """The lines of a text; a space at the end of one is escaped, and so is what looks like one."""
    lines = visible(text.replace("\\u", "\\\\u"), keep="\n").split("\n")
    return [line[:-1] + escaped(" ") if line.endswith(" ") else line for line in lines]


def _marked(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    for tag, i, i_end, j, j_end in difflib.SequenceMatcher(None, old, new).get_opcodes():
        if tag == "equal":
            continue
        gone, come = old[i:i_end], new[j:j_end]
        for mark, lines, others in (("-", gone, come), ("+", come, gone)):
            for number, line in enumerate(lines):
                other = others[number] if number < len(others) else ""
                yield f"    {mark} {cut_around(line, other, MAX_LINE)}"
