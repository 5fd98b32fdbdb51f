"""A call that its server carries out as a task, from the handle of that to its result."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
from mcp import MCPError, types
from mcp.client.session import ClientSession
from pydantic import ConfigDict, TypeAdapter, ValidationError

from orchestrator.calls.call import Attempt
from orchestrator.documents.jsonpath import describe
from orchestrator.documents.text import quoted
from orchestrator.errors import CallError
from orchestrator.servers.elicitation import Elicitor, asked_of
from orchestrator.servers.sdk_errors import ServerFault, fault_of, is_closed
from orchestrator.servers.sdk_results import InvalidResultError
from orchestrator.servers.sdk_tasks import Handle, State, TaskParams, TaskRequest, checked
from orchestrator.transport.delivery import Deliveries, Facts

logger = logging.getLogger("orchestrator")

# Between two polls, seconds: where the server does not say, and the bounds of what it says.
POLL_S, SHORTEST_POLL_S, LONGEST_POLL_S = 1.0, 0.05, 60.0
CANCEL_S = 2.0  # for a server to hear that its task is cancelled
ASKED_AGAIN = 5  # so often in a row, where a server answers with an error that may pass
ANSWER_S = 30.0  # for the answer to a poll, which may be lost
# What the answer of `tasks/get` has besides, of an extended task; the handle need not have it.
_DETAILS = {"completed": "result", "failed": "error", "input_required": "inputRequests"}
# Of these, the server knows no such task, or cannot be asked about any.
_FINAL = (types.INVALID_PARAMS, types.METHOD_NOT_FOUND)
_INPUT: TypeAdapter[types.InputRequest] = TypeAdapter(types.InputRequest)


class _Said(types.Result):
    """What a server says of a task, whatever that is."""

    model_config = ConfigDict(extra="allow")


@dataclass(slots=True)
class RemoteTask:
    """A task under way.

    Attributes:
        handle: The task.
        session: Asks about it.
        deliveries: Those of the session.
        elicitor: Answers what the server asks.
        attempt: That of the call; its `remote` is the handle as long as the task may go on.
    """

    handle: Handle
    session: ClientSession
    deliveries: Deliveries
    elicitor: Elicitor
    attempt: Attempt
    _has_ended: bool = False
    _said: Any = None  # the last answer about it
    _message: str = ""
    _progress: float = 0.0
    _answered: set[str] = field(default_factory=set)

    async def result(self) -> Mapping[str, Any]:
        """Poll until it has ended, and return the result of its call as the server sent it.

        If that is given up, the server is asked to cancel the task.

        Raises:
            MCPError: The call failed with it, or the session does not reach the server any more:
                then `attempt.remote` is left for the next session.
            CallError: The task was cancelled or forgotten, or asks what is not answered.
            InvalidResultError: What the server says of it makes no sense.
        """
        self.attempt.remote, is_left = self.handle, False
        try:
            return await self._followed()
        except MCPError as error:
            if self._has_ended:
                raise
            is_left = is_closed(error) or self._fault_of(error).kind == "server_unavailable"
            if is_left:
                raise
            self._has_ended = error.code == types.INVALID_PARAMS
            if isinstance(error.data, Facts) and not error.data.by_server:
                raise  # it could not be read
            raise self._forgotten(error) from None
        except InvalidResultError as error:
            error.sent = self._said
            raise
        finally:
            if not is_left:
                self.attempt.remote = None
                if not self._has_ended:
                    await self._cancel()

    def note_progress(self, progress: float, total: float | None, message: str) -> None:
        """Pass on the progress of the call."""
        self._progress = progress
        if self.attempt.on_progress is not None:
            self.attempt.on_progress(progress, total, self.elicitor.server.redact(message))

    async def _followed(self) -> Mapping[str, Any]:
        state, is_modern = self.handle.state, self.handle.is_modern
        if is_modern and _DETAILS.get(state["status"], "status") not in state:
            state = await self._polled()
        while True:
            self._tell(state)
            match state["status"]:
                case "completed" if is_modern:
                    return self._ended_with(state)
                case "failed" if is_modern:
                    raise self._failure(state)
                case "completed" | "failed":
                    return await self._payload(state["status"])
                case "cancelled":
                    self._has_ended = True
                    raise self._cancelled(state)
                case "input_required" if is_modern:
                    await self._answer(state)
                case "input_required":  # the server asks while that is open
                    return await self._payload("input_required")
                case "working":
                    pass
                case other:
                    raise InvalidResultError(f"unknown status {quoted(other)} of the task")
            await anyio.sleep(_interval_s(state))
            state = await self._polled()

    def _tell(self, state: State) -> None:
        message = state.get("statusMessage")
        if isinstance(message, str) and message not in ("", self._message):
            self._message = message
            self.note_progress(self._progress, None, message)

    async def _polled(self) -> State:
        """What the server says of it now."""
        return self._of_this(await self._asked("tasks/get", ANSWER_S, ASKED_AGAIN))

    async def _asked(self, method: str, limit_s: float, errors_left: int) -> dict[str, Any]:
        """The answer; where the server cannot be reached for a moment, later.

        Errors that may pass are asked again a few times.
        """
        while True:
            after_s = _interval_s(self.handle.state)
            try:
                with anyio.move_on_after(limit_s):
                    return await self._send(method)
                why: object = "no answer"
            except MCPError as error:
                fault, why = self._fault_of(error), error
                errors_left -= fault.kind != "server_unavailable"
                is_final = fault.retryable is False or fault.ends or error.code in _FINAL
                if is_closed(error) or is_final or not errors_left:
                    raise
                after_s = max(after_s, fault.details.get("retry_after_s", 0.0))
            logger.debug("task %s: nothing is said of it now: %s", self.handle.id, why)
            await anyio.sleep(after_s)

    def _of_this(self, sent: Any) -> State:
        self._said = sent
        state = checked(sent)
        if state["taskId"] != self.handle.id:
            asked, got = quoted(self.handle.id), quoted(state["taskId"])
            raise InvalidResultError(f"tasks/get of task {asked} was answered with task {got}")
        return state

    async def _payload(self, status: str) -> Mapping[str, Any]:
        """The result in the design of 2025-11-25; the call to come is over with an error, too."""
        try:
            result = await self._asked("tasks/result", math.inf, 1)
        except MCPError as error:
            self._has_ended = not (
                is_closed(error) or self._fault_of(error).kind == "server_unavailable"
            )
            if status == "completed" and error.code == types.INVALID_PARAMS:
                raise self._forgotten(error) from None  # its call had succeeded
            raise
        self._has_ended = True
        return result

    def _fault_of(self, error: MCPError) -> ServerFault:
        return fault_of(error, self.handle.call.tool)

    def _forgotten(self, error: MCPError) -> CallError:
        call, said = self.handle.call, self.elicitor.server.redact(error.message)
        what = f"{call.target} was carried out as a task, of which its server says: {said}"
        return CallError("protocol_error", what, lost=True, server=call.server, tool=call.tool)

    def _ended_with(self, state: State) -> Mapping[str, Any]:
        self._has_ended = True
        if not isinstance(result := state.get("result"), Mapping):
            raise InvalidResultError(
                f"expected object as result of the task, got {describe(result)}"
            )
        return result

    def _failure(self, state: State) -> MCPError:
        self._has_ended = True
        error = state.get("error")
        said = error if isinstance(error, Mapping) else {}
        code, message = said.get("code"), said.get("message")
        return MCPError(
            code if isinstance(code, int) else types.INTERNAL_ERROR,
            message if isinstance(message, str) else f"the task failed{_why(state)}",
            Facts(by_server=True, data=said.get("data")),
        )

    def _cancelled(self, state: State) -> CallError:
        server, call = self.elicitor.server, self.handle.call
        what = f"the task of {call.target} was cancelled by its server{_why(state)}"
        return CallError("tool_error", server.redact(what))

    async def _answer(self, state: State) -> None:
        """Answer what it asks, each question once."""
        asked, answers = state.get("inputRequests"), dict[str, Any]()
        if not isinstance(asked, Mapping):
            raise InvalidResultError(f"expected object as inputRequests, got {describe(asked)}")
        target, server = self.handle.call.target, self.elicitor.server
        for key, question in asked.items():
            if key not in self._answered:
                params = asked_of(_question(question), target, server)
                answer = await self.elicitor.answer(params, self.attempt.elicit)
                answers[key] = answer.model_dump(mode="json", by_alias=True, exclude_none=True)
        if answers:
            await self._send("tasks/update", answers)
            self._answered |= answers.keys()

    async def _send(self, method: str, answers: dict[str, Any] | None = None) -> dict[str, Any]:
        with self.deliveries.expect(dict, self.attempt.note_answer) as delivery:
            params = TaskParams(
                task_id=self.handle.id, input_responses=answers, _meta=delivery.meta
            )
            request = TaskRequest(method=method, params=params)
            said = await self.session.send_request(request, _Said)
            if delivery.result is not None:
                return delivery.result
            return said.model_dump(mode="json", by_alias=True)

    async def _cancel(self) -> None:
        with anyio.move_on_after(CANCEL_S, shield=True):
            try:
                await self._send("tasks/cancel")
            except MCPError as error:  # it has ended meanwhile, or cannot be cancelled
                logger.debug("task %s was not cancelled: %s", self.handle.id, error)


def _why(state: State) -> str:
    why = state.get("statusMessage")
    return f": {why}" if isinstance(why, str) and why else ""


def _question(asked: Any) -> types.InputRequest:
    try:
        return _INPUT.validate_python(asked)
    except ValidationError:
        what = f"expected a request as one of inputRequests, got {describe(asked)}"
        raise InvalidResultError(what) from None


def _interval_s(state: State) -> float:
    said = state.get("pollIntervalMs", state.get("pollInterval"))
    if isinstance(said, bool) or not isinstance(said, int | float):
        return POLL_S
    return min(max(said / 1000, SHORTEST_POLL_S), LONGEST_POLL_S)
