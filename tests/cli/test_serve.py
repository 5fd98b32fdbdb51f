"""`orchestrator serve`: what is wrong with its options, and whole processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client

from orchestrator.cli import main, serve
from orchestrator.client import Orchestrator
from orchestrator.serve import http
from orchestrator.serve.http import Guarded, allowed, app_of
from tests.serve.test_toolset import make_server

TOKEN = "a-token-that-is-long-enough"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--http", "8080"], "expected --http HOST:PORT"),
        (["--http", "localhost:99999"], "expected --http HOST:PORT"),
        (["--http", "0.0.0.0:0"], "a token is required"),
        (["--http", "example.com:0"], "a token is required"),
        (["--http", "127.0.0.1:0", "--token-file", "none"], "cannot be read: No such file"),
        (["--http", "127.0.0.1:0", "--token-file", "short"], "at least 16 characters"),
        (["--token-file", "good"], "--token-file needs --http"),
        (["--workflows", "none"], "--workflows none is no directory"),
        (["--servers", "none.toml"], "none.toml"),
    ],
)
def test_wrong_options_are_told_before_anything_starts(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("short").write_text("abc")
    Path("good").write_text(f"{TOKEN}\n")
    assert main(["serve", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_port_that_is_taken_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--http", f"127.0.0.1:{port}"]) == 2
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in capsys.readouterr().err


@pytest.mark.anyio
async def test_only_the_token_opens_it() -> None:
    passed: list[Any] = []

    async def app(scope: Any, _: Any, __: Any) -> None:
        passed.append(scope["type"])

    async def status(*headers: tuple[bytes, bytes]) -> Any:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        await guarded({"type": "http", "headers": headers}, None, send)
        return sent[0]["status"] if sent else 200

    await Guarded(app, None)({"type": "http", "headers": ()}, None, None)
    assert passed.pop() == "http"
    guarded = Guarded(app, TOKEN)
    right = (b"authorization", f"Bearer {TOKEN}".encode())
    assert await status() == 401
    assert await status((b"authorization", b"Bearer wrong")) == 401
    assert await status(right, right) == 401
    assert await status(right) == 200
    assert await status((b"authorization", f"bearer {TOKEN}".encode())) == 200
    assert await status((b"authorization", f"Basic {TOKEN}".encode())) == 401
    passed.pop()
    await guarded({"type": "lifespan"}, None, None)
    assert passed == ["http", "lifespan"]


def _fail(*_: Any) -> Any:
    raise OSError("no such name")


def test_names_of_the_machine_are_allowed_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    every = allowed("0.0.0.0", ["proxy.example"])
    assert every.enable_dns_rebinding_protection
    names = {"localhost", f"{socket.gethostname()}:*", "proxy.example:*"}
    assert names <= set(every.allowed_hosts)
    assert "https://proxy.example" in every.allowed_origins
    assert "[::1]:*" in allowed("::1").allowed_hosts
    monkeypatch.setattr(socket, "gethostname", lambda: "no.such.name.invalid")
    monkeypatch.setattr(socket, "getaddrinfo", _fail)
    assert "no.such.name.invalid" in allowed("::").allowed_hosts
    assert "evil.example" not in every.allowed_hosts


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_it_serves_over_http_until_a_signal(tmp_path: Path) -> None:
    options = serve_options(tmp_path)
    engine = Orchestrator({"mock": make_server()})
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    up = anyio.Event()

    def make() -> Any:
        server = serve._server(engine, options)
        return server, app_of(server, "127.0.0.1", TOKEN)

    async with anyio.create_task_group() as group:
        group.start_soon(http.serve_http, engine, make, listening, up.set)
        await up.wait()
        url = f"http://127.0.0.1:{port}/mcp"
        async with httpx2.AsyncClient(trust_env=False) as plain:
            assert (await plain.post(url)).status_code == 401
            evil = {"authorization": f"Bearer {TOKEN}", "host": "evil.example"}
            accepted = {"content-type": "application/json", "accept": "application/json"}
            reply = await plain.post(url, headers=evil | accepted, content=b"{}")
            assert reply.status_code == 421
        os.kill(os.getpid(), signal.SIGTERM)


def serve_options(tmp_path: Path) -> Any:
    from orchestrator.cli.arguments import build_parser

    return build_parser().parse_args(["serve", "--workflows", str(tmp_path)])


def test_without_a_journal_there_is_one_as_long_as_the_process(tmp_path: Path) -> None:
    from orchestrator.cli.arguments import build_parser

    options = build_parser().parse_args(["serve", "--no-journal"])
    with ExitStack() as stack:
        stack.enter_context(serve._journal(options))
        assert options.journal.parent.is_dir()
        assert not options.no_journal
    assert not options.journal.parent.exists()
    kept = serve_options(tmp_path)
    with serve._journal(kept):
        assert kept.journal is None


@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_the_command_serves_and_ends_the_process(
    tmp_path: Path,
    transport: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def left(code: int) -> None:
        raise SystemExit(code)

    async def over_stdio(engine: Orchestrator, make: Any, *_: Any) -> None:
        async with engine:
            assert make().mcp.name == "orchestrator"

    async def over_http(engine: Orchestrator, make: Any, listening: Any, ready: Any) -> None:
        async with engine:
            assert make()
        ready()
        listening.close()

    monkeypatch.setattr("orchestrator.serve.stdio.serve_stdio", over_stdio)
    monkeypatch.setattr("orchestrator.serve.http.serve_http", over_http)
    monkeypatch.setattr(os, "_exit", left)
    monkeypatch.setenv(serve.TOKEN, TOKEN)
    address = ["--http", "localhost:0"] if transport == "http" else []
    with pytest.raises(SystemExit, match="0"):
        main(["serve", "--servers", _servers(tmp_path), "--no-journal", *address])
    shown = capsys.readouterr().err
    assert ("serving on http://127.0.0.1:" in shown) is (transport == "http")


def _servers(tmp_path: Path) -> str:
    path = tmp_path / "servers.json"
    args = ["-m", "mock_servers.faulty"]
    path.write_text(json.dumps({"mcpServers": {"mock": {"command": sys.executable, "args": args}}}))
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_over_stdio_and_stdout_is_pure(tmp_path: Path, number: int) -> None:
    command = [sys.executable, "-m", "orchestrator", "serve", "--servers", _servers(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        client = {"name": "x", "version": "1"}
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}
        request = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
        process.stdin.write(json.dumps(request) + "\n")
        assert json.loads(process.stdout.readline())["id"] == 0
        process.send_signal(number)
        assert process.wait(90) == 0
        assert process.stdout.read() == ""


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_clients_over_http(tmp_path: Path, mode: str) -> None:
    command = [sys.executable, "-m", "orchestrator", "serve", "--servers", _servers(tmp_path)]
    with subprocess.Popen(
        [*command, "--http", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        url = process.stderr.readline().split()[-1]
        plan = {"tasks": [{"id": "a", "tool": "mock:echo", "arguments": {"value": 3}}]}
        async with Client(url, mode=mode) as client:
            done = await client.call_tool("parallel_execute", plan)
        assert done.structured_content is not None
        assert done.structured_content["status"] == "success", done.structured_content
        process.send_signal(signal.SIGTERM)
        assert process.wait(90) == 0
