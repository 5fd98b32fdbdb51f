"""Workflows learned from recorded calls: references, loops, inputs, and the proof."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.authoring.learn import Learned, _Writer, learn
from orchestrator.authoring.origins import in_order
from orchestrator.authoring.transcript import ToolCall, Transcript, read_transcript
from orchestrator.cli import main
from orchestrator.errors import WorkflowError
from orchestrator.workflow.model import Workflow

SHOES = {"items": [{"id": f"sku-{n}", "name": f"Shoe {n}", "left": n * 11} for n in (1, 2, 3)]}


def learned(*calls: tuple[str, dict[str, Any], Any], **declared: bool) -> dict[str, Any]:
    """The tasks by id and the inputs of what is learned, which has to be proved."""
    annotations = {f"s:{tool}": {"readOnlyHint": is_read} for tool, is_read in declared.items()}
    recorded = [ToolCall(f"s:{tool}", given, result) for tool, given, result in calls]
    found = learn(Transcript(recorded, [], annotations))
    assert found.unproved == []
    Workflow.load(found.workflow)
    inputs = {name: each["default"] for name, each in found.workflow.get("inputs", {}).items()}
    return {task["id"]: task for task in found.workflow["tasks"]} | {"inputs": inputs}


def test_values_of_earlier_results_are_references() -> None:
    found = learned(
        ("search", {"query": "red shoes"}, SHOES),
        ("show", {"id": "sku-2", "all": SHOES["items"], "odd": {"deep": "sku-3"}}, "ok"),
        ("note", {"text": "Best: Shoe 1, costs $5", "ids": ["sku-1", "sku-2", "sku-3"]}, "ok"),
    )
    assert found["inputs"] == {"query": "red shoes"}
    assert found["show"]["arguments"] == {
        "id": "$OUTPUT[search].items[1].id",
        "all": "$OUTPUT[search].items",
        "odd": {"deep": "$OUTPUT[search].items[2].id"},
    }
    assert found["note"]["arguments"] == {
        "text": "Best: ${OUTPUT[search].items[0].name}, costs $$5",
        "ids": "${OUTPUT[search].items[*].id}",
    }


def test_calls_for_each_item_are_one_task_and_their_answers_one_list() -> None:
    stock = [
        ("stock", {"sku": f"sku-{n}", "shop": "Rome"}, {"left": n * 11, "odd name": f"x{n}x"})
        for n in (1, 2, 3)
    ]
    found = learned(
        ("search", {"query": "shoes"}, SHOES),
        *stock,
        ("sum", {"odd": ["x1x", "x2x", "x3x"], "one": "x2x"}, 66),
        ("keep", {"all": [answer for _, _, answer in stock]}, "ok"),
    )
    assert found["stock"] == {
        "id": "stock",
        "tool": "s:stock",
        "for_each": "$OUTPUT[search].items",
        "arguments": {"sku": "$ITEM.id", "shop": "$INPUT.shop"},
    }
    assert found["sum"]["arguments"] == {
        "odd": '${OUTPUT[stock][*]."odd name"}',
        "one": '$OUTPUT[stock][1]["odd name"]',
    }
    assert found["keep"]["arguments"] == {"all": "$OUTPUT[stock]"}


def test_calls_that_differ_in_one_value_are_a_loop_over_an_input() -> None:
    cities = ["Rome", "Oslo", "Bern"]
    found = learned(*(("weather", {"city": city, "units": "metric"}, {}) for city in cities))
    assert found["inputs"] == {"cities": cities}
    assert found["weather"]["for_each"] == "$INPUT.cities"
    assert found["weather"]["arguments"] == {"city": "$ITEM", "units": "metric"}
    two = learned(*(("weather", {"city": city}, {}) for city in cities[:2]))
    assert two["inputs"] == {"city": "Rome", "city_2": "Oslo"}
    assert two["weather_2"]["arguments"] == {"city": "$INPUT.city_2"}


def test_what_was_an_argument_first_is_an_input_and_small_values_are_no_references() -> None:
    found = learned(
        ("find", {"city": "Rome", "n": 40, "on": True}, {"city": "Rome", "n": 2, "ok": True}),
        ("hotels", {"city": "Rome", "n": 40, "k": 2, "on": True}, ["Grand", "Plaza"]),
    )
    assert found["inputs"] == {"city": "Rome", "n": 40}
    assert found["hotels"]["arguments"] == {
        "city": "$INPUT.city",
        "n": "$INPUT.n",
        "k": 2,
        "on": True,
    }


def test_tools_that_write_keep_their_order() -> None:
    calls = [("read", {}, "text one"), ("write", {"text": "Text two"}, 1), ("read", {}, "Text two")]
    found = learned(*calls, read=True, write=False)
    assert "depends_on" not in found["read"]
    assert found["write"]["depends_on"] == ["read"]
    assert found["read_2"]["depends_on"] == ["write"]


def test_what_is_not_sure_is_said() -> None:
    calls = [
        ToolCall("s:a", {}, {"key": "abc-1"}),
        ToolCall("s:b", {}, {"key": "abc-1"}),
        ToolCall("s:c", {"key": "abc-1", "who": "Ann"}, None),
    ]
    found = learn(Transcript(calls, ["s:broken"]))
    assert found.doubts == [
        "c: argument key is taken from $OUTPUT[b].key; $OUTPUT[a].key is equal",
        "input \"who\" has the default 'Ann': is it one?",
        "whether tools write is not known of a, b, c: where their order matters, add depends_on",
        "calls that failed are left out: s:broken",
    ]
    assert found.summary == "3 calls, 3 tasks in 2 generations, 1 input"


def test_what_is_not_as_recorded_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    made = _Writer._recording

    def changed(writer: _Writer) -> dict[str, Any]:
        document = made(writer)
        document["calls"][0]["answers"] = [{"output": "other"}]
        del document["calls"][1]
        return document

    monkeypatch.setattr(_Writer, "_recording", changed)
    calls = [ToolCall(f"s:{tool}", {"x": 1}, tool) for tool in ("a", "b", "c")]
    first, second = learn(Transcript(calls, [])).unproved
    assert first == "a: another answer than recorded"
    assert second.startswith("b: ")


def test_forms_of_arguments() -> None:
    found = learned(
        ("a", {"x": ["Anna", {"y": "Bert", "z": 2.5}], "e": ["some"]}, [0.5, {"q": "Corner"}]),
        ("b", {"x": [], "n": 0.5, "t": "a Corner, an Anna", "l": ["Corner", "plain"]}, [1, 2]),
        ("b", {"x": [1], "n": 0.5, "t": "cornered", "l": ["one", "two"]}, [1, 2]),
        ("c", {"l": [0.5, 77]}, None),
        ("c", {"l": [77, 0.5]}, None),
        ("c", {"n": 2.5, "z": 2.5}, None),
    )
    assert found["inputs"] == {"x": "Anna", "y": "Bert", "z": 2.5, "l": 77}
    assert found["a"]["arguments"] == {
        "x": ["$INPUT.x", {"y": "$INPUT.y", "z": "$INPUT.z"}],
        "e": ["some"],
    }
    assert found["b"]["arguments"] == {
        "x": [],
        "n": "$OUTPUT[a][0]",
        "t": "a ${OUTPUT[a][1].q}, an Anna",
        "l": ["$OUTPUT[a][1].q", "plain"],
    }
    assert found["b_2"]["arguments"]["t"] == "cornered"


def test_the_command_writes_a_workflow_that_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        {"tool": "s:search", "arguments": {"q": "Red"}, "result": SHOES},
        {"tool": "s:show", "arguments": {"id": "sku-1"}, "error": "not there"},
        {"tool": "s:show", "arguments": {"id": "sku-2"}, "result": "Shoe"},
    ]
    calls, plan = tmp_path / "calls.jsonl", tmp_path / "plan.json"
    calls.write_text("\n\n".join(map(json.dumps, lines)))
    assert main(["learn", str(calls), "-o", str(plan)]) == 0
    said = capsys.readouterr()
    assert (said.out, "proved: " in said.err) == ("", True)
    assert list(Workflow.load(plan).plan.tasks) == ["search", "show"]
    assert main(["learn", str(calls)]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(plan.read_text())


def test_the_command_reads_stdin(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = '{"tool": "s:t", "arguments": {}, "result": 1}'
    monkeypatch.setattr("orchestrator.documents.files.stdin_text", lambda: line)
    assert main(["learn", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "learned"


def test_the_command_fails_without_a_proof(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = tmp_path / "calls.jsonl"
    calls.write_text('{"tool": "s:t", "arguments": {}, "result": 1}')
    unproved = Learned({"tasks": []}, [], ["t: another answer than recorded"], "1 call")
    monkeypatch.setattr("orchestrator.authoring.learn.learn", lambda *_: unproved)
    assert main(["learn", str(calls)]) == 1
    assert "not proved: t: another answer" in capsys.readouterr().err


def test_a_recording_is_a_transcript(tmp_path: Path) -> None:
    document = {
        "version": 1,
        "servers": {"s": {"tools": {"a": {"inputSchema": {"type": "object"}}}}},
        "calls": [
            {"tool": "s:a", "arguments": {}, "answers": [{"output": 1}, {"no_answer": True}]}
        ],
    }
    path = tmp_path / "recording.json"
    path.write_text(json.dumps(document))
    found = read_transcript(path)
    assert [call.result for call in found.calls] == [1]
    assert (found.failed, found.annotations) == (["s:a"], {"s:a": {"readOnlyHint": None}})
    path.write_text(json.dumps(document | {"calls": []}))
    with pytest.raises(WorkflowError, match="no call that succeeded"):
        read_transcript(path)


def test_every_wrong_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_text(
        '{"tool": "a"}\n[]\n{\n{"tool": 1, "result": 1}\n'
        '{"tool": "s:t", "arguments": 1, "result": 1}\n'
    )
    with pytest.raises(WorkflowError) as caught:
        read_transcript(path)
    assert [problem.message.partition(", got")[0] for problem in caught.value.problems] == [
        'line 1: expected "tool" as server:tool',
        'line 1: neither "result" nor "error"; it has: tool',
        "line 2: expected object with tool, arguments and result",
        "line 3: no JSON: Expecting property name enclosed in double quotes: line 1 column 2"
        " (char 1)",
        'line 4: expected "tool" as a string',
        'line 5: expected "arguments" as an object',
    ]
    path.write_text("")
    with pytest.raises(WorkflowError, match="no call that succeeded"):
        read_transcript(path)


def test_the_calls_of_a_recording_are_put_in_order(tmp_path: Path) -> None:
    answers: dict[str, Any] = {"buy": {"order": "o-17"}, "zap": {"sku": "sku-4", "order": "none"}}
    calls = [
        {"tool": "s:buy", "arguments": {"sku": "sku-4"}, "answers": [{"output": answers["buy"]}]},
        {"tool": "s:track", "arguments": {"order": "o-17"}, "answers": [{"output": "on its way"}]},
        {
            "tool": "s:zap",
            "arguments": {"query": "shoes A"},
            "answers": [{"output": answers["zap"]}],
        },
    ]
    tools = {name: {"inputSchema": {"type": "object"}} for name in ("buy", "track", "zap")}
    path = tmp_path / "made.json"
    path.write_text(json.dumps({"version": 1, "servers": {"s": {"tools": tools}}, "calls": calls}))
    found = learn(read_transcript(path))
    assert [task["id"] for task in found.workflow["tasks"]] == ["zap", "buy", "track"]
    assert found.workflow["tasks"][1]["arguments"] == {"sku": "$OUTPUT[zap].sku"}
    assert found.workflow["tasks"][2]["arguments"] == {"order": "$OUTPUT[buy].order"}
    assert found.unproved == []


def test_calls_that_need_each_other_stay_in_their_order() -> None:
    one = ToolCall("s:a", {"key": "abc-1"}, {"other": "abc-2"})
    two = ToolCall("s:b", {"other": "abc-2"}, {"key": "abc-1"})
    assert in_order([one, two]) == [one, two]
