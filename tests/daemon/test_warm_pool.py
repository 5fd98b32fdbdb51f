"""What commands do with servers that another process keeps."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from orchestrator import Orchestrator
from orchestrator.calls.call import Attempt, Call
from orchestrator.daemon.configuration import document_of
from orchestrator.daemon.warm_server import WarmServer
from orchestrator.engine.events import ServerToolsChanged, TaskWaiting
from orchestrator.errors import CallError, WorkflowError
from orchestrator.servers.catalog import Catalog
from orchestrator.servers.lockfile import Lockfile
from orchestrator.servers.pool import ServerPool
from tests.daemon.pools import Warm, faulty, table, until, warm

pytestmark = pytest.mark.anyio


def plan(*tasks: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"tasks": list(tasks), **fields}


def task(name: str, tool: str, **arguments: Any) -> dict[str, Any]:
    return {"id": name, "tool": f"faulty:{tool}", "arguments": arguments}


async def test_runs_share_the_processes_and_give_what_they_give_without(tmp_path: Path) -> None:
    document = plan(
        task("a", "echo", value={"n": [1, 2.5, None, "ü"]}),
        task("b", "echo", value="$OUTPUT[a].value.n[1]"),
        task("c", "fail", message="no"),
        task("d", "rpc_error"),
        task("e", "missing"),
    )
    del document["tasks"][-1]
    async with warm(tmp_path, faulty()) as kept:
        pids = []
        for _ in range(2):
            async with Orchestrator(kept.pool()) as orchestrator:
                result = await orchestrator.run(document)
                pids.append((await orchestrator.run(plan(task("p", "pid"))))["p"].output)
                assert orchestrator.failure("faulty") is None
        assert pids[0] == pids[1]
        assert kept.said == []
    async with Orchestrator(ServerPool(kept.servers)) as cold:
        same = await cold.run(document)
    for name, settled in result.tasks.items():
        assert settled.output == same[name].output
        assert settled.error == same[name].error
        assert settled.status == same[name].status


async def test_a_wrong_plan_and_lists_of_tools_are_as_without(tmp_path: Path) -> None:
    async with warm(tmp_path, faulty(deny=["hang"])) as kept:
        wrong = plan(task("a", "echoo"), task("b", "hang"))
        async with Orchestrator(kept.pool()) as orchestrator:
            found = [str(each) for each in await orchestrator.findings(wrong)]
            tools = await orchestrator.tools()
            assert await orchestrator.offered("faulty", "prompts") is None
            assert await orchestrator.call("faulty:echo", {"value": 7}) == {"value": 7}
        async with Orchestrator(ServerPool(kept.servers)) as cold:
            assert found == [str(each) for each in await cold.findings(wrong)]
            assert tools == await cold.tools()


async def test_progress_and_logs_come_through(tmp_path: Path) -> None:
    seen: list[Any] = []
    async with warm(tmp_path, faulty()) as kept, Orchestrator(kept.pool()) as orchestrator:
        document = plan(task("a", "progress", steps=2), {**task("b", "log", message="hi")})
        await orchestrator.run(document, observers=[seen.append])
    names = [event.name for event in seen]
    assert names.count("task_progress") == 3
    assert [event.data for event in seen if event.name == "server_log"] == ["hi"]


async def test_a_server_that_changes_its_tools_is_known_at_once(tmp_path: Path) -> None:
    seen: list[Any] = []
    async with warm(tmp_path, faulty()) as kept, Orchestrator(kept.pool()) as orchestrator:
        changed = anyio.Event()

        def note(event: Any) -> None:
            seen.append(event)
            if isinstance(event, ServerToolsChanged):
                changed.set()

        document = plan(
            task("a", "change_tools", names=["fresh"]), {**task("b", "hang"), "timeout_s": 30}
        )
        async with (
            orchestrator.begin(document, observers=[note]) as run,
            anyio.create_task_group() as group,
        ):
            group.start_soon(run.execute)
            await changed.wait()
            run.cancel("seen")
        assert "fresh" in {tool.name for tool in await orchestrator.tools()}


async def test_every_session_in_the_pool_has_to_be_as_the_client_has_locked(tmp_path: Path) -> None:
    async with warm(tmp_path, faulty(sessions=2)) as kept:
        async with Orchestrator(kept.pool()) as first:
            await first.tools()
        catalog = kept.program().catalog
        for session, value in zip(list(kept.program()._live), ("string", "integer"), strict=True):
            given = {"names": ["fresh"], "value": value}
            await session.call(Call("t", "faulty", "change_tools", given))
            await until(lambda: value in str(catalog.listed("faulty").get("fresh")))  # noqa: B023
        assert [tool.name for tool in catalog.others("faulty")] == ["fresh"]
        lock = Lockfile.made_of(catalog.listed("faulty").values(), ["faulty"])
        pool = kept.pool(lock=lock)
        async with Orchestrator(pool) as orchestrator:
            with pytest.raises(WorkflowError, match="fresh"):
                await orchestrator.run(plan(task("a", "fresh", value=1)))
            assert await orchestrator.call("faulty:echo", {"value": 7}) == {"value": 7}


async def test_cancelling_a_run_cancels_its_call_in_the_server(tmp_path: Path) -> None:
    async with warm(tmp_path, faulty()) as kept, Orchestrator(kept.pool()) as orchestrator:
        async with (
            orchestrator.begin(plan(task("a", "hang", label="x"))) as run,
            anyio.create_task_group() as group,
        ):
            group.start_soon(run.execute)
            await until(kept.calls)
            run.cancel("enough")
        await until(lambda: not kept.calls())
        assert await orchestrator.call("faulty:cancelled") == {"cancelled": ["x"]}


async def test_limits_are_shared_by_all_that_use_the_pool(tmp_path: Path) -> None:
    waits: list[Any] = []
    async with warm(tmp_path, faulty(max_concurrency=1)) as kept:
        async with Orchestrator(kept.pool()) as one, Orchestrator(kept.pool()) as two:
            first = {**task("a", "hang"), "timeout_s": 60}
            async with one.begin(plan(first)) as run, anyio.create_task_group() as group:
                group.start_soon(run.execute)
                await until(kept.calls)

                def note(event: Any) -> None:
                    if isinstance(event, TaskWaiting):
                        waits.append(event)
                        run.cancel("its turn")

                result = await two.run(
                    plan({**task("b", "echo", value=1), "timeout_s": 5}), observers=[note]
                )
        assert result["b"].output == {"value": 1}
        assert [each.waiting_for for each in waits] == ['a slot of server "faulty"']
        assert kept.host.servers["faulty"].policy.slots is not None
        assert kept.host.servers["faulty"].policy.slots.idle


async def test_locks_are_shared_by_all_that_use_the_pool(tmp_path: Path) -> None:
    async with warm(tmp_path, faulty()) as kept:
        async with Orchestrator(kept.pool()) as one, Orchestrator(kept.pool()) as two:
            holds = plan({**task("a", "hang"), "locks": ["door"]})
            async with one.begin(holds) as run, anyio.create_task_group() as group:
                group.start_soon(run.execute)
                await until(kept.calls)
                results: list[Any] = []

                async def second() -> None:
                    other = plan({**task("b", "echo", value=1), "locks": ["door"]})
                    results.append(await two.run(other))

                group.start_soon(second)
                await until(lambda: kept.host.locks._named["door"]._wanted)
                assert not results
                run.cancel("its turn")
            assert results[0]["b"].status == "success"
        await until(lambda: not kept.host.locks._named)


async def test_a_pool_that_dies_costs_the_calls_in_flight_only(tmp_path: Path) -> None:
    async with warm(tmp_path, faulty(max_concurrency=2)) as kept:
        async with Orchestrator(kept.pool()) as orchestrator:
            document = plan(
                task("a", "append", value=1, ms=60_000),
                {**task("b", "echo", value=2), "depends_on": ["a"], "run_if": "all_done"},
            )
            async with orchestrator.begin(document) as run:
                results: list[Any] = []

                async def execute() -> None:
                    results.append(await run.execute())

                async with anyio.create_task_group() as group:
                    group.start_soon(execute)
                    await until(kept.calls)
                    kept.kill()
            [result] = results
            error = result["a"].error
            assert error is not None
            assert (error.kind, error.details["lost"]) == ("server_unavailable", True)
            assert result["b"].output == {"value": 2}
            assert orchestrator.failure("faulty") is None
        assert kept.said == ["the warm pool has ended; this command goes on with its own servers"]


async def test_only_what_changed_is_started_anew(tmp_path: Path) -> None:
    async with warm(tmp_path, faulty("one"), faulty("two")) as kept:
        pool = kept.pool()
        async with Orchestrator(pool) as orchestrator:
            pid = await orchestrator.call("one:pid")
            old = await orchestrator.call("two:pid")
            changed = [faulty("one"), faulty("two", env={"X": "1"}), faulty("three")]
            done = await kept.host.configure([document_of(each) for each in changed])
            assert done == {"started": ["three"], "restarted": ["two"], "ended": []}
            # It goes on with a program of its own, as it is configured there.
            assert await orchestrator.call("two:pid") not in (old, None)
            assert await orchestrator.call("one:pid") == pid
        async with Orchestrator(kept.pool(table(*changed))) as renewed:
            assert await renewed.call("one:pid") == pid
        assert kept.said == []


async def test_a_server_of_another_configuration_is_started_by_the_command(tmp_path: Path) -> None:
    async with warm(tmp_path, faulty("one"), faulty("two")) as kept:
        mine = table(faulty("one"), faulty("two", env={"TOKEN": "other-secret"}))
        async with Orchestrator(kept.pool()) as orchestrator:
            one, two = await orchestrator.call("one:pid"), await orchestrator.call("two:pid")
        async with Orchestrator(kept.pool(mine)) as orchestrator:
            assert await orchestrator.call("one:pid") == one
            assert await orchestrator.call("two:pid") != two
        assert len(kept.said) == 1
        assert 'server "two" (env)' in kept.said[0]
        assert "other-secret" not in kept.said[0]


async def test_without_a_pool_the_command_does_without(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    from orchestrator.daemon.place import Place

    kept = Warm(Place(tmp_path, "gone"), table(faulty()))
    async with Orchestrator(kept.pool()) as orchestrator:
        assert await orchestrator.call("faulty:echo", {"value": 1}) == {"value": 1}
    assert kept.said == ["the warm pool is not there any more; this command starts its own servers"]


async def test_a_pool_ends_when_nobody_comes(tmp_path: Path) -> None:
    async with warm(tmp_path, faulty()) as kept:
        async with Orchestrator(kept.pool()) as orchestrator:
            kept.host.set_idle(0.0)
            assert await orchestrator.call("faulty:echo", {"value": 1}) == {"value": 1}
        await until(lambda: not kept.host.servers)


async def test_a_server_that_is_down_is_reported_as_without(tmp_path: Path) -> None:
    gone = faulty().model_copy(update={"command": "no-such-program"})
    async with warm(tmp_path, gone) as kept, Orchestrator(kept.pool()) as orchestrator:
        result = await orchestrator.run(plan(task("a", "echo", value=1)))
        status = await kept.host.status()
    async with Orchestrator(ServerPool(kept.servers)) as cold:
        same = await cold.run(plan(task("a", "echo", value=1)))
    error, cold_error = result["a"].error, same["a"].error
    assert error is not None
    assert cold_error is not None
    assert error.kind == cold_error.kind
    assert error.message.startswith(cold_error.message)
    assert "no-such-program" in status["servers"][0]["error"]
    assert status["servers"][0]["calls"] == 0


async def test_a_question_of_a_server_is_asked_where_the_run_is(tmp_path: Path) -> None:
    asked: list[Any] = []

    async def elicit(message: str, schema: Any) -> tuple[Any, bool]:
        asked.append((message, schema))
        return {"n": 3}, False

    async with warm(tmp_path, faulty()) as kept:
        pool = kept.pool()
        async with pool:
            await pool.open(["faulty"])

            async def call(_: Call, attempt: Attempt) -> Any:
                assert attempt.elicit is not None
                return await attempt.elicit("How many?", {"type": "object"})

            kept.program().call = call
            attempt = Attempt()
            attempt.elicit = elicit
            answer = await pool.call(Call("a", "faulty", "echo", {"value": 1}), attempt)
    assert answer == [{"n": 3}, False]
    assert asked == [("How many?", {"type": "object"})]


async def test_a_large_output_and_one_that_is_no_json(tmp_path: Path) -> None:
    async with warm(tmp_path, faulty()) as kept, Orchestrator(kept.pool()) as orchestrator:
        large = await orchestrator.call("faulty:huge", {"bytes": 600_000})
        assert len(str(large)) >= 600_000
        deep: Any = []
        for _ in range(100_000):
            deep = [deep]
        with pytest.raises(CallError):
            await orchestrator.call("faulty:echo", {"value": deep})
        assert await orchestrator.call("faulty:echo", {"value": 1}) == {"value": 1}


async def test_prompts_that_change_are_listed_again_where_they_are_of_use() -> None:
    asked: list[Any] = []
    announced: list[Any] = []
    soon: list[Any] = []

    async def ask(what: str, **given: Any) -> Any:
        asked.append((what, given["kind"]))
        return [{"name": "new"}]

    connection: Any = SimpleNamespace(greeting={"servers": {"faulty": True}}, ask=ask)
    server, own = faulty(), cast(Any, None)
    catalog = Catalog({"faulty": server})
    warm_server = WarmServer(server, connection, own, catalog, announced.append, soon.append)
    change = {"event": "server_list_changed", "at_ms": 0.0, "server": "faulty", "kind": "prompts"}
    for known in (False, True):
        if known:
            catalog.take_prompts("faulty", [])
        warm_server.take({"failure": None, "event": change})
        await soon.pop()()
    assert [event.kind for event in announced] == ["prompts", "prompts"]
    assert asked == [("offered", "prompts")]
    assert list(catalog.prompts("faulty") or ()) == ["prompt faulty:new"]
