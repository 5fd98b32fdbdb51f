"""Shows something again and again until an interrupt: a table that changes, or lines in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

WATCH_S = 1.0  # between two looks


def watch(table: Callable[[], Table], tell: Callable[[], None], *, in_lines: bool) -> int:
    """Watch until an interrupt, and return the exit code.

    Args:
        table: What a terminal shows now.
        tell: Writes what has changed.
        in_lines: Whether a terminal gets the changes, too.
    """
    try:
        if sys.stdout.isatty() and not in_lines:
            from rich.live import Live

            from orchestrator.cli.rows import new_console

            with Live(console=new_console(), auto_refresh=False) as live:
                while True:
                    live.update(table(), refresh=True)
                    time.sleep(WATCH_S)
        while True:
            tell()
            sys.stdout.flush()
            time.sleep(WATCH_S)
    except KeyboardInterrupt:
        return 0
