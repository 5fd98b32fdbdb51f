"""Programs that are started before the SDK is imported."""

from __future__ import annotations

import anyio
import pytest

from orchestrator import Orchestrator, Server
from orchestrator.servers.session import Session
from orchestrator.transport.parameters import StdioParameters
from orchestrator.transport.process import start
from tests.real_servers import TIMEOUT_S, Deaf, alive, faulty, pid_of, plan

pytestmark = pytest.mark.anyio

ECHO = ("it:echo", {"value": 1})


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the SDK had not been imported yet."""
    monkeypatch.setattr("orchestrator.servers.supervisor._sdk_is_loaded", lambda: False)


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize("options", [(), ("--legacy-only",)])
async def test_the_program_that_was_started_before_is_the_servers(
    options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    pids: list[int] = []

    async def noted(parameters: StdioParameters) -> object:
        started = await start(parameters)
        pids.append(started.process.pid)
        return started

    monkeypatch.setattr("orchestrator.servers.supervisor.start", noted)
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator({"it": faulty(*options, "--stderr", "hi")}) as orchestrator:
            assert (await orchestrator.run(plan(ECHO)))["t0"].output == {"value": 1}
            # One that wants the handshake ends at the first contact, and is started afresh.
            assert (await pid_of(orchestrator, "it") in pids) is not bool(options)
    assert len(pids) == 1
    assert not any(map(alive, pids))


@pytest.mark.usefixtures("unloaded")
async def test_a_program_that_cannot_be_started_before_says_what_it_always_says() -> None:
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator({"it": Server(command="/nonexistent/program")}) as orchestrator:
            result = await orchestrator.run(plan(ECHO))
    error = result["t0"].error
    assert error is not None
    assert 'did not start: no such program or directory "/nonexistent' in error.message


def program(server: Server) -> StdioParameters:
    parameters = server.parameters
    assert isinstance(parameters, StdioParameters)
    return parameters


async def test_a_program_whose_session_is_not_wanted_any_more_is_ended() -> None:
    server = faulty().model_copy(update={"name": "it"})
    with anyio.fail_after(TIMEOUT_S):
        started = await start(program(server))
        session = Session(server, Deaf(), started)
        session.close()
        await session.own()
    assert not alive(started.process.pid)


async def test_a_program_is_killed_before_its_session_has_begun_to_open() -> None:
    server = faulty("--ignore-eof", "--ignore-sigterm").model_copy(update={"name": "it"})
    with anyio.fail_after(TIMEOUT_S):
        started = await start(program(server))
        session = Session(server, Deaf(), started)
        session.kill()
        while started.process.returncode is None:
            await anyio.sleep(0.001)
        session.close()
        await session.own()
