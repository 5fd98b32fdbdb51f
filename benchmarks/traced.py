"""What runs of recorded graphs took, next to what they could: ratios, verdicts, tables.

The rule of this file: arithmetic over what was measured and simulated; nothing runs here. A ratio
is the median over the rounds, in brackets the smallest and the largest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.recorded import Order, Trace
from orchestrator.workflow import Schedule

SLOTS = (0, 8, 32)
AIM, AIM_WHERE_SLOTS_BIND = 1.03, 1.10
MARGIN = 0.02
ORDERS: tuple[Order, ...] = ("depth", "first come", "time")
Reason = Literal["met", "no schedule can", "no list does", "overhead"]


@dataclass(frozen=True, slots=True)
class Variant:
    """A way of running a graph.

    Attributes:
        schedule: The schedule.
        order: Who goes first where tasks wait; by generations it is the order of the file.
        slots: How many calls are in flight at most; 0 = no limit.
    """

    schedule: Schedule
    order: Order
    slots: int

    @property
    def name(self) -> str:
        """The way, for people."""
        how = f"dataflow by {self.order}" if self.schedule == "dataflow" else "generations"
        return f"{how}, {self.slots} slots" if self.slots else f"{self.schedule}, no limit"

    @property
    def simulated_order(self) -> Order | None:
        """The order as `Trace.simulated_ms` takes it."""
        return self.order if self.schedule == "dataflow" else None


def variants(trace: Trace) -> list[Variant]:
    """The ways in which a graph is run; a limit that no task would wait for is left out.

    The first is without a limit: the times that it takes are the estimates of those by time.
    """
    made = [Variant("dataflow", "depth", 0), Variant("generations", "first come", 0)]
    for slots in SLOTS[1:]:
        if trace.may_wait(slots):
            made.append(Variant("generations", "first come", slots))
            made += [Variant("dataflow", order, slots) for order in ORDERS]
    return made


@dataclass(frozen=True, slots=True)
class Measured:
    """What the runs of one graph took in one way.

    Attributes:
        trace: The graph, and `variant` the way.
        times_ms: What each run took, milliseconds, by round.
        timeline: Of the last one, for each task: its id, when it started and how long it took.
    """

    trace: Trace
    variant: Variant
    times_ms: Sequence[float]
    timeline: Sequence[tuple[str, float, float]] = ()

    @property
    def of_bound(self) -> list[float]:
        """Over the longest path, or the work shared by the slots."""
        bound_ms = self.trace.bound_ms(self.variant.slots)
        return [ms / bound_ms for ms in self.times_ms]

    @property
    def simulated_ms(self) -> float:
        """What it would take if nothing but the tasks themselves took time."""
        return self.trace.simulated_ms(self.variant.slots, self.variant.simulated_order)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether dataflow came as near to the bound as it should; under slots, by measured times.

    Attributes:
        measured: The time over the bound; `floor` what no schedule beats over the bound,
            `simulated` the same order without any overhead, and `shaken` the slowest that it takes
            if calls take some milliseconds.
    """

    trace: str
    slots: int
    aim: float
    measured: float
    floor: float
    simulated: float
    shaken: float

    @property
    def reason(self) -> Reason:
        """`met`, or why not."""
        if self.measured <= self.aim:
            return "met"
        if self.floor > self.aim:
            return "no schedule can"
        return "no list does" if self.shaken > self.aim else "overhead"

    @property
    def is_ours(self) -> bool:
        """Whether the engine, the transport or the server took more than they may.

        Where even a simulated run misses the aim, they may take `AIM` times what it takes.
        """
        return self.measured > max(self.aim, AIM * self.shaken) + MARGIN

    def __str__(self) -> str:
        limit = f"{self.slots} slots" if self.slots else "no limit"
        return (
            f"{self.trace}, {limit}: {self.measured:.3f} of the bound, not {self.aim:g} "
            f"({self.simulated:.3f} to {self.shaken:.3f} simulated)"
        )


class Results:
    """What was measured, by graph and way."""

    def __init__(self, made: Iterable[Measured]) -> None:
        self._made = {(each.trace.name, each.variant): each for each in made}
        traces = {each.trace.name: each.trace for each in self._made.values()}
        self.traces = list(traces.values())

    def of(
        self, trace: Trace, slots: int, order: Order = "depth", schedule: Schedule = "dataflow"
    ) -> Measured | None:
        """The runs of a graph in one way; None if there were none, since nothing would wait."""
        order = order if schedule == "dataflow" and slots else "depth"
        order = "first come" if schedule == "generations" else order
        return self._made.get((trace.name, Variant(schedule, order, slots)))

    def barrier(self, trace: Trace, slots: int) -> list[float]:
        """By generations over dataflow by depth, in each round; [] if it was not run."""
        return _paired(self.of(trace, slots, schedule="generations"), self.of(trace, slots))

    def over_time(self, trace: Trace, slots: int, order: Order) -> list[float]:
        """Dataflow in some order over that by measured times, in each round."""
        return _paired(self.of(trace, slots, order), self.of(trace, slots, "time"))


