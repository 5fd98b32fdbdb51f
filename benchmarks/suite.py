"""Which scenarios there are, and in what order they run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from importlib import import_module

import anyio

from benchmarks.measure import Measurement, Settings, Tell

LIMIT_S = 1800.0
"""What hangs for so long has failed."""

Measure = Callable[[frozenset[str], Settings, Tell], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario.

    Attributes:
        group: The module that measures it.
        title: What it is, for people.
    """

    group: str
    title: str


SCENARIOS = {
    "five": Scenario("delays", "5 independent tasks of 100 ms"),
    "pattern": Scenario("delays", "[a, b] -> c -> [d, e], 100 ms each"),
    "chain": Scenario("delays", "a chain of 5 tasks of 100 ms"),
    "diamond": Scenario("delays", "a -> [b, c] -> d, 100 ms each"),
    "multi-level": Scenario("delays", "34 tasks of 50 ms in levels of 6, 10, 10 and 8"),
    "uneven": Scenario("delays", "3 lanes of 3 stages, each slow (160 ms, not 40) at another one"),
    "branches": Scenario("delays", "1 to 10 independent tasks of 100 ms"),
    "five-tools": Scenario("delays", "a job of 5 tools on 3 servers that are open"),
    "gather": Scenario("bare_sdk", "the same calls by hand, on a session of the bare SDK"),
    "sessions": Scenario(
        "sessions", "calls of 20 ms of processor time on a server with 1, 2 and 4 sessions"
    ),
    "inflight": Scenario("sessions", "hundreds and thousands of calls at once on one session"),
    "ready": Scenario("bare_sdk", "5 Python servers over stdio, from nothing to listed tools"),
    "cold": Scenario("cold", "from the start of a fresh process to its exit, or to its first call"),
    "checking": Scenario(
        "checking", "checking a plan of 1,000 and 10,000 tasks against a lock file"
    ),
    "engine": Scenario(
        "engine_alone", "the engine with a caller that returns at once, beside bare anyio"
    ),
}


async def run(
    wanted: Iterable[str], settings: Settings, tell: Tell, progress: Callable[[str], None]
) -> list[Measurement]:
    """Measure the scenarios that are wanted, one after the other.

    Args:
        wanted: Names of `SCENARIOS`.
        settings: How much.
        tell: Is given each measurement as soon as there is one.
        progress: Is told what is being measured.
    """
    measurements: list[Measurement] = []

    def keep(measurement: Measurement) -> None:
        measurements.append(measurement)
        tell(measurement)

    names = [name for name in SCENARIOS if name in set(wanted)]
    for group in dict.fromkeys(SCENARIOS[name].group for name in names):
        mine = [name for name in names if SCENARIOS[name].group == group]
        progress(f"measuring {', '.join(mine)}")
        measure: Measure = import_module(f"benchmarks.{group}").measure
        with anyio.fail_after(LIMIT_S):
            await measure(frozenset(mine), settings, keep)
    return measurements
