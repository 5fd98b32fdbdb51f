"""Writes events as JSON Lines."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from orchestrator.documents.encode import TextOf, json_parts, shown_json
from orchestrator.engine.events import Event, Observer


class JsonlWriter(Observer):
    """Writes each event to a stream as a line of JSON; a broken stream does not end the run."""

    def __init__(self, stream: TextIO, text_of: TextOf = shown_json) -> None:
        self._stream = stream
        self._text_of = text_of
        self._broken = False

    def on_event(self, event: Event) -> None:
        """Write a line."""
        if self._broken:
            return
        try:
            self._stream.writelines(json_parts(event.to_dict(), self._text_of))
            self._stream.write("\n")
            self._stream.flush()  # so that a reader can follow the run
        except OSError as error:
            self._broken = True
            # The rest of the buffer would raise again when the stream is closed.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            if not isinstance(error, BrokenPipeError):  # its reader has seen enough
                why = error.strerror
                print(f"orchestrator: events are no longer written: {why}", file=sys.stderr)

    def stop(self) -> None:
        """Close the stream, unless it is stdout."""
        if self._stream is not sys.stdout:
            self._stream.close()
