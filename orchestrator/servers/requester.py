"""Sends the requests of the calls of a session, and follows the tasks that answer them."""

from __future__ import annotations

from mcp import types
from mcp.client.session import ClientSession
from mcp.shared.dispatcher import ProgressFnT, coerce_request_id

from orchestrator.calls.call import Attempt, Call
from orchestrator.schema.tool import Tool
from orchestrator.servers.elicitation import Elicitor, answered
from orchestrator.servers.remote_task import RemoteTask
from orchestrator.servers.sdk_requests import EXCHANGES, Sent, request_of
from orchestrator.servers.sdk_tasks import Handle, handle_in, metadata_for
from orchestrator.transport.delivery import Deliveries, Delivery


class Requester:
    """Sends the requests of the calls of a session."""

    def __init__(
        self, session: ClientSession, deliveries: Deliveries, elicitor: Elicitor, protocol: str
    ) -> None:
        self._session, self._deliveries = session, deliveries
        self._elicitor, self._protocol = elicitor, protocol
        self._tasks: dict[int | str, RemoteTask] = {}  # by the token of their progress

    async def result(
        self,
        call: Call,
        attempt: Attempt,
        delivery: Delivery,
        progress: ProgressFnT | None,
        tool: Tool | None,
    ) -> Sent:
        """The result of a call, as the server sent it.

        Raises:
            CallError: It cannot be made, or the server asks what is not answered.
            MCPError: As `ClientSession.send_request`, and whatever else that raises.
        """
        with self._elicitor.under_way(call, attempt):
            return await self._result(call, attempt, delivery, progress, tool)

    async def _result(
        self,
        call: Call,
        attempt: Attempt,
        delivery: Delivery,
        progress: ProgressFnT | None,
        tool: Tool | None,
    ) -> Sent:
        if (left := Handle.left_of(attempt, call)) is not None:
            return await self._followed(left, attempt)
        asks = self._elicitor.server.elicitation == "ask"
        task = metadata_for(tool, call, self._protocol, asks=asks)
        request = request_of(call, delivery.meta, task)
        # Not client.call_tool: it would check the output schema by itself, and lose the result if
        # it does not fit.
        result = await answered(self._session, request, self._elicitor, attempt, progress)
        sent = delivery.result
        if sent is None:
            sent = EXCHANGES[call.kind].as_sent(result)
        if call.kind != "tool":
            return sent
        handle = handle_in(sent, call, self._protocol, delivery.request, task)
        return sent if handle is None else await self._followed(handle, attempt)

    async def _followed(self, handle: Handle, attempt: Attempt) -> Sent:
        task = RemoteTask(handle, self._session, self._deliveries, self._elicitor, attempt)
        if (token := handle.token) is None:
            return await task.result()
        self._tasks[token] = task
        try:
            return await task.result()
        finally:
            del self._tasks[token]

    def note_progress(self, params: types.ProgressNotificationParams) -> None:
        """The server reports progress of a call, which it may do until its task has ended."""
        task = self._tasks.get(coerce_request_id(params.progress_token))
        if task is not None:
            task.note_progress(params.progress, params.total, params.message or "")
