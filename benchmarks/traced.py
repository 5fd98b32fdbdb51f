"""What runs of recorded graphs took, next to what they could: ways, ratios, verdicts.

The rule of this file: arithmetic over what was measured and simulated; nothing runs here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from benchmarks.recorded import Order, Trace
from orchestrator.workflow.model import Schedule

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
    """

    trace: Trace
    variant: Variant
    times_ms: Sequence[float]

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
