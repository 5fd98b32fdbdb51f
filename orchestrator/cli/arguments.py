"""The commands and options of the command line.

Imports only the standard library, so that `--help` is instant.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

EPILOG = """\
exit codes:
  0    success
  1    a task failed; lock, catalog, tools: a server did not start
  2    a file, an argument or a tool name is wrong, and no tool was called
       unless it is read-only; lock: a difference was not accepted
  130  interrupted; the result has what had finished

the shortest workflow:
  {"tasks": [
    {"id": "a", "tool": "server:tool", "arguments": {}},
    {"id": "b", "tool": "server:tool", "arguments": {"text": "$OUTPUT[a].title"}}]}
"""
TOOLS_FROM = (
    "Takes the tools from the lock file if there is one, else starts the servers and lists them."
)
# Of each command: one line for the list of commands, and more for its own help.
RUN = (
    "run a workflow",
    "Its output goes to stdout as JSON; progress and a table of the tasks go to stderr.",
)
VALIDATE = (
    "check a workflow without calling a tool",
    "Shows all errors at once, type errors between tasks and tools included. " + TOOLS_FROM,
)
PLAN = (
    "show what a workflow will do, without calling a tool",
    "Shows generations, calls, critical path, effects, servers and limits. " + TOOLS_FROM,
)
TOOLS = "list the tools of the servers", "Starts the servers."
LOCK = (
    "save the tool definitions of the servers in servers.lock",
    "Starts the servers. If the file exists, shows what has changed and writes nothing (exit code "
    "2) without --update.",
)
CATALOG = (
    "print the tools and a guide to the workflow format, for a model",
    "Together with `orchestrator schema` it is all that a model needs to write a workflow. Takes "
    "the tools from the lock file, and starts the servers that are not in it.",
)
CALL = "call one tool", "Prints its output: text as it is, anything else as JSON."
SCHEMA = (
    "print the JSON Schema of the workflow file",
    'Name its path as "$schema" in a workflow, and your editor completes the file.',
)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line; a usage error ends the program with exit code 2."""
    return build_parser().parse_args(arguments)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="orchestrator",
        description="Run a plan of tool calls over many MCP servers, in parallel.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, help="show the version and exit")
    _add_commands(parser.add_subparsers(dest="command", metavar="COMMAND", required=True))
    return parser


def _add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    def add(
        name: str, summary: str, more: str, *parents: argparse.ArgumentParser
    ) -> argparse.ArgumentParser:
        description = f"{summary[0].upper()}{summary[1:]}. {more}"
        return commands.add_parser(name, help=summary, description=description, parents=parents)

    file = _shared("file", type=Path, metavar="FILE", help="the workflow, JSON or YAML")
    names = _shared("server", nargs="*", metavar="SERVER", help="only these servers")
    servers = _shared(
        "--servers",
        type=Path,
        metavar="FILE",
        help="servers.toml or a mcpServers JSON file (default: servers.toml)",
    )
    no_lock = _shared("--no-lock", action="store_true", help="ignore the lock file")
    reading = _shared("--offline", action="store_true", help="start no server")
    reading.add_argument(
        "--verbose", action="store_true", help="show each note with its line, not only a count"
    )
    inputs = _input_options()
    _add_run_options(add("run", *RUN, file, servers, no_lock, inputs))
    validate = add("validate", *VALIDATE, file, servers, no_lock, reading)
    validate.add_argument("--json", action="store_true", help="print the findings as JSON")
    _add_plan_options(add("plan", *PLAN, file, servers, no_lock, reading, inputs))
    tools = add("tools", *TOOLS, names, servers)
    tools.add_argument("--json", action="store_true", help="print the tools with their schemas")
    lock = add("lock", *LOCK, names, servers).add_mutually_exclusive_group()
    lock.add_argument("--update", action="store_true", help="accept the changes")
    lock.add_argument("--check", action="store_true", help="never write the file")
    catalog = add("catalog", *CATALOG, names, servers, no_lock)
    catalog.add_argument("--json", action="store_true", help="print tools and guide as JSON")
    catalog.add_argument(
        "--no-guide", dest="guide", action="store_false", help="print only the tools"
    )
    _add_call_options(add("call", *CALL, servers, no_lock))
    add("schema", *SCHEMA)


def _shared(*names: str, **settings: Any) -> argparse.ArgumentParser:
    """A parent parser with one argument."""
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument(*names, **settings)
    return parent


def _input_options() -> argparse.ArgumentParser:
    parent = _shared(
        "--input",
        action="append",
        type=_pair,
        default=[],
        metavar="NAME=VALUE",
        help="an input; the value is JSON, or plain text for a string (repeatable)",
    )
    parent.add_argument(
        "--inputs", type=Path, metavar="FILE", help="a JSON or YAML file with an object of inputs"
    )
    return parent


def _add_run_options(run: argparse.ArgumentParser) -> None:
    run.add_argument(
        "--schedule",
        choices=["generations", "dataflow"],
        help="overrides `schedule` of the workflow",
    )
    run.add_argument(
        "--max-concurrency",
        type=_count,
        metavar="N",
        help="overrides `max_concurrency` of the workflow: calls in flight; 0 = unlimited, "
        "1 = sequential",
    )
    run.add_argument("--json", action="store_true", help="print the result document on stdout")
    run.add_argument(
        "--output", type=Path, metavar="FILE", help="write the result document to a file"
    )
    run.add_argument(
        "--events", metavar="FILE", help="write each event as a line of JSON; - is stdout"
    )
    run.add_argument(
        "--statistics",
        type=Path,
        metavar="FILE",
        help="times of earlier runs: read to start long paths first, updated after the run",
    )
    run.add_argument(
        "--dry-run",
        action="store_true",
        help="call no tool; make up outputs that fit the schemas of the tools",
    )
    run.add_argument("--quiet", action="store_true", help="no progress and no table on stderr")


def _add_plan_options(plan: argparse.ArgumentParser) -> None:
    plan.add_argument(
        "--statistics",
        type=Path,
        metavar="FILE",
        help="times of earlier runs, written by `run --statistics`, for the expected time",
    )
    form = plan.add_mutually_exclusive_group()
    form.add_argument("--mermaid", action="store_true", help="print the graph as Mermaid")
    form.add_argument("--dot", action="store_true", help="print the graph as DOT (Graphviz)")
    form.add_argument("--svg", action="store_true", help="print the graph as SVG")
    form.add_argument("--json", action="store_true", help="print the plan as JSON")


def _add_call_options(call: argparse.ArgumentParser) -> None:
    call.add_argument("target", metavar="SERVER:TOOL", help="the tool")
    call.add_argument(
        "arguments",
        nargs="*",
        type=_pair,
        metavar="NAME=VALUE",
        help="an argument; the value is JSON, or plain text for a string",
    )
    call.add_argument("--timeout", type=_seconds, metavar="S", help="limit of the call, in seconds")
    call.add_argument("--json", action="store_true", help="print text as JSON too")


class _Version(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, **rest: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **rest)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        # `importlib.metadata` takes longer to import than the rest of `--help`.
        from importlib.metadata import version

        print(f"orchestrator {version('mcp-orchestrator')}")
        parser.exit()


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f'expected NAME=VALUE, got "{text}"')
    return name, value


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f'expected an integer of at least 0, got "{text}"')
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f'expected a number of seconds above 0, got "{text}"')
    return seconds
