"""servers.lock: the definitions of all tools, as somebody has looked at them and accepted them.

The rule of this file: what is in the file was true once and is read as strictly as it was written;
nobody is asked here.
"""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.documents.encode import to_json
from orchestrator.documents.parse import DocumentError, parse_json
from orchestrator.documents.pointer import pointer
from orchestrator.documents.text import counted, visible
from orchestrator.documents.validation import problems_of
from orchestrator.errors import Code, Problem, WorkflowError
from orchestrator.schema.notation import tool_text
from orchestrator.schema.tool import HINTS, Tool, definition_of, hash_of, tool_of
from orchestrator.schema.tool_diff import FieldChange, changes_between, in_short

VERSION = 1
MAX_CHANGES = 50
DEFAULT_SERVERS = "servers.toml"
MEND = "write it anew: orchestrator lock --update"
NEWER = "upgrade: a newer mcp-orchestrator wrote it"
HIDDEN = "only what is not to be shown is different"
_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)
Definition = dict[str, Any]
Redact = Callable[[Any], Any]


# The form of the file. What is read is the data itself, in which what is left out is not there.
class _Annotations(BaseModel):
    model_config = _STRICT

    title: str = ""
    read_only: bool = Field(False, alias="readOnlyHint")
    destructive: bool = Field(False, alias="destructiveHint")
    idempotent: bool = Field(False, alias="idempotentHint")
    open_world: bool = Field(False, alias="openWorldHint")


class _Tool(BaseModel):
    model_config = _STRICT

    title: str = ""
    description: str = ""
    input_schema: dict[str, Any] = Field(alias="inputSchema")
    output_schema: dict[str, Any] = Field(default_factory=dict, alias="outputSchema")
    annotations: _Annotations = _Annotations()
    hash: str = Field(pattern="^sha256:[0-9a-f]{64}$")


class _Server(BaseModel):
    model_config = _STRICT

    tools: dict[str, _Tool]


class _Document(BaseModel):
    model_config = _STRICT

    version: Literal[1]
    servers: dict[str, _Server]


_FIELDS = {
    "": tuple(_Document.model_fields),
    "servers": tuple(_Server.model_fields),
    "tools": ("title", "description", "inputSchema", "outputSchema", "annotations", "hash"),
    "annotations": ("title", *HINTS),
}


