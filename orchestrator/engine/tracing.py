"""Who wants to know what a run does while it does it, as spans of a trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

from orchestrator.calls.tracing import Trace

if TYPE_CHECKING:
    from orchestrator.engine.emitter import Emitter
    from orchestrator.engine.result import RunResult
    from orchestrator.engine.settings import RunSettings


class Tracing(Protocol):
    """Traces runs. None of this raises."""

    def run(
        self, workflow: str, run_id: str, schedule: str, first: str, origin: str
    ) -> AbstractContextManager[Trace]:
        """A run, while the block runs.

        `first` is what named it in the first process that traced it; "" in that process. `origin`
        is the same of the run that it is a retry or a fork of.
        """


@contextmanager
def traced(
    settings: RunSettings,
    about: tuple[str, str, str],
    emitter: Emitter,
    result: Callable[[], RunResult | None],
) -> Iterator[None]:
    """Trace the run that the block executes, if anybody wants that, under a name that is kept."""
    tracing, recorder = settings.tracing, settings.recorder
    if tracing is None:
        yield
        return
    before = ("", "") if recorder is None else (recorder.trace, recorder.origin_trace)
    with tracing.run(*about, *before) as trace:
        emitter.trace = trace
        if recorder is not None and trace.identity:
            recorder.note_trace(trace.identity)
        try:
            yield
        finally:
            trace.end(result(), emitter.clock.now_ms())
