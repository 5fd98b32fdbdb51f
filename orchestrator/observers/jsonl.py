"""Events as lines of JSON.

The rule of this file: a line is written whole and at once, so that a reader can follow the run; a
stream that takes no more ends the journal, not the run.
"""

from __future__ import annotations

import os
import sys
from typing import TextIO

from orchestrator.documents.encode import to_json
from orchestrator.engine.events import Event, Observer


class JsonlWriter(Observer):
    """An observer that writes each event to a stream as one line of JSON.

    Args:
        stream: A text stream.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._broken = False

    def on_event(self, event: Event) -> None:
        """Write a line, whole and at once, so that a reader can follow the run."""
        if self._broken:
            return
        try:
            self._stream.write(to_json(event.to_dict()) + "\n")
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._broken = True
        # What is still buffered must not raise again when the stream is closed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        if not isinstance(error, BrokenPipeError):
            message = f"orchestrator: events are not written any more: {error.strerror}"
            print(message, file=sys.stderr)

    def stop(self) -> None:
        """Close the stream, unless it is stdout."""
        if self._stream is not sys.stdout:
            self._stream.close()
