"""Limits and locks that hold for all processes of a machine, as a servers' file asks for them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.server import MCPServer

from orchestrator import Orchestrator
from orchestrator.calls.grants import GrantedRate, GrantedSlots
from orchestrator.calls.limits import Slots
from orchestrator.cli import main
from orchestrator.engine.events import TaskWaiting
from orchestrator.errors import ConfigError
from orchestrator.journal.location import Address, store_of
from orchestrator.preflight import findings
from orchestrator.servers.config import Server, ServerTable
from orchestrator.servers.config_file import load_config
from orchestrator.servers.locking import LockSettings, LockTables, Scope
from orchestrator.servers.policies import machine_of, policy_of
from orchestrator.servers.pool import ServerPool
from orchestrator.sharing.cluster import Cluster
from orchestrator.sharing.machine import Machine
from orchestrator.workflow.model import Workflow
from tests.daemon.pools import faulty, until, warm
from tests.journals import ask
from tests.servers.test_resources import problems, written

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]


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
    assert [made.locking.scope_of(name) for name in ("file:x", "deploy")] == ["process", "host"]
    assert LockTables().scope_of("deploy") == "process"


def test_spread_is_warned_of_for_locks_that_each_worker_holds_by_itself(tmp_path: Path) -> None:
    made = load_config(written(tmp_path, '[locks."file:*"]\nscope = "cluster"\n'))
    of_each = {"for_each": [1], "spread": True}
    tasks = [
        {"id": "both", "tool": "a:t", "locks": ["file:$ITEM", "file:x"], **of_each},
        {"id": "own", "tool": "a:t", "locks": ["gpu"], **of_each},
    ]
    found = findings(Workflow.load({"name": "w", "tasks": tasks}), made, {})
    assert [each.task for each in found if "spread has no effect" in each.message] == ["own"]


def test_mistakes_are_told_with_what_was_meant(tmp_path: Path) -> None:
    text = '[locks.a]\nscope = "clutser"\n[locks.b]\nscop = "host"\n[locks.c]\nscope = "hots"\n'
    text += '[lock]\nx = 1\n[servers.b]\ncommand = "b"\nscope = "machine"\n'
    assert sorted(problems(written(tmp_path, text))) == [
        ("/lock", 'unknown table "lock". Did you mean "locks"?'),
        (
            "/locks/a/scope",
            'expected one of "process", "host", "cluster", got "clutser". Did you mean "cluster"?',
        ),
        ("/locks/b/scop", 'unknown field "scop". Did you mean "scope"?'),
        (
            "/locks/c/scope",
            'expected one of "process", "host", "cluster", got "hots". Did you mean "host"?',
        ),
        ("/servers/b/scope", 'expected one of "process", "host", "cluster", got "machine"'),
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
    assert machine_of(ServerTable()) is None
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
        slots = [each._slots if isinstance(each, GrantedRate) else each for each in limits]
        return [each._claim.hold.name for each in slots if isinstance(each, GrantedSlots)]

    assert names(one) == names(two)  # it is the same program, whatever it is called
    assert len(set(names(one))) == 5
    assert not set(names(one)) & set(names(other))
    assert not state.exists()  # nothing is made before it is needed


@pytest.mark.parametrize("scope", ["host", "cluster"])
async def test_runs_of_two_processes_share_limits_and_locks(
    scope: Scope, request: pytest.FixtureRequest, anyio_backend_name: str
) -> None:
    journal: Address | None = None
    if scope == "cluster":
        if anyio_backend_name == "trio":
            return  # the thread that asks is the same for all event loops
        journal = request.getfixturevalue("database")
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

    given = Server(name="s", target=server, max_concurrency=2, rate="1000/s", scope=scope)
    servers = ServerTable({"s": given})
    servers.locking = LockTables(locks={"door": LockSettings(scope=scope)})
    each = {"id": "a", "tool": "s:work", "for_each": [1] * 6, "arguments": {"locked": False}}
    door = {**each, "locks": ["door"], "arguments": {"locked": True}}
    async with (
        Orchestrator(servers, journal=journal) as one,
        Orchestrator(servers, journal=journal) as two,
    ):
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
    if journal is not None:
        assert store_of(journal).shared_locks() == []


def test_a_cluster_is_those_with_the_same_url_or_name(database: Address) -> None:
    cluster = store_of(database).granter()
    one, two = (Server(name="a", command=each, scope="cluster") for each in ("x", "y"))
    other = Server(name="b", command="x", scope="cluster")
    urls = [Server(name=each, url="http://x/", scope="cluster") for each in ("a", "b")]

    def name(server: Server) -> str:
        policy = policy_of(server.model_copy(update={"max_concurrency": 2}), cluster=cluster)
        assert isinstance(policy.slots, GrantedSlots)
        assert policy.fence is not None
        return policy.slots._claim.hold.name

    # On another machine a program may be in another place.
    assert name(one) == name(two) != name(other)
    assert name(urls[0]) == name(urls[1])
    assert type(policy_of(one.model_copy(update={"max_concurrency": 2})).slots) is Slots


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_without_a_journal_in_a_database_nothing_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: Address
) -> None:
    text = '[servers.a]\ncommand = "a"\nscope = "cluster"\n[locks."x*"]\nscope = "cluster"\n'
    (tmp_path / "servers.toml").write_text(text)
    servers = load_config(tmp_path / "servers.toml")
    with pytest.raises(ConfigError) as caught:
        Orchestrator(servers, journal=tmp_path / "runs.db")
    assert [each.path for each in caught.value.problems] == ["/servers/a/scope", "/locks/x*/scope"]
    why = 'scope = "cluster" needs a journal in PostgreSQL, and'
    assert caught.value.problems[0].message == f"{why} the journal is {tmp_path / 'runs.db'}"
    assert "ORCHESTRATOR_JOURNAL" in caught.value.problems[0].hint
    flow = {"tasks": [{"id": "t", "tool": "a:b", "arguments": {}}]}
    async with Orchestrator(servers) as none:
        with pytest.raises(ConfigError, match=f"{why} there is none"):
            await none.run(flow)
        with pytest.raises(ConfigError, match=f"{why} there is none"):
            await none.call("a:b")
    Orchestrator(servers, journal=database)
    monkeypatch.setenv("ORCHESTRATOR_JOURNAL", str(tmp_path / "runs.db"))
    (tmp_path / "flow.json").write_text(json.dumps(flow))
    command = ["--servers", str(tmp_path / "servers.toml")]
    assert main(["run", str(tmp_path / "flow.json"), *command]) == 2
    assert main(["call", "a:b", *command]) == 2


def test_one_call_shares_the_limits_of_the_journal(
    monkeypatch: pytest.MonkeyPatch, database: Address, tmp_path: Path
) -> None:
    where = f'command = "{sys.executable}"\nargs = ["-m", "mock_servers.faulty"]\n'
    text = f'[servers.a]\n{where}cwd = "{ROOT}"\nscope = "cluster"\nmax_concurrency = 1\n'
    (tmp_path / "servers.toml").write_text(text)
    monkeypatch.setenv("ORCHESTRATOR_JOURNAL", database.url)
    words = ["call", "a:echo", "value=1", "--servers", str(tmp_path / "servers.toml")]
    assert main(words) == 0
    assert ask(database, "select count(*) from claim") == [(0,)]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_call_whose_slot_is_lost_does_not_leave(database: Address) -> None:
    server, calls = MCPServer("counter"), list[int]()

    @server.tool()
    async def work() -> int:
        calls.append(1)
        return 1

    given = Server(name="s", target=server, max_concurrency=1, scope="cluster")
    task = {"id": "a", "tool": "s:work", "arguments": {}}
    again = {**task, "retry": {"max_attempts": 2, "initial_s": 0}}
    async with Orchestrator({"s": given}, journal=database) as one:
        assert (await one.run({"tasks": [task]})).status == "success"
        cluster = one._pool._cluster
        assert isinstance(cluster, Cluster)
        link, was_sure = cluster._link, list[bool]()
        monkey = pytest.MonkeyPatch()

        async def confirm() -> None:
            """As in a process that was frozen between its slot and its call."""
            if not was_sure:
                was_sure.append(cluster.is_sure)
                link.losses += 1
                cluster._seen += 1

        for tasks, status in (([task], "failed"), ([again], "success")):
            was_sure.clear()
            monkey.setattr(cluster, "confirm", confirm)
            monkey.setattr(Cluster, "is_sure", False)
            result = await one.run({"tasks": tasks})
            monkey.undo()
            assert result.status == status
        error = (await one.run({"tasks": [task]}))["a"].error
        assert error is None
    assert len(calls) == 3


@pytest.mark.parametrize("scope", ["host", "cluster"])
async def test_a_warm_pool_and_those_without_it_share_them(
    runtime: Path, scope: Scope, request: pytest.FixtureRequest, anyio_backend_name: str
) -> None:
    journal: Address | None = None
    if scope == "cluster":
        if anyio_backend_name == "trio":
            return  # as above
        journal = request.getfixturevalue("database")
    hangs = {"id": "a", "tool": "faulty:hang", "arguments": {}, "timeout_s": 60, "locks": ["door"]}
    echo = {"id": "b", "tool": "faulty:echo", "arguments": {"value": 2}}
    waits: list[str] = []
    given = faulty(max_concurrency=1, scope=scope)
    async with warm(runtime, given) as kept:
        servers = ServerTable(kept.servers)
        servers.locking = LockTables(locks={"door": LockSettings(scope=scope)})
        async with (
            Orchestrator(kept.pool(servers), journal=journal) as one,
            Orchestrator(servers, journal=journal) as two,
            one.begin({"tasks": [hangs]}) as run,
            anyio.create_task_group() as group,
        ):
            group.start_soon(run.execute)
            await until(kept.calls)
            (state,) = Machine().state() if journal is None else store_of(journal).shared_locks()
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
