"""Shows the differences between two definitions of a tool, for people to judge.

No difference is hidden: invisible characters are escaped, and a text is cut around the part that
differs, with the number of characters left out.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Literal

from orchestrator.documents.encode import to_json
from orchestrator.documents.text import escaped, visible
from orchestrator.schema.tool import canonical_json

MAX_IN_SHORT = 80
MAX_LINE = 1000
MAX_LINES = 40
MAX_CHANGES = 8
MAX_PLACES = 50
REDACTED = "only redacted values differ"
_PLAIN_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]*")
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One place of a definition that differs.

    Attributes:
        field: The place, such as `inputSchema.properties.city.type`.
        before: The old JSON value; None if the place was `added`.
        after: The new JSON value; None if the place was `removed`.
        kind: Whether the place is in both definitions, only in the new one, or only in the old one.
    """

    field: str
    before: Any
    after: Any
    kind: Literal["changed", "added", "removed"] = "changed"

    def __str__(self) -> str:
        old, new = visible(to_json(self.before)), visible(to_json(self.after))
        if self.kind == "added":
            return f"{self.field}: added {_cut(new, 0, MAX_IN_SHORT)}"
        if self.kind == "removed":
            return f"{self.field}: removed {_cut(old, 0, MAX_IN_SHORT)}"
        same = _same(old, new)
        return f"{self.field}: {_cut(old, same, MAX_IN_SHORT)} -> {_cut(new, same, MAX_IN_SHORT)}"

    def lines(self) -> list[str]:
        """The place and, below it, its old and new lines, marked as by `diff`."""
        both = [self.before] * (self.kind != "added") + [self.after] * (self.kind != "removed")
        as_text = all(isinstance(value, str) for value in both) and "\n" in "".join(both)
        split = _lines_of_text if as_text else _lines_of_json
        old = split(self.before) if self.kind != "added" else []
        new = split(self.after) if self.kind != "removed" else []
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
        changes: The places that differ, of a changed tool; the description of an added one.
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


def changes_between(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[FieldChange]:
    """Every place that differs between two definitions; new ones come last."""
    return list(_changes(before, after, ""))


def in_short(changes: Sequence[FieldChange]) -> str:
    """The first changes, in one line."""
    shown = "; ".join(map(str, changes[:MAX_CHANGES]))
    more = len(changes) - MAX_CHANGES
    return f"{shown}; and {more:,} more" if more > 0 else shown


def _changes(before: Any, after: Any, at: str) -> Iterator[FieldChange]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*before, *(name for name in after if name not in before)]:
            old, new = before.get(name, _ABSENT), after.get(name, _ABSENT)
            yield from _changes(old, new, _below(at, name))
    elif before is _ABSENT:
        yield FieldChange(at, None, after, "added")
    elif after is _ABSENT:
        yield FieldChange(at, before, None, "removed")
    elif canonical_json(before) != canonical_json(after):  # 1, 1.0 and true are three values
        yield FieldChange(at, before, after)


def _below(at: str, name: str) -> str:
    if _PLAIN_NAME.fullmatch(name):
        return f"{at}.{name}" if at else name
    return f"{at}[{visible(to_json(name))}]"


def _same(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginning."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _cut(text: str, same: int, limit: int) -> str:
    """At most `limit` characters of a text, from shortly before the first `same` ones end."""
    start = max(0, min(same - limit // 4, len(text) - limit))
    kept = text[start : start + limit]
    more = len(text) - start - limit
    return ("..." if start else "") + kept + (f"... ({more:,} more characters)" if more > 0 else "")


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
                yield f"    {mark} {_cut(line, _same(line, other), MAX_LINE)}"
