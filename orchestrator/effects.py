"""What a tool does to the world, by the annotations of MCP that it declares.

The rule of this file: it says what a tool declares, and that it does not say; it guesses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orchestrator.calls import Tool


@dataclass(frozen=True, slots=True)
class Effects:
    """The effects that a tool declares. None = it does not say.

    By the specification of MCP, `destructive` and `idempotent` mean something only of tools that
    are not read-only, and a tool that does not say has to be taken for one that is not read-only,
    not idempotent, destructive and open-world.

    Attributes:
        known: Whether the tool is known at all; if not, all else is None.
        read_only: Whether it changes nothing.
        destructive: Whether it may destroy or overwrite something; False if it is read-only.
        idempotent: Whether repeating it changes nothing more; True if it is read-only.
        open_world: Whether it reaches things outside of its server, such as the web.
    """

    known: bool
    read_only: bool | None = None
    destructive: bool | None = None
    idempotent: bool | None = None
    open_world: bool | None = None

    @property
    def may_write(self) -> bool:
        """Whether it is known, and does not declare that it changes nothing."""
        return self.known and not self.read_only

    @property
    def may_destroy(self) -> bool:
        """Whether it declares that it is destructive, or MCP has it taken for that."""
        return self.may_write and self.destructive is not False

    @property
    def word(self) -> str:
        """In one word or two; `?` where it does not say."""
        if not self.known:
            return "unknown"
        outside = ", open" if self.open_world else ""
        return f"{self._does}{outside}"

    @property
    def _does(self) -> str:
        if self.read_only:
            return "reads"
        if self.destructive is not None:
            does = "destructive" if self.destructive else "writes"
            return does if self.destructive or self.read_only is not None else f"{does}?"
        return "destructive?" if self.read_only is False else "?"

    def to_dict(self) -> dict[str, Any]:
        """The effects as a JSON object, its fields as in the class."""
        return {
            "known": self.known,
            "read_only": self.read_only,
            "destructive": self.destructive,
            "idempotent": self.idempotent,
            "open_world": self.open_world,
        }


UNKNOWN = Effects(known=False)


def effects_of(tool: Tool | None) -> Effects:
    """The effects of a tool; None is a tool that is not known."""
    if tool is None:
        return UNKNOWN
    if tool.read_only:
        return Effects(True, True, False, True, tool.open_world)
    return Effects(True, tool.read_only, tool.destructive, tool.idempotent, tool.open_world)
