"""What a call waited for, as one word and what it is about."""

from __future__ import annotations

import fnmatch
import json
from typing import Literal, NamedTuple

from orchestrator.calls.limits import RUN_SLOT
from orchestrator.calls.middleware import LOCK, NEXT_ATTEMPT
from orchestrator.calls.repeat import NEXT_TURN
from orchestrator.engine.question import ANSWER

Kind = Literal[
    "max_concurrency",
    "server_limit",
    "writers",
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
HELD: frozenset[Kind] = frozenset({"max_concurrency", "server_limit", "writers", "lock", "items"})
"""What another call holds until it ends."""
IN_CALL: frozenset[Kind] = frozenset({"retry", "repeat"})
"""What comes between two calls of one task."""
ITEMS = "a place in max_parallel"
DELAY = "delay_s"
_BEGINNINGS: tuple[tuple[str, Kind], ...] = (
    (RUN_SLOT, "max_concurrency"),
    (NEXT_ATTEMPT, "retry"),
    (NEXT_TURN, "repeat"),
    (ANSWER, "answer"),
    (LOCK, "lock"),
    (ITEMS, "items"),
    (DELAY, "delay"),
    ("the writers' slot of server ", "writers"),
    ("a slot of server ", "server_limit"),
    ("the rate of server ", "rate"),
    ("a slot of ", "server_limit"),
    ("the rate of ", "rate"),
    ("its turn at server ", "server_limit"),
    ("server ", "server_start"),
    ("all servers", "server_start"),
    ("the generation", "generation"),
)


class Cause(NamedTuple):
    """What was waited for: its kind, and the server, `server:pattern`, or name of a lock."""

    kind: Kind
    of: str

    def is_used_by(self, target: str, locks: tuple[str, ...]) -> bool:
        """Whether a call of a target, with these locks, may have held it."""
        if self.kind == "lock":
            return self.of in locks
        if self.kind in ("max_concurrency", "items"):
            return True
        server, has_pattern, pattern = self.of.partition(":")
        of_call, _, tool = target.partition(":")
        return server == of_call and (not has_pattern or fnmatch.fnmatchcase(tool, pattern))


def cause_of(what: str) -> Cause:
    """The cause of a wait, from what `Attempt.waits` says of it."""
    for beginning, kind in _BEGINNINGS:
        if what.startswith(beginning):
            rest = what[len(beginning) :].split(", which")[0]
            return Cause(kind, str(json.loads(rest)) if rest.startswith('"') else rest)
    return Cause("other", what)
