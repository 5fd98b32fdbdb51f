"""From a configured server to the parameters of its transport."""

from __future__ import annotations

from orchestrator import Server
from orchestrator.transport.parameters import HttpParameters, StdioParameters


def test_a_command_becomes_the_parameters_of_a_program() -> None:
    server = Server(
        name="it",
        command="run",
        args=["-v"],
        env={"A": "b"},
        cwd="/data",
        max_result_bytes=7,
    )
    wanted = StdioParameters("run", ["-v"], {"A": "b"}, "/data", 7, label="it")
    assert server.parameters == wanted


def test_a_url_becomes_the_parameters_of_an_endpoint() -> None:
    server = Server(url="http://x/", headers={"A": "b"}, max_result_bytes=7)
    assert server.parameters == HttpParameters("http://x/", {"A": "b"}, 7)


def test_a_server_in_memory_needs_none() -> None:
    assert Server(target=object()).parameters is None


def test_parameters_show_no_secrets() -> None:
    stdio = StdioParameters("run", ["--token", "s3cr3t"], {"KEY": "s3cr3t"})
    http = HttpParameters("http://me:s3cr3t@x/", {"Authorization": "s3cr3t"})
    assert "s3cr3t" not in repr(stdio) + repr(http)
