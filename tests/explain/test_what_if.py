"""What a run would have taken otherwise is what it takes when it is really changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator import RunResult
from orchestrator.calls.call import Attempt, Call
from orchestrator.calls.causes import Cause, Kind
from orchestrator.calls.locks import Locks
from orchestrator.engine.outcome import Success
from orchestrator.engine.result import ItemResult
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings, Servers
from orchestrator.errors import CallError
from orchestrator.explain import sentences
from orchestrator.explain.changes import best_changes
from orchestrator.explain.path import Analysis
from orchestrator.explain.story import Story
from orchestrator.explain.what_if import Settings, WhatIf
from orchestrator.recordings.clock import INSTANT
from orchestrator.schema.tool import Tool
from orchestrator.servers.config import Server
from orchestrator.servers.policies import RESOURCES, policy_of
from orchestrator.workflow.model import Workflow

TRACES = Path(__file__).parents[3] / "shared" / "cases" / "traces"
READS = {"s:a": True, "s:b": True, "s:w": False, "t:a": True}
# What a call takes, seconds, by tool, and by tool and item; a list is that of its attempts.
TIMES: dict[str, Any] = {"a": 0.2, "b": [0.1, 0.05, 0.3], "w": 0.25}


class World:
    """Runs a workflow on a clock that jumps, with servers that take as long as they are told.

    `one_at_a_time`: the server that does one call at a time in each session.
    """

    one_at_a_time = ""

    def __init__(self, *tasks: Mapping[str, Any], **fields: Any) -> None:
        self.workflow = Workflow.load({"name": "flow", "tasks": list(tasks), **fields})

    def run(self, settings: Settings) -> RunResult:
        made: dict[str, int] = {}
        sessions = settings.limits.get(self.one_at_a_time, {}).get("sessions", 1)
        busy = anyio.Semaphore(sessions) if self.one_at_a_time else nullcontext()

        async def caller(call: Call, _: Attempt) -> Any:
            number = made[call.where] = made.get(call.where, 0) + 1
            times = TIMES[call.tool]
            longer = 0.05 * (call.item or 0) + call.arguments.get("more", 0)
            factor = settings.factors.get(call.task, 1.0) * settings.factors.get(call.server, 1.0)
            is_list = isinstance(times, list)
            async with busy if call.server == self.one_at_a_time else nullcontext():
                await anyio.sleep(((times[number - 1] if is_list else times) + longer) * factor)
            if is_list and number < len(times):
                raise CallError("timeout", "late")
            return {"n": number}

        tools = {
            name: Tool(name[0], name[2:], {}, read_only=reads) for name, reads in READS.items()
        }
        policies = {
            name: policy_of(Server(name=name, **settings.limits.get(name, {}))) for name in "st"
        }
        run_settings = RunSettings(settings.schedule, settings.max_concurrency, random=lambda: 0.5)

        async def execute() -> RunResult:
            locks = Locks(resources=settings.limits.get(RESOURCES, {}))
            servers = Servers(tools, policies, locks)
            return await Run(self.workflow, caller, run_settings, servers=servers).execute()

        return anyio.run(execute, **INSTANT)

    def analysis(self, settings: Settings) -> tuple[Analysis, WhatIf]:
        result = self.run(settings)
        story = Story.of(self.workflow, result.tasks, result.duration_ms, settings.schedule)
        return Analysis(story), WhatIf(story, READS, INSTANT)


def tool(task: str, name: str, **more: Any) -> dict[str, Any]:
    return {"id": task, "tool": name, **more}


WORLDS = {
    "limits": World(
        *(tool(f"a{n}", "s:a", arguments={"more": n / 20}) for n in range(6)),
        *(tool(f"w{n}", "s:w") for n in range(3)),
        tool("t", "t:a", depends_on=["a1"]),
        tool("end", "s:a", depends_on=["a0", "w2", "t"]),
    ),
    "policies": World(
        tool("again", "s:b", retry={"max_attempts": 4, "initial_s": 0.3}),
        tool("each", "t:a", for_each=[1, 2, 3, 4, 5], max_parallel=2),
        tool("late", "s:a", delay_s=0.7, depends_on=["each"]),
        tool("l1", "t:a", locks=["x"]),
        tool("l2", "t:a", locks=["x"]),
        *(tool(f"g{n}", "t:a", locks=[{"name": "gpu", "count": 1}]) for n in range(3)),
        tool("poll", "s:a", repeat={"until": "$LAST.n == `3`", "every_s": 0.4}),
        {"id": "v", "value": 1, "depends_on": ["l1"]},
        tool("no", "s:a", when="`false`"),
        tool("after", "t:a", depends_on=["v", "no"], run_if="all_done"),
        **{"finally": [tool("clean", "s:a")]},
    ),
    "inside": World(
        {
            "id": "outer",
            "for_each": [0, 1, 2],
            "workflow": {
                "name": "in",
                "tasks": [
                    tool("x", "s:a"),
                    tool("y", "s:w", depends_on=["x"]),
                    tool("z", "t:a", depends_on=["x"]),
                ],
            },
        },
        {"id": "one", "workflow": {"name": "in1", "tasks": [tool("x", "t:a", for_each=[1, 2])]}},
        tool("end", "t:a", depends_on=["outer", "one"]),
    ),
}
WORLDS["nothing called"] = World(  # between two calls
    tool("x", "s:a"),
    {"id": "v", "value": "$OUTPUT[x]"},
    tool("no", "s:a", when="`false`", depends_on=["v"]),
    tool("y", "t:a", depends_on=["no"], run_if="all_done"),
    {"id": "last", "value": "$OUTPUT[y]"},
    **{"finally": [tool("clean", "s:w")]},
)
OUTSIDE: list[tuple[Kind, str, float]] = [
    ("server_start", "s", 0.0),
    ("server_limit", "s", 40.0),
    ("lock", "x", 80.0),
]
SETTINGS = {
    "free": Settings("generations", 0),
    "few": Settings("dataflow", 2),
    "servers": Settings(
        "generations", 3, {"s": {"max_concurrency": 1, "writes": "parallel"}, "t": {"rate": "1/s"}}
    ),
    "tools": Settings("dataflow", 0, {"s": {"tools": {"a*": {"max_concurrency": 1}}}}),
}


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("world", WORLDS)
def test_each_change_saves_what_it_saves_when_it_is_made(world: str, settings: str) -> None:
    flow, were = WORLDS[world], SETTINGS[settings]
    were = replace(were, limits={**were.limits, RESOURCES: {"gpu": 2}})
    analysis, what_if = flow.analysis(were)
    took_ms = analysis.story.duration_ms
    as_it_was_ms, changes = best_changes(analysis, what_if, were)
    assert as_it_was_ms == pytest.approx(took_ms, rel=0.05)
    for change in changes:
        really_ms = flow.run(change.settings).duration_ms
        assert change.duration_ms == pytest.approx(really_ms, rel=0.05, abs=2), change.words
        assert change.saves_ms > 0
    # The path has no gap and no overlap.
    edges = [(step.from_ms, step.to_ms) for step in analysis.path]
    assert edges[0][0] == pytest.approx(0.0, abs=2)
    assert edges[-1][1] == pytest.approx(took_ms, abs=2)
    for (_, end), (start, _) in pairwise(edges):
        assert end == pytest.approx(start, abs=2)


@pytest.mark.parametrize(
    "settings", [SETTINGS["free"], replace(SETTINGS["few"], max_concurrency=6)]
)
def test_more_sessions_save_what_they_save_with_a_server_that_does_one_call_at_a_time(
    settings: Settings,
) -> None:
    tasks = [
        *(tool(f"a{n}", "s:a", arguments={"more": n / 200}) for n in range(8)),
        tool("t", "t:a"),
    ]
    last = tool("end", "t:a", depends_on=["a0", "a7", "t"])
    flow = World(*tasks, last)
    flow.one_at_a_time = "s"
    analysis, what_if = flow.analysis(settings)
    _, changes = best_changes(analysis, what_if, settings)
    (more,) = [change for change in changes if change.kind == "sessions"]
    assert more.how == "[servers.s] sessions = 2"
    really_ms = flow.run(more.settings).duration_ms
    assert more.duration_ms == pytest.approx(really_ms, rel=0.05)
    assert more.saves_ms > 0.3 * analysis.story.duration_ms
    # What does them side by side gains nothing, and neither does one with a limit of one.
    for other in (World(*tasks, last), flow):
        limited = replace(settings, limits={"s": {"max_concurrency": 1}})
        were = limited if other is flow else settings
        found, again = other.analysis(were)
        assert "sessions" not in {change.kind for change in best_changes(found, again, were)[1]}


@pytest.mark.skipif(not TRACES.is_dir(), reason="no recorded graphs here")
@pytest.mark.parametrize("name", ["bacass", "hic", "srasearch-10a-003", "montage-2mass-005d-001"])
def test_recorded_graphs_are_explained(name: str) -> None:
    document = json.loads((TRACES / f"{name}.json").read_text())
    workflow = Workflow.load({"name": name, "tasks": document["tasks"]})

    async def caller(call: Call, _: Attempt) -> Any:
        await anyio.sleep(call.arguments["ms"] / 1000)
        return {"digest": call.task}

    def run(settings: Settings) -> RunResult:
        asked = RunSettings(settings.schedule, settings.max_concurrency)

        async def execute() -> RunResult:
            return await Run(workflow, caller, asked).execute()

        return anyio.run(execute, **INSTANT)

    for settings in (Settings("generations", 8), Settings("dataflow", 0)):
        result = run(settings)
        if not settings.max_concurrency:
            assert result.duration_ms == pytest.approx(document["metrics_ms"]["flow_inf"], rel=0.01)
        story = Story.of(workflow, result.tasks, result.duration_ms, settings.schedule)
        what_if = WhatIf(story, {"mock:delay": True}, INSTANT)
        changed = [replace(settings, schedule="dataflow"), replace(settings, max_concurrency=16)]
        for each in (settings, *changed):
            assert what_if.duration_ms(each) == pytest.approx(run(each).duration_ms, rel=0.05)
        assert Analysis(story).path[-1].to_ms == pytest.approx(result.duration_ms, abs=2)


def test_who_held_what_was_waited_for_is_said() -> None:
    analysis, what_if = WORLDS["limits"].analysis(SETTINGS["servers"])
    lines = "\n".join([*sentences.path_lines(analysis), *sentences.wait_lines(analysis)])
    assert 'for a slot of server "s" (max_concurrency), held by ' in lines
    as_it_was_ms, changes = best_changes(analysis, what_if, SETTINGS["servers"])
    assert len({(each.kind, each.of) for each in sentences.best(changes)}) == 3
    assert any(each.how == "[servers.s] max_concurrency = 2" for each in changes)
    best = [*sentences.change_lines(changes, as_it_was_ms)]
    assert best[0].startswith("1. ")
    assert "saves" in best[0]
    assert sentences.doubt(analysis, as_it_was_ms) == ""
    assert "what is saved is against the former" in sentences.doubt(analysis, 1.0)


def test_what_another_run_held_is_said_to_be_held_by_no_call_of_this_one() -> None:
    flow = World(tool("a", "s:a"))
    waits = tuple((Cause(kind, of), at, 40.0) for kind, of, at in OUTSIDE)
    result = flow.run(SETTINGS["free"]).tasks["a"]
    late = replace(result, started_ms=120.0, duration_ms=10.0, waits=waits)
    analysis = Analysis(Story.of(flow.workflow, {"a": late}, 130.0))
    lines = [*sentences.path_lines(analysis)]
    assert lines[1].endswith(
        'for a slot of server "s" (max_concurrency), held by no call of this run'
    )
    assert lines[2].endswith('for lock "x", held by no call of this run')
    assert lines[0].endswith('for the start of server "s"')


@pytest.mark.parametrize("is_spread", [True, False])
def test_a_part_of_a_map_begins_after_another_one(is_spread: bool) -> None:
    flow = World(tool("a", "s:a", for_each=[0, 1, 2], spread=is_spread))
    times = [(1.0, 100.0), (101.0, 100.0), (700.0, 100.0)]  # two in a part, and one in the next
    items = [ItemResult(n, Success(n), 1, *each) for n, each in enumerate(times)]
    waited = Cause("max_concurrency"), 1.0, 100.0
    items[1] = replace(items[1], waits=(waited,))
    result = flow.run(SETTINGS["free"]).tasks["a"]
    whole = replace(result, items=tuple(items), started_ms=1.0, duration_ms=799.0)
    path = Analysis(Story.of(flow.workflow, {"a": whole}, 800.0)).path
    steps = [(step.span.item, step.from_ms, step.to_ms) for step in path if step.took_ms]
    last = [(2, 700.0, 800.0)]
    before = [(0, 1.0, 101.0), (1, 101.0, 201.0), (2, 201.0, 700.0)]
    assert steps == ([*before, *last] if is_spread else [(2, 0.0, 700.0), *last])


def test_waits_have_their_causes() -> None:
    analysis, _ = WORLDS["policies"].analysis(Settings("generations", 2, {"t": {"rate": "2/s"}}))
    kinds = {wait.cause.kind for wait in analysis.waits if wait.cause is not None}
    assert kinds >= {"max_concurrency", "rate", "lock", "retry", "repeat", "delay", "items"}
    assert "generation" in kinds
    held = {
        wait.cause.kind: wait.holder.where
        for wait in analysis.waits
        if wait.cause is not None and wait.holder is not None
    }
    assert held["lock"] == "l1"
    assert held["items"].startswith("each[")
