"""What people replied is recorded, and replied again in a replay and in a test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator import Orchestrator, Server, run_test
from orchestrator.engine.question import Question
from orchestrator.errors import RefusedError
from tests.recordings.world import make_server, outcome

pytestmark = pytest.mark.anyio

DOCUMENT: dict[str, Any] = {
    "tasks": [
        {
            "id": "name",
            "ask": {"message": "Who?", "schema": {"type": "string"}},
        },
        {
            "id": "say",
            "tool": "mock:say",
            "for_each": ["a", "b", "c"],
            "arguments": {"text": "$ITEM of $OUTPUT[name]"},
            "on_item_error": "continue",
            "approve": True,
        },
        {"id": "double", "tool": "mock:double", "arguments": {"n": 1}},
        {"id": "late", "ask": {"message": "Now?", "timeout_s": 0.01, "default": False}},
    ],
}


async def reply(question: Question) -> Any:
    if question.task == "late":
        return None
    if question.item == 1:
        raise RefusedError
    return True if question.kind == "approve" else "Ada"


async def recorded(path: Path) -> dict[str, Any]:
    """Record a run; its result."""
    servers = {"mock": Server(target=make_server(), approve=["double"])}
    async with Orchestrator(servers, record=path, answer=reply) as orchestrator:
        result = await orchestrator.run(DOCUMENT)
    items = result["say"].items or ()
    assert [item.status for item in items] == ["success", "error", "success"]
    return outcome(result)


async def test_replies_are_given_again(tmp_path: Path) -> None:
    path = tmp_path / "recording.json"
    result = await recorded(path)
    replies = json.loads(path.read_text())["replies"]
    assert [(each["task"], each.get("answer")) for each in replies] == [
        ("double", True),
        ("name", "Ada"),
        ("say[0]", True),
        ("say[1]", None),
        ("say[2]", True),
    ]
    async with Orchestrator.replay(path) as orchestrator:
        assert outcome(await orchestrator.run(DOCUMENT)) == result
        more = {"id": "more", "ask": {"message": "More?"}}
        again = await orchestrator.run({"tasks": [*DOCUMENT["tasks"], more]})
    assert again.status == "paused"
    assert [question.task for question in again.questions] == ["more"]


async def test_a_plain_function_answers_what_is_not_recorded(tmp_path: Path) -> None:
    path = tmp_path / "recording.json"
    await recorded(path)
    async with Orchestrator.replay(path) as orchestrator:
        more = {"id": "more", "ask": {"message": "More?"}}
        flow = {"tasks": [*DOCUMENT["tasks"], more]}
        result = await orchestrator.run(flow, answer=lambda _: True)
    assert result["more"].output is True


def run_case(path: Path, **fields: Any) -> Any:
    test = path.parent / "x.test.json"
    document = {"workflow": DOCUMENT, "recording": path.name, **fields}
    test.write_text(json.dumps(document))
    return run_test(test)


def test_a_test_has_other_replies(tmp_path: Path) -> None:
    path = tmp_path / "recording.json"
    anyio.run(recorded, path)
    expect = {"tasks": {"say[1]": {"error": {"kind": "refused"}}, "say[0]": "success"}}
    assert run_case(path, expect=expect).passed
    expect = {"tasks": {"say": {"error": {"kind": "refused"}}, "double": {"status": "error"}}}
    assert run_case(path, expect=expect, answers={"say[0]": False}, refused=["double"]).passed
    verdict = run_case(path, expect={}, answers={"nme": 1, "name": "Bob"}, refused=["sya[0]"])
    text = str(verdict)
    assert verdict.status == "broken"
    assert '/answers/nme: unknown task "nme". Did you mean "name"?' in text
    assert '/refused/0: unknown task "sya[0]". Did you mean "say"?' in text
    verdict = run_case(path, expect={}, answers={"name": "Bob"})
    assert verdict.missed[0].endswith(
        f'text: recorded "a of Ada", called with "a of Bob". Record it anew: orchestrator run FILE '
        f"--record {path}"
    )


def test_a_question_without_a_reply_pauses_a_test(tmp_path: Path) -> None:
    path = tmp_path / "recording.json"
    anyio.run(recorded, path)
    document = json.loads(path.read_text())
    del document["replies"]
    verdict = run_case(path, recording=document, expect={"status": "success"})
    assert list(verdict.lines())[:2] == [
        'status: expected "success", got "paused"',
        'task "name" waits for a reply: give it in "answers"',
    ]
    assert run_case(path, recording=document, expect={"status": "paused"}).passed


def test_a_reply_is_an_answer_or_a_refusal(tmp_path: Path) -> None:
    path = tmp_path / "recording.json"
    anyio.run(recorded, path)
    document = json.loads(path.read_text())
    document["replies"] = [{"task": "name", "kind": "ask"}]
    verdict = run_case(path, recording=document, expect={})
    assert 'expected exactly one of "answer" and "refused"' in str(verdict)
