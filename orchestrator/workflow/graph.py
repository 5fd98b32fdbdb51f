"""The graph of a workflow, by networkx: generations, cycles and longest paths.

The rule of this file: an edge goes from a task to one that waits for it, and everything here is
O(n + e) for n tasks and e edges.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import networkx

    Graph = networkx.DiGraph[str]


def build(dependencies: Mapping[str, Iterable[str]]) -> Graph:
    """The graph of tasks by id, from what each of them waits for."""
    import networkx

    graph: Graph = networkx.DiGraph()
    graph.add_nodes_from(dependencies)
    graph.add_edges_from((needed, task) for task, needs in dependencies.items() for needed in needs)
    return graph


def generations(graph: Graph) -> list[list[str]]:
    """The topological generations: tasks that need only earlier ones, in the order of the file."""
    import networkx

    position = {task: index for index, task in enumerate(graph)}
    return [
        sorted(generation, key=position.__getitem__)
        for generation in networkx.topological_generations(graph)
    ]


def cycles(graph: Graph) -> list[list[str]]:
    """One cycle of each knot of tasks that wait for each other, as `[a, b, a]`; [] if it has none.

    Each is the shortest through the first task of its knot, in the order of the file.
    `networkx.find_cycle` is not used: it takes 0.6 s on a chain of 10,000 tasks.
    """
    import networkx

    if networkx.is_directed_acyclic_graph(graph):
        return []
    position = {task: index for index, task in enumerate(graph)}
    knots = [knot for knot in networkx.strongly_connected_components(graph) if len(knot) > 1]
    firsts = [(min(knot, key=position.__getitem__), knot) for knot in knots]
    return [
        _cycle(graph, first, knot) for first, knot in sorted(firsts, key=lambda k: position[k[0]])
    ]


def _cycle(graph: Graph, first: str, knot: set[str]) -> list[str]:
    came_from: dict[str, str] = {}
    queue = deque([first])
    while first not in came_from:
        task = queue.popleft()
        for follower in graph.successors(task):
            if follower in knot and follower not in came_from:
                came_from[follower] = task
                queue.append(follower)
    backwards = [first, came_from[first]]
    while backwards[-1] != first:
        backwards.append(came_from[backwards[-1]])
    return backwards[::-1]


def is_chain(graph: Graph, tasks: Iterable[str]) -> bool:
    """Whether each of these tasks waits, if indirectly, for the one before it.

    The only function here that is not linear: it searches the graph once for each task.
    """
    import networkx

    return all(networkx.has_path(graph, first, second) for first, second in pairwise(tasks))


def lengths_below(
    graph: Graph, order: Iterable[Iterable[str]], weights: Mapping[str, float] | None = None
) -> dict[str, float]:
    """The longest path that begins at each task, its own weight (1 by default) included.

    Args:
        graph: The graph.
        order: Its generations.
        weights: What each task takes, in any unit.
    """
    lengths: dict[str, float] = {}
    for generation in reversed([list(tasks) for tasks in order]):
        for task in generation:
            below = max((lengths[follower] for follower in graph.successors(task)), default=0.0)
            lengths[task] = below + (1.0 if weights is None else weights.get(task, 0.0))
    return lengths


def lengths_above(
    graph: Graph, order: Iterable[Iterable[str]], weights: Mapping[str, float] | None = None
) -> dict[str, float]:
    """The longest path that ends at each task, its own weight (1 by default) left out.

    Args:
        graph: The graph.
        order: Its generations.
        weights: What each task takes, in any unit.
    """
    ends: dict[str, float] = {}
    lengths: dict[str, float] = {}
    for generation in order:
        for task in generation:
            lengths[task] = max((ends[needed] for needed in graph.predecessors(task)), default=0.0)
            ends[task] = lengths[task] + (1.0 if weights is None else weights.get(task, 0.0))
    return lengths


def makespan(
    graph: Graph,
    order: list[list[str]],
    durations: Mapping[str, float],
    *,
    barrier: bool,
    slots: int = 0,
) -> float:
    """How long a run would take if each task took what it took, in the unit of `durations`.

    List scheduling (Graham, 1969): whenever a slot is free, the ready task with the longest path
    below it starts.

    Args:
        graph: The graph.
        order: Its generations.
        durations: What each task takes; a task that is missing takes nothing.
        barrier: Whether a generation waits for the whole one before it.
        slots: How many run at a time; 0 for no limit.
    """
    if not slots and barrier:
        return sum(max(durations.get(task, 0.0) for task in tasks) for tasks in order)
    if not slots:
        return max(lengths_below(graph, order, durations).values(), default=0.0)
    if barrier:
        return sum(_list_schedule({}, tasks, durations, durations, slots) for tasks in order)
    priority = lengths_below(graph, order, durations)
    waiting = {task: degree for task, degree in graph.in_degree() if degree}
    first = [task for task in graph if task not in waiting]
    return _list_schedule(waiting, first, durations, priority, slots, graph)


def _list_schedule(
    waiting: dict[str, int],
    first: Iterable[str],
    durations: Mapping[str, float],
    priority: Mapping[str, float],
    slots: int,
    graph: Graph | None = None,
) -> float:
    ready = [(-priority.get(task, 0.0), task) for task in first]
    heapq.heapify(ready)
    running: list[tuple[float, str]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < slots:
            task = heapq.heappop(ready)[1]
            heapq.heappush(running, (now + durations.get(task, 0.0), task))
        now, done = heapq.heappop(running)
        for follower in graph.successors(done) if graph is not None else ():
            waiting[follower] -= 1
            if not waiting[follower]:
                heapq.heappush(ready, (-priority.get(follower, 0.0), follower))
    return now
