"""The scenarios by the module that measures them, and their run."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from importlib import import_module

import anyio

from benchmarks.measure import Bench, Measurement, Record, Settings

LIMIT_S = 1800.0  # a group that takes longer hangs

# The function `measure` of a module: it measures the named scenarios of its group.
Measure = Callable[[Collection[str], Bench], Awaitable[None]]

GROUPS = {
    "delays": {
        "five": "5 independent tasks of 100 ms",
        "pattern": "[a, b] -> c -> [d, e], 100 ms each",
        "chain": "a chain of 5 tasks of 100 ms",
        "diamond": "a -> [b, c] -> d, 100 ms each",
        "multi-level": "34 tasks of 50 ms in levels of 6, 10, 10 and 8",
        "uneven": "3 lanes of 3 stages, each slow (160 ms, not 40) at another one",
        "branches": "1 to 10 independent tasks of 100 ms",
        "five-tools": "a job of 5 tools on 3 servers that are open",
    },
    "bare_sdk": {
        "gather": "the same calls by hand, on a session of the bare SDK",
        "ready": "5 Python servers over stdio, from nothing to listed tools",
    },
    "sessions": {
        "sessions": "calls of 20 ms of processor time on a server with 1, 2 and 4 sessions",
        "inflight": "hundreds and thousands of calls at once on one session",
    },
    "cold": {"cold": "from the start of a fresh process to its exit, or to its first call"},
    "warm": {"warm": "5 calls on 5 servers from the shell, and one, with the warm pool up"},
    "written": {"written": "20 tasks of 200 ms while a model writes them, from its last token"},
    "watched": {"watched": "100 and 1,000 calls of 20 ms that nobody watches, a stream, a browser"},
    "load": {"serve": "100 clients at once on one `serve --http`, and 1,000 plans in a row"},
    "checking": {"checking": "checking a plan of 1,000 and 10,000 tasks against a lock file"},
    "engine_alone": {"engine": "the engine with a caller that returns at once, beside bare anyio"},
}
SCENARIOS = {name: title for titles in GROUPS.values() for name, title in titles.items()}


@dataclass
class Stopwatch:
    """Where the time of a suite goes: seconds by scenario, with the start of its servers."""

    seconds: dict[str, float] = field(default_factory=dict)
    _since: float = field(default_factory=time.monotonic)

    def lap(self, scenario: str) -> None:
        """Count the time since the last lap for a scenario."""
        now = time.monotonic()
        self.seconds[scenario] = self.seconds.get(scenario, 0.0) + now - self._since
        self._since = now

    def __str__(self) -> str:
        longest_first = sorted(self.seconds.items(), key=lambda each: -each[1])
        each = (f"{name} {seconds:.1f}" for name, seconds in longest_first)
        return f"measured for {sum(self.seconds.values()):.0f} s: {', '.join(each)}"


async def run(
    names: Collection[str],
    settings: Settings,
    record: Record,
    progress: Callable[[str], None],
    stopwatch: Stopwatch,
) -> list[Measurement]:
    """Measure the named scenarios, group by group; `progress` receives a line before each."""
    measurements: list[Measurement] = []

    def keep(measurement: Measurement) -> None:
        measurements.append(measurement)
        stopwatch.lap(measurement.scenario)
        record(measurement)

    bench = Bench(settings.quick, settings.rounds, settings.backend, keep)
    for group, titles in GROUPS.items():
        if selected := [name for name in titles if name in names]:
            progress(f"measuring {', '.join(selected)}")
            # Imported late: --help and --list need none of the modules.
            measure: Measure = import_module(f"benchmarks.{group}").measure
            with anyio.fail_after(LIMIT_S):
                await measure(frozenset(selected), bench)
            stopwatch.lap(selected[-1])  # what its servers take to end
    return measurements
