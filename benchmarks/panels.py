"""What the pictures show, as data: bars with their spread, and runs over time.

The rule of this file: no drawing; it knows measurements, and nothing of matplotlib.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.measure import Bar, Measurement, percentile
from orchestrator.workflow.graph import lengths_below
from orchestrator.workflow.plan import Plan

SEQUENTIAL = "sequential"
# With more tasks than that, their groups are named and not each of them.
MOST_NAMES = 16


@dataclass(frozen=True, slots=True)
class Spread:
    """A ratio, to be shown as a bar.

    Attributes:
        label: Of what.
        low, middle, high: The 5th, 50th and 95th percentile.
        ideal: What it would be if nothing cost anything; None if nobody can say.
    """

    label: str
    low: float
    middle: float
    high: float
    ideal: float | None = None


@dataclass(frozen=True, slots=True)
class Chart:
    """Ratios of one kind.

    Attributes:
        title: What they are, for people.
        bars: One for each measurement.
        axis: What one of them means.
    """

    title: str
    bars: Sequence[Spread]
    axis: str


@dataclass(frozen=True, slots=True)
class Panel:
    """A run over time.

    Attributes:
        scenario: Of which scenario.
        title: Which run, and how long it took.
        bars: For each task: its id, when it started and how long it took, milliseconds.
        groups: What a task is coloured by: its generation, its server, or its run.
        critical: The tasks of the longest path, which no schedule could have made shorter.
        waited_ms: How long a task waited before it started, milliseconds, if it did.
        end_ms: How long the axis is; panels of one scenario have the same.
        by_group: Whether only the groups are named, since the tasks are too many.
    """

    scenario: str
    title: str
    bars: Sequence[Bar]
    groups: Mapping[str, str] = field(default_factory=dict)
    critical: frozenset[str] = frozenset()
    waited_ms: Mapping[str, float] = field(default_factory=dict)
    end_ms: float = 0.0
    by_group: bool = False


def charts(measurements: Sequence[Measurement]) -> list[Chart]:
    """The comparisons for which there is something among the measurements."""
    made = (
        Chart(
            "Speedup over a sequential run",
            _spreads(measurements, "speedup", {"cold"}),
            "times as fast as one call at a time",
        ),
        Chart(
            "Throughput of a tool that computes",
            _spreads(measurements, "one_session", set()),
            "times that of one session",
        ),
        Chart(
            "Time beside the same work by hand",
            [
                bar
                for bar in _spreads(measurements, "by_hand", set())
                if "unchecked" not in bar.label
            ],
            "times as long as by hand; less is better",
        ),
    )
    return [chart for chart in made if chart.bars]


def _spreads(measurements: Iterable[Measurement], name: str, without: set[str]) -> list[Spread]:
    return [
        spread(label(measured), measured.ratios[name], _ideal(measured, name))
        for measured in measurements
        if measured.ratios.get(name) and measured.scenario not in without
    ]


def _ideal(measured: Measurement, name: str) -> float | None:
    return 1.0 if name == "by_hand" else measured.values.get("ideal_speedup")


def spread(label: str, values: Sequence[float], ideal: float | None = None) -> Spread:
    """The bar of some ratios."""
    low, middle, high = (percentile(values, percent) for percent in (5, 50, 95))
    return Spread(label, low, middle, high, ideal)


def label(measured: Measurement) -> str:
    """What a measurement is called in a picture; the usual way of running goes without saying."""
    match measured.scenario, measured.variant:
        case "branches", width:
            return f"{width} branch{'es' if width != '1' else ''}"
        case "sessions", variant:
            return variant
        case "gather", variant:
            return variant.removesuffix(": orchestrator")
        case ("ready" | "cold") as scenario, variant:
            return f"{scenario}, {variant.removesuffix(': run')}"
        case scenario, "generations" if scenario != "uneven":
            return scenario
    return f"{measured.scenario}, {measured.variant}"


def panels(measurements: Sequence[Measurement]) -> list[Panel]:
    """A panel for each run that is not sequential; those of all branches are in one."""
    shown = [m for m in measurements if m.timeline and SEQUENTIAL not in m.variant]
    ends: dict[str, float] = {}
    for measured in shown:
        ends[measured.scenario] = max(ends.get(measured.scenario, 0), _end(measured.timeline))
    single = [_panel(m, ends[m.scenario]) for m in shown if m.scenario != "branches"]
    branches = [measured for measured in shown if measured.scenario == "branches"]
    return single + ([_of_branches(branches, ends["branches"])] if branches else [])


def _panel(measured: Measurement, end_ms: float) -> Panel:
    title = f"{label(measured)}: {_end(measured.timeline):.0f} ms"
    one_by_one_ms = measured.values.get("sequential_ms")
    if one_by_one_ms is not None:
        title += f" (one at a time: {one_by_one_ms:.0f} ms)"
    many = len(measured.timeline) > MOST_NAMES
    critical, waited_ms = frozenset(measured.critical), measured.waited_ms
    bars, groups = measured.timeline, measured.groups
    return Panel(measured.scenario, title, bars, groups, critical, waited_ms, end_ms, many)


def _of_branches(measurements: Sequence[Measurement], end_ms: float) -> Panel:
    """The runs one below the other, each with a colour of its own."""
    bars: list[Bar] = []
    groups: dict[str, str] = {}
    critical: set[str] = set()
    for measured in measurements:
        run = label(measured)
        bars += [(f"{run}: {task}", start, took) for task, start, took in measured.timeline]
        groups |= {f"{run}: {task}": run for task, _, _ in measured.timeline}
        critical |= {f"{run}: {task}" for task in measured.critical}
    title = f"branches: {len(measurements)} runs, the longest {end_ms:.0f} ms"
    return Panel("branches", title, bars, groups, frozenset(critical), {}, end_ms, by_group=True)


def _end(bars: Iterable[Bar]) -> float:
    return max((started_ms + duration_ms for _, started_ms, duration_ms in bars), default=0.0)


def longest_path(plan: Plan, duration_ms: Mapping[str, float]) -> tuple[str, ...]:
    """The tasks of the longest path through the graph of a plan, the first one first.

    Args:
        plan: The plan.
        duration_ms: How long each task took, milliseconds.
    """
    below = lengths_below(plan.graph, plan.generations, duration_ms)
    path: list[str] = []
    followers = list(below)
    while followers:
        path.append(max(followers, key=below.__getitem__))
        followers = list(plan.graph.successors(path[-1]))
    return tuple(path)
