"""The dependency graph of a workflow, by networkx: generations, cycles and longest paths.

An edge goes from a task to one that depends on it. All but `is_chain` is O(n + e) for n tasks and e
edges; with slots, a makespan is O(n log n + e).
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import networkx

    Graph = networkx.DiGraph[str]


def build(dependencies: Mapping[str, Iterable[str]]) -> Graph:
    """The graph of tasks by id, from the dependencies of each."""
    import networkx

    graph: Graph = networkx.DiGraph()
    graph.add_nodes_from(dependencies)
    graph.add_edges_from((needed, task) for task, needs in dependencies.items() for needed in needs)
    return graph


def union(graphs: Iterable[Graph]) -> Graph:
    """One graph of several that have no task in common."""
    import networkx

    joined: Graph = networkx.DiGraph()
    for graph in graphs:
        joined.add_nodes_from(graph)
        joined.add_edges_from(graph.edges)
    return joined


def below(graph: Graph, task: str) -> set[str]:
    """All tasks that depend on a task, directly or not."""
    import networkx

    found: set[str] = networkx.descendants(graph, task)
    return found


def generations(graph: Graph) -> list[list[str]]:
    """The topological generations, each in the order of the file."""
    import networkx

    position = {task: index for index, task in enumerate(graph)}
    return [
        sorted(generation, key=position.__getitem__)
        for generation in networkx.topological_generations(graph)
    ]


def cycles(graph: Graph) -> list[list[str]]:
    """One cycle of each strongly connected component, as `[a, b, a]`; [] if there is none.

    Each is the shortest through the first task of its component, in the order of the file.
    """
    import networkx

    if networkx.is_directed_acyclic_graph(graph):  # twice as fast as the search below
        return []
    position = {task: index for index, task in enumerate(graph)}
    # networkx.find_cycle is not used: it takes 0.6 s on a chain of 10,000 tasks.
    components = [c for c in networkx.strongly_connected_components(graph) if len(c) > 1]
    firsts = {min(component, key=position.__getitem__): component for component in components}
    ordered = sorted(firsts, key=position.__getitem__)
    return [_cycle(graph, first, firsts[first]) for first in ordered]


def _cycle(graph: Graph, first: str, component: set[str]) -> list[str]:
    came_from: dict[str, str] = {}
    queue = deque([first])
    while first not in came_from:
        task = queue.popleft()
        for follower in graph.successors(task):
            if follower in component and follower not in came_from:
                came_from[follower] = task
                queue.append(follower)
    backwards = [first, came_from[first]]
    while backwards[-1] != first:
        backwards.append(came_from[backwards[-1]])
    return backwards[::-1]


def is_chain(graph: Graph, tasks: Iterable[str]) -> bool:
    """Whether each of these tasks depends, directly or not, on the one before it."""
    import networkx

    return all(
        networkx.has_path(graph, first, second) for first, second in itertools.pairwise(tasks)
    )


def lengths_below(
    graph: Graph, order: Iterable[Iterable[str]], weights: Mapping[str, float] | None = None
) -> dict[str, float]:
    """The longest path that begins at each task, its own weight included.

    `order` are the generations. A missing weight is 0; without weights, each task has 1.
    """
    lengths: dict[str, float] = {}
    for task in itertools.chain.from_iterable(reversed(list(order))):
        longest = max((lengths[follower] for follower in graph.successors(task)), default=0.0)
        lengths[task] = longest + (1.0 if weights is None else weights.get(task, 0.0))
    return lengths


def makespan(
    graph: Graph,
    order: list[list[str]],
    durations: Mapping[str, float],
    *,
    barrier: bool,
    slots: int = 0,
) -> float:
    """How long a run takes with these durations of its tasks, in their unit.

    With `barrier`, a generation of the order waits for the whole one before it. `slots` is the
    number of tasks that run at a time, 0 for no limit. A missing duration is 0.
    """
    # List scheduling (Graham, 1969): whenever a slot is free, the ready task with the longest path
    # below it starts.
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
    # Negative, since a heap gives its smallest entry first; ties go by id, so runs are repeatable.
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
