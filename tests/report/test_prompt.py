"""What a model is told is right: the tools, the guide, and the example made of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator import Orchestrator, catalog_text
from orchestrator.check.checker import prove
from orchestrator.errors import WorkflowError
from orchestrator.report.guide import CHECK, EXAMPLE, GUIDE, example_of, workflow_text
from orchestrator.report.prompt import catalog_document, guide_text
from orchestrator.schema.tool import Tool
from orchestrator.servers.config_file import load_config
from orchestrator.workflow.model import FIELDS, Workflow
from orchestrator.workflow.task import Task
from tests.conftest import ON_ASYNCIO

ROOT = Path(__file__).parents[2]
TEXT = {"type": "string"}
CITY = {"type": "object", "properties": {"city": TEXT}, "required": ["city"]}


def takes(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


FORECAST = Tool(
    "weather",
    "forecast",
    takes(
        "city",
        city=TEXT | {"description": "The city, in English or\nin the local language."},
        days={"type": "integer", "default": 3, "description": "Number of days."},
    ),
    description="Forecast the weather. A city that\n  does not exist is an error.\n\nArgs: none",
    output_schema=takes("city", "sky", city=TEXT, sky=TEXT),
    read_only=True,
    idempotent=True,
)
STORE = Tool("store", "put", takes("key", key=TEXT), read_only=False, destructive=True)
SEND = Tool("mail", "send", {}, idempotent=True, open_world=True)


def test_a_tool_is_shown_with_signature_marks_and_descriptions() -> None:
    assert catalog_text([FORECAST, STORE, SEND], guide=False).partition("\n\n- ")[2] == (
        "mail:send() [idempotent, open-world]\n"
        "\n"
        "- store:put(key: string) [writes, destructive]\n"
        "\n"
        "- weather:forecast(city: string, days: integer = 3) -> {city: string, sky: string} "
        "[read-only]\n"
        "  Forecast the weather. A city that does not exist is an error. Args: none\n"
        "  city: The city, in English or in the local language.\n"
    )


def test_the_text_is_the_same_for_the_same_tools() -> None:
    tools = [FORECAST, STORE, SEND]
    assert catalog_text(tools) == catalog_text(reversed(tools))
    assert catalog_document(tools) == catalog_document(iter(tools[::-1]))


def test_the_document_has_the_same_in_parts() -> None:
    document = catalog_document([FORECAST])
    assert document["guide"] == guide_text([FORECAST])
    assert document["tools"] == [
        {
            "tool": "weather:forecast",
            "signature": "weather:forecast(city: string, days: integer = 3)"
            " -> {city: string, sky: string}",
            "description": "Forecast the weather. A city that does not exist is an error."
            " Args: none",
            "arguments": {"city": "The city, in English or in the local language."},
            "marks": ["read-only"],
        }
    ]
    assert "guide" not in catalog_document([FORECAST], guide=False)


def described(text: str, schema: Any = None) -> dict[str, Any]:
    tool = Tool("s", "list_entries", schema or {}, description=text)
    document: dict[str, Any] = catalog_document([tool])["tools"][0]
    return document


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("", ""),
        (" \n\n ", ""),
        ("One.\nTwo.", "One. Two."),
        ("One\n\nTwo", "One Two"),
        (f"One. {200 * 'x'}", "One."),
        (300 * "x", 197 * "x" + "..."),
        ("# Title\n```\nrm -rf /\n```", "# Title ``` rm -rf / ```"),
        ("a\x1b[31mb\x00c\u202ed\u200be\U000e0041f\ud800g\u2028h", "a [31mb cdefg h"),
    ],
)
def test_a_description_is_one_short_line_of_visible_characters(said: str, shown: str) -> None:
    assert described(said)["description"] == shown


@pytest.mark.parametrize(
    ("name", "said", "is_told"),
    [
        ("repo_path", "The path of the repo", False),
        ("repoPath", "Repo path.", False),
        ("path", "", False),
        ("path", 5, False),
        ("entries", "An array of entries to list, with their tags", False),
        ("path", "Relative to the root", True),
        ("time", "24-hour format (HH:MM)", True),
    ],
)
def test_an_argument_is_described_if_the_description_adds_to_its_name(
    name: str, said: Any, is_told: bool
) -> None:
    schema = takes(**{name: {"description": said}})
    assert (name in described("Lists things by their tag.", schema)["arguments"]) is is_told


def test_a_description_behind_a_reference_is_found() -> None:
    schema = takes(a={"$ref": "#/$defs/A"}, b={"$ref": "#/$defs/B"}, c=True)
    schema["$defs"] = {"A": {"description": "In metres."}, "B": True}
    assert described("", schema)["arguments"] == {"a": "In metres."}
    assert described("", {"properties": ["a"]})["arguments"] == {}


def codes() -> list[str]:
    return re.findall(r"`([^`\n]+)`", GUIDE)


def fragments() -> list[dict[str, Any]]:
    """The fields that the guide shows, such as `"retry": 3`."""
    return [json.loads(f"{{{code}}}") for code in codes() if re.match(r'"\w+": ', code)]


def check(**task: Any) -> None:
    """Check a task beside those that the guide's examples refer to."""
    known: list[dict[str, Any]] = [
        {"id": name, "tool": "s:t"} for name in ("search", "forecast", "keywords")
    ]
    known.append({"id": "searches", "tool": "s:t", "for_each": [1]})
    tasks = [*known, {"id": "shown", "tool": "s:t", **task}]
    Workflow.load({"inputs": {"city": TEXT}, "tasks": tasks})


