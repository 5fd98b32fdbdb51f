"""What a tool does to the world, by the annotations of MCP that it declares.

The rule of this file: it says what a tool declares, and that it does not say; it guesses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from orchestrator.schema.tool import Tool

Risk = Literal["reads", "unknown", "writes", "may", "destroys"]
RISKS: tuple[Risk, ...] = ("reads", "unknown", "writes", "may", "destroys")
"""From the best to the worst; `may`: it does not say whether it is destructive."""


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
    def risk(self) -> Risk:
        """What it may do to its server: what MCP has it taken for, if it does not say."""
        if not self.known:
            return "unknown"
        if self.read_only:
            return "reads"
        if self.destructive is None:
            return "may"
        return "destroys" if self.destructive else "writes"

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


UNKNOWN = Effects(known=False)


def effects_of(tool: Tool | None) -> Effects:
    """The effects of a tool; None is a tool that is not known."""
    if tool is None:
        return UNKNOWN
    if tool.read_only:
        return Effects(True, True, False, True, tool.open_world)
    return Effects(True, tool.read_only, tool.destructive, tool.idempotent, tool.open_world)
