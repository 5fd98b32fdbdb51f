"""The commands and options of the command line.

Imports only the standard library, so that `--help` is instant. A few lines longer than other files:
each command is here, so that its options are found.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from orchestrator.cli.arguments_of_cluster import OF_CLUSTER
from orchestrator.cli.arguments_of_logins import OF_LOGINS
from orchestrator.cli.arguments_of_pool import OF_POOL
from orchestrator.cli.arguments_of_runs import OF_RUNS, REPORTS, SCREENS, STREAMS
from orchestrator.cli.parser import (
    CommandParser,
    Parser,
    Version,
    count,
    file,
    flag,
    pair,
    pair_or_object,
    place,
    seconds,
)

EPILOG = """\
exit codes:
  0    success
  1    a task failed; servers, tools, resources, prompts, catalog, lock: a server
       did not start
  2    a file, an argument or a tool name is wrong, and no tool was called
       unless it is read-only; lock: a difference was not accepted
  3    the run waits for answers: "orchestrator answer", then "orchestrator resume"
  130  interrupted; the result has all tasks that had settled. 143 by SIGTERM, 129 by SIGHUP

the shortest workflow:
  {"tasks": [
    {"id": "a", "tool": "server:tool", "arguments": {}},
    {"id": "b", "tool": "server:tool", "arguments": {"text": "$OUTPUT[a].title"}}]}
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; a usage error ends the program with exit code 2."""
    parser = Parser(
        prog="orchestrator",
        description="Run a plan of tool calls over many MCP servers, in parallel.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=CommandParser
    )
    for name, (summary, more, options, own) in COMMANDS.items():
        description = f"{summary[0].upper()}{summary[1:]}. {more}"
        command = commands.add_parser(name, help=summary, description=description)
        for option in options.split():
            alternatives = option.split("|")
            group = command.add_mutually_exclusive_group() if len(alternatives) > 1 else command
            for each in alternatives:
                names = [SHORT[each]] if each in SHORT else []
                names += [each, ALSO[each]] if each in ALSO else [each]
                group.add_argument(*names, **(OPTIONS | own)[each])
    return parser


ALSO = {"--journal": "--database"}
SHORT = {"--input": "-i", "--output": "-o", "--quiet": "-q", "--verbose": "-v"}
VALUE = "JSON, or plain text for a string; @FILE reads a file, @@TEXT is the text @TEXT"
MANY = "give a name several times for an array"
OPTIONS: dict[str, dict[str, Any]] = {
    "file": file("the workflow, JSON or YAML; - is stdin", read=True),
    "directory": {
        "nargs": "?",
        "type": Path,
        "default": Path(),
        "metavar": "DIR",
        "help": "where to write them (default: here)",
    },
    "shell": {
        "choices": ["bash", "zsh", "fish", "values"],
        "help": "the shell; values: what may follow in a line of `orchestrator call`, for scripts",
    },
    "line": {"nargs": "?", "default": "", "help": "the line, for values"},
    "server": {"nargs": "*", "metavar": "SERVER", "help": "only these servers"},
    "target": {"metavar": "SERVER:TOOL", "help": "the tool, or prompt, or resource"},
    "files": file("the workflows, JSON or YAML; - is stdin", read=True) | {"nargs": "+"},
    "values": {
        "nargs": "*",
        "default": [],  # else a usage error calls them required
        "type": pair_or_object,
        "metavar": "NAME=VALUE",
        "help": "an input, as with --input",
    },
    "arguments": {
        "nargs": "*",
        "default": [],
        "type": pair_or_object,
        "metavar": "NAME=VALUE",
        "help": f"an argument: {VALUE}; {MANY}; or all of them as a JSON object: '{{...}}', "
        "@FILE, or - for stdin",
    },
    "--servers": file("servers.toml or a mcpServers JSON file (default: servers.toml)"),
    "--env-file": {
        "action": "append",
        "default": [],
        "type": Path,
        "metavar": "FILE",
        "help": "variables for ${VAR} in the servers' file, a NAME=VALUE a line; those that are "
        "set already win (repeatable)",
    },
    "--no-lock": flag("ignore the lock file"),
    "--no-pool": flag("start servers even if a warm pool keeps them (or ORCHESTRATOR_NO_POOL=1)"),
    "--names": flag("print only the names, a line each"),
    "--offline": flag("start no server"),
    "--strict": flag("count warnings as errors"),
    "--verbose": flag("show each note with its line, not only a count"),
    "--input": {
        "action": "append",
        "default": [],
        "type": pair,
        "metavar": "NAME=VALUE",
        "help": f"an input: {VALUE}; {MANY}",
    },
    "--inputs": file("a JSON or YAML file with an object of inputs; - is stdin", read=True),
    "--schedule": {
        "choices": ["generations", "dataflow"],
        "help": "overrides that of the workflow",
    },
    "--max-concurrency": {
        "type": count,
        "metavar": "N",
        "help": "overrides that of the workflow: calls in flight; 0 = unlimited, 1 = sequential",
    },
    "--max-run-mb": {
        "type": count,
        "metavar": "MB",
        "default": 1000,
        "help": "what all answers may take in memory; over it the run fails with what it has; "
        "0 = unlimited (default: 1000)",
    },
    "--output": file("write the result document to a file"),
    **REPORTS,
    "--journal": {
        "type": place,
        "metavar": "FILE|URL",
        "help": "where runs are kept: this file, or the PostgreSQL database of this URL (default: "
        "$ORCHESTRATOR_JOURNAL, else that of servers.toml, else runs.db in the directory of your "
        "user for such files)",
    },
    "--on": {
        "type": place,
        "metavar": "URL",
        "help": "submit the run to this PostgreSQL database, and show how a worker carries it",
    },
    "--no-journal": flag("do not keep the run: it cannot be taken up again"),
    "run": {"metavar": "RUN", "help": "the id of a run, the beginning of one, or last"},
    **STREAMS,
    "--statistics": flag("use the times of earlier runs in the journal, to start long paths first"),
    "--wait": flag("wait for answers to questions when nothing else is left, do not pause"),
    "--dry-run": flag("call no tool; make up outputs that fit the schemas of the tools"),
    "--record": file("write every call with its answer to this file, for --replay and `test`"),
    "--replay": file("answer calls from the file that --record wrote, and start no server"),
    "--quiet": flag("no progress and no table on stderr"),
    "--mermaid": flag("print the graph as Mermaid"),
    "--dot": flag("print the graph as DOT (Graphviz)"),
    "--svg": flag("print the graph as SVG"),
    "--update": flag("accept the changes"),
    "--check": flag("never write the file"),
    "--no-guide": {"dest": "guide", "action": "store_false", "help": "print only the tools"},
    "--timeout": {"type": seconds, "metavar": "S", "help": "limit of the call, in seconds"},
}
TOOLS_FROM = (
    "Takes the tools from the lock file if there is one, else starts the servers and lists them."
)
# A line for the list of commands, more for the command's own help, its options (of `--a|--b` only
# one can be given), and those that mean something else in another command.
COMMANDS: dict[str, tuple[str, str, str, dict[str, dict[str, Any]]]] = {
    "run": (
        "run a workflow",
        "Its output goes to stdout as JSON; progress and a table of the tasks go to stderr.",
        "file values --servers --no-pool --env-file --no-lock --input --inputs --schedule "
        "--max-concurrency --max-run-mb --json --output --events --report --perfetto --metrics "
        "--statistics --dry-run|--record|--replay --stream --hold "
        "--journal|--no-journal|--on --wait --verbose|--quiet",
        {
            **SCREENS,
        },
    ),
    "validate": (
        "check a workflow without calling a tool",
        f"Shows all errors at once, type errors between tasks and tools included. {TOOLS_FROM}",
        "files --servers --no-pool --env-file --no-lock --offline --strict --verbose --input "
        "--inputs --json",
        {
            "--json": flag("print the findings as JSON; of several files, as an array"),
            "--input": OPTIONS["--input"] | {"help": f"check this input too: {VALUE}"},
        },
    ),
    "test": (
        "run the tests of workflows, without servers",
        "A test is a *.test.json with a workflow, inputs, a recording (of `run --record`) and what "
        "is expected. Prints where results differ; exit code 1 if one does, 2 if a file is wrong.",
        "files --update --servers --no-lock --json",
        {
            "files": {
                "nargs": "*",
                "type": Path,
                "metavar": "FILE",
                "help": "tests, or folders with tests (default: the current folder)",
            },
            "--update": flag("replace what the tests expect by what comes"),
            "--servers": file("the lock file beside it says which tools have changed since"),
            "--json": flag("print the verdicts as JSON"),
        },
    ),
    "plan": (
        "show what a workflow will do, without calling a tool",
        f"Shows generations, calls, critical path, effects, servers and limits. {TOOLS_FROM}",
        "file values --servers --no-pool --env-file --no-lock --offline --verbose --input --inputs "
        "--schedule --journal --unfold --mermaid|--dot|--svg|--json --output",
        {
            "--json": flag("print the plan as JSON"),
            "--output": file("write it to a file instead of stdout"),
            "--unfold": flag("show the tasks of inner workflows, too (--json has them)"),
            "--schedule": OPTIONS["--schedule"] | {"help": "plan for this one"},
        },
    ),
    "tools": (
        "list the tools of the servers, or show one tool in full",
        "Starts the servers.",
        "server --servers --no-pool --env-file --names|--json",
        {
            "--json": flag("print the tools with their schemas"),
            "server": {
                "nargs": "*",
                "metavar": "SERVER[:TOOL]",
                "help": "only these servers; or one tool, with its description and schemas",
            },
        },
    ),
    "servers": (
        "start the servers and show how that went",
        "For each: whether it starts, how long that takes, its protocol and tools, what is wrong.",
        "server --servers --env-file --json",
        {"--json": flag("print the servers as JSON")},
    ),
    "resources": (
        "list the resources of the servers",
        "Starts the servers. Templates of resources have {variables} in their URI.",
        "server --servers --no-pool --env-file --json",
        {"--json": flag("print what the servers sent")},
    ),
    "prompts": (
        "list the prompts of the servers",
        "Starts the servers.",
        "server --servers --no-pool --env-file --json",
        {"--json": flag("print what the servers sent")},
    ),
    "lock": (
        "save the tool definitions of the servers in servers.lock",
        "Starts the servers. If the file exists, shows what has changed and writes nothing (exit "
        "code 2) without --update.",
        "server --servers --env-file --update|--check --workflows --json",
        {
            "--json": flag("print what differs as JSON, and the text on stderr"),
            "--workflows": {
                "type": Path,
                "metavar": "DIR",
                "help": "show which workflows in this directory the changes break",
            },
        },
    ),
    "catalog": (
        "print the tools and a guide to the workflow format, for a model",
        "Together with `orchestrator schema` it is all that a model needs to write a workflow. "
        "Takes the tools from the lock file, and starts the servers that are not in it.",
        "server --servers --no-pool --env-file --no-lock --json --no-guide",
        {"--json": flag("print tools and guide as JSON")},
    ),
    "call": (
        "call one tool, read a resource or get a prompt",
        "Prints its output: text as it is, anything else as JSON.",
        "--servers --no-pool --env-file --no-lock --prompt|--read target arguments --timeout "
        "--json",
        {
            "--json": flag("print text as JSON too"),
            "--prompt": flag("get the prompt SERVER:NAME with these arguments"),
            "--read": flag(
                "read the resource SERVER:URI; of a URI template, the arguments are the variables"
            ),
        },
    ),
    **OF_LOGINS,
    **OF_POOL,
    **OF_RUNS,
    **OF_CLUSTER,
    "init": (
        "write a servers.toml and an example that runs",
        "Takes over the servers of Claude, Cursor, VS Code, Windsurf, Gemini and LM Studio that "
        "are configured here. Overwrites nothing.",
        "directory",
        {},
    ),
    "completion": (
        "print a script that completes commands and options in a shell",
        'bash: eval "$(orchestrator completion bash)" in ~/.bashrc; zsh: likewise, with zsh; '
        "fish: orchestrator completion fish > ~/.config/fish/completions/orchestrator.fish",
        "shell line",
        {},
    ),
    "schema": (
        "print the JSON Schema of the workflow file",
        'Name its path as "$schema" in a workflow, and your editor completes the file.',
        "of",
        {
            "of": {
                "nargs": "?",
                "choices": ["workflow", "test", "recording"],
                "default": "workflow",
                "metavar": "KIND",
                "help": "the kind of file (default: workflow); a test is that of `orchestrator "
                "test`, a recording that of `run --record`",
            }
        },
    ),
}
