"""From the result of a tool to the output of a task, which is always JSON.

The output is the structured content as it is, else the text (parsed if it is a JSON object or
array), else the list of content objects; an `isError` is a failure.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.documents.parse import DocumentError, finite
from orchestrator.documents.text import cut
from orchestrator.errors import CallError

if TYPE_CHECKING:
    from mcp.types import CallToolResult

MAX_MESSAGE = 2000
# Encoders and checkers recurse: a deeper value could exceed Python's limit in mid-run.
MAX_DEPTH = 200
_BRACKETS = re.compile(r"[\[{]")


def output_of(result: CallToolResult, target: str) -> Any:
    """The output of a call.

    Raises:
        CallError: `tool_error` as the tool reports it; `output_invalid` if it is nested too deep.
    """
    output: Any = ""
    try:
        output = _value(result)
    except RecursionError:
        if not result.is_error:
            message = f"the output of {target} is nested deeper than {MAX_DEPTH} levels"
            raise CallError("output_invalid", message) from None
    if not result.is_error:
        return output
    shown = cut(_text(result.content) or f"{target} failed and gave no reason", MAX_MESSAGE)
    # As a rule, the output is the same text again.
    details = {} if output in (shown, "") else {"output": output}
    raise CallError("tool_error", shown, **details)


def _value(result: CallToolResult) -> Any:
    if result.structured_content is not None:
        return json_value(result.structured_content)
    if all(item.type == "text" for item in result.content):
        return parse_text(_text(result.content))
    return [
        json_value(item.model_dump(mode="json", by_alias=True, exclude_none=True))
        for item in result.content
    ]


def _text(content: Sequence[Any]) -> str:
    return "\n".join(item.text for item in content if item.type == "text")


def parse_text(text: str) -> Any:
    """The JSON object or array that the text is; any other text as it is."""
    if text.lstrip()[:1] not in ("{", "["):
        return text
    try:
        value = json.loads(text, parse_constant=_no_json, parse_float=finite)
        # Few brackets cannot be nested deep; only other values are walked.
        if len(_BRACKETS.findall(text)) > MAX_DEPTH:
            json_value(value)
        return value
    except (ValueError, RecursionError):
        return text


def _no_json(name: str) -> Any:
    raise DocumentError(name)


def json_value(value: Any, depth: int = 0) -> Any:
    """The value with `Infinity` and `NaN` as strings, as in Protobuf's JSON form.

    Raises:
        RecursionError: It is nested deeper than `MAX_DEPTH` levels.
    """
    if depth > MAX_DEPTH:
        raise RecursionError
    match value:
        case float() if not math.isfinite(value):  # Python's servers and the SDK let them pass
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case dict():
            members = {name: json_value(item, depth + 1) for name, item in value.items()}
            changed = any(members[name] is not item for name, item in value.items())
            return members if changed else value
        case list():
            items = [json_value(item, depth + 1) for item in value]
            changed = any(new is not old for new, old in zip(items, value, strict=True))
            return items if changed else value
    return value
