"""Imports point one way, and the heavy ones are where they belong."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import orchestrator

pytestmark = pytest.mark.untraced

PACKAGE = Path(orchestrator.__file__).parent
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
KNOW_MCP = ("auth", "serve", "servers", "transport")
KNOW_RICH = ("cli", "observers")
# Rooms that run under a virtual clock: they read no clock but anyio's.
CORE = ("documents", "expressions", "schema", "workflow", "check", "calls", "engine")


def modules() -> Iterator[tuple[str, Path]]:
    """Each module with its room, empty for the ground."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).parts
        yield parts[0] if len(parts) > 1 else "", path


@cache
def imports(path: Path) -> frozenset[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return frozenset(found)


def tops(path: Path) -> set[str]:
    return {imported.partition(".")[0] for imported in imports(path)}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_states_its_rule_and_lists_its_modules(room: str) -> None:
    face = importlib.import_module(f"orchestrator.{room}")
    assert "Rule: " in (face.__doc__ or ""), f"{room}: state the room's one rule"
    listed = set(face.__all__)
    assert list(face.__all__) == sorted(listed)
    there = {path.stem for path in (PACKAGE / room).glob("*.py")} - {"__init__"}
    missing = {name for name in listed - there if not hasattr(face, name)}
    assert not missing, f"{room}: {missing} do not exist"


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_listed_modules_of_other_rooms(room: str) -> None:
    listed = set(importlib.import_module(f"orchestrator.{room}").__all__)
    for other, path in modules():
        if other != room:
            start = f"orchestrator.{room}."
            used = {name.removeprefix(start) for name in imports(path) if name.startswith(start)}
            assert used <= listed, f"{path.name} imports {used - listed}, private to {room}"


def test_only_the_edges_know_the_sdk_and_the_terminal() -> None:
    for room, path in modules():
        if tops(path) & {"mcp", "mcp_types", "httpx2"}:
            assert room in KNOW_MCP, path
        if "rich" in tops(path):
            assert room in KNOW_RICH, path


def test_the_core_reads_only_anyios_clock() -> None:
    for room, path in modules():
        if room in CORE:
            assert not tops(path) & {"time", "datetime", "asyncio", "trio", "random"}, path


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
        ("runs --journal no-such-file", {"mcp", "networkx", "pydantic", "jsonschema_rs"}),
        (
            "validate --offline examples/fan_out.json",
            {"mcp", "rich", "jsonschema", "jsonschema_rs"},
        ),
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
    unwanted = {"rich", "jsonschema", "yaml", "trio", "orchestrator.transport.http"}
    unwanted |= {"opentelemetry.sdk", "orchestrator.telemetry.spans"}
    heavy = {"mcp", "mcp_types", "httpx2", "jsonschema_rs", "opentelemetry"}
    assert not (heavy | unwanted) & set(before)
    assert "mcp" in after
    # The SDK itself imports httpx2, starlette and uvicorn, whatever a session is made of.
    assert not unwanted & set(after)
