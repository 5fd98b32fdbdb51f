"""A limit and a rate of four workers, as the server counts calls and as they leave."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import anyio

from benchmarks.cluster import place
from benchmarks.measure import Bench, Measurement
from benchmarks.scenarios import HERE, Document
from orchestrator import Orchestrator
from orchestrator.calls.grants import Claim, GrantedRate
from orchestrator.cli import main
from orchestrator.journal.location import Address, store_of
from orchestrator.servers.config_file import load_config
from orchestrator.workflow.hold import Hold
from tests.postgres import Server

WORKERS, AT_ONCE, MOST, RATE, TASKS = 4, 4, 3, 20, 10
RUNS, QUICK_RUNS = 40, 8
NOTES = "NOTES"  # the variable with the directory in which processes note when calls leave
_CONFIG = """
[servers.slow]
url = "{url}"
max_concurrency = {most}
scope = "cluster"
{rate}"""


@contextmanager
def counting() -> Iterator[str]:
    """A server that counts the calls that it works on; its URL."""
    command = [sys.executable, "-m", "mock_servers.delay", "--http"]
    with subprocess.Popen(command, cwd=HERE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        yield process.stderr.readline().split()[-1]
        process.terminate()


def flow(delay_ms: int) -> Document:
    """Independent calls, all of which want a slot at once."""
    given = {"ms": delay_ms}
    tasks = [{"id": f"t{n}", "tool": "slow:delay", "arguments": given} for n in range(TASKS)]
    return {"name": "limited", "tasks": tasks}


@contextmanager
def workers(url: str, config: Path, notes: Path) -> Iterator[None]:
    """Workers that note when a call leaves, as they all do apart from that."""
    options = "--servers", str(config), "--no-pool", "--database", url
    command = "benchmarks.cluster.limits", "worker", *options, "--at-once", str(AT_ONCE)
    os.environ[NOTES] = str(notes)
    with ExitStack() as stack:
        for _ in range(WORKERS):
            stack.enter_context(place.started(command, "carries runs"))
        yield


def noted() -> None:
    """Have the starts under rates noted in a file of this process."""
    file = (Path(os.environ[NOTES]) / f"{os.getpid()}").open("a", buffering=1)
    start = GrantedRate.note_start

    def note_start(rate: GrantedRate) -> None:
        file.write(f"{time.monotonic()!r}\n")
        start(rate)

    setattr(GrantedRate, "note_start", note_start)  # noqa: B010


def most_in(starts: list[float], per_s: float) -> int:
    """How many starts there are at most in any span of that length."""
    first = most = 0
    for number, at in enumerate(starts):
        while at - starts[first] >= per_s:
            first += 1
        most = max(most, number - first + 1)
    return most


def measure(postgres: Server, bench: Bench) -> None:
    """Submit runs at once whose calls all want the same slots."""
    runs = QUICK_RUNS if bench.quick else RUNS
    for variant, delay_ms, rate in (("3 at once", 50, ""), ("20 in 1 s", 10, f'rate = "{RATE}/s"')):
        url = place.fresh(postgres, f"limits{delay_ms}")
        with counting() as server, tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "servers.toml"
            config.write_text(_CONFIG.format(url=server, most=MOST, rate=rate))
            notes = Path(folder) / "notes"
            notes.mkdir()
            with workers(url, config, notes):
                began, ids = anyio.run(place.submit, url, config, flow(1), WORKERS * AT_ONCE)
                place.last_end(url, ids)  # their servers start
                began, ids = anyio.run(place.submit, url, config, flow(delay_ms), runs)
                took_s = place.last_end(url, ids) - began
            most = anyio.run(peak, url, config)
            starts = sorted(
                float(at) for each in notes.iterdir() for at in each.read_text().split()
            )
        calls = runs * TASKS
        # The rate is used up by those before.
        ideal_s = calls / RATE if rate else calls * delay_ms / 1000 / MOST
        values = {"most_at_once": most, "ideal_ms": 1000 * ideal_s, "calls": calls}
        if rate:
            values["most_in_1_s"] = most_in(starts, 1.0)
        ratios = {"of_ideal": [took_s / ideal_s]}
        bench.record(Measurement("limits", variant, [1000 * took_s], ratios, values))
    measure_latency(place.fresh(postgres, "grants"), bench)


async def peak(url: str, config: Path) -> int:
    """How many calls the server has worked on at once."""
    async with Orchestrator(load_config(config), journal=url) as engine:
        return int((await engine.call("slow:peak"))["most"])


def measure_latency(url: str, bench: Bench) -> None:
    """How long one slot takes, if nobody else wants it, and from one process to another."""
    uncontended, contended = anyio.run(latencies, url, bench.pick(1000, 200))
    bench.record(Measurement("limits", "a slot that is free", uncontended))
    bench.record(Measurement("limits", "a slot that another process frees", contended))


async def latencies(url: str, rounds: int) -> tuple[list[float], list[float]]:
    """The times, milliseconds."""
    one, two = store_of(Address(url)).granter(), store_of(Address(url)).granter()
    assert one is not None
    assert two is not None
    claim = Claim(Hold("a limit", number=1), 1)
    free, handed, freed = list[float](), list[float](), [0.0]
    for _ in range(rounds):
        began = time.perf_counter()
        held = await one.grant(claim, lambda: None)
        free.append(1000 * (time.perf_counter() - began))
        waits = anyio.Event()

        async def wait(waits: anyio.Event = waits) -> None:
            granted = await two.grant(claim, waits.set)
            handed.append(1000 * (time.perf_counter() - freed[0]))
            granted.release()

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await waits.wait()
            freed[0] = time.perf_counter()
            held.release()
        await anyio.sleep(0.002)
    one.close()
    two.close()
    return free, handed


if __name__ == "__main__":
    noted()
    sys.exit(main(sys.argv[1:]))
