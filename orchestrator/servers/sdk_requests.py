"""The request of a call, by its kind, and what its result becomes: the output of a task."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mcp import types

from orchestrator.calls.call import Call
from orchestrator.documents.jsonpath import describe
from orchestrator.documents.text import quoted
from orchestrator.documents.threads import in_thread
from orchestrator.errors import CallError
from orchestrator.servers import sdk_results
from orchestrator.servers.elicitation import Request
from orchestrator.servers.sdk_results import InvalidResultError

IDEMPOTENCY_KEY = "io.orchestrator/idempotency-key"

Meta = Mapping[str, Any] | None
Sent = Mapping[str, Any]
_NO_CONTENTS = {"contents": [], "ttlMs": 0, "cacheScope": "private"}


@dataclass(frozen=True, slots=True)
class Exchange:
    """How calls of one kind are made.

    Attributes:
        show: What the SDK sees of a result; as it was sent, the result is beside the message.
        request: The request of a call.
        as_sent: The result of a server in memory as one that is sent.
        output: The output of a result; the string is the name of what was called, for messages.
    """

    show: Callable[[dict[str, Any]], dict[str, Any]]
    request: Callable[[Call, Meta], Request]
    as_sent: Callable[[Any], dict[str, Any]]
    output: Callable[[Sent, str], Any]


def _tool_request(call: Call, meta: Meta) -> Request:
    params = types.CallToolRequestParams(name=call.tool, arguments=call.arguments, _meta=meta)
    return types.CallToolRequest(params=params)


def _read_request(call: Call, meta: Meta) -> Request:
    params = types.ReadResourceRequestParams(uri=call.tool, _meta=meta)
    return types.ReadResourceRequest(params=params)


def _prompt_request(call: Call, meta: Meta) -> Request:
    params = types.GetPromptRequestParams(name=call.tool, arguments=call.arguments, _meta=meta)
    return types.GetPromptRequest(params=params)


def request_of(call: Call, meta: Meta, task: types.TaskMetadata | None = None) -> Request:
    """The request of a call; `task` asks the server to carry it out as one.

    Raises:
        CallError: The arguments are not JSON.
    """
    try:
        # The SDK encodes it later, where a failure ends the session for all calls.
        json.dumps(call.arguments, allow_nan=False, ensure_ascii=False).encode()
        if call.run:
            meta = {**(meta or {}), IDEMPOTENCY_KEY: call.idempotency_key}
        request = EXCHANGES[call.kind].request(call, meta)
        if task is not None and isinstance(request, types.CallToolRequest):
            request.params.task = task
        return request
    except (ValueError, TypeError, RecursionError) as error:
        raise not_json(call.tool, error) from None


def not_json(tool: str, error: Exception) -> CallError:
    """The error of a call whose arguments are not JSON."""
    message = f"the arguments of {quoted(tool)} cannot be sent as JSON: {error}"
    return CallError("invalid_arguments", message, tool=tool)


async def output_of(exchange: Exchange, result: Sent, target: str, is_large: bool) -> Any:
    """The output of a result; of a large one made in a thread: the event loop goes on meanwhile."""
    if is_large:
        return await in_thread(exchange.output, result, target)
    return exchange.output(result, target)


def _dumped(result: Any) -> dict[str, Any]:
    dumped: dict[str, Any] = result.model_dump(mode="json", by_alias=True, exclude_none=True)
    return dumped


def _contents(result: Sent, target: str) -> Any:
    """JSON if a resource is JSON, else its text, else its contents."""
    contents = _list(result, "contents")
    texts = [text for content in contents if isinstance(text := content.get("text"), str)]
    if len(texts) == len(contents):
        if len(contents) == 1 and _is_json(contents[0].get("mimeType")):
            return sdk_results.any_json(texts[0])
        return sdk_results.of_texts(texts)
    return _value(contents, target)


def _messages(result: Sent, target: str) -> Any:
    return _value(_list(result, "messages"), target)


def _value(value: Any, target: str) -> Any:
    try:
        return sdk_results.json_value(value)
    except RecursionError:
        raise sdk_results.too_deep(target) from None


def _list(result: Sent, name: str) -> list[dict[str, Any]]:
    found = result.get(name)
    if not isinstance(found, list):
        raise InvalidResultError(f"expected array as {name}, got {describe(found)}")
    for place, entry in enumerate(found):
        if not isinstance(entry, dict):
            raise InvalidResultError(f"expected object as {name}.{place}, got {describe(entry)}")
    return found


def _is_json(mime_type: Any) -> bool:
    kind = mime_type.partition(";")[0].strip().lower() if isinstance(mime_type, str) else ""
    return kind in ("application/json", "text/json") or kind.endswith("+json")


EXCHANGES: Mapping[str, Exchange] = {
    "tool": Exchange(
        sdk_results.shown_to_sdk, _tool_request, sdk_results.as_sent, sdk_results.output_of
    ),
    "read": Exchange(
        lambda result: sdk_results.unless_asking(result, _NO_CONTENTS),
        _read_request,
        _dumped,
        _contents,
    ),
    "prompt": Exchange(
        lambda result: sdk_results.unless_asking(result, {"messages": []}),
        _prompt_request,
        _dumped,
        _messages,
    ),
}
