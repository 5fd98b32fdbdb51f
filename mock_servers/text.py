"""Tools on text, answering in the three ways real servers do.

`words` and `summarize` give structured content, `title` and `join` plain text, and `keywords` JSON
written as text.
"""

from __future__ import annotations

import json
import math
import re
import string
from collections import Counter

from mcp.server.mcpserver import MCPServer
from pydantic import BaseModel

from mock_servers.serve import READ_ONLY, run

WORDS_PER_MINUTE = 240
"""Silent reading of English non-fiction: 238 words a minute (Brysbaert, 2019)."""

COMMON_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be been but by for from had has have he her his i if in into is it its "
        "no not of on or our she so that the their them then there they this to was we were what "
        "when which who will with would you your",
    )
)

server = MCPServer("text", instructions="Counts, sums up and joins text.", log_level="WARNING")


class Count(BaseModel):
    """The size of a text."""

    words: int
    characters: int
    reading_minutes: int


class Summary(BaseModel):
    """The sentences that were kept."""

    summary: str
    sentences: int


@server.tool(annotations=READ_ONLY)
async def words(text: str) -> Count:
    """Count words and characters, and estimate the reading time in minutes, rounded up."""
    count = len(text.split())
    minutes = math.ceil(count / WORDS_PER_MINUTE)
    return Count(words=count, characters=len(text), reading_minutes=minutes)


@server.tool(annotations=READ_ONLY)
async def summarize(text: str, sentences: int = 1) -> Summary:
    """Keep the sentences that carry the text's most frequent words, in their order."""
    found = _sentences(text)
    weights = Counter(_content_words(text))
    ranked = sorted(range(len(found)), key=lambda index: -_weight(found[index], weights))
    kept = [found[index] for index in sorted(ranked[: max(sentences, 0)])]
    return Summary(summary=" ".join(kept), sentences=len(kept))


@server.tool(annotations=READ_ONLY, structured_output=False)
async def keywords(text: str, limit: int = 5) -> str:
    """List the most frequent words with their counts, as a JSON array in a text."""
    ranked = Counter(_content_words(text)).most_common(max(limit, 0))
    return json.dumps([{"word": word, "count": count} for word, count in ranked])


@server.tool(annotations=READ_ONLY, structured_output=False)
async def title(text: str, max_length: int = 60) -> str:
    """Make a title of a text: its first sentence in title case, cut at a word if too long."""
    first = next(iter(_sentences(text)), "").rstrip(".!?")
    capitalized = string.capwords(first)
    if len(capitalized) <= max_length:
        return capitalized
    return capitalized[: max_length - 1].rsplit(" ", 1)[0] + "…"


@server.tool(annotations=READ_ONLY, structured_output=False)
async def join(parts: list[str], separator: str = "\n") -> str:
    """Join texts into one, with a separator between them."""
    return separator.join(parts)


def _sentences(text: str) -> list[str]:
    return [part for part in re.split(r"(?<=[.!?])\s+", text.strip()) if part]


def _content_words(text: str) -> list[str]:
    return [word for word in re.findall(r"\w+", text.lower()) if word not in COMMON_WORDS]


def _weight(sentence: str, weights: Counter[str]) -> float:
    found = _content_words(sentence)
    return sum(weights[word] for word in found) / math.sqrt(len(found)) if found else 0.0


if __name__ == "__main__":
    run(server)
