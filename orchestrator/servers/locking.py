"""What a servers' file says of the locks of tasks: how many there are of each."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from orchestrator.workflow.hold import MAX_COUNT

_Name = Annotated[str, Field(min_length=1)]
_Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]


class LockTables(BaseModel):
    """What `[resources]` says: how many there are of what the locks of tasks count."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    resources: dict[_Name, _Count] = Field(default_factory=dict)
