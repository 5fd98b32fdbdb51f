"""The last starts under a rate, of all processes, in a file."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

_INDEX, _TIME = struct.Struct("<q"), struct.Struct("<d")


class StartsFile:
    """A ring of the last `count` starts: the oldest of them says when the next may follow.

    Only the holder of the rate's turn uses it. A start is written before the place of the next one,
    so a process that is killed in between makes the others wait longer, never shorter.

    Args:
        path: Gives the path of the file, which is made when it is needed.
        count: How many starts.
        per_s: In how many seconds.
        clock: The time, seconds, of a clock that all processes of the machine have in common.
    """

    def __init__(
        self, path: Callable[[], Path], count: int, per_s: float, clock: Callable[[], float]
    ) -> None:
        self._path, self._count, self._per_s, self._clock = path, count, per_s, clock
        self._descriptor: int | None = None

    def wait_s(self) -> float:
        """How long until the next may start, seconds; not above 0 if it may now."""
        file = self._file()
        oldest, now = os.pread(file, _TIME.size, self._place(self._index(file))), self._clock()
        if len(oldest) < _TIME.size:  # there were never so many
            return 0.0
        (at,) = _TIME.unpack(oldest)
        return at + self._per_s - now if at and at <= now else 0.0

    def note_start(self) -> None:
        """Count a start that happens now."""
        file = self._file()
        index = self._index(file)
        os.pwrite(file, _TIME.pack(self._clock()), self._place(index))
        os.pwrite(file, _INDEX.pack((index + 1) % self._count), 0)

    def close(self) -> None:
        """Close the file, until it is used again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _file(self) -> int:
        if self._descriptor is None:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(self._path(), flags, 0o600)
        return self._descriptor

    def _index(self, file: int) -> int:
        known = os.pread(file, _INDEX.size, 0)
        return int(_INDEX.unpack(known)[0]) if known else 0

    def _place(self, index: int) -> int:
        return _INDEX.size + index * _TIME.size
