"""stdout and stderr of a command: everything that leaves for people and files passes here.

First secrets are hidden, then characters made visible, and only then is a text cut: a secret that
was escaped or cut before is not recognized.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

from orchestrator.documents.encode import json_parts, shown_json
from orchestrator.documents.files import stdin_text
from orchestrator.documents.text import escaped, visible

if TYPE_CHECKING:
    from orchestrator.servers.config import Server

_ESCAPES = "orchestrator.escapes"
_concealed: dict[str, None] = {}  # what no output may contain


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(escaped, error.object[error.start : error.end])), error.end


# In JSON an escape means the same character, so no document breaks where stdout is Latin-1.
codecs.register_error(_ESCAPES, _escape)


@contextmanager
def standing() -> Iterator[None]:
    """Streams that encode every character; a failure of stderr ends nothing."""
    _concealed.clear()
    stdin_text.cache_clear()
    _fill_gaps()
    out = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    err = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (out, err):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPES)
    with redirect_stdout(out), redirect_stderr(_Messages(err)):
        yield


def _fill_gaps() -> None:
    """Put something at the numbers of closed streams, or the next file would become stdout."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # takes the first free number; a write to it fails


class _Messages(io.TextIOBase):
    """stderr for messages: what cannot be written is lost, and the command goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def write(self, text: str) -> int:
        try:
            self._stream.write(hidden(text, cut=True))
        except (OSError, ValueError):  # ValueError: it is closed
            self._give_up()
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._give_up()

    def _give_up(self) -> None:
        try:
            discard(self._stream)
        except (OSError, ValueError):  # it has no file
            self._stream = io.StringIO()


def discard(stream: TextIO) -> None:
    """Send the rest of a stream nowhere: what it has buffered would raise again at the exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def conceal(servers: Mapping[str, Server]) -> None:
    """Hide the secrets of these servers in every output from now on."""
    for server in servers.values():
        _concealed.update(dict.fromkeys(server.known_secrets))


def hidden(value: Any, *, cut: bool = False) -> Any:
    """A JSON value without the secrets of the servers; `cut` as in `redact`."""
    from orchestrator.servers.redaction import redact

    return redact(value, _concealed, cut=cut) if _concealed else value


def shown(text: str) -> str:
    """A message as the screen shows it."""
    return visible(hidden(text, cut=True), keep="\n")


def json_text(value: Any, indent: int | None = None, *, to_terminal: bool = False) -> str:
    """A document for people and files: without secrets, and all of it visible."""
    return shown_json(hidden(value), indent, ascii_only=to_terminal)


def write(text: str, end: str = "\n") -> None:
    """Write text on stdout; a terminal gets nothing that it would obey."""
    text = hidden(text)
    sys.stdout.write((visible(text, keep="\n\t") if sys.stdout.isatty() else text) + end)


def write_document(value: Any, stream: TextIO) -> None:
    """Write a document piece by piece, indented; a terminal gets ASCII."""
    stream.writelines(json_parts(value, partial(json_text, to_terminal=stream.isatty()), 2))
    stream.write("\n")


def write_json(value: Any) -> None:
    """Write a document on stdout."""
    write_document(value, sys.stdout)
