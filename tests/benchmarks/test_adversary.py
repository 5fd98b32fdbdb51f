"""Servers that do harm, beside one that does none: outcomes, order and memory, and no times."""

from __future__ import annotations

import pytest

from benchmarks import adversary
from benchmarks.adversary import LIMIT_S, MEMORY_MB, ROWS, SLOWER, Figures
from benchmarks.hostile import RESULTS, SCHEMAS, answer_to

GOOD = Figures("forged", "protocol_error", 1.0, 1.0, 5.0, 6.0, 9.0)


@pytest.mark.anyio
async def test_a_row_ends_as_expected_and_every_call_beside_it_is_answered() -> None:
    figures = await adversary.measure("forged", alone=4)
    assert figures.outcome == ROWS["forged"].outcome


# Those that try to fill the memory; `python -m benchmarks adversary` runs all.
FILLING = ["containers", "tools-1000000", "pings", "outputs", "redirect"]


@pytest.mark.slow
@pytest.mark.parametrize("name", FILLING)
def test_each_row_stays_within_its_memory(name: str) -> None:
    # On a machine with much to do, the call would reach its limit before its end.
    figures = adversary.alone_in_a_process(name, alone=20, limit_s=600.0)
    assert figures.outcome == ROWS[name].outcome
    assert figures.peak_mb <= MEMORY_MB + ROWS[name].result_mb


def test_what_is_not_as_it_has_to_be_is_named() -> None:
    assert GOOD.faults == []
    bad = Figures("forged", "success", LIMIT_S + 2, MEMORY_MB + 1, 5.0, 5.1 * SLOWER, 9.0)
    assert bad.faults == ["expected protocol_error", "too slow", "too much memory", "disturbs"]


def test_the_harm_is_as_large_as_its_title_says() -> None:
    assert len(RESULTS["containers"]()) > 60_000_000
    assert RESULTS["contents"]().count('"text"') == 1_000_000
    assert len(SCHEMAS["doubling"]["$defs"]) == 41
    listed = answer_to("tools-50000", {"method": "tools/list"})
    assert listed is not None
    assert listed.count('"name"') == 50_000
