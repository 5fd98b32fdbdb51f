"""What is known of tasks that were checked before others came."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from orchestrator.check.strangers import Site, Trail
from orchestrator.schema.types import StaticType


@dataclass(slots=True)
class Earlier:
    """What a check has found out about tasks, for those that come later.

    Attributes:
        outputs: The type of the output of each task.
        items: Of each `for_each`, that of an item, as expressions read it.
        with_nulls: Of each `for_each`, that of the output if items have failed.
        skippable: The tasks that may be skipped although nothing failed.
        has_output: Those that have an output whatever happens.
        trails: How the words of strangers come to the output and to the error of each task.
        reached: The calls that they reach, unless a person approves them.
    """

    outputs: dict[str, StaticType] = field(default_factory=dict)
    items: dict[str, StaticType] = field(default_factory=dict)
    with_nulls: dict[str, StaticType] = field(default_factory=dict)
    skippable: set[str] = field(default_factory=set)
    has_output: set[str] = field(default_factory=set)
    trails: dict[str, tuple[Trail | None, Trail | None]] = field(default_factory=dict)
    reached: set[Site] = field(default_factory=set)

    def copy(self) -> Self:
        """The same, to be added to apart from this."""
        types = dict(self.outputs), dict(self.items), dict(self.with_nulls)
        return type(self)(*types, set(self.skippable), set(self.has_output))

    def forget(self, task: str) -> None:
        """Forget a task: it was refused."""
        for types in (self.outputs, self.items, self.with_nulls, self.trails):
            types.pop(task, None)
        for names in (self.skippable, self.has_output):
            names.discard(task)
        self.reached -= {site for site in self.reached if site.task.partition("/")[0] == task}
