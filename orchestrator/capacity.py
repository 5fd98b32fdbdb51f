"""How many calls go on at a time, by the limits of the run and of its servers.

The rule of this file: arithmetic on limits, for an expected time; the limits themselves are kept in
`limits`.
"""

from __future__ import annotations

import fnmatch
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from orchestrator.calls import Tool
from orchestrator.planning import TaskPlan

if TYPE_CHECKING:
    from orchestrator.config import Server

Work = tuple[TaskPlan, Tool | None, int, float]
"""A task, its tool, how many calls it makes, and what each takes, seconds."""


class Capacity:
    """What the limits let happen at the same time.

    Args:
        max_concurrency: The calls of the run in flight; 0 = no limit.
        servers: The settings of the servers that are known, by name.
    """

    def __init__(self, max_concurrency: int, servers: Mapping[str, Server]) -> None:
        self._slots = max_concurrency
        self._servers = servers

    def width(self, task: TaskPlan, tool: Tool | None) -> int | None:
        """How many calls of one task go on at a time; None = no limit."""
        policies = task.policies
        own = [policies.max_parallel, self._slots or None]
        if any(not lock.shared and not lock.of_item for lock in policies.locks):
            own.append(1)
        limits = [limit for _, limit in self._of_server(task, tool)]
        return min((limit for limit in (*own, *limits) if limit is not None), default=None)

    def least_s(self, work: Iterable[Work]) -> float:
        """What all calls take at least under the limits that they share, seconds."""
        seconds: dict[tuple[str, int], float] = defaultdict(float)
        starts: dict[str, int] = defaultdict(int)
        for task, tool, number, call_s in work:
            starts[task.server] += number
            for shared, limit in self._of_server(task, tool):
                seconds[shared, limit] += number * call_s
            if self._slots:
                seconds["", self._slots] += number * call_s
        busy = (total / limit for (_, limit), total in seconds.items())
        rated = (self._rated_s(server, number) for server, number in starts.items())
        return max((*busy, *rated), default=0.0)

    def _of_server(self, task: TaskPlan, tool: Tool | None) -> Iterable[tuple[str, int]]:
        """The limits of its server that the calls of a task share with others, by a name."""
        settings = self._servers.get(task.server)
        if settings is None:
            return
        if isinstance(settings.max_concurrency, int):
            yield task.server, settings.max_concurrency
        if settings.writes == "serial" and tool is not None and tool.read_only is False:
            yield f"{task.server} writes", 1
        for pattern, limited in settings.tools.items():
            if fnmatch.fnmatchcase(task.tool, pattern):
                yield f"{task.server}:{pattern}", limited.max_concurrency
                return

    def _rated_s(self, server: str, number: int) -> float:
        """How long a server's rate spreads the starts of so many calls, seconds."""
        settings = self._servers.get(server)
        if settings is None or settings.starts is None or not number:
            return 0.0
        count, seconds = settings.starts
        return (math.ceil(number / count) - 1) * seconds
