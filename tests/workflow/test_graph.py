"""Generations, cycles and makespans, against models that are too simple to be wrong."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.workflow.graph import (
    build,
    cycles,
    generations,
    lengths_below,
    makespan,
)

pytestmark = pytest.mark.untraced

Needs = dict[str, list[str]]


@st.composite
def graphs(draw: st.DrawFn, *, acyclic: bool) -> Needs:
    """What each task needs, the tasks in an order that says nothing."""
    count = draw(st.integers(1, 9))
    edges = draw(
        st.sets(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), max_size=18)
    )
    wanted = {(a, b) for a, b in edges if (a < b if acyclic else a != b)}
    order = draw(st.permutations(range(count)))
    return {f"t{task}": [f"t{a}" for a, b in sorted(wanted) if b == task] for task in order}


def naive_generations(needs: Mapping[str, list[str]]) -> list[list[str]]:
    done: set[str] = set()
    found: list[list[str]] = []
    while len(done) < len(needs):
        ready = [task for task in needs if task not in done and done.issuperset(needs[task])]
        found.append(ready)
        done.update(ready)
    return found


def longest_path(needs: Mapping[str, list[str]], durations: Mapping[str, float]) -> float:
    def ending_at(task: str) -> float:
        return durations.get(task, 0) + max(map(ending_at, needs[task]), default=0)

    return max(map(ending_at, needs), default=0)


@given(graphs(acyclic=True))
def test_generations_are_those_of_a_naive_model(needs: Needs) -> None:
    assert generations(build(needs)) == naive_generations(needs)


def test_a_generation_is_in_the_order_of_the_file() -> None:
    assert generations(build({"z": [], "a": ["z", "m"], "m": [], "b": ["m"]})) == [
        ["z", "m"],
        ["a", "b"],
    ]
    assert generations(build({})) == []


@given(graphs(acyclic=False))
def test_a_cycle_is_found_in_each_graph_that_has_one(needs: Needs) -> None:
    graph = build(needs)
    found = cycles(graph)
    assert bool(found) == has_cycle(needs)
    named: set[str] = set()
    for cycle in found:
        assert cycle[0] == cycle[-1]
        assert len(cycle) > 2
        assert len(set(cycle)) == len(cycle) - 1
        assert all(a in needs[b] for a, b in zip(cycle, cycle[1:], strict=False))  # noqa: RUF007
        assert not named & set(cycle)
        named |= set(cycle)


def has_cycle(needs: Mapping[str, list[str]]) -> bool:
    left = dict(needs)
    while ready := [task for task, wanted in left.items() if not set(wanted) & set(left)]:
        for task in ready:
            del left[task]
    return bool(left)


def test_each_component_is_named_by_its_shortest_cycle_through_its_first_task() -> None:
    needs = {"d": ["c"], "a": ["c", "b"], "b": ["a"], "c": ["a"], "x": ["y"], "y": ["x"]}
    assert cycles(build(needs)) == [["a", "b", "a"], ["x", "y", "x"]]
    assert cycles(build({"a": ["c"], "b": ["a"], "c": ["b"]})) == [["a", "b", "c", "a"]]


def test_a_long_chain_and_a_long_cycle_take_linear_time() -> None:
    chain: Needs = {f"t{n}": [f"t{n - 1}"] if n else [] for n in range(20_000)}
    graph = build(chain)
    assert cycles(graph) == []
    assert len(generations(graph)) == 20_000
    chain["t0"] = ["t19999"]
    assert len(cycles(build(chain))[0]) == 20_001


times = st.dictionaries(st.integers(0, 8).map("t{}".format), st.integers(0, 9))


@given(graphs(acyclic=True), times)
def test_dataflow_without_a_limit_takes_the_longest_path(
    needs: Needs, durations: dict[str, int]
) -> None:
    graph = build(needs)
    order = generations(graph)
    longest = longest_path(needs, durations)
    assert makespan(graph, order, durations, barrier=False) == longest
    assert max(lengths_below(graph, order, durations).values()) == longest
    assert max(lengths_below(graph, order).values()) == len(order)


@given(graphs(acyclic=True), times, st.integers(1, 4))
def test_with_slots_it_is_within_grahams_bounds(
    needs: Needs, durations: dict[str, int], slots: int
) -> None:
    graph = build(needs)
    found = makespan(graph, generations(graph), durations, barrier=False, slots=slots)
    work = sum(durations.get(task, 0) for task in needs)
    longest = longest_path(needs, durations)
    assert max(longest, work / slots) - 1e-9 <= found
    assert found <= work / slots + (1 - 1 / slots) * longest + 1e-9


@given(graphs(acyclic=True), times)
def test_a_barrier_takes_the_slowest_of_each_generation(
    needs: Needs, durations: dict[str, int]
) -> None:
    graph = build(needs)
    order = generations(graph)
    slowest = [max(durations.get(task, 0) for task in tasks) for tasks in order]
    unlimited = makespan(graph, order, durations, barrier=True)
    assert unlimited == sum(slowest)
    assert makespan(graph, order, durations, barrier=False) <= unlimited
    one = makespan(graph, order, durations, barrier=True, slots=1)
    assert one == sum(durations.get(task, 0) for task in needs)


@pytest.mark.parametrize(("slots", "barrier", "flow"), [(0, 19, 12), (1, 26, 26), (2, 19, 14)])
def test_the_longest_path_goes_first(slots: int, barrier: float, flow: float) -> None:
    needs = {"other": [], "short": [], "long": [], "after": ["short"], "end": ["long"]}
    durations = {"short": 3, "other": 2, "long": 10, "after": 9, "end": 2}
    graph = build(needs)
    order = generations(graph)
    assert makespan(graph, order, durations, barrier=True, slots=slots) == barrier
    assert makespan(graph, order, durations, barrier=False, slots=slots) == flow


def test_the_longest_path_from_a_task_includes_its_own_weight() -> None:
    needs: dict[str, list[str]] = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}
    made = build(needs)
    order = generations(made)
    assert lengths_below(made, order) == {"a": 3, "b": 2, "c": 2, "d": 1}
    weights = {"a": 1.0, "b": 5.0, "c": 2.0}
    assert lengths_below(made, order, weights) == {"a": 6.0, "b": 5.0, "c": 2.0, "d": 0.0}
