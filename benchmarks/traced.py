"""Runs of recorded graphs beside what they could take: ways, ratios and tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.recorded import Order, Trace
from orchestrator.workflow.model import Schedule

SLOTS = (0, 8, 32)
AIM = 1.05
ORDERS: tuple[Order, ...] = ("depth", "first come", "time")


@dataclass(frozen=True, slots=True)
class Variant:
    """A way of running a graph.

    Attributes:
        schedule: The schedule.
        order: Which task goes first where tasks wait; by generations it is the order of the file.
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


def variants(trace: Trace) -> list[Variant]:
    """The ways in which a graph is run, without limits that no task would wait for.

    The first has no limit: its times are the estimates of the order by time.
    """
    made = [Variant("dataflow", "depth", 0), Variant("generations", "first come", 0)]
    for slots in SLOTS[1:]:
        if trace.may_wait(slots):
            made.append(Variant("generations", "first come", slots))
            made += [Variant("dataflow", order, slots) for order in ORDERS]
    return made


@dataclass(frozen=True, slots=True)
class Measured:
    """The times of one graph in one way, milliseconds by round."""

    trace: Trace
    variant: Variant
    times_ms: Sequence[float]

    @property
    def of_bound(self) -> list[float]:
        """Over the longest path, or the work shared by the slots."""
        bound_ms = self.trace.bound_ms(self.variant.slots)
        return [ms / bound_ms for ms in self.times_ms]

    def to_dict(self) -> dict[str, Any]:
        """The numbers as JSON."""
        return {
            "trace": self.trace.name,
            "family": self.trace.family,
            "schedule": self.variant.schedule,
            "order": self.variant.order,
            "slots": self.variant.slots,
            "bound_ms": self.trace.bound_ms(self.variant.slots),
            "times_ms": list(self.times_ms),
        }


class Results:
    """What was measured, by graph and way."""

    def __init__(self, made: Iterable[Measured]) -> None:
        self._made = {(each.trace.name, each.variant): each for each in made}
        traces = {each.trace.name: each.trace for each in self._made.values()}
        self.traces = list(traces.values())

    def of(
        self, trace: Trace, slots: int, order: Order = "depth", schedule: Schedule = "dataflow"
    ) -> Measured | None:
        """The runs of a graph in one way; None if no task would wait there."""
        order = order if schedule == "dataflow" and slots else "depth"
        order = "first come" if schedule == "generations" else order
        return self._made.get((trace.name, Variant(schedule, order, slots)))

    def barrier(self, trace: Trace, slots: int) -> list[float]:
        """By generations over dataflow by depth, in each round; [] if it was not run."""
        return _paired(self.of(trace, slots, schedule="generations"), self.of(trace, slots))


def _paired(above: Measured | None, below: Measured | None) -> list[float]:
    if above is None or below is None:
        return []
    return [ours / theirs for ours, theirs in zip(above.times_ms, below.times_ms, strict=True)]


def missed(made: Iterable[Measured]) -> list[str]:
    """The graphs on which dataflow without a limit takes too long for the longest path."""
    free = (each for each in made if each.variant == Variant("dataflow", "depth", 0))
    times = ((each.trace.name, median(each.of_bound)) for each in free)
    return [f"{name}: {ratio:.3f} of the longest path" for name, ratio in times if ratio > AIM]


def families(results: Results) -> Iterator[list[str]]:
    """For each family and all graphs: generations over dataflow, by limit; median and worst."""
    groups: dict[str, list[Trace]] = {}
    for trace in results.traces:
        groups.setdefault(trace.family, []).append(trace)
    if len(groups) > 1:
        groups["all"] = results.traces
    for name, traces in groups.items():
        barriers = [[results.barrier(trace, slots) for trace in traces] for slots in SLOTS]
        yield [name, str(len(traces)), *map(median_and_worst, barriers)]


def median_and_worst(ratios: Sequence[Sequence[float]]) -> str:
    """Of the medians of some graphs; empty if there are none."""
    medians = [median(ratio) for ratio in ratios if ratio]
    return f"{median(medians):.2f}, {max(medians):.2f}" if medians else ""


def graphs(results: Results) -> Iterator[list[str]]:
    """For each graph and limit: the time over the bound in each way."""
    for slots in SLOTS:
        for trace in results.traces:
            if results.of(trace, slots, "time") is None:
                continue
            ways = [results.of(trace, slots, order) for order in ("time", "depth", "first come")]
            ways.append(results.of(trace, slots, schedule="generations"))
            yield [
                trace.name,
                str(slots or "no limit"),
                f"{trace.bound_ms(slots):.0f}",
                *(spread(way.of_bound) if way is not None else "" for way in ways),
            ]


def spread(ratios: Sequence[float]) -> str:
    """The median with the smallest and the largest; the median alone if there is one value."""
    if len(ratios) < 2:
        return f"{median(ratios):.2f}" if ratios else ""
    return f"{median(ratios):.2f} ({min(ratios):.2f}..{max(ratios):.2f})"


def tables(made: Sequence[Measured]) -> Iterator[Table]:
    """What generations cost by family, and every graph."""
    results = Results(made)
    head: tuple[str, ...] = ("family", "graphs", "no limit", "8 slots", "32 slots")
    yield _table("Generations over dataflow: median, worst", head, families(results))
    head = ("graph", "slots", "bound, ms", "by time", "by depth", "first come")
    head = (*head, "generations")
    yield _table("The time over the bound", head, graphs(results))


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    shown = Table(box=SIMPLE_HEAD, title=title, title_justify="left")
    for number, name in enumerate(head):
        shown.add_column(name, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        shown.add_row(*row)
    return shown
