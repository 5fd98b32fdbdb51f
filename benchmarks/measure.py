"""Rounds, percentiles and paired ratios."""

from __future__ import annotations

import gc
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import accumulate, chain
from statistics import median
from typing import Any

# Runs something once and returns its time in milliseconds.
Timer = Callable[[Callable[[], Awaitable[Any]]], Awaitable[float]]
Rounds = list[list[float]]  # the times of one side in milliseconds: a list for each round


class RunFailedError(RuntimeError):
    """A run that was to be timed did not succeed, so that its time means nothing."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How much is measured.

    Attributes:
        quick: Fewer rounds and smaller sizes.
        rounds: Instead of each scenario's own number of rounds.
        backend: The event loop, `asyncio` or `trio`.
    """

    quick: bool = False
    rounds: int | None = None
    backend: str = "asyncio"

    def pick(self, full: int, quick: int) -> int:
        """The number of rounds: `rounds` if it is set, else that of the full or the quick run."""
        return self.rounds or (quick if self.quick else full)


@dataclass(frozen=True, slots=True)
class Side:
    """One of the things that are compared; it runs `times` times in each round."""

    run: Callable[[], Awaitable[object]]
    times: int = 1


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured of one side or size (`variant`) of a scenario.

    Attributes:
        times_ms: Every single time, milliseconds.
        ratios: By name, one ratio for each round. `speedup` is the time of a sequential run that
            was made over this one's, and `one_session` that of the same run on a server with one
            session; any other is this time over that of what it is named after.
        values: Single numbers by name; a unit ends the name.
        note: What a reader has to know.
    """

    scenario: str
    variant: str
    times_ms: Sequence[float] = ()
    ratios: Mapping[str, Sequence[float]] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    def quantity(self, name: str) -> float | None:
        """A number by name: a value, the median of a ratio, or a percentile such as `p95_ms`."""
        if name in self.values:
            return self.values[name]
        if self.ratios.get(name):
            return median(self.ratios[name])
        if name.startswith("p") and name.endswith("_ms") and self.times_ms:
            return percentile(self.times_ms, float(name[1:-3]))
        return None

    def to_dict(self) -> dict[str, Any]:
        """Everything that was measured, as JSON."""
        ratios = {
            name: dict(
                zip(("p5", "median", "p95"), spread(by_round), strict=True), by_round=by_round
            )
            for name, by_round in self.ratios.items()
            if by_round
        }
        names = ("p50_ms", "p95_ms", "p99_ms") if self.times_ms else ()
        percentiles = {name: self.quantity(name) for name in names}
        return asdict(self) | {"repetitions": len(self.times_ms), "ratios": ratios} | percentiles


Record = Callable[[Measurement], None]  # receives each measurement as soon as it is complete


@dataclass(frozen=True, slots=True)
class Bench(Settings):
    """What a module of scenarios measures with: the settings, and where its numbers go."""

    record: Record = lambda _: None


class Times(dict[str, Rounds]):
    """The times of all sides, by name."""

    def flat(self, side: str) -> list[float]:
        """All times of a side, milliseconds."""
        return list(chain.from_iterable(self[side]))

    def ratio(self, numerator: str, denominator: str) -> list[float]:
        """The ratio of the medians in each round; empty if a side is missing or both are one."""
        if numerator == denominator or not {numerator, denominator} <= self.keys():
            return []
        # A round that was slow for both sides cancels out.
        rounds = zip(self[numerator], self[denominator], strict=True)
        return [median(above) / median(below) for above, below in rounds]

    def fastest(self, numerator: str, denominator: str) -> float:
        """The ratio of the fastest times: of work that never waits, noise only adds to both."""
        return min(self.flat(numerator)) / min(self.flat(denominator))

    def per_task(self, side: str, tasks: int) -> dict[str, float]:
        """The values `tasks` and `per_task_us` of a side that runs so many tasks."""
        return {"tasks": float(tasks), "per_task_us": median(self.flat(side)) * 1000 / tasks}


def percentile(values: Sequence[float], percent: float) -> float:
    """A percentile by linear interpolation between the two nearest ranks.

    Method 7 of Hyndman and Fan (1996), the default of NumPy and R.

    Raises:
        ValueError: There are no values, or `percent` is not from 0 to 100.
    """
    # `statistics.quantiles` needs two values at least.
    if not values or not 0 <= percent <= 100:
        raise ValueError(f"no percentile {percent} of {len(values)} values")
    ranked = sorted(values)
    position = (len(ranked) - 1) * percent / 100
    below = int(position)
    above = min(below + 1, len(ranked) - 1)
    return ranked[below] + (ranked[above] - ranked[below]) * (position - below)


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """The 5th percentile, the median and the 95th percentile."""
    return percentile(values, 5), percentile(values, 50), percentile(values, 95)


def most_at_once(spans: Iterable[tuple[float, float]]) -> int:
    """The largest number of spans (start, end) that overlap."""
    changes = [change for start, end in spans for change in ((start, 1), (end, -1))]
    # At the same time -1 sorts first: what ends when another begins does not overlap it.
    return max(accumulate(change for _, change in sorted(changes)), default=0)


async def take_turns(
    sides: Mapping[str, Side], rounds: int, *, warm_up: bool = True, timer: Timer | None = None
) -> Times:
    """Run all sides in each round, every second time in the opposite order.

    `timer` runs a side and returns what counts as its time: by default all of it.
    """
    if warm_up:
        for side in sides.values():
            await side.run()  # imports, caches and sessions are not what the rounds compare
    times = Times({name: [] for name in sides})
    for number in range(rounds):
        # Whatever a side leaves behind burdens each of its neighbours equally often.
        for name in list(sides)[:: -1 if number % 2 else 1]:
            side = sides[name]
            times[name].append([await (timer or timed)(side.run) for _ in range(side.times)])
    return times


async def own_time(run: Callable[[], Awaitable[Any]]) -> float:
    """A timer for sides that return their time."""
    time_ms: float = await run()
    return time_ms


async def timed(run: Callable[[], Awaitable[object]]) -> float:
    """How long something takes, milliseconds."""
    gc.collect()  # the garbage of other sides is not part of this time
    began_at = time.perf_counter()
    await run()
    return (time.perf_counter() - began_at) * 1000
