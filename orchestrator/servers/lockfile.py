"""servers.lock: the definitions of all tools, as they were when somebody accepted them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError

from orchestrator.documents.encode import to_json
from orchestrator.documents.files import read_text, write_text
from orchestrator.documents.parse import DocumentError, parse_json
from orchestrator.documents.pointer import pointer
from orchestrator.documents.text import counted, visible
from orchestrator.documents.validation import problems_of
from orchestrator.errors import Problem, WorkflowError
from orchestrator.schema.notation import tool_text
from orchestrator.schema.tool import Tool, definition_of, hash_of, tool_of
from orchestrator.schema.tool_diff import (
    FieldChange,
    ToolDifference,
    as_listed,
    changes_between,
)
from orchestrator.servers.definition_form import DEFINITION_FIELDS, Form, ToolForm

VERSION = 1
DEFAULT_SERVERS = "servers.toml"
NEWER = "upgrade: a newer mcp-orchestrator wrote this file"
Definition = dict[str, Any]
Redact = Callable[[Any], Any]


# The form of the file. Only its problems are used: data keeps the parts that a tool leaves out.
class _Tool(ToolForm):
    hash: str = Field(pattern="^sha256:[0-9a-f]{64}$")


class _Server(Form):
    started_with: str = ""
    version: str = ""
    tools: dict[str, _Tool]


class _Document(Form):
    version: Literal[1]
    servers: dict[str, _Server]


_FIELDS = {
    "": tuple(_Document.model_fields),
    "servers": ("startedWith", "version", "tools"),
    **DEFINITION_FIELDS,
    "tools": (*DEFINITION_FIELDS["tools"], "hash"),
}


@dataclass(frozen=True)
class Lockfile:
    """The definitions of tools that were accepted, by server and by name of the tool.

    A definition is everything the server listed, under the names of MCP and without the hash.
    """

    definitions: Mapping[str, Mapping[str, Definition]]
    started_with: Mapping[str, str] = field(default_factory=dict)  # command or URL, by server
    versions: Mapping[str, str] = field(default_factory=dict)  # as the servers say them
    source: str = field(default="servers.lock", compare=False)  # the file, as messages name it
    servers_file: str = field(default="", compare=False)  # that it belongs to, if known
    # What the servers do not list any more, for messages.
    gone: Mapping[str, Mapping[str, Definition]] = field(default_factory=dict, compare=False)

    def __repr__(self) -> str:
        return f"Lockfile({self.counted()})"

    def __contains__(self, server: object) -> bool:
        return server in self.definitions

    def counted(self) -> str:
        """How many servers and tools it has: `2 servers, 7 tools`."""
        servers, tools = len(self.definitions), sum(map(len, self.definitions.values()))
        return f"{counted(servers, 'server')}, {counted(tools, 'tool')}"

    @classmethod
    def made_of(
        cls,
        tools: Iterable[Tool],
        servers: Iterable[str] = (),
        started_with: Mapping[str, str] | None = None,
        versions: Mapping[str, str] | None = None,
    ) -> Self:
        """The lock file of these tools, and of servers that may have none.

        `started_with` is the `description` of each server; one that is missing may be any.
        `versions` are those of the servers that say theirs.
        """
        definitions: dict[str, dict[str, Definition]] = {server: {} for server in servers}
        for tool in tools:  # of two with the same name the last counts
            definitions.setdefault(tool.server, {})[tool.name] = definition_of(tool)
        started_with = {name: text for name, text in (started_with or {}).items() if text}
        return cls(definitions, started_with, dict(versions or {}))

    @classmethod
    def load(cls, path: str | Path, servers_file: str = "") -> Self:
        """Read a lock file.

        Raises:
            WorkflowError: It cannot be read, or differs from what was written; with every problem.
        """
        path, hint = Path(path), f"rewrite it: {lock_command(servers_file, '--update')}"
        try:
            data = parse_json(read_text(path, hint=hint))
            problems = _problems(data)
        except DocumentError as failure:
            problems = [Problem("malformed_lock", str(failure))]
        if problems:
            problems = [replace(each, hint=each.hint or hint) for each in problems]
            raise WorkflowError(str(path), problems)
        definitions = {
            server: {name: _without_hash(tool) for name, tool in entry["tools"].items()}
            for server, entry in data["servers"].items()
        }
        started_with, versions = (
            {name: entry[part] for name, entry in data["servers"].items() if entry.get(part)}
            for part in ("startedWith", "version")
        )
        return cls(definitions, started_with, versions, str(path), servers_file)

    @classmethod
    def beside(cls, servers: str | Path) -> Self | None:
        """The lock file beside a servers' file, as `load` reads it; None if there is none."""
        path = lock_path(servers)
        return cls.load(path, str(servers)) if path.exists() else None

    def moved_from(self, server: str, started_with: str) -> str:
        """What a server was started with when it was accepted; empty if that is still the same.

        A name proves nothing: another program under it can list the same tools.
        """
        before = self.started_with.get(server, "")
        return before if started_with and before != started_with else ""

    def check_command(self, server: str) -> str:
        """The command that shows every difference in the tools of a server."""
        return lock_command(self.servers_file, "--check", server)

    def update_command(self, server: str) -> str:
        """The command that accepts what a server lists now."""
        return lock_command(self.servers_file, "--update", server)

    @cached_property
    def tools(self) -> Mapping[str, Tool]:
        """All tools, by `server:tool`."""
        tools = (tool for server in self.definitions for tool in self.of(server).values())
        return {tool.target: tool for tool in tools}

    def of(self, server: str) -> dict[str, Tool]:
        """The tools of a server by name; none, if it is not locked."""
        definitions = self.definitions.get(server, {})
        return {name: tool_of(server, name, given) for name, given in definitions.items()}

    @cached_property
    def _hashes(self) -> Mapping[tuple[str, str], str]:
        return {
            (server, name): hash_of(name, definition)
            for server, tools in self.definitions.items()
            for name, definition in tools.items()
        }

    def accepts(self, tool: Tool) -> bool:
        """Whether a tool is as it was locked."""
        known = self._hashes.get((tool.server, tool.name))
        return known is not None and known == tool.digest

    def difference(self, tool: Tool, redact: Redact = lambda value: value) -> ToolDifference | None:
        """The difference between a tool and its definition here, without secrets, or None."""
        before = self.definitions.get(tool.server, {}).get(tool.name)
        after = as_listed(redact(definition_of(tool)))
        if before is None:
            added = tool_of(tool.server, tool.name, after)
            text = FieldChange("description", None, added.description, "added")
            changes = (text,) if added.description else ()
            return ToolDifference(tool.target, "added", changes, tool_text(added))
        if self.accepts(tool):
            return None
        return ToolDifference(
            tool.target, "changed", tuple(changes_between(as_listed(redact(before)), after))
        )

    def differences(
        self, server: str, tools: Iterable[Tool], redact: Redact = lambda value: value
    ) -> list[ToolDifference]:
        """Every difference between all the tools that a server lists and those here."""
        listed = {tool.name: tool for tool in tools}
        found = (self.difference(tool, redact) for tool in listed.values())
        gone = [name for name in self.definitions.get(server, {}) if name not in listed]
        removed = (ToolDifference(f"{server}:{name}", "removed") for name in gone)
        return [*filter(None, found), *removed]

    def to_json(self) -> str:
        """The text of the file: servers and tools sorted by name, invisible characters escaped."""
        servers: dict[str, Any] = {}
        for server, tools in sorted(self.definitions.items()):
            about = {"startedWith": self.started_with, "version": self.versions}
            known = {part: of[server] for part, of in about.items() if of.get(server)}
            entries = servers[server] = {**known, "tools": {}}
            for name, definition in sorted(tools.items()):
                # Schemas keep the order of their server, which is that of the arguments.
                parts = {part: definition[part] for part in _FIELDS["tools"] if part in definition}
                entries["tools"][name] = parts | {"hash": self._hashes[server, name]}
        document = {"version": VERSION, "servers": servers}
        return visible(to_json(document, indent=2), keep="\n") + "\n"

    def save(self, path: str | Path) -> None:
        """Write the file, as a whole or not at all.

        Raises:
            OSError: It cannot be written.
        """
        write_text(Path(path), self.to_json())


