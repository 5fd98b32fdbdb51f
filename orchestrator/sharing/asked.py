"""What a process asks a database for, and what that says of it."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol

News = Literal["waits", "granted", "sure", "lost", "seen", "failed"]


class Asked(Protocol):
    """What a process asks for, waits for or holds; all but `post` is for the thread.

    Attributes:
        token: Its number in this process.
        name: Of what, and `row` what else the database has to know of it.
        is_held: Whether it is granted, and neither started nor freed.
        losses: How often this process had lost what it held when it was granted.
    """

    token: int
    name: str
    row: tuple[Any, ...]
    is_held: bool
    losses: int

    def post(self, news: News, why: str) -> None:
        """Tell its event loop, from this thread."""


class Act(NamedTuple):
    """What is to be done about what was asked for: to ask, start or free it, or to look again."""

    what: Literal["ask", "start", "free", "look"]
    asked: Asked

    def document(self) -> list[Any]:
        """It as `turn` takes it."""
        rest = self.asked.row if self.what == "ask" else ()
        return [self.what, self.asked.name, self.asked.token, *rest]