def _paired(above: Measured | None, below: Measured | None) -> list[float]:
    if above is None or below is None:
        return []
    return [ours / theirs for ours, theirs in zip(above.times_ms, below.times_ms, strict=True)]


def verdicts(made: Iterable[Measured]) -> list[Verdict]:
    """A verdict for each graph and limit."""
    results = Results(made)
    found = []
    for trace in results.traces:
        for slots in SLOTS:
            if (measured := results.of(trace, slots, "time")) is not None:
                bound_ms = trace.bound_ms(slots)
                found.append(
                    Verdict(
                        trace.name,
                        slots,
                        AIM_WHERE_SLOTS_BIND if trace.binds(slots) else AIM,
                        median(measured.of_bound),
                        trace.floor_ms(slots) / bound_ms,
                        trace.simulated_ms(slots, "time") / bound_ms,
                        trace.shaken_ms(slots, "time")[-1] / bound_ms,
                    )
                )
    return found


# For people.


@dataclass(frozen=True, slots=True)
class Grid:
    """A table before it is drawn."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def grids(made: Sequence[Measured]) -> Iterator[Grid]:
    """Everything that is shown: the families, the graphs without a limit, and with each."""
    results = Results(made)
    judged = {(verdict.trace, verdict.slots): verdict for verdict in verdicts(made)}
    yield _families(results)
    yield _orders(results)
    yield _unlimited(results, judged)
    for slots in SLOTS[1:]:
        grid = _limited(results, slots, judged)
        if grid.rows:
            yield grid


def _families(results: Results) -> Grid:
    """What the barrier costs, by family: the median of the graphs, and the worst."""
    rows = []
    for name, traces in _by_family(results.traces):
        cells = [name, str(len(traces))]
        for slots in SLOTS:
            ratios = [results.barrier(trace, slots) for trace in traces]
            cells.append(median_and_worst(ratios))
        rows.append(cells)
    head = ("family", "graphs", "no limit", "8 slots", "32 slots")
    return Grid("What the barrier costs: generations over dataflow, median and worst", head, rows)


def _orders(results: Results) -> Grid:
    """What the order is worth where tasks wait, by family."""
    rows = []
    for name, traces in _by_family(results.traces):
        for slots in SLOTS[1:]:
            waiting = [trace for trace in traces if results.of(trace, slots, "time")]
            cells = [name, str(slots), str(len(waiting))]
            for order in ("first come", "depth"):
                ratios = [results.over_time(trace, slots, order) for trace in waiting]
                cells.append(median_and_worst(ratios))
            if waiting:
                rows.append(cells)
    head = ("family", "slots", "graphs", "first come, first served", "longest path by depth")
    title = "What the order is worth: over the longest path by measured times, median and worst"
    return Grid(title, head, rows)


def _by_family(traces: Sequence[Trace]) -> Iterator[tuple[str, list[Trace]]]:
    for name in dict.fromkeys(trace.family for trace in traces):
        yield name, [trace for trace in traces if trace.family == name]
    if len({trace.family for trace in traces}) > 1:
        yield "all", list(traces)


def median_and_worst(ratios: Sequence[Sequence[float]]) -> str:
    """Of the medians of some graphs; empty if there are none."""
    medians = [median(ratio) for ratio in ratios if ratio]
    return f"{median(medians):.2f}, {max(medians):.2f}" if medians else ""


def _unlimited(results: Results, judged: Mapping[tuple[str, int], Verdict]) -> Grid:
    rows = []
    for trace in results.traces:
        rows.append(
            [
                trace.name,
                str(len(trace.needs)),
                str(len(trace.generations)),
                f"{trace.critical_path_ms:.0f}",
                _of_bound(results.of(trace, 0)),
                _of_bound(results.of(trace, 0, schedule="generations")),
                spread(results.barrier(trace, 0)),
                judged[trace.name, 0].reason,
            ]
        )
    head = ("graph", "tasks", "gen.", "bound, ms", "dataflow", "generations", "barrier", "aim 1.03")
    return Grid(
        "No limit: the time over the longest path, and generations over dataflow", head, rows
    )


def _limited(results: Results, slots: int, judged: Mapping[tuple[str, int], Verdict]) -> Grid:
    rows = []
    for trace in results.traces:
        by_time = results.of(trace, slots, "time")
        if by_time is None:
            continue
        verdict = judged[trace.name, slots]
        rows.append(
            [
                trace.name,
                f"{trace.bound_ms(slots):.0f}{' *' if trace.binds(slots) else ''}",
                f"{verdict.floor:.2f}",
                f"{verdict.simulated:.2f}..{verdict.shaken:.2f}",
                _of_bound(by_time),
                _of_bound(results.of(trace, slots, "depth")),
                _of_bound(results.of(trace, slots, "first come")),
                _of_bound(results.of(trace, slots, schedule="generations")),
                f"{verdict.reason} ({verdict.aim:.2f})",
            ]
        )
    head = (
        "graph",
        "bound, ms",
        "none beats",
        "simulated",
        "by time",
        "by depth",
        "first come",
        "generations",
        "aim",
    )
    return Grid(f"{slots} slots: the time over the bound (* the slots bind)", head, rows)


def _of_bound(measured: Measured | None) -> str:
    return "" if measured is None else spread(measured.of_bound)


def spread(ratios: Sequence[float]) -> str:
    """The median with the smallest and the largest; the median alone if there is no more."""
    if len(ratios) < 2:
        return f"{median(ratios):.2f}" if ratios else ""
    return f"{median(ratios):.2f} ({min(ratios):.2f}..{max(ratios):.2f})"


def tables(made: Sequence[Measured]) -> Iterator[tuple[str, Table]]:
    """The tables for a terminal, each with its title."""
    for grid in grids(made):
        shown = Table(box=SIMPLE_HEAD)
        for number, name in enumerate(grid.head):
            shown.add_column(name, justify="right" if number else "left", no_wrap=True)
        for row in grid.rows:
            shown.add_row(*row)
        yield grid.title, shown


def markdown(made: Sequence[Measured], facts: Mapping[str, Any]) -> str:
    """The tables for the documentation."""
    parts = [f"```text\n{heading(facts)}\n```"]
    for grid in grids(made):
        lines = [f"**{grid.title}**", "", _row(grid.head), _row(["---"] * len(grid.head))]
        parts.append("\n".join([*lines, *map(_row, grid.rows)]))
    return "\n\n".join(parts)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('*', chr(92) + '*') for cell in cells)} |"


def heading(facts: Mapping[str, Any]) -> str:
    """The machine, and what is not delay in a call."""
    load = ", ".join(f"{load:.2f}" for load in facts["load_average"])
    return (
        f"{facts['date']}: {facts['cores']} cores, {facts['system']}, {facts['python']} on "
        f"{facts['backend']}, load before {load}\n"
        f"{facts['rounds']} rounds, delays times {facts['scale']:g}; server {facts['server']}: "
        f"{facts['server_ms']:.2f} ms a call alone, {facts['call_ms']:.2f} ms with the client"
    )


def expectation(traces: Sequence[Trace], rounds: int) -> str:
    """How long it will take."""
    ways = [(trace, way) for trace in traces for way in variants(trace)]
    ms = sum(trace.simulated_ms(way.slots, way.simulated_order) for trace, way in ways)
    runs = f"{len(ways) * rounds} runs of {len(traces)} graphs in {rounds} rounds"
    return f"{runs}: about {ms * rounds / 60_000:.1f} minutes, most of it waiting"


def line(measured: Measured) -> str:
    """A measurement in one line, while others are still being made."""
    over = median(measured.times_ms) / measured.simulated_ms
    return (
        f"  {measured.trace.name}, {measured.variant.name}: {median(measured.times_ms):.0f} ms, "
        f"{spread(measured.of_bound)} of the bound, {over:.3f} of the simulated run"
    )


def document(facts: Mapping[str, Any], made: Sequence[Measured]) -> dict[str, Any]:
    """Everything as JSON: the machine, every single time, the bounds and the verdicts."""
    return {
        "machine": dict(facts),
        "measurements": [
            {
                "trace": each.trace.name,
                "family": each.trace.family,
                "schedule": each.variant.schedule,
                "order": each.variant.order,
                "slots": each.variant.slots,
                "bound_ms": each.trace.bound_ms(each.variant.slots),
                "floor_ms": each.trace.floor_ms(each.variant.slots),
                "simulated_ms": each.simulated_ms,
                "times_ms": list(each.times_ms),
            }
            for each in made
        ],
        "verdicts": [
            {
                "trace": each.trace,
                "slots": each.slots,
                "aim": each.aim,
                "of_bound": each.measured,
                "floor": each.floor,
                "simulated": each.simulated,
                "shaken": each.shaken,
                "reason": each.reason,
                "is_ours": each.is_ours,
            }
            for each in verdicts(made)
        ],
    }
