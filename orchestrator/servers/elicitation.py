"""Answers what a server asks while it works on a call.

No one is there to ask. If the configuration of the server says so, a form is accepted with its own
defaults; everything else is declined.
"""

from __future__ import annotations

import logging
from typing import Any

import anyio
from mcp import types
from mcp.client.session import ClientRequestContext, ClientSession, ElicitationFnT
from mcp.shared.dispatcher import ProgressFnT
from pydantic import TypeAdapter

from orchestrator.documents.text import quoted
from orchestrator.errors import CallError
from orchestrator.servers.config import Server

logger = logging.getLogger("orchestrator")

# As many as the SDKs allow.
MAX_ROUNDS = 10
# Before a call is repeated whose server asked nothing; doubled from round to round.
PAUSE_S = 0.05

Request = types.CallToolRequest | types.ReadResourceRequest | types.GetPromptRequest
_RESULTS: dict[type[Any], TypeAdapter[Any]] = {
    types.CallToolRequest: TypeAdapter(types.CallToolResult | types.InputRequiredResult),
    types.ReadResourceRequest: TypeAdapter(types.ReadResourceResult | types.InputRequiredResult),
    types.GetPromptRequest: TypeAdapter(types.GetPromptResult | types.InputRequiredResult),
}


def elicitation_callback(server: Server) -> ElicitationFnT | None:
    """Answers servers before protocol 2026-07-28, which ask by requests of their own.

    None where nothing is answered: the client then announces that servers cannot ask.
    """

    async def answered(
        context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult:
        del context
        return answer_to(params, server)

    return answered if server.elicitation == "defaults" else None


def answer_to(asked: types.ElicitRequestParams, server: Server) -> types.ElicitResult:
    """Accept a form with its defaults; decline one that lacks a default, and anything else."""
    if not isinstance(asked, types.ElicitRequestFormParams):
        return _declined(asked, server, "it needs a person to open a URL")
    schema = asked.requested_schema
    fields = schema.get("properties", {})
    content = {name: field["default"] for name, field in fields.items() if "default" in field}
    if missing := [name for name in schema.get("required", ()) if name not in content]:
        return _declined(asked, server, f"no default for {', '.join(missing)}")
    return types.ElicitResult(action="accept", content=content)


def _declined(asked: types.ElicitRequestParams, server: Server, why: str) -> types.ElicitResult:
    asked_for = quoted(server.redact(asked.message))
    logger.warning("declined %s of server %s: %s", asked_for, quoted(server.name), why)
    return types.ElicitResult(action="decline")


async def answered(
    session: ClientSession,
    request: Request,
    server: Server,
    progress: ProgressFnT | None = None,
) -> Any:
    """The result of a request, after answering what the server asks meanwhile.

    Since protocol 2026-07-28 a server asks by an unfinished result. The call is then repeated with
    the answers, and with the state that came with the questions.

    Raises:
        CallError: A `protocol_error`: the server asks what is not answered, or does not stop.
        MCPError: As `ClientSession.send_request`, and whatever else that raises.
    """
    for number in range(MAX_ROUNDS):
        adapter = _RESULTS[type(request)]
        result = await session.send_request(request, adapter, progress_callback=progress)
        if not isinstance(result, types.InputRequiredResult):
            return result
        if not result.input_requests:
            await anyio.sleep(PAUSE_S * 2**number)
        asked = (result.input_requests or {}).items()
        answers = {key: _answer(question, request, server) for key, question in asked}
        update = {"input_responses": answers or None, "request_state": result.request_state}
        request = type(request)(params=request.params.model_copy(update=update))
    raise _refusal(request, server, f"asked for input {MAX_ROUNDS} times without finishing")


def _answer(asked: types.InputRequest, request: Request, server: Server) -> types.ElicitResult:
    if not isinstance(asked, types.ElicitRequest):  # sampling, or the list of roots
        raise _refusal(request, server, f"asks for {asked.method}, which is not supported")
    if server.elicitation != "defaults":
        what = f"asks {quoted(server.redact(asked.params.message))}, and no one can answer"
        fix = f'Set elicitation = "defaults" in [servers.{server.name}] to accept form defaults'
        raise _refusal(request, server, f"{what}. {fix}")
    return answer_to(asked.params, server)


def _refusal(request: Request, server: Server, what: str) -> CallError:
    params = request.params
    tool = params.uri if isinstance(params, types.ReadResourceRequestParams) else params.name
    message = f"{server.name}:{tool} {what}"
    return CallError("protocol_error", message, retryable=False, server=server.name, tool=tool)
