"""Simulated runs of recorded graphs: list scheduling with the tasks' own times and nothing else."""

from __future__ import annotations

import heapq
from collections.abc import Mapping

import networkx as nx

from benchmarks.recorded import Trace
from benchmarks.traced import Order


def simulated_ms(trace: Trace, slots: int, order: Order | None) -> float:
    """What a run takes by list scheduling (Graham, 1969); by generations if `order` is None."""
    if order is not None:
        return _simulated(trace, list(trace.needs), slots, _rank(trace, order))
    return sum(_simulated(trace, tasks, slots, None) for tasks in trace.generations)


def _rank(trace: Trace, order: Order) -> Mapping[str, float] | None:
    """Minus the longest path that begins at each task, counted in tasks or in time."""
    if order == "first come":
        return None
    counted = dict.fromkeys(trace.needs, 1) if order == "depth" else trace.delays_ms
    rank: dict[str, float] = {}
    for task in reversed(list(nx.topological_sort(trace.digraph))):
        below = min((rank[follower] for follower in trace.digraph.successors(task)), default=0.0)
        rank[task] = below - counted[task]
    return rank


def _simulated(
    trace: Trace, tasks: list[str], slots: int, rank: Mapping[str, float] | None
) -> float:
    """Some of the tasks on slots: served by rank, or as they come, and then by their position."""
    position = {task: index for index, task in enumerate(tasks)}
    waiting = {task: sum(needed in position for needed in trace.needs[task]) for task in tasks}
    ready: list[tuple[float, int, str]] = []
    running: list[tuple[float, str]] = []
    now = 0.0

    def come(task: str) -> None:
        heapq.heappush(ready, (now if rank is None else rank[task], position[task], task))

    for task in tasks:
        if not waiting[task]:
            come(task)
    while ready or running:
        while ready and (not slots or len(running) < slots):
            task = heapq.heappop(ready)[-1]
            heapq.heappush(running, (now + trace.delays_ms[task], task))
        now = running[0][0]
        while running and running[0][0] == now:
            for follower in trace.digraph.successors(heapq.heappop(running)[1]):
                if follower in position:
                    waiting[follower] -= 1
                    if not waiting[follower]:
                        come(follower)
    return now
