"""Makes tables for servers.toml of the files in which other programs keep their servers."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.documents.files import read_text
from orchestrator.documents.jsonc import without_comments
from orchestrator.documents.parse import DocumentError, parse_json
from orchestrator.documents.text import visible
from orchestrator.errors import WorkflowError
from orchestrator.servers.config import Settings
from orchestrator.servers.config_checks import conflicts, fits, problems_of_model, whole_line
from orchestrator.servers.desktop_config import foreign_table, own_fields, switched_off, variables

# Where the programs keep them, below the home directory and below that of a project.
_OF_SETTINGS = ("Claude/claude_desktop_config.json", "Code/User/mcp.json")
_OF_HOME = (
    ".claude.json",
    ".cursor/mcp.json",
    ".codeium/windsurf/mcp_config.json",
    ".gemini/settings.json",
    ".lmstudio/mcp.json",
)
_OF_PROJECT = (".mcp.json", ".cursor/mcp.json", ".vscode/mcp.json")
_FIELDS = ("command", "args", "cwd", "url", "transport", "env", "headers")
_VARIABLE = re.compile(r"\$\{([^}]*)\}?")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?::-.*)?", re.DOTALL)
_EMPTY_DEFAULT = re.compile(r"\$\{(\w+):-\}")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(slots=True)
class Adopted:
    """The servers of other programs' files.

    Attributes:
        tables: The fields of each server, by its name in servers.toml.
        sources: The files, each with the names of the servers that came from it.
        left_out: Sentences about what could not be taken over.
    """

    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    sources: dict[Path, list[str]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def add(self, path: Path) -> None:
        """Take over the servers in a file; one that has the name of another gets a number."""
        try:
            data = parse_json(without_comments(read_text(path)))
        except (WorkflowError, DocumentError, RecursionError) as error:
            self.left_out.append(f"{path}: {error}")
            return
        _, table = foreign_table(path, data) or ("", {})
        for given_name, given in table.items():
            if (why := self._add(path, str(given_name), given)) is not None:
                self.left_out.append(f"{path}: {given_name}: {why}")

    def _add(self, path: Path, given_name: str, given: Any) -> str | None:
        """Take over a server; gives why that is not possible."""
        if (switch := switched_off(given)) is not None:
            return f"it has {switch}"
        if not isinstance(given, Mapping):
            return "it is not an object"
        own = own_fields(given, fits)
        if words := whole_line(own, path.parent):
            own |= {"command": words[0], "args": [*words[1:], *own.get("args", [])]}
        fields = {name: own[name] for name in _FIELDS if own.get(name) not in (None, [], {})}
        try:
            fields = _rewritten(fields, variables(path))
        except ValueError as error:
            return str(error)
        for problem in problems_of_model(Settings, fields):
            return problem.message
        for message, _, _ in conflicts(fields):
            return message
        if fields in self.tables.values():  # several programs have it
            return None
        name = base = re.sub(r"[:\s]+", "-", given_name.strip()) or "server"
        number = 1
        while name in self.tables:
            number += 1
            name = f"{base}-{number}"
        self.tables[name] = fields
        self.sources.setdefault(path, []).append(name)
        return None


def desktop_files(home: Path, project: Path) -> Iterator[Path]:
    """The files of other programs that exist."""
    if sys.platform == "darwin":
        settings = home / "Library" / "Application Support"
    elif sys.platform == "win32":
        settings = home / "AppData" / "Roaming"
    else:
        settings = home / ".config"
    places = [settings / name for name in _OF_SETTINGS]
    places += [home / name for name in _OF_HOME]
    places += [project / name for name in _OF_PROJECT]
    return (path for path in dict.fromkeys(places) if path.is_file())


def adopted(paths: Iterable[Path]) -> Adopted:
    """The servers in these files."""
    made = Adopted()
    for path in paths:
        made.add(path)
    return made


def _rewritten(value: Any, known: Mapping[str, str]) -> Any:
    """A value with variables as servers.toml has them; a ValueError for one that it has not."""

    def variable(match: re.Match[str]) -> str:
        name = match[1]
        if name in known:
            return known[name]
        if name.startswith(("env:", "input:")):
            name = re.sub(r"\W", "_", name.partition(":")[2])
        if not _PLAIN.fullmatch(name):
            raise ValueError(f"{match[0]} has no form in servers.toml")
        # Without a default, a variable that is not set would be an error for all servers.
        return f"${{{name}}}" if ":-" in name else f"${{{name}:-}}"

    match value:
        case str():
            return _VARIABLE.sub(variable, value)
        case list():
            return [_rewritten(item, known) for item in value]
        case dict():
            return {name: _rewritten(item, known) for name, item in value.items()}
    return value


def toml_of(name: str, fields: Mapping[str, Any], comment: str) -> str:
    """A server as a table of servers.toml, below a comment."""
    lines = [f"{field} = {_toml(value)}" for field, value in fields.items()]
    made = "\n".join([f"[servers.{_key(name)}]", *lines, ""])
    needed = ", ".join(dict.fromkeys(_EMPTY_DEFAULT.findall(made)))
    comment = f"{comment}; needs the variables {needed}" if needed else comment
    return f"# {visible(comment)}\n{made}"


def _toml(value: Any) -> str:
    match value:
        case dict():
            members = ", ".join(f"{_key(name)} = {_toml(item)}" for name, item in value.items())
            return f"{{ {members} }}"
        case list():
            return f"[{', '.join(map(_toml, value))}]"
    # A string of JSON is one of TOML, but for one character that JSON leaves as it is.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _toml(name)
