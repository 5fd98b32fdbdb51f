"""Imports point one way, and the heavy ones are where they belong."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import orchestrator

PACKAGE = Path(orchestrator.__file__).parent
# From the ground up: a module may import those of its own row and of the rows above it.
LAYERS = [
    {"codes", "errors", "encoding", "breaker", "clock", "framing", "certainty", "spans", "wording"},
    {"paths", "documents", "tokens", "scope", "literals", "mending"},
    {"expressions", "canonical"},
    {"sources"},
    {"templates", "references", "conversion", "contents", "graph", "inputs", "schemas"},
    {"shapes", "notation", "signatures", "misfits"},
    {"unfolding"},
    {"reader"},
    {"surroundings", "finding", "function_shapes"},
    {"comparison"},
    {"expression_shapes"},
    {"inference"},
    {"fitting", "policies"},
    {"planning"},
    {"checking", "priorities"},
    {"outcomes", "workflow"},
    {"results", "limits", "retries"},
    {"adaptive", "crew", "locks"},
    {
        "events",
        "schedules",
        "calls",
        "summary",
        "gate",
        "guide",
        "example_plan",
        "briefing",
    },
    {"effects", "counting", "capacity", "wishes", "samples"},
    {"rehearsal"},
    {"wrappers", "definitions"},
    {"differences"},
    {"jobs", "reporting"},
    {"performing"},
    {"engine", "config", "redaction", "stderr"},
    {"lockfile"},
    {"receipts", "progress", "catalogue", "processes", "outbox", "stdio", "http"},
    {"sharing"},
    {
        "transports",
        "faults",
        "listing",
        "requests",
        "listener",
        "attendant",
        "elicitation",
        "clients",
        "connection",
        "loading",
        "keeper",
        "pool",
    },
    {
        "advice",
        "contradictions",
        "lookalikes",
        "recovery",
        "problems",
        "proof",
        "preflight",
        "statistics",
        "targets",
        "opening",
    },
    {"client", "forecast", "telling"},
    {"diagrams", "layout", "svg"},
    {"observers"},
    {"cli"},
]
CORE_ENDS_BEFORE = next(n for n, layer in enumerate(LAYERS) if "config" in layer)
KNOWS_MCP = {
    "connection",
    "transports",
    "http",
    "sharing",
    "processes",
    "outbox",
    "stdio",
    "requests",
    "clients",
    "faults",
    "listing",
    "attendant",
    "elicitation",
}


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield parts[0], path


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports when it runs; those for type checking do not count."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def layer_of(module: str) -> int:
    found = [number for number, layer in enumerate(LAYERS) if module in layer]
    assert found, f"{module!r} has no layer: give it one"
    return found[0]


def test_imports_point_one_way() -> None:
    for module, path in modules():
        if module in ("__init__", "__main__"):
            continue
        for imported in imports(path):
            top, _, rest = imported.partition(".")
            if top == "orchestrator" and rest:
                below = rest.partition(".")[0]
                assert layer_of(below) <= layer_of(module), f"{path.name} imports {imported}"


def test_only_the_connection_knows_mcp_and_only_the_edges_know_rich() -> None:
    for module, path in modules():
        tops = {imported.partition(".")[0] for imported in imports(path)}
        if tops & {"mcp", "httpx2"}:
            assert module in KNOWS_MCP, f"{path.name} imports {tops & {'mcp', 'httpx2'}}"
        if "rich" in tops:
            assert module in ("cli", "observers"), path.name


def test_the_core_reads_no_clock_but_anyios() -> None:
    core = set().union(*LAYERS[:CORE_ENDS_BEFORE], {"engine"})
    for module, path in modules():
        if module in core:
            tops = {imported.partition(".")[0] for imported in imports(path)}
            assert not tops & {"time", "datetime", "asyncio", "trio", "random"}, path.name


def test_every_public_name_is_there_and_listed() -> None:
    for name in orchestrator.__all__:
        assert getattr(orchestrator, name).__name__ == name
    assert set(orchestrator.__all__) <= set(dir(orchestrator))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        orchestrator.Nothing  # noqa: B018


@pytest.mark.parametrize(
    ("command", "absent"),
    [
        ("--help", {"mcp", "networkx", "pydantic", "rich", "anyio"}),
        ("--version", {"mcp", "networkx", "pydantic", "rich", "anyio"}),
        ("schema", {"mcp", "rich"}),
        ("validate --offline examples/fan_out.json", {"mcp", "rich", "jsonschema"}),
        ("plan --offline examples/fan_out.json", {"mcp"}),
        ("plan --offline --json examples/fan_out.json", {"mcp", "rich"}),
    ],
)
def test_a_command_that_calls_no_tool_does_not_import_the_sdk(
    command: str, absent: set[str]
) -> None:
    code = (
        "import sys\nfrom orchestrator.cli import main\n"
        f"try:\n    main({command.split()!r})\nexcept SystemExit:\n    pass\n"
        "print('\\n' + ' '.join({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=PACKAGE.parent,
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & absent


# Prints what was imported when a program was started, and what in the end.
NOTING = """
import json, subprocess, sys
from orchestrator.cli import main

noted = []

class Popen(subprocess.Popen):
    def __init__(self, *arguments, **settings):
        noted.append(sorted(sys.modules))
        super().__init__(*arguments, **settings)

subprocess.Popen = Popen
code = main(sys.argv[1:])
print(json.dumps([code, *noted, sorted(sys.modules)]))
"""


def test_the_program_of_a_server_is_started_before_the_sdk_is_imported(tmp_path: Path) -> None:
    workflow = {"tasks": [{"id": "a", "tool": "it:echo", "arguments": {"value": 1}}]}
    (tmp_path / "workflow.json").write_text(json.dumps(workflow))
    arguments = json.dumps(["-m", "mock_servers.faulty"])
    server = f"command = {json.dumps(sys.executable)}\nargs = {arguments}\n"
    (tmp_path / "servers.toml").write_text(f"[servers.it]\n{server}cwd = '{PACKAGE.parent}'\n")
    files = ["--servers", str(tmp_path / "servers.toml"), str(tmp_path / "workflow.json")]
    done = subprocess.run(
        [sys.executable, "-c", NOTING, "run", "--quiet", *files],
        capture_output=True,
        text=True,
        check=True,
        cwd=PACKAGE.parent,
    )
    code, before, after = json.loads(done.stdout.splitlines()[-1])
    assert code == 0, done.stderr
    unwanted = {"rich", "jsonschema", "yaml", "trio", "orchestrator.http"}
    assert not {"mcp", "mcp_types", "httpx2", *unwanted} & set(before)
    assert "mcp" in after
    # The SDK itself imports httpx2, starlette and uvicorn, whatever a session is made of.
    assert not unwanted & set(after)
