"""Plans that run while a model still writes them, for frameworks that show what it writes."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from orchestrator.serve.streamed import StreamedPlan

MAX_OPEN = 16  # calls that were begun and never made, such as those that a person has refused


class PlanStreams:
    """What models are writing. An adapter takes it as `streams`, and `note_event` fills it.

    No framework calls a tool before its arguments are complete, but some show them as they are
    written. With this, tasks that only read run meanwhile; the call then waits for the rest.

    Who shows it may lag behind the calls. The plan of a call that is made before its text has been
    shown takes the rest from the call, and one whose text was not shown at all runs once, in the
    call: what is shown of it later begins nothing.
    """

    def __init__(self) -> None:
        self._begin: Callable[[], StreamedPlan] | None = None
        self._tool = ""
        self._open: dict[Hashable, StreamedPlan] = {}
        self._late = 0  # calls that were made before they were shown

    def serve(self, tool: str, begin: Callable[[], StreamedPlan]) -> None:
        """Have the plans in calls of a tool begun by this."""
        self._tool, self._begin = tool, begin

    def begin(self, key: Hashable, tool: str) -> None:
        """A call begins to be written; the key is that of its further pieces."""
        if (left := self._open.pop(key, None)) is not None:
            left.lose()
        if self._begin is None or tool != self._tool:
            return
        if self._late:
            self._late -= 1
        else:
            self._open[key] = self._begin()
            if len(self._open) > MAX_OPEN:
                self._open.pop(next(iter(self._open))).lose()

    def write(self, key: Hashable, text: str) -> None:
        """More of the arguments of a call, as JSON text."""
        if (plan := self._open.get(key)) is not None and text:
            plan.write(text)

    def take(self, arguments: Any) -> StreamedPlan | None:
        """The plan with these arguments, whose call is made now."""
        for key, plan in self._open.items():
            if plan.is_of(arguments):
                return self._open.pop(key)
        for key, plan in self._open.items():
            if plan.may_become(arguments):
                plan.fill(arguments)
                return self._open.pop(key)
        self._late = min(self._late + 1, MAX_OPEN)
        return None

    def end(self) -> None:
        """No call that was begun will be made any more, and nothing more of those is shown."""
        self._late = 0
        while self._open:
            self._open.popitem()[1].lose()
