"""Calls that a server carries out as a task: what asks for one, and the handle that answers it.

Two designs. In protocol 2025-11-25 (experimental) the client asks for a task, where the tool needs
one, and `tasks/result` gives the result. In the extension of 2026-07-28 the server decides for each
call, and `tasks/get` gives the result, too. The SDK has types for the first and calls neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from mcp import types
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from orchestrator.calls.call import Attempt, Call
from orchestrator.documents.jsonpath import describe
from orchestrator.errors import CallError
from orchestrator.schema.tool import NEEDS_TASK, NO_TASKS, Tool
from orchestrator.servers.sdk_results import InvalidResultError

EXTENSION = "io.modelcontextprotocol/tasks"
KEPT_S = 60.0  # longer than the attempt may take, the server is asked to keep the task

State = Mapping[str, Any]


class _TaskResult(types.Result):
    result_type: Literal["task"] = "task"
    task_id: str = ""


async def _never(_: _TaskResult, __: ClaimContext) -> types.CallToolResult:
    raise NotImplementedError  # only `Client.call_tool` resolves, which nobody calls


class TasksExtension(ClientExtension):
    """Says in sessions of 2026-07-28 that a call may be answered with a task."""

    identifier = EXTENSION

    def claims(self) -> list[ResultClaim[Any]]:
        """Without a claim, it would be announced to servers before 2026-07-28, too."""
        return [ResultClaim(result_type="task", model=_TaskResult, resolve=_never)]


class TaskParams(types.RequestParams):
    """Which task is meant."""

    task_id: str
    input_responses: dict[str, Any] | None = None


class TaskRequest(types.Request[TaskParams, str]):
    """A request about a task."""

    name_param = "taskId"


@dataclass(frozen=True, slots=True)
class Handle:
    """A task of a server.

    Attributes:
        call: What it carries out.
        state: What the server said of it last.
        is_modern: Whether it is of the extension of 2026-07-28.
        token: That of the progress of the call; None if it has none.
    """

    call: Call
    state: State
    is_modern: bool
    token: int | str | None = None

    @property
    def id(self) -> str:
        """Its id."""
        return str(self.state["taskId"])

    @classmethod
    def left_of(cls, attempt: Attempt, call: Call) -> Handle | None:
        """The task of the same call that a session before this one has begun."""
        left = attempt.remote
        if not isinstance(left, cls):
            return None
        own, other = call.idempotency_key, left.call.idempotency_key
        return replace(left, token=None) if own == other else None


def offers_tasks(capabilities: types.ServerCapabilities, protocol: str) -> bool:
    """Whether a server says that it carries calls of tools out as tasks."""
    if protocol in MODERN_PROTOCOL_VERSIONS:
        # With a pinned revision the client asks for no capabilities: then nothing is known.
        is_known = any(value is not None for _, value in capabilities)
        return not is_known or EXTENSION in (capabilities.extensions or {})
    requests = capabilities.tasks and capabilities.tasks.requests
    return bool(requests and requests.tools and requests.tools.call is not None)


def noted(tools: Iterable[Tool], *, offered: bool) -> list[Tool]:
    """The tools of a server, with a note at those that need a task, and it offers none."""
    return [
        replace(tool, tasks=NO_TASKS) if tool.tasks == NEEDS_TASK and not offered else tool
        for tool in tools
    ]


def metadata_for(
    tool: Tool | None, call: Call, protocol: str, *, asks: bool = False
) -> types.TaskMetadata | None:
    """What asks for a task, if the call needs that; `asks`: a person may answer its questions.

    Raises:
        CallError: It does, and the server offers none.
    """
    if tool is None or not tool.tasks:
        return None
    if tool.tasks == NO_TASKS:
        what = f"{call.target} can only be called as a task, and its server offers no tasks"
        raise CallError("protocol_error", what, retryable=False, server=call.server, tool=call.tool)
    if protocol in MODERN_PROTOCOL_VERSIONS:
        return None
    if asks or call.timeout_resets_on_progress:  # nobody knows how long it takes
        return types.TaskMetadata()
    return types.TaskMetadata(ttl=round((call.timeout_s + KEPT_S) * 1000))


def handle_in(
    sent: Mapping[str, Any],
    call: Call,
    protocol: str,
    token: int | str | None,
    asked: types.TaskMetadata | None,
) -> Handle | None:
    """The task that a result is the handle of, if it is one."""
    is_modern = protocol in MODERN_PROTOCOL_VERSIONS
    if is_modern:
        state = sent if sent.get("resultType") == "task" else None
    else:
        state = None if asked is None else sent.get("task")
    if state is None:
        return None
    return Handle(call, checked(state), is_modern, token)


def checked(state: Any) -> State:
    """What a server says of a task, if that makes sense; else raises an `InvalidResultError`."""
    if not isinstance(state, Mapping):
        raise InvalidResultError(f"expected object as task, got {describe(state)}")
    for name in ("taskId", "status"):
        if not isinstance(value := state.get(name), str):
            raise InvalidResultError(
                f"expected string as {name} of the task, got {describe(value)}"
            )
    return state
