"""Search results for any query, made from its words: the same query, the same articles."""

from __future__ import annotations

import hashlib
import re

import anyio
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel

from mock_servers.serve import READ_ONLY, run

DELAY_MS = 120
HEADLINES = (
    "{}: what changed this year",
    "Five questions about {}",
    "Why {} matters more than it seems",
    "The numbers behind {}",
    "{} explained in ten minutes",
    "A short history of {}",
    "What experts get wrong about {}",
    "{}: the view from the ground",
    "The quiet progress of {}",
    "Where {} goes from here",
)

server = MCPServer("news", instructions="Searches articles.", log_level="WARNING")


class Article(BaseModel):
    """One search result; `score` runs from 0 to 1."""

    title: str
    url: str
    score: float


class Results(BaseModel):
    """The articles found, the best first."""

    items: list[Article]


@server.tool(annotations=READ_ONLY)
async def search(query: str, limit: int = 5) -> Results:
    """Search articles (ten for any query) and return the best, each with a score from 0 to 1."""
    topic = query.strip()
    if not topic:
        raise ToolError("the query is empty")
    await anyio.sleep(DELAY_MS / 1000)
    found = [_article(topic, headline) for headline in HEADLINES]
    ranked = sorted(found, key=lambda article: (-article.score, article.url))
    return Results(items=ranked[: max(limit, 0)])


def _article(topic: str, headline: str) -> Article:
    title = headline.format(topic)
    title = title[0].upper() + title[1:]
    digest = hashlib.sha256(title.casefold().encode()).digest()
    slug = re.sub(r"\W+", "-", title.lower()).strip("-")
    return Article(title=title, url=f"https://news.example/{slug}", score=digest[0] % 101 / 100)


if __name__ == "__main__":
    run(server)
