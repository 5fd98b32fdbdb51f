"""The tools of all servers, always as the servers listed them last."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orchestrator.documents.text import quoted
from orchestrator.documents.uris import fits_all, fits_any
from orchestrator.engine.events import ServerToolsChanged
from orchestrator.schema.requests import prompt_tools
from orchestrator.schema.tool import SAMPLE_KEY, Tool
from orchestrator.schema.tool_diff import ToolDifference
from orchestrator.servers.config import Server
from orchestrator.servers.lockfile import Lockfile

if TYPE_CHECKING:
    from orchestrator.servers.uri_templates import KnownResources  # it loads the SDK

logger = logging.getLogger("orchestrator")


class Catalog:
    """The tools by `server:tool`, without those that the configuration does not allow.

    Attributes:
        version: How often the list of a server was replaced.
        resources: What is known of the resources of servers; see `uri_templates`.
        versions: What the servers say of their own versions.
    """

    def __init__(self, servers: Mapping[str, Server], lock: Lockfile | None = None) -> None:
        self.version, self.versions = 0, dict[str, str]()
        self._servers = servers
        self._lock = lock  # None accepts every tool
        self._strange: dict[str, dict[str, Tool]] = {}
        self._listed: dict[str, dict[str, Tool]] = {}
        self._allowed: dict[str, dict[str, Tool]] = {}
        self._by_target: dict[str, Tool] = {}
        self._prompts: dict[str, dict[str, Tool]] = {}
        self.resources: dict[str, KnownResources] = {}
        self._others: dict[str, tuple[Tool, ...]] = {}
        self._doubled: set[str] = set()  # tools of which a server listed two, as the log says

    def replace(
        self, server: str, tools: Iterable[Tool], others: Iterable[Tool] = ()
    ) -> ServerToolsChanged | None:
        """Replace the list of a server's tools; returns how it differs from an earlier list.

        `others` are the tools that its other sessions listed: all have to be as locked.
        """
        is_first, before = server not in self._listed, self._allowed.get(server, {})
        tools = tuple(tools)
        self.version += 1
        settings, lock = self._servers[server], self._lock
        listed = {tool.name: configured(settings, tool) for tool in tools}
        if len(listed) < len(tools):
            self._report_doubled(tools)
        same = {name: tool for name, tool in before.items() if listed.get(name) == tool}
        listed |= same  # the old objects keep their validators
        others = tuple(
            tool for tool in others if listed.get(tool.name) != configured(settings, tool)
        )
        self._others[server] = others
        after = {name: tool for name, tool in listed.items() if is_allowed(settings, name)}
        self._listed[server], self._allowed[server] = listed, after
        if lock is not None:
            strange = (tool for tool in (*listed.values(), *others) if not lock.accepts(tool))
            self._strange[server] = {tool.name: tool for tool in strange}
        for tool in before.values():
            del self._by_target[tool.target]
        self._by_target.update({tool.target: tool for tool in after.values()})
        added, removed = sorted(after.keys() - before.keys()), sorted(before.keys() - after.keys())
        changed = sorted(name for name in before.keys() & after.keys() if name not in same)
        if is_first or not (added or removed or changed):
            return None
        return ServerToolsChanged(0.0, server, tuple(added), tuple(removed), tuple(changed))

    def others(self, server: str) -> tuple[Tool, ...]:
        """The tools that other sessions of a server listed, where they are not as in its list."""
        return self._others.get(server, ())

    def take_prompts(self, server: str, prompts: Iterable[Any]) -> None:
        """Take the prompts that a server has listed."""
        for target in self._prompts.get(server, {}):
            self._by_target.pop(target, None)
        settings = self._servers[server]
        self._prompts[server] = {
            f"prompt {server}:{name}": tool
            for name, tool in prompt_tools(server, prompts).items()
            if is_allowed(settings, name)
        }
        self._by_target.update(self._prompts[server])

    def prompts(self, server: str) -> dict[str, Tool] | None:
        """The allowed prompts of a server, by `prompt server:name`; None if they are not known."""
        return self._prompts.get(server)

    def _report_doubled(self, tools: Iterable[Tool]) -> None:
        for target, count in Counter(tool.target for tool in tools).items():
            if count > 1 and target not in self._doubled:  # else each new list would repeat it
                self._doubled.add(target)
                what = "its server lists %d tools named %s; only the last one is used"
                logger.warning(what, count, quoted(target))

    def lets_call(self, server: str, tool: str) -> bool:
        """Whether the list of a server, `allow`, `deny` and the lock let a tool be called now."""
        listed, strange = self._allowed.get(server, ()), self._strange.get(server, ())
        return tool in listed and tool not in strange

    def is_strange(self, server: str, tool: str) -> bool:
        """Whether a tool differs from the lock file, and must not be called."""
        return tool in self._strange.get(server, {})

    def difference(self, server: str, tool: str) -> ToolDifference | None:
        """The difference between a tool and the lock file, or None."""
        strange = self._strange.get(server, {}).get(tool)
        if self._lock is None or strange is None:
            return None
        return self._lock.difference(strange, self._servers[server].redact)

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

    # Not that of Mapping: each call asks, and this is faster than a caught KeyError.
    def get(self, target: str, default: Any = None) -> Any:
        tool = self._by_target.get(target)
        return default if tool is None or tool.server not in self._servers else tool

    def __iter__(self) -> Iterator[str]:
        for server in self._servers:
            yield from (tool.target for tool in self._catalog.tools(server).values())

    def __len__(self) -> int:
        return sum(1 for _ in self)


def configured(server: Server, tool: Tool) -> Tool:
    """A tool with what its server's configuration says of its arguments, as far as it fits."""
    argument = server.settings_of(tool.name)[1].idempotency_argument if server.tools else None
    if argument is None or why_no_key(tool, argument):
        return tool
    return replace(tool, key_argument=argument)


def why_no_key(tool: Tool, argument: str) -> str:
    """Why an argument of a tool cannot take an idempotency key; empty if it can."""
    if argument not in tool.declared:
        return f"has no argument {quoted(argument)}"
    given = {argument: SAMPLE_KEY}
    found = [each for each in tool.accepts.violations(given) if each.path[:1] == (argument,)]
    return f"does not accept one as {quoted(argument)}: {found[0].message}" if found else ""


def is_allowed(server: Server, tool: str) -> bool:
    """Whether `allow` and `deny` of a server let a tool be called or a URI read; `deny` wins."""
    allowed = server.allow is None or fits_all(tool, server.allow)
    return allowed and not fits_any(tool, server.deny)
