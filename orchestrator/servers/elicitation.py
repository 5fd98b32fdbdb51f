"""What a server asks back while it works on a call, and what it is answered.

The rule of this file: nobody is there to be asked. A form gets its own defaults, if the
configuration of its server says so; to nothing else is ever agreed.
"""

from __future__ import annotations

import logging

import anyio
from mcp.client.session import ClientRequestContext, ClientSession, ElicitationFnT
from mcp.shared.dispatcher import ProgressFnT
from mcp.types import (
    CallToolRequest,
    CallToolResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitRequestParams,
    ElicitResult,
    InputRequest,
    InputRequiredResult,
)
from pydantic import TypeAdapter

from orchestrator.errors import CallError
from orchestrator.servers.config import Server

logger = logging.getLogger("orchestrator")

# As many as the SDKs of the protocol allow.
MAX_ROUNDS = 10
# Before a server that asks nothing is asked again; doubled from round to round.
PAUSE_S = 0.05

_RESULT: TypeAdapter[CallToolResult | InputRequiredResult] = TypeAdapter(
    CallToolResult | InputRequiredResult
)


def elicitation_callback(server: Server) -> ElicitationFnT | None:
    """Who answers a server before protocol 2026-07-28, where it asks by requests of its own.

    None if nobody does; the server is then told from the start that it cannot ask.
    """

    async def answered(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        del context
        return answer_to(params, server)

    return answered if server.elicitation == "defaults" else None


def answer_to(asked: ElicitRequestParams, server: Server) -> ElicitResult:
    """A form's own defaults; no, if a field that it needs has none, or if it is no form."""
    if not isinstance(asked, ElicitRequestFormParams):
        return _declined(asked, server, "it wants a person to open a URL")
    schema = asked.requested_schema
    fields = schema.get("properties", {})
    content = {name: field["default"] for name, field in fields.items() if "default" in field}
    if missing := [name for name in schema.get("required", ()) if name not in content]:
        return _declined(asked, server, f"there is no default for {', '.join(missing)}")
    return ElicitResult(action="accept", content=content)


def _declined(asked: ElicitRequestParams, server: Server, why: str) -> ElicitResult:
    shown = server.redact(f"declined {asked.message!r} of server {server.name!r}: {why}")
    logger.warning("%s", shown)
    return ElicitResult(action="decline")


async def call_tool(
    session: ClientSession,
    request: CallToolRequest,
    server: Server,
    progress: ProgressFnT | None = None,
) -> CallToolResult:
    """The result of a call, once the server has been answered what it asks meanwhile.

    Since protocol 2026-07-28 a server asks by an unfinished result; the call is then repeated with
    the answers, and with the state that came with the questions.

    Raises:
        CallError: A `protocol_error`: it asks what is not answered, or does not stop asking.
        MCPError: As `ClientSession.send_request`, and whatever else that raises.
    """
    for number in range(MAX_ROUNDS):
        result = await session.send_request(request, _RESULT, progress_callback=progress)
        if isinstance(result, CallToolResult):
            return result
        if not result.input_requests:
            await anyio.sleep(PAUSE_S * 2**number)
        request = _answering(request, result, server)
    raise _refusal(request, server, f"asked for input {MAX_ROUNDS} times without an end")


def _answering(
    request: CallToolRequest, unfinished: InputRequiredResult, server: Server
) -> CallToolRequest:
    """The same call, with answers."""
    questions = unfinished.input_requests or {}
    answers = {key: _answer(asked, request, server) for key, asked in questions.items()}
    update = {"input_responses": answers or None, "request_state": unfinished.request_state}
    return CallToolRequest(params=request.params.model_copy(update=update))


def _answer(asked: InputRequest, request: CallToolRequest, server: Server) -> ElicitResult:
    if not isinstance(asked, ElicitRequest):
        raise _refusal(request, server, f"asks for {asked.method}, which orchestrator does not do")
    if server.elicitation != "defaults":
        what = f"asks {asked.params.message!r}, and nobody answers"
        hint = f'elicitation = "defaults" in [servers.{server.name}] accepts the defaults of forms'
        raise _refusal(request, server, f"{what} ({hint})")
    return answer_to(asked.params, server)


def _refusal(request: CallToolRequest, server: Server, what: str) -> CallError:
    tool = request.params.name
    message = f"{server.name}:{tool} {what}"
    return CallError("protocol_error", message, retryable=False, server=server.name, tool=tool)
