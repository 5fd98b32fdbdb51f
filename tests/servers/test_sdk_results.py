"""From what a tool answered to the output of its task."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.types import CallToolResult, ImageContent, TextContent

from orchestrator.errors import CallError
from orchestrator.servers.sdk_results import (
    MAX_DEPTH,
    MAX_MESSAGE,
    as_sent,
    json_value,
    output_of,
    parse_text,
)
from tests.documents.test_jsonpath import values

CASES = Path(__file__).parents[3] / "shared" / "cases" / "results" / "servers.jsonl"


def answer(*texts: str, structured: Any = None, is_error: bool = False) -> dict[str, Any]:
    content = [TextContent(type="text", text=text) for text in texts]
    result = CallToolResult(content=list(content), structured_content=structured, is_error=is_error)
    return as_sent(result)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"x": value}
    return value


def test_structured_content_is_the_output_as_it_is() -> None:
    structured = {"result": [1, {"a": None}]}
    assert output_of(answer("other", structured=structured), "s:t") == structured
    assert output_of(answer("other", structured={}), "s:t") == {}


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ('{"a": 1}', {"a": 1}),
        (" \n[1, 2]\n", [1, 2]),
        ("plain", "plain"),
        ("", ""),
        ("5", "5"),
        ("true", "true"),
        ("null", "null"),
        ('"quoted"', '"quoted"'),
        ("{'a': 1}", "{'a': 1}"),
        ("[1, 2", "[1, 2"),
        ("[1] [2]", "[1] [2]"),
        ('{"a": NaN}', '{"a": NaN}'),
        ("[Infinity]", "[Infinity]"),
        ("[1e999]", "[1e999]"),
        ("[" + "9" * 5000 + "]", "[" + "9" * 5000 + "]"),
        ('{"a": 1, "a": 2}', {"a": 2}),
    ],
)
def test_a_text_is_parsed_if_it_is_a_json_object_or_array(text: str, output: Any) -> None:
    assert output_of(answer(text), "s:t") == output


def test_text_that_is_nested_too_deep_stays_text() -> None:
    assert parse_text(json.dumps(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    for depth in (MAX_DEPTH + 1, 50_000):
        text = "[" * depth + "1" + "]" * depth
        assert parse_text(text) == text
    flat = json.dumps([[]] * (MAX_DEPTH + 1))
    assert parse_text(flat) == json.loads(flat)


def test_several_texts_are_lines() -> None:
    assert output_of(answer("a", "b"), "s:t") == "a\nb"
    assert output_of(answer("[1,", "2]"), "s:t") == [1, 2]
    assert output_of(answer("1", "x"), "s:t") == "1\nx"


def test_several_texts_that_are_all_json_are_the_list_of_them() -> None:
    assert output_of(answer('{"a": 1}', "[2]"), "s:t") == [{"a": 1}, [2]]
    assert output_of(answer("1", "null", '"x"'), "s:t") == [1, None, "x"]
    assert output_of(answer("{}", "NaN"), "s:t") == "{}\nNaN"
    deep = "[" * 50_000 + "]" * 50_000
    assert output_of(answer("{}", deep), "s:t") == f"{{}}\n{deep}"


def test_no_content_is_null() -> None:
    assert output_of(answer(), "s:t") is None
    assert output_of({"content": None}, "s:t") is None
    with pytest.raises(CallError) as caught:
        output_of(answer(is_error=True), "s:t")
    assert caught.value.error.details == {}


def test_other_content_is_a_list_of_content_objects() -> None:
    image = ImageContent(type="image", data="aGk=", mime_type="image/png")
    result = CallToolResult(content=[TextContent(type="text", text="see"), image])
    assert output_of(as_sent(result), "s:t") == [
        {"type": "text", "text": "see"},
        {"type": "image", "data": "aGk=", "mimeType": "image/png"},
    ]


def test_an_error_of_the_tool_is_a_failure_with_its_text() -> None:
    with pytest.raises(CallError, match=r"^not found$") as caught:
        output_of(answer("not found", is_error=True), "s:t")
    assert caught.value.kind == "tool_error"
    assert caught.value.error.to_dict() == {
        "kind": "tool_error",
        "message": "not found",
        "retryable": True,
        "details": {},
    }


def test_an_error_keeps_what_its_text_does_not_say() -> None:
    with pytest.raises(CallError, match="s:t failed and gave no reason") as caught:
        output_of(answer(is_error=True), "s:t")
    assert caught.value.error.details == {}
    with pytest.raises(CallError) as caught:
        output_of(answer("no", structured={"code": 4}, is_error=True), "s:t")
    assert caught.value.error.details == {"output": {"code": 4}}
    with pytest.raises(CallError) as caught:
        output_of(answer("x" * 5000, is_error=True), "s:t")
    assert len(str(caught.value)) == MAX_MESSAGE
    assert caught.value.error.details == {"output": "x" * 5000}


def test_an_output_that_is_nested_too_deep_is_invalid() -> None:
    assert output_of(answer(structured=nested(MAX_DEPTH)), "s:t") == nested(MAX_DEPTH)
    with pytest.raises(CallError, match="output of s:t is nested deeper than 200") as caught:
        output_of(answer(structured=nested(MAX_DEPTH + 1)), "s:t")
    assert caught.value.kind == "output_invalid"
    with pytest.raises(CallError, match=r"^why$") as caught:
        output_of(answer("why", structured=nested(5000), is_error=True), "s:t")
    assert caught.value.kind == "tool_error"


def test_infinity_and_nan_become_texts_and_nothing_else_is_copied() -> None:
    same = {"a": [1, 2.5]}
    value = {"x": [math.inf, -math.inf, {"y": math.nan}], "same": same}
    found = json_value(value)
    assert found == {"x": ["Infinity", "-Infinity", {"y": "NaN"}], "same": same}
    assert found["same"] is same
    assert json_value(same) is same


@given(values)
def test_json_is_given_back_itself(value: Any) -> None:
    assert json_value(value) is value


wild = st.recursive(
    st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=2), wild))
def test_what_comes_out_is_always_json(structured: dict[str, Any]) -> None:
    json.dumps(output_of(answer(structured=structured), "s:t"), allow_nan=False)
    json.dumps(output_of(answer(json.dumps(structured)), "s:t"), allow_nan=False)


def test_the_answers_of_real_servers_become_outputs_or_failures() -> None:
    if not CASES.exists():
        pytest.skip(f"the shared cases are not at {CASES}")
    for row in map(json.loads, CASES.read_text().splitlines()):
        if "result" not in row:
            continue
        result = CallToolResult.model_validate(row["result"])
        if result.is_error:
            with pytest.raises(CallError) as caught:
                output_of(row["result"], row["tool"])
            assert caught.value.kind == "tool_error"
            continue
        output = output_of(row["result"], row["tool"])
        json.dumps(output, allow_nan=False)
        if result.structured_content is None:
            joined = "\n".join(item.text for item in result.content if item.type == "text")
            assert isinstance(output, list | dict) or output == joined
