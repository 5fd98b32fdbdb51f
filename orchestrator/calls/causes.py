"""What a call waits for."""

from __future__ import annotations

from typing import Literal, NamedTuple

from orchestrator.documents.text import quoted

Kind = Literal[
    "max_concurrency",
    "server_limit",
    "writers",
    "turn",
    "rate",
    "lock",
    "server_start",
    "retry",
    "repeat",
    "answer",
    "delay",
    "items",
    "generation",
    "other",
]
_ALWAYS: dict[Kind, str] = {
    "max_concurrency": "a slot of the run",
    "retry": "its next attempt",
    "repeat": "its next turn",
    "answer": "the answer to a question",
    "delay": "its delay_s",
    "items": "a place among its items",
    "generation": "the rest of the generation before",
}


class Cause(NamedTuple):
    """What is waited for; its text is a noun phrase.

    Attributes:
        kind: What holds a call back. `delay`, `items` and `generation` are never noted, but follow
            from the times of a run; `other` is what has no kind.
        of: The server, `server:pattern` of tools, or name of a lock; what it is, of the kind
            `other`. Empty for what there is one of.
    """

    kind: Kind
    of: str = ""

    def __str__(self) -> str:
        of = quoted(self.of)
        server = of if ":" in self.of else f"server {of}"
        match self.kind:
            case "server_limit":
                return f"a slot of {server}"
            case "writers":
                return f"the writers' slot of {server}"
            case "turn":
                return f"its turn at {server}, which asks people"
            case "rate":
                return f"the rate of {server}"
            case "lock":
                return f"lock {of}"
            case "server_start":
                return server if self.of else "all servers, to check the plan"
            case "other":
                return self.of
        return _ALWAYS[self.kind]


RUN_SLOT = Cause("max_concurrency")
