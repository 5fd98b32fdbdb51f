"""The tools of all servers, always as the servers listed them last."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.schema.tool import Tool
from orchestrator.schema.tool_diff import ToolDifference
from orchestrator.servers.config import Server
from orchestrator.servers.lockfile import Lockfile


@dataclass(frozen=True, slots=True)
class ToolListChange:
    """The differences in a new list of a server's tools: sorted names."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


class Catalog:
    """The tools by `server:tool`, without those that the configuration does not allow.

    Args:
        servers: The servers by name.
        lock: The accepted definitions; None accepts every tool.
    """

    def __init__(self, servers: Mapping[str, Server], lock: Lockfile | None = None) -> None:
        self._servers = servers
        self._lock = lock
        self._strange: dict[str, dict[str, Tool]] = {}
        self._listed: dict[str, dict[str, Tool]] = {}
        self._allowed: dict[str, dict[str, Tool]] = {}
        self._by_target: dict[str, Tool] = {}

    def replace(
        self, server: str, tools: Iterable[Tool], others: Iterable[Tool] = ()
    ) -> ToolListChange:
        """Replace the list of a server's tools.

        Args:
            server: The server.
            tools: Its tools.
            others: The tools that its other sessions listed, to be compared with the lock as well.
        """
        settings, before = self._servers[server], self._allowed.get(server, {})
        listed = {tool.name: tool for tool in tools}
        same = {name: tool for name, tool in before.items() if listed.get(name) == tool}
        self._listed[server] = listed | same  # the old objects keep their validators
        after = self._allowed[server] = {
            name: tool for name, tool in self._listed[server].items() if is_allowed(settings, name)
        }
        if self._lock is not None:
            all_listed = (*self._listed[server].values(), *others)
            strange = {tool.name: tool for tool in all_listed if not self._lock.accepts(tool)}
            self._strange[server] = strange
        for tool in before.values():
            del self._by_target[tool.target]
        self._by_target.update({tool.target: tool for tool in after.values()})
        kept = before.keys() & after.keys()
        return ToolListChange(
            tuple(sorted(after.keys() - before.keys())),
            tuple(sorted(before.keys() - after.keys())),
            tuple(sorted(name for name in kept if before[name] != after[name])),
        )

    def is_strange(self, server: str, tool: str) -> bool:
        """Whether a tool differs from the lock file, and must not be called."""
        return tool in self._strange.get(server, {})

    def difference(self, server: str, tool: str) -> ToolDifference | None:
        """The difference between a tool and the lock file, or None."""
        strange = self._strange.get(server, {}).get(tool)
        if self._lock is None or strange is None:
            return None
        return self._lock.difference(strange, self._servers[server].redact)

    def knows(self, server: str) -> bool:
        """Whether a server has listed its tools, now or earlier."""
        return server in self._listed

    def tools(self, server: str) -> dict[str, Tool]:
        """The allowed tools of a server, by name."""
        return dict(self._allowed.get(server, {}))

    def listed(self, server: str) -> dict[str, Tool]:
        """All tools of a server, by name, allowed or not."""
        return dict(self._listed.get(server, {}))

    def of(self, servers: Iterable[str]) -> Mapping[str, Tool]:
        """A live view of the tools of these servers."""
        return _View(self, tuple(servers))


class _View(Mapping[str, Tool]):
    def __init__(self, catalog: Catalog, servers: tuple[str, ...]) -> None:
        self._catalog = catalog
        self._by_target = catalog._by_target
        self._servers = dict.fromkeys(servers)

    def __getitem__(self, target: str) -> Tool:
        tool = self._by_target[target]
        if tool.server not in self._servers:
            raise KeyError(target)
        return tool

    def get(self, target: str, default: Any = None) -> Any:
        """As of any mapping. Each call asks, and this is faster than a caught KeyError."""
        tool = self._by_target.get(target)
        return default if tool is None or tool.server not in self._servers else tool

    def __iter__(self) -> Iterator[str]:
        for server in self._servers:
            for tool in self._catalog.tools(server).values():
                yield tool.target

    def __len__(self) -> int:
        return sum(len(self._catalog.tools(server)) for server in self._servers)


def is_allowed(server: Server, tool: str) -> bool:
    """Whether `allow` and `deny` of a server let a tool be called; `deny` wins."""
    allowed = server.allow is None or any(fnmatch.fnmatchcase(tool, p) for p in server.allow)
    return allowed and not any(fnmatch.fnmatchcase(tool, pattern) for pattern in server.deny)
