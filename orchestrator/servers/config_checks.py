"""Checks the fields of a server: their types, and what types do not express."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from orchestrator.auth import checks
from orchestrator.auth.settings import OAUTH_FIELDS
from orchestrator.documents.encode import to_json
from orchestrator.documents.text import quoted
from orchestrator.documents.validation import Location, problems_of
from orchestrator.errors import Problem
from orchestrator.servers.config import Settings, ToolSettings, TrustedTask
from orchestrator.servers.locking import LockSettings
from orchestrator.servers.redaction import shown_fields

BACKSLASH_HINT = "a backslash in \"...\" starts an escape: use '...', or write each one twice"

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_OF_PROGRAMS = ("args", "env", "inherit_env", "cwd")
_OF_URLS = ("headers", "transport")
_CONTROL = re.compile(r"[\x01-\x1f]")
_DRIVE = re.compile(r"[A-Za-z]:")


def problems_of_model(model: type[BaseModel], given: Any) -> list[Problem]:
    """What a model says of the fields of a server, or of the defaults."""
    try:
        model.model_validate(given)
    except ValidationError as error:
        known = {
            "": tuple(model.model_fields),
            "locks": tuple(LockSettings.model_fields),
            "tools": tuple(ToolSettings.model_fields),
            "trusted": tuple(TrustedTask.model_fields),
            "oauth": OAUTH_FIELDS,
        }
        return problems_of(error, given, known)
    return []


def fits(field: str, value: Any) -> bool:
    """Whether a value is right for a field."""
    return not problems_of_model(Settings, {field: value})


def conflicts(fields: Mapping[str, Any]) -> Iterator[tuple[str, Location, str]]:
    """Which fields do not fit together, or have a form that cannot work.

    Yields:
        What is wrong, where it is in the server, and how to fix it.
    """
    url, command, headers = fields.get("url"), fields.get("command"), fields.get("headers")
    if (command is None) == (url is None):
        yield f"expected a command or a url, got {'neither' if url is None else 'both'}", (), ""
    elif url is not None:
        if isinstance(url, str) and not _is_url(url):
            yield 'expected a URL like "https://example.com/mcp"', ("url",), ""
        for field in [each for each in _OF_PROGRAMS if each in fields]:
            yield f'"{field}" is for a command, and this server has a url', (field,), ""
    else:
        for field in [each for each in _OF_URLS if fields.get(each) is not None]:
            yield f'"{field}" is for a url, and this server has a command', (field,), ""
    if fields.get("transport") == "sse" and fields.get("protocol") == "2026-07-28":
        what = 'protocol "2026-07-28" is not spoken over HTTP+SSE'
        yield what, ("protocol",), 'leave out transport = "sse", or this'
    if command == "":
        yield "expected a program, got an empty string", ("command",), ""
    for header, value in headers.items() if isinstance(headers, dict) else ():
        if not _HEADER_NAME.fullmatch(header):
            yield f"expected a header name, got {quoted(header)}", ("headers", header), ""
        if isinstance(value, str) and not _HEADER_VALUE.fullmatch(value):
            yield "contains a character that no header may contain", ("headers", header), ""
    yield from checks.conflicts(fields)
    for where in _escaped(fields):
        yield "expected a path, got text with a control character", where, BACKSLASH_HINT


def scope_conflict(fields: Mapping[str, Any]) -> str:
    """Why the limits of a server, defaults included, cannot have its scope; empty if they can."""
    scope = fields.get("scope")
    if scope not in ("host", "cluster") or fields.get("max_concurrency") != "auto":
        return ""
    return f'expected a number for max_concurrency with scope = "{scope}": "auto" adapts by itself'


def _escaped(fields: Mapping[str, Any]) -> Iterator[Location]:
    """The paths of Windows in which a backslash made a control character, as in "C:\\temp"."""
    args = fields.get("args")
    paths: dict[Location, Any] = {(field,): fields.get(field) for field in ("command", "cwd")}
    if isinstance(args, list):
        paths |= {("args", index): arg for index, arg in enumerate(args)}
    for where, text in paths.items():
        is_path = where[0] != "args" or (isinstance(text, str) and _DRIVE.match(text))
        if is_path and isinstance(text, str) and _CONTROL.search(text):
            yield where


def whole_line(given: Mapping[str, Any], directory: Path) -> list[str]:
    """The words of a command that is a whole command line; none if it is a program."""
    command = given.get("command")
    if not isinstance(command, str) or "${" in command or _CONTROL.search(command):
        return []
    try:
        words = shlex.split(command)
    except ValueError:  # a quote that is not closed
        return []
    if len(words) < 2 or (directory / command).exists() or shutil.which(command):
        return []
    # A path may have blanks, and the program may be missing.
    is_path = "/" in words[0] or "\\" in words[0]
    return [] if is_path and not shutil.which(words[0]) else words


def line_conflict(words: list[str]) -> tuple[str, str]:
    """What is wrong with a command that is a whole line, and how to fix it."""
    program, *args = words
    shown = shown_fields({"args": args}, ())["args"]
    fix = f"write command = {to_json(program)} and args = {to_json(shown)}"
    return f"expected a program, got the command line {quoted(' '.join([program, *shown]))}", fix


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.scheme in ("http", "https") and parts.hostname and parts.port != 0)
    except ValueError:  # not a port, or half an IPv6 address
        return False
