"""An expression that would freeze the process or fill its memory fails instead."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from orchestrator.documents.collector import paused
from orchestrator.engine import decide
from orchestrator.engine.decide import StartEach
from orchestrator.engine.outcome import Failure
from orchestrator.errors import CallError
from orchestrator.expressions import interpreter
from orchestrator.expressions.interpreter import MAX_TEXT
from orchestrator.expressions.jmespath import compile_expression
from orchestrator.expressions.references import Compiler
from orchestrator.expressions.scope import Scope, SlowExpressionError
from orchestrator.workflow.model import Workflow

SCOPE = Scope(
    outputs={
        "a": {"list": [1, 2], "text": "x" * 100_000},
        "n": list(range(5_000)),
        "big": [{"v": list(range(50))} for _ in range(200)],
    }
)
SMALLER = {"MAX_STEPS": 200_000, "MAX_VALUES": 1_000_000, "MAX_TEXT": 10_000_000}
STEPS = "takes more than 200,000 steps"
VALUES = f"makes more than 1,000,000 values|{STEPS}"  # to measure it takes steps, too
TEXT = "makes more than 10,000,000 characters"


@pytest.mark.untraced
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("OUTPUT[a].list" + " | [@, @]" * 27, VALUES),
        ("OUTPUT[a].list" + " | {a: @, b: @}" * 60, VALUES),
        ("OUTPUT[a].list" + " | [@, @][]" * 27, VALUES),
        ("OUTPUT[a].list" + " | map(&[@, @], @) | []" * 27, STEPS),
        ("OUTPUT[a].text" + " | [@, @]" * 27, TEXT),
        ("OUTPUT[a].text" + " | join('', [@, @])" * 27, TEXT),
        ("join(OUTPUT[a].text, OUTPUT[n][*].to_string(@))", TEXT),
        ("to_string(OUTPUT[a].list" + " | [@, @]" * 27 + ")", VALUES),
        ("(OUTPUT[a].list%s) == (OUTPUT[a].list%s)" % ((" | [@, @]" * 27,) * 2), VALUES),
        ("map(&OUTPUT[big], OUTPUT[n])", VALUES),
        ("OUTPUT[n][?contains(OUTPUT[n], @) && contains(OUTPUT[n], @)]", STEPS),
        ("OUTPUT[n][?OUTPUT[n][?@ == 1]]", STEPS),
        ("OUTPUT[n][*].[OUTPUT[n][*].[@]]", STEPS),
    ],
)
def test_an_expression_that_grows_without_bound_fails(
    text: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, bound in SMALLER.items():
        monkeypatch.setattr(interpreter, name, bound)
    with pytest.raises(CallError, match=reason) as caught:
        compile_expression(text).evaluate(SCOPE)
    assert caught.value.kind == "reference_error"
    assert not caught.value.error.retryable


@pytest.mark.untraced
@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("OUTPUT[n][?@ > 10]", 4_989),
        ("OUTPUT[n][?contains(OUTPUT[a].list, @)]", 2),
        ("OUTPUT[big][*].{v: v, w: v, x: OUTPUT[a]}", 200),
        ("OUTPUT[big][].v[]", 10_000),
        ("sort_by(OUTPUT[n], &to_string(@))", 5_000),
        ("OUTPUT[a].list" + " | [@, @]" * 5, 2),
    ],
)
def test_an_expression_over_large_outputs_stays_far_below_its_bounds(
    text: str, length: int
) -> None:
    assert len(compile_expression(text).evaluate(SCOPE)) == length


def test_a_string_that_names_a_large_output_many_times_fails() -> None:
    template = Compiler().compile("$OUTPUT[a].text" * 1001)
    with pytest.raises(CallError, match=f"a string would have more than {MAX_TEXT:,} characters"):
        template.resolve(SCOPE)
    assert len(Compiler().compile("$OUTPUT[a].text$OUTPUT[a].text").resolve(SCOPE)) == 200_000


def test_many_nots_are_compiled_in_linear_time() -> None:
    text = "!(" * 60 + "OUTPUT[a]" + ".b).c" * 60
    assert compile_expression(text).evaluate(SCOPE) is False


def test_a_for_each_has_a_limit_of_items(monkeypatch: pytest.MonkeyPatch) -> None:
    task: dict[str, Any] = {"id": "b", "tool": "s:t", "for_each": "$INPUT.x"}
    workflow = Workflow.load({"tasks": [task], "inputs": {"x": True}})
    monkeypatch.setattr(decide, "MAX_ITEMS", 3)
    plan = workflow.plan.tasks["b"]
    assert decide.decide(plan, Scope(inputs={"x": [1, 2, 3]})) == StartEach([1, 2, 3])
    failed = decide.decide(plan, Scope(inputs={"x": [1, 2, 3, 4]}))
    assert isinstance(failed, Failure)
    expected = "expected at most 3 items for for_each, got 4 from $INPUT.x"
    assert (failed.error.kind, failed.error.message) == ("reference_error", expected)


def test_what_an_expression_has_made_is_freed_without_the_collector(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(interpreter, "MAX_STEPS", 10_000)
    expression = compile_expression("OUTPUT[n][].[[@, @], @][]")
    gc.collect()
    with paused():
        before = len(gc.get_objects())
        with pytest.raises(CallError, match="takes more than 10,000 steps") as caught:
            expression.evaluate(SCOPE)
        assert len(gc.get_objects()) < before + 200
    assert caught.value.__context__ is None


class Unread(list[int]):
    """A list of which nobody looks at the items."""

    def __iter__(self) -> Any:
        raise AssertionError


def test_a_long_list_is_not_looked_at_in_the_event_loop() -> None:
    scope = Scope(outputs={"n": Unread(range(50_000))}, quick=True)
    with pytest.raises(SlowExpressionError):
        compile_expression("OUTPUT[n][]").evaluate(scope)
