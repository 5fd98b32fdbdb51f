"""Limits and locks that hold for all processes of a machine, as a servers' file asks for them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.server import MCPServer

from orchestrator import Orchestrator
from orchestrator.calls.grants import GrantedRate, GrantedSlots
from orchestrator.calls.limits import Slots
from orchestrator.engine.events import TaskWaiting
from orchestrator.errors import ConfigError
from orchestrator.servers.config import Server, ServerTable
from orchestrator.servers.config_file import load_config
from orchestrator.servers.locking import LockSettings, LockTables
from orchestrator.servers.policies import granter_of, policy_of
from orchestrator.servers.pool import ServerPool
from orchestrator.sharing.machine import Machine
from tests.daemon.pools import faulty, until, warm
from tests.servers.test_resources import problems, written

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of this test for what processes share."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "orchestrator" / "host"


def test_a_servers_file_says_for_whom_limits_and_locks_hold(tmp_path: Path) -> None:
    text = '[locks]\n"file:*" = { scope = "process" }\n[locks."*"]\nscope = "host"\n'
    more = '[servers.b]\nurl = "http://x/"\nscope = "process"\n[defaults]\nscope = "host"\n'
    made = load_config(written(tmp_path, text + more))
    assert {name: server.scope for name, server in made.items()} == {"a": "host", "b": "process"}
    assert [made.locking.is_of_host(name) for name in ("file:x", "deploy")] == [False, True]
    assert not LockTables().is_of_host("deploy")


def test_mistakes_are_told_with_what_was_meant(tmp_path: Path) -> None:
    text = '[locks.a]\nscope = "cluster"\n[locks.b]\nscop = "host"\n[locks.c]\nscope = "hots"\n'
    text += '[lock]\nx = 1\n[servers.b]\ncommand = "b"\nscope = "machine"\n'
    assert sorted(problems(written(tmp_path, text))) == [
        ("/lock", 'unknown table "lock". Did you mean "locks"?'),
        ("/locks/a/scope", 'expected one of "process", "host", got "cluster"'),
        ("/locks/b/scop", 'unknown field "scop". Did you mean "scope"?'),
        ("/locks/c/scope", 'expected one of "process", "host", got "hots". Did you mean "host"?'),
        ("/servers/b/scope", 'expected one of "process", "host", got "machine"'),
    ]
    text = '[defaults]\nmax_concurrency = "auto"\n[servers.b]\ncommand = "b"\nscope = "host"\n'
    assert problems(written(tmp_path, text)) == [
        (
            "/servers/b/scope",
            'expected a number for max_concurrency with scope = "host": "auto" adapts by itself',
        )
    ]


def test_who_does_not_ask_for_it_pays_nothing(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = ServerPool({"a": Server(command="a", max_concurrency=2, rate="3/s")})
    assert plain.locks.wider is None
    assert type(plain.policies["a"].slots) is Slots
    assert not state.exists()
    host = Server(name="a", command="a", scope="host")
    monkeypatch.delattr(os, "mkfifo")
    assert granter_of(ServerTable()) is None
    with pytest.raises(ConfigError, match="needs named pipes, which this system does not have"):
        ServerPool({"a": host})


def test_all_limits_of_a_server_are_those_of_the_machine(state: Path) -> None:
    tools = {"x*": {"max_concurrency": 1, "rate": "1/s"}}
    given = {"command": "a", "max_concurrency": 2, "rate": "3/s", "scope": "host", "tools": tools}
    one = Server.model_validate({"name": "one", **given})
    two = Server.model_validate({"name": "two", "env": {"KEY": "2"}, **given})
    other = Server.model_validate({"name": "one", **given, "args": ["other"]})
    machine = Machine(state)

    def names(server: Server) -> list[Any]:
        policy = policy_of(server, machine)
        assert policy.tools is not None
        limits = (policy.slots, policy.writers, policy.rate, *policy.tools["x*"])
        assert [type(each) for each in limits[:3]] == [GrantedSlots, GrantedSlots, GrantedRate]
        turns = [each._turn if isinstance(each, GrantedRate) else each for each in limits]
        return [each._claim.hold.name for each in turns if isinstance(each, GrantedSlots)]

    assert names(one) == names(two)  # it is the same program, whatever it is called
    assert len(set(names(one))) == 5
    assert not set(names(one)) & set(names(other))
    assert not state.exists()  # nothing is made before it is needed


async def test_runs_of_two_processes_share_limits_and_locks() -> None:
    now = most = 0
    server = MCPServer("counter")

    @server.tool()
    async def work(locked: bool) -> int:
        nonlocal now, most
        now += 1
        most = max(most, now)
        assert most <= (1 if locked else 2)
        await anyio.sleep(0.01)
        now -= 1
        return now

    given = Server(name="s", target=server, max_concurrency=2, rate="1000/s", scope="host")
    servers = ServerTable({"s": given})
    servers.locking = LockTables(locks={"door": LockSettings(scope="host")})
    each = {"id": "a", "tool": "s:work", "for_each": [1] * 6, "arguments": {"locked": False}}
    door = {**each, "locks": ["door"], "arguments": {"locked": True}}
    async with Orchestrator(servers) as one, Orchestrator(servers) as two:
        for task in (each, door):
            most, results = 0, list[Any]()

            async def run(orchestrator: Orchestrator, task: dict[str, Any] = task) -> None:
                results.append(await orchestrator.run({"tasks": [task]}))  # noqa: B023

            async with anyio.create_task_group() as group:
                group.start_soon(run, one)
                group.start_soon(run, two)
            assert [result.status for result in results] == ["success"] * 2
            assert most > 0
    assert Machine().state() == []


async def test_a_warm_pool_and_those_without_it_share_them(runtime: Path) -> None:
    hangs = {"id": "a", "tool": "faulty:hang", "arguments": {}, "timeout_s": 60, "locks": ["door"]}
    echo = {"id": "b", "tool": "faulty:echo", "arguments": {"value": 2}}
    waits: list[str] = []
    given = faulty(max_concurrency=1, scope="host")
    async with warm(runtime, given) as kept:
        servers = ServerTable(kept.servers)
        servers.locking = LockTables(locks={"door": LockSettings(scope="host")})
        async with (
            Orchestrator(kept.pool(servers)) as one,
            Orchestrator(servers) as two,
            one.begin({"tasks": [hangs]}) as run,
            anyio.create_task_group() as group,
        ):
            group.start_soon(run.execute)
            await until(kept.calls)
            (state,) = Machine().state()
            assert (state["name"], state["holders"][0]["task"]) == ("door", "a")

            def note(event: Any) -> None:
                if isinstance(event, TaskWaiting):
                    waits.append(event.waiting_for)
                    if len(waits) == 2:
                        run.cancel("its turn")

            tasks = [{**echo, "id": "c", "locks": ["door"]}, echo]
            result = await two.run({"tasks": tasks}, observers=[note])
    assert [each.output for each in result.tasks.values()] == [{"value": 2}] * 2
    assert set(waits) == {'a slot of server "faulty"', 'lock "door"'}
    assert kept.said == []
