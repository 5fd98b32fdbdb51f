"""From the result of a tool to the output of a task, which is always JSON.

The output is the structured content, or the value that it wraps; else the text, parsed if it is a
JSON object or array; else the list of content objects. An `isError` is a failure. Results are read
as the server sent them: the SDK refuses whole results for members that nobody needs.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from orchestrator.documents.jsonpath import describe
from orchestrator.documents.parse import DocumentError, finite
from orchestrator.documents.text import cut
from orchestrator.documents.threads import in_thread
from orchestrator.errors import CallError
from orchestrator.schema.wrapped import NAME, says_wrapped

if TYPE_CHECKING:
    from mcp.types import CallToolResult

    from orchestrator.schema.tool import Tool

MAX_MESSAGE = 2000
# An answer that takes more memory than this is read in a thread.
LARGE_BYTES = 2_000_000
# Encoders and checkers recurse: a deeper value could exceed Python's limit in mid-run.
MAX_DEPTH = 200
_BRACKETS = re.compile(r"[\[{]")

# What a content object needs to be of use, by its type; others are passed on as they are.
_NEEDED: Mapping[str, Mapping[str, type]] = {
    "text": {"text": str},
    "image": {"data": str, "mimeType": str},
    "audio": {"data": str, "mimeType": str},
    "resource_link": {"uri": str},
    "resource": {"resource": dict},
}
_NAMES = {str: "string", dict: "object", bool: "boolean", list: "array"}


class InvalidResultError(Exception):
    """A result that lacks what an output needs; the message says what.

    Attributes:
        sent: What was sent, if that is not the answer to the request of the call.
    """

    sent: Any = None


def shown_to_sdk(result: dict[str, Any]) -> dict[str, Any]:
    """What the SDK sees of a result: all of one that asks for input, else only that it came."""
    return unless_asking(result, {"content": []})


def unless_asking(result: dict[str, Any], stand_in: dict[str, Any]) -> dict[str, Any]:
    """A result that asks for input, else a copy of what stands for any other."""
    return result if result.get("resultType") == "input_required" else {**stand_in}


def as_sent(result: CallToolResult) -> dict[str, Any]:
    """The result of a server in memory as one that is sent."""
    content = [item.model_dump(mode="json", by_alias=True) for item in result.content]
    structured, meta = result.structured_content, result.meta
    sent = {"content": content, "structuredContent": structured, "isError": result.is_error}
    return sent | {"_meta": meta}


def output_of(result: Mapping[str, Any], target: str) -> Any:
    """The output of a call.

    Raises:
        CallError: `tool_error` as the tool reports it; `output_invalid` if it is nested too deep.
        InvalidResultError: It has no output.
    """
    if _member(result, "isError", bool):
        raise _failure(result, target)
    try:
        return _value(result)
    except RecursionError:
        raise too_deep(target) from None


def too_deep(target: str) -> CallError:
    """The error of a call whose output is nested too deep."""
    message = f"the output of {target} is nested deeper than {MAX_DEPTH} levels"
    return CallError("output_invalid", message)


def is_wrapped(output: Any, result: Mapping[str, Any], tool: Tool | None) -> bool:
    """Whether an output is a wrapper, as the tool or the result itself says."""
    is_alone = isinstance(output, dict) and len(output) == 1 and NAME in output
    return is_alone and ((tool is not None and tool.wraps) or says_wrapped(result.get("_meta")))


async def value_inside(wrapper: Mapping[str, Any], is_large: bool) -> Any:
    """The value in a wrapper; text is parsed as that of a content object."""
    value = wrapper[NAME]
    if not isinstance(value, str):
        return value
    return await in_thread(parse_text, value) if is_large else parse_text(value)


def _failure(result: Mapping[str, Any], target: str) -> CallError:
    try:
        output: Any = _value(result)
    except RecursionError:
        output = ""
    except InvalidResultError:
        output = json_value(dict(result))
    shown = cut(_text(_items(result)) or f"{target} failed and gave no reason", MAX_MESSAGE)
    # As a rule, the output is the same text again.
    details = {} if output in (shown, "", None) else {"output": output}
    return CallError("tool_error", shown, **details)


def _value(result: Mapping[str, Any]) -> Any:
    if (structured := result.get("structuredContent")) is not None:
        return json_value(structured)
    if "content" not in result:
        raise InvalidResultError("content is missing")
    items = [_usable(item, f"content.{place}") for place, item in enumerate(_items(result))]
    if all(item["type"] == "text" for item in items):
        return of_texts([item["text"] for item in items])
    return [json_value({k: v for k, v in item.items() if v is not None}) for item in items]


def of_texts(texts: list[str]) -> Any:
    """None without a text; the values of several that are all JSON; else the text they make."""
    if not texts:
        return None
    if len(texts) > 1:
        with suppress(ValueError, RecursionError):
            return [_json_of(text) for text in texts]
    return parse_text("\n".join(texts))


def _items(result: Mapping[str, Any]) -> list[Any]:
    """The content objects; servers that have none send null, or a text alone."""
    match result.get("content"):
        case None:
            return []
        case str() as text:
            return [{"type": "text", "text": text}]
        case dict() as item:
            return [item]
        case _:
            items: list[Any] = _member(result, "content", list)
            return items


def _usable(item: Any, place: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise InvalidResultError(f"expected object as {place}, got {describe(item)}")
    kind = item.get("type")
    for name, wanted in {"type": str, **_NEEDED.get(str(kind), {})}.items():
        if item.get(name) is None:
            raise InvalidResultError(f"{place}.{name} is missing")
        _member(item, name, wanted, f"{place}.")
    return item


def _member(value: Mapping[str, Any], name: str, wanted: type, place: str = "") -> Any:
    """A member of this type, or None."""
    found = value.get(name)
    if found is None or isinstance(found, wanted):
        return found
    expected = f"expected {_NAMES[wanted]} as {place}{name}"
    raise InvalidResultError(f"{expected}, got {describe(found)}")


def _text(items: Sequence[Any]) -> str:
    return "\n".join(_texts(items))


def _texts(items: Sequence[Any]) -> Iterator[str]:
    for item in items:
        match item:
            case {"type": "text", "text": str() as text}:
                yield text


def parse_text(text: str) -> Any:
    """The JSON object or array that the text is; any other text as it is."""
    if text.lstrip()[:1] not in ("{", "["):
        return text
    return any_json(text)


def any_json(text: str) -> Any:
    """The JSON value that the text is, whatever it is; any other text as it is."""
    try:
        return _json_of(text)
    except (ValueError, RecursionError):
        return text


def _json_of(text: str) -> Any:
    value = json.loads(text, parse_constant=_no_json, parse_float=finite)
    # Few brackets cannot be nested deep; only other values are walked.
    if len(_BRACKETS.findall(text)) > MAX_DEPTH:
        json_value(value)
    return value


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
