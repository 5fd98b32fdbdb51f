"""What a server asks back during a call is answered with its own defaults, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
import pytest
from mcp.server.mcpserver import Context, Elicit, MCPServer, Resolve
from mcp.types import (
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitRequestURLParams,
    InputRequiredResult,
    ListRootsRequest,
)
from pydantic import BaseModel

import orchestrator.servers.elicitation as elicitation
from orchestrator import CallError, Orchestrator, Server
from orchestrator.calls.call import Attempt, Call
from orchestrator.engine.question import Question, Reply
from orchestrator.journal.answers import answer as keep
from orchestrator.journal.answers import open_questions
from orchestrator.journal.hiding import Hiding
from orchestrator.servers.config import Protocol
from orchestrator.servers.elicitation import Elicitor, answer_to
from tests.real_servers import plan

pytestmark = pytest.mark.anyio

PROTOCOLS: list[Protocol] = ["legacy", "2026-07-28"]
Answers = Literal["none", "defaults"]


class Form(BaseModel):
    """What a tool of these tests wants to know."""

    name: str = "John"
    age: int = 30


async def ask() -> Elicit[Form]:
    return Elicit("Who is it?", Form)


def asking() -> MCPServer:
    server = MCPServer("asking")

    @server.tool()
    async def greet(form: Annotated[Form, Resolve(ask)], greeting: str) -> str:
        return f"{greeting}, {form.name} ({form.age})"

    return server


def repeating(unfinished: Callable[[int], InputRequiredResult | str]) -> MCPServer:
    """A server whose tool answers by how often it was called, with the state counting that."""
    server = MCPServer("repeating")

    @server.tool()
    async def ask(context: Context) -> InputRequiredResult | str:
        return unfinished(int(context.request_state or 0))

    return server


def form(**schema: Any) -> ElicitRequest:
    schema = {"type": "object", "properties": {}, **schema}
    params = ElicitRequestFormParams(message="Sure?", requested_schema=schema)
    return ElicitRequest(params=params)


async def called(target: MCPServer, answers: Answers = "defaults", tool: str = "ask") -> Any:
    server = Server(target=target, protocol="2026-07-28", elicitation=answers)
    async with Orchestrator({"it": server}) as orchestrator:
        return await orchestrator.call(f"it:{tool}")


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_form_is_accepted_with_its_defaults_where_the_configuration_says_so(
    protocol: Protocol,
) -> None:
    server = Server(target=asking(), protocol=protocol, elicitation="defaults")
    calls = [("it:greet", {"greeting": greeting}) for greeting in ("Hello", "Bye")]
    async with Orchestrator({"it": server}) as orchestrator:
        result = await orchestrator.run(plan(*calls))
    assert result["t0"].output == "Hello, John (30)"
    assert result["t1"].output == "Bye, John (30)"


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_server_is_told_that_it_cannot_ask_where_it_does_not(protocol: Protocol) -> None:
    async with Orchestrator({"it": Server(target=asking(), protocol=protocol)}) as orchestrator:
        with pytest.raises(CallError) as caught:
            await orchestrator.call("it:greet", {"greeting": "Hello"})
    assert caught.value.kind in ("tool_error", "protocol_error")
    assert "elicitation" in str(caught.value).lower()


async def test_a_server_that_asks_all_the_same_is_refused_and_the_error_says_how_to_mend_it() -> (
    None
):
    target = repeating(lambda _: InputRequiredResult(input_requests={"sure": form()}))
    with pytest.raises(CallError) as caught:
        await called(target, "none")
    assert caught.value.kind == "protocol_error"
    assert caught.value.error.retryable is False
    assert str(caught.value) == (
        'it:ask asks "Sure?", and no one can answer. '
        'Set elicitation = "defaults" in [servers.it] to accept form defaults, or "ask" to be asked'
    )


async def test_a_server_that_asks_for_anything_but_a_form_is_refused() -> None:
    target = repeating(lambda _: InputRequiredResult(input_requests={"roots": ListRootsRequest()}))
    with pytest.raises(CallError, match="it:ask asks for roots/list, which is not supported"):
        await called(target)


async def test_a_server_is_asked_again_with_the_state_it_gave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(elicitation, "PAUSE_S", 0)

    def answer(number: int) -> InputRequiredResult | str:
        return "done" if number == 3 else InputRequiredResult(request_state=str(number + 1))

    assert await called(repeating(answer)) == "done"


async def test_a_server_that_does_not_stop_asking_is_given_up() -> None:
    target = repeating(lambda _: InputRequiredResult(input_requests={"sure": form()}))
    with pytest.raises(CallError, match="asked for input 10 times without finishing") as caught:
        await called(target)
    assert caught.value.kind == "protocol_error"


def test_optional_fields_without_a_default_are_left_out() -> None:
    asked = form(properties={"a": {"type": "string"}, "b": {"type": "boolean", "default": False}})
    answer = answer_to(asked.params, Server(name="it"))
    assert (answer.action, answer.content) == ("accept", {"b": False})


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (
            form(properties={"a": {"type": "string"}}, required=["a"]).params,
            "no default for a",
        ),
        (
            ElicitRequestURLParams(message="Sure?", url="https://example.com/pay"),
            "it needs a person to open a URL",
        ),
    ],
)
def test_what_has_no_default_is_declined(
    asked: Any, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = answer_to(asked, Server(name="it"))
    assert (answer.action, answer.content) == ("decline", None)
    assert caplog.messages == [f'declined "Sure?" of server "it": {why}']


FILLED = {"name": "Ada", "age": 36}


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_person_fills_the_form_in(protocol: Protocol) -> None:
    asked: list[Question] = []

    async def answer(question: Question) -> Any:
        asked.append(question)
        return FILLED if question.arguments == {"greeting": "Hello"} else {"name": "Bob"}

    server = Server(target=asking(), protocol=protocol, elicitation="ask", timeout_s=5)
    calls = [("it:greet", {"greeting": greeting}) for greeting in ("Hello", "Bye")]
    async with Orchestrator({"it": server}, answer=answer) as orchestrator:
        result = await orchestrator.run(plan(*calls))
    assert [each.output for each in result.tasks.values()] == ["Hello, Ada (36)", "Bye, Bob (30)"]
    assert {(each.task, each.kind, each.message) for each in asked} == {
        ("t0", "elicitation", "it asks: Who is it?"),
        ("t1", "elicitation", "it asks: Who is it?"),
    }
    schema = asked[0].schema
    assert schema is not None
    assert schema["properties"].keys() == {"name", "age"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("words", [FILLED, None])
async def test_a_run_pauses_for_a_form_and_the_call_is_made_afresh(
    protocol: Protocol, words: Any, tmp_path: Path
) -> None:
    """Each process has a server of its own: nothing but the journal knows of the question."""
    journal, reply = tmp_path / "runs.db", Reply(words, refused=words is None)

    def opened() -> Orchestrator:
        server = Server(target=asking(), protocol=protocol, elicitation="ask")
        return Orchestrator({"it": server}, journal=journal)

    calls = [("it:greet", {"greeting": greeting}) for greeting in ("Hello", "Bye")]
    async with opened() as orchestrator:
        result = await orchestrator.run(plan(*calls))
    while questions := open_questions(journal, result.run_id):
        assert (result.status, result.questions[0].kind) == ("paused", "elicitation")
        for question in questions:
            keep(journal, result.run_id, question.task, lambda _: reply, Hiding())
        async with opened() as orchestrator, orchestrator.resume(result.run_id) as run:
            result = await run.execute()
    if words is None:
        assert [each.status for each in result.tasks.values()] == ["error", "error"]
    else:
        outputs = [each.output for each in result.tasks.values()]
        assert outputs == ["Hello, Ada (36)", "Bye, Ada (36)"]


async def test_a_link_is_shown_and_confirmed() -> None:
    url = ElicitRequestURLParams(message="Sign in.", url="https://it.example/x", elicitation_id="1")
    asked: list[Any] = []

    async def elicit(message: str, schema: Any) -> tuple[Any, bool]:
        asked.append((message, schema))
        return True, len(asked) > 1

    elicitor = Elicitor(Server(name="it", elicitation="ask"))
    assert (await elicitor.answer(url, elicit)).action == "accept"
    assert (await elicitor.answer(url, elicit)).action == "decline"
    assert (await elicitor.answer(url, None)).action == "decline"
    message = "Sign in. Open https://it.example/x and confirm when it is done."
    assert asked == [(message, None)] * 2


async def test_a_call_that_is_cancelled_while_a_person_is_asked_ends() -> None:
    server = Server(target=asking(), protocol="2026-07-28", elicitation="ask")
    async with Orchestrator({"it": server}) as orchestrator:
        flow = plan(("it:greet", {"greeting": "Hello"}))
        async with orchestrator.begin(flow, wait=True) as run, anyio.create_task_group() as group:

            async def cancel() -> None:
                while not run.questions:
                    await anyio.sleep(0.01)
                assert run.cancel_task("t0")

            group.start_soon(cancel)
            result = await run.execute()
    assert result["t0"].status == "cancelled"


def late() -> MCPServer:
    """A server that goes on with a call of `slow` when it was cancelled, and asks in the next."""
    server = MCPServer("late")
    given_up = anyio.Event()

    @server.tool()
    async def slow() -> str:
        try:
            await anyio.sleep_forever()
        finally:
            given_up.set()
        raise AssertionError

    @server.tool()
    async def following(context: Context) -> str:
        """Asks while it works, and nobody knows whether for itself."""
        await given_up.wait()
        return (await context.elicit("Who is it?", Form)).action

    return server


async def test_a_question_after_a_call_that_was_given_up_names_all_that_it_may_be_about() -> None:
    asked: list[Question] = []

    def answer(question: Question) -> Any:
        asked.append(question)
        return FILLED

    server = Server(target=late(), protocol="legacy", elicitation="ask", sessions=1)
    tasks = [
        {"id": "slow", "tool": "it:slow", "timeout_s": 0.05},
        {"id": "next", "tool": "it:following", "depends_on": ["slow"], "run_if": "all_done"},
    ]
    async with Orchestrator({"it": server}, answer=answer) as orchestrator:
        result = await orchestrator.run({"tasks": tasks})
        assert (result["slow"].status, result["next"].output) == ("error", "accept")
        [question] = asked
        assert question.message == (
            'it asks: Who is it? (It does not say for which task: it may be "next" or "slow".)'
        )
        again = await orchestrator.run({"tasks": [{"id": "slow", "tool": "it:following"}]})
    assert again.status == "success"
    assert asked[1].message == "it asks: Who is it?"  # only a task of this name may be meant


async def test_nobody_is_asked_while_no_call_is_under_way(
    caplog: pytest.LogCaptureFixture,
) -> None:
    elicitor = Elicitor(Server(name="it", elicitation="ask"))
    asked: list[str] = []

    async def elicit(message: str, schema: Any) -> tuple[Any, bool]:
        asked.append(message)
        assert schema is not None
        return FILLED, False

    answered: Any = elicitor.callback
    nothing = None
    params = form().params
    for number in range(20):
        attempt = Attempt()
        attempt.elicit = elicit
        with anyio.CancelScope() as scope:
            with elicitor.under_way(Call(f"t{number}", "it", "tool", {}), attempt):
                scope.cancel()
                await anyio.lowlevel.checkpoint()
    assert (await answered(nothing, params)).action == "decline"
    assert caplog.messages == ['declined "Sure?" of server "it": no call of it is under way']
    with elicitor.under_way(Call("last", "it", "tool", {}), Attempt()):
        assert (await answered(nothing, params)).action == "decline"  # it can ask nobody
        attempt = Attempt()
        attempt.elicit = elicit
        with elicitor.under_way(Call("other", "it", "tool", {}, item=3), attempt):
            assert (await answered(nothing, params)).action == "accept"
    [message] = asked
    assert 'it may be "other[3]", "last", "t12"' in message
    assert '"t11"' not in message
