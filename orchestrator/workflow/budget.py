"""What a run may spend."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from orchestrator.workflow.task import STRICT, Checked

_Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Budget(BaseModel, metaclass=Checked):
    """What a run may spend; a run that needs more fails, with the reason `budget`."""

    model_config = STRICT

    calls: int | None = Field(
        default=None,
        ge=1,
        description="Calls that are sent, each attempt, item and turn; not what the memo answers.",
    )
    minutes: _Amount | None = Field(
        default=None, description="Time from its start, minutes, whatever it waits for."
    )
    result_mb: _Amount | None = Field(
        default=None, description="Answers of its calls together in memory, megabytes."
    )
