"""Files that other programs wrote: what fits is used, and a mistake costs only its own server."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from orchestrator import ConfigError, Orchestrator, Server, Workflow, WorkflowError
from orchestrator.cli.snippets import rendered
from orchestrator.errors import Problem
from orchestrator.servers.config import FIELDS
from orchestrator.servers.config_file import load_config
from orchestrator.servers.config_source import ConfigSource

pytestmark = pytest.mark.anyio
PROGRAM = {"command": "python3", "args": ["server.py"], "cwd": "."}


def load(tmp_path: Path, data: Any, name: str = "desktop.json", **env: str) -> dict[str, Server]:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return load_config(path, env)


def one(tmp_path: Path, fields: Any, **env: str) -> Server:
    [server] = load(tmp_path, {"mcpServers": {"s": fields}}, **env).values()
    return server


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"type": "local", "tools": ["*"]}, {}),
        ({"type": "stdio", "headers": {}}, {}),
        ({"headers": {"A": "b"}, "url": ""}, {}),
        ({"type": "stdio", "url": "https://x.example/mcp"}, {}),
        ({"timeout": 60, "alwaysAllow": ["x"], "env": None}, {}),
        ({"rate": 5, "required": "yes", "sessions": "two", "timeout_s": None}, {}),
        ({"allow": True, "deny": {"a": 1}, "writes": "all", "protocol": 2}, {}),
        ({"disabled": False, "enabled": True, "isActive": True}, {}),
        (
            {"env": {"PORT": 8080, "DEBUG": True, "NONE": None, "A": "b"}},
            {"env": {"PORT": "8080", "DEBUG": "true", "A": "b"}},
        ),
        ({"timeout_s": 4, "protocol": "legacy"}, {"timeout_s": 4, "protocol": "legacy"}),
        ({"deny": ["delete_*"]}, {"deny": ["delete_*"]}),
        ({"deny": "delete_*"}, {"deny": ["delete_*"]}),
    ],
)
def test_fields_of_other_programs_are_ignored_and_ours_taken_where_they_fit(
    tmp_path: Path, more: dict[str, Any], expected: dict[str, Any]
) -> None:
    server = one(tmp_path, {**PROGRAM, **more})
    assert server.unusable == ""
    assert server.model_dump(exclude_defaults=True) == {
        "name": "s",
        "command": "python3",
        "args": ["server.py"],
        "cwd": str(tmp_path),
        **expected,
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "https://x.example/mcp", "env": {}, "args": [], "cwd": "."},
        {"type": "http", "url": "https://x.example/mcp", "command": ""},
        {"type": "streamable-http", "url": "https://x.example/mcp", "command": "left over"},
        {"serverUrl": "https://x.example/mcp"},
        {"httpUrl": "https://x.example/mcp", "env": {"A": "b"}},
    ],
)
def test_a_url_may_have_leftovers_of_a_program(tmp_path: Path, fields: dict[str, Any]) -> None:
    server = one(tmp_path, fields)
    assert (server.unusable, server.url) == ("", "https://x.example/mcp")
    assert (server.command, server.args, server.cwd) == (None, [], None)


@pytest.mark.parametrize(
    ("fields", "transport"),
    [
        ({"type": "sse"}, "sse"),
        ({"transport": "sse"}, "sse"),
        ({"type": "http", "transport": "http"}, "streamable-http"),
        ({"transport": "streamable-http"}, "streamable-http"),
    ],
)
def test_the_transport_of_a_url_is_that_of_the_file(
    tmp_path: Path, fields: dict[str, Any], transport: str
) -> None:
    server = one(tmp_path, {"url": "https://x.example/sse", **fields})
    assert (server.unusable, server.transport) == ("", transport)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        (None, "expected object, got null"),
        ([], "expected object, got empty array"),
        ({}, "expected a command or a url, got neither"),
        ({"command": ["npx"]}, "expected string, got array"),
        ({"command": "python3 -m x", "args": 5}, "expected array, got integer 5"),
        ({"command": "python3 -m x", "args": "y"}, 'expected array, got string "y"'),
        ({"command": "x", "url": "https://x"}, "expected a command or a url, got both"),
        ({"command": "x", "env": {"A": "${MISSING}"}}, "environment variable MISSING is not set"),
        ({"command": "x", "args": ["${input:key}"]}, '"${input:key}" asks a person'),
        ({"url": "x.example"}, "expected a URL"),
    ],
)
async def test_a_server_that_cannot_be_used_costs_only_its_own_tasks(
    tmp_path: Path, fields: Any, why: str
) -> None:
    servers = load(tmp_path, {"mcpServers": {"bad": fields, "good": {"command": "true"}}})
    assert servers["good"].unusable == ""
    assert why in servers["bad"].unusable
    assert f'(in "{tmp_path / "desktop.json"}")' in servers["bad"].unusable
    plan = Workflow.load({"tasks": [{"id": "a", "tool": "bad:x"}]})
    async with Orchestrator({"bad": servers["bad"]}) as orchestrator:
        result = await orchestrator.run(plan)
    error = result["a"].error
    assert error is not None
    assert (error.kind, error.retryable) == ("server_unavailable", False)
    assert why in error.message


def test_a_name_with_a_colon_cannot_be_used(tmp_path: Path) -> None:
    servers = load(tmp_path, {"mcpServers": {"a:b": PROGRAM, "": PROGRAM, "c": PROGRAM}})
    assert [bool(server.unusable) for server in servers.values()] == [True, True, False]


@pytest.mark.parametrize("off", [{"disabled": True}, {"enabled": False}, {"isActive": False}])
def test_a_server_that_is_switched_off_is_left_out(tmp_path: Path, off: dict[str, Any]) -> None:
    servers = load(tmp_path, {"mcpServers": {"a": {**PROGRAM, **off}, "b": PROGRAM}})
    assert list(servers) == ["b"]


def test_a_name_may_have_blanks_in_the_file_and_in_a_workflow(tmp_path: Path) -> None:
    name = "Design MCP for Teams"
    assert load(tmp_path, {"mcpServers": {name: PROGRAM}})[name].unusable == ""
    plan = Workflow.load({"tasks": [{"id": "a", "tool": f"{name}:draw it: now"}]}).plan
    assert list(plan.servers) == [name]


def test_a_command_line_is_split_into_its_words(tmp_path: Path) -> None:
    server = one(tmp_path, {"command": "python3 -m 'my server'", "args": ["--port", 8080]})
    assert (server.command, server.args) == ("python3", ["-m", "my server", "--port", "8080"])
    program = tmp_path / "my server"
    program.touch()
    assert one(tmp_path, {"command": str(program)}).command == str(program)
    assert one(tmp_path, {"command": "./my server"}).command == "./my server"


def test_the_directory_is_that_of_the_process_unless_it_is_given(tmp_path: Path) -> None:
    assert one(tmp_path, {"command": "x"}).cwd is None
    assert one(tmp_path, {"command": "x", "cwd": "sub"}).cwd == str(tmp_path / "sub")


VS_CODE = """{
    // written by an editor
    "inputs": [{"type": "promptString", "id": "key", "password": true}],
    "servers": {
        "files": {
            "type": "stdio", "command": "npx", "envFile": "${workspaceFolder}/.env",
            "args": ["-y", "server-files", "${workspaceFolder}", "${userHome}", "a${/}b", "${x y}"],
            "env": {"TOKEN": "${env:TOKEN}"}, "dev": {"watch": "src"},
        },
        "web": {"type": "http", "url": "https://x.example/mcp", "headers": {"A": "${input:key}"}},
    },
}"""


def test_a_file_of_vs_code_is_read(tmp_path: Path) -> None:
    servers = load(tmp_path, VS_CODE, ".vscode/mcp.json", TOKEN="abcd")
    files = servers["files"]
    home, slash = str(Path.home()), os.sep
    assert files.args == ["-y", "server-files", str(tmp_path), home, f"a{slash}b", "${x y}"]
    assert (files.command, files.env, files.cwd) == ("npx", {"TOKEN": "abcd"}, None)
    assert "abcd" not in files.redact("abcd")
    assert '"${input:key}" asks a person' in servers["web"].unusable


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("mcp.json", {"servers": {"a": {"command": "x", "tools": ["*"]}}}),
        ("any.json", {"servers": {"a": {"command": "x", "type": "stdio", "tools": ["*"]}}}),
        ("any.jsonc", {"servers": {"a": {"command": "x", "tools": ["*"]}}, "inputs": []}),
    ],
)
def test_a_file_of_vs_code_is_told_from_ours(tmp_path: Path, name: str, data: Any) -> None:
    assert load(tmp_path, data, name)["a"].unusable == ""
    with pytest.raises(ConfigError, match="expected object, got array"):
        load(tmp_path, {"servers": {"a": {"command": "x", "tools": ["*"]}}}, "ours.json")


names = st.sampled_from([*FIELDS, "type", "disabled", "inputs", "serverUrl", "x", "a b", "a:b", ""])
leaves = st.sampled_from(
    [None, True, 0, 1.5, "", "x", "python3 -m x", "https://x", "${A}", "${input:a}", "1/s", "\x00"]
)
anything = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
tables = st.dictionaries(names, anything | st.dictionaries(names, anything), max_size=2)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables | anything, st.sampled_from(["servers", "mcpServers"]), anything)
@example({"a": {"command": "x", "env": True}}, "servers", None)
def test_any_file_is_read_or_refused_with_places(
    tmp_path: Path, table: Any, at: str, more: Any
) -> None:
    problems: tuple[Problem, ...] = ()
    servers: dict[str, Server] = {}
    try:
        servers = load(tmp_path, {at: table, "defaults": more})
    except ConfigError as error:
        problems = error.problems
    path = tmp_path / "desktop.json"
    lines = rendered(str(path), problems, "", 80, verbose=True, kind=ConfigSource)
    assert len(list(lines)) > len(problems)
    assert at == "servers" or {each.code for each in problems} <= {"no_servers"}
    assert all(server.unusable or server.parameters for server in servers.values())


# Variables in a file of their own.


def with_env_file(tmp_path: Path, text: str, **more: Any) -> Server:
    (tmp_path / ".env").write_bytes(text.encode())
    fields = {"command": "x", "envFile": "${workspaceFolder}/.env", **more}
    [server] = load(tmp_path, {"servers": {"s": fields}}, ".vscode/mcp.json").values()
    return server


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=1", "1"),
        ("export A = two words ", "two words"),
        ("\ufeffA='single # \"it\"' # why", 'single # "it"'),
        ('A="line\\nbreak \\"q\\""', 'line\nbreak "q"'),
        ("A=plain # why", "plain"),
        ("A=a#b", "a#b"),
        ("A=", ""),
        ("A=https://x.example/?b=c", "https://x.example/?b=c"),
        ("A=${HOME}", "${HOME}"),
        ("# A=no\n\nno line\r\nA=crlf\r\n", "crlf"),
    ],
)
def test_the_file_of_variables_that_vs_code_names_is_read(
    tmp_path: Path, line: str, value: str
) -> None:
    assert with_env_file(tmp_path, line).env == {"A": value}


def test_the_variables_of_the_server_go_before_those_of_its_file_and_all_are_secret(
    tmp_path: Path,
) -> None:
    server = with_env_file(tmp_path, "A=from-file-1\nB=from-file-2", env={"A": "own"})
    assert server.env == {"A": "own", "B": "from-file-2"}
    assert "from-file-2" not in str(server.redact("it is from-file-2"))


def test_a_file_of_variables_that_is_missing_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = with_env_file(tmp_path, "A=1", envFile="nowhere/.env")
    assert (server.unusable, server.env) == ("", {})
    said = f'server "s": its envFile "{tmp_path}/.vscode/nowhere/.env" does not exist'
    assert [record.getMessage().partition(",")[0] for record in caplog.records] == [said]


def test_a_file_of_variables_that_cannot_be_read_costs_its_server(tmp_path: Path) -> None:
    server = with_env_file(tmp_path, "A=1", envFile=".")
    assert "cannot be read: Is a directory" in server.unusable
    assert "envFile" in server.unusable
    (tmp_path / "bytes.env").write_bytes(b"A=\xff")
    server = with_env_file(tmp_path, "", envFile="../bytes.env")
    assert "it is not a text file in UTF-8" in server.unusable


def test_a_server_with_a_url_reads_no_file_of_variables(tmp_path: Path) -> None:
    fields = {"url": "https://x.example/mcp", "envFile": "nowhere"}
    [server] = load(tmp_path, {"servers": {"s": fields}}, "mcp.json").values()
    assert (server.unusable, server.env) == ("", {})


# Servers that are switched off.


@pytest.mark.parametrize(
    ("off", "written"),
    [
        ({"disabled": True}, '"disabled": true'),
        ({"enabled": False}, '"enabled": false'),
        ({"isActive": False}, '"isActive": false'),
    ],
)
async def test_a_task_of_a_server_that_is_switched_off_says_so_and_how_to_enable_it(
    tmp_path: Path, off: dict[str, Any], written: str
) -> None:
    path = tmp_path / "desktop.json"
    path.write_text(json.dumps({"mcpServers": {"a": {**PROGRAM, **off}, "b": PROGRAM}}))
    said = f'server "a" is disabled: {written} in "{path}" (remove that to enable it)'
    plan = {"tasks": [{"id": "t", "tool": "a:x"}]}
    async with Orchestrator.from_config(path) as orchestrator:
        for use in (orchestrator.run(plan), orchestrator.findings(plan)):
            try:
                [problem] = [each for each in await use if each.severity == "error"]  # type: ignore
            except WorkflowError as error:
                [problem] = error.problems
            assert said in str(problem)
        for ask in (orchestrator.call("a:x"), orchestrator.tools("a")):
            with pytest.raises(ConfigError) as caught:
                await ask
            assert said in str(caught.value)
