"""Runs a command from its start to its exit: `python -m benchmarks.peer_programs.stopwatch S CMD`.

A small process of its own, since on Linux a process starts with the peak of memory of the one that
started it. What runs for more than S seconds is killed. Prints `{"ms", "cpu_ms", "rss_mb", "code",
"printed"}` as JSON; CPU and peak are those of all the processes that were waited for.

The rule of this file: the standard library only, and as little of it as will do.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from functools import partial
from typing import Any

from benchmarks.peer_programs.conversation import maxrss_mb


def main(limit_s: int, command: list[str]) -> None:
    """Run the command and print what it took."""
    with tempfile.TemporaryFile("w+b") as printed:
        to_file = (os.POSIX_SPAWN_DUP2, printed.fileno(), 1)
        began_at = time.perf_counter()
        child = os.posix_spawnp(
            command[0], command, os.environ, file_actions=[to_file], setpgroup=0
        )
        signal.signal(signal.SIGALRM, partial(_kill, child))
        signal.alarm(limit_s)
        _, status, used = os.wait4(child, 0)
        ms = (time.perf_counter() - began_at) * 1000
        printed.seek(0)
        text = printed.read().decode(errors="replace")
    cpu_ms = (used.ru_utime + used.ru_stime) * 1000
    measured = {"ms": ms, "cpu_ms": cpu_ms, "rss_mb": maxrss_mb(used)}
    print(json.dumps({**measured, "code": os.waitstatus_to_exitcode(status), "printed": text}))


def _kill(child: int, *_signal: Any) -> None:
    os.killpg(child, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
