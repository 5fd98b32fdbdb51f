"""Answers what a server asks while it works on a call.

If the configuration of the server says so, a form is accepted with its own defaults, or a person is
asked; everything else is declined.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
from mcp import types
from mcp.client.session import ClientRequestContext, ClientSession, ElicitationFnT
from mcp.shared.dispatcher import ProgressFnT
from pydantic import TypeAdapter

from orchestrator.calls.call import Attempt, Call, Elicit
from orchestrator.documents.text import alternatives, quoted
from orchestrator.errors import CallError
from orchestrator.schema.defaults import with_defaults
from orchestrator.servers.config import Server

logger = logging.getLogger("orchestrator")

# Of calls that were cancelled, whose servers may go on with them.
MAX_GIVEN_UP = 8
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


class Elicitor:
    """Answers what a server asks in a session: with its defaults, by a person, or not at all.

    Requests before protocol 2026-07-28 do not say which call they are about. There is one at a time
    as far as we know; but a server may go on with one that we have given up, and ask for that.

    Attributes:
        server: The server.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self._by_person = server.elicitation == "ask"
        self._calls: dict[Attempt, str] = {}  # those under way, and their tasks
        self._given_up: dict[str, None] = {}  # the tasks of the last that were cancelled

    @contextmanager
    def under_way(self, call: Call, attempt: Attempt) -> Iterator[None]:
        """The server may ask in the block, for this call."""
        self._calls[attempt] = call.where
        try:
            yield
        except anyio.get_cancelled_exc_class():
            self._given_up.pop(call.where, None)
            self._given_up[call.where] = None
            if len(self._given_up) > MAX_GIVEN_UP:
                del self._given_up[next(iter(self._given_up))]
            raise
        finally:
            del self._calls[attempt]

    @property
    def callback(self) -> ElicitationFnT | None:
        """Answers servers before protocol 2026-07-28, which ask by requests of their own.

        None where nothing is answered: the client then announces that servers cannot ask.
        """

        async def answered(
            context: ClientRequestContext, params: types.ElicitRequestParams
        ) -> types.ElicitResult:
            del context
            if self._by_person and not self._calls:
                return _declined(params, self.server, "no call of it is under way")
            return await self.answer(params, self._elicit())

        return None if self.server.elicitation == "none" else answered

    def _elicit(self) -> Elicit | None:
        """Asks a person for the call that the server asks for, or says which ones that may be."""
        asking = [(attempt.elicit, where) for attempt, where in self._calls.items()]
        elicit, where = next((each for each in reversed(asking) if each[0]), (None, ""))
        names = list(dict.fromkeys([where, *self._calls.values(), *self._given_up]))
        if elicit is None or len(names) == 1:
            return elicit
        one_of = f"(It does not say for which task: it may be {alternatives(map(quoted, names))}.)"
        return lambda message, schema: elicit(f"{message} {one_of}", schema)

    async def answer(
        self, asked: types.ElicitRequestParams, elicit: Elicit | None
    ) -> types.ElicitResult:
        """The answer to a form or a link."""
        if not self._by_person:
            return answer_to(asked, self.server)
        if elicit is None:
            return _declined(asked, self.server, "no one can be asked here, as in a run")
        message, schema = self.server.redact(asked.message), None
        if isinstance(asked, types.ElicitRequestFormParams):
            schema = asked.requested_schema
        else:  # it is shown, and never opened unasked
            message = f"{message} Open {self.server.redact(asked.url)} and confirm when it is done."
        value, refused = await elicit(message, schema)
        if refused:
            return types.ElicitResult(action="decline")
        content = None if schema is None else with_defaults(value, schema)
        return types.ElicitResult(action="accept", content=content)


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
    elicitor: Elicitor,
    attempt: Attempt,
    progress: ProgressFnT | None = None,
) -> Any:
    """The result of a request, after answering what the server asks meanwhile.

    Since protocol 2026-07-28 a server asks by an unfinished result. The call is then repeated with
    the answers, and with the state that came with the questions.

    Raises:
        CallError: A `protocol_error`: the server asks what is not answered, or does not stop.
        MCPError: As `ClientSession.send_request`, and whatever else that raises.
    """
    server = elicitor.server
    for number in range(MAX_ROUNDS):
        adapter = _RESULTS[type(request)]
        result = await session.send_request(request, adapter, progress_callback=progress)
        if not isinstance(result, types.InputRequiredResult):
            return result
        if not result.input_requests:
            await anyio.sleep(PAUSE_S * 2**number)
        answers = {}
        for key, question in (result.input_requests or {}).items():
            asked = asked_of(question, f"{server.name}:{_name_of(request)}", server)
            answers[key] = await elicitor.answer(asked, attempt.elicit)
        update = {"input_responses": answers or None, "request_state": result.request_state}
        request = type(request)(params=request.params.model_copy(update=update))
    what = f"asked for input {MAX_ROUNDS} times without finishing"
    raise _refusal(f"{server.name}:{_name_of(request)}", server, what)


def asked_of(asked: types.InputRequest, target: str, server: Server) -> types.ElicitRequestParams:
    """What a call of `server:tool` is asked, if that is answered.

    Raises:
        CallError: It is not.
    """
    if not isinstance(asked, types.ElicitRequest):  # sampling, or the list of roots
        raise _refusal(target, server, f"asks for {asked.method}, which is not supported")
    if server.elicitation == "none":
        what = f"asks {quoted(server.redact(asked.params.message))}, and no one can answer"
        place = f"in [servers.{server.name}]"
        fix = f'Set elicitation = "defaults" {place} to accept form defaults, or "ask" to be asked'
        raise _refusal(target, server, f"{what}. {fix}")
    return asked.params


def _name_of(request: Request) -> str:
    params = request.params
    return params.uri if isinstance(params, types.ReadResourceRequestParams) else params.name


def _refusal(target: str, server: Server, what: str) -> CallError:
    tool = target.removeprefix(f"{server.name}:")
    message = f"{target} {what}"
    return CallError("protocol_error", message, retryable=False, server=server.name, tool=tool)
