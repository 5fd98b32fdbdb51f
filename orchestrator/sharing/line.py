"""The line in which processes stand for what they share.

Each entry is a named pipe, which its process keeps open for writing: as long as that is so, it
counts. What ends it is all the same to the others, which wait for the end of the pipe: a release, a
cancellation, or the death of the process. An entry is granted if it fits beside those before it. So
nothing has to be told or written down when one is granted, and no order of deaths can lose any.

An entry that has to wait has a second pipe until it is granted. Only the first of those who wait
looks for the end of what is held; each other one looks for the end of the wait before it.

Other ways were worse: a lock for each slot tells nobody when it is free, and has no order; a file
that says who holds what is wrong after a `kill -9`; a process that serves the others has to be
started, and its death ends what they hold.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, Self

import anyio

from orchestrator.workflow.hold import Hold

TURN_S = 0.001
_NUMBER = struct.Struct("<q")


class Entry(NamedTuple):
    """An entry of the line, as its name has it.

    Attributes:
        number: Its place: it comes behind all with a smaller one.
        key: What it is for.
        amount: How much of it: a number, `all` or `shared`.
        process: The number of its process.
    """

    number: int
    key: str
    amount: str
    process: int

    @classmethod
    def of(cls, name: str) -> Self | None:
        """The entry with the name of a file; None if it is another file."""
        parts = name.split("-")
        if len(parts) != 4 or "." in name:
            return None
        return cls(int(parts[0], 16), parts[1], parts[2], int(parts[3]))

    @property
    def name(self) -> str:
        """The name of its pipe."""
        return f"{self.number:016x}-{self.key}-{self.amount}-{self.process}"


def key_of(name: str) -> str:
    """What the name of a limit or lock is in the names of files."""
    return sha256(name.encode()).hexdigest()[:20]


def fits(hold: Hold, capacity: int, amounts: Iterable[str]) -> bool:
    """Whether an entry fits beside those before it, which have these amounts."""
    if hold.is_exclusive:
        return not any(True for _ in amounts)
    if hold.shared:
        return all(amount == "shared" for amount in amounts)
    held = hold.number or 0
    for amount in amounts:
        held += int(amount) if amount.isdigit() else capacity
    return held <= capacity


class Line:
    """The entries of all processes, in order of arrival.

    Args:
        directory: Where their pipes are.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._turn: int | None = None  # the file that says the last number

    def close(self) -> None:
        """Close what is open, until it is used again."""
        if self._turn is not None:
            os.close(self._turn)
            self._turn = None

    def path(self, entry: Entry) -> Path:
        """The pipe of an entry."""
        return self._directory / entry.name

    async def enter(self, key: str, amount: str) -> tuple[Entry, int]:
        """A new last entry, and what keeps it open."""
        while (entered := self._enter(key, amount)) is None:
            await anyio.sleep(TURN_S)  # another process enters, which takes microseconds
        return entered

    def _enter(self, key: str, amount: str) -> tuple[Entry, int] | None:
        """The same; None if another process enters just now.

        Numbers are given one after the other, so that no entry ever comes before one that has
        looked who is there already.
        """
        with self._locked() as turn:
            if turn is None:
                return None
            last = os.pread(turn, _NUMBER.size, 0)
            number = 1 + (_NUMBER.unpack(last)[0] if last else 0)
            os.pwrite(turn, _NUMBER.pack(number), 0)
            entry = Entry(number, key, amount, os.getpid())
            return entry, _opened(self.path(entry))

    def wait(self, entry: Entry) -> int:
        """Have an entry wait: what keeps its second pipe open, until `stop_waiting`."""
        return _opened(self._waiting(entry))

    def stop_waiting(self, entry: Entry, pipe: int) -> None:
        """End its wait: the one behind it looks again."""
        os.close(pipe)
        with suppress(FileNotFoundError):
            self._waiting(entry).unlink()

    def _waiting(self, entry: Entry) -> Path:
        return self._directory / f"{entry.name}.wait"

    @contextmanager
    def _locked(self) -> Iterator[int | None]:
        if self._turn is None:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._turn = os.open(self._directory / "turn", flags, 0o600)
        try:
            fcntl.flock(self._turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        try:
            yield self._turn
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    def entries(self, key: str | None = None, before: int | None = None) -> list[Entry]:
        """Those for one thing, or all, in order, before a number; some of them may be dead."""
        files = os.listdir(self._directory)  # noqa: PTH208  # paths cost most of it
        named = (Entry.of(file) for file in files if key is None or file[17:].startswith(key))
        found = (each for each in named if each is not None)
        return sorted(each for each in found if before is None or each.number < before)

    def look(self, entry: Entry) -> int | None:
        """A descriptor that can be read as soon as an entry ends; None if it has ended.

        What a process left that was killed is removed.
        """
        if (pipe := _looked(self.path(entry))) is None:
            self.remove(entry)
        return pipe

    def look_at_wait(self, entry: Entry) -> int | None:
        """The same for its wait; None if it does not wait."""
        return _looked(self._waiting(entry))

    def remove(self, entry: Entry) -> None:
        """Remove what there may be of an entry."""
        for path in (self.path(entry), self.about(entry), self._waiting(entry)):
            with suppress(FileNotFoundError):
                path.unlink()

    def about(self, entry: Entry) -> Path:
        """The file that says more of an entry."""
        return self._directory / f"{entry.name}.json"


def _opened(path: Path) -> int:
    """A new pipe, open for writing; for reading, too, else it would wait for a reader."""
    os.mkfifo(path, 0o600)
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


def _looked(path: Path) -> int | None:
    """A pipe, open for reading; None if nobody has it open for writing."""
    try:
        pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        os.read(pipe, 1)
    except BlockingIOError:
        return pipe
    os.close(pipe)
    return None


async def until_any(pipes: Iterable[int]) -> None:
    """Wait until one of them can be read."""

    async def wait(pipe: int, done: Callable[[], None]) -> None:
        await anyio.wait_readable(pipe)
        done()

    async with anyio.create_task_group() as group:
        for pipe in pipes:
            group.start_soon(wait, pipe, group.cancel_scope.cancel)
