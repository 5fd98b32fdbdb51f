"""Plans that run while a model writes them, without any framework."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from orchestrator.integrations.offered import Offered
from orchestrator.integrations.plan_streams import MAX_OPEN, PlanStreams
from orchestrator.serve.streamed import StreamedPlan
from tests.integrations.scene import (
    PLAN,
    READS,
    RUN,
    WRONG,
    check_invalid,
    check_partial,
    engine_of,
)

pytestmark = pytest.mark.anyio


def write(streams: PlanStreams, plan: Any, upto: int | None = None) -> None:
    """What a model writes of a plan, in pieces."""
    text = json.dumps(plan)[:upto]
    streams.begin(0, RUN)
    for at in range(0, len(text), 7):
        streams.write(0, text[at : at + 7])


async def test_what_only_reads_runs_before_the_call_is_made_and_the_rest_after() -> None:
    called: list[str] = []
    streams, seen = PlanStreams(), list[str]()
    async with engine_of(called) as engine:
        offered = Offered(
            engine, gated=True, streams=streams, on_result=lambda name, _: seen.append(name)
        )
        write(streams, PLAN)
        while called != ["double", "double"]:
            await anyio.lowlevel.checkpoint()
        await anyio.wait_all_tasks_blocked()
        assert called == ["double", "double"]
        answer = await offered.call(RUN, PLAN)
        check_partial(answer.document)
        assert (called, seen) == (["double", "double", "fail"], [RUN])
        kept = await offered.call("get_result", {"run_id": answer.document["run_id"]})
        assert not kept.is_error


async def test_another_call_of_the_tool_is_another_run() -> None:
    called: list[str] = []
    streams = PlanStreams()
    async with engine_of(called) as engine:
        offered = Offered(engine, gated=True, streams=streams)
        write(streams, READS)
        streams.begin(1, "find_tools")  # is not streamed
        streams.write(1, "{}")
        streams.begin(2, RUN)
        streams.write(2, '{"tasks": [{"id": "z"}')  # is written later
        other = {"tasks": READS["tasks"][:1], "output": "$OUTPUT[a].n"}
        assert (await offered.call(RUN, other)).document["output"] == 4
        assert (await offered.call(RUN, READS)).document["output"] == {"b": {"n": 8}}
        assert len(called) == 3


@pytest.mark.parametrize("shown", [0, 9, 40, 120, -1])
async def test_a_call_that_is_made_before_all_of_it_was_shown_runs_once(shown: int) -> None:
    called: list[str] = []
    streams = PlanStreams()
    async with engine_of(called) as engine:
        offered = Offered(engine, gated=True, streams=streams)
        write(streams, PLAN, upto=shown)
        await anyio.wait_all_tasks_blocked()
        check_partial((await offered.call(RUN, PLAN)).document)
        streams.write(0, json.dumps(PLAN)[shown:])  # what was shown too late
        await anyio.wait_all_tasks_blocked()
        assert sorted(called) == ["double", "double", "fail"]
        # The next call is written, and runs while it is.
        write(streams, READS)
        await anyio.wait_all_tasks_blocked()
        assert len(called) == 5


async def test_what_is_shown_only_after_its_call_begins_nothing() -> None:
    called: list[str] = []
    streams = PlanStreams()
    async with engine_of(called) as engine:
        offered = Offered(engine, gated=True, streams=streams)
        for _ in range(2):
            check_partial((await offered.call(RUN, PLAN)).document)
        for _ in range(2):
            write(streams, PLAN)
            await anyio.wait_all_tasks_blocked()
        assert sorted(called) == ["double"] * 4 + ["fail"] * 2
        write(streams, READS)
        await anyio.wait_all_tasks_blocked()
        assert len(called) == 8
        await offered.call(RUN, {"tasks": 1})  # not shown, and not a plan either
        streams.end()
        write(streams, READS)
        await anyio.wait_all_tasks_blocked()
        assert len(called) == 10


@pytest.mark.parametrize(
    "wrong",
    [
        WRONG,
        {"tasks": [{"id": "a", "workflow": "none"}]},
        {"tasks": READS["tasks"], "output": "$OUTPUT[z]"},
        {"timeout_s": -1, "tasks": READS["tasks"]},
        {"tasks": []},
        {"plan": "no object"},
    ],
    ids=json.dumps,
)
async def test_a_wrong_plan_is_answered_as_without(wrong: Any) -> None:
    streams = PlanStreams()
    async with engine_of() as engine:
        offered = Offered(engine, gated=True, streams=streams)
        write(streams, wrong)
        document = (await offered.call(RUN, wrong)).document
        if wrong is WRONG:
            check_invalid(document)
        assert document["status"] == "invalid"


async def test_a_plan_whose_first_task_is_wrong_is_written_to_its_end() -> None:
    streams = PlanStreams()
    plan = {"tasks": [{**WRONG["tasks"][0], "id": "w"}, *READS["tasks"]]}
    text = json.dumps(plan)
    async with engine_of() as engine:
        offered = Offered(engine, gated=True, streams=streams)
        streams.begin(0, RUN)
        for at in range(0, len(text), 20):
            streams.write(0, text[at : at + 20])
            await anyio.wait_all_tasks_blocked()
        check_invalid((await offered.call(RUN, plan)).document)


async def test_what_is_never_called_begins_nothing_more() -> None:
    called: list[str] = []
    streams, begun = PlanStreams(), list[StreamedPlan]()
    async with engine_of(called) as engine:
        offered = Offered(engine, gated=True, streams=streams)
        of_toolset = offered.toolset.stream

        def begin() -> StreamedPlan:
            begun.append(of_toolset())
            return begun[-1]

        streams.serve(RUN, begin)
        write(streams, PLAN)
        write(streams, READS, upto=40)  # the next turn: the first was refused
        streams.begin(0, RUN)
        streams.write(0, '{"tasks": [{"id": "a" "b"}]}')  # no JSON
        streams.end()
        for plan in begun:
            await plan._ended.wait()
            assert plan._result is None
        assert streams.take(PLAN) is None
        streams.end()
        for number in range(MAX_OPEN + 1):
            streams.begin(number, RUN)
        await begun[3]._ended.wait()
        streams.end()
    assert "fail" not in called


async def test_nothing_runs_where_a_person_approves_every_call() -> None:
    called: list[str] = []
    streams = PlanStreams()
    async with engine_of(called) as engine:
        Offered(engine, gated=True, approve="all", streams=streams)
        write(streams, READS)
        await anyio.wait_all_tasks_blocked()
    assert not called
