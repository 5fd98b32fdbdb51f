"""The fuzzer of first answers can fail, and finds nothing in its short form."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos.answers import Tally
from tests.chaos.openings import QUICK_COUNTS, Opening, fuzz, reached, start
from tests.puppet import ID

REFUSED = f'{{"jsonrpc": "2.0", "id": {ID}, "error": {{"code": 1, "message": "ValueError"}}}}'


def test_a_series_can_be_made_again_and_has_every_request() -> None:
    cases = [Opening.choose(7, number) for number in range(300)]
    assert cases[5] == Opening.choose(7, 5)
    assert {case.method for case in cases} == {"initialize", "tools/list", "server/discover"}


@pytest.mark.parametrize(("raw", "fault"), [("no answer", "it waited"), (REFUSED, "ValueError")])
@pytest.mark.anyio
async def test_the_fuzzer_notices_a_start_that_waits_or_says_too_little(
    raw: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.chaos.openings.GUARD_S", 0.2 if "wait" in fault else 60)
    monkeypatch.setattr("tests.chaos.openings.ERRORS", "nothing that occurs")
    case, tally = replace(Opening.choose(7, 5), raw=raw, method="initialize"), Tally()
    case = replace(case, protocol="legacy", kind="application/json")
    async with reached("stdio", [case]) as orchestrator:
        await start(orchestrator, "it0", case, tally)
    assert fault in tally.faults[0]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.anyio
async def test_a_mistake_in_a_first_answer_costs_at_most_its_own_server(anyio_backend: str) -> None:
    del anyio_backend
    tally = await fuzz(2026, QUICK_COUNTS)
    assert tally.faults == []
    assert sum(tally.outcomes.values()) == sum(QUICK_COUNTS.values())
