"""Writes events as JSON Lines."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from orchestrator.documents.encode import to_json
from orchestrator.engine.events import Event, Observer


class JsonlWriter(Observer):
    """Writes each event to a text stream as a line of JSON. A broken stream does not end the run.

    Args:
        stream: Closed by `stop`, unless it is stdout.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._broken = False

    def on_event(self, event: Event) -> None:
        """Write the whole line at once, so that a reader can follow the run."""
        if self._broken:
            return
        try:
            self._stream.write(to_json(event.to_dict()) + "\n")
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._broken = True
        # The rest of the buffer would raise again when the stream is closed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        if not isinstance(error, BrokenPipeError):
            message = f"orchestrator: events are no longer written: {error.strerror}"
            print(message, file=sys.stderr)

    def stop(self) -> None:
        """Close the stream, unless it is stdout."""
        if self._stream is not sys.stdout:
            self._stream.close()
