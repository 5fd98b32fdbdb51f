"""Reads servers.toml, and the files of other programs in its place.

Only this module reads environment variables. No message shows a value that came from one. A few
lines longer than other files: one class knows which values came from where.
"""

from __future__ import annotations

import fnmatch
import logging
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from orchestrator.documents.files import read_text
from orchestrator.documents.jsonc import is_json, without_comments
from orchestrator.documents.parse import DocumentError, malformed, parse_json
from orchestrator.documents.pointer import pointer
from orchestrator.documents.suggest import nearest
from orchestrator.documents.text import quoted
from orchestrator.documents.validation import Location
from orchestrator.errors import Code, ConfigError, Problem
from orchestrator.servers import desktop_config
from orchestrator.servers.config import (
    FIELDS,
    Defaults,
    JournalTable,
    Server,
    ServerTable,
    Settings,
    TrustedTask,
)
from orchestrator.servers.config_checks import (
    BACKSLASH_HINT,
    conflicts,
    fits,
    line_conflict,
    problems_of_model,
    scope_conflict,
    whole_line,
)
from orchestrator.servers.config_source import ConfigSource
from orchestrator.servers.env_file import read_env_file, variables_of
from orchestrator.servers.locking import LockTables
from orchestrator.servers.redaction import SECRET_NAME, description, shown_fields
from orchestrator.transport.process import INHERITED
from orchestrator.workflow.budget import Budget
from orchestrator.workflow.source_map import located

logger = logging.getLogger("orchestrator")

_TABLES = ("servers", "defaults", "journal", "budget", "trusted", "resources", "locks", "$schema")
_VARIABLE = re.compile(r"\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|([^}]*)\})?")
_OF_EDITOR = re.compile(r"(env|input):(.+)", re.DOTALL)
_SERVER_NAME = re.compile(r"[^:\s]+")
_GOT_NUMBER = re.compile(r"got (integer|number) .*")
_TOML_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)")
# What people write for TOML, by what tomllib says to it.
_TOML_HINTS = {
    "Unescaped '\\'": BACKSLASH_HINT,
    "Invalid hex value": BACKSLASH_HINT,
    "Invalid value": "text is written in quotes, and truth as true or false",
    "Expected '=' after a key": "a line is a [table] or NAME = VALUE",
    "Cannot declare": "write each table once",
    "Cannot overwrite a value": "write each field once",
}


class _Trusted(BaseModel):
    trusted: list[TrustedTask]


def load_config(
    path: str | Path,
    environment: Mapping[str, str] | None = None,
    env_files: Iterable[Path] = (),
) -> ServerTable:
    """The servers by name, from a servers.toml or the JSON file of a desktop client or VS Code.

    `${VAR}` names variables of the environment, by default that of the process, and those of
    `env_files` that it does not have. In a file of another program, a server with mistakes is
    `unusable` and the others can be used.

    Raises:
        ConfigError: The file cannot be read or is wrong, with every problem in it.
    """
    path = Path(path)
    data = _parse(path)
    given = os.environ if environment is None else environment
    reader = _Reader(path, {**variables_of(env_files), **given})
    foreign = desktop_config.foreign_table(path, data)
    servers = reader.own(data) if foreign is None else reader.foreign(*foreign)
    if reader.problems:
        raise ConfigError(str(path), located(reader.problems, path, ConfigSource))
    return servers


def _parse(path: Path) -> Any:
    text = read_text(
        path, ConfigError, "name another file with --servers FILE, or write one: orchestrator init"
    )
    try:
        return parse_json(without_comments(text)) if is_json(path) else tomllib.loads(text)
    except DocumentError as failure:
        problem = malformed(failure)
        if text.lstrip().startswith("[") and not problem.hint:
            problem = replace(problem, hint="TOML needs a file whose name ends in .toml")
    except RecursionError:
        problem = Problem("malformed_document", "is nested too deep")
    except ValueError as failure:  # of TOML, or an integer of more digits than Python takes
        problem = _malformed_toml(str(failure), text)
    raise ConfigError(str(path), [problem])


def _malformed_toml(failure: str, text: str) -> Problem:
    hint = next((hint for said, hint in _TOML_HINTS.items() if said in failure), "")
    if text.lstrip().startswith("{"):
        hint = "it looks like JSON: give the file a name that ends in .json"
    reason = _TOML_PLACE.sub("", failure)
    place = _TOML_PLACE.search(failure)
    line, column = (int(place[1]), int(place[2])) if place and place[1] else _end(text)
    message = f"is not valid TOML: {reason}"
    return Problem("malformed_document", message, hint=hint, line=line, column=column)


