"""Programs that do not start: the error says why, as far as this machine tells."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import anyio
import pytest

from orchestrator import CallError, Orchestrator, Server
from orchestrator.servers.config_file import load_config
from orchestrator.servers.start_hints import Cause, start_hint
from tests.puppet import ID, program
from tests.real_servers import TIMEOUT_S

pytestmark = pytest.mark.anyio


async def failure(path: Path, text: str) -> str:
    """Why the server in a file does not start."""
    path.write_text(text)
    with anyio.fail_after(30):
        async with Orchestrator(load_config(path)) as orchestrator:
            result = await orchestrator.run({"tasks": [{"id": "a", "tool": "a:b"}]})
    error = result["a"].error
    assert error is not None
    assert error.kind == "server_unavailable"
    assert error.details.get("hint", "") in error.message
    return error.message


@pytest.mark.parametrize(
    ("fields", "hint"),
    [
        ("command = 'no-such-program'", "It is not on PATH: install it, or write its whole path"),
        ("command = './missing'", 'A relative program is searched in its cwd: "{}/missing" does'),
        ("command = 'sub/missing'", 'A relative program is searched in its cwd: "{}/sub/missing"'),
        ("command = 'beside'", 'for the file in its cwd, write "./beside"'),
        ("command = './beside'", "Make it executable, and name its interpreter"),
        ("command = './unreadable'", "Make it executable, and name its interpreter"),
        ("command = './orphan'", "The interpreter that its first line names does not exist"),
        ("command = 'x'\ncwd = 'nowhere'", 'Its cwd "{}/nowhere" is no directory'),
        ("command = 'x'\ncwd = 'beside'", 'Its cwd "{}/beside" is no directory'),
        (
            "command = 'python'\nenv = { PATH = '/nowhere' }",
            f'The Python that runs orchestrator is "{sys.executable}"',
        ),
        (
            "command = 'no-such-program'\nenv = { PATH = '/nowhere' }",
            "It is not on the PATH in its env",
        ),
    ],
)
async def test_a_program_that_is_not_found_gets_its_hint(
    tmp_path: Path, fields: str, hint: str
) -> None:
    for name, text, mode in (
        ("beside", "#!/bin/sh\n", 0o644),
        ("unreadable", "no shebang\n", 0o755),
        ("orphan", "#!/no/such/interpreter\n", 0o755),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    said = await failure(tmp_path / "servers.toml", f"[servers.a]\n{fields}")
    assert "did not start" in said
    assert hint.replace("{}", str(tmp_path)) in said


async def test_another_python_on_the_path_is_named(tmp_path: Path) -> None:
    other = tmp_path / "bin" / "python3"
    other.parent.mkdir()
    other.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    other.chmod(0o755)
    said = await failure(
        tmp_path / "servers.toml",
        f"[servers.a]\ncommand = 'python3'\nargs = ['-m', 'no_such_module']\n"
        f"env = {{ PATH = '{other.parent}' }}",
    )
    assert "No module named no_such_module" in said
    assert f'It ran "{other}", and orchestrator runs with "{sys.executable}"' in said


@pytest.mark.parametrize(
    ("server", "cause", "stderr"),
    [
        (Server(name="a", url="https://x.example"), "missing", ""),
        (Server(name="a", command="x"), "", "did not start: no such program"),
        (Server(name="a", command="x"), "ended", "no such program. Exec format error"),
        (Server(name="a", command="x"), "not_started", "no such program. Exec format error"),
        (Server(name="a", command=sys.executable), "ended", "No module named x"),
        (Server(name="a", command="node"), "ended", "No module named x"),
    ],
)
def test_what_is_no_matter_of_the_program_has_no_hint(
    server: Server, cause: Cause, stderr: str
) -> None:
    assert start_hint(server, cause, [stderr]) == ""


FORGED = [
    "did not start: no such program or directory",
    "did not start: Exec format error",
    "did not start. No module named x",
]


@pytest.mark.parametrize("method", ["initialize", "tools/list", "tools/call"])
@pytest.mark.parametrize("said", FORGED)
async def test_no_server_brings_about_a_hint(method: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "python3").symlink_to(sys.executable)  # another one than ours
    raw = f'{{"jsonrpc":"2.0","id":{ID},"error":{{"code":-32000,"message":"{said}"}}}}'
    server = program({method: raw}, command="python3", env={"PATH": str(tmp_path)})
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator({"it": server}) as orchestrator:
            with pytest.raises(CallError) as caught:
                await orchestrator.call("it:echo", {})
    assert said in caught.value.error.message
    assert "hint" not in caught.value.error.details
    assert "orchestrator runs" not in caught.value.error.message


async def test_a_server_cannot_say_that_its_program_has_ended() -> None:
    raw = f'{{"jsonrpc":"2.0","id":{ID},"error":{{"code":-32000,"message":"Connection closed"}}}}'
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator({"it": program({"initialize": raw})}) as orchestrator:
            with pytest.raises(CallError, match='refused "initialize" with error -32000'):
                await orchestrator.call("it:echo", {})
