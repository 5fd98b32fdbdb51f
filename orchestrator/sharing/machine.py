"""Grants what all processes of this user on a machine share."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any

import anyio

from orchestrator.calls.grants import LOCK, Claim, OnWait, nothing
from orchestrator.errors import CallError
from orchestrator.sharing import place
from orchestrator.sharing.line import Entry, Line, fits, key_of, until_any
from orchestrator.sharing.window import StartsFile
from orchestrator.workflow.hold import Hold


class Machine:
    """Grants what all processes of this user on a machine share, in the order in which they ask.

    It is a `Granter`. Nothing is opened before the first claim.

    Args:
        directory: Where its files are; None: where all processes look.
        clock: The time, seconds, for rates: one that all processes of the machine have in common.
    """

    def __init__(
        self, directory: Path | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._given, self._clock = directory, clock
        self._known: Line | None = None
        self._windows: dict[str, StartsFile] = {}

    @property
    def directory(self) -> Path:
        """Where its files are.

        Raises:
            CallError: It cannot be made.
        """
        try:
            return place.directory() if self._given is None else self._given
        except OSError as error:
            message = f'scope = "host" needs {error.filename}: {error.strerror}'
            raise CallError("internal", message) from None

    @property
    def _line(self) -> Line:
        if self._known is None:
            self._known = Line(self.directory)
        return self._known

    def close(self) -> None:
        """Close what is open, until it is used again."""
        for each in (self._known, *self._windows.values()):
            if each is not None:
                each.close()

    def is_free(self, claim: Claim) -> bool:
        """Whether it would be granted at once, as far as is known."""
        if claim.per_s:
            window = self._window(claim)
            return self.is_free(_turn(claim)) and window.wait_s() <= 0
        found = self._line.entries(key_of(claim.hold.name))
        return fits(claim.hold, claim.capacity, map(attrgetter("amount"), found))

    async def grant(self, claim: Claim, on_wait: OnWait) -> Granted:
        """Wait until it is granted; `on_wait` is called once if that is not at once."""
        return await (self._start if claim.per_s else self._hold)(claim, on_wait)

    async def _start(self, claim: Claim, on_wait: OnWait) -> Granted:
        """Wait for the turn of a rate, and in it until the next call may start."""
        told: list[bool] = []

        def wait() -> None:
            if not told:
                told.append(True)
                on_wait()

        turn, window = await self._hold(_turn(claim), wait), self._window(claim)
        try:
            while (wait_s := window.wait_s()) > 0:
                wait()
                await anyio.sleep(wait_s)
        except BaseException:
            turn.release()
            raise
        turn.window = window
        return turn

    async def _hold(self, claim: Claim, on_wait: OnWait) -> Granted:
        line = self._line
        entry, pipe = await line.enter(key_of(claim.hold.name), str(claim.hold.amount))
        granted, wait = Granted(line, entry, pipe), None
        try:
            if claim.task:
                granted.describe(claim)
            while pipes := self._in_the_way(claim, entry):
                try:
                    if wait is None:
                        wait = line.wait(entry)
                        on_wait()
                    await until_any(pipes)
                finally:
                    for each in pipes:
                        os.close(each)
            if claim.task:
                os.utime(line.about(entry))
        except BaseException:
            granted.release()
            raise
        finally:
            if wait is not None:
                line.stop_waiting(entry, wait)
        return granted

    def _in_the_way(self, claim: Claim, entry: Entry) -> list[int]:
        """Pipes of which one ends before it can be granted; none if it is."""
        hold, capacity = claim.hold, claim.capacity
        before = self._line.entries(entry.key, entry.number)
        if fits(hold, capacity, (each.amount for each in before)):
            return []
        if (wait := self._line.look_at_wait(before[-1])) is not None:
            return [wait]
        alive: list[str] = []
        with ExitStack() as stack:
            pipes: list[int] = []
            for each in before:
                if (pipe := self._line.look(each)) is not None:
                    stack.callback(os.close, pipe)
                    pipes.append(pipe)
                    alive.append(each.amount)
            if fits(hold, capacity, alive):
                return []
            stack.pop_all()
            return pipes

    def _window(self, claim: Claim) -> StartsFile:
        """The starts under a rate; another rate has others."""
        count, per_s = claim.capacity, claim.per_s
        file = f"{key_of(f'{claim.hold.name} {per_s:g}')}.{count}.starts"
        if file not in self._windows:
            place = lambda: self.directory / file  # noqa: E731
            self._windows[file] = StartsFile(place, count, per_s, self._clock)
        return self._windows[file]

    def state(self) -> list[dict[str, Any]]:
        """The locks that are held, each with its holders and its waiters, in order."""
        found: dict[str, dict[str, Any]] = {}
        before: defaultdict[str, list[str]] = defaultdict(list)
        for entry, about, for_s in self._described():
            hold = _hold_of(about["name"], entry.amount)
            lock = found.setdefault(
                entry.key,
                {"name": hold.name, "capacity": about["capacity"], "holders": [], "waiting": []},
            )
            lock["capacity"] = max(lock["capacity"], about["capacity"])
            is_held = fits(hold, about["capacity"], before[entry.key])
            before[entry.key].append(entry.amount)
            shown = {"run": about["run"] or None, "task": about["task"], "amount": hold.amount}
            shown |= {"process": entry.process, "for_s": round(max(for_s, 0.0), 3)}
            lock["holders" if is_held else "waiting"].append(shown)
        return sorted(found.values(), key=itemgetter("name"))

    def _described(self) -> Iterator[tuple[Entry, Any, float]]:
        """The entries that are alive and say of themselves what they are, since when."""
        for entry in self._line.entries():
            if (pipe := self._line.look(entry)) is None:
                continue
            os.close(pipe)
            path = self._line.about(entry)
            with suppress(FileNotFoundError, ValueError):  # it has ended, or is written just now
                yield entry, json.loads(path.read_bytes()), time.time() - path.stat().st_mtime


class Granted:
    """A place in the line, and what it stands for once it is granted.

    Attributes:
        losses: See `Grant`: as long as its process is alive, nothing is lost.
        window: The starts under a rate, if it is a turn of one.
    """

    losses = 0
    window: StartsFile | None = None

    def __init__(self, line: Line, entry: Entry, pipe: int) -> None:
        self._line, self._entry, self._pipe = line, entry, pipe
        self._is_described = False
        self.on_lost: Callable[[str], None] = nothing

    def describe(self, claim: Claim) -> None:
        """Say who has it, for those who look."""
        name = claim.hold.name.removeprefix(LOCK)
        about = {"name": name, "capacity": claim.capacity, "run": claim.run, "task": claim.task}
        self._line.about(self._entry).write_text(json.dumps(about))
        self._is_described = True

    def release(self) -> None:
        """Leave the line: the waiters behind look again."""
        os.close(self._pipe)
        self._line.path(self._entry).unlink(missing_ok=True)
        if self._is_described:
            self._line.about(self._entry).unlink(missing_ok=True)

    def note_start(self) -> None:
        """Count a start under a rate that happens now."""
        assert self.window is not None
        self.window.note_start()
        self.release()


def _turn(claim: Claim) -> Claim:
    """What one process at a time has that looks at the starts under a rate."""
    return Claim(Hold(f"turn of {claim.hold.name}", number=1), 1)


def _hold_of(name: str, amount: str) -> Hold:
    return Hold(name, amount == "shared", int(amount) if amount.isdigit() else None)
