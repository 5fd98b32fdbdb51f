"""Workflows learned from runs: what their plans say about where values come from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations

from orchestrator import Orchestrator
from orchestrator.authoring.kept_runs import transcript_of
from orchestrator.authoring.learn import Learned, learn

Learn = Callable[..., Learned]


@pytest.fixture
def servers() -> dict[str, Any]:
    mcp = MCPServer("s")
    reads = ToolAnnotations(read_only_hint=True)

    @mcp.tool(annotations=reads)
    async def give(
        key: str = "abc-1", n: int = 2, ids: list[str] | None = None, same: bool = True
    ) -> dict[str, Any]:
        items = [{"id": each, "n": n} for each in ids or ()]
        return {
            "key": key,
            "made": f"made {key}",
            "n": n,
            "items": items,
            "ids": ids or [],
            "same": same,
        }

    @mcp.tool(annotations=reads)
    async def take(
        key: str = "", n: int = 0, of: list[Any] | None = None, whole: Any = None
    ) -> dict[str, Any]:
        return {"took": [key, n, of or whole], "key": key}

    return {"s": mcp}


@pytest.fixture
def learned(servers: dict[str, Any], tmp_path: Path) -> Learn:
    path = tmp_path / "runs.db"

    def run(*plans: list[dict[str, Any]], **inputs: Any) -> Learned:
        asked = dict.fromkeys(inputs, True)
        for number, tasks in enumerate(plans):
            known = asked if not number else {}
            given = inputs if not number else {}
            orchestrator = Orchestrator(servers, journal=path, answer=lambda _: "abc-1")
            result = orchestrator.run_sync({"inputs": known, "tasks": tasks}, given)
            assert result.status == "success", str(result)
        found = learn(transcript_of(path, since=0))
        assert found.unproved == []
        return found

    return run


def give(name: str, **arguments: Any) -> dict[str, Any]:
    return {"id": name, "tool": "s:give", "arguments": arguments}


def take(name: str, /, *, more: Any = None, **arguments: Any) -> dict[str, Any]:
    return {"id": name, "tool": "s:take", "arguments": arguments, **(more or {})}


def arguments_of(found: Learned, tool: str = "take") -> dict[str, Any]:
    (task,) = (each for each in found.workflow["tasks"] if each["tool"] == f"s:{tool}")
    arguments: dict[str, Any] = task["arguments"]
    return arguments


def test_of_equal_values_that_which_the_plan_reads_is_the_origin(learned: Learn) -> None:
    found = learned(
        [
            give("a"),
            give("b", n=3),
            take("t", key="$OUTPUT[a].key", more={"depends_on": ["b"]}),
        ]
    )
    assert arguments_of(found) == {"key": "$OUTPUT[give].key"}
    assert not any("take: argument key" in doubt for doubt in found.doubts)


def test_other_inputs_give_what_the_plan_would_have_given(
    learned: Learn, servers: dict[str, Any]
) -> None:
    plan = [
        give("a", key="$INPUT.one"),
        give("b", key="$INPUT.two", n=3),
        take("t", key="$OUTPUT[a].key", n="$OUTPUT[b].n"),
    ]
    found = learned(plan, one="abc one", two="abc two")
    again = Orchestrator(servers).run_sync(found.workflow, {"key": "other"})
    assert again.tasks["take"].output["took"] == ["other", 3, None]


def test_small_values_and_whole_objects_are_references_where_the_plan_has_them(
    learned: Learn,
) -> None:
    found = learned(
        [
            give("a", ids=["x-1", "x-2"]),
            take("t", n="$OUTPUT[a].n", whole="$OUTPUT[a].same", of="$OUTPUT[a].ids"),
        ]
    )
    assert arguments_of(found) == {
        "n": "$OUTPUT[give].n",
        "whole": "$OUTPUT[give].same",
        "of": "$OUTPUT[give].ids",
    }


def test_a_literal_of_the_plan_is_no_reference_into_its_own_run(learned: Learn) -> None:
    found = learned(
        [
            give("a", key="$INPUT.key"),
            take("t", key="abc-1", of=["abc-1"], more={"depends_on": ["a"]}),
        ],
        key="abc-1",
    )
    assert arguments_of(found) == {"key": "$INPUT.key", "of": ["$INPUT.key"]}


def test_a_literal_of_a_later_run_is_a_reference_into_an_earlier_one(learned: Learn) -> None:
    found = learned([give("a", key="it")], [take("t", key="<made it>", whole={"of": "made it"})])
    assert arguments_of(found) == {
        "key": "<${OUTPUT[give].made}>",
        "whole": {"of": "$OUTPUT[give].made"},
    }


def test_values_pass_through_tasks_that_call_nothing(learned: Learn) -> None:
    inner = {
        "inputs": {"key": True},
        "tasks": [
            take("t", key="$INPUT.key", n="${INPUT.key && `4`}"),
            {"id": "v", "value": {"got": "$OUTPUT[t].key"}},
        ],
    }
    found = learned(
        [
            give("a", key="abc-1", ids=["x-1", "x-2"]),
            give("b", n=5),
            {"id": "v", "value": {"deep": ["$OUTPUT[a].key", "${OUTPUT[b].key}"]}},
            {"id": "in", "workflow": inner, "arguments": {"key": "$OUTPUT[v].deep[0]"}},
            give("c", key="$OUTPUT[in].v.got"),
        ]
    )
    tasks = {each["id"]: each for each in found.workflow["tasks"]}
    assert tasks["take"]["arguments"] == {"key": "$OUTPUT[give].key", "n": 4}
    assert tasks["give_3"]["arguments"] == {"key": "$OUTPUT[take].key"}
    assert "take: argument n was computed from give, and is now the value of then" in found.doubts


def test_items_read_the_item_that_the_plan_gives_them(learned: Learn) -> None:
    inner = {
        "inputs": {"id": True},
        "tasks": [give("g", key="$INPUT.id"), take("t", key="$OUTPUT[g].key")],
        "output": {"last": "$OUTPUT[t]"},
    }
    found = learned(
        [
            give("a", ids=["one", "two"]),
            give("b", ids=["one", "two"], n=3),
            {
                "id": "each",
                "workflow": inner,
                "for_each": "$OUTPUT[a].items",
                "arguments": {"id": "$ITEM.id"},
            },
            take(
                "pairs",
                more={"for_each": {"x": "$OUTPUT[b].ids", "y": ["k"]}},
                whole="$ITEM.x",
            ),
            take("end", whole="$OUTPUT[each][1].last.key"),
        ]
    )
    tasks = {each["id"]: each for each in found.workflow["tasks"]}
    assert tasks["give_3"]["for_each"] == "$OUTPUT[give].items"
    assert tasks["give_3"]["arguments"] == {"key": "$ITEM.id"}
    others = [each for name, each in tasks.items() if name.startswith("take")]
    assert [(each.get("for_each"), each["arguments"]) for each in others] == [
        ("$OUTPUT[give_2].ids", {"whole": "$ITEM"}),
        (None, {"key": "$OUTPUT[give_3][0].key"}),
        (None, {"key": "$OUTPUT[give_3][1].key"}),
        (None, {"whole": "$OUTPUT[take_3].key"}),
    ]


def test_fallbacks_and_turns_are_read_too(learned: Learn) -> None:
    turns = {"until": "LAST.n >= `4`", "max_times": 5}
    found = learned(
        [
            give("a"),
            give("b", n=9),
            {**give("count", n="${add(LAST.n || `1`, `1`)}"), "repeat": turns},
            {
                "id": "broken",
                "value": "$OUTPUT[a].nothing",
                "fallback": {"value": {"k": "$OUTPUT[a].key"}},
            },
            take("t", key="$OUTPUT[broken].k", n="$OUTPUT[count].n"),
            {
                "id": "t2",
                "tool": "s:give",
                "arguments": {"n": "$OUTPUT[a].same"},
                "fallback": {"tool": "s:take", "arguments": {"whole": ["$OUTPUT[b].n"]}},
            },
        ]
    )
    tasks = {each["id"]: each for each in found.workflow["tasks"]}
    assert tasks["take"]["arguments"]["key"] == "$OUTPUT[give].key"


def test_what_comes_of_a_growing_plan_may_repeat_what_was_seen(
    servers: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "runs.db"

    async def grow(is_lost: bool) -> None:
        async with Orchestrator(servers, journal=path) as engine, engine.open({}) as growing:
            await growing.add(give("a", key="seen-1"))
            await growing.add(take("t", key="seen-1", more={"depends_on": ["a"]}))
            if not is_lost:
                await growing.close()

    for is_lost in (False, True):
        anyio.run(grow, is_lost)
        found = transcript_of(path, ["last"])
        assert [call.planned and call.planned.grew for call in found.calls] == [True, True]


def test_what_a_template_reads_in_part_is_known_as_far_as_it_says(learned: Learn) -> None:
    inner = {
        "inputs": {"any": True, "of": True},
        "tasks": [take("t", whole={"x": "$INPUT.any"}, key="${INPUT.of.deep}")],
    }
    found = learned(
        [
            give("a", key="made-it", ids=["one", "two"]),
            {"id": "v", "value": [{"$OUTPUT[a].key": 1}, ["$OUTPUT[a].key"]]},
            {"id": "vs", "value": "${ITEM}", "for_each": "$OUTPUT[a].ids"},
            {
                "id": "in",
                "workflow": inner,
                "arguments": {"any": ["$OUTPUT[v]"], "of": {"deep": "$OUTPUT[v][1][0]"}},
            },
            give("last", ids=["$OUTPUT[vs][0]", "$OUTPUT[in].t.key", "${ITEMS[vs][1].output}"]),
        ]
    )
    tasks = {each["id"]: each for each in found.workflow["tasks"]}
    assert tasks["take"]["arguments"] == {
        "whole": {"x": [[{"made-it": 1}, ["$OUTPUT[give].key"]]]},
        "key": "$OUTPUT[give].key",
    }
    assert tasks["give_2"]["arguments"] == {
        "ids": ["$OUTPUT[give].ids[0]", "$OUTPUT[take].key", "$OUTPUT[give].ids[1]"]
    }