def _as_it_is(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class ToolDifference:
    """What is different between a tool and its definition in the lock file.

    Attributes:
        target: `server:tool`.
        kind: `changed`, `added` if only the server has it, `removed` if only the lock file has.
        changes: The places that are different, of a tool that has changed; of one that was added
            its description.
        signature: The types of a tool that was added.
    """

    target: str
    kind: Literal["changed", "added", "removed"]
    changes: tuple[FieldChange, ...] = ()
    signature: str = ""

    def __str__(self) -> str:
        match self.kind:
            case "added":
                return "it is not there"
            case "removed":
                return "it is there alone"
        return in_short(self.changes) or HIDDEN

    def lines(self) -> list[str]:
        """The difference on several lines, for people."""
        shown = [line for change in self.changes[:MAX_CHANGES] for line in change.lines()]
        more = len(self.changes) - MAX_CHANGES
        left_out = [f"  and {more:,} more places"] if more > 0 else []
        if self.kind == "changed" and not shown:
            shown = [f"  {HIDDEN}"]
        signature = [f"  {visible(self.signature)}"] if self.signature else []
        return [f"{visible(self.target)}: {self.kind}", *signature, *shown, *left_out]


@dataclass(frozen=True)
class Lockfile:
    """The definitions of tools that were accepted, by server.

    Attributes:
        definitions: By server and by name of the tool, all that the server listed; in the names of
            MCP, without their hashes.
        source: The file, as messages name it.
        servers_file: The file of the servers that it is beside of, if it is known.
    """

    definitions: Mapping[str, Mapping[str, Definition]]
    source: str = field(default="servers.lock", compare=False)
    servers_file: str = field(default="", compare=False)

    def __repr__(self) -> str:
        return f"Lock({self.counted()})"

    def counted(self) -> str:
        """How many servers and tools are in it, for people."""
        servers, tools = len(self.definitions), sum(map(len, self.definitions.values()))
        return f"{counted(servers, 'server')}, {counted(tools, 'tool')}"

    @classmethod
    def made_of(cls, tools: Iterable[Tool], servers: Iterable[str] = ()) -> Self:
        """The lock of these tools.

        Args:
            tools: The tools; of two of the same name the last counts.
            servers: Servers that are locked even if they have no tool.
        """
        definitions: dict[str, dict[str, Definition]] = {server: {} for server in servers}
        for tool in tools:
            definitions.setdefault(tool.server, {})[tool.name] = definition_of(tool)
        return cls(definitions)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The lock in a file.

        Raises:
            WorkflowError: It cannot be read, or is not as it was written; with every mistake in it.
        """
        path = Path(path)
        data = _read(path)
        _check_version(path, data)
        try:
            _Document.model_validate(data)
            made, problems = _definitions(data)
        except ValidationError as error:
            raise _broken(path, problems_of(error, data, _FIELDS)) from None
        if problems:
            raise _broken(path, problems)
        return cls(made, str(path))

    @classmethod
    def beside(cls, servers: str | Path) -> Self | None:
        """The lock beside a file of servers; None if there is none.

        Raises:
            WorkflowError: There is one that cannot be read, or is not as it was written.
        """
        path = lock_path(servers)
        if not path.exists():
            return None
        try:
            return replace(cls.load(path), servers_file=str(servers))
        except WorkflowError as error:
            hint = f"write it anew: {lock_command(str(servers), '--update')}"
            problems = [
                replace(problem, hint=problem.hint.replace(MEND, hint))
                for problem in error.problems
            ]
            raise WorkflowError(error.source, problems) from None

    def check_command(self, server: str) -> str:
        """The command that shows all that is different in the tools of a server."""
        return lock_command(self.servers_file, "--check", server)

    def update_command(self, server: str) -> str:
        """The command that accepts what a server lists now."""
        return lock_command(self.servers_file, "--update", server)

    def __contains__(self, server: object) -> bool:
        return server in self.definitions

    @cached_property
    def tools(self) -> Mapping[str, Tool]:
        """All tools, by `server:tool`."""
        return {
            tool.target: tool for server in self.definitions for tool in self.of(server).values()
        }

    def of(self, server: str) -> dict[str, Tool]:
        """The tools of a server by name; none, if it is not in the lock."""
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
        """Whether a tool is as it is in the lock."""
        known = self._hashes.get((tool.server, tool.name))
        return known is not None and known == hash_of(tool.name, definition_of(tool))

    def difference(self, tool: Tool, redact: Redact = _as_it_is) -> ToolDifference | None:
        """What is different between a tool and its definition here; None if nothing is.

        Args:
            tool: The tool.
            redact: Gives a JSON value without what is not to be shown.
        """
        before = self.definitions.get(tool.server, {}).get(tool.name)
        if before is None:
            return _added(tool_of(tool.server, tool.name, redact(definition_of(tool))))
        if self.accepts(tool):
            return None
        changes = changes_between(redact(before), redact(definition_of(tool)))
        return ToolDifference(tool.target, "changed", tuple(changes))

    def differences(
        self, server: str, tools: Iterable[Tool], redact: Redact = _as_it_is
    ) -> list[ToolDifference]:
        """What is different between all the tools of a server and those here; none if nothing is.

        Args:
            server: The server.
            tools: All tools that it lists.
            redact: Gives a JSON value without what is not to be shown.
        """
        listed = {tool.name: tool for tool in tools}
        found = (self.difference(tool, redact) for tool in listed.values())
        gone = [name for name in self.definitions.get(server, {}) if name not in listed]
        removed = (ToolDifference(f"{server}:{name}", "removed") for name in gone)
        return [*(difference for difference in found if difference is not None), *removed]

    def to_json(self) -> str:
        """The text of the file: servers and tools by name, and what no eye sees as an escape.

        Schemas are in the order of their servers, which is that of the arguments.
        """
        servers = {
            server: {"tools": {name: self._entry(server, name) for name in sorted(tools)}}
            for server, tools in sorted(self.definitions.items())
        }
        return (
            visible(to_json({"version": VERSION, "servers": servers}, indent=2), keep="\n") + "\n"
        )

    def _entry(self, server: str, name: str) -> Definition:
        definition = self.definitions[server][name]
        parts = {part: definition[part] for part in _FIELDS["tools"] if part in definition}
        return parts | {"hash": self._hashes[server, name]}

    def save(self, path: str | Path) -> None:
        """Write the file, as a whole or not at all.

        Raises:
            OSError: It cannot be written.
        """
        path = Path(path).resolve()
        beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            beside.write_text(self.to_json(), encoding="utf-8", newline="\n")
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


def _added(tool: Tool) -> ToolDifference:
    described = (FieldChange("description", None, tool.description, "added"),)
    return ToolDifference(
        tool.target, "added", described if tool.description else (), tool_text(tool)
    )


def lock_path(servers: str | Path) -> Path:
    """Where the lock of a file of servers is: beside it, `servers.lock` of `servers.toml`."""
    path = Path(servers)
    return path.with_name(f"{path.name if path.suffix == '.lock' else path.stem}.lock")


def lock_command(servers_file: str = "", *words: str) -> str:
    """The command `orchestrator lock` for a file of servers, with these options and names."""
    named = ["--servers", servers_file] if servers_file not in ("", DEFAULT_SERVERS) else []
    return shlex.join(["orchestrator", "lock", *words, *named])


def _read(path: Path) -> Any:
    code: Code = "malformed_lock"
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except OSError as failure:
        code, message = "unreadable_file", f"cannot be read: {failure.strerror or failure}"
    except UnicodeDecodeError as failure:
        message = f"is not UTF-8: byte {failure.start}"
    except DocumentError as failure:
        message = str(failure)
    raise WorkflowError(str(path), [Problem(code, message, hint=MEND)])


def _check_version(path: Path, data: Any) -> None:
    version = data.get("version") if isinstance(data, dict) else None
    if isinstance(version, int) and not isinstance(version, bool) and version > VERSION:
        message = f"is of version {version}, and this orchestrator reads version {VERSION}"
        raise WorkflowError(str(path), [Problem("malformed_lock", message, "/version", hint=NEWER)])


def _definitions(data: Any) -> tuple[dict[str, dict[str, Definition]], list[Problem]]:
    """The definitions in a document of the right form, and those that do not fit their hashes."""
    made: dict[str, dict[str, Definition]] = {}
    problems: list[Problem] = []
    for server, entry in data["servers"].items():
        made[server] = {}
        for name, given in entry["tools"].items():
            definition = {part: value for part, value in given.items() if part != "hash"}
            made[server][name] = definition
            if hash_of(name, definition) != given["hash"]:
                problems.append(_edited(server, name))
    return made, problems


def _edited(server: str, name: str) -> Problem:
    message = (
        f"the hash of {visible(f'{server}:{name}')} does not fit its definition: the file was "
        "edited, or merged, by hand"
    )
    at = pointer("servers", server, "tools", name, "hash")
    return Problem("malformed_lock", message, at)


def _broken(path: Path, problems: Iterable[Problem]) -> WorkflowError:
    return WorkflowError(
        str(path),
        [replace(found, code="malformed_lock", hint=MEND) for found in problems],
    )
