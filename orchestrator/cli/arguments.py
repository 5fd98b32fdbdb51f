"""The options of every command, as `--help` shows them.

The rule of this file: it imports nothing but the standard library.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

EPILOG = """\
exit codes:
  0    success
  1    at least one task failed; for lock, catalog and tools: a server did not start
  2    the file, the configuration, a tool or the usage is wrong, and nothing was called that is
       not read-only; for lock: there is a difference that was not accepted
  130  interrupted; what had finished is in the result

a workflow in its shortest form:
  {"tasks": [{"id": "a", "tool": "server:tool", "arguments": {}},
             {"id": "b", "tool": "server:tool", "arguments": {"text": "$OUTPUT[a].title"}}]}
"""


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line; usage errors end the program with exit code 2."""
    return build_parser().parse_args(arguments)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="orchestrator",
        description="Runs a plan of tool calls over many MCP servers at once.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, help="show the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_run(commands)
    _add_validate(commands)
    _add_plan(commands)
    _add_tools(commands)
    _add_lock(commands)
    _add_catalog(commands)
    _add_call(commands)
    commands.add_parser(
        "schema",
        help="print the JSON Schema of the workflow file",
        description="Print the JSON Schema (draft 2020-12) of the workflow file, for editors and "
        'models. Name its path in a workflow\'s "$schema" to have an editor complete it.',
    )
    return parser


class _Version(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, **rest: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **rest)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"orchestrator {version('mcp-orchestrator')}")
        parser.exit()


_Commands = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _add_run(commands: _Commands) -> None:  # type: ignore[valid-type]
    run = commands.add_parser(  # type: ignore[attr-defined]
        "run",
        help="run a workflow",
        description="Run a workflow. Its output goes to stdout as JSON, progress and a table "
        "of the tasks to stderr.",
    )
    _add_file(run)
    _add_servers(run)
    _add_no_lock(run)
    _add_inputs(run)
    run.add_argument(
        "--schedule",
        choices=["generations", "dataflow"],
        help="when each task starts, instead of what the workflow says",
    )
    run.add_argument(
        "--max-concurrency",
        type=_count,
        metavar="N",
        help="calls in flight, instead of what the workflow says; 0 = unlimited, 1 = sequential",
    )
    run.add_argument(
        "--json", action="store_true", help="print the whole result document on stdout"
    )
    run.add_argument(
        "--output", type=Path, metavar="FILE", help="write the result document to a file"
    )
    run.add_argument(
        "--events", metavar="FILE", help="write each event as a line of JSON; - for stdout"
    )
    run.add_argument(
        "--statistics",
        type=Path,
        metavar="FILE",
        help="what calls took in earlier runs: read before the run, so that under a limit the "
        "longest path goes first, and brought up to date after it",
    )
    run.add_argument(
        "--dry-run",
        action="store_true",
        help="call no tool: go through the whole run with outputs that are made up to fit the "
        "schemas of the tools: those of the lock file if all servers of the workflow are in it, "
        "or else those that the servers list",
    )
    run.add_argument("--quiet", action="store_true", help="no progress and no table on stderr")


def _add_validate(commands: _Commands) -> None:  # type: ignore[valid-type]
    validate = commands.add_parser(  # type: ignore[attr-defined]
        "validate",
        help="check a workflow without calling anything",
        description="Check a workflow, its servers and their tools, and show every mistake at "
        "once. Calls no tool. The tools are those of the lock file if there is one; else the "
        "servers are started, if there are any, to ask for them.",
    )
    _add_file(validate)
    _add_servers(validate)
    _add_no_lock(validate)
    _add_offline(validate)
    _add_verbose(validate)
    validate.add_argument("--json", action="store_true", help="print the findings as JSON")


