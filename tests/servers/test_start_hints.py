"""Programs that do not start: the error says why, as far as this machine tells."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import anyio
import pytest

from orchestrator import Orchestrator, Server
from orchestrator.servers.config_file import load_config
from orchestrator.servers.start_hints import start_hint

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
    ("server", "said"),
    [
        (Server(name="a", url="https://x.example"), "did not start: no such program"),
        (Server(name="a", command="x"), "closed the connection"),
        (Server(name="a", command="x"), "did not start: it did not answer within 30 s"),
        (Server(name="a", command=sys.executable), "did not start. No module named x"),
        (Server(name="a", command="node"), "did not start. No module named x"),
    ],
)
def test_what_is_no_matter_of_the_program_has_no_hint(server: Server, said: str) -> None:
    assert start_hint(server, said) == ""
