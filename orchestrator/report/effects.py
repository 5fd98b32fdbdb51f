"""What the annotations of a tool (MCP `ToolAnnotations`) declare about its effects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from orchestrator.schema.tool import Tool

Risk = Literal["reads", "unknown", "writes", "may", "destroys"]
# From the least to the greatest; `may`: the tool does not declare whether it is destructive.
RISKS: tuple[Risk, ...] = ("reads", "unknown", "writes", "may", "destroys")


@dataclass(frozen=True, slots=True)
class Effects:
    """The effects that a tool declares; None means not declared, or that it is not `known`.

    `idempotency_argument` is the one that takes the key of each call, as servers.toml says.
    """

    known: bool
    read_only: bool | None = None
    destructive: bool | None = None
    idempotent: bool | None = None
    open_world: bool | None = None
    idempotency_argument: str | None = None

    @property
    def risk(self) -> Risk:
        """What it may do at worst, by the defaults of MCP."""
        if not self.known:
            return "unknown"
        if self.read_only:
            return "reads"
        if self.destructive is None:
            return "may"
        return "destroys" if self.destructive else "writes"

    @property
    def word(self) -> str:
        """In a word or two, as the table of a plan shows it."""
        word = {"destroys": "destructive", "may": "destructive?"}.get(self.risk, self.risk)
        if self.known and self.read_only is None and not self.destructive:
            word = "undeclared" if self.destructive is None else "writes?"
        return f"{word}, open" if self.open_world else word


def effects_of(tool: Tool | None) -> Effects:
    """The effects of a tool; None is a tool that is not known."""
    if tool is None:
        return Effects(known=False)
    key = tool.key_argument or None
    if tool.read_only:  # MCP gives the other two a meaning only for tools that are not read-only
        return Effects(True, True, False, True, tool.open_world, key)
    declared = tool.read_only, tool.destructive, tool.idempotent, tool.open_world
    return Effects(True, *declared, key)
