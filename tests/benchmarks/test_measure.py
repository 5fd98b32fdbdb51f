"""The arithmetic of the benchmarks. Nothing here measures anything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from benchmarks.measure import (
    Side,
    Times,
    most_at_once,
    percentile,
    take_turns,
)


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1.0), (25, 1.75), (50, 2.5), (95, 3.85), (100, 4.0)]
)
def test_a_percentile_lies_between_the_nearest_ranks(percent: float, expected: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], percent) == pytest.approx(expected)


def test_every_percentile_of_one_value_is_that_value() -> None:
    assert [percentile([7.0], percent) for percent in (0, 50, 99)] == [7.0, 7.0, 7.0]


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1.0], -1), ([1.0], 101)])
def test_there_is_no_percentile_of_nothing_or_beyond_the_ends(
    values: list[float], percent: float
) -> None:
    with pytest.raises(ValueError, match="no percentile"):
        percentile(values, percent)


def test_ratios_are_paired_by_round_so_that_a_slow_round_cancels_out() -> None:
    quiet_then_noisy = [[90.0, 100.0, 110.0], [300.0, 300.0, 300.0]]
    times = Times(sequential=[[500.0], [1500.0]], parallel=quiet_then_noisy)
    assert times.ratio("sequential", "parallel") == [5.0, 5.0]


def test_there_is_no_ratio_to_a_side_that_did_not_run_or_to_itself() -> None:
    times = Times(run=[[1.0, 2.0], [3.0]])
    assert times.flat("run") == [1.0, 2.0, 3.0]
    assert times.ratio("run", "by hand") == times.ratio("by hand", "run") == []
    assert times.ratio("run", "run") == []


def test_the_ratio_of_the_fastest_does_not_see_what_slowed_a_round_down() -> None:
    times = Times(engine=[[30.0, 90.0], [31.0, 32.0]], bare=[[25.0, 10.0], [40.0, 12.0]])
    assert times.fastest("engine", "bare") == 3.0


def test_spans_that_only_touch_do_not_overlap() -> None:
    assert most_at_once([]) == 0
    assert most_at_once([(0, 2), (2, 3), (3, 4)]) == 1
    assert most_at_once([(0, 2), (1, 3), (1.5, 4), (3, 5)]) == 3


@pytest.mark.anyio
async def test_sides_run_in_turns_and_every_second_round_in_the_opposite_order() -> None:
    ran: list[str] = []

    def side(name: str, times: int = 1) -> Side:
        async def run() -> None:
            ran.append(name)

        return Side(run, times)

    async def timer(run: Callable[[], Awaitable[object]]) -> float:
        await run()
        return 1.0

    times = await take_turns({"a": side("a"), "b": side("b", times=2)}, 2, timer=timer)
    assert ran == ["a", "b", *"abb", *"bba"]
    assert [[len(of_round) for of_round in rounds] for rounds in times.values()] == [[1, 1], [2, 2]]