def test_every_field_is_in_the_guide_and_the_guide_names_no_other() -> None:
    workflow, task = re.split(r"^## ", GUIDE, flags=re.MULTILINE)[1:3]
    for text, fields in ((workflow, FIELDS[""]), (task, FIELDS["tasks"])):
        for name in fields:
            assert f"`{name}`" in text, name
        named = re.findall(r"^- `(\w+)`: ", text, re.MULTILINE)
        assert set(named) <= set(fields)
        assert len(named) >= 4


def test_every_field_that_the_guide_shows_is_valid() -> None:
    shown = fragments()
    assert {name for fragment in shown for name in fragment} >= {
        "inputs", "output", "for_each", "when", "run_if", "retry", "fallback",
    }  # fmt: skip
    for fragment in shown:
        if set(fragment) <= set(Task.model_fields):
            of_items = any(name.startswith("item_") for name in fragment)
            check(**({"for_each": [1]} if of_items else {}), **fragment)
        else:
            tasks = [{"id": "search", "tool": "s:t"}]
            Workflow.load({"inputs": {"city": TEXT}, "tasks": tasks, **fragment})


def test_every_reference_that_the_guide_shows_is_valid() -> None:
    shown = [json.loads(code) for code in codes() if code.startswith(('"$', '"Top'))]
    assert len(shown) > 12
    for reference in shown:
        if reference.startswith("$ERROR"):
            check(fallback={"value": reference})
        else:
            check(arguments={"value": reference})
            check(for_each=[1], arguments={"value": [reference]})


def test_what_the_guide_calls_wrong_is_wrong() -> None:
    (wrong,) = [json.loads(code) for code in codes() if code.startswith('{"id"')]
    with pytest.raises(WorkflowError) as raised:
        Workflow.load({"tasks": [wrong]})
    assert [problem.code for problem in raised.value.problems] == ["self_reference"]


def test_the_guide_is_short() -> None:
    text = guide_text([FORECAST])
    assert len(text.splitlines()) <= 72
    assert len(text) < 8000
    assert "orchestrator validate FILE --json" in CHECK


def test_the_example_without_tools_is_valid() -> None:
    assert example_of([]) is EXAMPLE
    assert Workflow.load(EXAMPLE).plan.generations == [["collected"], ["report"]]


SUMMARIZE = Tool("text", "summarize", takes("text", text=TEXT), read_only=True)


