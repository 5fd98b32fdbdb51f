"""`orchestrator init`: a servers.toml, and an example that runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from orchestrator.cli.diagnostics import complain
from orchestrator.cli.streams import write
from orchestrator.documents.files import write_text
from orchestrator.documents.text import counted
from orchestrator.errors import Problem, WorkflowError
from orchestrator.servers.adopt import Adopted, adopted, desktop_files, toml_of

SERVERS, SERVER, WORKFLOW = "servers.toml", "example_server.py", "example.json"
HEADING = """\
# The servers of workflows: only those that a workflow names are started.
# Values may be variables: "${NAME}" or "${NAME:-default}".
"""
EXAMPLE_SERVER = '''\
"""A small MCP server to try workflows with."""

from mcp.server import MCPServer
from mcp.types import ToolAnnotations

server = MCPServer("example")
READ_ONLY = ToolAnnotations(read_only_hint=True)


@server.tool(annotations=READ_ONLY)
def greet(name: str) -> str:
    """Greet somebody."""
    return f"Hello, {name}!"


@server.tool(annotations=READ_ONLY)
def join(lines: list[str]) -> str:
    """Join lines of text."""
    return "\\n".join(lines)


if __name__ == "__main__":
    server.run()
'''
EXAMPLE = """\
{
  "name": "example",
  "inputs": {
    "names": {"type": "array", "items": {"type": "string"}, "default": ["Ada", "Grace"]}
  },
  "tasks": [
    {
      "id": "greet",
      "tool": "example:greet",
      "for_each": "$INPUT.names",
      "arguments": {"name": "$ITEM"}
    },
    {"id": "join", "tool": "example:join", "arguments": {"lines": "$OUTPUT[greet]"}}
  ],
  "output": "$OUTPUT[join]"
}
"""


def init(options: argparse.Namespace) -> int:
    """`orchestrator init`. No file is overwritten."""
    directory: Path = options.directory
    found = adopted(desktop_files(Path.home(), directory))
    files = {SERVERS: _servers(found), SERVER: EXAMPLE_SERVER, WORKFLOW: EXAMPLE}
    there = [name for name in files if (directory / name).exists()]
    if there:
        hint = "nothing was written; give another directory: orchestrator init DIR"
        problems = [Problem("usage", f"{directory / name} exists already") for name in there]
        problems[-1] = Problem("usage", problems[-1].message, hint=hint)
        raise WorkflowError("usage", problems)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            if name == SERVERS:  # it may hold secrets of the other files
                (directory / name).touch(0o600)
            write_text(directory / name, text)
    except OSError as error:
        message = f"cannot be written: {error.strerror or error}"
        raise WorkflowError(str(directory), [Problem("unwritable_file", message)]) from None
    _report(directory, found)
    return 0


def _servers(found: Adopted) -> str:
    origin = {name: path for path, names in found.sources.items() for name in names}
    tables = [toml_of(name, own, f"from {origin[name]}") for name, own in found.tables.items()]
    example = {"command": sys.executable, "args": [SERVER]}
    return "\n".join([HEADING, *tables, toml_of("example", example, f"for {WORKFLOW}")])


def _report(directory: Path, found: Adopted) -> None:
    for sentence in found.left_out:
        complain(f"left out: {sentence}")
    if not found.sources:
        write(f"{directory / SERVERS}: no servers of a desktop client were found, only the example")
    for path, names in found.sources.items():
        write(f"{directory / SERVERS}: {counted(len(names), 'server')} from {path}")
    if any({"env", "headers"} & fields.keys() for fields in found.tables.values()):
        complain(f"{directory / SERVERS} may hold secrets of these files: keep it to yourself")
    write(f"{directory / WORKFLOW}: a workflow on the server in {directory / SERVER}")
    change = "" if directory == Path() else f"cd {directory} && "
    write(f"Try: {change}orchestrator run {WORKFLOW}, orchestrator servers")
