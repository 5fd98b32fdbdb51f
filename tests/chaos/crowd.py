"""A chaos test: `python -m tests.chaos crowd`. Processes write runs into one journal at once."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from orchestrator.journal.writer import Lease, Writer

CROWDS = (2, 8)
RUN = "insert into run values(?, 'w', 'running', 'run', null, 1, 0, 0.0, null, null, '{}', null)"
RECORD = "insert into record values(?, 'task', ?, -1, 0, 0, 0.0, '{}')"
TASKS = 10


async def write(path: Path, name: str, commits: int, seconds: float) -> dict[str, Any]:
    """Keep runs, each commit waited for: so many, or for so long if that is 0.

    Returns:
        How many commits, the longest wait in milliseconds, when the first and the last ended, and
        the error.
    """
    writer, done, worst, first = Writer(path), 0, 0.0, 0.0
    await to_thread.run_sync(writer.open)
    print("ready", flush=True)
    sys.stdin.readline()  # until all are
    ends_by = time.monotonic() + seconds
    while (done < commits if commits else time.monotonic() < ends_by) and writer.error is None:
        lease = Lease(f"{name}-{done // TASKS}", 1)
        began = time.monotonic()
        if done % TASKS == 0:
            writer.put(lease, RUN, partial(tuple, (lease.run,)))
        writer.put(lease, RECORD, partial(tuple, (lease.run, f"{done}")))
        await writer.flush()
        worst = max(worst, time.monotonic() - began)
        first, done = first or time.monotonic(), done + 1
    ended = time.monotonic()
    await to_thread.run_sync(writer.close)
    error = writer.error and str(writer.error)
    return {
        "commits": done, "worst_ms": worst * 1000, "first": first, "last": ended, "error": error
    }  # fmt: skip


def together(path: Path, count: int, commits: int, seconds: float) -> list[dict[str, Any]]:
    """What came of so many processes that begin at the same moment."""
    numbers = (str(commits), str(seconds))
    words = [sys.executable, "-m", "tests.chaos.crowd", str(path)]
    crowd = [
        subprocess.Popen(
            [*words, f"p{each}", *numbers], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for each in range(count)
    ]
    for each in crowd:
        assert each.stdout is not None
        each.stdout.readline()
    for each in crowd:
        assert each.stdin is not None
        each.stdin.write("\n")
        each.stdin.flush()
    return [json.loads(each.communicate()[0]) for each in crowd]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code comes back."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos crowd",
        description="Two, then eight processes write runs into one journal at once, each commit\n"
        "waited for: none may fail, and none wait for a second.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=60, help="of each (default: %(default)s)")
    options = parser.parse_args(arguments)
    wrong = 0
    for count in CROWDS:
        with tempfile.TemporaryDirectory() as home:
            came = together(Path(home) / "runs.db", count, 0, options.seconds)
        worst = max(each["worst_ms"] for each in came)
        commits = ", ".join(str(each["commits"]) for each in came)
        errors = [each["error"] for each in came if each["error"]]
        print(f"{count} processes: {commits} commits; longest wait {worst:.0f} ms; {errors or ''}")
        wrong += bool(errors) or worst > 1_000
    return 1 if wrong else 0


if __name__ == "__main__":
    path, name, commits, seconds = sys.argv[1:]
    print(json.dumps(anyio.run(write, Path(path), name, int(commits), float(seconds))))
