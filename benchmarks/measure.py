"""Rounds, percentiles and paired ratios."""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from statistics import median
from typing import Any

Timer = Callable[[Callable[[], Awaitable[Any]]], Awaitable[float]]
"""Runs something once and gives its time, milliseconds."""

Rounds = list[list[float]]
"""The times of one side, milliseconds: a list for each round."""


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
        """A number of rounds: the one asked for, or that of the full or the quick run."""
        return self.rounds or (quick if self.quick else full)


@dataclass(frozen=True, slots=True)
class Side:
    """One of the things that are compared.

    Attributes:
        run: Does it once.
        times: How often in each round.
    """

    run: Callable[[], Awaitable[object]]
    times: int = 1


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured of one thing.

    Attributes:
        scenario: Of which scenario, and `variant` which of its sides or sizes.
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
        percentiles = {name: self.quantity(name) for name in ("p50_ms", "p95_ms", "p99_ms")}
        return {
            "scenario": self.scenario,
            "variant": self.variant,
            "repetitions": len(self.times_ms),
            **(percentiles if self.times_ms else {}),
            "values": dict(self.values),
            "ratios": {name: _spread(ratios) for name, ratios in self.ratios.items() if ratios},
            "times_ms": list(self.times_ms),
            "note": self.note,
        }


Tell = Callable[[Measurement], None]
"""Takes a measurement as soon as there is one."""


def _spread(ratios: Sequence[float]) -> dict[str, Any]:
    low, middle, high = (percentile(ratios, percent) for percent in (5, 50, 95))
    return {"p5": low, "median": middle, "p95": high, "by_round": list(ratios)}


def positive(text: str) -> int:
    """A number of rounds on the command line."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("has to be 1 or more")
    return number


def percentile(values: Sequence[float], percent: float) -> float:
    """A percentile by linear interpolation between the two nearest ranks.

    Method 7 of Hyndman and Fan (1996), the default of NumPy and R.

    Raises:
        ValueError: There are no values, or `percent` is not from 0 to 100.
    """
    if not values or not 0 <= percent <= 100:
        raise ValueError(f"no percentile {percent} of {len(values)} values")
    ranked = sorted(values)
    position = (len(ranked) - 1) * percent / 100
    below = int(position)
    above = min(below + 1, len(ranked) - 1)
    return ranked[below] + (ranked[above] - ranked[below]) * (position - below)


def paired(numerator: Rounds, denominator: Rounds) -> list[float]:
    """The ratio of two sides in each round, by the medians of the round."""
    return [
        median(above) / median(below) for above, below in zip(numerator, denominator, strict=True)
    ]


def flat(rounds: Rounds) -> list[float]:
    """All times of a side."""
    return list(chain.from_iterable(rounds))


async def take_turns(
    sides: Mapping[str, Side],
    rounds: int,
    *,
    warm_up: bool = True,
    timer: Timer | None = None,
) -> dict[str, Rounds]:
    """Run all sides in each round, every second time in the opposite order.

    Args:
        sides: What is compared, by name.
        rounds: How many rounds count.
        warm_up: Whether each side runs once before, without counting.
        timer: Runs a side and says what counts as its time, milliseconds; `timed` by default.

    Returns:
        The times of each side.
    """
    if warm_up:
        for side in sides.values():
            await side.run()
    times: dict[str, Rounds] = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides)[:: -1 if number % 2 else 1]:
            side = sides[name]
            times[name].append([await (timer or timed)(side.run) for _ in range(side.times)])
    return times


async def timed(run: Callable[[], Awaitable[object]]) -> float:
    """How long something takes, milliseconds; the garbage of others is collected before."""
    gc.collect()
    began_at = time.perf_counter()
    await run()
    return (time.perf_counter() - began_at) * 1000
