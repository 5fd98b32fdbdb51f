"""Calls that a server carries out as tasks of MCP, in both designs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream
from mcp import MCPError, types
from mcp.types import ElicitRequest

from orchestrator import CallError, Orchestrator, Server
from orchestrator.calls.call import Attempt, Call
from orchestrator.engine.events import Event, TaskProgress
from orchestrator.schema.tool import NEEDS_TASK, NO_TASKS, Tool, definition_of, tool_of
from orchestrator.servers.definition_form import ToolForm
from orchestrator.servers.elicitation import Elicitor
from orchestrator.servers.remote_task import (
    ANSWER_S,
    ASKED_AGAIN,
    CANCEL_S,
    LONGEST_POLL_S,
    POLL_S,
    RemoteTask,
)
from orchestrator.servers.sdk_errors import fault_of, is_closed
from orchestrator.servers.sdk_results import InvalidResultError
from orchestrator.servers.sdk_tasks import (
    EXTENSION,
    Handle,
    TaskRequest,
    TasksExtension,
    handle_in,
    metadata_for,
    offers_tasks,
)
from orchestrator.transport.delivery import Deliveries, Facts
from tests.http_server import HttpServer, Json, answer, reply
from tests.real_servers import TIMEOUT_S, program
from tests.virtual_clock import Backend, virtual_clock

LEGACY, MODERN = "2025-11-25", "2026-07-28"
DESIGNS = pytest.mark.parametrize("design", [LEGACY, MODERN])


def jobs(design: str, *options: str, **settings: Any) -> Server:
    modern = design == MODERN
    more = {"protocol": MODERN if modern else "legacy", "elicitation": "defaults", **settings}
    return program("jobs", *(["--modern"] if modern else []), *options, **more)


def task(tool: str, **more: Any) -> dict[str, Any]:
    return {"id": tool, "tool": f"it:{tool}", **more}


@DESIGNS
@pytest.mark.anyio
async def test_tools_are_called_as_tasks(design: str) -> None:
    told: list[Event] = []
    names = ("ask", "fail", "refuse", "drop", "forget")
    build = task("build", arguments={"steps": 15})  # enough for one to be seen
    plan = {
        "tasks": [build, *map(task, names), task("stuck", timeout_s=2.0)],
        "max_concurrency": 0,
    }
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator({"it": jobs(design)}, observers=[told.append]) as orchestrator:
            result = await orchestrator.run(plan)
            seen = await orchestrator.call("it:seen")
    assert result["build"].output == "built"
    assert result["ask"].output == "built main"
    errors = {name: each.error for name, each in result.tasks.items() if each.error is not None}
    assert {name: error.kind for name, error in errors.items()} == {
        "fail": "protocol_error",
        "refuse": "tool_error",
        "drop": "tool_error",
        "forget": "protocol_error",
        "stuck": "timeout",
    }
    assert "out of memory" in errors["fail"].message
    assert errors["refuse"].message == "built"
    assert errors["drop"].message.endswith("cancelled by its server: the machine is needed")
    assert errors["forget"].details["lost"] is True
    assert seen["methods"].count("tasks/cancel") == 1  # of the one that took too long
    assert sorted(seen["jobs"].values()).count("working") == 0
    events = [each for each in told if isinstance(each, TaskProgress) and each.task == "build"]
    assert "queued" in {each.message for each in events}
    assert any(each.message.startswith("step ") for each in events)
    if design == LEGACY:  # where progress of the call goes on
        assert (15.0, 15.0) in {(each.progress, each.total) for each in events}


@DESIGNS
@pytest.mark.anyio
async def test_cancelling_a_run_cancels_its_tasks(design: str) -> None:
    plan = {"tasks": [task("stuck", timeout_s=50)]}
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator({"it": jobs(design)}) as orchestrator:
            async with orchestrator.begin(plan) as run, anyio.create_task_group() as group:
                group.start_soon(run.execute)
                while not (await orchestrator.call("it:seen"))["jobs"]:
                    await anyio.sleep(0.01)
                run.cancel("enough")
            seen = await orchestrator.call("it:seen")
    assert seen["jobs"] == {"job-1": "cancelled"}


@DESIGNS
@pytest.mark.anyio
async def test_a_tool_that_nobody_can_call_is_found_before_the_run(design: str) -> None:
    async with Orchestrator({"it": jobs(design, "--offers-none")}) as orchestrator:
        found = await orchestrator.findings({"tasks": [task("build")]})
        errors = [each for each in found if each.severity == "error"]
        tools = {tool.name: tool.tasks for tool in await orchestrator.tools()}
        assert tools["seen"] == ""
        if design == MODERN:  # where no tool says that it needs one
            assert not errors
            assert (await orchestrator.call("it:build")) == "built"
            return
        assert [(each.code, each.path) for each in errors] == [("uncallable_tool", "/tasks/0/tool")]
        assert tools["build"] == NO_TASKS
        with pytest.raises(CallError, match="can only be called as a task, and its server offers"):
            await orchestrator.call("it:build")


# One task, with a scripted session on a virtual clock.


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Backend:
    if "virtual" in request.node.name:
        return virtual_clock(request.param)
    return request.param, {}


CLOSED = MCPError(types.CONNECTION_CLOSED, "Connection closed")
UNREACHED = MCPError(-32000, "connection refused", Facts(unreachable=True))
LOGIN = MCPError(-32000, "log in", Facts(http_status=401))
UNKNOWN = MCPError(types.INVALID_PARAMS, "Task not found", Facts(by_server=True))
CALL = Call("t", "it", "build", {}, timeout_s=30.0)


class Session:
    """Answers requests about a task from a list, and notes when each came."""

    def __init__(self, *says: Any) -> None:
        self.says, self.asked = list(says), list[tuple[float, str]]()
        self.sent: list[Json] = []

    async def send_request(self, request: TaskRequest, said: Any) -> Any:
        self.asked.append((round(anyio.current_time() - self.began, 3), request.method))
        self.sent.append(request.params.model_dump(by_alias=True, exclude_none=True))
        says = self.says.pop(0) if self.says else "never"
        if isinstance(says, Exception):
            raise says
        if says == "never":
            await anyio.sleep_forever()
        return said.model_validate(says)

    async def follow(self, first: Json, *, modern: bool = True, **more: Any) -> Any:
        self.began = anyio.current_time()
        sent = {"taskId": "1", **first}
        handle = Handle(CALL, sent, modern)
        attempt = more.pop("attempt", Attempt())
        server = Server(command="x", name="it", elicitation="ask", **more)
        of = self, Deliveries(observed=False), Elicitor(server), attempt
        return await RemoteTask(handle, *of).result()  # type: ignore[arg-type]


def said(status: str, **more: Any) -> Json:
    return {"taskId": "1", "status": status, **more}


DONE = said("completed", result={"content": []})


@pytest.mark.anyio
async def test_virtual_polls_come_as_the_server_asks() -> None:
    session = Session(
        said("working", pollIntervalMs=500),
        said("working", pollIntervalMs=1),
        said("working", pollIntervalMs=True),
        said("working", pollInterval=10**9),
        DONE,
    )
    assert await session.follow({"status": "working", "pollInterval": 2000}) == {"content": []}
    times = [at for at, _ in session.asked]
    assert times == [2.0, 2.5, 2.55, 2.55 + POLL_S, 2.55 + POLL_S + LONGEST_POLL_S]


@pytest.mark.anyio
async def test_virtual_a_server_that_is_not_reached_is_asked_again() -> None:
    session = Session(UNREACHED, UNREACHED, DONE)
    attempt = Attempt()
    assert await session.follow({"status": "working"}, attempt=attempt) == {"content": []}
    assert [at for at, _ in session.asked] == [1.0, 2.0, 3.0]
    assert attempt.remote is None


@pytest.mark.anyio
@pytest.mark.parametrize("error", [CLOSED, LOGIN])
async def test_virtual_a_task_is_left_for_the_next_session(error: MCPError) -> None:
    session, attempt = Session(error), Attempt()
    with pytest.raises(MCPError):
        await session.follow({"status": "working"}, attempt=attempt)
    assert is_closed(error) is (error is CLOSED)
    assert [method for _, method in session.asked] == ["tasks/get"]
    assert Handle.left_of(attempt, CALL) is not None
    assert Handle.left_of(attempt, CALL._replace(turn=1)) is None
    assert Handle.left_of(Attempt(), CALL) is None


@pytest.mark.anyio
async def test_virtual_a_result_that_is_not_reached_is_left_too() -> None:
    session, attempt = Session(CLOSED), Attempt()
    with pytest.raises(MCPError):
        await session.follow({"status": "completed"}, modern=False, attempt=attempt)
    assert attempt.remote is not None


@pytest.mark.anyio
async def test_virtual_a_server_that_forgot_a_task_may_have_carried_it_out() -> None:
    session, attempt = Session(UNKNOWN), Attempt()
    with pytest.raises(CallError, match="of which its server says: Task not found") as caught:
        await session.follow({"status": "working"}, attempt=attempt)
    assert caught.value.error.details["lost"] is True
    assert attempt.remote is None


@pytest.mark.anyio
@pytest.mark.parametrize("answer_s", [0.0, None])
async def test_virtual_a_call_that_is_given_up_cancels_its_task(answer_s: float | None) -> None:
    cancelled: Any = {} if answer_s is not None else "never"
    session = Session(said("working"), cancelled)
    with anyio.move_on_after(1.5) as scope:
        await session.follow({"status": "working"})
    assert scope.cancelled_caught
    assert session.asked == [(1.0, "tasks/get"), (1.5, "tasks/cancel")]
    took = anyio.current_time() - session.began
    assert took == pytest.approx(1.5 if answer_s is not None else 1.5 + CANCEL_S)


@pytest.mark.anyio
async def test_virtual_a_task_that_cannot_be_cancelled_is_left_alone() -> None:
    session = Session(UNKNOWN)
    with anyio.move_on_after(0.5) as scope:
        await session.follow({"status": "working"})
    assert scope.cancelled_caught


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("state", "why"),
    [
        ({"status": "lost"}, "unknown status"),
        ({"status": "completed"}, "expected object as result of the task, got nothing"),
        ({"status": "input_required"}, "expected object as inputRequests, got nothing"),
        (
            {"status": "input_required", "inputRequests": {"a": 3}},
            "expected a request as one of inputRequests, got",
        ),
    ],
)
async def test_virtual_what_makes_no_sense_fails_and_cancels(state: Json, why: str) -> None:
    session = Session(said(**state), {})
    with pytest.raises(InvalidResultError) as caught:
        await session.follow({"status": "working"})
    assert caught.value.sent["status"] == state["status"]
    assert str(caught.value).startswith(why.replace("nothing", "null")) or why in str(caught.value)
    assert "tasks/cancel" in [method for _, method in session.asked] or "result" in why


@pytest.mark.anyio
async def test_virtual_a_state_without_a_status_makes_no_sense() -> None:
    with pytest.raises(InvalidResultError, match="expected string as status of the task, got null"):
        await Session({"taskId": "1"}, {}).follow({"status": "working"})


@pytest.mark.anyio
@pytest.mark.parametrize("error", [{"code": 7, "message": "no disk"}, "what?", None])
async def test_virtual_a_failed_task_says_why(error: Any) -> None:
    with pytest.raises(MCPError) as caught:
        await Session().follow({"status": "failed", "error": error})
    if error is None:
        with pytest.raises(MCPError, match="the task failed: disk full"):
            await Session().follow(said("failed", error=None, statusMessage="disk full"))
    assert caught.value.error.message == (
        "no disk" if error == {"code": 7, "message": "no disk"} else "the task failed"
    )


@pytest.mark.anyio
@pytest.mark.parametrize("status", ["completed", "failed", "input_required"])
async def test_virtual_a_handle_of_what_has_ended_says_no_more_than_that(status: str) -> None:
    session = Session(DONE)
    assert await session.follow({"status": status}) == {"content": []}
    assert session.asked == [(0.0, "tasks/get")]


BUSY = MCPError(types.INTERNAL_ERROR, "database busy", Facts(by_server=True))


@pytest.mark.anyio
async def test_virtual_an_error_that_may_pass_is_asked_again() -> None:
    session = Session(BUSY, BUSY, DONE)
    assert await session.follow({"status": "working"}) == {"content": []}
    for error, asked in (BUSY, ASKED_AGAIN), (MCPError(types.METHOD_NOT_FOUND, "what?"), 1):
        session = Session(*[error] * asked, {})
        with pytest.raises(CallError) as caught:
            await session.follow({"status": "working"})
        assert caught.value.error.details["lost"] is True
        methods = [method for _, method in session.asked]
        assert methods == ["tasks/get"] * asked + ["tasks/cancel"]


@pytest.mark.anyio
async def test_virtual_an_answer_that_is_lost_is_asked_for_again() -> None:
    later = MCPError(-32000, "busy", Facts(http_status=429, by_server=True, retry_after_s=7.0))
    session = Session("never", later, DONE)
    assert await session.follow({"status": "working"}) == {"content": []}
    assert [at for at, _ in session.asked] == [1.0, 1.0 + ANSWER_S + 1.0, 2.0 + ANSWER_S + 7.0]


@pytest.mark.anyio
async def test_virtual_a_result_that_is_not_reached_for_a_moment_is_asked_for_again() -> None:
    busy = MCPError(-32000, "busy", Facts(http_status=503, by_server=True))
    session = Session(busy, UNREACHED, {"content": []})
    result = await session.follow({"status": "completed"}, modern=False)
    assert result["content"] == []
    assert session.asked == [(at, "tasks/result") for at in (0.0, 1.0, 2.0)]


@pytest.mark.anyio
async def test_virtual_an_answer_that_is_too_large_is_told_as_that() -> None:
    large = MCPError(-32000, "the answer is too large", Facts(limit=10, size=20))
    session = Session(large, {})
    with pytest.raises(MCPError) as caught:
        await session.follow({"status": "working"})
    assert fault_of(caught.value, "build").what.startswith("sent a result of")
    assert [method for _, method in session.asked] == ["tasks/get", "tasks/cancel"]


@pytest.mark.anyio
async def test_virtual_a_result_that_is_gone_blames_no_arguments() -> None:
    with pytest.raises(CallError, match="of which its server says: Task not found") as caught:
        await Session(UNKNOWN).follow({"status": "completed"}, modern=False)
    assert (caught.value.error.kind, caught.value.error.details["lost"]) == ("protocol_error", True)
    with pytest.raises(MCPError):  # that may be the error of the call
        await Session(UNKNOWN).follow({"status": "failed"}, modern=False)


@pytest.mark.anyio
async def test_virtual_what_is_said_of_another_task_is_not_believed() -> None:
    session = Session({**DONE, "taskId": "2"}, {})
    with pytest.raises(InvalidResultError, match='of task "1" was answered with task "2"'):
        await session.follow({"status": "working"})


@pytest.mark.anyio
async def test_virtual_each_question_is_asked_once() -> None:
    params = {"message": "Who?", "requestedSchema": {"type": "object", "properties": {}}}
    question = {"method": "elicitation/create", "params": params}
    asks: Json = {"status": "input_required", "inputRequests": {"who": question}}
    asked: list[str] = []

    async def elicit(message: str, schema: Any) -> tuple[Any, bool]:
        assert schema["type"] == "object"
        asked.append(message)
        return {"name": "Ann"}, False

    attempt = Attempt()
    attempt.elicit = elicit
    both = {"who": question, "why": {**question, "params": {**params, "message": "Why?"}}}
    again, more = said(**asks), said("input_required", inputRequests=both)
    session = Session({}, again, more, {}, DONE)
    await session.follow(asks, attempt=attempt)
    assert asked == ["Who?", "Why?"]
    updates = [sent for sent in session.sent if "inputResponses" in sent]
    assert [list(each["inputResponses"]) for each in updates] == [["who"], ["why"]]
    assert ElicitRequest.model_validate(question).params.message == "Who?"


def test_what_asks_for_a_task_and_what_is_one() -> None:
    needs = Tool("it", "build", {}, tasks=NEEDS_TASK)
    assert metadata_for(None, CALL, LEGACY) is None
    assert metadata_for(Tool("it", "build", {}), CALL, LEGACY) is None
    assert metadata_for(needs, CALL, MODERN) is None
    asked = metadata_for(needs, CALL, LEGACY)
    assert asked is not None
    assert asked.ttl == 90_000
    resets = metadata_for(needs, CALL._replace(timeout_resets_on_progress=True), LEGACY)
    assert resets is not None
    assert resets.ttl is None
    waits = metadata_for(needs, CALL, LEGACY, asks=True)
    assert waits is not None
    assert waits.ttl is None
    state = said("working")
    assert handle_in({"task": state}, CALL, LEGACY, 1, None) is None
    assert handle_in({"content": []}, CALL, LEGACY, 1, asked) is None
    assert handle_in({"content": []}, CALL, MODERN, 1, None) is None
    assert handle_in({"resultType": "task", **state}, CALL, MODERN, 1, None) is not None
    with pytest.raises(InvalidResultError, match="expected object as task, got integer 3"):
        handle_in({"task": 3}, CALL, LEGACY, 1, asked)


@pytest.mark.parametrize(
    ("capabilities", "protocol", "offered"),
    [
        ({"tools": {}}, LEGACY, False),
        ({"tasks": {"requests": {"tools": {"call": {}}}}}, LEGACY, True),
        ({"tasks": {"requests": {"tools": {}}}}, LEGACY, False),
        ({"tools": {}}, MODERN, False),
        ({"extensions": {EXTENSION: {}}}, MODERN, True),
        ({}, MODERN, True),  # with a pinned revision, nobody has asked
    ],
)
def test_what_a_server_offers(capabilities: Any, protocol: str, *, offered: bool) -> None:
    found = types.ServerCapabilities.model_validate(capabilities)
    assert offers_tasks(found, protocol) is offered


@pytest.mark.anyio
async def test_the_sdk_never_resolves_a_task_itself() -> None:
    (claim,) = TasksExtension().claims()
    with pytest.raises(NotImplementedError):
        await claim.resolve(claim.model(), None)  # type: ignore[arg-type]


def test_that_a_tool_needs_a_task_is_part_of_its_definition() -> None:
    plain, needs = Tool("it", "a", {}), Tool("it", "a", {}, tasks=NEEDS_TASK)
    assert "execution" not in definition_of(plain)
    assert plain.digest != needs.digest
    definition = definition_of(needs)
    assert tool_of("it", "a", definition) == needs
    ToolForm.model_validate(definition)


# A session that the server has forgotten: the next one finds the task.

Puppet = Callable[[SocketStream, Json], Awaitable[bool]]


def durable(server: HttpServer, then: str) -> Puppet:
    """Answers calls as tasks, and forgets the session at the first poll."""
    capabilities: Json = {"tools": {}, "tasks": {"requests": {"tools": {"call": {}}}}}
    calls: list[str] = []

    async def serve(stream: SocketStream, message: Json) -> bool:
        method = message["method"]
        calls.append(method)
        if method == "initialize" and then == "is down" and "tasks/get" in calls:
            await answer(stream, 500, "it is down")
        elif method == "initialize":
            info = {"serverInfo": {"name": "http", "version": "1"}, "capabilities": capabilities}
            session = {"mcp-session-id": str(server.session)}
            await reply(stream, message, {"protocolVersion": LEGACY, **info}, session)
        elif method == "tools/list":
            needs = {"execution": {"taskSupport": "required"}, "annotations": {"x": 1}}
            tool = {"name": "build", "inputSchema": {"type": "object"}, **needs}
            await reply(stream, message, {"tools": [tool]})
        elif method == "tools/call":
            await reply(stream, message, {"task": said("working", pollInterval=50)})
        elif method == "tasks/get" and calls.count(method) == 1:
            server.session = "two"
            await answer(stream, 404, {"error": "no such session"})
        elif method == "tasks/get" and then == "has forgotten":
            error = {"code": types.INVALID_PARAMS, "message": "Task not found"}
            await answer(stream, 200, {"jsonrpc": "2.0", "id": message["id"], "error": error})
        elif method == "tasks/get":
            await reply(stream, message, said("completed"))
        elif method == "tasks/result":
            await reply(stream, message, {"content": [{"type": "text", "text": "built"}]})
        else:
            return False
        return True

    return serve


@pytest.mark.anyio
@pytest.mark.parametrize("then", ["knows", "has forgotten", "is down"])
async def test_the_next_session_asks_for_the_task_of_the_one_before(then: str) -> None:
    server = HttpServer(session="one")
    server.puppet = durable(server, then)
    with anyio.fail_after(TIMEOUT_S):
        async with server.listen():
            url = Server(url=server.url, protocol="legacy")
            async with Orchestrator({"it": url}) as orchestrator:
                result = await orchestrator.run({"tasks": [task("build")]})
    called = [each["method"] for each in server.requests if "method" in each]
    assert called.count("tools/call") == 1
    assert called.count("initialize") >= 2
    if then == "knows":
        assert result["build"].output == "built"
        return
    error = result["build"].error
    assert error is not None
    assert error.details["lost"] is True
    assert error.kind == ("server_unavailable" if then == "is down" else "protocol_error")