def _end(text: str) -> tuple[int, int]:
    lines = text.rstrip().split("\n")
    return len(lines), max(len(lines[-1]), 1)


class _Reader:
    """Makes servers of the data of a file and collects the problems in it."""

    def __init__(self, path: Path, environment: Mapping[str, str]) -> None:
        self.path = path
        self.environment = environment
        self.problems: list[Problem] = []
        self._is_foreign = False
        self._known: Mapping[str, str] = {}  # variables that the file's own program has
        self._values: list[str] = []  # of the variables in what was read last

    def own(self, data: Any) -> ServerTable:
        """The servers of a file that is ours."""
        data = data if isinstance(data, dict) else {}
        defaults = self._defaults(data)
        table = self._table("servers", data.get("servers"))
        made = ServerTable()
        journal = self._checked(JournalTable, data.get("journal", {}), ("journal",))
        budget = self._checked(Budget, data.get("budget", {}), ("budget",))
        trusted = self._checked(_Trusted, {"trusted": data.get("trusted", [])}, ())
        tables = {name: data[name] for name in LockTables.model_fields if name in data}
        locking = self._checked(LockTables, tables, ())
        if not self.problems:
            made.locking = LockTables(**locking)
            made.journal = JournalTable(**journal)
            made.budget = Budget(**budget) if budget else None
            made.trusted = tuple(_Trusted.model_validate(trusted).trusted)
        for name, given in table.items():
            at = ("servers", name)
            fields = self._fields(given, at)
            if not _SERVER_NAME.fullmatch(name):
                message = f'expected a server name without ":" and blanks, got {quoted(name)}'
                self._add("wrong_value", message, at)
            if not self.problems and (conflict := scope_conflict(defaults | fields)):
                self._add("wrong_value", conflict, (*at, "scope"))
            if not self.problems:  # otherwise no server is used
                if fields.get("command") is not None:
                    fields["cwd"] = fields.get("cwd") or "."
                made[name] = self._server(name, given, defaults | fields)
        return made

    def foreign(self, at: str, table: Mapping[str, Any]) -> ServerTable:
        """The servers of a file of another program; one with mistakes is unusable."""
        self._is_foreign = True
        self._known = desktop_config.variables(self.path)
        made, off = ServerTable(), dict[str, str]()
        for name, given in self._table(at, table).items():
            if (switch := desktop_config.switched_off(given)) is not None:
                off[name] = f"{switch} in {quoted(str(self.path), 200)}"
                continue
            own = given
            if isinstance(given, dict):
                own = desktop_config.own_fields(given, fits)
                words, args = whole_line(own, self.path.parent), own.get("args", [])
                if words and isinstance(args, list):
                    own |= {"command": words[0], "args": [*words[1:], *args]}
            fields = self._fields(own, (at, name))
            if isinstance(given, dict) and not self.problems and fields.get("command") is not None:
                fields["env"] = self._env_file(given, (at, name)) | fields.get("env", {})
            if not name.strip() or ":" in name:
                message = f'expected a server name without ":", got {quoted(name)}'
                self._add("wrong_value", message, (at, name))
            if self.problems:
                problem = self.problems[0]
                unusable = f"{problem} (in {quoted(str(self.path), 200)})"
                made[name] = Server(name=name, unusable=unusable)
                self.problems.clear()
            else:
                made[name] = self._server(name, own, fields)
        made.off = off
        return made

    def _env_file(self, given: Mapping[str, Any], at: Location) -> dict[str, str]:
        """The variables of the file that a server of VS Code names, which are secrets."""
        name, at = given.get("envFile"), (*at, "envFile")
        if not isinstance(name, str) or not name:
            return {}
        path = self.path.parent / self._expand(name, at)
        try:
            variables = read_env_file(path)
        except FileNotFoundError:  # its program may need none of them
            what = "server %s: its envFile %s does not exist, so none of its variables is set"
            logger.warning(what, quoted(str(at[-2])), quoted(str(path), 200))
            return {}
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it is not a text file in UTF-8"
            self._add("wrong_value", f"{quoted(str(path), 200)} cannot be read: {why}", at)
            return {}
        self._values += variables.values()
        return variables

    def _table(self, at: str, table: Any) -> Mapping[str, Any]:
        if isinstance(table, dict) and table:
            return table
        hint = "write [servers.NAME] with a command or a url"
        self._add("no_servers", "defines no servers", (at,), hint)
        return {}

    def _server(self, name: str, given: Any, fields: dict[str, Any]) -> Server:
        cwd = fields.get("cwd")
        with suppress(ValueError):  # it is no path: starting the server reports that
            cwd = str((self.path.parent / cwd).resolve()) if cwd else None
        inherited = {
            variable: value
            for variable, value in self.environment.items()
            if any(fnmatch.fnmatchcase(variable, each) for each in fields.get("inherit_env", ()))
        }
        env = {**inherited, **fields.get("env", {})}
        own = {"name": name, "cwd": cwd, "env": env, "shown": description(given)}
        hidden = [value for variable, value in inherited.items() if variable not in INHERITED]
        secrets = (*self._values, *hidden)
        named = {text for name, text in self.environment.items() if SECRET_NAME.search(name)}
        tokens = tuple(secret for secret in secrets if secret in named)
        return Server(**fields | own, secrets=secrets, tokens=tokens)

    def _defaults(self, data: Mapping[str, Any]) -> dict[str, Any]:
        for name in (name for name in data if name not in _TABLES):
            near = nearest(name, _TABLES[:-1])
            hint = "" if near else f"write [servers.{name}]"
            message, at = f"unknown table {quoted(name)}", pointer(name)
            self.problems.append(Problem("unknown_field", message, at, None, near, hint))
        return self._checked(Defaults, data.get("defaults", {}), ("defaults",))

    def _fields(self, given: Any, at: Location) -> dict[str, Any]:
        """The fields of a server, checked one by one and against each other."""
        fields = self._checked(Settings, given, at)
        if isinstance(given, dict) and (words := whole_line(given, self.path.parent)):
            message, hint = line_conflict(words)
            self._add("wrong_value", message, (*at, "command"), hint)
        reported = {problem.path for problem in self.problems}
        for message, path, hint in conflicts(fields if isinstance(fields, dict) else {}):
            if pointer(*at, *path) not in reported:
                self._add("wrong_value", message, (*at, *path), hint)
        return fields

    def _checked(self, model: type[BaseModel], given: Any, at: Location) -> dict[str, Any]:
        """The fields with their variables expanded, checked against a model."""
        self._values = []
        expanded: dict[str, Any] = self._expand(given, at)
        wrong = problems_of_model(model, expanded)
        # Messages quote the file without its secrets, not what variables hold.
        has_secrets = isinstance(given, dict) and model is not LockTables
        shown = shown_fields(given, FIELDS) if has_secrets else given
        quoting = problems_of_model(model, shown) if wrong else []
        for problem in wrong:
            same = next((each for each in quoting if each.path == problem.path), problem)
            where, message = pointer(*at) + problem.path, same.message
            if problem.path.startswith(("/env/", "/headers/")):  # a number may be a secret, too
                message = _GOT_NUMBER.sub(r"got \1", message)
            self.problems.append(replace(same, path=where, message=message, replacement=()))
        return expanded

    def _expand(self, value: Any, at: Location) -> Any:
        """The value with `${VAR}` and `${VAR:-default}` replaced in every string."""
        match value:
            case str():
                return _VARIABLE.sub(lambda match: self._variable(match, at), value)
            case list():
                return [self._expand(item, (*at, index)) for index, item in enumerate(value)]
            case dict():
                return {key: self._expand(item, (*at, key)) for key, item in value.items()}
        return value

    def _variable(self, match: re.Match[str], at: Location) -> str:
        name, default, other = match.groups()
        of_editor = _OF_EDITOR.fullmatch(other or "")
        if self._is_foreign:
            if (known := self._known.get(name or other or "")) is not None:
                return known
            if of_editor is None and name is None:
                return match[0]  # not a variable to the other program either
            if of_editor and of_editor[1] == "env":
                name = of_editor[2]
        if name is None:
            hint = f"write ${{{of_editor[2]}}}" if of_editor else ""
            message = 'expected ${VAR} or ${VAR:-default} at "${"'
            if self._is_foreign:
                message = f"{quoted(match[0])} asks a person, which is not possible here"
                hint = "write ${VAR}, and set that variable"
            self._add("malformed_variable", message, at, hint)
            return ""
        value = self.environment.get(name)
        if value:
            self._values.append(value)
        elif value is None and default is None:
            hint = f"set it, or write ${{{name}:-default}}"
            self._add("missing_variable", f"environment variable {name} is not set", at, hint)
        return value or default or ""

    def _add(self, code: Code, message: str, at: Location, hint: str = "") -> None:
        self.problems.append(Problem(code, message, pointer(*at), hint=hint))
