"""Runs of 50 tasks that do nothing, and the protocol of the programs that carry them.

A program prints `{"ready": true}` and answers each line `{"do": "40"}`, so many runs at once, with
`{"ms": ...}` or `{"error": ...}`. Standard library only.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

WIDTH, LAYERS = 10, 5
TASKS = WIDTH * LAYERS
AT_ONCE, PROCESSES = 4, 2
POLL_S = 0.02  # where runs are asked for, as often as our workers do
LIMIT_S = 600.0


def needs(task: int) -> list[int]:
    """The two tasks of the layer above that a task needs."""
    layer, place = divmod(task, WIDTH)
    return [(layer - 1) * WIDTH + (place + step) % WIDTH for step in (0, 1)] if layer else []


def answer(do: Callable[[int], object]) -> None:
    """Do what is asked for until stdin ends."""
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        try:
            do(int(json.loads(line)["do"]))
            told: dict[str, object] = {"ms": (time.perf_counter() - began) * 1000}
        except Exception as error:
            told = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(told), flush=True)


def until(condition: Callable[[], bool]) -> None:
    """Wait for something."""
    ends_by = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > ends_by:
            raise TimeoutError(f"nothing came of it in {LIMIT_S:g} s")
        time.sleep(0.01)
