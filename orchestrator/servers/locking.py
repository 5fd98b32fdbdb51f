"""What a servers' file says of the locks of tasks: how many there are, and for whom they hold."""

from __future__ import annotations

import fnmatch
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from orchestrator.workflow.hold import MAX_COUNT

_Name = Annotated[str, Field(min_length=1)]
_Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]


# Over which processes a limit or a lock holds: each for itself, as far as they use no warm pool
# together; all of this user on this machine; or all with the same journal in PostgreSQL.
Scope = Literal["process", "host", "cluster"]


class LockSettings(BaseModel):
    """What `[locks.NAME]` says of the locks whose name fits the pattern NAME."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    scope: Scope = "process"


class LockTables(BaseModel):
    """What `[resources]` says, how many there are of what locks count; and what `[locks]` says."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    resources: dict[_Name, _Count] = Field(default_factory=dict)
    locks: dict[_Name, LockSettings] = Field(default_factory=dict)

    def scope_of(self, lock: str) -> Scope:
        """Over which processes a lock holds: the first pattern counts."""
        fitting = (each for name, each in self.locks.items() if fnmatch.fnmatchcase(lock, name))
        return next(fitting, LockSettings()).scope

    def is_for_all(self, begins: str, *, is_whole: bool) -> bool:
        """Whether a lock of which only the beginning is known surely holds for all processes.

        That is, with the same journal, whatever follows.
        """
        if is_whole:
            return self.scope_of(begins) == "cluster"
        for name, settings in self.locks.items():
            if settings.scope != "cluster":
                return False
            head = name.removesuffix("*")
            if head != name and set(head).isdisjoint("*?[") and begins.startswith(head):
                return True
        return False
