"""A command that no system call can take is an error of its own server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator import Orchestrator, Server
from orchestrator.servers import supervisor
from orchestrator.servers.config_file import load_config
from orchestrator.transport.parameters import StdioParameters
from orchestrator.transport.process import start
from tests.real_servers import TIMEOUT_S, faulty, plan

pytestmark = pytest.mark.anyio

UNUSABLE = [
    ({"command": "tr\0ue"}, "command contains a NUL character"),
    ({"command": "true", "args": ["a", "b\0"]}, r"args\[1\] contains a NUL character"),
    ({"command": "true", "cwd": "/tmp/\0"}, "cwd contains a NUL character"),
    ({"command": "true", "env": {"A": "secret\0"}}, r"env\.A contains a NUL character"),
    ({"command": "true", "env": {"A\0": "secret"}}, "a name in env contains a NUL character"),
    ({"command": "true", "env": {"A=secret": ""}}, 'in env contains "=": it begins with "A"'),
    ({"command": "true", "args": ["\ud800"]}, r"args\[0\] contains a character that cannot be"),
    ({"command": "true", "env": {"A": "\ud800"}}, r"env\.A contains a character that cannot be"),
    ({"command": "x" * 10_000_000}, "too long"),
    ({"command": "true", "args": ["x" * 10_000_000]}, "Argument list too long"),
    ({"command": "/"}, "Permission denied"),
]


def pipes() -> int:
    return len(list(Path("/dev/fd").iterdir()))


@pytest.mark.parametrize(("fields", "said"), UNUSABLE)
async def test_a_command_that_cannot_be_started_is_an_os_error_and_leaks_nothing(
    fields: dict[str, Any], said: str
) -> None:
    before = pipes()
    with pytest.raises(OSError, match=said) as caught:
        await start(StdioParameters(**fields))
    assert "secret" not in str(caught.value)
    assert pipes() == before


async def test_a_pipe_that_cannot_be_made_leaks_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    before, pipe = pipes(), os.pipe

    def pipe_once() -> tuple[int, int]:
        monkeypatch.setattr(os, "pipe", lambda: os.open("/nowhere", os.O_RDONLY))
        return pipe()

    monkeypatch.setattr(os, "pipe", pipe_once)
    with pytest.raises(FileNotFoundError):
        await start(StdioParameters("true"))
    assert pipes() == before


@pytest.mark.parametrize("loaded", [True, False])
@pytest.mark.parametrize("fields", [fields for fields, _ in UNUSABLE[:8:2]])
async def test_a_command_that_cannot_be_started_costs_only_its_own_tasks(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], *, loaded: bool
) -> None:
    monkeypatch.setattr(supervisor, "_sdk_is_loaded", lambda: loaded)
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator({"bad": Server(**fields), "good": faulty()}) as orchestrator:
            result = await orchestrator.run(plan(("bad:x", {}), ("good:echo", {"value": 1})))
    error = result["t0"].error
    assert error is not None
    assert error.kind == "server_unavailable"
    assert 'server "bad" did not start: OSError: ' in error.message
    assert result["t1"].output == {"value": 1}


def test_a_directory_that_is_no_path_costs_only_its_server(tmp_path: Path) -> None:
    (tmp_path / "servers.json").write_text(
        '{"mcpServers": {"x": {"command": "true", "cwd": "a\\u0000b"}, "y": {"command": "true"}}}'
    )
    servers = load_config(tmp_path / "servers.json")
    assert "y" in servers