@pytest.mark.parametrize(
    ("tools", "used"),
    [
        ([FORECAST, SUMMARIZE, STORE], ("weather:forecast", "text:summarize")),
        ([SUMMARIZE], ("text:summarize", "text:summarize")),
        ([STORE, SEND], None),
        ([Tool("s", "t", {"required": ["a"]}), Tool("s", "u", {"properties": 1})], None),
        ([Tool("s", "t", takes("a", a={"type": "string", "enum": ["x"]}))], None),
        ([Tool("s", "t", takes("a b", **{"a b": TEXT}))], None),
        (
            [
                Tool("s", "add", takes("a", "b", a={"type": "number"}, b=TEXT)),
                Tool("s", "say", takes("words", words=TEXT), output_schema=takes(x=TEXT)),
                Tool("s", "zap", takes("words", words=TEXT), output_schema={"required": 1}),
            ],
            ("s:say", "s:zap"),
        ),
        ([Tool("s", "add", takes("a", "b", a={"type": "number"}, b=TEXT)), SUMMARIZE], None),
    ],
)
def test_the_example_is_made_of_tools_that_go_together(
    tools: list[Tool], used: tuple[str, str] | None
) -> None:
    example = example_of(tools)
    Workflow.load(example)
    if used is not None:
        assert tuple(task["tool"] for task in example["tasks"]) == used
    assert json.loads(workflow_text(example)) == example
    assert example_of(tools[::-1]) == example


@pytest.mark.slow
@pytest.mark.anyio
@ON_ASYNCIO
async def test_the_example_and_a_plan_made_from_the_catalog_run_on_the_servers() -> None:
    names = ("weather", "news", "numbers", "text")
    servers = {name: load_config(ROOT / "servers.toml")[name] for name in names}
    with anyio.fail_after(60):
        async with Orchestrator(servers) as orchestrator:
            tools = await orchestrator.tools()
            text = catalog_text(tools)
            (block,) = re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
            example, plan = Workflow.load(json.loads(block)), Workflow.load(json.loads(PLAN))
            assert await orchestrator.check(example) == []
            for workflow in (example, plan):
                found = prove(workflow, {tool.target: tool for tool in tools})
                assert [problem for problem in found if problem.severity == "error"] == []
            shown = await orchestrator.run(example, {"city_list": ["Oslo", "Rome"]})
            made = await orchestrator.run(plan)
    assert shown.status == "success"
    assert shown.output["calls"] == 2
    assert made.status == "success"
    assert made.output["hottest"] == "Lima"
    assert made.output["report"].startswith("3 cities, the hottest is Lima\nIn F: 19.4, 77.0, 24.8")


# Written with nothing at hand but the output of `orchestrator catalog`.
PLAN = """
{
  "inputs": {"cities": {"type": "array", "items": {"type": "string"}, "default": ["Oslo", "Lima", "Rome"]}},
  "tasks": [
    {"id": "forecasts", "tool": "weather:forecast", "for_each": "$INPUT.cities",
     "arguments": {"city": "$ITEM"}, "retry": 2},
    {"id": "fahrenheit", "tool": "numbers:convert", "for_each": "$OUTPUT[forecasts]",
     "arguments": {"value": "$ITEM.temperature_c", "from_unit": "C", "to_unit": "F"}},
    {"id": "warm", "tool": "news:search", "when": "OUTPUT[forecasts][0].temperature_c > 15",
     "arguments": {"query": "beaches"}},
    {"id": "cold", "tool": "news:search", "when": "!(OUTPUT[forecasts][0].temperature_c > 15)",
     "arguments": {"query": "museums", "limit": 4}},
    {"id": "atlantis", "tool": "weather:forecast", "arguments": {"city": "Atlantis"},
     "fallback": {"value": {"conditions": "no such city: $ERROR.message"}}},
    {"id": "titles", "tool": "text:title", "arguments": {"text": "$ITEM.title"},
     "run_if": "any_success",
     "for_each": "${sort_by(not_null(OUTPUT[warm].items, OUTPUT[cold].items, `[]`), &score)[-2:]}"},
    {"id": "report", "tool": "text:join", "arguments": {"parts": [
      "${length(INPUT.cities)} cities, the hottest is ${max_by(OUTPUT[forecasts], &temperature_c).city}",
      "In F: ${join(', ', map(&to_string(@), OUTPUT[fahrenheit][*].value))}",
      "News: ${join('; ', OUTPUT[titles])}",
      "Atlantis: $OUTPUT[atlantis].conditions"]}}
  ],
  "output": {"report": "$OUTPUT[report]", "hottest": "${max_by(OUTPUT[forecasts], &temperature_c).city}"}
}
"""  # noqa: E501