def lock_path(servers: str | Path) -> Path:
    """The lock file of a servers' file: beside it, `servers.lock` for `servers.toml`."""
    path = Path(servers)
    return path.with_name(f"{path.name if path.suffix == '.lock' else path.stem}.lock")


def lock_command(servers_file: str = "", *words: str) -> str:
    """The command `orchestrator lock` for a servers' file, with these options and names."""
    named = ["--servers", servers_file] if servers_file not in ("", DEFAULT_SERVERS) else []
    return shlex.join(["orchestrator", "lock", *words, *named])


def _problems(data: Any) -> list[Problem]:
    """What is wrong with the data of a lock file: its form, or else its hashes."""
    version = data.get("version") if isinstance(data, dict) else None
    if isinstance(version, int) and version > VERSION:
        message = f"expected version {VERSION}, got {version}"
        return [Problem("malformed_lock", message, "/version", hint=NEWER)]
    found: list[Problem] = []
    try:
        _Document.model_validate(data)
    except ValidationError as error:
        found = problems_of(error, data, _FIELDS)
        return [replace(problem, code="malformed_lock", hint="") for problem in found]
    for server, entry in data["servers"].items():
        for name, tool in entry["tools"].items():
            if hash_of(name, _without_hash(tool)) != tool["hash"]:
                at = pointer("servers", server, "tools", name, "hash")
                what = f"the hash of {visible(f'{server}:{name}')} does not match its definition"
                found.append(
                    Problem("malformed_lock", f"{what}: the file was edited or merged", at)
                )
    return found


def _without_hash(tool: Definition) -> Definition:
    return {part: value for part, value in tool.items() if part != "hash"}