def _add_plan(commands: _Commands) -> None:  # type: ignore[valid-type]
    plan = commands.add_parser(  # type: ignore[attr-defined]
        "plan",
        help="show what a workflow will do",
        description="Show the generations of a workflow, its critical path, the servers it starts, "
        "what its tools do, how many calls it makes and how long that takes, and what is worth a "
        "second look. Calls no tool; without a lock file, it starts the servers to ask for theirs.",
    )
    _add_file(plan)
    _add_servers(plan)
    _add_no_lock(plan)
    _add_offline(plan)
    _add_verbose(plan)
    _add_inputs(plan)
    plan.add_argument(
        "--statistics",
        type=Path,
        metavar="FILE",
        help="what calls took in earlier runs, as `run --statistics` writes it: for the critical "
        "path and the expected time",
    )
    form = plan.add_mutually_exclusive_group()
    form.add_argument("--mermaid", action="store_true", help="print the graph as Mermaid")
    form.add_argument("--dot", action="store_true", help="print the graph as DOT (Graphviz)")
    form.add_argument("--svg", action="store_true", help="print the graph as a picture, in SVG")
    form.add_argument("--json", action="store_true", help="print the plan as JSON")


def _add_tools(commands: _Commands) -> None:  # type: ignore[valid-type]
    tools = commands.add_parser(  # type: ignore[attr-defined]
        "tools",
        help="list the tools of the servers",
        description="Start the servers and list their tools.",
    )
    tools.add_argument("server", nargs="*", metavar="SERVER", help="only these servers")
    _add_servers(tools)
    tools.add_argument("--json", action="store_true", help="print the tools with their schemas")


def _add_lock(commands: _Commands) -> None:  # type: ignore[valid-type]
    lock = commands.add_parser(  # type: ignore[attr-defined]
        "lock",
        help="write down what the tools of the servers are",
        description="Start the servers and write the definitions of their tools to the lock file "
        "beside the servers' file: servers.lock. If there is one, show what is different, and "
        "write nothing (exit code 2) unless --update says so.",
    )
    lock.add_argument("server", nargs="*", metavar="SERVER", help="only these servers")
    _add_servers(lock)
    form = lock.add_mutually_exclusive_group()
    form.add_argument("--update", action="store_true", help="accept what is different")
    form.add_argument("--check", action="store_true", help="write nothing, not even a first file")


def _add_catalog(commands: _Commands) -> None:  # type: ignore[valid-type]
    catalog = commands.add_parser(  # type: ignore[attr-defined]
        "catalog",
        help="print the tools and a guide to the workflow format, for a model",
        description="Print the tools of the servers with their types, and a short guide to the "
        "workflow format: with `orchestrator schema`, all that a model needs to write one. Starts "
        "the servers that are not in the lock file.",
    )
    catalog.add_argument("server", nargs="*", metavar="SERVER", help="only these servers")
    _add_servers(catalog)
    _add_no_lock(catalog)
    catalog.add_argument("--json", action="store_true", help="print tools and guide as JSON")
    catalog.add_argument(
        "--no-guide", dest="guide", action="store_false", help="print nothing but the tools"
    )


def _add_call(commands: _Commands) -> None:  # type: ignore[valid-type]
    call = commands.add_parser(  # type: ignore[attr-defined]
        "call",
        help="call one tool",
        description="Call one tool and print its output: text as it is, anything else as JSON.",
    )
    call.add_argument("target", metavar="SERVER:TOOL", help="the tool")
    call.add_argument(
        "arguments",
        nargs="*",
        type=_pair,
        metavar="NAME=VALUE",
        help="its arguments; a value is JSON, or text where the tool wants text",
    )
    _add_servers(call)
    _add_no_lock(call)
    call.add_argument("--timeout", type=_seconds, metavar="S", help="limit of the call, seconds")
    call.add_argument("--json", action="store_true", help="print text as JSON too")


def _add_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="the workflow, JSON or YAML")


def _add_servers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--servers",
        type=Path,
        metavar="FILE",
        help="servers.toml or a mcpServers JSON file (default: servers.toml)",
    )


def _add_no_lock(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-lock",
        action="store_true",
        help="take the tools as the servers list them now, whatever the lock file says",
    )


def _add_offline(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--offline", action="store_true", help="start no server")


def _add_verbose(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--verbose", action="store_true", help="show each note with its line, and not their number"
    )


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--input",
        action="append",
        type=_pair,
        default=[],
        metavar="NAME=VALUE",
        help="an input; a value is JSON, or text where the input's schema wants text (repeatable)",
    )
    parser.add_argument(
        "--inputs", type=Path, metavar="FILE", help="a JSON or YAML file with an object of inputs"
    )


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    return name, value


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds
