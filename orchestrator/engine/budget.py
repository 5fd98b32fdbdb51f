"""What a run may hold in memory."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.engine.summary import Stop


class Budget:
    """Counts what the answers of a run take, and ends the run if that is too much.

    The answers that are in flight then, and the values that references make, come on top.

    Args:
        max_run_mb: The limit, megabytes; 0 for none.
        end: Ends the run.
    """

    def __init__(self, max_run_mb: int, end: Callable[[Stop], object]) -> None:
        self._max_run_mb, self._end = max_run_mb, end
        self._left = max_run_mb * 1_000_000

    def spend(self, size: int) -> None:
        """Count an answer of about this many bytes; that of a failure can be as large as any."""
        self._left -= size
        if self._left < 0 and self._max_run_mb:
            self._end(Stop.full(self._max_run_mb))
