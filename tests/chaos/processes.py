"""Which processes there are, read from `/proc`: Linux only, without any package."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
AVAILABLE = (PROC / "self" / "stat").exists()


@dataclass(frozen=True, slots=True)
class Process:
    """A process, as it was when we looked.

    Attributes:
        pid: Its number.
        parent: The number of its parent.
        state: One letter, as in proc(5): `R`, `S`, `T` for stopped, `Z` for not waited for.
        command: Its command line; empty for one that has ended.
    """

    pid: int
    parent: int
    state: str
    command: tuple[str, ...]


def processes() -> Iterator[Process]:
    """All processes that we may look at."""
    for folder in PROC.iterdir():
        if folder.name.isdecimal() and (found := _read(folder)):
            yield found


def _read(folder: Path) -> Process | None:
    try:
        # The program's name, in brackets, may have anything in it; see proc(5).
        state, parent = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
        command = (folder / "cmdline").read_text(errors="replace").split("\0")[:-1]
    except OSError:  # it has ended meanwhile, or is not ours to look at
        return None
    return Process(int(folder.name), int(parent), state, tuple(command))


def children() -> list[Process]:
    """The processes that this one has started and that are there, waited for or not."""
    return [process for process in processes() if process.parent == os.getpid()]


def marked(mark: str) -> list[Process]:
    """The processes with a text in an argument of their command line."""
    return [
        process for process in processes() if any(mark in argument for argument in process.command)
    ]
