"""From what a tool answered to the output of a task.

The rule of this file: structured content as it is, else the text (parsed if it is a JSON object or
array), else the list of content objects; an `isError` is a failure. What comes out is always JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.documents import DocumentError, finite
from orchestrator.errors import CallError

if TYPE_CHECKING:
    from mcp.types import CallToolResult

MAX_MESSAGE = 2000


def output_of(result: CallToolResult, target: str) -> Any:
    """The output of a call.

    Raises:
        CallError: A `tool_error`, if the tool says that it failed.
    """
    output = _value(result)
    if not result.is_error:
        return output
    message = _text(result.content) or f"{target} failed and gave no reason"
    shown = message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 3] + "..."
    details = {} if output in (shown, "") else {"output": output}
    raise CallError("tool_error", shown, **details)


def _value(result: CallToolResult) -> Any:
    if result.structured_content is not None:
        return json_value(result.structured_content)
    if all(item.type == "text" for item in result.content):
        return parse_text(_text(result.content))
    return [
        item.model_dump(mode="json", by_alias=True, exclude_none=True) for item in result.content
    ]


def _text(content: Sequence[Any]) -> str:
    return "\n".join(item.text for item in content if item.type == "text")


def parse_text(text: str) -> Any:
    """A text that is a JSON object or array as that; any other text as it is."""
    if text.lstrip()[:1] not in ("{", "["):
        return text
    try:
        return json.loads(text, parse_constant=_no_json, parse_float=finite)
    except (ValueError, RecursionError):
        return text


def _no_json(name: str) -> Any:
    raise DocumentError(name)


def json_value(value: Any) -> Any:
    """The value, with `Infinity` and `NaN`, which JSON does not have, as these texts.

    Servers written in Python send them, and the SDK lets them through. As in protobuf's JSON form.
    """
    match value:
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case dict() if not all(map(_is_json, value.values())):
            return {name: json_value(item) for name, item in value.items()}
        case list() if not all(map(_is_json, value)):
            return [json_value(item) for item in value]
    return value


def _is_json(value: Any) -> bool:
    match value:
        case float():
            return math.isfinite(value)
        case dict():
            return all(map(_is_json, value.values()))
        case list():
            return all(map(_is_json, value))
    return True
