"""Where the outputs of a dry run come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self


@dataclass(frozen=True, slots=True)
class MadeUp:
    """The origin of a task's output in a dry run.

    Attributes:
        source: `output_schema`, which its tool declares; or `assumed`, and null.
        note: Why it was assumed; empty if it was not.
    """

    source: Literal["output_schema", "assumed"]
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The origin as a JSON object."""
        return {"from": self.source, "note": self.note}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """The origin that `to_dict` wrote."""
        return cls(document["from"], document["note"])
