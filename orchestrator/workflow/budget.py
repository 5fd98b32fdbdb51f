"""What a run may spend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, Field

from orchestrator.workflow.task import STRICT, Checked

_Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]


_UNITS = {"calls": ("call", "calls"), "minutes": ("min",), "result_mb": ("MB of answers",)}


def amounts(of: Mapping[str, float]) -> str:
    """What is left of the limits of a budget, or its limits themselves, as in `3 calls, 2 min`."""
    parts = []
    for name, amount in of.items():
        if name == "minutes" and amount < 1:
            parts.append(f"{amount * 60:.2g} s")
            continue
        number = f"{amount:,.0f}" if amount >= 100 else f"{amount:.3g}"
        parts.append(f"{number} {_UNITS[name][0 if amount == 1 else -1]}")
    return ", ".join(parts)


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
