"""Runs of recorded graphs beside their bounds: variants, ratios and tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

from rich.table import Table

from benchmarks import report
from benchmarks.measure import Times
from benchmarks.recorded import Trace
from orchestrator.workflow.model import Schedule

# Which waiting task goes first: the one that came first, or the one with the longest path below,
# counted in tasks or in measured time.
Order = Literal["first come", "depth", "time"]

SLOTS = (0, 8, 32)
AIM = 1.05  # of the longest path, for dataflow without a limit
ORDERS: tuple[Order, ...] = ("depth", "first come", "time")


@dataclass(frozen=True, slots=True)
class Variant:
    """A way of running a graph.

    Attributes:
        schedule: The schedule.
        order: Which waiting task goes first; by generations it is the order of the file.
        slots: How many calls are in flight at most; 0 = no limit.
    """

    schedule: Schedule
    order: Order
    slots: int

    @property
    def name(self) -> str:
        if not self.slots:
            return f"{self.schedule}, no limit"
        by_order = f" by {self.order}" if self.schedule == "dataflow" else ""
        return f"{self.schedule}{by_order}, {self.slots} slots"


def dataflow(slots: int, order: Order = "depth") -> Variant:
    # Without a limit no task waits: one order stands for all.
    return Variant("dataflow", order if slots else "depth", slots)


def generations(slots: int) -> Variant:
    return Variant("generations", "first come", slots)


def variants(trace: Trace) -> list[Variant]:
    """The ways in which a graph is run, without limits that no task would wait for."""
    # The first has no limit: its times are the estimates of the order by time.
    ways = [dataflow(0), generations(0)]
    for slots in SLOTS[1:]:
        if trace.may_wait(slots):
            ways += [generations(slots), *(dataflow(slots, order) for order in ORDERS)]
    return ways


@dataclass(frozen=True, slots=True)
class Result:
    """The times of one graph, by the names of its variants."""

    trace: Trace
    times: Times

    def of_bound(self, variant: Variant) -> list[float]:
        """The times of a variant over the bound; empty if it did not run."""
        bound_ms = self.trace.bound_ms(variant.slots)
        times_ms = self.times.flat(variant.name) if variant.name in self.times else []
        return [ms / bound_ms for ms in times_ms]

    def barrier(self, slots: int) -> list[float]:
        """By generations over dataflow by depth, in each round; empty if they did not run."""
        return self.times.ratio(generations(slots).name, dataflow(slots).name)

    def to_dicts(self) -> Iterator[dict[str, Any]]:
        """The numbers as JSON, by variant."""
        for variant in variants(self.trace):
            yield {
                "trace": self.trace.name,
                "family": self.trace.family,
                **asdict(variant),
                "bound_ms": self.trace.bound_ms(variant.slots),
                "times_ms": self.times.flat(variant.name),
            }


def missed(results: Iterable[Result]) -> list[str]:
    """The graphs on which dataflow without a limit takes too long for the longest path."""
    ratios = {result.trace.name: median(result.of_bound(dataflow(0))) for result in results}
    return [
        f"{name}: {ratio:.3f} of the longest path" for name, ratio in ratios.items() if ratio > AIM
    ]


def families(results: Sequence[Result]) -> Iterator[list[str]]:
    """For each family and all graphs: generations over dataflow, by limit; median and worst."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.trace.family, []).append(result)
    if len(groups) > 1:
        groups["all"] = list(results)
    for name, members in groups.items():
        barriers = ([result.barrier(slots) for result in members] for slots in SLOTS)
        yield [name, str(len(members)), *map(median_and_worst, barriers)]


def median_and_worst(ratios: Iterable[Sequence[float]]) -> str:
    """Of the medians of some graphs; empty if there are none."""
    medians = [median(ratio) for ratio in ratios if ratio]
    return f"{median(medians):.2f}, {max(medians):.2f}" if medians else ""


def graphs(results: Sequence[Result]) -> Iterator[list[str]]:
    """For each limit and graph: the time over the bound in each variant."""
    for slots in SLOTS:
        shown = [dataflow(slots, order) for order in ("time", "depth", "first come")]
        shown.append(generations(slots))
        for result in results:
            cells = [report.ratio(result.of_bound(variant)) for variant in shown]
            if cells[0]:
                bound = f"{result.trace.bound_ms(slots):.0f}"
                yield [result.trace.name, str(slots or "no limit"), bound, *cells]


def tables(results: Sequence[Result]) -> Iterator[Table]:
    """What generations cost by family, and every graph."""
    by_family = report.new_table(
        "Generations over dataflow: median, worst",
        *("family", "graphs", "no limit", "8 slots", "32 slots"),
    )
    by_graph = report.new_table(
        "The time over the bound",
        *("graph", "slots", "bound, ms", "by time", "by depth", "first come", "generations"),
    )
    for table, rows in ((by_family, families(results)), (by_graph, graphs(results))):
        for row in rows:
            table.add_row(*row)
        yield table
