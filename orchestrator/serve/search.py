"""Finds tools by words: BM25 over their names, descriptions and arguments."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.report.prompt import tool_document
from orchestrator.schema.tool import Tool, definition_of

Detail = Literal["name", "summary", "full"]
_WORD = re.compile(r"[^\W_]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_FILLERS = frozenset(
    {"a", "an", "and", "by", "for", "from", "in", "it", "of", "on", "or", "the", "to", "with"}
)
_K1, _B = 1.2, 0.75  # as in most engines: how soon repeats stop counting, how much length does
_NAME, _TITLE, _TEXT = 4, 2, 1  # how often a word counts by where it is
_SHORTEST_BEGINNING = 4
_AS_BEGINNING = 0.5


@dataclass(frozen=True, slots=True)
class Entry:
    """What can be found.

    Attributes:
        tool: The tool; a saved workflow is one of the server `workflow`.
        call: The name under which it is offered as a tool of its own; empty if it is not.
    """

    tool: Tool
    call: str = ""

    def shown(self, detail: Detail) -> dict[str, Any]:
        """The entry with as much detail."""
        tool = self.tool
        named = {"workflow": tool.name} if tool.server == "workflow" else {"tool": tool.target}
        if self.call:
            named["call"] = self.call
        if detail == "name":
            return named
        summary = {name: part for name, part in tool_document(tool).items() if part}
        summary.pop("tool")
        if detail == "summary":
            return named | summary
        return named | {"signature": summary["signature"]} | definition_of(tool)


class Index:
    """An index of tools, in the order in which they were given."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = list(entries)
        self._counts = [_counted(entry.tool) for entry in self.entries]
        self._lengths = [sum(counts.values()) for counts in self._counts]
        self._average = sum(self._lengths) / max(len(self._lengths), 1)
        self._holders = Counter(word for counts in self._counts for word in counts)

    def find(self, query: str) -> Sequence[Entry]:
        """What fits a query, best first; everything if it has no words."""
        words = set(_words(query)) - _FILLERS
        if not words:
            return self.entries
        wanted = {word: self._weights(word) for word in words}
        scored = [
            (-score, index)
            for index, counts in enumerate(self._counts)
            if (score := sum(self._score(index, counts, of) for of in wanted.values())) > 0
        ]
        return [self.entries[index] for _, index in sorted(scored)]

    def _weights(self, word: str) -> Mapping[str, float]:
        """The known words that a word of a query stands for."""
        if word in self._holders:
            return {word: 1.0}
        if len(word) < _SHORTEST_BEGINNING:
            return {}
        return {
            known: _AS_BEGINNING
            for known in self._holders
            if known.startswith(word) or (len(known) > 3 and word.startswith(known))
        }

    def _score(self, index: int, counts: Counter[str], words: Mapping[str, float]) -> float:
        score, size = 0.0, len(self.entries)
        norm = _K1 * (1 - _B + _B * self._lengths[index] / max(self._average, 1))
        for word, weight in words.items():
            if count := counts.get(word, 0):
                holders = self._holders[word]
                rarity = math.log(1 + (size - holders + 0.5) / (holders + 0.5))
                score = max(score, weight * rarity * count * (_K1 + 1) / (count + norm))
        return score


def _counted(tool: Tool) -> Counter[str]:
    counts: Counter[str] = Counter()
    names = tool.input_schema.get("properties")
    parts = (
        (_NAME, tool.name),
        (_TITLE, f"{tool.server} {tool.title} {tool.annotated_title}"),
        (_TEXT, tool.description),
        (_TEXT, " ".join(map(str, names)) if isinstance(names, Mapping) else ""),
    )
    for weight, text in parts:
        for word in _words(text):
            if word not in _FILLERS:
                counts[word] += weight
    return counts


def _words(text: str) -> Iterable[str]:
    """The words of a text or a name, in lower case and singular."""
    return (word.lower().removesuffix("s") for word in _WORD.findall(_HUMP.sub(" ", text)))
