"""How many parts a task has, and how these share its limits."""

from __future__ import annotations

import heapq

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.spread_shape import shape_of


@pytest.mark.parametrize(
    ("calls", "at_once", "places", "most", "of_items", "of_calls"),
    [
        (0, 0, 12, 0, 0, 0),
        (10, 0, 12, 2, 0, 5),
        (10, 0, 4, 2, 0, 5),
        (10, 1, 12, 1, 1, 10),
        (24, 9, 4, 3, 3, 8),
        (0, 5, 3, 1, 5, 0),
        (100, 0, 12, 2, 0, 50),
    ],
)
def test_parts_share_the_limits(
    calls: int, at_once: int, places: int, most: int, of_items: int, of_calls: int
) -> None:
    shape = shape_of(1000, 500, calls, at_once, places)
    assert shape is not None
    assert (shape.most, shape.most_items, shape.most_calls) == (most, of_items, of_calls)
    assert shape.parts == max(2, most)


@given(
    st.integers(501, 20_000),
    st.integers(1, 500),
    st.integers(0, 3000),
    st.integers(0, 3000),
    st.integers(1, 60),
)
@example(3000, 500, 10, 0, 8)
@example(1611, 500, 400, 0, 1)  # parts as large as each other take 1.6 times as long
@example(501, 500, 1000, 0, 2)
@example(1042, 500, 2809, 0, 2)  # more than two parts of 500, but two of 521
@example(502, 500, 600, 0, 1)
@example(577, 500, 577, 0, 12)
def test_a_map_that_is_spread_takes_no_longer_than_one_that_is_not(
    items: int, size: int, calls: int, at_once: int, places: int
) -> None:
    shape = shape_of(items, size, calls, at_once, places)
    bound = min((limit for limit in (calls, at_once) if limit), default=0)
    if shape is None:
        assert bound >= items > size  # all at once in one process, and in no two or more parts
        assert all(most * (bound // most) < items for most in range(2, places + 1))
        return
    assert shape.parts > 1
    assert (shape.parts - 1) * shape.size < items <= shape.parts * shape.size
    if not bound:
        assert (shape.most, shape.size <= size) == (0, True)
        return
    assert shape.most <= places
    of_part = min(limit for limit in (shape.most_calls, shape.most_items) if limit)
    assert shape.size <= max(size, of_part)
    assert shape.most * of_part <= bound
    # If each call takes as long as the others: each place has one part after the other.
    ends = [0] * shape.most
    for first in range(0, items, shape.size):
        of = min(shape.size, items - first)
        heapq.heapreplace(ends, ends[0] - (-of // of_part))
    assert max(ends) <= 1.1 * -(-items // bound)


@pytest.mark.parametrize(
    ("bound", "places", "most"),
    [(10, 3, 2), (11, 3, 2), (7, 4, 1), (49, 40, 7), (64, 12, 8), (1000, 2, 2), (5000, 4, 4)],
)
def test_parts_are_carried_at_the_same_time_if_that_costs_next_to_nothing(
    bound: int, places: int, most: int
) -> None:
    shape = shape_of(50_000, 500, bound, 0, places)
    assert shape is not None
    assert shape.most == most
