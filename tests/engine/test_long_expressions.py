"""Expressions that take long are evaluated in a thread, so that other calls go on."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from orchestrator.calls.call import Attempt, Call
from orchestrator.documents import threads
from orchestrator.engine import decide, executor
from orchestrator.engine.run import Run
from orchestrator.expressions import interpreter
from tests.fakes import workflow

pytestmark = pytest.mark.anyio

FOUND = "${INPUT.x[?n > `995`].n}"
NUMBERS = list(range(996, 1000))
MANY = {"x": [{"n": n} for n in range(1000)]}


async def echo(call: Call, _: Attempt) -> Any:
    return call.arguments


@pytest.fixture
def in_threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the functions that were called in a thread, in their order."""
    called: list[str] = []
    in_thread = threads.in_thread

    async def noted(work: Any, *arguments: Any) -> Any:
        called.append(work.__name__)
        return await in_thread(work, *arguments)

    monkeypatch.setattr(executor, "in_thread", noted)
    return called


async def run(task: dict[str, Any], inputs: dict[str, Any]) -> Any:
    plan = workflow({"id": "a", "tool": "s:t", **task}, "after: a", inputs={"x": True})
    return await Run(plan, echo, inputs=inputs).execute()


@pytest.mark.parametrize(
    ("task", "output", "beside"),
    [
        ({"arguments": {"n": FOUND}}, {"n": NUMBERS}, ["decide"]),
        ({"for_each": FOUND}, [{}] * 4, ["decide"]),
        (
            {"for_each": [1, 2], "arguments": {"n": FOUND}},
            [{"n": NUMBERS}] * 2,
            ["decide_item"] * 2,
        ),
        ({"when": FOUND[2:-1], "arguments": {}}, {}, ["decide"]),
        ({"locks": ["${length(INPUT.x[?n > `995`])}"]}, {}, ["decide"]),
    ],
)
async def test_a_long_expression_is_evaluated_in_a_thread(
    in_threads: list[str], task: dict[str, Any], output: Any, beside: list[str]
) -> None:
    result = await run(task, MANY)
    assert (result["a"].status, result["a"].output) == ("success", output)
    assert result["after"].status == "success"
    assert in_threads == beside


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is evaluated in a thread."""
    called: list[Any] = []
    in_thread = threads.in_thread

    async def noted(work: Any, *arguments: Any) -> Any:
        called.append(work)
        return await in_thread(work, *arguments)

    monkeypatch.setattr(decide, "in_thread", noted)
    return called


@pytest.mark.parametrize(
    ("task", "output", "evaluations"),
    [
        ({"repeat": {"until": FOUND[2:-1], "every_s": 0}, "arguments": {"n": 1}}, {"n": 1}, 1),
        (
            {
                "repeat": {"until": "LAST.n", "collect": FOUND[2:-1], "every_s": 0},
                "arguments": {"n": "${LAST && INPUT.x[?n > `995`].n}"},
            },
            NUMBERS * 2,
            3,
        ),
        ({"arguments": {"n": "$INPUT.x.no"}, "fallback": {"value": FOUND}}, NUMBERS, 1),
        (
            {
                "arguments": {"n": "$INPUT.x.no"},
                "fallback": {"tool": "s:t", "arguments": {"n": FOUND}},
            },
            {"n": NUMBERS},
            1,
        ),
        (
            {
                "for_each": [1],
                "arguments": {"n": "$ITEM.no"},
                "item_fallback": {"value": FOUND},
            },
            [NUMBERS],
            1,
        ),
    ],
)
async def test_those_of_repeat_and_fallbacks_are_too(
    called: list[Any], task: dict[str, Any], output: Any, evaluations: int
) -> None:
    result = await run(task, MANY)
    assert result["a"].output == output
    assert len(called) == evaluations


async def test_that_of_the_output_is_too_and_cancelling_does_not_lose_it(
    called: list[Any],
) -> None:
    plan = workflow("a", inputs={"x": True}, output=FOUND)
    assert (await Run(plan, echo, inputs=MANY).execute()).output == NUMBERS
    cancelled = Run(plan, echo, inputs=MANY)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await cancelled.execute()
    assert cancelled.result is not None
    assert cancelled.result.output == NUMBERS
    assert len(called) == 2


async def test_a_short_one_is_not(in_threads: list[str]) -> None:
    result = await run({"arguments": {"n": FOUND}}, {"x": [{"n": 996}]})
    assert result["a"].output == {"n": [996]}
    assert in_threads == []


async def test_a_false_condition_that_takes_long_skips(in_threads: list[str]) -> None:
    result = await run({"when": "INPUT.x[?n > `1000`]"}, MANY)
    assert (result["a"].status, result["after"].status) == ("skipped", "skipped")
    assert result.status == "partial"
    assert in_threads == ["decide"]


@pytest.mark.parametrize(
    "task", [{"arguments": {"n": FOUND}}, {"fallback": {"value": 7}, "for_each": FOUND}]
)
async def test_over_its_budget_it_fails_and_a_fallback_is_used(
    monkeypatch: pytest.MonkeyPatch, in_threads: list[str], task: dict[str, Any]
) -> None:
    monkeypatch.setattr(interpreter, "MAX_STEPS", 2000)
    result = await run(task, MANY)
    error = result["a"].error
    assert error.kind == "reference_error"
    assert error.message.endswith("takes more than 2,000 steps")
    assert result["a"].recovered is ("fallback" in task)
    assert in_threads == ["decide"]
