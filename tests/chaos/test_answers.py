"""The fuzzer of answers can fail, and finds nothing in its short form."""

from __future__ import annotations

import pytest

from tests.chaos.answers import QUICK_COUNT, Case, Tally, answer, fuzz, reached


def test_a_series_can_be_made_again_and_has_every_kind_of_mistake() -> None:
    cases = [Case.choose(7, number) for number in range(5 * QUICK_COUNT)]
    assert cases[5] == Case.choose(7, 5)
    assert len({case.raw for case in cases}) > 4 * QUICK_COUNT
    for part in (r"\ud83d", "\x92", "\x07", "\xef\xbb\xbf", "9" * 5000, "[" * 1000, "NaN"):
        assert any(part in case.raw for case in cases), part


@pytest.mark.anyio
async def test_the_fuzzer_notices_a_call_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.chaos.answers.GUARD_S", 0.2)
    tally = Tally()
    async with reached("stdio legacy") as orchestrator:
        await answer(orchestrator, "stdio legacy", Case(1, "no answer", ""), tally)
    assert "it waited for its limit" in tally.faults[0]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.anyio
async def test_an_answer_with_random_mistakes_ends_its_call_and_nothing_else(
    anyio_backend: str,
) -> None:
    del anyio_backend
    tally = await fuzz(2026, QUICK_COUNT)
    assert tally.faults == []
    assert sum(tally.outcomes.values()) == QUICK_COUNT
