"""What the adapters share, without any framework."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from orchestrator.integrations.claude_agent_sdk import sdk_server
from orchestrator.integrations.offered import Engine, Offered, text_of, whole
from orchestrator.serve.answers import Answer
from tests.integrations.scene import (
    PLAN,
    READS,
    RUN,
    WRONG,
    check_invalid,
    check_partial,
    engine_of,
    saved_in,
)

pytestmark = pytest.mark.anyio


async def test_offers_plans_search_saved_workflows_and_single_tools(tmp_path: Path) -> None:
    async with engine_of() as engine:
        offered = Offered(engine, gated=True, workflows=saved_in(tmp_path), single_tools=True)
        names = {tool.name for tool in await offered.tools()}
        assert {RUN, "find_tools", "twice", "mock__double", "answer_question"} <= names
        answer = await offered.call("twice", {"n": 4})
        assert not answer.is_error
        assert "8" in text_of(answer)


async def test_results_are_documents_for_models_and_whole_for_programs() -> None:
    seen: list[tuple[str, Answer]] = []
    async with engine_of() as engine:
        offered = Offered(engine, gated=False, on_result=lambda *each: seen.append(each))
        answer = await offered.call(RUN, PLAN)
        check_partial(text_of(answer))
        assert whole(answer)["b"].output == {"n": 8}
        wrong = await offered.call(RUN, WRONG)
        check_invalid(text_of(wrong))
        assert whole(wrong) is wrong.document
        assert seen == [(RUN, answer), (RUN, wrong)]


async def test_arguments_as_text_that_are_no_json_are_a_finding() -> None:
    async with engine_of() as engine:
        offered = Offered(engine, gated=False)
        answer = await offered.call_text(RUN, '{"tasks": [')
        assert answer.is_error
        assert "the arguments are not JSON" in text_of(answer)
        assert (await offered.call_text("find_tools", "")).document["total"] == 2


async def test_no_tool_answers_questions_where_no_person_can_be_asked() -> None:
    async with engine_of() as engine:
        names = {tool.name for tool in await Offered(engine, gated=False).tools()}
        assert "answer_question" not in names


async def test_only_names_tools_and_knows_the_nearest() -> None:
    async with engine_of() as engine:
        offered = Offered(engine, gated=False, only=[RUN, "find_tools"])
        assert [tool.name for tool in await offered.tools()] == [RUN, "find_tools"]
        with pytest.raises(
            ValueError, match=r'unknown tool "find_tool"\. Did you mean "find_tools"'
        ):
            await Offered(engine, gated=False, only=["find_tool"]).tools()


async def test_approvals_look_at_what_a_plan_calls(tmp_path: Path) -> None:
    async with engine_of() as engine:
        by_default = Offered(engine, gated=True)
        await by_default.tools()
        assert by_default.needs_approval("answer_question", {})
        assert not by_default.needs_approval(RUN, PLAN)
        writes = Offered(
            engine, gated=True, approve="writes", single_tools=True, workflows=saved_in(tmp_path)
        )
        await writes.tools()
        assert writes.needs_approval(RUN, PLAN)
        assert writes.needs_approval(RUN)
        assert not writes.needs_approval(RUN, READS)
        assert writes.needs_approval(RUN, {"plan": READS})
        no_object: Any = [READS]
        assert writes.needs_approval(RUN, no_object)
        assert writes.needs_approval(RUN, {"tasks": [{"id": "a", "workflow": "twice"}]})
        inner = {"tasks": [{"id": "b", "tool": "mock:fail"}]}
        assert writes.needs_approval(RUN, {"tasks": [{"id": "a", "workflow": inner}]})
        fallback = {"fallback": {"tool": "mock:fail"}}
        assert writes.needs_approval(RUN, {"tasks": [{**READS["tasks"][0], **fallback}]})
        assert not writes.needs_approval("find_tools", {})
        assert not writes.needs_approval("mock__double", {"n": 1})
        assert not writes.needs_approval("twice", {"n": 1})
        assert writes.needs_approval("mock__fail", {})
        assert Offered(engine, gated=True, approve="all").needs_approval("find_tools")
        wrong: Any = "some"
        with pytest.raises(ValueError, match='expected one of "answers", "writes"'):
            Offered(engine, gated=True, approve=wrong)


async def test_an_engine_of_its_own_is_closed_after_the_last_use(tmp_path: Path) -> None:
    config = tmp_path / "servers.toml"
    config.write_text("[servers.a]\ncommand = 'never-started'\n")
    kept = Engine(config)
    engine = await kept.acquire()
    assert await kept.acquire() is engine
    assert not await kept.release()
    assert engine.is_open
    assert await kept.release()
    assert not engine.is_open


async def test_claude_gets_the_served_object_itself() -> None:
    async with engine_of() as engine:
        config = sdk_server(engine)
        assert config["type"] == "sdk"
        async with Client(config["instance"]) as client:
            answer = await client.call_tool(RUN, PLAN)
    check_partial(answer.structured_content or {})


async def test_an_engine_that_is_given_stays_open() -> None:
    async with engine_of() as engine:
        kept = Engine(engine)
        assert await kept.acquire() is engine
        assert await kept.release(entirely=True)
        assert engine.is_open
